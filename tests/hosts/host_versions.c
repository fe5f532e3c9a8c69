/* A host that was compiled with another version of the header than the module: tests/hosts/siphook-1.0.h, the header as it is, and
 * the next one, which has a member more at the end of each structure (run.sh makes it). It asks for what it knows, and looks
 * at the table's size before it uses what came later. */
#ifdef SIPHOOK_HEADER
#include SIPHOOK_HEADER
#endif
#include "host.h"

static uint64_t generation;
static unsigned lines;

static void on_line(void *ctx, enum siphook_level level, const char *line, size_t len)
{
	MUST(ctx == &lines && level <= SIPHOOK_DEBUG && strlen(line) == len);
	lines++;
}

static void on_reloaded(void *ctx, uint64_t g, const char *error)
{
	MUST(ctx == NULL && !error);
	__atomic_store_n(&generation, g, __ATOMIC_SEQ_CST);
}

static void on_text(void *ctx, const char *text, size_t len)
{
	*(int *)ctx = strstr(text, "\"generation\":2") != NULL && text[len] == '\0';
}

int main(int argc, char **argv)
{
	struct siphook_host host = {.abi = SIPHOOK_ABI, .size = sizeof(host), .ctx = &lines, .log = on_line};
	unsigned port = free_port();
	char uri[64];
	struct siphook_option options[] = {{"script", argv[2]}, {"listen", uri}};
	const struct siphook_api *sip = load_object(argv[1]);
	struct siphook *s = NULL;
	int found = 0;

	MUST(argc == 3 && sip->size > offsetof(struct siphook_api, last_error));
#ifdef SIPHOOK_NEXT
	MUST(sip->size <= offsetof(struct siphook_api, later)); /* the module is older: it must not be called */
	host.later = &lines;
#endif
	snprintf(uri, sizeof(uri), "udp://127.0.0.1:%u", port);
	MUST(sip->check(options, 2) == 0);
	MUST(sip->create(&s, &host, options, 2) == 0 && sip->start(s, SIPHOOK_THREADS) == 0);
	MUST(answers_options(port));
	MUST(sip->reload(s, on_reloaded, NULL) == 0);
	for (int64_t end = now_ms() + 5000; __atomic_load_n(&generation, __ATOMIC_SEQ_CST) != 2;)
		MUST(now_ms() < end && usleep(10000) == 0);
	MUST(sip->query(s, "status", on_text, &found) == 0 && found && lines > 0);
	MUST(sip->stop(s, 1000) == 0);
	sip->destroy(s);
	return 0;
}
