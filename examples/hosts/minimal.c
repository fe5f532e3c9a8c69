/* A host with the module's own threads: minimal SIPHOOK.SO KEY=VALUE... SIGHUP reloads the script.
 * cc -o minimal minimal.c -ldl */
#include "siphook.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OPTIONS = 32 };

static void print_line(void *ctx, enum siphook_level level, const char *line, size_t len)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};

	(void)ctx;
	fprintf(stderr, "%s: %.*s\n", names[level], (int)len, line);
}

static void on_stop_wanted(void *ctx)
{
	(void)ctx;
	kill(getpid(), SIGTERM);
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
	struct siphook_host host = {
	    .abi = SIPHOOK_ABI, .size = sizeof(host), .log = print_line, .stop_wanted = on_stop_wanted};
	const struct siphook_api *sip = argc > 1 ? load(argv[1]) : NULL;
	struct siphook_option options[OPTIONS];
	struct siphook *s = NULL;
	size_t count = 0;
	sigset_t signals;
	int signo;

	if (!sip)
		return 1;
	for (int i = 2; i < argc && count < OPTIONS; i++) {
		options[count].key = strtok(argv[i], "=");
		options[count++].value = strtok(NULL, "");
	}
	/* Blocked before the start: a signal then waits for sigwait(), whenever it comes. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	if (sip->create(&s, &host, options, count) < 0 || sip->start(s, SIPHOOK_THREADS) < 0) {
		fprintf(stderr, "%s\n", sip->last_error(s));
		sip->destroy(s);
		return 1;
	}
	while (sigwait(&signals, &signo) == 0 && signo == SIGHUP)
		sip->reload(s, NULL, NULL); /* its outcome is a log line */
	sip->stop(s, 5000);                 /* the calls get their BYE */
	sip->destroy(s);
	return 0;
}
