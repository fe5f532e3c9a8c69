/* What the files of the transport share. The parts: transport.c (life cycle, the driver's events), endpoint.c (where we
 * listen and who we are), udp.c (datagrams), flow.c (the connections: table, limits, timeouts), stream.c (their bytes),
 * tls*.c and ws*.c (layers between the two), domain.c (whom a TLS peer must prove to be), relay.c (other workers'
 * connections), foreign.c (whom their peers are), beat.c (keep-alives over datagrams), locate.c (RFC 3263), names.c (what DNS said), avoid.c (who does not answer), nat.c, door.c, stun.c.
 * Private to transport/.
 *
 * A connection, from the driver up:   stream -> [TLS] -> [WebSocket] -> messages, each layer only where it is used.
 *   stream.c  sh_stream_receive -> tls_flow.c -> sh_stream_take -> ws.c -> sh_transport_receive
 *   stream.c  sh_stream_send -> ws.c -> sh_stream_put_plain -> tls_flow.c -> sh_stream_put
 * It is connected when TCP is, and ready when messages may pass.
 *
 * Who calls whom: driver events enter in transport.c, udp.c and stream.c; only there the user's message() is called.
 * A flow may end while its own message is being handed up. So ending unlinks it from every table at once, closes the
 * stream, and leaves the memory in t->ended until the turn ends: then the user hears of it. Hence flow_closed never
 * comes from inside a call of the user's. */
#ifndef SH_TRANSPORT_IMPL_H
#define SH_TRANSPORT_IMPL_H

#include <errno.h>

#include "core/alloc.h"
#include "transport/buffer.h"
#include "transport/transport.h"

#define SH_PART_TIMEOUT  (10 * SH_SECOND) /* for the rest of a message that has begun */
/* Why a WebSocket ends (RFC 6455 7.4.1). */
enum { SH_WS_NORMAL = 1000, SH_WS_GOING_AWAY = 1001 };

#define SH_STALL_TIMEOUT (32 * SH_SECOND) /* output that does not move: 64*T1, everybody has given up on it */

struct sh_listen {
	struct sh_endpoint pub;
	struct sh_transport *t;
	uint8_t index;
	bool any;            /* bound to all addresses of the machine */
	bool named;          /* the user said what to call us */
	bool settled;        /* pub.host is final, and no makeshift */
	struct sh_addr seen; /* the latest address of ours that a packet came to */
	struct sh_udp *udp;  /* one of the two; NULL when stopped */
	struct sh_listener *listener;
	char *name; /* pub.host */
	struct sh_tls *tls;
	struct sh_listen *sibling; /* tls and wss, or tcp and ws, on one socket: the other of the two */
	char *origins;             /* each with a NUL behind it, and an empty one at the end; NULL: all */
	struct sh_local *names[2]; /* that mean us because of it: as bound, as advertised; NULL while it is closed */
	unsigned accepted;   /* connections */
	unsigned flows;      /* these, and those that we have opened */
};

/* A name or address, with port, that means this server. */
struct sh_local {
	struct sh_hash_node node;
	struct sh_addr addr; /* family 0: a name */
	uint16_t port;
	unsigned uses; /* endpoints with that name, and one more when a packet came to it */
	size_t len;
	char name[]; /* lower case */
};

/* A source and how many connections it has opened to us. */
struct sh_peer {
	struct sh_hash_node node;
	struct sh_addr addr; /* see sh_source_of */
	unsigned count;
};

enum sh_flow_state {
	SH_FLOW_OPEN,    /* takes messages, connected or not yet */
	SH_FLOW_CLOSING, /* its output goes out, nothing else happens */
	SH_FLOW_ENDED,   /* in no table; in t->ended until the user has heard of it */
};

struct sh_flow {
	struct sh_transport *t;
	struct sh_hash_node node; /* t->by_remote, unless it is closing */
	struct sh_hash_node alias_node; /* t->aliases, the same; when alias is set */
	uint16_t alias;           /* the port at which its peer says it can be reached, too (RFC 5923); 0: none */
	struct sh_link link;      /* t->flows, then t->ended */
	struct sh_timer timer;    /* at or before the nearest deadline */
	struct sh_stream *stream; /* NULL: gone */
	struct sh_peer *peer;     /* NULL: we opened it */
	uint64_t id;
	struct sh_addr local, remote;
	uint8_t proto, endpoint, state;
	bool connected;
	bool ready;   /* messages may pass: the layers are up */
	bool paused;  /* reading, while output waits */
	bool broken;  /* a write failed: stream_closed is on its way */
	uint8_t ping; /* octets of CRLF CRLF seen */
	int error;    /* that it ended with */
	struct sh_framer framer;
	struct sh_buffer in;  /* the beginning of a message */
	struct sh_buffer out; /* what the driver did not take yet */
	struct sh_tls_flow *tls;
	struct sh_ws *ws;
	uint32_t domain;      /* whom a peer that we connect to must be */
	struct sh_link dirty; /* t->dirty: its output goes out at the end of the turn */
	uint64_t since;       /* connecting, or what makes it ready, began */
	uint64_t last_byte;   /* in either direction */
	uint64_t last_in;     /* from the peer */
	uint64_t pinged;      /* when it was asked whether it is there; 0: it has said something since */
	uint64_t quiet;       /* it has failed when it says nothing for so long; 0: no such limit */
	uint64_t part_since;  /* the message in `in`, or that WebSocket joins, began */
	uint64_t moved;       /* output moved, or began to wait */
};

struct sh_slot {
	struct sh_flow *flow; /* NULL: free */
	uint32_t generation;  /* of the flow, or of the last one */
	uint32_t next_free;
};

struct sh_locate {
	struct sh_link link; /* t->locates */
	struct sh_transport *t;
	sh_locate_fn fn; /* NULL: cancelled */
	void *ctx;
	int hint;
	uint8_t proto; /* SH_PROTO_OTHER: not said */
	bool secure;   /* sips */
	uint16_t port; /* 0: not said */
	unsigned pending, rounds; /* names that it waits for; how often it has looked */
	uint64_t since; /* it began: what came later is good for it, whatever its time to live */
	uint32_t domain;
	size_t len;
	char host[];
};

struct sh_transport {
	struct sh_env *env;
	struct sh_transport_config config;
	struct sh_transport_user user;
	void *user_ctx;
	const struct sh_transport_abroad *abroad; /* NULL: there are no other processes */
	sh_transport_tap_fn tap; /* mostly NULL */
	void *tap_ctx;
	struct sh_listen *listens[SH_MAX_ENDPOINTS];
	unsigned listen_count;
	bool stopped;             /* no more connections are taken */
	struct sh_hash locals;    /* sh_local */
	unsigned learned;         /* of them from packets */
	struct sh_hash by_remote; /* sh_flow by protocol and remote address */
	struct sh_hash aliases;   /* sh_flow by protocol, remote host and alias */
	struct sh_hash peers;     /* sh_peer */
	struct sh_slot *slots;
	uint32_t slot_count, free_slot; /* free_slot: index, or slot_count or more: none */
	unsigned accepted, opened;      /* open flows of either kind */
	unsigned handshakes;            /* accepted, and not ready */
	struct sh_link flows, ended, locates, dirty;
	struct sh_hash names; /* sh_name by name and type */
	struct sh_link names_by_age;
	uint64_t search; /* the number of the one that runs, or ran last */
	struct sh_hash avoided; /* by protocol and remote address */
	struct sh_link avoided_by_age;
	const struct sh_door *door; /* NULL: open */
	bool guarded;               /* there is a door, or a ban */
	struct sh_hash bans;
	struct sh_link bans_by_age;
	struct sh_source *sources; /* NULL: nobody was counted yet */
	struct sh_timer report; /* for what happens outside of a turn */
	struct sh_hash beats; /* beat.c: by number of the peer */
	struct sh_hash foreign; /* sh_foreign: whom peers of other workers' connections have proven to be */
	struct sh_link foreign_by_age;
	struct sh_domain_ring *domains;
	struct sh_tls_session *sessions;
	struct sh_log_limit malformed_limit, refused_limit, ban_limit;
	struct sh_transport_stats stats;
	struct sh_msg msg; /* the one in hand: large, and never cleared */
};

static inline struct sh_slice sh_addr_bytes(const struct sh_addr *a)
{
	return sh_slice_make((const char *)a, sizeof(*a));
}

/* ---- endpoint.c ---- */

/* The endpoint that a message on this path uses: the one it names if that fits, else the first that fits.
 * NULL: there is none for that transport and family. */
struct sh_listen *sh_listen_for(const struct sh_transport *t, const struct sh_path *p);
/* An address of ours as it stood in a packet; cheap when it is the same as before. */
void sh_listen_saw(struct sh_listen *l, const struct sh_addr *local);
void sh_listen_close(struct sh_listen *l); /* frees it */
void sh_locals_finish(struct sh_transport *t);
/* May be the source of a packet: set, one machine's and not "any". */
bool sh_addr_is_source(const struct sh_addr *a);

/* ---- transport.c ---- */

/* One line about bad input, under the limit. call_id may be empty. */
void sh_transport_complain(struct sh_transport *t, enum sh_proto proto, const struct sh_addr *remote, const char *what,
			   const char *why, struct sh_slice call_id);
/* Scans one message and hands it up, or drops and counts it. */
void sh_transport_receive(struct sh_transport *t, const struct sh_path *from, const char *data, size_t len);

/* ---- udp.c ---- */

void sh_udp_receive(struct sh_listen *l, const struct sh_addr *local, const struct sh_addr *remote, const char *data,
		    size_t len);
int sh_udp_transmit(struct sh_transport *t, const struct sh_path *path, struct sh_slice text);
/* The branch of the topmost Via in the beginning of a message; empty when it is not there or may be cut short. */
struct sh_slice sh_udp_branch(struct sh_slice start);

/* ---- flow.c ---- */

/* A stream came in: NULL refuses it. */
struct sh_flow *sh_flow_accept(struct sh_listen *l, struct sh_stream *s, const struct sh_addr *local,
			       const struct sh_addr *remote);
/* Begins to connect. 0 or -errno. */
int sh_flow_open(struct sh_flow **out, struct sh_listen *l, const struct sh_path *path);
struct sh_flow *sh_flow_by_id(const struct sh_transport *t, uint64_t id); /* NULL: gone or closing */
/* A connection to that address, of a TLS peer that has proven (or must prove) to be `domain`. */
struct sh_flow *sh_flow_by_remote(const struct sh_transport *t, enum sh_proto proto, const struct sh_addr *remote,
				  uint32_t domain);
/* A request with "alias" in its Via came by it (RFC 5923 8.2): requests to the peer's own port may go by it, if the peer
 * has proven who it is. */
void sh_flow_note_alias(struct sh_transport *t, uint64_t id, const struct sh_msg *m);
/* TCP is connected. */
void sh_flow_connected(struct sh_flow *f);
/* TLS is up: what comes next is the peer's WebSocket handshake, or messages. */
void sh_flow_secured(struct sh_flow *f);
/* All layers are up. `l`: the endpoint that it turned out to belong to. */
void sh_flow_ready(struct sh_flow *f, struct sh_listen *l);
/* Says goodbye in the layers' words: a close frame (RFC 6455 7.4.1), close_notify. */
void sh_flow_goodbye(struct sh_flow *f, unsigned code);
/* Takes no more part in anything new: it is not found any more. */
void sh_flow_unlist(struct sh_flow *f);
/* Ends it now: output that waits is lost. Does nothing to one that has ended. */
void sh_flow_end(struct sh_flow *f, int error);
/* A deadline may have come nearer. */
void sh_flow_watch(struct sh_flow *f);
void sh_flow_expect(struct sh_transport *t, uint64_t id, uint64_t quiet); /* of this worker; see sh_transport_flow_expect */
/* Tells the user of all that ended, and frees them. */
void sh_flow_report(struct sh_transport *t);
void sh_flow_destroy_all(struct sh_transport *t);

static inline unsigned sh_flow_worker(uint64_t id)
{
	return (unsigned)(id >> 56);
}

/* ---- stream.c ---- */

void sh_stream_receive(struct sh_flow *f, const char *data, size_t len);
void sh_stream_flush(struct sh_flow *f); /* the driver takes more */
void sh_stream_flush_dirty(struct sh_transport *t);
/* One message. 0; -ENOMEM, -ENOBUFS: not sent, and then the flow may have ended. */
int sh_stream_send(struct sh_flow *f, struct sh_slice text);
/* Octets of the layer above TLS, from the peer and to it. Results as those of send. */
void sh_stream_take(struct sh_flow *f, const char *data, size_t len);
int sh_stream_put_plain(struct sh_flow *f, struct sh_slice text);
/* Octets for the wire, at the end of the turn. Whoever calls it has begun something that must be finished: on an error
 * the flow has ended. */
int sh_stream_put(struct sh_flow *f, struct sh_slice octets);
void sh_stream_touch(struct sh_flow *f); /* something waits for the end of the turn */
int sh_stream_overrun(struct sh_flow *f); /* more waits than may: ends it; -ENOBUFS */
/* Octets between messages, see stream.c. */
size_t sh_stream_keep_alive(struct sh_flow *f, const char *data, size_t len);

/* ---- tls_flow.c ---- */

int sh_tls_flow_begin(struct sh_flow *f, struct sh_tls *t, bool server); /* 0, -ENOMEM, -EINVAL */
void sh_tls_flow_finish(struct sh_flow *f);
void sh_tls_flow_ended(struct sh_flow *f, int error); /* for the counters */
void sh_tls_flow_connected(struct sh_flow *f); /* our turn to speak */
void sh_tls_flow_receive(struct sh_flow *f, const char *data, size_t len);
int sh_tls_flow_send(struct sh_flow *f, struct sh_slice text);
void sh_tls_flow_encrypt(struct sh_flow *f); /* what was sent, once it is ready; it may end the flow */
void sh_tls_flow_shut(struct sh_flow *f);
bool sh_tls_flow_proves(const struct sh_flow *f, uint32_t domain);
bool sh_tls_flow_is(const struct sh_flow *f, uint32_t domain); /* by its certificate; 0: its address */
const char *sh_tls_flow_names(const struct sh_flow *f);
void sh_tls_sessions_finish(struct sh_transport *t);

/* ---- domain.c ---- */

struct sh_slice sh_domain_text(const struct sh_transport *t, uint32_t id); /* empty: unknown */
void sh_domains_finish(struct sh_transport *t);

/* ---- ws.c, ws_upgrade.c ---- */

int sh_ws_begin(struct sh_flow *f); /* an accepted connection that may become one. 0 or -ENOMEM */
void sh_ws_finish(struct sh_flow *f);
void sh_ws_receive(struct sh_flow *f, const char *data, size_t len);
bool sh_ws_has_part(const struct sh_flow *f); /* a frame or message has begun and is not whole */
int sh_ws_send(struct sh_flow *f, struct sh_slice text);
void sh_ws_close(struct sh_flow *f, unsigned code);
void sh_ws_ping(struct sh_flow *f);
/* The answer to an upgrade request (RFC 6455 4.2). `request` ends with its empty line. 101, or the status of a refusal;
 * *why says it in words. The answer is written to out in any case. */
unsigned sh_ws_answer(const struct sh_listen *l, struct sh_slice request, char *out, size_t size, size_t *len,
		      const char **why);
/* The answer of a refusal; why stands in its body. Returns its length. */
size_t sh_ws_refusal(unsigned status, const char *why, char *out, size_t size);

/* ---- relay.c ---- */

int sh_relay_send(struct sh_transport *t, const struct sh_path *path, struct sh_slice text);
void sh_relay_close(struct sh_transport *t, uint64_t flow);
void sh_relay_expect(struct sh_transport *t, unsigned worker, uint64_t flow, uint64_t quiet, uint64_t lifetime);

/* ---- beat.c ---- */

void sh_beat_expect(struct sh_transport *t, uint64_t flow, uint64_t quiet, uint64_t lifetime);
void sh_beat_came(struct sh_transport *t, const struct sh_addr *remote); /* only to be called when t->beats has some */
void sh_beats_finish(struct sh_transport *t);

/* ---- foreign.c ---- */

const char *sh_foreign_names(const struct sh_transport *t, uint64_t flow); /* NULL: none are known */
void sh_foreign_finish(struct sh_transport *t);

/* ---- names.c ---- */

enum { SH_NAME_MAX = 255 };

struct sh_name_answer {
	int error; /* 0; -ENOENT; -EAGAIN */
	const struct sh_dns_record *records;
	size_t count;
};
/* What is known of a name: 0 and *out, good until the next search (t->search) begins; -EINPROGRESS: sh_locate_wake(l) comes later; -ENOMEM,
 * -EINVAL, the driver's. since: see sh_locate. */
int sh_names_get(struct sh_transport *t, struct sh_slice name, enum sh_dns_type type, uint64_t since,
		 struct sh_locate *l, const struct sh_name_answer **out);
void sh_names_finish(struct sh_transport *t);

/* ---- avoid.c ---- */

bool sh_avoided(struct sh_transport *t, const struct sh_path *p);
void sh_avoid_finish(struct sh_transport *t);

/* ---- door.c ---- */

/* present: connections from there that it has already. Who is shut out may have one: what comes by it is looked at, and a call for
 * help passes. */
bool sh_door_admits_connection(struct sh_transport *t, const struct sh_addr *remote, unsigned present);
/* Only to be asked when t->guarded. */
bool sh_door_admits_message(struct sh_transport *t, const struct sh_msg *m, const struct sh_addr *remote);
void sh_door_finish(struct sh_transport *t);

/* ---- stun.c ---- */

enum { SH_STUN_ANSWER = 44 };
bool sh_stun_is(const char *data, size_t len);
/* The answer to a binding request: its length; 0: none. */
size_t sh_stun_answer(uint8_t out[SH_STUN_ANSWER], const char *data, size_t len, const struct sh_addr *remote);

/* ---- locate.c ---- */

void sh_locate_wake(struct sh_locate *l); /* one of the names that it waits for is there */
void sh_locate_destroy_all(struct sh_transport *t);

#endif
