/* Is anybody still there? A leg that has agreed on no session timer (RFC 4028) is asked with OPTIONS in its dialog now and then: who
 * does not answer, or knows nothing of the dialog, is gone (RFC 3261 12.2.1.2, RFC 5057 5.1). Any other answer is a sign
 * of life. */
#include "b2bua/impl.h"

static void on_event(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct sh_leg *l = user;
	unsigned code = ev == SH_CLIENT_RESPONSE ? m->status : 408;

	if (ev == SH_CLIENT_RESPONSE && code < 200)
		return;
	if (ev != SH_CLIENT_ENDED)
		sh_client_txn_detach(ct);
	l->probe = NULL;
	if ((code == 481 || code == 408) && l->call && l->state == SH_LEG_UP)
		sh_call_leg_lost(l->call, l, code);
}

static void ask(struct sh_leg *l)
{
	struct sh_writer line, rest;
	struct sh_slice none = {0};

	if (!l || l->state != SH_LEG_UP || sh_session_active(l) || l->probe || !l->dialog.confirmed)
		return;
	sh_ua_writers(l->ua, &line, &rest);
	sh_dialog_put_request(&l->dialog, SH_LIT("OPTIONS"), 0, 70, &line, &rest);
	sh_ua_put_product(l->ua, &rest, true);
	sh_session_id_put(l, &rest);
	sh_put_header(&rest, SH_H_ACCEPT, SH_LIT("application/sdp"));
	sh_put_body(&rest, none, none);
	if (sh_leg_send(l, &l->probe, SH_OPTIONS, &line, &rest, on_event, l) < 0)
		l->probe = NULL; /* the next time */
}

void sh_call_on_probe(struct sh_timer *t)
{
	struct sh_call *c = SH_CONTAINER(t, struct sh_call, probe);

	if (!c->answered) { /* whatever its hook waits for: a phone that died would leave it there for ever */
		bool expired = c->invite && sh_invite_expires(c->invite, c->ua->config.longest_setup);

		sh_call_hangup(c, SH_BY_ENGINE, expired ? 487 : 408, (struct sh_slice){0});
		return;
	}
	sh_call_probe_later(c);
	ask(c->a);
	ask(c->b);
}

void sh_call_probe_later(struct sh_call *c)
{
	sh_wheel_cancel(&c->ua->env->wheel, &c->probe);
	if (c->ua->config.dialog_probe)
		sh_env_timer(c->ua->env, &c->probe, c->ua->config.dialog_probe);
}

void sh_probe_drop(struct sh_leg *l)
{
	if (l->probe)
		sh_client_txn_detach(l->probe);
	l->probe = NULL;
}
