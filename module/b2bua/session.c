/* Session timers (RFC 4028), one for each dialog: what one side has agreed with us is no business of the other.
 *
 *   request --Session-Expires: 1800--> 2xx --Session-Expires: 1800;refresher=...-->
 *   we refresh:      at half the interval an UPDATE without a body, or a re-INVITE that offers what was agreed
 *   the peer does:   BYE when nothing has come until min(32 s, a third) before the end
 *
 * The role stays with whoever has it: requests of ours name it, and the peer's wish is followed. A leg without an
 * agreement has no record here and costs nothing. */
#include "b2bua/impl.h"

enum { DEFAULT_MIN = 90, MARGIN = 32, RETRY = 5, MOST = INT32_MAX / 1000 };

struct sh_session {
	struct sh_leg *leg;
	struct sh_timer timer;
	uint32_t interval, min; /* seconds */
	bool refresher;         /* we */
	bool with_update;       /* the peer does UPDATE */
	bool offered;           /* a re-INVITE of ours is on its way */
	uint64_t expires;       /* when the session is over */
	struct sh_client_txn *update;
};

static void on_timer(struct sh_timer *t);

static struct sh_session *session_of(struct sh_leg *l)
{
	struct sh_session *s = l->session;

	if (s)
		return s;
	s = l->session = sh_calloc(1, sizeof(*s));
	if (!s)
		return NULL; /* without memory nobody watches over it */
	s->leg = l;
	s->min = DEFAULT_MIN;
	sh_timer_init(&s->timer, on_timer);
	return s;
}

bool sh_session_active(const struct sh_leg *l)
{
	return l->session && l->session->interval;
}

void sh_session_drop(struct sh_leg *l)
{
	struct sh_session *s = l->session;

	if (!s)
		return;
	sh_wheel_cancel(&l->ua->env->wheel, &s->timer);
	if (s->update)
		sh_client_txn_detach(s->update);
	sh_free(s);
	l->session = NULL;
}

/* ------------------------------------------------------------------ what the fields say */

static uint32_t configured(const struct sh_ua *ua)
{
	return (uint32_t)(ua->config.session_expires / SH_SECOND);
}

static uint32_t configured_min(const struct sh_ua *ua)
{
	uint32_t s = (uint32_t)(ua->config.session_min / SH_SECOND);

	return s < DEFAULT_MIN ? DEFAULT_MIN : s;
}

/* The seconds of Session-Expires or Min-SE; 0: it is not there, or makes no sense. */
static uint32_t seconds(const struct sh_msg *m, enum sh_header_id id, struct sh_slice *params)
{
	struct sh_slice number, rest = {0};
	uint32_t n;

	sh_slice_cut(sh_msg_header(m, id), ';', &number, &rest);
	if (params)
		*params = rest;
	if (sh_slice_u32(sh_slice_trim(number), &n) < 0)
		return 0;
	return n > MOST ? MOST : n;
}

static struct sh_slice refresher(struct sh_slice params)
{
	struct sh_slice value = {0};

	sh_param_find(params, SH_LIT("refresher"), &value);
	return value;
}

static bool supports(const struct sh_msg *m)
{
	return sh_msg_has_token(m, SH_H_SUPPORTED, SH_LIT("timer")) || sh_msg_has_token(m, SH_H_REQUIRE, SH_LIT("timer"));
}

static void learn_min(struct sh_session *s, const struct sh_msg *m)
{
	uint32_t n = seconds(m, SH_H_MIN_SE, NULL);

	if (n > s->min)
		s->min = n;
}

uint32_t sh_session_min_of(const struct sh_msg *m)
{
	return seconds(m, SH_H_MIN_SE, NULL);
}

/* ------------------------------------------------------------------ time */

static void arm(struct sh_session *s)
{
	struct sh_env *env = s->leg->ua->env;
	uint64_t whole = s->interval * (uint64_t)SH_SECOND;
	uint64_t margin = whole / 3 < MARGIN * SH_SECOND ? whole / 3 : MARGIN * SH_SECOND;

	s->expires = env->now + whole - margin;
	sh_env_timer(env, &s->timer, s->refresher ? whole / 2 : whole - margin);
}

static void stop(struct sh_leg *l)
{
	if (l->session)
		sh_wheel_cancel(&l->ua->env->wheel, &l->session->timer);
	if (l->session)
		l->session->interval = 0;
}

static void expired(struct sh_session *s)
{
	struct sh_leg *l = s->leg;

	sh_leg_want_reason(l, SH_LIT("SIP;cause=408;text=\"Session timer expired\""));
	if (l->call)
		sh_call_leg_lost(l->call, l, 408);
	else
		sh_leg_hangup(l, (struct sh_slice){0});
}

/* ------------------------------------------------------------------ agreement */

bool sh_session_too_small(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m)
{
	uint32_t n = seconds(m, SH_H_SESSION_EXPIRES, NULL);
	char text[32];
	struct sh_writer w;

	if (!m->first[SH_H_SESSION_EXPIRES] || n >= configured_min(ua) || !supports(m))
		return false;
	sh_writer_init(&w, text, sizeof(text));
	sh_put_header_uint(&w, SH_H_MIN_SE, configured_min(ua));
	sh_ua_reply(ua, st, 422, (struct sh_slice){0}, (struct sh_slice){0}, sh_writer_text(&w));
	return true;
}

static void put_interval(struct sh_writer *w, uint32_t interval, struct sh_slice role)
{
	sh_put_lit(w, "Session-Expires: ");
	sh_put_uint(w, interval);
	if (role.len) {
		sh_put_lit(w, ";refresher=");
		sh_put(w, role);
	}
	sh_put_lit(w, "\r\n");
}

void sh_session_put_invite(struct sh_ua *ua, struct sh_writer *w, uint32_t min)
{
	uint32_t interval = configured(ua);

	if (!interval)
		return;
	put_interval(w, interval > min ? interval : min, (struct sh_slice){0});
	if (min)
		sh_put_header_uint(w, SH_H_MIN_SE, min);
}

void sh_session_put_request(struct sh_leg *l, struct sh_writer *w)
{
	const struct sh_session *s = l->session;

	if (!s || !s->interval)
		return;
	put_interval(w, s->interval > s->min ? s->interval : s->min, s->refresher ? SH_LIT("uac") : SH_LIT("uas"));
	if (s->min > DEFAULT_MIN)
		sh_put_header_uint(w, SH_H_MIN_SE, s->min);
}

void sh_session_put_answer(struct sh_leg *l, struct sh_writer *w, const struct sh_msg *m)
{
	struct sh_slice params, role;
	struct sh_session *s;
	uint32_t interval, min;
	bool able;

	if (!m) /* its transaction was answered already: nothing of this is sent */
		return;
	interval = seconds(m, SH_H_SESSION_EXPIRES, &params);
	able = supports(m);
	if (!interval && (!able || !configured(l->ua))) { /* 9: without the field in the 2xx the session does not expire */
		stop(l);
		return;
	}
	s = session_of(l);
	if (!s)
		return;
	learn_min(s, m);
	if (!interval) {
		interval = s->interval ? s->interval : configured(l->ua);
		role = s->interval && !s->refresher ? SH_LIT("uac") : SH_LIT("uas");
	} else {
		role = refresher(params);
		if (!able)
			role = SH_LIT("uas");
		else if (!role.len) /* ours to choose: as it is, else whoever asked */
			role = s->interval && s->refresher ? SH_LIT("uas") : SH_LIT("uac");
	}
	min = s->min > DEFAULT_MIN ? s->min : DEFAULT_MIN;
	s->interval = interval < min ? min : interval;
	s->refresher = !sh_slice_ieq(role, SH_LIT("uac"));
	s->with_update = sh_msg_has_token(m, SH_H_ALLOW, SH_LIT("UPDATE")) || s->with_update;
	if (able)
		sh_put_lit(w, "Require: timer\r\n");
	put_interval(w, s->interval, s->refresher ? SH_LIT("uas") : SH_LIT("uac"));
	arm(s);
}

void sh_session_on_answer(struct sh_leg *l, const struct sh_msg *m)
{
	struct sh_slice params;
	uint32_t interval = seconds(m, SH_H_SESSION_EXPIRES, &params);
	struct sh_session *s;

	if (!interval) {
		stop(l);
		return;
	}
	s = session_of(l);
	if (!s)
		return;
	s->interval = interval < DEFAULT_MIN ? DEFAULT_MIN : interval;
	s->refresher = !sh_slice_ieq(refresher(params), SH_LIT("uas"));
	s->with_update = sh_msg_has_token(m, SH_H_ALLOW, SH_LIT("UPDATE")) || s->with_update;
	arm(s);
}

void sh_session_too_small_for(struct sh_leg *l, const struct sh_msg *m)
{
	if (l->session)
		learn_min(l->session, m);
}

/* ------------------------------------------------------------------ refresh */

static void refresh(struct sh_session *s);

/* The refresh came to nothing: once more as long as there is time (10). */
static void failed(struct sh_session *s, unsigned code, const struct sh_msg *m)
{
	struct sh_env *env = s->leg->ua->env;
	uint64_t again = env->now + RETRY * SH_SECOND;

	if (s->leg->state != SH_LEG_UP)
		return;
	if (code == 408 || code == 481) {
		expired(s);
		return;
	}
	if (code == 422 && m) {
		learn_min(s, m);
		again = env->now;
	} else if (code == 405 || code == 501) {
		again = env->now;
		if (!s->with_update)
			again = s->expires;
		s->with_update = false;
	}
	sh_wheel_add(&env->wheel, &s->timer, again < s->expires ? again : s->expires);
}

static void on_update(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct sh_session *s = user;
	struct sh_leg *l = s->leg;

	if (ev == SH_CLIENT_RESPONSE && m->status < 200)
		return;
	if (ev != SH_CLIENT_ENDED)
		sh_client_txn_detach(ct);
	s->update = NULL;
	if (ev == SH_CLIENT_RESPONSE && m->status < 300) {
		sh_dialog_refresh(&l->dialog, m, NULL);
		sh_session_on_answer(l, m);
	} else {
		failed(s, ev == SH_CLIENT_RESPONSE ? m->status : ev == SH_CLIENT_TIMEOUT ? 408 : 503, m);
	}
}

static int send_update(struct sh_session *s)
{
	struct sh_leg *l = s->leg;
	struct sh_ua *ua = l->ua;
	struct sh_slice none = {0};
	struct sh_writer line, rest;

	sh_ua_writers(ua, &line, &rest);
	sh_dialog_put_request(&l->dialog, SH_LIT("UPDATE"), 0, 70, &line, &rest);
	sh_ua_put_contact(ua, &rest, &l->dialog.path, l->dialog.secure);
	sh_ua_put_product(ua, &rest, true);
	sh_ua_put_supported(&rest, false, false);
	sh_session_id_put(l, &rest);
	sh_session_put_request(l, &rest);
	sh_put_body(&rest, none, none);
	return sh_leg_send(l, &s->update, SH_UPDATE, &line, &rest, on_update, s);
}

/* The interval of its 2xx was taken where that was read. */
static void on_reoffered(void *ctx, unsigned code, const struct sh_msg *m)
{
	struct sh_leg *l = ctx;

	if (!l->session)
		return;
	l->session->offered = false;
	if (code >= 300 && code != 487)
		failed(l->session, code, m);
}

static void refresh(struct sh_session *s)
{
	struct sh_leg *l = s->leg;
	int err;

	if (l->state != SH_LEG_UP || s->update || s->offered) { /* not up: its ACK is missing; or one is on its way */
		failed(s, 491, NULL);
		return;
	}
	if (s->with_update) {
		err = send_update(s);
	} else {
		err = sh_reoffer_start(l, l->local_sdp, on_reoffered, l);
		s->offered = !err;
	}
	if (err)
		failed(s, 491, NULL);
	else /* if nothing comes of it at all */
		sh_wheel_add(&l->ua->env->wheel, &s->timer, s->expires);
}

static void on_timer(struct sh_timer *t)
{
	struct sh_session *s = SH_CONTAINER(t, struct sh_session, timer);

	if (s->leg->ua->env->now >= s->expires)
		expired(s);
	else if (s->refresher)
		refresh(s);
}

bool sh_session_answers(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m)
{
	struct sh_slice none = {0};
	struct sh_writer *w;

	if (m->method != SH_UPDATE || m->body.len || !m->first[SH_H_SESSION_EXPIRES])
		return false;
	sh_leg_refresh(l, m, sh_server_txn_path(st));
	w = sh_server_txn_begin(st, 200, none, none);
	sh_ua_put_contact(l->ua, w, sh_server_txn_path(st), l->dialog.secure);
	sh_put_header(w, SH_H_ALLOW, l->ua->allow_in_dialog);
	sh_ua_put_supported(w, true, false);
	sh_ua_put_product(l->ua, w, false);
	sh_session_put_answer(l, w, m);
	sh_put_body(w, none, none);
	sh_server_txn_respond(st, 200, w);
	return true;
}
