/* A call: its life and its end. Set-up is in caller.c and bridge.c. */
#include "b2bua/early.h"
#include "b2bua/fork.h"

struct sh_slice sh_call_state_name(enum sh_call_state s)
{
	static const struct sh_slice names[] = {{"setup", 5}, {"early", 5}, {"up", 2}, {"ended", 5}};

	return names[s];
}

uint64_t sh_call_handle(const struct sh_call *c)
{
	return c->handle;
}

struct sh_slice sh_call_id(const struct sh_call *c)
{
	return (struct sh_slice){c->id, SH_TAG_LEN};
}

enum sh_call_state sh_call_state(const struct sh_call *c)
{
	return c->state;
}

const struct sh_msg *sh_call_invite(const struct sh_call *c)
{
	return c->invite;
}

const struct sh_path *sh_call_source(const struct sh_call *c)
{
	return &c->source;
}

struct sh_slice sh_call_uri(const struct sh_call *c)
{
	return (struct sh_slice){c->text, c->uri_len};
}

struct sh_slice sh_call_from(const struct sh_call *c)
{
	return (struct sh_slice){c->text + c->uri_len, c->from_len};
}

struct sh_slice sh_call_to(const struct sh_call *c)
{
	return (struct sh_slice){c->text + c->uri_len + c->from_len, c->to_len};
}

bool sh_call_trusted(const struct sh_call *c)
{
	return c->trusted;
}

struct sh_leg *sh_call_a(const struct sh_call *c)
{
	return c->a;
}

struct sh_leg *sh_call_b(const struct sh_call *c)
{
	return c->b;
}

struct sh_ua *sh_call_ua(const struct sh_call *c)
{
	return c->ua;
}

bool sh_call_answered(const struct sh_call *c)
{
	return c->answered;
}

bool sh_call_connecting(const struct sh_call *c)
{
	return c->bridging || c->solo;
}

const struct sh_call_times *sh_call_times(const struct sh_call *c)
{
	return &c->times;
}

void *sh_call_app(const struct sh_call *c)
{
	return c->app;
}

void sh_call_set_app(struct sh_call *c, void *app)
{
	c->app = app;
}

/* ------------------------------------------------------------------ life */

static void on_duration(struct sh_timer *t)
{
	struct sh_call *c = SH_CONTAINER(t, struct sh_call, duration);

	if (!c->answered) { /* before the answer this timer only tells of a bridge that came to nothing */
		sh_call_bridge_over(c, -EPIPE);
		return;
	}
	sh_call_hangup(c, SH_BY_ENGINE, 0, SH_LIT("Q.850;cause=102;text=\"Longest duration reached\""));
}

struct sh_call *sh_call_create(struct sh_ua *ua)
{
	struct sh_call *c = sh_pool_calloc(&ua->env->pool, sizeof(*c));

	if (!c)
		return NULL;
	c->handle = sh_slots_add(&ua->calls, c);
	if (!c->handle) {
		sh_pool_free(&ua->env->pool, c, sizeof(*c));
		return NULL;
	}
	c->ua = ua;
	c->times.start = sh_env_wall(ua->env);
	sh_list_init(&c->loose);
	sh_list_init(&c->reliable);
	sh_timer_init(&c->duration, on_duration);
	sh_timer_init(&c->probe, sh_call_on_probe);
	sh_tag_make(ua->env, c->id);
	sh_hash_insert(&ua->calls_by_id, &c->by_id, sh_hash_slice(&ua->env->key, sh_call_id(c)));
	sh_list_append(&ua->live_calls, &c->link);
	ua->stats.calls++;
	ua->stats.calls_live++;
	return c;
}

int sh_call_keep_texts(struct sh_call *c, struct sh_slice uri, struct sh_slice from, struct sh_slice to)
{
	c->text = sh_malloc(uri.len + from.len + to.len + 1);
	if (!c->text)
		return -ENOMEM;
	memcpy(c->text, uri.base, uri.len);
	memcpy(c->text + uri.len, from.base, from.len);
	memcpy(c->text + uri.len + from.len, to.base, to.len);
	c->uri_len = (uint16_t)uri.len;
	c->from_len = (uint16_t)from.len;
	c->to_len = (uint16_t)to.len;
	return 0;
}

int sh_call_create_own(struct sh_call **out, struct sh_ua *ua, struct sh_slice uri, struct sh_slice from, struct sh_slice to)
{
	struct sh_call *c = sh_call_create(ua);

	if (!c)
		return -ENOMEM;
	if (sh_call_keep_texts(c, uri, from, to) < 0) {
		sh_call_free(c);
		return -ENOMEM;
	}
	c->answered = c->setup_over = true; /* there is no INVITE to be answered */
	*out = c;
	return 0;
}

/* Whatever is in progress in it. */
static void abort_all(struct sh_call *c, struct sh_slice reason)
{
	if (c->transfer)
		sh_transfer_abort(c->transfer);
	if (c->pickup)
		sh_pickup_abort(c->pickup);
	if (c->picked)
		sh_pickup_target_gone(c->picked);
	if (c->fork)
		sh_fork_abort(c->fork, reason);
	if (c->rebridge)
		sh_rebridge_abort(c->rebridge);
}

void sh_call_free(struct sh_call *c)
{
	struct sh_ua *ua = c->ua;
	struct sh_link *l;

	abort_all(c, (struct sh_slice){0});
	if (c->originate)
		sh_originate_abort(c->originate);
	while ((l = c->loose.next) != &c->loose)
		sh_leg_leave(SH_CONTAINER(l, struct sh_leg, in_call));
	if (c->a)
		sh_leg_leave(c->a);
	if (c->b)
		sh_leg_leave(c->b);
	if (c->app)
		ua->app->freed(ua->app_ctx, c);
	sh_wheel_cancel(&ua->env->wheel, &c->duration);
	sh_wheel_cancel(&ua->env->wheel, &c->probe);
	sh_reliable_answered(c, NULL);
	sh_slots_remove(&ua->calls, c->handle);
	sh_hash_remove(&ua->calls_by_id, &c->by_id);
	sh_list_remove(&c->link);
	ua->stats.calls_live--;
	sh_free((void *)c->bridge_options.headers.base);
	sh_free(c->invite);
	sh_free(c->failure);
	sh_free(c->text);
	sh_body_unref(c->solo);
	sh_pool_free(&ua->env->pool, c, sizeof(*c));
}

static void bury_when_done(struct sh_call *c)
{
	if (c->state != SH_CALL_ENDED || c->holds)
		return;
	sh_list_remove(&c->link);
	sh_list_append(&c->ua->dead_calls, &c->link);
}

void sh_call_discard(struct sh_call *c)
{
	c->state = SH_CALL_ENDED;
	bury_when_done(c);
}

void sh_call_hold(struct sh_call *c)
{
	c->holds++;
}

void sh_call_release(struct sh_call *c)
{
	if (!SH_HOLDS(c->ua->env, c->holds > 0))
		return;
	c->holds--;
	if (!c->holds && c->setup_over) {
		sh_free(c->invite);
		c->invite = NULL;
	}
	bury_when_done(c);
}

void sh_call_setup_over(struct sh_call *c)
{
	c->setup_over = true;
	sh_free(c->failure);
	c->failure = NULL;
	if (!c->holds) {
		sh_free(c->invite);
		c->invite = NULL;
	}
}

/* To whoever observes calls. The first event comes late, so that an INVITE that was only challenged makes none. */
void sh_call_tell(struct sh_call *c, enum sh_call_event event, const struct sh_why *why)
{
	struct sh_ua *ua = c->ua;

	if (!ua->on_call || (c->told && event == SH_CALL_EVENT_NEW))
		return;
	if (!c->told && event == SH_CALL_EVENT_END && (why->code == 401 || why->code == 407))
		return;
	if (!c->told && event != SH_CALL_EVENT_NEW)
		ua->on_call(ua->on_call_ctx, c, SH_CALL_EVENT_NEW, NULL);
	c->told = true;
	ua->on_call(ua->on_call_ctx, c, event, why);
}

/* ------------------------------------------------------------------ the end */

/* The call goes on without that leg: it is not connected, or need not be, or its place is about to be taken. */
static bool survives(const struct sh_call *c, const struct sh_leg *l)
{
	if (l != c->a && l != c->b)
		return true;
	if (c->rebridge && !sh_rebridge_concerns(c->rebridge, l))
		return true;
	if (c->picked && sh_pickup_replaces(c->picked, l))
		return true;
	if (c->transfer && sh_transfer_survives(c->transfer, l))
		return true;
	return l == c->b && c->keep_on_peer_hangup;
}

void sh_call_leg_lost(struct sh_call *c, struct sh_leg *l, unsigned code)
{
	struct sh_slice reason = code == 481 ? SH_LIT("SIP;cause=481") : SH_LIT("SIP;cause=408");

	if (c->rebridge && sh_rebridge_concerns(c->rebridge, l))
		sh_rebridge_leg_gone(c->rebridge);
	if (c->state == SH_CALL_ENDED)
		return;
	if (survives(c, l)) {
		struct sh_why why = {SH_BY_ENGINE, code, sh_status_reason(code), 0, {0}};
		bool partner = l == c->b;

		sh_leg_hangup(l, reason);
		if (partner)
			c->ua->app->peer_gone(c->ua->app_ctx, c, &why);
	} else
		sh_call_hangup(c, SH_BY_ENGINE, 0, reason);
}

void sh_call_hang_up_leg(struct sh_leg *l, struct sh_slice reason)
{
	struct sh_call *c = l->call;

	if (!c || c->state == SH_CALL_ENDED || (l != c->a && l != c->b) || survives(c, l))
		sh_leg_hangup(l, reason);
	else
		sh_call_hangup(c, SH_BY_SCRIPT, 0, reason);
}

void sh_call_leg_gone(struct sh_call *c, struct sh_leg *l, const struct sh_msg *bye)
{
	struct sh_why why = {l == c->a ? SH_BY_CALLER : SH_BY_CALLEE, 200, SH_LIT("BYE"), 0, {0}};

	if (!c->times.answer) { /* 15: a caller may end an early dialog with BYE */
		why.code = 487;
		why.reason = sh_status_reason(487);
	}
	if (bye)
		sh_why_read(&why, bye);
	if (c->rebridge && sh_rebridge_concerns(c->rebridge, l))
		sh_rebridge_leg_gone(c->rebridge);
	if (c->state == SH_CALL_ENDED)
		return;
	if (survives(c, l)) {
		bool partner = l == c->b;

		sh_leg_leave(l);
		if (partner)
			c->ua->app->peer_gone(c->ua->app_ctx, c, &why);
		return;
	}
	sh_call_end(c, &why, bye ? sh_msg_header(bye, SH_H_REASON) : (struct sh_slice){0});
}

void sh_call_end(struct sh_call *c, const struct sh_why *why, struct sh_slice reason)
{
	struct sh_ua *ua = c->ua;
	struct sh_leg *a = c->a;
	struct sh_link *l;

	if (c->state == SH_CALL_ENDED)
		return;
	ua->app->ending(ua->app_ctx, c);
	c->state = SH_CALL_ENDED;
	c->times.stop = sh_env_wall(ua->env);
	c->bridge_done = NULL;
	c->bridging = NULL;
	sh_wheel_cancel(&ua->env->wheel, &c->duration);
	sh_wheel_cancel(&ua->env->wheel, &c->probe);
	sh_call_hold(c);
	sh_reliable_answered(c, NULL);
	abort_all(c, reason);
	if (c->originate)
		sh_originate_over(c->originate);
	while ((l = c->loose.next) != &c->loose)
		sh_leg_hangup(SH_CONTAINER(l, struct sh_leg, in_call), reason);
	if (c->b)
		sh_leg_hangup(c->b, reason);
	if (a && !c->answered && a->st)
		sh_call_refuse(c, why, reason);
	if (a)
		sh_leg_hangup(a, reason);
	if (!c->times.answer)
		ua->stats.failed++;
	sh_call_tell(c, SH_CALL_EVENT_END, why);
	ua->app->ended(ua->app_ctx, c, why);
	if (ua->observer && a)
		ua->observer->ended(ua->observer->ctx, sh_dialog_call_id(&a->dialog));
	(void)SH_HOLDS(ua->env, !c->bridging && !c->fork);
	sh_call_setup_over(c);
	sh_call_release(c);
}

int sh_call_hangup(struct sh_call *c, enum sh_why_by by, unsigned code, struct sh_slice reason)
{
	struct sh_why why = {by, c->times.answer ? 200 : (code ? code : 480), {0}, 0, {0}};

	if (c->state == SH_CALL_ENDED)
		return -EPIPE;
	why.reason = sh_status_reason(why.code);
	sh_why_read_value(&why, reason);
	sh_call_end(c, &why, reason);
	return 0;
}
