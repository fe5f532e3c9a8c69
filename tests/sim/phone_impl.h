/* What the two halves of the phone share: phone.c (network, memory, expectations, ladder) and phone_sip.c (messages,
 * dialogs, digest). */
#ifndef TESTS_SIM_PHONE_IMPL_H
#define TESTS_SIM_PHONE_IMPL_H

#include "phone.h"

enum { PHONE_SCRATCH = SH_MSG_MAX_SIZE + 4096 };

#define PHONE_T1 (500 * SH_MS)
#define PHONE_T2 (4 * SH_SECOND)

/* Where a message goes. conn: an open connection that is to be used if it still is. */
struct phone_way {
	enum sh_proto proto;
	struct sh_addr to;
	struct phone_conn *conn;
};

/* phone.c */

void *phone_alloc(struct phone *p, size_t n); /* zeroed, until phone_destroy; never NULL */
const char *phone_keep(struct phone *p, struct sh_slice s);
const char *phone_printf(struct phone *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct phone_msg *phone_transmit(struct phone *p, const struct phone_way *way, const char *text, size_t len);
/* Sends it again and again until phone_answered. */
void phone_insist(struct phone_msg *sent);
void phone_answered(struct phone_msg *sent);

static inline struct sh_slice phone_span(const struct phone_msg *msg, struct sh_span s)
{
	return sh_msg_text(&msg->m, s);
}

static inline bool phone_is_sip(const struct phone_msg *msg)
{
	return msg->code >= 0;
}

static inline bool phone_is_request(const struct phone_msg *msg, enum sh_method method)
{
	return phone_is_sip(msg) && msg->m.is_request && msg->m.method == method;
}

static inline bool phone_is_answer(const struct phone_msg *msg, enum sh_method method)
{
	return phone_is_sip(msg) && !msg->m.is_request && msg->m.method == method;
}

/* The same transaction by RFC 3261 17.1.3 and 17.2.3, an ACK or CANCEL not counted to its INVITE's. */
static inline bool phone_same_transaction(const struct phone_msg *a, const struct phone_msg *b)
{
	return phone_is_sip(a) && phone_is_sip(b) && a->m.cseq == b->m.cseq &&
	       sh_slice_eq(phone_span(a, a->m.via_branch), phone_span(b, b->m.via_branch)) &&
	       sh_slice_eq(phone_span(a, a->m.cseq_method), phone_span(b, b->m.cseq_method));
}

/* phone_sip.c */

/* A message came: finds or makes its call, learns, stops what is sent again. True: absorbed. */
bool phone_take_in(struct phone_msg *msg);

#endif
