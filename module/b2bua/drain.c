/* The end of a user agent: it takes nothing new, and ends what there is in portions. 100,000 calls are 2.7 seconds of work: in one turn
 * no answer would be read meanwhile, no timer fire, and the peers would get as many requests at once. */
#include "b2bua/impl.h"
#include "b2bua/trunk.h"

/* Of one portion: one and four milliseconds where none is in a cache; seven when there is no time for less. */
enum { LEAST = 32, USUAL = 128, MOST = 256 };

/* The first of a list, which goes to its end: there it is out of the way, should it not be gone at once. */
static struct sh_link *turn_over(struct sh_link *list)
{
	struct sh_link *l = list->next;

	sh_list_remove(l);
	sh_list_append(list, l);
	return l;
}

/* As many as it takes to be in time: that a call ends with a BYE is worth more than a short turn. */
static unsigned portion_of(const struct sh_ua *ua)
{
	uint64_t now = ua->env->now, left = ua->drain.calls + ua->drain.subscriptions, part;

	if (ua->drain.until == 0)
		return USUAL;
	if (now >= ua->drain.until)
		return MOST;
	part = left * (now - ua->drain.last) / (ua->drain.until - ua->drain.last);
	return part < LEAST ? LEAST : part > MOST ? MOST : (unsigned)part;
}

static void some(struct sh_timer *t)
{
	struct sh_ua *ua = SH_CONTAINER(t, struct sh_ua, drain.timer);
	unsigned portion = portion_of(ua);

	ua->drain.last = ua->env->now;
	for (; portion > 0 && ua->drain.subscriptions > 0; portion--, ua->drain.subscriptions--) {
		if (sh_list_empty(&ua->live_subscriptions))
			ua->drain.subscriptions = 1;
		else
			sh_subscription_terminate(SH_CONTAINER(turn_over(&ua->live_subscriptions), struct sh_subscription, link),
						  ua->drain.reason, NULL, NULL);
	}
	for (; portion > 0 && ua->drain.calls > 0; portion--, ua->drain.calls--) {
		if (sh_list_empty(&ua->live_calls))
			ua->drain.calls = 1;
		else
			sh_call_hangup(SH_CONTAINER(turn_over(&ua->live_calls), struct sh_call, link), SH_BY_ENGINE, 503,
				       SH_LIT("SIP;cause=503;text=\"Server is stopping\""));
	}
	if (ua->drain.calls + ua->drain.subscriptions > 0)
		sh_env_timer(ua->env, &ua->drain.timer, SH_MS);
}

static void begin(struct sh_ua *ua, uint64_t calls, struct sh_slice reason, uint64_t within)
{
	ua->drain.calls = (unsigned)calls;
	ua->drain.subscriptions = ua->subscriptions.count;
	ua->drain.reason = reason;
	ua->drain.last = ua->env->now;
	ua->drain.until = within ? ua->env->now + within : 0;
	some(&ua->drain.timer);
}

void sh_drain_subscriptions(struct sh_ua *ua)
{
	begin(ua, ua->drain.calls, SH_LIT("deactivated"), 0);
}

void sh_ua_refuse(struct sh_ua *ua)
{
	ua->draining = true;
	sh_ua_set_trunks(ua, NULL, 0);
}

void sh_ua_drain(struct sh_ua *ua, uint64_t within)
{
	sh_ua_refuse(ua);
	begin(ua, ua->stats.calls_live, SH_LIT("probation"), within); /* they may come again when we do */
}

bool sh_ua_idle(const struct sh_ua *ua)
{
	return !ua->drain.subscriptions && sh_list_empty(&ua->live_calls) && sh_list_empty(&ua->live_legs) && sh_list_empty(&ua->live_requests) &&
	       sh_list_empty(&ua->live_sendings);
}

void sh_drain_init(struct sh_ua *ua)
{
	sh_timer_init(&ua->drain.timer, some);
}

void sh_drain_finish(struct sh_ua *ua)
{
	sh_wheel_cancel(&ua->env->wheel, &ua->drain.timer);
}
