/* Transports: from bytes to messages and back (RFC 3261 18, RFC 3581, 5922, 7118). TLS, WebSocket, framing, connection
 * table and reuse, back-pressure, limits and keep-alive live here, above the driver's seam, so that they are simulated
 * too.
 *
 * One per worker, on its thread. A stream connection ("flow") has a 64-bit id that never comes again:
 * worker (8 bits) | slot (24) | generation (32); 0 = no flow. Sending on another worker's flow posts the bytes there. Where processes
 * hand over to each other, numbers from SH_FLOW_ABROAD on in the place of the worker are connections of other processes.
 * SH_FLOW_DATAGRAM there: the peer of datagrams (sh_peer_flow), of which only the end is told.
 *
 * An endpoint is a place where we listen (a transport, an address, and how others see it). All workers have the same
 * endpoints in the same order; `endpoint` below is that index. One that is closed and unused may give its index to another. */
#ifndef SH_TRANSPORT_TRANSPORT_H
#define SH_TRANSPORT_TRANSPORT_H

#include "core/env.h"
#include "msg/msg.h"
#include "msg/uri.h"
#include "transport/tls.h"

enum { SH_MAX_ENDPOINTS = 256, SH_MAX_CANDIDATES = 8, SH_FLOW_ABROAD = 64, SH_FLOW_DATAGRAM = 255 };

/* The way of one message: where it came from, or where it goes. Copy freely. */
struct sh_path {
	uint8_t proto;    /* enum sh_proto */
	uint8_t endpoint; /* index */
	uint8_t worker;   /* datagrams that came: whose socket they came to */
	uint32_t domain;  /* TLS: whom the peer of a new connection must be (sh_domain_intern); 0: its IP address */
	uint64_t flow;    /* streams: the connection, 0 = find or open one to `remote` */
	struct sh_addr local; /* of ours that the peer sent to, and the source of what we send; family 0: any */
	struct sh_addr remote;
};

/* What is made of a peer that seems to be behind a NAT: it is reached where its packets come from. */
enum sh_nat { SH_NAT_AUTO, SH_NAT_ALWAYS, SH_NAT_NEVER };

/* What of an endpoint may change while it is open. 0 of a number: that of the whole transport. */
struct sh_listen_tuning {
	enum sh_nat nat;
	unsigned max_connections, max_per_source; /* accepted */
	uint64_t idle_timeout, message_timeout;   /* us; the second: for a message that has begun */
	uint64_t handshake_timeout;               /* us, of TLS and WebSocket */
	uint64_t ping; /* us: a WebSocket that said nothing for so long is asked; 0: 30 s, SH_NEVER: not at all */
};

struct sh_endpoint {
	enum sh_proto proto;
	struct sh_addr local;      /* as bound (port filled in) */
	struct sh_slice host;      /* advertised in Via and Contact, IPv6 in brackets; never empty, never 0.0.0.0 */
	uint16_t port;             /* advertised */
	bool connect_only;         /* nobody can connect to it */
	bool retired;              /* given up */
	bool closed;               /* retired, and its socket is closed */
	bool reserved;             /* closed, and it never was open: only its index is taken */
	struct sh_listen_tuning tuning;
};

struct sh_transport_config {
	unsigned max_connections;      /* 0 = 10,000; of those accepted, and as many again that we open */
	unsigned max_per_peer;         /* connections accepted from one source (an IPv6 /64 is one); 0 = 100 */
	uint64_t idle_timeout;         /* us without a byte; 0 = 3,600 s; half-received messages: 10 s, stuck output: 32 s */
	uint64_t connect_timeout;      /* us; 0 = 4 s */
	uint64_t handshake_timeout;    /* us from there to the first message: TLS, WebSocket; 0 = 5 s */
	unsigned max_handshakes;       /* of accepted connections at a time; 0 = 500 */
	size_t max_unsent;             /* bytes queued on one connection before it is closed; 0 = 1 MB */
	uint64_t avoid_time;           /* us that an address which failed is gone to last; 0 = 30 s */
};

struct sh_transport_user {
	/* A message arrived. code is sh_msg_scan's answer: 0, or the 4xx/505 that a malformed request deserves (why). */
	void (*message)(void *ctx, const struct sh_msg *m, const struct sh_path *from, int code, const char *why);
	/* A connection ended, or could not be made (error: -ECONNREFUSED, -ETIMEDOUT ...; 0: by the peer or by us; -EBADMSG,
	 * -EMSGSIZE: framing was lost; -EPROTO: TLS or WebSocket failed; -ENOBUFS: the peer did not read; -EPIPE: another worker's, found gone by a send).
	 * Or the keep-alives of a peer of datagrams that were expected have ceased: -ETIMEDOUT.
	 * Never called from inside a function of this header. */
	void (*flow_closed)(void *ctx, uint64_t flow, int error);
	/* A datagram could not be delivered; branch: of the topmost Via of what was sent, may be empty. */
	void (*unreachable)(void *ctx, const struct sh_addr *remote, struct sh_slice branch, int error);
	/* The end of a turn: everything that arrived in it has been handed up. May be NULL. */
	void (*turn_end)(void *ctx);
};

struct sh_transport;

/* Why a TLS handshake failed. */
enum sh_tls_failure {
	SH_TLS_CERTIFICATE, /* the peer's is missing, not good, or not of whom it should be */
	SH_TLS_ALERT,       /* the peer refused: mostly our certificate */
	SH_TLS_PROTOCOL,    /* no version or cipher in common, or that was no TLS */
	SH_TLS_TIMEOUT,
	SH_TLS_CLOSED, /* the peer went */
	SH_TLS_FAILURES,
};

struct sh_transport_stats { /* counters, but the connections: open now. Numbers of 64 bits only: they are summed up as an array */
	uint64_t connections_by[SH_PROTO_COUNT];
	uint64_t datagrams_in, datagrams_out, messages_in, messages_out, malformed, connections, refused_limit, keepalives;
	uint64_t dns_queries;
	uint64_t handshakes, handshakes_resumed, handshakes_failed[SH_TLS_FAILURES]; /* TLS, both sides */
	uint64_t upgrades, upgrades_refused;                        /* WebSocket */
	uint64_t refused_acl, refused_banned, refused_rate, bans; /* messages and connections; messages; requests; sources */
	uint64_t slow;  /* connections closed because the rest of a message did not come */
	uint64_t quiet; /* flows that are dead because no keep-alive came, or no answer to a ping */
};

int sh_transport_create(struct sh_transport **out, struct sh_env *env, const struct sh_transport_config *config,
			const struct sh_transport_user *user, void *user_ctx);
void sh_transport_destroy(struct sh_transport *t); /* closes everything without events; NULL is fine */

/* What is listened for, and how. */
struct sh_listen_config {
	enum sh_proto proto;
	const struct sh_addr *local;
	struct sh_slice advertise_host; /* may be empty, see below */
	uint16_t advertise_port;        /* 0: as bound */
	struct sh_tls *tls;             /* of tls and wss, must have an identity unless only connecting; counted */
	bool connect_only;              /* no socket: it is for connections that we open (`local` says from where) */
	const struct sh_slice *origins; /* ws and wss: who may connect (RFC 6455 10.2), as "https://example.org"; copied */
	unsigned origin_count;          /* 0: everybody */
	unsigned instead;               /* 1 + the index of an unused endpoint whose place it takes; 0: behind all others */
};

/* Opens an endpoint. tls and wss, or tcp and ws, may share an address: then the first octets of a connection tell which
 * of the two it is. advertise_host may be empty: then the bound address; for 0.0.0.0 and :: the address that a packet
 * was sent to is used per message, and otherwise the first non-loopback one that the driver gave as bound, or that a
 * packet came to (127.0.0.1 or [::1] until then). 0, -EPROTONOSUPPORT, -EINVAL, -ENOSPC, -ENOMEM or the driver's. */
int sh_transport_listen_with(struct sh_transport *t, const struct sh_listen_config *config);
/* Takes the index and nothing else, so that those behind it have the same on all workers though this one cannot be opened: of
 * the configuration proto, local and instead count. It is unused from the beginning, and becomes real when one that
 * listen_with opens takes its place. 0, -EPROTONOSUPPORT, -EINVAL, -EBUSY (`instead` is in use), -ENOSPC or -ENOMEM. */
int sh_transport_listen_reserve(struct sh_transport *t, const struct sh_listen_config *config);
/* The same as listen_with for udp and tcp, in short. */
int sh_transport_listen(struct sh_transport *t, enum sh_proto proto, const struct sh_addr *local,
			struct sh_slice advertise_host, uint16_t advertise_port);
/* Takes no more connections (drain). Those that are there live on, and datagram sockets too: the calls that are left
 * need them. */
void sh_transport_listen_stop(struct sh_transport *t);

unsigned sh_transport_endpoints(const struct sh_transport *t);
const struct sh_endpoint *sh_transport_endpoint(const struct sh_transport *t, unsigned index);
/* The host:port that the peer of this path should see in Via and Contact. host points into t or into buf. */
void sh_transport_sent_by(const struct sh_transport *t, const struct sh_path *p, char buf[SH_ADDR_TEXT],
			  struct sh_slice *host, uint16_t *port);

void sh_transport_tune(struct sh_transport *t, unsigned index, const struct sh_listen_tuning *tuning);
/* An endpoint that is there, as the configuration says from now on; what it does not say (advertise_host, tls, origins) stays.
 * Its connections live on. One that was given up is opened again. 0, -EINVAL for one that is only reserved, or as listen_with. */
int sh_transport_listen_again(struct sh_transport *t, unsigned index, const struct sh_listen_config *config);
/* Gives an endpoint up: nobody can connect to it any more, and nothing new leaves by it. Its connections live on, and so does
 * its datagram socket, for the sake of the dialogs that need it, until the user calls close. Does nothing while another one
 * that shares its socket is wanted. */
void sh_transport_listen_retire(struct sh_transport *t, unsigned index);
void sh_transport_listen_close(struct sh_transport *t, unsigned index); /* of a retired one */
/* It is closed, and no connection is left of it: as far as this layer knows, its index may be another's. */
bool sh_transport_endpoint_unused(const struct sh_transport *t, unsigned index);
/* "udp://127.0.0.1:5060", "tcp://[::1]"; without a port the default one. NULL, or what is wrong with it. */
const char *sh_listen_uri_parse(struct sh_slice text, enum sh_proto *proto, struct sh_addr *addr);

/* ---- the door: who comes in and how often. All of it is the caller's, and stays as it is while it is in use. */
struct sh_door_rule {
	struct sh_prefix prefix;
	bool allow;
};
struct sh_door {
	const struct sh_door_rule *rules; /* sorted by sh_door_sort; the longest prefix decides */
	unsigned rule_count;
	bool closed; /* who is in no rule stays outside */
	const struct sh_prefix *trust; /* these are neither counted nor shut out */
	unsigned trust_count;
	uint32_t rate, burst;  /* requests outside of dialogs per second and source; 0: any number */
	unsigned max_failures; /* wrong passwords from one source within failure_window: shut out for ban_time; 0: never */
	uint64_t failure_window, ban_time; /* us */
	unsigned max_connections, max_handshakes; /* accepted, of this worker; 0: those of the configuration */
	const struct sh_slice *emergency;  /* user parts; calls to them, and to urn:service:sos, pass every limit */
	unsigned emergency_count;
};
void sh_door_sort(struct sh_door_rule *rules, unsigned count);
void sh_transport_set_door(struct sh_transport *t, const struct sh_door *d); /* NULL: open */

/* Who is shut out, for another process; every worker knows the same. */
struct sh_ban {
	struct sh_addr source;
	uint64_t left; /* us */
};
void sh_transport_each_ban(const struct sh_transport *t, void (*fn)(void *ctx, const struct sh_ban *b), void *ctx);
void sh_transport_put_ban(struct sh_transport *t, const struct sh_ban *b); /* on this worker alone */

enum sh_admission { SH_ADMITTED, SH_REFUSED /* 503 with Retry-After */, SH_DROPPED };
/* A request that begins a transaction: the rate of its source. */
enum sh_admission sh_transport_admit(struct sh_transport *t, const struct sh_msg *m, const struct sh_path *from,
				     unsigned *retry_after);
bool sh_transport_is_emergency(const struct sh_transport *t, const struct sh_msg *m); /* a call that no limit is for */
struct sh_addr sh_source_of(const struct sh_addr *remote); /* what counts as one: without port, of IPv6 the /64 */
bool sh_transport_blames(const struct sh_transport *t, const struct sh_addr *remote); /* wrong passwords from there are counted */
/* A wrong password came from there; a right one. A challenge is neither. */
void sh_transport_blame(struct sh_transport *t, const struct sh_addr *remote);
void sh_transport_pardon(struct sh_transport *t, const struct sh_addr *remote);

/* True when the sender of a request, whose Contact has that URI, is to be reached where the request came from and not at
 * that URI: its Contact cannot be right (automatic), or the endpoint says so for everybody. Never for what came through
 * a proxy. */
bool sh_transport_behind_nat(const struct sh_transport *t, const struct sh_msg *m, struct sh_slice contact,
			     const struct sh_path *from);

/* True when host[:port] is one of our endpoints (bound or advertised); port 0 in the URI means the default port. */
bool sh_transport_is_local(const struct sh_transport *t, const struct sh_uri *uri);

/* Sends one message (copied). Streams: path->flow, if it is alive; else the open connection to path->remote; else a new
 * one, whose id is written to *flow (may be NULL; also for reused ones; 0 for datagrams). 0 or -errno
 * (-EHOSTUNREACH no endpoint for that transport and family, -EPIPE flow gone and no address, -ENOBUFS queue full or too
 * many connections, -EMSGSIZE, -ENOMEM, the driver's). Another worker's flow: no other connection is tried, flow_closed
 * says when it is gone. What fails later is reported by flow_closed or unreachable. */
int sh_transport_send(struct sh_transport *t, const struct sh_path *path, struct sh_slice text, uint64_t *flow);

/* A name for sh_path.domain: the host of the URI that a request is for. 0: no memory, or no name. */
uint32_t sh_domain_intern(struct sh_transport *t, struct sh_slice host);

/* Whom the peer of a TLS connection has proven to be (RFC 5922 7.1): names, each with a NUL behind it, and an empty one
 * at the end. NULL: no TLS, or another worker's connection of which it was not told. */
const char *sh_transport_flow_names(const struct sh_transport *t, uint64_t flow);
/* What another worker's transport says of a connection of its own, before a message that came by it. Some thousand are
 * remembered. 0 or -ENOMEM. */
int sh_transport_learn_names(struct sh_transport *t, uint64_t flow, const char *names);
size_t sh_transport_names_size(const char *names); /* octets of such a list */

/* Somebody who reads along: each message that came in well-formed, and each that leaves, before it is handled or sent. fn NULL: nobody
 * (then it costs a comparison). */
typedef void (*sh_transport_tap_fn)(void *ctx, bool in, const struct sh_path *path, struct sh_slice text);
void sh_transport_set_tap(struct sh_transport *t, sh_transport_tap_fn fn, void *ctx);

/* From now on a connection that says nothing for `quiet` microseconds has failed (RFC 5626 4.4, Flow-Timer): it is closed. Of datagrams,
 * the peer that sends keep-alives in time (three show that) and then none for so long, while `lifetime` (us) lasts; not by a socket that
 * several workers read. 0: no such limit. Another worker's, too. `from`: by which a REGISTER came. */
void sh_transport_flow_expect(struct sh_transport *t, const struct sh_path *from, uint64_t quiet, uint64_t lifetime);
void sh_transport_forget_beats(struct sh_transport *t); /* another process gets the datagrams from now on */
/* The number of a peer of datagrams; the same on all workers. */
uint64_t sh_peer_flow(const struct sh_hash_key *key, const struct sh_addr *remote);
/* Of this worker, or of a process that is there; others: true. */
bool sh_transport_flow_alive(const struct sh_transport *t, uint64_t flow);
/* Closes a connection when its output is written. */
void sh_transport_flow_close(struct sh_transport *t, uint64_t flow);

/* Connections of other processes: what is sent on one goes to send (0 or -errno), and its close to close; alive: its process is there. */
struct sh_transport_abroad {
	int (*send)(void *ctx, uint64_t flow, struct sh_slice text);
	void (*close)(void *ctx, uint64_t flow);
	bool (*alive)(void *ctx, uint64_t flow);
	void *ctx;
};
void sh_transport_set_abroad(struct sh_transport *t, const struct sh_transport_abroad *a); /* stays the caller's */
/* A connection of another process has ended: as if it were one of another worker. */
void sh_transport_flow_gone(struct sh_transport *t, uint64_t flow);
/* What another process has heard of a datagram of ours. */
void sh_transport_unreachable(struct sh_transport *t, const struct sh_addr *remote, struct sh_slice branch, int error);
/* A path of another process: from now on with the number that its endpoint has here, found by protocol and local address. False: nobody
 * listens there any more, and it gets another one of its protocol, or the first. */
bool sh_transport_renumber(const struct sh_transport *t, struct sh_path *path);
/* A message that came to another process by that way. */
void sh_transport_arrive(struct sh_transport *t, const struct sh_path *from, struct sh_slice text);

/* Where a request to `uri` goes (RFC 3263 4): NAPTR, SRV with weights, A and AAAA, as far as the URI leaves it open;
 * maddr; port or default; never in the clear for sips. What is known is not asked for again (transport/names.c), numeric
 * hosts never. The paths come in the order in which they are to be tried; those that failed lately are last.
 * endpoint_hint >= 0 forces that endpoint. Fills out[] and returns the count where nothing must be asked; else 0, and fn
 * is called later with the paths (count 0 and error when there are none). -EPROTONOSUPPORT, -EINVAL, -EHOSTUNREACH,
 * -ENOMEM; -ENOENT, -EAGAIN of a name that is known not to be found. */
typedef void (*sh_locate_fn)(const struct sh_path *paths, unsigned count, int error, void *ctx);
struct sh_locate; /* a pending look-up */
int sh_transport_locate(struct sh_transport *t, const struct sh_uri *uri, int endpoint_hint,
			struct sh_path out[SH_MAX_CANDIDATES], sh_locate_fn fn, void *ctx, struct sh_locate **pending);
void sh_locate_cancel(struct sh_locate *l); /* fn will not be called; NULL is fine */

/* A request by that path got no answer (connection refused, ICMP, timeout), or 503: its address is tried after all others
 * for a while, 0: the configured time; 300 s at most. And: it has answered. Cheap while nothing is avoided. */
void sh_transport_avoid(struct sh_transport *t, const struct sh_path *path, uint64_t time);
bool sh_transport_avoids(struct sh_transport *t, const struct sh_path *path); /* now */
void sh_transport_works(struct sh_transport *t, const struct sh_path *path);

const struct sh_transport_stats *sh_transport_stats(const struct sh_transport *t);

#endif
