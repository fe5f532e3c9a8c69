/* A load generator for SIP servers on the loopback interface: caller and callee in one thread, open loop at an exact rate,
 * latencies in microseconds. load.c has the command, the calls and their clock; load_net.c the two ports, load_tcp.c their
 * connections, load_tls.c TLS on these; load_sip.c what is said on them; load_stats.c the latencies. */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/queue.h>

enum { MESSAGE_MAX = 2048, STREAMS_MAX = 1024 };
enum transport { UDP, TCP, TLS };
enum side { CALLER, CALLEE, SIDES };
enum scenario { INVITE, REGISTER, OPTIONS, CONNECT /* OPTIONS on a connection of its own */ };

/* ---------------------------------------------------------------- load_net.c */

struct batch;
struct stream;

/* One end: a datagram socket with the messages that wait for one sendmmsg, or connections. */
struct port {
	enum transport transport;
	int fd;     /* datagrams; connections: the epoll of all of them */
	int listener; /* connections; else -1 */
	uint16_t number;
	struct batch *out;
	struct stream *streams[STREAMS_MAX];
	unsigned count;
	long sent, received;
};

/* Where a message came from, or goes. */
struct origin {
	struct sockaddr_in addr;
	struct stream *stream; /* not with datagrams */
};

typedef void (*message_fn)(char *text, size_t len, const struct origin *from, double at, void *ctx);

double now(void); /* seconds, monotonic */
int port_open(struct port *p, uint16_t number); /* p->transport is set; connections: it listens */
void port_close(struct port *p);

/* MESSAGE_MAX bytes for the next message; port_push() appends it to the batch. */
char *port_buffer(struct port *p);
void port_push(struct port *p, size_t len, const struct origin *to);
void port_flush(struct port *p);

/* Hands over every message that waits, ended by a NUL. `at` is when the kernel took it from the server, not when we
 * came to read it: a generator that is kept from running does not make the server look slow. */
void port_read(struct port *p, message_fn fn, void *ctx);

/* ---------------------------------------------------------------- load_tcp.c: the same for connections */

int tcp_open(struct port *p);
/* NULL: no, and a line says why. ready: with its TLS, if it has one, and as long as that takes. */
struct stream *tcp_connect(struct port *p, const struct sockaddr_in *server, bool ready);
void tcp_hang_up(struct port *p, struct stream *s);                            /* when its input has been looked at */
void tcp_close(struct port *p);
void tcp_push(struct port *p, struct stream *s, const char *text, size_t len);
void tcp_flush(struct port *p);
void tcp_read(struct port *p, message_fn fn, void *ctx);

/* ---------------------------------------------------------------- load_tls.c: below the messages of a connection */

struct ssl_st;

/* `pem`: the callee's certificate and key. resume: each connection after the first goes on with the last one's session. */
int tls_init(const char *pem, bool resume);
struct ssl_st *tls_begin(int fd, bool server);
int tls_connect(struct ssl_st *ssl); /* waits */
void tls_end(struct ssl_st *ssl);
/* As recv() and send(), without waiting; they do the handshake as well. */
ssize_t tls_recv(struct ssl_st *ssl, char *text, size_t len);
ssize_t tls_send(struct ssl_st *ssl, const char *text, size_t len);

/* ---------------------------------------------------------------- load_stats.c */

/* Latencies: exact below 1,024 us, within 1/512 above; ten seconds at most. */
struct latency {
	uint32_t counts[1024 * 10];
	uint64_t total;
	uint64_t max; /* us */
};

void latency_add(struct latency *l, double seconds);
uint64_t latency_percentile(const struct latency *l, double p); /* us */

/* ---------------------------------------------------------------- load.c: calls */

/* INVITE: inviting, up, ending. REGISTER: asking, proving. OPTIONS: asking. */
enum state { NEW, INVITING, UP, ENDING, ASKING, PROVING, DONE, FAILED };

struct call {
	TAILQ_ENTRY(call) link; /* of the queue for what the state waits for: an answer, or the end of the talk */
	double due;             /* when that is over */
	double sent;            /* the request whose answer is awaited, for the first time */
	enum state state;
	unsigned tries;
	bool ringing; /* a provisional answer came: INVITE is not sent again */
	char *keep;   /* INVITE: target, Route lines, To, each ended by NUL; PROVING: the credentials' line */
	struct stream *stream; /* the connection; NULL: datagrams */
};
TAILQ_HEAD(call_queue, call);

struct load {
	enum scenario scenario;
	enum transport transport;
	unsigned connections; /* of the caller */
	struct sockaddr_in server;
	char host[64]; /* ADDRESS:PORT of the server, as it is written in URIs */
	const char *user;
	double rate, hold;
	long count;
	unsigned users, expires;
	bool stay; /* INVITE: calls that are up stay up */

	struct port ports[SIDES];
	uint32_t run; /* tells the messages of this run from those of others */
	struct call *calls;
	long started, ok, failed, refused, live, peak, again, strange; /* refused: of those that failed, with 503 */
	double start, last_done, gap; /* gap: the longest time between two completions */
	struct call_queue waiting, talking;
	struct latency first, second; /* INVITE and BYE; REGISTER without and with credentials */
};

/* What load_sip.c tells the calls. */
void call_answered(struct load *load, struct call *call, double at); /* the INVITE; keep is set */
void call_challenged(struct load *load, struct call *call, double at);
void call_finished(struct load *load, struct call *call, double at, bool ok);

/* ---------------------------------------------------------------- load_sip.c */

/* The request that the call's state wants. */
void sip_request(struct load *load, const struct call *call);
void sip_ack(struct load *load, const struct call *call);
void sip_caller(char *text, size_t len, const struct origin *from, double at, void *load);
void sip_callee(char *text, size_t len, const struct origin *from, double at, void *load);

#endif
