/* A host with the module's own threads: minimal SIPHOOK.SO SCRIPT URI
 * cc -o minimal minimal.c -ldl */
#include "siphook.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>

static void print_line(void *ctx, enum siphook_level level, const char *line, size_t len)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};

	(void)ctx;
	fprintf(stderr, "%s: %.*s\n", names[level], (int)len, line);
}

static const struct siphook_api *load(const char *path)
{
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	siphook_entry_fn entry;

	if (!object) {
		fprintf(stderr, "%s\n", dlerror());
		return NULL;
	}
	*(void **)&entry = dlsym(object, "siphook_entry");
	return entry ? entry(SIPHOOK_ABI) : NULL;
}

int main(int argc, char **argv)
{
	struct siphook_host host = {.abi = SIPHOOK_ABI, .size = sizeof(host), .log = print_line};
	struct siphook_option options[] = {{"script", argv[2]}, {"listen", argv[3]}, {"config.greeting", "hello"}};
	const struct siphook_api *sip;
	struct siphook *s = NULL;
	sigset_t ends;
	int signo;

	/* Blocked before the start: a signal then waits for sigwait(), whenever it comes. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL);

	sip = argc == 4 ? load(argv[1]) : NULL;
	if (!sip)
		return 1;
	if (sip->create(&s, &host, options, 3) < 0 || sip->start(s, SIPHOOK_THREADS) < 0) {
		fprintf(stderr, "%s\n", sip->last_error(s));
		sip->destroy(s);
		return 1;
	}
	sigwait(&ends, &signo);
	sip->stop(s, 5000); /* the calls get their BYE */
	sip->destroy(s);
	return 0;
}
