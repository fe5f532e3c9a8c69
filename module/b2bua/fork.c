/* Forks: see fork.h. */
#include "b2bua/fork.h"

#include "b2bua/question.h"

/* ------------------------------------------------------------------ life */

static void on_group_timer(struct sh_timer *t);

int sh_fork_add(struct sh_fork *f, const struct sh_target *t)
{
	struct sh_branch *b = sh_branch_create(f, t);

	if (!b)
		return -ENOMEM;
	f->branches[f->count++] = b;
	return 0;
}

void sh_fork_plan_finish(struct sh_fork_plan *plan)
{
	if (plan->on_branch)
		plan->on_branch(plan->branch_ctx, SH_BRANCH_OVER, NULL, NULL);
	plan->on_branch = NULL;
	sh_arena_finish(&plan->arena);
}

void sh_fork_cancel(struct sh_fork *f, const struct sh_branch *but, struct sh_slice reason)
{
	for (unsigned i = 0; i < f->count; i++)
		if (f->branches[i] != but && f->branches[i]->state != SH_BRANCH_DONE)
			sh_branch_cancel(f->branches[i], reason);
}

static void destroy(struct sh_fork *f)
{
	struct sh_fork_plan plan = f->plan;

	sh_wheel_cancel(&f->ua->env->wheel, &f->timer);
	for (unsigned i = 0; i < f->count; i++) {
		sh_wheel_cancel(&f->ua->env->wheel, &f->branches[i]->timer);
		sh_question_forget(&f->branches[i]->question);
		sh_body_unref(f->branches[i]->offer);
	}
	sh_free(f->best);
	sh_fork_plan_finish(&plan); /* f itself lives in its arena */
}

void sh_fork_abort(struct sh_fork *f, struct sh_slice reason)
{
	f->call->fork = NULL;
	sh_fork_cancel(f, NULL, reason);
	destroy(f);
}

void sh_call_abort_fork(struct sh_call *c)
{
	if (c->fork)
		sh_fork_abort(c->fork, (struct sh_slice){0});
}

int sh_call_fork(struct sh_call *c, struct sh_fork_plan *plan, sh_fork_fn done, void *ctx)
{
	struct sh_fork *f;
	int err = c->state == SH_CALL_ENDED ? -EPIPE : c->fork ? -EBUSY : plan->count == 0 ? -ENOENT : 0;

	f = err ? NULL : sh_arena_calloc(&plan->arena, 1, sizeof(*f));
	if (f)
		f->branches = sh_arena_alloc(&plan->arena, plan->count * sizeof(*f->branches));
	if (!f || !f->branches) {
		sh_fork_plan_finish(plan);
		return err ? err : -ENOMEM;
	}
	f->call = c;
	f->ua = c->ua;
	f->plan = *plan;
	sh_arena_init(&plan->arena, 256); /* moved */
	plan->on_branch = NULL;
	f->redirects = plan->follow_redirects;
	f->best_rank = UINT32_MAX;
	f->latest = c->ua->env->now + c->ua->config.longest_setup;
	f->done = done;
	f->ctx = ctx;
	sh_timer_init(&f->timer, on_group_timer);
	for (unsigned i = 0; i < plan->count; i++) {
		if (sh_fork_add(f, &plan->targets[i]) < 0) {
			destroy(f);
			return -ENOMEM;
		}
	}
	c->fork = f;
	sh_free(c->failure);
	c->failure = NULL;
	c->failure_code = 0;
	f->group = f->branches[0]->target.group;
	c->forked = true;
	if (c->a)
		sh_leg_told(c->a);
	f->in_call = true; /* whatever happens at once is told in the next turn */
	sh_fork_advance(f);
	f->in_call = false;
	return 0;
}

/* ------------------------------------------------------------------ the end of it */

void sh_fork_finish(struct sh_fork *f, struct sh_leg *winner)
{
	struct sh_branch_result *list = sh_arena_alloc(&f->plan.arena, f->count * sizeof(*list));
	struct sh_call *c = f->call;
	struct sh_result r = {.branches = list, .nbranches = list ? f->count : 0};

	c->fork = NULL;
	sh_wheel_cancel(&f->ua->env->wheel, &f->timer);
	for (unsigned i = 0; i < r.nbranches; i++) {
		const struct sh_branch *b = f->branches[i];

		list[i] = (struct sh_branch_result){b->target.uri, b->reason, b->code};
	}
	if (!winner) {
		r.code = f->best_code;
		r.reason = f->best_reason;
		r.cause = f->best_cause;
		r.msg = f->best;
		if (!c->answered) { /* else nobody is left to pass it on to */
			c->failure = f->best;
			c->failure_code = f->best_code;
			c->failure_warning = (uint16_t)(f->best ? 0 : sh_sips_warning(f->best_code, f->best_reason));
			f->best = NULL;
		}
	} else {
		r.code = winner->code;
		r.msg = winner->answered_with;
		r.reason = r.msg ? sh_msg_text(r.msg, r.msg->reason) : sh_status_reason(r.code);
	}
	f->done(f->ctx, winner, &r);
	destroy(f);
}

void sh_fork_suspend(struct sh_fork *f, struct sh_slice reason)
{
	f->suspended = true;
	sh_wheel_cancel(&f->ua->env->wheel, &f->timer);
	for (unsigned i = 0; i < f->count; i++) /* the groups to come may still be wanted */
		if (f->branches[i]->state != SH_BRANCH_DONE && f->branches[i]->state != SH_BRANCH_IDLE)
			sh_branch_cancel(f->branches[i], reason);
}

void sh_fork_won_by(struct sh_fork *f, struct sh_leg *l)
{
	l->code = 200;
	sh_fork_finish(f, l);
}

void sh_fork_resume(struct sh_fork *f)
{
	f->suspended = false;
	if (f->best_rank == UINT32_MAX) { /* nobody had said anything yet */
		f->best_code = 480;
		f->best_reason = sh_status_reason(480);
		f->best_cause = SH_NO_ANSWER;
		f->best_rank = sh_result_rank(480, SH_NO_ANSWER);
	}
	f->in_call = true; /* told in the next turn */
	sh_fork_advance(f);
	f->in_call = false;
}

void sh_fork_note(struct sh_fork *f, struct sh_branch *b, unsigned code, struct sh_slice reason, enum sh_cause cause,
		  const struct sh_msg *m)
{
	unsigned rank = sh_result_rank(code, cause);

	b->code = code;
	b->cause = cause;
	if (!reason.len || sh_arena_dup(&f->plan.arena, reason, &b->reason) < 0)
		b->reason = sh_status_reason(code);
	if (rank >= f->best_rank)
		return;
	f->best_rank = rank;
	f->best_code = code;
	f->best_cause = cause;
	f->best_reason = b->reason;
	sh_free(f->best);
	f->best = m ? sh_msg_clone(m) : NULL;
}

enum { MAX_BREADTH = 60 }; /* RFC 5393 5.3.3: of whoever says nothing */

static bool is_fresh(const struct sh_fork *f, const struct sh_branch *b)
{
	return b->state == SH_BRANCH_IDLE && b->target.group == f->group;
}

/* Max-Breadth (RFC 5393 5.3): how many branches a request may become at the same time, here and behind us, so that one which comes
 * back again and again does not double each time. What the caller's has left is shared out among those that are about to start; when
 * they are more than that all fail with 440, or each circle would go on with what is left until Max-Forwards ends it. A single branch
 * of a caller who says nothing has none: Max-Forwards ends its circles. */
static void share_breadth(struct sh_fork *f)
{
	const struct sh_msg *invite = f->call->invite;
	struct sh_slice said = invite ? sh_msg_header(invite, SH_H_MAX_BREADTH) : (struct sh_slice){0};
	unsigned used = 0, fresh = 0, share;
	uint32_t most = MAX_BREADTH;

	for (unsigned i = 0; i < f->count; i++) {
		const struct sh_branch *b = f->branches[i];

		if (is_fresh(f, b))
			fresh++;
		else if (b->state != SH_BRANCH_IDLE && b->state != SH_BRANCH_DONE)
			used += b->target.breadth ? b->target.breadth : 1;
	}
	if (!fresh || (!said.len && fresh + used < 2))
		return;
	if (said.len && (sh_slice_u32(said, &most) < 0 || most > MAX_BREADTH))
		most = MAX_BREADTH;
	most = most > used ? most - used : 0;
	share = most / fresh;
	for (unsigned i = 0; i < f->count; i++) {
		struct sh_branch *b = f->branches[i];

		if (!is_fresh(f, b))
			continue;
		b->target.breadth = share;
		if (!share)
			sh_branch_fail(b, 440, (struct sh_slice){0}, SH_REJECTED, NULL);
	}
}

/* The server itself could not be reached or could not do it; all else is the answer of whoever was called, and so is silence after his
 * phone has rung (RFC 3263 4.3: a server has failed when it never said anything). */
static bool may_do_better(const struct sh_branch *b)
{
	if (b->rang && b->cause == SH_NO_ANSWER)
		return false;
	return b->cause == SH_UNREACHABLE || b->code == 408 || (b->code >= 500 && b->code < 600);
}

/* Other addresses of a server that has given the answer of the callee need not be asked. */
static void drop_alternatives(struct sh_fork *f)
{
	for (unsigned i = 1; i < f->count; i++) {
		struct sh_branch *b = f->branches[i], *before = f->branches[i - 1];

		if (b->target.alternative && b->state == SH_BRANCH_IDLE && before->state == SH_BRANCH_DONE && !may_do_better(before))
			b->state = SH_BRANCH_DONE;
	}
}

void sh_fork_advance(struct sh_fork *f)
{
	struct sh_env *env = f->ua->env;
	uint64_t wait = f->plan.timeout ? f->plan.timeout : f->ua->config.timer_c;

	if (f->starting)
		return; /* a branch failed while its group is being started: the loop below goes on */
	f->starting = true;
	for (;;) {
		bool busy = false, fresh = false;
		unsigned next = UINT32_MAX;

		drop_alternatives(f);
		share_breadth(f);
		for (unsigned i = 0; i < f->count; i++) {
			struct sh_branch *b = f->branches[i];

			if (is_fresh(f, b)) {
				fresh = true;
				if (b->target.delay) {
					b->state = SH_BRANCH_DELAYED;
					sh_env_timer(env, &b->timer, b->target.delay);
				} else {
					sh_branch_start(b);
				}
			}
		}
		for (unsigned i = 0; i < f->count; i++) {
			struct sh_branch *b = f->branches[i];

			if (b->state == SH_BRANCH_IDLE && b->target.group != f->group && b->target.group < next)
				next = b->target.group;
			if (b->state != SH_BRANCH_IDLE && b->state != SH_BRANCH_DONE)
				busy = true;
		}
		if (fresh && busy)
			sh_env_timer(env, &f->timer, wait);
		if (busy || f->suspended)
			break;
		sh_wheel_cancel(&env->wheel, &f->timer);
		if (next == UINT32_MAX || (f->best_code >= 600 && !f->plan.ignore_6xx)) {
			f->starting = false;
			if (f->in_call)
				sh_env_timer(env, &f->timer, 0);
			else
				sh_fork_finish(f, NULL);
			return;
		}
		f->group = next;
	}
	f->starting = false;
}

static void on_group_timer(struct sh_timer *t)
{
	struct sh_fork *f = SH_CONTAINER(t, struct sh_fork, timer);
	bool heard = false, any = false;

	for (unsigned i = 0; i < f->count; i++) {
		struct sh_branch *b = f->branches[i];

		if (b->state == SH_BRANCH_DONE || b->state == SH_BRANCH_IDLE)
			continue;
		any = true;
		heard = heard || b->heard;
		if (b->leg)
			sh_branch_over(b, b->leg, 408);
		sh_branch_cancel(b, SH_LIT("SIP;cause=408;text=\"No answer\""));
		sh_fork_note(f, b, 408, (struct sh_slice){0}, b->heard ? SH_NO_ANSWER : SH_UNREACHABLE, NULL);
	}
	/* a time that ran out is the news, whatever other branches said before; but a 6xx stands */
	if (any && f->best_code < 600) {
		sh_free(f->best);
		f->best = NULL;
		f->best_code = 408;
		f->best_reason = sh_status_reason(408);
		f->best_cause = heard ? SH_NO_ANSWER : SH_UNREACHABLE;
		f->best_rank = sh_result_rank(408, f->best_cause);
	}
	sh_fork_advance(f);
}
