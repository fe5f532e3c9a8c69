/* A session description on its way from one leg to another that the application looks at first (the sdp hook). What was
 * about to be done is done when the answer has come, with the description as it is then. Private to this layer but for
 * the application's side in ua.h and call.h. */
#ifndef SH_B2BUA_QUESTION_H
#define SH_B2BUA_QUESTION_H

#include "b2bua/impl.h"

struct sh_question {
	enum sh_owner owner; /* SH_OWNER_QUESTION: it watches the transaction of a request that waits */
	struct sh_link link; /* in ua->questions */
	struct sh_link of_app;
	struct sh_ua *ua;
	uint64_t call, from, to; /* handles */
	bool is_offer;
	struct sh_body *body;
	size_t part, part_len; /* where the description stands in it: a body may have several parts */
	struct sh_msg *msg; /* a copy of what had it; NULL: an INVITE that is not written yet */
	struct sh_path path;
	struct sh_server_txn *st;
	void (*then)(struct sh_question *q); /* goes on; q->msg or q->body is what came of it */
	void *who;                           /* NULL: nobody waits any more */
	struct sh_question **slot;
	int app_ref;
};

struct sh_asking {
	struct sh_question **slot; /* where the asker keeps it: set here, emptied when it is over */
	void *who;
	void (*then)(struct sh_question *q);
	struct sh_leg *from, *to; /* may be NULL */
	bool is_offer;
	const struct sh_msg *msg;
	const struct sh_path *path;
	struct sh_server_txn *st; /* of a request; or NULL */
	struct sh_slice type, body; /* without msg */
};

/* False: there is no hook, or nothing to be looked at, or this is what came of an earlier question: go on. */
bool sh_sdp_ask(struct sh_ua *ua, const struct sh_asking *a);
void sh_question_forget(struct sh_question **slot); /* nobody waits for it any more; an empty slot is fine */
void sh_question_drop_all(struct sh_ua *ua);

#endif
