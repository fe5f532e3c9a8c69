/* A pickup in progress: what its two halves share, that of the call which picks up and that of the call which goes on. On one worker
 * they are one object; on two (far) each has one, and they tell each other what happens (pickup_far.c). Private to this layer. */
#ifndef SH_B2BUA_PICKUP_H
#define SH_B2BUA_PICKUP_H

#include "b2bua/question.h"

struct sh_pickup {
	struct sh_ua *ua;
	struct sh_call *call;   /* who picks up; its leg a comes over. NULL: far, and this is the other half */
	struct sh_call *target; /* that goes on. NULL: far, and this is the half of who picks up */
	struct sh_leg *keep;    /* the partner that stays, of a call that is up; NULL: it rings */
	uint64_t replaced;      /* handle of the leg that goes */
	struct sh_body *offer;  /* of who picks up; NULL: keep makes it */
	struct sh_body *shown;  /* what of it the caller of one that rings gets; NULL: all */
	struct sh_question *question; /* about what one of the two is to be told */
	bool starting;          /* an error goes to who began it */
	int error;
	bool asked;             /* keep has accepted another session */
	bool keep_unacked;      /* and waits for an answer to its offer */
	sh_pickup_fn done;
	void *ctx;
	/* far */
	bool far;
	bool over;             /* the other half has said so: it need not be told */
	unsigned worker;       /* of the other half */
	uint64_t serial;       /* of this pickup, at who picks up */
	uint64_t other;        /* handle of the call of the other half; 0: not known yet */
	struct sh_timer timer; /* the leg is not quiet yet */
	unsigned tries;
	struct sh_body *ack;   /* what the ACK said */
};

/* Over, one way or the other. code 0: the call has ended, and its end is told elsewhere. Frees it. */
void sh_pickup_finish(struct sh_pickup *p, unsigned code);
/* The same; a caller who has been answered is hung up. */
void sh_pickup_come_to_nothing(struct sh_pickup *p, unsigned code);
/* Both halves here, or the one of the call that goes on: begins. 0 or as sh_call_pickup. */
int sh_pickup_begin(struct sh_pickup *p, struct sh_leg *old);
/* The leg has come over, acknowledged with ack (may be NULL): it takes its place. */
void sh_pickup_take_in(struct sh_pickup *p, struct sh_leg *l, struct sh_body *ack);
unsigned sh_pickup_code(int err); /* what an error of sh_call_pickup answers an INVITE with */

/* ---- pickup_far.c */
int sh_pickup_tell_answer(struct sh_pickup *p, struct sh_slice type, struct sh_slice text); /* to who picks up: 0 or -errno */
void sh_pickup_tell_over(struct sh_pickup *p, unsigned code); /* to the other half, either way */
void sh_pickup_send_leg(struct sh_pickup *p); /* who picks up has acknowledged */
void sh_pickup_free(struct sh_pickup *p);

/* ---- move.c */
/* Out of all tables of its worker, to be posted to another one. 0; -EBUSY: something goes on in its dialog; -ENOMEM. */
int sh_leg_uproot(struct sh_leg *l);
/* Into those of this one; call NULL: it belongs to nobody. False: out of memory; the leg is lost without a word. */
bool sh_leg_plant(struct sh_ua *ua, struct sh_leg *l, struct sh_call *call);

#endif
