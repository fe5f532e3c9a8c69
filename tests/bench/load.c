#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

/* A request without an answer goes out again after AGAIN seconds; a call fails after TRIES requests. An INVITE that
 * rings waits RING seconds. GRACE: what is left of the run after the last call was due. */
enum { TRIES = 6, RING = 30, GRACE = 10, COUNT_MAX = 5000000, RATE_MAX = 100000 };
static const double AGAIN = 0.5;

static const char usage[] = "usage: load [options] SCENARIO         invite, register, options, or connect: OPTIONS on a new connection\n"
			    "  -t ADDRESS:PORT  the server, in 127.0.0.0/8 (127.0.0.1:15060)\n"
			    "  -r RATE          calls per second (100)      -n COUNT   how many (1000)\n"
			    "  -d MS            from ACK to BYE (0)         -k         keep them up: no BYE\n"
			    "  -s USER          who is called (fixed)       -x SECONDS how long to register (3600)\n"
			    "  -U USERS         u000000, u000001 ... with the passwords pw000000 ... (10000)\n"
			    "  -p PORT          the caller's (15080)        -u PORT    the callee's (15090)\n"
			    "  -T TRANSPORT     udp, tcp or tls (udp)       -c COUNT   of the caller's connections (16)\n"
			    "  -K FILE          the callee's certificate and key, PEM: with tls\n"
			    "  -R               TLS sessions are resumed\n"
			    "One line of key=value; 0 when no call failed, 1 when some did, 2 for a mistake.\n";

/* ---------------------------------------------------------------- calls */

static void await(struct load *load, struct call *call, enum state state, double at)
{
	call->state = state;
	call->tries = 1;
	call->sent = at;
	call->due = at + AGAIN;
	TAILQ_INSERT_TAIL(&load->waiting, call, link);
	sip_request(load, call);
}

static void call_start(struct load *load)
{
	struct call *call = &load->calls[load->started++];

	if (++load->live > load->peak)
		load->peak = load->live;
	if (load->scenario == CONNECT)
		call->stream = tcp_connect(&load->ports[CALLER], &load->server, false);
	else if (load->transport != UDP)
		call->stream = load->ports[CALLER].streams[(load->started - 1) % load->connections];
	await(load, call, load->scenario == INVITE ? INVITING : ASKING, now());
}

static void completed(struct load *load, double at)
{
	double gap = at - (load->last_done > 0 ? load->last_done : load->start);

	if (gap > load->gap)
		load->gap = gap;
	if (at > load->last_done)
		load->last_done = at;
}

void call_answered(struct load *load, struct call *call, double at)
{
	TAILQ_REMOVE(&load->waiting, call, link);
	latency_add(&load->first, at - call->sent);
	call->state = UP;
	call->due = now() + load->hold;
	TAILQ_INSERT_TAIL(&load->talking, call, link);
	if (load->stay) {
		load->ok++;
		completed(load, at);
	}
}

void call_challenged(struct load *load, struct call *call, double at)
{
	TAILQ_REMOVE(&load->waiting, call, link);
	latency_add(&load->first, at - call->sent);
	await(load, call, PROVING, now());
}

void call_finished(struct load *load, struct call *call, double at, bool ok)
{
	bool second = call->state == ENDING || call->state == PROVING;

	TAILQ_REMOVE(&load->waiting, call, link);
	free(call->keep);
	call->keep = NULL;
	if (load->scenario == CONNECT && call->stream)
		tcp_hang_up(&load->ports[CALLER], call->stream);
	call->stream = NULL;
	call->state = ok ? DONE : FAILED;
	load->live--;
	if (ok) {
		latency_add(second ? &load->second : &load->first, at - call->sent);
		load->ok++;
		completed(load, at);
	} else {
		load->failed++;
	}
}

static void send_again(struct load *load, struct call *call, double at)
{
	unsigned tries = call->state == INVITING && call->ringing ? (unsigned)(RING / AGAIN) : TRIES;

	if (call->tries++ >= tries) {
		call_finished(load, call, at, false);
		return;
	}
	TAILQ_REMOVE(&load->waiting, call, link);
	call->due = at + AGAIN;
	TAILQ_INSERT_TAIL(&load->waiting, call, link);
	if (load->transport == UDP && (!call->ringing || call->state != INVITING)) {
		load->again++;
		sip_request(load, call);
	}
}

/* ---------------------------------------------------------------- the clock */

/* Starts what is due. Returns how many at once: more than one or two means that the generator came late. */
static long start_due(struct load *load, double at)
{
	long due = (long)((at - load->start) * load->rate) + 1 - load->started, left = load->count - load->started;

	due = due < left ? due : left;
	for (long i = 0; i < due; i++)
		call_start(load);
	return due;
}

static void run_timers(struct load *load, double at)
{
	struct call *call;

	while (!load->stay && (call = TAILQ_FIRST(&load->talking)) && call->due <= at) {
		TAILQ_REMOVE(&load->talking, call, link);
		await(load, call, ENDING, now());
	}
	while ((call = TAILQ_FIRST(&load->waiting)) && call->due <= at)
		send_again(load, call, at);
}

static void sleep_until_something(struct load *load)
{
	struct pollfd fds[SIDES] = {{load->ports[CALLER].fd, POLLIN, 0}, {load->ports[CALLEE].fd, POLLIN, 0}};
	struct call *talking = load->stay ? NULL : TAILQ_FIRST(&load->talking), *waiting = TAILQ_FIRST(&load->waiting);
	double next = load->started < load->count ? load->start + (double)load->started / load->rate : INFINITY, wait;
	struct timespec ts = {0};

	if (talking && talking->due < next)
		next = talking->due;
	if (waiting && waiting->due < next)
		next = waiting->due;
	wait = next - now();
	if (wait > 0)
		ts.tv_nsec = (long)((wait < 0.1 ? wait : 0.1) * 1e9);
	if (ppoll(fds, SIDES, &ts, NULL) <= 0)
		return;
	/* The callee first: the server waits for it. */
	if (fds[CALLEE].revents)
		port_read(&load->ports[CALLEE], sip_callee, load);
	if (fds[CALLER].revents)
		port_read(&load->ports[CALLER], sip_caller, load);
}

static void drive(struct load *load, long *burst)
{
	double limit, at;

	load->start = now();
	limit = load->start + (double)load->count / load->rate + load->hold + GRACE;
	while (load->ok + load->failed < load->count && (at = now()) < limit) {
		long due = start_due(load, at);

		if (due > *burst)
			*burst = due;
		run_timers(load, at);
		port_flush(&load->ports[CALLEE]);
		port_flush(&load->ports[CALLER]);
		sleep_until_something(load);
	}
	port_flush(&load->ports[CALLEE]);
	port_flush(&load->ports[CALLER]);
}

/* ---------------------------------------------------------------- the command */

static int wrong(const char *what, const char *value)
{
	fprintf(stderr, "load: %s: %s\n", what, value);
	return -1;
}

static int number(double *out, const char *what, const char *text, double min, double max)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= min && value <= max))
		return wrong(what, text);
	*out = value;
	return 0;
}

static int read_server(struct load *load, const char *text)
{
	char host[sizeof(load->host)], *colon;
	double port;

	if (strlen(text) >= sizeof(host))
		return wrong("-t", text);
	memcpy(host, text, strlen(text) + 1);
	colon = strchr(host, ':');
	if (!colon || number(&port, "-t", colon + 1, 1, 65535))
		return wrong("-t: ADDRESS:PORT is wanted", text);
	*colon = '\0';
	load->server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	if (inet_pton(AF_INET, host, &load->server.sin_addr) != 1 || ntohl(load->server.sin_addr.s_addr) >> 24 != 127)
		return wrong("-t: an address of this machine's loopback interface is wanted", text);
	memcpy(load->host, text, strlen(text) + 1);
	return 0;
}

static int read_scenario(struct load *load, const char *name)
{
	static const char *const names[] = {
	    [INVITE] = "invite", [REGISTER] = "register", [OPTIONS] = "options", [CONNECT] = "connect"};

	for (int i = 0; name && i < 4; i++) {
		if (strcmp(name, names[i]) == 0) {
			load->scenario = (enum scenario)i;
			return 0;
		}
	}
	return wrong("no such scenario", name ? name : "none");
}

static int read_transport(struct load *load, const char *name)
{
	static const char *const names[] = {[UDP] = "udp", [TCP] = "tcp", [TLS] = "tls"};

	for (int i = 0; i < 3; i++) {
		if (strcmp(name, names[i]) == 0) {
			load->transport = (enum transport)i;
			return 0;
		}
	}
	return wrong("-T: no such transport", name);
}

static int check_options(const struct load *load, const char *pem, bool resume)
{
	if (load->stay && load->scenario != INVITE)
		return wrong("-k", "only calls can be kept up");
	if (load->scenario == CONNECT && load->transport == UDP)
		return wrong("connect", "-T tcp or -T tls is wanted");
	if (load->transport == TLS && !pem)
		return wrong("-T tls", "-K is wanted");
	return load->transport == TLS ? tls_init(pem, resume) : 0;
}

static int read_options(struct load *load, uint16_t ports[SIDES], int argc, char **argv)
{
	const char *pem = NULL;
	bool resume = false;
	double value = 0;
	int c, err = 0;

	while (!err && (c = getopt(argc, argv, "t:r:n:d:ks:x:U:p:u:T:c:K:R")) != -1) {
		switch (c) {
		case 't':
			err = read_server(load, optarg);
			break;
		case 'r':
			err = number(&load->rate, "-r", optarg, 0.1, RATE_MAX);
			break;
		case 'n':
			err = number(&value, "-n", optarg, 1, COUNT_MAX);
			load->count = (long)value;
			break;
		case 'd':
			err = number(&value, "-d", optarg, 0, 3600000);
			load->hold = value / 1000;
			break;
		case 'k':
			load->stay = true;
			break;
		case 's':
			load->user = optarg;
			break;
		case 'x':
			err = number(&value, "-x", optarg, 1, 1000000);
			load->expires = (unsigned)value;
			break;
		case 'U':
			err = number(&value, "-U", optarg, 1, 1000000);
			load->users = (unsigned)value;
			break;
		case 'p':
		case 'u':
			err = number(&value, c == 'p' ? "-p" : "-u", optarg, 1, 65535);
			ports[c == 'p' ? CALLER : CALLEE] = (uint16_t)value;
			break;
		case 'T':
			err = read_transport(load, optarg);
			break;
		case 'K':
			pem = optarg;
			break;
		case 'R':
			resume = true;
			break;
		case 'c':
			err = number(&value, "-c", optarg, 1, STREAMS_MAX);
			load->connections = (unsigned)value;
			break;
		default:
			err = -1;
		}
	}
	if (!err)
		err = read_scenario(load, argv[optind]);
	return err ? err : check_options(load, pem, resume);
}

static void report(const struct load *load, double seconds, long burst)
{
	printf("ok=%ld failed=%ld refused=%ld again=%ld strange=%ld rate=%.0f gap_ms=%.1f burst=%ld peak=%ld", load->ok,
	       load->count - load->ok, load->refused, load->again, load->strange, (double)load->ok / seconds, load->gap * 1e3, burst,
	       load->peak);
	printf(" p50_us=%llu p99_us=%llu max_us=%llu", (unsigned long long)latency_percentile(&load->first, 0.5),
	       (unsigned long long)latency_percentile(&load->first, 0.99), (unsigned long long)load->first.max);
	if (load->second.total)
		printf(" second_p50_us=%llu second_p99_us=%llu second_max_us=%llu",
		       (unsigned long long)latency_percentile(&load->second, 0.5),
		       (unsigned long long)latency_percentile(&load->second, 0.99),
		       (unsigned long long)load->second.max);
	printf(" sent=%ld received=%ld\n", load->ports[CALLER].sent + load->ports[CALLEE].sent,
	       load->ports[CALLER].received + load->ports[CALLEE].received);
}

int main(int argc, char **argv)
{
	static struct load load = {.user = "fixed", .rate = 100, .count = 1000, .users = 10000, .expires = 3600, .connections = 16};
	uint16_t ports[SIDES] = {15080, 15090};
	long burst = 0;

	if (read_server(&load, "127.0.0.1:15060") || read_options(&load, ports, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	TAILQ_INIT(&load.waiting);
	TAILQ_INIT(&load.talking);
	load.calls = calloc((size_t)load.count, sizeof(*load.calls));
	if (!load.calls || getrandom(&load.run, sizeof(load.run), 0) != sizeof(load.run)) {
		fprintf(stderr, "load: %s\n", strerror(errno));
		return 2;
	}
	load.ports[CALLER].transport = load.ports[CALLEE].transport = load.transport;
	if (port_open(&load.ports[CALLER], ports[CALLER]) || port_open(&load.ports[CALLEE], ports[CALLEE]))
		return 2;
	for (unsigned i = 0; i < load.connections && load.transport != UDP && load.scenario != CONNECT; i++)
		if (!tcp_connect(&load.ports[CALLER], &load.server, true))
			return 2;
	prctl(PR_SET_TIMERSLACK, 1);
	drive(&load, &burst);
	report(&load, now() - load.start, burst);
	for (long i = 0; i < load.started; i++)
		free(load.calls[i].keep);
	free(load.calls);
	port_close(&load.ports[CALLER]);
	port_close(&load.ports[CALLEE]);
	return load.ok < load.count;
}
