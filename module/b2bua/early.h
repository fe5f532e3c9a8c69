/* Early dialogs of a forked INVITE (RFC 3261 12.1, 16.7 step 5 seen from a B2BUA). Each To tag that answers an INVITE of
 * ours with a provisional answer makes one on the called side, be it a branch of our fork or of a proxy further on; the
 * caller hears of it by a tag of its own. So every one has its own CSeq, RSeq, target and session on both sides.
 *
 *     callee:   the leg's dialog for the first tag, later ones get one of their own
 *     caller:   the dialog of the call's leg `a` for the first that it hears of, later ones a twin of it
 *
 * Private to this layer. Lifetime: with the leg, until the bridge; the one that the 2xx belongs to becomes the leg's. */
#ifndef SH_B2BUA_EARLY_H
#define SH_B2BUA_EARLY_H

#include "b2bua/impl.h"

struct sh_early_dialog {
	struct sh_link link; /* in leg->early, in the order in which they came */
	struct sh_leg *leg;  /* outbound */
	struct sh_dialog *callee, *caller; /* caller NULL: it has not heard of it */
	struct sh_dialog own, twin;        /* what the two point at, or zeroed */
	struct sh_body *sdp;               /* last body with an offer or answer that came in it */
	bool sdp_passed; /* it went to the caller reliably: the 2xx need not repeat it (RFC 3262 5) */
	bool ended;      /* the caller has hung up in it: nothing of it goes on */
	bool offer_passed; /* the caller's offer or answer went with a PRACK: a 2xx to an INVITE without offer needs no other */
};

enum { SH_MOST_EARLY = 16, SH_MOST_RELIABLE = 8 }; /* early dialogs of a leg; provisional answers that wait in one */

/* The early dialog that a provisional answer or 2xx belongs to; a new one is made. NULL: out of memory, or a provisional answer
 * that would make one more than a leg may have. */
struct sh_early_dialog *sh_early_of(struct sh_leg *l, const struct sh_msg *m, const struct sh_path *from);
/* By the dialogs on its two sides. NULL: none. */
struct sh_early_dialog *sh_early_by_callee(const struct sh_leg *l, const struct sh_dialog *d);
struct sh_early_dialog *sh_early_by_caller(const struct sh_call *c, const struct sh_dialog *d);
/* Chooses its dialog towards the caller; idempotent. Without memory, or with one tag for all: that of the call. */
void sh_early_tell(struct sh_early_dialog *e, bool single_tag);
/* The leg was answered in this one: its dialog becomes the leg's. */
void sh_early_chosen(struct sh_early_dialog *e);
/* The caller hangs up in one of its early dialogs while others go on (RFC 3261 15): a phone that is alone on its branch is cancelled, one
 * behind a fork further on gets a BYE. False: there are no others, and it is the call that ends. */
bool sh_early_hung_up(struct sh_call *c, const struct sh_dialog *d);
/* All of a leg are over. */
void sh_early_forget(struct sh_leg *l);

/* A reliable provisional answer that came (RFC 3262 4). */
bool sh_early_is_reliable(const struct sh_msg *m);
bool sh_early_in_order(struct sh_early_dialog *e, const struct sh_msg *m); /* false: a repetition, or there is a gap */
/* PRACK for it by us, without a word to anybody: who called does not want to know. */
void sh_early_prack(struct sh_early_dialog *e);
void sh_leg_prack(struct sh_leg *l, struct sh_dialog *d, uint32_t rseq); /* of the last INVITE in d */
/* "RAck: 1 2 INVITE\r\n" of the provisional answer with that RSeq. */
void sh_early_put_rack(struct sh_writer *w, const struct sh_early_dialog *e, uint32_t rseq);

/* ---- reliable.c: provisional answers that the caller must acknowledge (RFC 3262 3) */

/* Require and RSeq for the next one in dialog d. */
void sh_reliable_put(struct sh_writer *w, struct sh_call *c, struct sh_dialog *d);
/* Sends what begins with that, at once or behind those that wait for their PRACK; then again and again. e: who wants the
 * PRACK passed on, as one for rseq; NULL: nobody. has_sdp: a 2xx has to wait for the PRACK. */
int sh_reliable_send(struct sh_call *c, struct sh_dialog *d, unsigned code, const struct sh_writer *w, struct sh_early_dialog *e,
		     uint32_t rseq, bool has_sdp);
/* As many wait in d as may: the next one is dropped, and who sent it repeats it (RFC 3262 3). */
bool sh_reliable_full(const struct sh_call *c, const struct sh_dialog *d);
bool sh_reliable_holds_2xx(const struct sh_call *c, const struct sh_dialog *d);
void sh_reliable_on_prack(struct sh_leg *a, struct sh_dialog *d, struct sh_server_txn *st, const struct sh_msg *m,
			  const struct sh_path *from);
/* A 2xx was sent in d: no repetitions any more, but a PRACK may still come. d NULL: all is over. */
void sh_reliable_answered(struct sh_call *c, const struct sh_dialog *d);
/* That early dialog, or its dialog towards the caller, goes. */
void sh_reliable_forget(struct sh_call *c, const struct sh_early_dialog *e);

#endif
