/* What a UAS looks at before anything else (RFC 3261 8.2): method, Request-URI, loops, extensions, content. And the
 * default answers to requests outside of a dialog for which there is no hook. */
#include "b2bua/edge.h"
#include "b2bua/impl.h"

void sh_ua_hooks_changed(struct sh_ua *ua)
{
	static const struct {
		enum sh_method method;
		bool always, in_dialog;
	} order[] = {
		{SH_INVITE, true, true},      {SH_ACK, true, true},       {SH_BYE, true, true},
		{SH_CANCEL, true, true},      {SH_OPTIONS, true, true},   {SH_INFO, true, true},
		{SH_PRACK, true, true},       {SH_UPDATE, true, true},      {SH_NOTIFY, true, true},    {SH_REFER, true, true},
		{SH_MESSAGE, false, true},    {SH_REGISTER, false, false}, {SH_SUBSCRIBE, false, false},
		{SH_PUBLISH, false, false},
	};
	struct sh_slice *texts[] = {&ua->allow, &ua->allow_in_dialog};

	ua->asks_sdp = ua->app->wants_sdp && ua->app->wants_sdp(ua->app_ctx);
	for (unsigned in_dialog = 0; in_dialog < 2; in_dialog++) {
		struct sh_writer w;

		sh_writer_init(&w, ua->allow_text[in_dialog], SH_ALLOW_ROOM);
		for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
			bool named = in_dialog ? order[i].in_dialog : order[i].always;

			if (!named && !ua->app->wants(ua->app_ctx, order[i].method, false, NULL))
				continue;
			if (w.len)
				sh_put_lit(&w, ", ");
			sh_put(&w, sh_method_name(order[i].method));
		}
		*texts[in_dialog] = sh_writer_text(&w);
	}
	ua->notifies = ua->app->wants(ua->app_ctx, SH_SUBSCRIBE, false, NULL);
}

void sh_ua_put_allow_events(struct sh_writer *w)
{
	sh_put_lit(w, "Allow-Events: dialog, message-summary, presence, refer, reg\r\n");
}

void sh_ua_put_abilities(const struct sh_ua *ua, struct sh_writer *w, struct sh_slice allow)
{
	sh_put_header(w, SH_H_ALLOW, allow);
	if (ua->notifies)
		sh_ua_put_allow_events(w);
}

void sh_ua_reply(struct sh_ua *ua, struct sh_server_txn *st, unsigned code, struct sh_slice reason, struct sh_slice tag,
		 struct sh_slice headers)
{
	struct sh_writer *w = sh_server_txn_begin(st, code, reason, tag);

	sh_ua_put_product(ua, w, false);
	sh_put(w, headers);
	sh_put_body(w, (struct sh_slice){0}, (struct sh_slice){0});
	sh_server_txn_respond(st, code, w);
}

static void reply_with(struct sh_ua *ua, struct sh_server_txn *st, unsigned code, enum sh_header_id id, struct sh_slice value)
{
	struct sh_writer *w = sh_server_txn_begin(st, code, (struct sh_slice){0}, (struct sh_slice){0});

	sh_ua_put_product(ua, w, false);
	sh_put_header(w, id, value);
	sh_put_body(w, (struct sh_slice){0}, (struct sh_slice){0});
	sh_server_txn_respond(st, code, w);
}

/* Option tags that we do, and the method that may require them of us (SH_METHOD_OTHER: any). */
static bool knows_extension(struct sh_slice tag, enum sh_method method)
{
	static const struct {
		struct sh_slice tag;
		enum sh_method of;
	} known[] = {
		{{"path", 4}, SH_REGISTER},
		{{"outbound", 8}, SH_REGISTER},
		{{"gruu", 4}, SH_REGISTER},
		{{"100rel", 6}, SH_INVITE},
		{{"timer", 5}, SH_METHOD_OTHER},
		{{"replaces", 8}, SH_INVITE},
		{{"tdialog", 7}, SH_INVITE},
		{{"tdialog", 7}, SH_REFER},
		{{"norefersub", 10}, SH_REFER},
	};

	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if ((known[i].of == SH_METHOD_OTHER || known[i].of == method) && sh_slice_ieq(tag, known[i].tag))
			return true;
	return false;
}

void sh_ua_put_supported(struct sh_writer *w, bool prack, bool hears_199)
{
#define ALWAYS "timer, replaces, norefersub, tdialog\r\n"
	static const struct sh_slice lines[] = {
		{"Supported: " ALWAYS, sizeof("Supported: " ALWAYS) - 1},
		{"Supported: 100rel, " ALWAYS, sizeof("Supported: 100rel, " ALWAYS) - 1},
		{"Supported: 199, " ALWAYS, sizeof("Supported: 199, " ALWAYS) - 1},
		{"Supported: 100rel, 199, " ALWAYS, sizeof("Supported: 100rel, 199, " ALWAYS) - 1},
	};

	sh_put(w, lines[prack + 2 * hears_199]);
}

static bool unsupported(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m)
{
	char buf[512];
	struct sh_writer list;
	bool found = false;

	if (!m->first[SH_H_REQUIRE] || m->method == SH_ACK || m->method == SH_CANCEL)
		return false;
	sh_writer_init(&list, buf, sizeof(buf));
	for (unsigned i = m->first[SH_H_REQUIRE]; i; i = m->headers[i - 1].next) {
		struct sh_slice values = sh_msg_value(m, i), tag;

		while (sh_list_next(&values, &tag)) {
			if (knows_extension(tag, (enum sh_method)m->method))
				continue;
			found = true;
			if (tag.len + 2 > list.cap - list.len)
				continue; /* the list says what fits: the answer is 420 in any case */
			if (list.len)
				sh_put_lit(&list, ", ");
			sh_put(&list, tag);
		}
	}
	if (!found)
		return false;
	reply_with(ua, st, 420, SH_H_UNSUPPORTED, sh_writer_text(&list));
	return true;
}

/* 415: bodies pass through us, but what is encoded, or does not say what it is, nobody behind us could be offered
 * (8.2.3). */
static bool unreadable(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m)
{
	struct sh_slice encoding = sh_msg_header(m, SH_H_CONTENT_ENCODING);

	if (!m->body.len || (m->method != SH_INVITE && m->method != SH_UPDATE))
		return false;
	if (encoding.len && !sh_slice_ieq(encoding, SH_LIT("identity"))) {
		reply_with(ua, st, 415, SH_H_ACCEPT_ENCODING, SH_LIT("identity"));
		return true;
	}
	if (!sh_msg_header(m, SH_H_CONTENT_TYPE).len) {
		reply_with(ua, st, 415, SH_H_ACCEPT, SH_LIT("application/sdp"));
		return true;
	}
	return false;
}

/* Which event? (RFC 6665 4.2.1.1) */
static bool names_no_event(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m)
{
	if ((m->method != SH_SUBSCRIBE && m->method != SH_PUBLISH) || sh_msg_header(m, SH_H_EVENT).len)
		return false;
	sh_ua_default_answer(ua, st, (enum sh_method)m->method, NULL);
	return true;
}

/* REFER without a Refer-To, or with two (RFC 3515 2.4.2); Replaces and Join that name nothing, or both (RFC 3891 3). */
static bool refers_badly(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m)
{
	struct sh_slice none = {0}, why;
	struct sh_refer_to to;
	struct sh_dialog_ids ids;
	struct sh_arena a;
	unsigned code;

	if (m->method != SH_REFER && !m->first[SH_H_REPLACES] && !m->first[SH_H_JOIN])
		return false;
	if (m->to_tag.len && !sh_dialog_find(&ua->dialogs, m))
		return false; /* 481 says more */
	if (m->method == SH_REFER) {
		sh_arena_init(&a, 512);
		code = sh_refer_read(&to, m, &a, &why);
		sh_arena_finish(&a);
		if (code == 400)
			sh_ua_reply(ua, st, 400, why, none, none);
		return code == 400;
	}
	if (m->method == SH_INVITE && !m->to_tag.len && !(m->first[SH_H_REPLACES] && m->first[SH_H_JOIN]) &&
	    sh_dialog_ids_of(&ids, m, m->first[SH_H_JOIN] ? SH_H_JOIN : SH_H_REPLACES) == 0)
		return false;
	sh_ua_reply(ua, st, 400, SH_LIT("Bad Replaces or Join"), none, none);
	return true;
}

bool sh_ua_judge(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_slice none = {0}, why;
	struct sh_path flow;
	struct sh_uri uri;
	unsigned code;

	if (m->method == SH_METHOD_OTHER) {
		reply_with(ua, st, 501, SH_H_ALLOW, ua->allow);
		return true;
	}
	if (sh_uri_parse(&uri, sh_msg_text(m, m->uri)) < 0) {
		sh_ua_reply(ua, st, 400, SH_LIT("Bad Request-URI"), none, none);
		return true;
	}
	if (uri.kind == SH_URI_OTHER && !sh_slice_ieq(uri.scheme, SH_LIT("urn"))) {
		sh_ua_reply(ua, st, 416, none, none, none);
		return true;
	}
	code = uri.kind == SH_URI_SIPS ? sh_sips_judge(ua, m, from, &why) : 0;
	if (code) {
		sh_ua_reply(ua, st, code, why, none, none);
		return true;
	}
	if (m->first[SH_H_ROUTE] && !m->to_tag.len) {
		code = sh_edge_read(ua->transport, &ua->env->key, m, from, &flow);
		if (code > 1) {
			sh_ua_reply(ua, st, code, none, none, none);
			return true;
		}
	}
	/* what ends here needs no hop more; all else would go on */
	if (m->max_forwards == 0 && m->method != SH_BYE && (m->to_tag.len || (m->method != SH_OPTIONS && m->method != SH_REGISTER))) {
		sh_ua_reply(ua, st, 483, none, none, none);
		return true;
	}
	if (unsupported(ua, st, m) || unreadable(ua, st, m) || refers_badly(ua, st, m) || names_no_event(ua, st, m))
		return true;
	if ((m->method == SH_INVITE || m->method == SH_UPDATE) && sh_session_too_small(ua, st, m))
		return true;
	if (ua->draining && !m->to_tag.len) {
		sh_ua_reply(ua, st, 503, SH_LIT("Server is stopping"), none, SH_LIT("Retry-After: 5\r\n"));
		return true;
	}
	return false;
}

unsigned sh_ua_default_answer(struct sh_ua *ua, struct sh_server_txn *st, enum sh_method method, const struct sh_said *said)
{
	static const uint16_t codes[SH_METHOD_COUNT] = {
		[SH_OPTIONS] = 200, [SH_REGISTER] = 405, [SH_MESSAGE] = 405, [SH_SUBSCRIBE] = 489, [SH_PUBLISH] = 489, [SH_REFER] = 403,
	};
	unsigned code = codes[method] ? codes[method] : 481; /* the others only make sense in a dialog */
	struct sh_slice none = {0};
	struct sh_writer *w = sh_server_txn_begin(st, code, none, none);

	sh_ua_put_product(ua, w, false);
	if (code == 405)
		sh_put_header(w, SH_H_ALLOW, ua->allow);
	if (code == 200) {
		sh_ua_put_abilities(ua, w, ua->allow);
		sh_put_header(w, SH_H_ACCEPT, SH_LIT("application/sdp"));
		sh_put_header(w, SH_H_ACCEPT_ENCODING, SH_LIT("identity"));
		sh_ua_put_supported(w, true, false);
		if (ua->app->wants(ua->app_ctx, SH_REGISTER, false, NULL))
			sh_put_header(w, SH_H_SUPPORTED, SH_LIT("path, outbound, gruu"));
	}
	if (code == 489)
		sh_ua_put_allow_events(w);
	if (said)
		sh_put_said(w, said->headers);
	sh_put_body(w, said ? said->content_type : none, said ? said->body : none);
	sh_server_txn_respond(st, code, w);
	return code;
}
