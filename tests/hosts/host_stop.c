/* Other threads ask, reload and hang up while the host stops the instance: they get an answer or an error. */
#include "host.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { ROUNDS = 20 };

static const struct siphook_api *sip;
static struct siphook *s;
static atomic_bool quit;

static void on_text(void *ctx, const char *text, size_t len)
{
	(void)ctx;
	MUST(text[len] == '\0' && (text[0] == '{' || text[0] == '['));
}

static void expect(int err)
{
	if (err == -EINVAL || err == -ENOTSUP || err == -EALREADY || err == -EPERM)
		fprintf(stderr, "answered %s\n", strerror(-err));
	MUST(err != -EINVAL && err != -ENOTSUP && err != -EALREADY && err != -EPERM);
}

static void *ask(void *arg)
{
	while (!atomic_load(&quit)) {
		expect(sip->query(s, "status", on_text, NULL));
		expect(sip->query(s, "calls", on_text, NULL));
		expect(sip->query(s, "registrations", on_text, NULL));
		expect(sip->hangup(s, "nobody"));
		expect(sip->reload(s, NULL, NULL));
	}
	return arg;
}

int main(int argc, char **argv)
{
	struct siphook_host host = {.abi = SIPHOOK_ABI, .size = sizeof(host)};

	MUST(argc == 3);
	sip = load_object(argv[1]);
	for (int i = 0; i < ROUNDS; i++) {
		unsigned port = free_port();
		char uri[64];
		struct siphook_option options[] = {{"script", argv[2]}, {"listen", uri}};
		pthread_t threads[2];

		snprintf(uri, sizeof(uri), "udp://127.0.0.1:%u", port);
		atomic_store(&quit, false);
		MUST(sip->create(&s, &host, options, 2) == 0 && sip->start(s, SIPHOOK_THREADS) == 0);
		for (int t = 0; t < 2; t++)
			MUST(pthread_create(&threads[t], NULL, ask, NULL) == 0);
		MUST(answers_options(port));
		MUST(sip->stop(s, i & 1 ? 100 : 0) == 0);
		atomic_store(&quit, true);
		for (int t = 0; t < 2; t++)
			pthread_join(threads[t], NULL);
		sip->destroy(s);
	}
	return 0;
}
