/* A fork child of the host never runs the module, and harms nothing by trying or by calling exit(). */
#include "host.h"

#include <sys/wait.h>

static void child(const struct siphook_api *sip, struct siphook *s)
{
	int64_t next;

	MUST(sip->start(s, SIPHOOK_THREADS) == -EPERM);
	MUST(sip->fd(s) == -EPERM);
	MUST(sip->process(s, &next) == -EPERM);
	MUST(sip->reload(s, NULL, NULL) == -EPERM);
	MUST(sip->query(s, "status", NULL, NULL) == -EPERM);
	MUST(sip->hangup(s, "x") == -EPERM);
	MUST(sip->stop(s, 0) == -EPERM);
	MUST(strstr(sip->last_error(s), "process"));
	sip->destroy(s);
	MUST(sip->stop(s, 0) == -EPERM); /* destroy() did nothing */
	exit(0);
}

static int exit_code(pid_t pid)
{
	int status = -1;

	MUST(pid > 0 && waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What a host that forks its workers does: the child makes instances of its own. */
static void fresh_child(const struct siphook_api *sip, const struct siphook_host *host, const char *script)
{
	unsigned port = free_port();
	char uri[64];
	struct siphook_option options[] = {{"script", script}, {"listen", uri}};
	struct siphook *s = NULL;

	snprintf(uri, sizeof(uri), "udp://127.0.0.1:%u", port);
	MUST(sip->create(&s, host, options, 2) == 0 && sip->start(s, SIPHOOK_THREADS) == 0);
	MUST(answers_options(port));
	sip->destroy(s);
	exit(0);
}

int main(int argc, char **argv)
{
	struct siphook_host host = {.abi = SIPHOOK_ABI, .size = sizeof(host), .log = print_line};
	char uri[64], folder[] = "/tmp/siphook-host-XXXXXX", path[64];
	unsigned port = free_port();
	struct siphook_option options[] = {{"script", argv[2]}, {"listen", uri}, {"control", path}};
	const struct siphook_api *sip;
	struct siphook *s = NULL;
	pid_t pid;

	MUST(argc == 3);
	MUST(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/control.sock", folder);
	snprintf(uri, sizeof(uri), "udp://127.0.0.1:%u", port);
	sip = load_object(argv[1]);
	MUST(sip->check(options, 3) == 0);
	pid = fork();
	if (pid == 0)
		fresh_child(sip, &host, argv[2]);
	MUST(exit_code(pid) == 0);

	MUST(sip->create(&s, &host, options, 3) == 0);
	MUST(sip->start(s, SIPHOOK_THREADS) == 0);
	pid = fork();
	if (pid == 0)
		child(sip, s);
	MUST(exit_code(pid) == 0);
	MUST(access(path, F_OK) == 0);
	MUST(answers_options(port));
	MUST(sip->stop(s, 1000) == 0);
	MUST(access(path, F_OK) < 0);
	sip->destroy(s);
	rmdir(folder);
	return 0;
}
