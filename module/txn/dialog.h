/* Dialogs (RFC 3261 12): the peer relationship of one leg. Both roles, route sets with strict and loose routers, target
 * refresh, CSeq order. RFC 2543 peers may have no tag. One thread (its worker).
 *
 * Lifetime: embedded in its owner (a leg, a subscription); init/finish. Found by the local tag, which is ours and unique.
 * Texts are interned in one block that grows only when the remote target or the route set changes. */
#ifndef SH_TXN_DIALOG_H
#define SH_TXN_DIALOG_H

#include "txn/txn.h"

enum { SH_TAG_LEN = 16 };

struct sh_dialog_table {
	struct sh_hash by_tag;
	struct sh_env *env;
};

int sh_dialog_table_init(struct sh_dialog_table *t, struct sh_env *env);
void sh_dialog_table_finish(struct sh_dialog_table *t);

/* Its texts, in the order in which they are kept. */
enum sh_dialog_part {
	SH_DIALOG_CALL_ID,
	SH_DIALOG_REMOTE_TAG,
	SH_DIALOG_LOCAL,  /* our name-addr without tag: From of what we send */
	SH_DIALOG_REMOTE, /* theirs without tag: To of what we send */
	SH_DIALOG_TARGET, /* remote target URI; before a response of the peer: the Request-URI */
	SH_DIALOG_ROUTES, /* "<sip:a;lr>, <sip:b;lr>" in the order to send; empty: none */
	SH_DIALOG_TEXTS
};

struct sh_dialog {
	struct sh_hash_node node; /* in its table from init to finish */
	struct sh_dialog_table *table;
	void *owner;
	char local_tag[SH_TAG_LEN]; /* token characters; its first two carry the worker, see sh_tag_worker */
	bool uac;                   /* we sent the request that made it */
	bool confirmed;             /* a 2xx made it; else early or not yet a dialog */
	bool secure;                /* sips */
	bool has_remote_cseq;
	uint32_t local_cseq, remote_cseq; /* the last one used */
	uint32_t invite_cseq;             /* of the INVITE that an ACK or CANCEL would name */
	uint32_t rseq;                    /* of the last reliable provisional answer in it, ours or theirs; 0: none (RFC 3262) */
	struct sh_path path;        /* where requests go when the next hop is not to be located anew */
	char *text;                       /* all of them, one behind the other; read by sh_dialog_text() */
	uint32_t ends[SH_DIALOG_TEXTS];   /* where each ends */
};

static inline struct sh_slice sh_dialog_text(const struct sh_dialog *d, enum sh_dialog_part which)
{
	uint32_t begin = which > 0 ? d->ends[which - 1] : 0;

	return d->text ? sh_slice_make(d->text + begin, d->ends[which] - begin) : SH_LIT("");
}

static inline struct sh_slice sh_dialog_call_id(const struct sh_dialog *d)
{
	return sh_dialog_text(d, SH_DIALOG_CALL_ID);
}

static inline struct sh_slice sh_dialog_remote_tag(const struct sh_dialog *d)
{
	return sh_dialog_text(d, SH_DIALOG_REMOTE_TAG);
}

static inline struct sh_slice sh_dialog_local(const struct sh_dialog *d)
{
	return sh_dialog_text(d, SH_DIALOG_LOCAL);
}

static inline struct sh_slice sh_dialog_remote(const struct sh_dialog *d)
{
	return sh_dialog_text(d, SH_DIALOG_REMOTE);
}

static inline struct sh_slice sh_dialog_target(const struct sh_dialog *d)
{
	return sh_dialog_text(d, SH_DIALOG_TARGET);
}

static inline struct sh_slice sh_dialog_routes(const struct sh_dialog *d)
{
	return sh_dialog_text(d, SH_DIALOG_ROUTES);
}

/* UAS: from an INVITE (or SUBSCRIBE, REFER) that we answer with this tag. 0; -EBADMSG: no usable Contact (the answer is
 * 400) or a broken Record-Route; -ENOMEM. */
int sh_dialog_init_uas(struct sh_dialog *d, struct sh_dialog_table *t, void *owner, const struct sh_msg *request,
		       const struct sh_path *from);

/* UAC: before the request is sent. call_id empty: a new one is made. local and remote are name-addr texts without tags,
 * target is the Request-URI, routes a preset route set. */
int sh_dialog_init_uac(struct sh_dialog *d, struct sh_dialog_table *t, void *owner, struct sh_slice call_id,
		       struct sh_slice local, struct sh_slice remote, struct sh_slice target, struct sh_slice routes,
		       const struct sh_path *path);
/* Another dialog of the same INVITE (a downstream fork), from the response that told of it. It shares Call-ID and local
 * tag; the remote tag tells them apart. As sh_dialog_learn; on -ENOMEM it needs no finish. */
int sh_dialog_init_fork(struct sh_dialog *d, const struct sh_dialog *first, void *owner, const struct sh_msg *response,
			const struct sh_path *from);

/* UAS: another early dialog of the same INVITE, as when a proxy had forked it: all but the local tag, which is a new one,
 * is that of `first`. 0 or -ENOMEM. */
int sh_dialog_init_twin(struct sh_dialog *d, const struct sh_dialog *first);
/* d goes on as `other`, a dialog of the same INVITE, and keeps its owner. `other` is finished. */
void sh_dialog_become(struct sh_dialog *d, struct sh_dialog *other);
/* Another owner takes the dialog over (a subscription that outlives the call, RFC 5057): `from` is empty then. */
void sh_dialog_move(struct sh_dialog *to, struct sh_dialog *from, void *owner);

/* Out of its table, and into another one: the dialog moves to another worker. */
void sh_dialog_detach(struct sh_dialog *d);
void sh_dialog_attach(struct sh_dialog *d, struct sh_dialog_table *t, void *owner);

void sh_dialog_finish(struct sh_dialog *d); /* fine on a zeroed one */

/* UAC: takes remote tag, route set and target from a response to the dialog-making request (12.1.2); a 2xx overrides what
 * an early answer said (13.2.2.4). Other responses change nothing. 0; -EBADMSG: a 2xx without usable Contact (the target
 * stays) or with a broken Record-Route (the routes stay), the rest is taken; -EEXIST: a 2xx with another tag than the one
 * that confirmed it, a fork; -ENOMEM. */
int sh_dialog_learn(struct sh_dialog *d, const struct sh_msg *response, const struct sh_path *from);

/* Target refresh by a request or a 2xx (INVITE, UPDATE, SUBSCRIBE, NOTIFY...; 12.2). 0 or -ENOMEM; no Contact: nothing
 * changes. */
int sh_dialog_refresh(struct sh_dialog *d, const struct sh_msg *m, const struct sh_path *from);

/* Another remote target; the peer did not say so, but where it is is known better. 0 or -ENOMEM. */
int sh_dialog_retarget(struct sh_dialog *d, struct sh_slice uri);

/* The dialog that a request or response belongs to: local tag (To tag of a request, From tag of a response), Call-ID,
 * remote tag. NULL: none. */
struct sh_dialog *sh_dialog_find(const struct sh_dialog_table *t, const struct sh_msg *m);
/* By its three identifiers, for Replaces and Join (RFC 3891 3). */
struct sh_dialog *sh_dialog_find_ids(const struct sh_dialog_table *t, struct sh_slice call_id, struct sh_slice local_tag,
				     struct sh_slice remote_tag);

/* CSeq order of an incoming request (12.2.2): 0 and remembered; 500: not higher than the last one, and no retransmission
 * either, or the transaction layer would have known it. ACK and CANCEL are not checked. */
int sh_dialog_accept_cseq(struct sh_dialog *d, const struct sh_msg *m);

/* Writes a request inside (or making) the dialog: request line and Route by 12.2.1.1 into `line` and `rest`: Max-Forwards,
 * From, To, Call-ID, CSeq, Route. The caller goes on with Contact, others and the body. cseq 0: the next one is taken
 * (ACK: pass invite_cseq). */
void sh_dialog_put_request(struct sh_dialog *d, struct sh_slice method, uint32_t cseq, unsigned max_forwards,
			   struct sh_writer *line, struct sh_writer *rest);

/* The URI whose location decides where the next request goes: first route, or target (strict router: the route). */
struct sh_slice sh_dialog_next_hop(const struct sh_dialog *d);

/* A fresh tag: two characters for the worker, the rest random (84 bits). Also used for Call-IDs and branches of ours. */
void sh_tag_make(struct sh_env *env, char out[SH_TAG_LEN]);
/* The worker that made a tag or branch text of ours, or -1 when it is not ours by its form. */
int sh_tag_worker(struct sh_slice tag);
/* Its two characters alone. */
void sh_tag_put_worker(unsigned worker, char out[2]);
/* The epoch of the process that made it, where processes have one (sh_env); -1: no tag of that form. A tag that was made without
 * has some number there. */
int sh_tag_epoch(struct sh_slice tag);

#endif
