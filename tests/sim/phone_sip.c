/* The phone's SIP: writing messages (RFC 3261 8.1.1, 8.2.6, 9.1, 17.1.1.3), what it learns of dialogs (12), digest
 * (22). */
#include "phone_impl.h"

#include <stdlib.h>

#include "msg/digest.h"
#include "msg/uri.h"
#include "msg/writer.h"

/* ---- the test's own header lines ---- */

static bool next_line(struct sh_slice *rest, struct sh_slice *line)
{
	struct sh_slice tail;

	do {
		if (rest->len == 0)
			return false;
		sh_slice_cut(*rest, '\n', line, &tail);
		*rest = tail;
		if (line->len > 0 && line->base[line->len - 1] == '\r')
			line->len--;
	} while (line->len == 0);
	return true;
}

static bool same_name(struct sh_slice a, struct sh_slice b)
{
	enum sh_header_id id = sh_header_lookup(a);

	return id != SH_H_OTHER ? id == sh_header_lookup(b) : sh_slice_ieq(a, b);
}

/* The test has written that field itself, or wants it left out ("-Contact"). */
static bool is_taken(const char *headers, struct sh_slice name)
{
	struct sh_slice rest = sh_slice_cstr(headers), line, own, value;

	while (next_line(&rest, &line)) {
		if (line.base[0] == '-')
			own = sh_slice_make(line.base + 1, line.len - 1);
		else
			sh_slice_cut(line, ':', &own, &value);
		if (same_name(sh_slice_trim(own), name))
			return true;
	}
	return false;
}

/* ---- a message in the making ---- */

struct draft {
	struct phone *phone;
	struct sh_writer w;
	const char *headers;
};

static void draft_init(struct draft *d, struct phone *p, const char *headers)
{
	d->phone = p;
	d->headers = headers;
	sh_writer_init(&d->w, malloc(PHONE_SCRATCH), PHONE_SCRATCH);
	assert_non_null(d->w.base);
}

static bool has_own(const struct draft *d, enum sh_header_id id)
{
	return is_taken(d->headers, sh_header_name(id));
}

static void put(struct draft *d, enum sh_header_id id, struct sh_slice value)
{
	if (value.len > 0 && !has_own(d, id))
		sh_put_header(&d->w, id, value);
}

static void put_text(struct draft *d, enum sh_header_id id, const char *value)
{
	put(d, id, sh_slice_cstr(value));
}

static void put_address(struct draft *d, enum sh_header_id id, const char *address, const char *tag)
{
	if (has_own(d, id))
		return;
	sh_put(&d->w, sh_header_name(id));
	sh_put_lit(&d->w, ": ");
	sh_put(&d->w, sh_slice_cstr(address));
	if (tag) {
		sh_put_lit(&d->w, ";tag=");
		sh_put(&d->w, sh_slice_cstr(tag));
	}
	sh_put_lit(&d->w, "\r\n");
}

static void put_via(struct draft *d, enum sh_proto proto)
{
	char random[16];

	if (has_own(d, SH_H_VIA))
		return;
	sh_random_token(&d->phone->env->random, random, sizeof(random));
	sh_put_lit(&d->w, "Via: SIP/2.0/");
	sh_put(&d->w, sh_proto_via(proto));
	sh_put_char(&d->w, ' ');
	sh_put_addr(&d->w, &d->phone->addr);
	sh_put_lit(&d->w, ";rport;branch=z9hG4bK");
	sh_put(&d->w, sh_slice_make(random, sizeof(random)));
	sh_put_lit(&d->w, "\r\n");
}

static void put_contact(struct draft *d, enum sh_proto proto)
{
	if (has_own(d, SH_H_CONTACT))
		return;
	sh_put_lit(&d->w, "Contact: <sip:");
	sh_put(&d->w, sh_slice_cstr(d->phone->name));
	sh_put_char(&d->w, '@');
	sh_put_addr(&d->w, &d->phone->addr);
	if (proto == SH_PROTO_TCP)
		sh_put_lit(&d->w, ";transport=tcp");
	sh_put_lit(&d->w, ">\r\n");
}

static void put_cseq(struct draft *d, uint32_t cseq, struct sh_slice method)
{
	if (has_own(d, SH_H_CSEQ))
		return;
	sh_put_lit(&d->w, "CSeq: ");
	sh_put_uint(&d->w, cseq);
	sh_put_char(&d->w, ' ');
	sh_put(&d->w, method);
	sh_put_lit(&d->w, "\r\n");
}

/* The test's lines, the length, the body. */
static void put_rest(struct draft *d, const char *body)
{
	struct sh_slice rest = sh_slice_cstr(d->headers), line, text = sh_slice_cstr(body);

	while (next_line(&rest, &line)) {
		if (line.base[0] == '-')
			continue;
		sh_put(&d->w, line);
		sh_put_lit(&d->w, "\r\n");
	}
	if (text.len > 0)
		put_text(d, SH_H_CONTENT_TYPE, "application/sdp");
	if (!has_own(d, SH_H_CONTENT_LENGTH))
		sh_put_header_uint(&d->w, SH_H_CONTENT_LENGTH, text.len);
	sh_put_lit(&d->w, "\r\n");
	sh_put(&d->w, text);
}

static struct phone_msg *draft_send(struct draft *d, const struct phone_way *way, struct phone_call *call)
{
	struct phone_msg *msg;

	assert_false(d->w.full);
	msg = phone_transmit(d->phone, way, d->w.base, d->w.len);
	msg->call = call;
	free(d->w.base);
	return msg;
}

/* ---- calls ---- */

static struct phone_call *call_create(struct phone *p)
{
	struct phone_call *c = phone_alloc(p, sizeof(*c));
	char tag[10];

	sh_random_token(&p->env->random, tag, sizeof(tag));
	c->phone = p;
	c->local_tag = phone_keep(p, sh_slice_make(tag, sizeof(tag)));
	c->cseq = (uint32_t)sh_random_below(&p->env->random, 10000); /* whoever mixes up two legs is seen */
	sh_list_append(&p->calls, &c->link);
	return c;
}

/* `"Alice" <sip:alice@example.org>` of a From or To value. */
static const char *without_tag(struct phone *p, struct sh_slice value)
{
	struct sh_name_addr a;

	if (sh_name_addr_next(&value, &a))
		return phone_keep(p, value);
	return phone_printf(p, "%.*s%s<%.*s>", SH_FMT(a.display), a.display.len > 0 ? " " : "", SH_FMT(a.uri));
}

static const char *contact_of(const struct phone_msg *msg)
{
	struct sh_slice value = sh_msg_header(&msg->m, SH_H_CONTACT);
	struct sh_name_addr a;

	if (!value.base || sh_name_addr_next(&value, &a) || a.star)
		return NULL;
	return phone_keep(msg->phone, a.uri);
}

/* The Record-Route set as Route wants it: as it stands for who is called, turned round for who calls (RFC 3261 12.1).
 */
static const char *routes_of(const struct phone_msg *msg, bool turned)
{
	const char *all = NULL;
	struct sh_slice value, one;

	for (unsigned i = msg->m.first[SH_H_RECORD_ROUTE]; i; i = msg->m.headers[i - 1].next) {
		value = sh_msg_value(&msg->m, i);
		while (sh_list_next(&value, &one)) {
			if (!all)
				all = phone_keep(msg->phone, one);
			else if (turned)
				all = phone_printf(msg->phone, "%.*s, %s", SH_FMT(one), all);
			else
				all = phone_printf(msg->phone, "%s, %.*s", all, SH_FMT(one));
		}
	}
	return all;
}

static bool text_is(struct sh_slice s, const char *text)
{
	return text && sh_slice_eq(s, sh_slice_cstr(text));
}

/* By Call-ID and our tag; an own tag that is not there yet matches by theirs. */
static struct phone_call *call_find(struct phone *p, struct sh_slice id, struct sh_slice own, struct sh_slice theirs)
{
	SH_LIST_EACH(l, &p->calls)
	{
		struct phone_call *c = SH_CONTAINER(l, struct phone_call, link);
		if (text_is(id, c->id) && (own.len > 0 ? text_is(own, c->local_tag) : text_is(theirs, c->remote_tag)))
			return c;
	}
	return NULL;
}

/* ---- ways ---- */

/* Where a URI says; false when its host is a name. */
static bool way_of_uri(struct sh_slice text, struct phone_way *way)
{
	struct sh_slice transport;
	struct sh_uri uri;
	uint16_t port;

	*way = (struct phone_way){.proto = SH_PROTO_UDP};
	if (sh_uri_parse(&uri, text))
		return false;
	if (sh_param_find(uri.params, SH_LIT("transport"), &transport) && sh_slice_ieq(transport, SH_LIT("tcp")))
		way->proto = SH_PROTO_TCP;
	port = uri.port ? uri.port : sh_proto_port(way->proto);
	return sh_addr_parse(&way->to, uri.host, port) == 0;
}

static struct phone_way way_of_call(const struct phone_call *c)
{
	const struct phone *p = c->phone;
	struct sh_slice routes = sh_slice_cstr(c->routes), next = sh_slice_cstr(c->target);
	struct sh_name_addr first;
	struct phone_way way;
	bool numeric;

	if (routes.len > 0 && sh_name_addr_next(&routes, &first) == 0)
		next = first.uri;
	numeric = way_of_uri(next, &way);
	if (p->has_proxy && (!numeric || (!c->remote_tag && !c->routes)))
		way = (struct phone_way){.proto = p->proxy_proto, .to = p->proxy};
	else if (!numeric)
		phone_fail(p->sim, __FILE__, __LINE__, "%s cannot find %.*s: no proxy", p->uri, SH_FMT(next));
	return way;
}

static struct phone_way way_of(const struct phone_msg *msg)
{
	return (struct phone_way){msg->proto, msg->remote, msg->conn};
}

/* Back by RFC 3261 18.2.2 and RFC 3581 4. */
static struct phone_way way_back(const struct phone_msg *request)
{
	struct phone_way way = way_of(request);

	if (request->proto == SH_PROTO_UDP && !request->m.via_has_rport)
		way.to.port = request->m.via_port ? request->m.via_port : 5060;
	return way;
}

/* ---- requests ---- */

/* Methods that carry a Contact: they make a dialog or refresh its target (and REGISTER). */
static bool has_contact(struct sh_slice method)
{
	static const char *const methods[] = {"INVITE", "SUBSCRIBE", "REFER", "UPDATE", "NOTIFY", "REGISTER"};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (text_is(method, methods[i]))
			return true;
	}
	return false;
}

/* The request as far as it follows from the call. */
static struct phone_msg *send_request(struct phone_call *c, struct sh_slice method, uint32_t cseq, const char *headers,
				      const char *body)
{
	struct phone_way way = way_of_call(c);
	struct draft d;

	draft_init(&d, c->phone, headers);
	sh_put_request_line(&d.w, method, sh_slice_cstr(c->target));
	put_via(&d, way.proto);
	put_text(&d, SH_H_MAX_FORWARDS, "70");
	put_address(&d, SH_H_FROM, c->local, c->local_tag);
	put_address(&d, SH_H_TO, c->remote, c->remote_tag);
	put_text(&d, SH_H_CALL_ID, c->id);
	put_cseq(&d, cseq, method);
	put_text(&d, SH_H_ROUTE, c->routes);
	if (has_contact(method))
		put_contact(&d, way.proto);
	put_rest(&d, body);
	return draft_send(&d, &way, c);
}

/* Remembers what was sent as the call's latest. */
static struct phone_msg *begin(struct phone_call *c, struct phone_msg *msg)
{
	c->sent = msg;
	if (phone_is_request(msg, SH_INVITE))
		c->invite = msg;
	phone_insist(msg);
	return msg;
}

struct phone_msg *phone_in_call(struct phone_call *c, const char *method, const char *headers, const char *body)
{
	return begin(c, send_request(c, sh_slice_cstr(method), ++c->cseq, headers, body));
}

/* The test may have written these itself. */
static void adopt(struct phone_call *c, const struct phone_msg *sent)
{
	const struct sh_msg *m = &sent->m;

	if (!phone_is_sip(sent))
		return;
	c->id = phone_keep(c->phone, phone_span(sent, m->call_id));
	c->local = without_tag(c->phone, sh_msg_header(m, SH_H_FROM));
	c->remote = without_tag(c->phone, sh_msg_header(m, SH_H_TO));
	c->local_tag = phone_keep(c->phone, phone_span(sent, m->from_tag));
	c->cseq = m->cseq;
}

struct phone_call *phone_request(struct phone *p, const char *method, const char *uri, const char *headers,
				 const char *body)
{
	struct phone_call *c = call_create(p);
	char random[12];

	sh_random_token(&p->env->random, random, sizeof(random));
	c->id = phone_keep(p, sh_slice_make(random, sizeof(random)));
	c->local = phone_printf(p, "<%s>", p->uri);
	c->remote = strcmp(method, "REGISTER") == 0 ? c->local : phone_printf(p, "<%s>", uri);
	c->target = phone_keep(p, sh_slice_cstr(uri));
	phone_in_call(c, method, headers, body);
	adopt(c, c->sent);
	return c;
}

struct phone_call *phone_invite(struct phone *p, const char *uri, const char *headers, const char *body)
{
	return phone_request(p, "INVITE", uri, headers, body);
}

struct phone_msg *phone_reinvite(struct phone_call *c, const char *headers, const char *body)
{
	return phone_in_call(c, "INVITE", headers, body);
}

struct phone_msg *phone_bye(struct phone_call *c)
{
	return phone_in_call(c, "BYE", NULL, NULL);
}

/* What goes the way of an INVITE hop by hop: CANCEL (9.1) and the ACK of a failure (17.1.1.3) have its Request-URI,
 * topmost Via, From, Call-ID, CSeq number and Route. */
static struct phone_msg *send_behind(struct phone_msg *invite, struct sh_slice method, struct sh_slice to,
				     const char *headers)
{
	const struct sh_msg *m = &invite->m;
	struct phone_way way = way_of(invite);
	struct draft d;

	draft_init(&d, invite->phone, headers);
	sh_put_request_line(&d.w, method, phone_span(invite, m->uri));
	put(&d, SH_H_VIA, phone_span(invite, m->via));
	put_text(&d, SH_H_MAX_FORWARDS, "70");
	put(&d, SH_H_FROM, sh_msg_header(m, SH_H_FROM));
	put(&d, SH_H_TO, to);
	put(&d, SH_H_CALL_ID, phone_span(invite, m->call_id));
	put_cseq(&d, m->cseq, method);
	if (!has_own(&d, SH_H_ROUTE))
		sh_put_copy(&d.w, m, SH_H_ROUTE);
	put_rest(&d, NULL);
	return draft_send(&d, &way, invite->call);
}

struct phone_msg *phone_cancel(struct phone_call *c, const char *headers)
{
	struct phone_msg *cancel;

	phone_assert(c->phone, c->invite != NULL);
	cancel = send_behind(c->invite, SH_LIT("CANCEL"), sh_msg_header(&c->invite->m, SH_H_TO), headers);
	phone_insist(cancel);
	return cancel;
}

/* The request of ours that this answers; NULL: none. */
static struct phone_msg *request_of(const struct phone_msg *answer)
{
	SH_LIST_EACH(l, &answer->phone->log)
	{
		struct phone_msg *msg = SH_CONTAINER(l, struct phone_msg, link);
		if (msg->sent && phone_is_sip(msg) && msg->m.is_request && phone_same_transaction(msg, answer))
			return msg;
	}
	return NULL;
}

/* A dialog that the call does not follow: for the time of one request. */
static struct phone_call dialog_of(const struct phone_msg *answer)
{
	struct phone_call c = *answer->call;

	if (text_is(phone_span(answer, answer->m.to_tag), c.remote_tag) && c.confirmed)
		return c;
	c.remote_tag = phone_keep(c.phone, phone_span(answer, answer->m.to_tag));
	c.routes = routes_of(answer, true);
	c.target = contact_of(answer) ? contact_of(answer) : c.target;
	return c;
}

/* The credentials of a request: they go along with the ACK of its 2xx (RFC 3261 22.1). */
static const char *with_credentials(const struct phone_msg *request, const char *headers)
{
	static const enum sh_header_id ids[] = {SH_H_AUTHORIZATION, SH_H_PROXY_AUTHORIZATION};
	const char *all = headers ? headers : "";

	for (size_t i = 0; i < 2; i++) {
		struct sh_slice name = sh_header_name(ids[i]), value = sh_msg_header(&request->m, ids[i]);
		if (value.base && !is_taken(all, name))
			all = phone_printf(request->phone, "%.*s: %.*s\n%s", SH_FMT(name), SH_FMT(value), all);
	}
	return all;
}

struct phone_msg *phone_ack(struct phone_msg *answer, const char *headers, const char *body)
{
	struct phone_msg *invite = request_of(answer), *ack;
	struct phone_call dialog;

	phone_assert(answer->phone,
		     phone_is_answer(answer, SH_INVITE) && answer->m.status >= 200 && invite && answer->call);
	if (answer->m.status >= 300)
		return send_behind(invite, SH_LIT("ACK"), sh_msg_header(&answer->m, SH_H_TO), headers);
	dialog = dialog_of(answer);
	ack = send_request(&dialog, SH_LIT("ACK"), answer->m.cseq, with_credentials(invite, headers), body);
	ack->call = answer->call;
	return ack;
}

struct phone_msg *phone_prack(struct phone_msg *provisional, const char *headers, const char *body)
{
	const char *rseq = phone_value(provisional, "RSeq");
	struct phone_call dialog;
	struct phone_msg *prack;

	phone_assert(provisional->phone, rseq && provisional->call);
	headers = phone_printf(provisional->phone, "RAck: %s %u %.*s\n%s", rseq, provisional->m.cseq,
			       SH_FMT(phone_span(provisional, provisional->m.cseq_method)), headers ? headers : "");
	dialog = dialog_of(provisional);
	prack = send_request(&dialog, SH_LIT("PRACK"), ++provisional->call->cseq, headers, body);
	prack->call = provisional->call;
	return begin(prack->call, prack);
}

void phone_follow(struct phone_msg *answer)
{
	struct phone_call dialog = dialog_of(answer), *c = answer->call;

	c->remote_tag = dialog.remote_tag;
	c->routes = dialog.routes;
	c->target = dialog.target;
	c->confirmed = c->confirmed || answer->m.status >= 200;
}

/* ---- answers ---- */

/* The head by RFC 3261 8.2.6, without the fields that the test has written itself. */
static void put_head(struct draft *d, const struct phone_msg *request, unsigned code, const char *reason,
		     struct sh_slice tag)
{
	struct sh_slice rest, line, name, value;
	struct sh_writer head;
	bool keep = true;

	sh_writer_init(&head, d->phone->scratch, PHONE_SCRATCH);
	sh_put_response_head(&head, &request->m, &request->remote, code, sh_slice_cstr(reason), tag);
	assert_false(head.full);
	rest = sh_writer_text(&head);
	next_line(&rest, &line);
	sh_put(&d->w, line);
	sh_put_lit(&d->w, "\r\n");
	while (next_line(&rest, &line)) {
		if (line.base[0] != ' ' && line.base[0] != '\t') { /* else the field goes on */
			sh_slice_cut(line, ':', &name, &value);
			keep = !is_taken(d->headers, name);
		}
		if (!keep)
			continue;
		sh_put(&d->w, line);
		sh_put_lit(&d->w, "\r\n");
	}
}

struct phone_msg *phone_reply(struct phone_msg *request, unsigned code, const char *reason, const char *headers,
			      const char *body)
{
	struct phone *p = request->phone;
	struct phone_call *c = request->call; /* NULL: in a dialog that we do not know; To has a tag then */
	const struct sh_msg *m = &request->m;
	bool in_dialog =
	    code > 100 && code < 300 &&
	    (m->method == SH_INVITE || m->method == SH_SUBSCRIBE || m->method == SH_REFER || m->method == SH_UPDATE);
	struct sh_slice tag = code > 100 && c ? sh_slice_cstr(c->local_tag) : SH_LIT("");
	struct phone_way way = way_back(request);
	struct phone_msg *answer;
	struct draft d;

	phone_assert(p, !request->sent && phone_is_sip(request) && m->is_request);
	draft_init(&d, p, headers);
	put_head(&d, request, code, reason, tag);
	if (in_dialog && !has_own(&d, SH_H_RECORD_ROUTE))
		sh_put_copy(&d.w, m, SH_H_RECORD_ROUTE);
	if (in_dialog)
		put_contact(&d, way.proto);
	put_rest(&d, body);
	answer = draft_send(&d, &way, c);
	if (c && in_dialog && code >= 200 && !m->to_tag.len) /* else it came in a dialog, which may be an early one */
		c->confirmed = true;
	if (m->method == SH_INVITE && code >= 200)
		phone_insist(answer);
	return answer;
}

/* ---- what comes in ---- */

static struct phone_call *call_of_stranger(struct phone_msg *msg)
{
	struct phone *p = msg->phone;
	struct phone_call *c = call_create(p);
	const char *contact = contact_of(msg);

	c->id = phone_keep(p, phone_span(msg, msg->m.call_id));
	c->local = without_tag(p, sh_msg_header(&msg->m, SH_H_TO));
	c->remote = without_tag(p, sh_msg_header(&msg->m, SH_H_FROM));
	c->remote_tag = phone_keep(p, phone_span(msg, msg->m.from_tag));
	c->target = contact ? contact : phone_keep(p, phone_span(msg, msg->m.from_uri));
	c->routes = routes_of(msg, false);
	return c;
}

static void learn_from_request(struct phone_msg *msg)
{
	const struct sh_msg *m = &msg->m;
	const char *contact = contact_of(msg);

	msg->call = call_find(msg->phone, phone_span(msg, m->call_id), phone_span(msg, m->to_tag),
			      phone_span(msg, m->from_tag));
	if (!msg->call && m->to_tag.len == 0)
		msg->call = call_of_stranger(msg);
	else if (msg->call && contact && has_contact(phone_span(msg, m->method_name)))
		msg->call->target = contact; /* RFC 3261 12.2.2 */
	/* A request from within a dialog may come before the answer that makes it (a NOTIFY). */
	if (msg->call && !msg->call->remote_tag && m->from_tag.len > 0)
		msg->call->remote_tag = phone_keep(msg->phone, phone_span(msg, m->from_tag));
}

/* RFC 3261 12.1.2, 12.2.1.2, 13.2.2.4: the first 2xx decides; before it, the latest provisional answer. */
static void learn_from_answer(struct phone_msg *msg)
{
	const struct sh_msg *m = &msg->m;
	const char *contact;
	struct phone_call *c;

	c = msg->call = call_find(msg->phone, phone_span(msg, m->call_id), phone_span(msg, m->from_tag),
				  (struct sh_slice){NULL, 0});
	if (!c || m->to_tag.len == 0 || m->status <= 100 || m->status >= 300)
		return;
	contact = contact_of(msg);
	if (!c->confirmed && (m->method == SH_INVITE || m->method == SH_SUBSCRIBE)) {
		c->remote_tag = phone_keep(c->phone, phone_span(msg, m->to_tag));
		c->routes = routes_of(msg, true);
		c->confirmed = m->status >= 200;
		c->target = contact ? contact : c->target;
	} else if (m->status >= 200 && contact && text_is(phone_span(msg, m->to_tag), c->remote_tag) &&
		   has_contact(phone_span(msg, m->cseq_method)) &&
		   !text_is(phone_span(msg, m->cseq_method), "REGISTER")) {
		c->target = contact;
	}
}

/* Stops what is sent again until this comes. */
static void settle_sent(const struct phone_msg *msg)
{
	bool ack = phone_is_request(msg, SH_ACK);

	SH_LIST_EACH(l, &msg->phone->log)
	{
		struct phone_msg *sent = SH_CONTAINER(l, struct phone_msg, link);
		if (!sent->sent || !phone_is_sip(sent) || !sh_timer_pending(&sent->timer))
			continue;
		if (ack && phone_is_answer(sent, SH_INVITE) && sent->call == msg->call && sent->m.cseq == msg->m.cseq)
			phone_answered(sent);
		else if (!ack && !msg->m.is_request && sent->m.is_request && phone_same_transaction(sent, msg) &&
			 (msg->m.status >= 200 || sent->m.method == SH_INVITE))
			phone_answered(sent);
	}
}

static bool is_copy(const struct phone_msg *a, const struct phone_msg *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* The same message came before, and over the same transport. */
static bool came_before(const struct phone_msg *msg)
{
	SH_LIST_EACH(l, &msg->phone->log)
	{
		const struct phone_msg *other = SH_CONTAINER(l, struct phone_msg, link);
		if (other == msg)
			return false;
		if (!other->sent && other->proto == msg->proto && is_copy(other, msg))
			return true;
	}
	return false;
}

/* The latest of what we said to this message: the answer to a request, the ACK of an answer. */
static struct phone_msg *said_to(const struct phone_msg *msg)
{
	struct phone_msg *found = NULL;

	SH_LIST_EACH(l, &msg->phone->log)
	{
		struct phone_msg *sent = SH_CONTAINER(l, struct phone_msg, link);
		if (!sent->sent || sent->repeat || !phone_is_sip(sent))
			continue;
		if (msg->m.is_request && !sent->m.is_request && phone_same_transaction(sent, msg))
			found = sent;
		else if (phone_is_answer(msg, SH_INVITE) && msg->m.status >= 200 && phone_is_request(sent, SH_ACK) &&
			 sent->call == msg->call && sent->m.cseq == msg->m.cseq &&
			 sh_slice_eq(phone_span(sent, sent->m.to_tag), phone_span(msg, msg->m.to_tag)))
			found = sent;
	}
	return found;
}

bool phone_take_in(struct phone_msg *msg)
{
	struct phone_msg *said;

	if (!phone_is_sip(msg))
		return false;
	msg->repeat = came_before(msg);
	if (msg->m.is_request)
		learn_from_request(msg);
	else
		learn_from_answer(msg);
	settle_sent(msg);
	if (!msg->repeat || !(msg->phone->habits & PHONE_ABSORB))
		return false;
	said = said_to(msg);
	if (said)
		phone_resend(said);
	return true;
}

/* ---- digest ---- */

/* The first challenge of the answer that we can meet. */
static bool find_challenge(struct sh_arena *a, const struct phone_msg *msg, struct sh_challenge *out)
{
	enum sh_header_id id = msg->m.status == 401 ? SH_H_WWW_AUTHENTICATE : SH_H_PROXY_AUTHENTICATE;

	for (unsigned i = msg->m.first[id]; i; i = msg->m.headers[i - 1].next) {
		if (sh_challenge_parse(a, sh_msg_value(&msg->m, i), out) == 0 && out->alg != SH_DIGEST_UNKNOWN)
			return true;
	}
	return false;
}

/* nonce-count: how often we have used this nonce (RFC 7616 3.4). */
static uint32_t count_nonce(struct phone *p, struct sh_slice nonce)
{
	if (!text_is(nonce, p->nonce)) {
		p->nonce = phone_keep(p, nonce);
		p->nonce_count = 0;
	}
	return ++p->nonce_count;
}

/* The header line that answers the challenge. */
static const char *credentials_for(const struct phone_msg *challenge, const struct phone_msg *request)
{
	struct phone *p = challenge->phone;
	struct sh_credentials c = {0};
	struct sh_challenge asked;
	struct sh_digest_hex ha1, response;
	struct sh_arena arena;
	const char *line, *rest;
	char cnonce[12];

	phone_assert(p, p->login != NULL && sh_digest_init() == 0);
	sh_arena_init(&arena, 1024);
	phone_assert(p, find_challenge(&arena, challenge, &asked));
	sh_random_token(&p->env->random, cnonce, sizeof(cnonce));
	c.username = sh_slice_cstr(p->login);
	c.realm = asked.realm;
	c.nonce = asked.nonce;
	c.uri = phone_span(request, request->m.uri);
	c.alg = asked.alg;
	c.session = asked.session;
	c.nc = count_nonce(p, asked.nonce);
	c.nc_text = sh_slice_cstr(phone_printf(p, "%08x", c.nc));
	c.cnonce = sh_slice_make(cnonce, sizeof(cnonce));
	if (sh_list_has(asked.qop, SH_LIT("auth")))
		c.qop = SH_LIT("auth");
	phone_assert(p, sh_digest_ha1(c.alg, c.username, c.realm, sh_slice_cstr(p->password), &ha1) == 0);
	phone_assert(p, sh_digest_response(&c, sh_slice_make(ha1.text, ha1.len),
					   phone_span(request, request->m.method_name),
					   phone_span(request, request->m.body), &response) == 0);
	rest = "";
	if (c.qop.len > 0)
		rest = phone_printf(p, ", qop=auth, nc=%s, cnonce=\"%.*s\"", c.nc_text.base, SH_FMT(c.cnonce));
	if (asked.opaque.len > 0)
		rest = phone_printf(p, "%s, opaque=\"%.*s\"", rest, SH_FMT(asked.opaque));
	line =
	    phone_printf(p,
			 "%s: Digest username=\"%s\", realm=\"%.*s\", nonce=\"%.*s\", uri=\"%.*s\", response=\"%s\", "
			 "algorithm=%.*s%s%s",
			 challenge->m.status == 401 ? "Authorization" : "Proxy-Authorization", p->login,
			 SH_FMT(c.realm), SH_FMT(c.nonce), SH_FMT(c.uri), response.text,
			 SH_FMT(sh_digest_alg_name(c.alg)), c.session ? "-sess" : "", rest);
	sh_arena_finish(&arena);
	return line;
}

struct phone_msg *phone_authorize(struct phone_msg *challenge)
{
	struct phone *p = challenge->phone;
	struct phone_msg *request = request_of(challenge);
	struct phone_way way;
	struct draft d;

	phone_assert(p, phone_is_sip(challenge) && request && request->call &&
			    (challenge->m.status == 401 || challenge->m.status == 407));
	if (phone_is_answer(challenge, SH_INVITE))
		phone_ack(challenge, NULL, NULL);
	way = way_of(request);
	draft_init(&d, p, credentials_for(challenge, request));
	sh_put_request_line(&d.w, phone_span(request, request->m.method_name), phone_span(request, request->m.uri));
	put_via(&d, way.proto);
	put_cseq(&d, ++request->call->cseq, phone_span(request, request->m.method_name));
	/* All else as it was, but for credentials that did not do. */
	for (unsigned i = 0; i < request->m.nheaders; i++) {
		const struct sh_header *h = &request->m.headers[i];
		struct sh_slice name = phone_span(request, h->name), line_name, rest;
		sh_slice_cut(sh_slice_cstr(d.headers), ':', &line_name, &rest);
		if (h->id != SH_H_VIA && h->id != SH_H_CSEQ && h->id != SH_H_CONTENT_LENGTH &&
		    !same_name(name, line_name))
			sh_put_header_named(&d.w, name, phone_span(request, h->value));
	}
	sh_put(&d.w, sh_slice_cstr(d.headers));
	sh_put_lit(&d.w, "\r\n");
	sh_put_body(&d.w, SH_LIT(""), phone_span(request, request->m.body));
	return begin(request->call, draft_send(&d, &way, request->call));
}
