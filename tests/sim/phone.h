/* A scriptable SIP endpoint on the virtual network: the independent witness of the tests. It stands on drivers/sim,
 * core and msg/ only; transport, transactions and dialogs are written here a second time, the simple way.
 *
 *     struct phone *alice = phone_create(sim, "10.0.1.1"), *bob = phone_create(sim, "10.0.1.2");
 *     struct phone_call *call = phone_invite(alice, "sip:bob@10.0.1.2", NULL, sdp);
 *     struct phone_msg *invite = phone_expect(bob, "INVITE", SH_SECOND);
 *     phone_reply(invite, 180, NULL, NULL, NULL);
 *     phone_expect(alice, "180", SH_SECOND);
 *     phone_reply(invite, 200, NULL, NULL, sdp);
 *     phone_ack(phone_expect(alice, "200", SH_SECOND), NULL, NULL);
 *     phone_expect(bob, "ACK", SH_SECOND);
 *     phone_bye(invite->call);                           either side may
 *     phone_reply(phone_expect(alice, "BYE", SH_SECOND), 200, NULL, NULL, NULL);
 *     phone_expect(bob, "200 BYE", SH_SECOND);
 *
 * By itself a phone only listens and notes down: every message is a line of the test. phone_auto() gives it the habits
 * that a network with loss asks for. What fails prints the ladder of all phones with the texts and the seed, then
 * fails the cmocka test.
 *
 * Memory: all that a phone hands out (messages, calls, texts) lives until phone_destroy. It comes from malloc, not from
 * the module, so an allocation sweep does not see it; sockets and phone_authorize are the exceptions. Running out of
 * it ends the test. One thread. */
#ifndef TESTS_SIM_PHONE_H
#define TESTS_SIM_PHONE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "drivers/sim/sim.h"
#include "msg/msg.h"

struct phone_conn; /* a TCP connection */

/* A message that was received, or sent; in phone->log in that order. */
struct phone_msg {
	struct sh_link link;
	struct phone *phone;
	struct phone_call *call; /* the one that it belongs to; NULL: garbage, or an answer to nothing of ours */
	uint64_t at;             /* virtual time */
	uint64_t number;         /* counts the messages of all phones */
	enum sh_proto proto;
	struct sh_addr remote;
	struct phone_conn *conn; /* NULL: a datagram */
	bool sent;               /* else received */
	bool repeat;             /* a retransmission */
	bool consumed;           /* phone_expect has given it to the test */
	int code;                /* of sh_msg_scan: 0, 400, 505, or -EBADMSG: then m says nothing */
	struct sh_msg m;
	char *text; /* the whole, with a NUL behind it */
	size_t len;
	/* PHONE_RESEND: */
	struct sh_timer timer;
	uint64_t interval, give_up;
};

/* A Call-ID with a tag of ours: a dialog, or what may become one. Also a REGISTER or OPTIONS is a call. */
struct phone_call {
	struct sh_link link;
	struct phone *phone;
	const char *id;                     /* Call-ID */
	const char *local, *remote;         /* `"Alice" <sip:...>`, without tags */
	const char *local_tag, *remote_tag; /* remote_tag NULL: not known yet */
	const char *target;                 /* where requests go: their Contact; before, the Request-URI */
	const char *routes;                 /* "<sip:a;lr>, <sip:b;lr>" in the order to send; NULL: none */
	bool confirmed;                     /* a 2xx was sent or received */
	uint32_t cseq;                      /* of our latest request */
	struct phone_msg *sent;             /* our latest request, but for ACK and CANCEL */
	struct phone_msg *invite;           /* our latest INVITE */
};

enum {
	/* Requests and final answers to an INVITE are sent again over UDP by RFC 3261 17 (T1, T2), until they are
	   answered. */
	PHONE_RESEND = 1,
	/* A retransmission that comes in is answered as the first time, if that is done already, and phone_expect does
	 * not see it. Without this every copy is a message like any other. */
	PHONE_ABSORB = 2,
	PHONE_ROBUST = PHONE_RESEND | PHONE_ABSORB,
};

struct phone {
	struct sh_link link; /* all phones of the process */
	struct sh_sim *sim;
	struct sh_env *env;
	struct sh_addr addr; /* where it listens, UDP and TCP */
	const char *uri;     /* its address of record, for From: "sip:phone@10.0.1.1" */
	const char *name;    /* user part of Contact */
	struct sh_link log, calls, conns, heap;
	unsigned habits;
	bool has_proxy;
	enum sh_proto proxy_proto;
	struct sh_addr proxy;
	const char *login, *password, *nonce; /* nonce: the one that nonce_count counts */
	uint32_t nonce_count;
	unsigned icmp; /* datagrams that came back */
	/* Called for each message that comes in, after the phone has noted it down, but not for what it absorbs. It may
	 * do what a test may, except expect. */
	void (*on_message)(struct phone_msg *msg, void *ctx);
	void *ctx;
	/* Private: */
	struct sh_udp *udp;
	struct sh_listener *listener;
	char *scratch;
};

/* ---- life ---- */

/* A host of its own with that address, listening on UDP and TCP port 5060. */
struct phone *phone_create(struct sh_sim *sim, const char *ip);
void phone_destroy(struct phone *p); /* before the simulation; NULL is fine */

/* "alice", "example.org": From becomes sip:alice@example.org and Contact <sip:alice@ip:port>. */
void phone_identity(struct phone *p, const char *user, const char *domain);
/* Requests outside of dialogs go there (and, inside, those whose next hop is a host name). Without it they go to the
 * Request-URI, whose host must be numeric. SH_PROTO_UDP or SH_PROTO_TCP. */
void phone_proxy(struct phone *p, enum sh_proto proto, const char *ip, uint16_t port);
void phone_login(struct phone *p, const char *user, const char *password); /* for phone_authorize */
void phone_auto(struct phone *p, unsigned habits);                         /* PHONE_... or-ed */

/* ---- sending ----
 * headers: further lines, "A: b\r\nC: d" ("\n" is enough, the last line end too many); NULL: none. A line with a name
 * that the phone would write itself replaces the phone's; "-Contact" leaves it out. body: NULL or "": none; its type is
 * application/sdp unless a Content-Type is among the headers.
 * All return what was sent, or the call that it belongs to (call->sent is the message). */

/* The text as it is. */
struct phone_msg *phone_send(struct phone *p, enum sh_proto proto, const char *ip, uint16_t port, const char *text,
			     size_t len);
struct phone_msg *phone_resend(struct phone_msg *sent); /* the same bytes again, the same way */

/* A request outside of a dialog: fresh Call-ID, tag, branch. REGISTER: To is the phone's own address of record. */
struct phone_call *phone_request(struct phone *p, const char *method, const char *uri, const char *headers,
				 const char *body);
struct phone_call *phone_invite(struct phone *p, const char *uri, const char *headers, const char *body);

/* A request in a call: the next CSeq, and tags, target and route set as learnt until now. */
struct phone_msg *phone_in_call(struct phone_call *c, const char *method, const char *headers, const char *body);
struct phone_msg *phone_reinvite(struct phone_call *c, const char *headers, const char *body);
struct phone_msg *phone_bye(struct phone_call *c);
struct phone_msg *phone_cancel(struct phone_call *c, const char *headers); /* of the latest INVITE */
/* For a final answer to an INVITE. 2xx: a request of its own in the dialog of that answer; else hop by hop. */
struct phone_msg *phone_ack(struct phone_msg *answer, const char *headers, const char *body);
struct phone_msg *phone_prack(struct phone_msg *provisional, const char *headers, const char *body); /* RFC 3262 */
/* For a 401 or 407: acknowledges it when it is for an INVITE, then sends the request again with credentials. */
struct phone_msg *phone_authorize(struct phone_msg *challenge);

/* An answer to a request that came in: Vias (received, rport), From, To with our tag, Call-ID, CSeq; Record-Route and
 * Contact where RFC 3261 12.1.1 wants them. reason NULL: the usual one. */
struct phone_msg *phone_reply(struct phone_msg *request, unsigned code, const char *reason, const char *headers,
			      const char *body);

/* An INVITE that was forked: the call goes on with the dialog of this answer. Without it, with that of the first 2xx.
 */
void phone_follow(struct phone_msg *answer);

/* Closes its TCP connections. */
void phone_hang_up_connections(struct phone *p);
size_t phone_connections(const struct phone *p); /* open ones */

/* ---- what came ----
 * what: "INVITE" a request; "180" a status, "2xx" a class; "200 BYE" with the method of the CSeq; "?" what is no SIP
 * message; "*" anything. Only messages that no phone_expect has given out yet. timeout, duration: microseconds. */

/* The oldest that fits, or the first to come until the time is over. Never NULL: then the test fails. */
#define phone_expect(p, what, timeout) phone_expect_at((p), NULL, (what), (timeout), __FILE__, __LINE__)
#define phone_expect_in(call, what, timeout)                                                                           \
	phone_expect_at((call)->phone, (call), (what), (timeout), __FILE__, __LINE__)
/* Nothing that fits is there or comes for that long. */
#define phone_expect_none(p, what, duration) phone_expect_none_at((p), (what), (duration), __FILE__, __LINE__)

/* The first value of a header field (long or compact name), folds and all; NULL: there is none. */
const char *phone_value(const struct phone_msg *msg, const char *name);
const char *phone_body(const struct phone_msg *msg);
unsigned phone_count(const struct phone *p, const char *what); /* that came so far, consumed or not, repeats too */

/* A header field has that value (NULL: is not there); contains a text; the same for the body. */
#define phone_assert_header(msg, name, value)  phone_assert_header_at((msg), (name), (value), __FILE__, __LINE__)
#define phone_assert_contains(msg, name, part) phone_assert_contains_at((msg), (name), (part), __FILE__, __LINE__)
#define phone_assert_body(msg, text)           phone_assert_body_at((msg), (text), __FILE__, __LINE__)
/* Any condition: prints the ladder when it is false. */
#define phone_assert(p, condition)                                                                                     \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			phone_fail((p)->sim, __FILE__, __LINE__, "%s", #condition);                                    \
	} while (0)

void phone_ladder(const struct sh_sim *sim); /* prints it; also of use without a failure */
void phone_fail(const struct sh_sim *sim, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), noreturn));

struct phone_msg *phone_expect_at(struct phone *p, const struct phone_call *c, const char *what, uint64_t timeout,
				  const char *file, int line);
void phone_expect_none_at(struct phone *p, const char *what, uint64_t duration, const char *file, int line);
void phone_assert_header_at(const struct phone_msg *msg, const char *name, const char *value, const char *file,
			    int line);
void phone_assert_contains_at(const struct phone_msg *msg, const char *name, const char *part, const char *file,
			      int line);
void phone_assert_body_at(const struct phone_msg *msg, const char *text, const char *file, int line);

#endif
