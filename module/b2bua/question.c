#include "b2bua/question.h"

#include "msg/multipart.h"
#include "msg/sdp.h"

static void destroy(struct sh_question *q)
{
	if (q->st)
		sh_server_txn_watch(q->st, NULL, NULL);
	sh_list_remove(&q->link);
	sh_list_remove(&q->of_app);
	sh_body_unref(q->body);
	sh_free(q->msg);
	sh_free(q);
}

static void on_server_event(struct sh_server_txn *st, enum sh_server_event ev, void *user)
{
	struct sh_question *q = user;

	if (ev == SH_SERVER_ENDED && q->st == st)
		q->st = NULL;
}

/* The description in a body, when it can be read. */
static bool readable(struct sh_slice type, struct sh_slice body, struct sh_slice *out)
{
	struct sh_sdp sdp;

	*out = sh_body_sdp(type, body);
	return out->len && sh_sdp_parse(&sdp, *out) == 0;
}

bool sh_sdp_ask(struct sh_ua *ua, const struct sh_asking *a)
{
	struct sh_slice type = a->type, body = a->body, part;
	struct sh_question *q;

	if (!ua->asks_sdp || (a->msg && a->msg == ua->released))
		return false;
	if (a->msg) {
		type = sh_msg_header(a->msg, SH_H_CONTENT_TYPE);
		body = sh_msg_text(a->msg, a->msg->body);
	}
	if (!body.len || !readable(type, body, &part))
		return false;
	q = sh_calloc(1, sizeof(*q));
	if (!q)
		return false; /* untouched */
	q->owner = SH_OWNER_QUESTION;
	q->ua = ua;
	sh_list_init(&q->of_app);
	sh_list_append(&ua->questions, &q->link);
	q->body = sh_body_make(type, body);
	q->msg = a->msg ? sh_msg_clone(a->msg) : NULL;
	if (!q->body || (a->msg && !q->msg)) {
		destroy(q);
		return false;
	}
	q->part = (size_t)(part.base - body.base);
	q->part_len = part.len;
	q->from = a->from ? a->from->handle : 0;
	q->to = a->to ? a->to->handle : 0;
	struct sh_call *c = a->from && a->from->call ? a->from->call : a->to ? a->to->call : NULL;
	q->call = c ? c->handle : 0;
	q->is_offer = a->is_offer;
	if (a->path)
		q->path = *a->path;
	q->then = a->then;
	q->who = a->who;
	q->slot = a->slot;
	*a->slot = q;
	q->st = a->st;
	if (q->st)
		sh_server_txn_watch(q->st, on_server_event, q);
	ua->app->sdp(ua->app_ctx, q);
	return true;
}

void sh_question_forget(struct sh_question **slot)
{
	struct sh_question *q = *slot;

	if (!q)
		return;
	if (q->st)
		sh_server_txn_watch(q->st, NULL, NULL);
	q->st = NULL;
	q->who = NULL;
	q->slot = NULL;
	*slot = NULL;
}

void sh_question_drop_all(struct sh_ua *ua)
{
	struct sh_link *k;

	while ((k = ua->questions.next) != &ua->questions) {
		struct sh_question *q = SH_CONTAINER(k, struct sh_question, link);

		sh_question_forget(q->slot ? q->slot : &(struct sh_question *){NULL});
		destroy(q);
	}
}

/* The message with another body. */
static struct sh_msg *with_body(const struct sh_msg *m, struct sh_slice body)
{
	size_t index = offsetof(struct sh_msg, headers) + m->nheaders * sizeof(m->headers[0]);
	struct sh_msg *copy = m->body.off + body.len <= SH_MSG_MAX_SIZE ? sh_malloc(index + m->body.off + body.len) : NULL;

	if (!copy)
		return NULL;
	memcpy(copy, m, index);
	copy->base = (char *)copy + index;
	memcpy((char *)copy + index, m->base, m->body.off);
	memcpy((char *)copy + index + m->body.off, body.base, body.len);
	copy->body.len = (uint16_t)body.len;
	copy->size = (uint16_t)(m->body.off + body.len);
	return copy;
}

/* ------------------------------------------------------------------ the application's side */

struct sh_slice sh_question_body(const struct sh_question *q)
{
	return sh_slice_make(q->body->text + q->part, q->part_len);
}

struct sh_call *sh_question_call(const struct sh_question *q)
{
	return sh_slots_get(&q->ua->calls, q->call);
}

uint64_t sh_question_from(const struct sh_question *q)
{
	return q->from;
}

uint64_t sh_question_to(const struct sh_question *q)
{
	return q->to;
}

bool sh_question_is_offer(const struct sh_question *q)
{
	return q->is_offer;
}

struct sh_link *sh_question_link(struct sh_question *q)
{
	return &q->of_app;
}

struct sh_question *sh_question_of_link(struct sh_link *l)
{
	return SH_CONTAINER(l, struct sh_question, of_app);
}

int *sh_question_ref(struct sh_question *q)
{
	return &q->app_ref;
}

/* The body with another description; what else is in it stays. NULL: out of memory. */
static struct sh_body *edit(const struct sh_question *q, struct sh_slice description)
{
	struct sh_slice text = sh_body_text(q->body), type = sh_body_type(q->body);
	size_t len = text.len - q->part_len + description.len;
	struct sh_body *b;
	char *whole;

	if (q->part_len == text.len)
		return sh_body_make(type, description);
	whole = sh_malloc(len);
	if (!whole)
		return NULL;
	memcpy(whole, text.base, q->part);
	memcpy(whole + q->part, description.base, description.len);
	memcpy(whole + q->part + description.len, text.base + q->part + q->part_len, text.len - q->part - q->part_len);
	b = sh_body_make(type, sh_slice_make(whole, len));
	sh_free(whole);
	return b;
}

void sh_question_answer(struct sh_question *q, struct sh_slice body)
{
	struct sh_ua *ua = q->ua;
	const struct sh_msg *before = ua->released;

	if (q->who && body.len && !sh_slice_eq(body, sh_question_body(q))) {
		struct sh_body *edited = edit(q, body);
		struct sh_msg *msg = q->msg && edited ? with_body(q->msg, sh_body_text(edited)) : NULL;

		if (edited && (msg || !q->msg)) {
			sh_body_unref(q->body);
			q->body = edited;
			sh_free(q->msg);
			q->msg = msg;
		} else { /* out of memory: untouched */
			sh_body_unref(edited);
			sh_free(msg);
		}
	}
	if (q->who) {
		*q->slot = NULL;
		ua->released = q->msg;
		q->then(q);
		ua->released = before;
	}
	destroy(q);
}
