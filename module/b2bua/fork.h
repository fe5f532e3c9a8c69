/* A fork: groups of branches, tried one group after the other, the branches of a group at the same time, until one
 * answers with 2xx (RFC 3261 16.6, 16.7 seen from a B2BUA). Private to this layer; call.h has what others see. */
#ifndef SH_B2BUA_FORK_H
#define SH_B2BUA_FORK_H

#include "b2bua/impl.h"

enum sh_branch_state { SH_BRANCH_IDLE, SH_BRANCH_DELAYED, SH_BRANCH_LOCATING, SH_BRANCH_TRYING, SH_BRANCH_PROCEEDING, SH_BRANCH_DONE };

struct sh_branch {
	struct sh_fork *fork;
	struct sh_target target;
	struct sh_leg *leg; /* NULL before it is sent and after the leg left */
	struct sh_locate *locate;
	struct sh_path *candidates; /* of a name with several addresses: those not tried yet */
	unsigned ncandidates;
	struct sh_timer timer; /* delay, then first answer, then the entry's own timeout */
	enum sh_branch_state state;
	bool heard; /* an answer of any kind came */
	bool rang;  /* one that says more than 100 */
	struct sh_question *question; /* about the offer that it is to get */
	struct sh_body *offer; /* that a call which is up makes to it; NULL: it makes the first one */
	uint32_t min_se; /* a 422 asked for that session interval; 0: none did */
	unsigned longer; /* so many did */
	uint64_t second; /* in which it has said `said` provisional answers */
	unsigned said;
	unsigned code;
	enum sh_cause cause;
	struct sh_slice reason;
};

struct sh_fork {
	struct sh_call *call;
	struct sh_ua *ua;
	struct sh_fork_plan plan;
	struct sh_branch **branches; /* `count`, in the arena; redirects make it longer */
	unsigned count;
	unsigned group;
	unsigned redirects; /* still to be followed */
	struct sh_timer timer; /* of the group */
	uint64_t latest; /* no 1xx makes it longer than that */
	bool starting, in_call;
	bool suspended;
	struct sh_branch *media_branch; /* SH_EARLY_FIRST: whose media are passed on */
	struct sh_msg *best;
	unsigned best_code, best_rank;
	enum sh_cause best_cause;
	struct sh_slice best_reason;
	sh_fork_fn done;
	void *ctx;
};

/* ---- fork.c */
int sh_fork_add(struct sh_fork *f, const struct sh_target *t); /* behind the others; there is room. 0 or -ENOMEM */
/* Starts what is to start; when nothing is left in this group goes on to the next; at the end reports, and frees it. */
void sh_fork_advance(struct sh_fork *f);
void sh_fork_cancel(struct sh_fork *f, const struct sh_branch *but, struct sh_slice reason); /* those that were started; NULL: all */
/* What came of a branch; the best of all is what is reported. m may be NULL. */
void sh_fork_note(struct sh_fork *f, struct sh_branch *b, unsigned code, struct sh_slice reason, enum sh_cause cause,
		  const struct sh_msg *m);
void sh_fork_finish(struct sh_fork *f, struct sh_leg *winner); /* reports, and frees it; NULL: nobody has answered */
/* Somebody else is about to answer: the branches are cancelled, and it waits. Then he has, or has not after all. */
void sh_fork_suspend(struct sh_fork *f, struct sh_slice reason);
void sh_fork_won_by(struct sh_fork *f, struct sh_leg *l);
void sh_fork_resume(struct sh_fork *f);
void sh_fork_abort(struct sh_fork *f, struct sh_slice reason); /* branches are cancelled, no callback; frees it */

/* ---- branch.c: none of these goes on to the next one; sh_fork_advance does */
struct sh_branch *sh_branch_create(struct sh_fork *f, const struct sh_target *t); /* in the plan's arena; NULL: no memory */
void sh_branch_start(struct sh_branch *b);
void sh_branch_cancel(struct sh_branch *b, struct sh_slice reason);
/* m: the answer that it failed with, or NULL. A 6xx cancels the others. */
void sh_branch_fail(struct sh_branch *b, unsigned code, struct sh_slice reason, enum sh_cause cause, const struct sh_msg *m);
/* Its early dialogs are over while others go on: the caller may give up what he keeps for them (RFC 6228 6). */
void sh_branch_over(struct sh_branch *b, const struct sh_leg *l, unsigned code);

/* ---- redirect.c */
/* Follows a 3xx, each URI once (8.1.3.4): the Contacts with the highest q join the group that is being tried, the others are groups of
 * their own behind it and before all that were to come. False: none is new. */
bool sh_redirect_follow(struct sh_branch *b, const struct sh_msg *m);

#endif
