/* A call with one leg: answered before anybody else is there (a queue, a wake-up call), or left alone by its partner. What
 * the caller offers is answered with streams that are inactive; media come with the next bridge. */
#include "msg/sdp.h"

#include "b2bua/early.h"

/* "IP4 10.0.0.1": where we are, as the caller sees it; no media ever come there. */
static void put_address(struct sh_ua *ua, struct sh_writer *w, const struct sh_path *path)
{
	const struct sh_endpoint *e = sh_transport_endpoint(ua->transport, path->endpoint);
	const struct sh_addr *a = path->local.family ? &path->local : &e->local;
	char buf[SH_ADDR_TEXT];
	size_t len = sh_addr_format_bare(a, buf);

	if (!a->family) {
		sh_put_lit(w, "IP4 0.0.0.0");
		return;
	}
	sh_put(w, a->family == 6 ? SH_LIT("IP6 ") : SH_LIT("IP4 "));
	sh_put(w, sh_slice_make(buf, len));
}

/* A stream of theirs, taken but silent: the same formats and what they mean. One that needs keys or ICE, which we do not
 * have, is refused (RFC 3264 6). */
static void put_inactive(struct sh_writer *w, const struct sh_sdp_media *m)
{
	bool plain = sh_slice_ieq(m->proto, SH_LIT("RTP/AVP")) && m->port;
	struct sh_slice rest = m->text, name, value;

	sh_put_lit(w, "m=");
	sh_put(w, m->kind);
	sh_put(w, plain ? SH_LIT(" 9 ") : SH_LIT(" 0 "));
	sh_put(w, m->proto);
	sh_put_char(w, ' ');
	sh_put(w, m->formats);
	sh_put_lit(w, "\r\n");
	if (!plain)
		return;
	while (sh_sdp_attribute_next(&rest, &name, &value)) {
		if (!sh_slice_eq(name, SH_LIT("rtpmap")) && !sh_slice_eq(name, SH_LIT("fmtp")))
			continue;
		sh_put_lit(w, "a=");
		sh_put(w, name);
		sh_put_char(w, ':');
		sh_put(w, value);
		sh_put_lit(w, "\r\n");
	}
	sh_put_lit(w, "a=inactive\r\n");
}

/* Where `offer` is empty: an offer of our own. */
struct sh_body *sh_solo_silence(struct sh_call *c, struct sh_slice offer)
{
	size_t room = 2 * offer.len + 512;
	char *buf = sh_malloc(room);
	struct sh_body *body = NULL;
	struct sh_sdp_media media;
	struct sh_writer w;
	struct sh_sdp sdp;
	int got = 0;

	if (!buf)
		return NULL;
	sh_writer_init(&w, buf, room);
	sh_put_lit(&w, "v=0\r\no=- ");
	sh_put_uint(&w, c->times.start / SH_SECOND);
	sh_put_char(&w, ' ');
	sh_put_uint(&w, ++c->solo_version);
	sh_put_lit(&w, " IN ");
	put_address(c->ua, &w, &c->source);
	sh_put_lit(&w, "\r\ns=-\r\nc=IN ");
	put_address(c->ua, &w, &c->source);
	sh_put_lit(&w, "\r\nt=0 0\r\n");
	if (!offer.len) {
		sh_put_lit(&w, "m=audio 9 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
			       "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=inactive\r\n");
	} else if (sh_sdp_parse(&sdp, offer) < 0) {
		got = -EINVAL;
	} else {
		struct sh_slice rest = sdp.media;

		while ((got = sh_sdp_media_next(&sdp, &rest, &media)) == 1)
			put_inactive(&w, &media);
	}
	if (!got && !w.full)
		body = sh_body_make(SH_LIT("application/sdp"), sh_writer_text(&w));
	sh_free(buf);
	return body;
}

/* ------------------------------------------------------------------ answer */

static int connect_alone(struct sh_call *c, struct sh_body *sdp, struct sh_slice headers)
{
	struct sh_writer *w = sh_call_begin(c, 200, &c->a->dialog);
	int err;

	sh_session_put_answer(c->a, w, c->invite);
	sh_put_said(w, headers);
	sh_put_body(w, sh_body_type(sdp), sh_body_text(sdp));
	err = sh_leg_respond(c->a, c->a->st, 200, w);
	if (err) {
		sh_session_drop(c->a);
		return err;
	}
	sh_body_unref(c->a->local_sdp);
	c->a->local_sdp = sh_body_ref(sdp);
	sh_call_connected(c, &c->a->dialog);
	return 0;
}

int sh_call_answer(struct sh_call *c, struct sh_slice sdp, struct sh_slice headers, sh_bridge_fn done, void *ctx)
{
	struct sh_body *body;
	int err;

	if (c->state == SH_CALL_ENDED)
		return -EPIPE;
	if (c->answered || c->bridging || c->solo)
		return -EALREADY;
	if (!c->a || !c->a->st)
		return -EPIPE;
	body = sdp.len ? sh_body_make(SH_LIT("application/sdp"), sdp) : sh_solo_silence(c, sh_leg_remote_sdp(c->a));
	if (!body)
		return sh_leg_remote_sdp(c->a).len && !sdp.len ? -EBADMSG : -ENOMEM;
	c->solo_script = sdp.len > 0;
	if (sh_reliable_holds_2xx(c, &c->a->dialog)) { /* RFC 3262 3: it waits for the PRACK */
		char *copy = sh_strndup(headers.base, headers.len);

		err = copy ? 0 : -ENOMEM;
		if (copy) {
			sh_free((void *)c->bridge_options.headers.base);
			c->bridge_options.headers = sh_slice_make(copy, headers.len);
			c->solo = sh_body_ref(body);
		}
	} else {
		err = connect_alone(c, body, headers);
	}
	sh_body_unref(body);
	if (err)
		return err;
	c->bridge_done = done;
	c->bridge_ctx = ctx;
	return 0;
}

void sh_solo_pracked(struct sh_call *c)
{
	struct sh_body *body = c->solo;
	int err;

	if (sh_reliable_holds_2xx(c, &c->a->dialog))
		return;
	c->solo = NULL;
	err = connect_alone(c, body, c->bridge_options.headers);
	sh_body_unref(body);
	if (err)
		sh_call_bridge_over(c, err);
}

/* ------------------------------------------------------------------ the next partner */

static void apply_options(struct sh_call *c, const struct sh_bridge_options *o)
{
	c->keep_on_peer_hangup = o->keep_on_peer_hangup;
	if (o->max_duration)
		sh_env_timer(c->ua->env, &c->duration, o->max_duration);
}

/* The new leg is connected, or the caller has refused it. The one before is ended: nobody listens to it any more. */
static void on_rebridged(void *ctx, unsigned code, const struct sh_msg *m)
{
	struct sh_call *c = ctx;
	struct sh_leg *old = sh_slots_get(&c->ua->legs, c->bridge_former);

	(void)m;
	if (code < 300) {
		if (old && old->call == c && old != c->a && old != c->b)
			sh_leg_hangup(old, SH_LIT("SIP;cause=200;text=\"Another partner\""));
		apply_options(c, &c->bridge_options);
	}
	sh_call_bridge_over(c, code < 300 ? 0 : (int)code);
}

int sh_call_bridge_up(struct sh_call *c, struct sh_leg *leg, const struct sh_bridge_options *o, sh_bridge_fn done, void *ctx)
{
	int err;

	if (c->bridge_done)
		return -EBUSY;
	if (leg == c->b && !c->rebridge) {
		apply_options(c, o);
		return 1;
	}
	c->bridge_former = c->b ? c->b->handle : 0;
	err = c->a ? sh_call_rebridge(c, c->a, leg, on_rebridged, c) : -EPIPE;
	if (err)
		return err;
	c->bridge_options.keep_on_peer_hangup = o->keep_on_peer_hangup;
	c->bridge_options.max_duration = o->max_duration;
	c->bridge_done = done;
	c->bridge_ctx = ctx;
	return 0;
}

/* ------------------------------------------------------------------ re-INVITE */

static unsigned count_media(struct sh_slice text)
{
	struct sh_sdp_media media;
	struct sh_slice rest;
	struct sh_sdp sdp;
	unsigned n = 0;

	if (sh_sdp_parse(&sdp, text) < 0)
		return 0;
	rest = sdp.media;
	while (sh_sdp_media_next(&sdp, &rest, &media) == 1)
		n++;
	return n;
}

unsigned sh_solo_reinvite(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m)
{
	struct sh_slice offer = sh_msg_text(m, m->body), none = {0};
	struct sh_call *c = l->call;
	struct sh_body *body = NULL;
	struct sh_writer *w;
	int err;

	if (c->solo_script && l->local_sdp && (!offer.len || count_media(offer) == count_media(sh_leg_local_sdp(l))))
		body = sh_body_ref(l->local_sdp); /* a script's own session stays */
	else
		body = sh_solo_silence(c, offer);
	if (!body) {
		sh_ua_reply(l->ua, st, 488, none, none, none);
		return 488;
	}
	w = sh_server_txn_begin(st, 200, none, (struct sh_slice){l->dialog.local_tag, SH_TAG_LEN});
	sh_ua_put_contact(l->ua, w, &l->dialog.path, l->dialog.secure);
	sh_put_header(w, SH_H_ALLOW, l->ua->allow_in_dialog);
	sh_ua_put_product(l->ua, w, false);
	sh_session_put_answer(l, w, m);
	sh_put_body(w, sh_body_type(body), sh_body_text(body));
	err = sh_leg_respond(l, st, 200, w);
	if (!err) {
		sh_leg_learn_sdp(&l->remote_sdp, m);
		sh_body_unref(l->local_sdp);
		l->local_sdp = sh_body_ref(body);
	} else if (!sh_server_txn_answered(st)) {
		sh_server_txn_reply(st, 500, none);
	}
	sh_body_unref(body);
	return err ? 500 : 200;
}
