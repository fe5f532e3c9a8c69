/* A host that has a loop and polls the module's one descriptor; the control socket is served by it too. */
#include "host.h"

#include <sys/un.h>

static const struct siphook_api *sip;
static struct siphook *s;
static uint64_t generation;
static int outcomes, stops;

/* Turns the loop until something arrives at fd, or for two seconds. */
static void drive(int fd)
{
	struct pollfd fds[] = {{.fd = sip->fd(s), .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	int64_t end = now_ms() + 2000, next;

	MUST(fds[0].fd >= 0);
	while (now_ms() < end) {
		int n = poll(fds, fd < 0 ? 1 : 2, 50);

		if (n > 0 && fd >= 0 && fds[1].revents)
			return;
		if (n > 0 && fds[0].revents)
			MUST(sip->process(s, &next) == 0 && next >= -1);
		if (fd < 0 && outcomes > 0)
			return;
	}
}

static void on_reloaded(void *ctx, uint64_t g, const char *error)
{
	MUST(ctx == &outcomes);
	MUST((g > 0) == (error == NULL));
	outcomes++;
	generation = g;
}

static void on_stop_wanted(void *ctx)
{
	(void)ctx;
	stops++;
}

static void on_text(void *ctx, const char *text, size_t len)
{
	MUST(text[len] == '\0' && text[0] == '{');
	*(int *)ctx = 1;
}

static void ask(const char *path, const char *request, const char *wanted)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char text[65536];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	MUST(connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	MUST(send(fd, request, strlen(request), 0) > 0);
	drive(fd);
	receive_text(fd, 0, text, sizeof(text));
	if (strncmp(text, wanted, strlen(wanted)) != 0)
		fprintf(stderr, "%s answered %s\n", request, text);
	MUST(strncmp(text, wanted, strlen(wanted)) == 0);
	close(fd);
}

int main(int argc, char **argv)
{
	struct siphook_host host = {
	    .abi = SIPHOOK_ABI, .size = sizeof(host), .log = print_line, .stop_wanted = on_stop_wanted};
	char uri[64], folder[] = "/tmp/siphook-host-XXXXXX", path[64], text[4096];
	unsigned port = free_port(), own;
	struct siphook_option options[] = {{"script", argv[2]}, {"listen", uri}, {"control", path}};
	int fd, got = 0;

	MUST(argc == 3);
	sip = load_object(argv[1]);
	MUST(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/control.sock", folder);
	snprintf(uri, sizeof(uri), "udp://127.0.0.1:%u", port);
	MUST(sip->create(&s, &host, options, 3) == 0);
	MUST(sip->start(s, SIPHOOK_DRIVEN) == 0);

	fd = udp_socket(&own);
	send_request(fd, own, port, "OPTIONS", 1, "");
	drive(fd);
	MUST(strncmp(receive_text(fd, 0, text, sizeof(text)), "SIP/2.0 200", 11) == 0);
	close(fd);

	MUST(sip->query(s, "status", on_text, &got) == 0 && got);
	MUST(sip->reload(s, on_reloaded, &outcomes) == 0);
	drive(-1);
	MUST(outcomes == 1 && generation == 2);

	ask(path, "status\n", "{\"ok\":true,\"result\":{");
	ask(path, "reload\r\n", "{\"ok\":true,\"generation\":3}");
	ask(path, "hangup nobody\n", "{\"ok\":false,\"error\":\"no such call: nobody\"}");
	ask(path, "weather \"x\n", "{\"ok\":false,\"error\":\"unknown request: weather \\\"x\"}");
	ask(path, "stop\n", "{\"ok\":true}");
	MUST(stops == 1);

	MUST(sip->stop(s, 100) == 0);
	MUST(access(path, F_OK) < 0);
	sip->destroy(s);
	rmdir(folder);
	return 0;
}
