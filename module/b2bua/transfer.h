/* Transfers: a party of a call that is up gets another partner, and the old one leaves (RFC 5589). The target answers
 * first; until it has, and until the party that stays has agreed to talk to it, nothing changes; when either refuses the
 * old call goes on. The leaving party may hang up at any moment without harm.
 *
 *   sh_call_transfer   blind: targets are called without an offer, and the first that answers makes it (rebridge.c)
 *   sh_call_join       attended: the partner of another leg (that the transferor has found in a call of its own) comes over
 *                      into this call; what is left of that other call ends
 *
 * REFER is what asks for it (refer.c), or a script. */
#ifndef SH_B2BUA_TRANSFER_H
#define SH_B2BUA_TRANSFER_H

#include "b2bua/request.h"

struct sh_transfer_events {
	/* A target says what it is doing (1xx other than 100). May be NULL. */
	void (*progress)(void *ctx, unsigned code, struct sh_slice reason);
	/* Once, from a later event, while the call and the leaving leg are as they are then. 2xx: done; else what refused it;
	 * 487: the call ended meanwhile, or the user agent is being destroyed. */
	void (*done)(void *ctx, const struct sh_result *res);
};

/* keep: the connected leg that stays. The plan's targets without from and to get the identity of keep, and their URI.
 * Takes the plan over. 0; -EPIPE: the call is not up; -EBUSY: another transfer, fork or bridge is in progress; -ENOENT: no
 * targets; -ENOMEM. */
int sh_call_transfer(struct sh_call *c, struct sh_leg *keep, struct sh_fork_plan *plan, const struct sh_transfer_events *ev,
		     void *ctx);

/* with: the leaving party's other leg. 0; -EPIPE: one of the calls is not up; -EBUSY; -EINVAL: it is the same call; -ENOMEM. */
int sh_call_join(struct sh_call *c, struct sh_leg *keep, struct sh_leg *with, const struct sh_transfer_events *ev, void *ctx);

/* Who asks for a transfer: where from, and his address of record, a name-addr. */
struct sh_referrer {
	struct sh_addr from;
	struct sh_slice party;
};
/* He is the far party of that leg, by one or the other. */
bool sh_referrer_has(const struct sh_referrer *who, const struct sh_leg *l);

struct sh_dialog_ids;
/* The same with a leg of worker `home`: what is wrong with it there is told by done, also (403) that it is not who's, NULL:
 * it may be anyone's. */
int sh_call_join_far(struct sh_call *c, struct sh_leg *keep, const struct sh_dialog_ids *ids, unsigned home,
		     const struct sh_referrer *who, const struct sh_transfer_events *ev, void *ctx);

/* ------------------------------------------------------------------ REFER (RFC 3515) */

/* What Refer-To asks for. Texts live in the message and in the arena. */
struct sh_refer_to {
	struct sh_slice uri;      /* without header parts and method */
	struct sh_slice replaces; /* the value of Replaces in it, unescaped; empty: none */
	bool requires_replaces;   /* it has Require=replaces */
	struct sh_slice referred_by; /* the field of the REFER */
};
/* 0, or the code of the refusal: 400 without exactly one Refer-To, 416 for a scheme that cannot be called, 501 for another
 * method than INVITE (*why says it). */
unsigned sh_refer_read(struct sh_refer_to *out, const struct sh_msg *m, struct sh_arena *a, struct sh_slice *why);

struct sh_refer_options {
	bool manual;             /* the application does the steps and says how it goes with sh_refer_notify */
	bool anyone;             /* it may name the dialog of anybody, in Replaces or Target-Dialog, not only of its sender */
	bool proven;             /* outside of a dialog: it comes from whom its From names */
	struct sh_slice headers; /* lines for the 200 */
};
/* Accepts a REFER with 200 (RFC 7647), subscribes its sender to how it goes unless it said Refer-Sub: false (RFC 4488), and
 * runs the transfer; done (may be NULL) is told its outcome, once and later, if this returned 0. plan: the targets of a blind one (it
 * is emptied when they are used). leg: the sender's, NULL with manual only. Else nothing was answered: -EALREADY; -ENOTCONN: there is
 * no call to transfer; -EACCES: it names a dialog of somebody else; -EBUSY; -EPIPE: the call to join is not up; -EINVAL: it is the same; -EBADMSG; -ENOMEM. */
int sh_refer_accept(struct sh_request *q, struct sh_leg *leg, struct sh_fork_plan *plan, const struct sh_refer_options *o,
		    sh_request_fn done, void *ctx);
/* Of a manual one: a NOTIFY with that status; from 200 on the last one. -EPIPE: it is over, or nobody is subscribed. */
int sh_refer_notify(struct sh_request *q, unsigned code, struct sh_slice reason);

/* The leg whose transfer a REFER asks for: the one in whose dialog it came, or which Target-Dialog names (RFC 4538); NULL. */
struct sh_leg *sh_refer_leg(const struct sh_request *q);

/* ------------------------------------------------------------------ Replaces and Join (RFC 3891, RFC 3911) */

struct sh_dialog_ids {
	struct sh_slice call_id, to_tag, from_tag;
	bool early_only;
};
/* "id;to-tag=x;from-tag=y;early-only": 0 or -EINVAL. */
int sh_dialog_ids_parse(struct sh_dialog_ids *out, struct sh_slice value);
/* Of a request's Replaces or Join: 0, -ENOENT: none; -EINVAL: broken, or more than one. */
int sh_dialog_ids_of(struct sh_dialog_ids *out, const struct sh_msg *m, enum sh_header_id id);
struct sh_leg *sh_ua_find_leg(const struct sh_ua *ua, const struct sh_dialog_ids *ids); /* NULL: none here */
/* What the end of the invite hook answers when the script does not. */
void sh_call_note_failure(struct sh_call *c, unsigned code);

/* Picks up (pickup.c): the caller of `c`, which is in set-up, takes the place of leg `old` of the call `target`, which goes on;
 * old NULL: of whoever rings there. target NULL: -EPIPE. done: code 200, just before c ends; else what refused it, and c is as it was; 0: c has ended
 * meanwhile. Called once, from a later event. 0; -EALREADY: c has its answer; -EPIPE: target, or old in it, is not in a state
 * for it (481); -EBUSY: something else is in progress there (491); -EBADMSG: there is no offer to answer (488); -ENOMEM. */
typedef void (*sh_pickup_fn)(void *ctx, unsigned code);
int sh_call_pickup(struct sh_call *c, struct sh_call *target, struct sh_leg *old, sh_pickup_fn done, void *ctx);
/* The same with the call of that id on another worker, of whoever rings there or was called. -EAGAIN: the worker cannot be asked. */
int sh_call_pickup_far(struct sh_call *c, unsigned worker, struct sh_slice id, sh_pickup_fn done, void *ctx);

/* The same dialog seen across us: that of the leg's partner, whose peer is the one to replace. False: there is none. */
bool sh_replaces_map(const struct sh_ua *ua, struct sh_slice value, struct sh_writer *out);
/* The Replaces or Join of an INVITE that we send: mapped, or as it is when it names no dialog of ours. */
void sh_put_named_dialog(const struct sh_ua *ua, enum sh_header_id id, struct sh_slice value, struct sh_writer *out);
/* The Refer-To of a REFER that passes, when it has such a Replaces: a line of its own in its place. */
bool sh_refer_map(const struct sh_ua *ua, const struct sh_msg *m, struct sh_writer *out);

#endif
