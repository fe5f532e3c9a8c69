#include "engine/outside.h"

#include <errno.h>

#include "core/alloc.h"
#include "core/encode.h"
#include "script/http.h"

enum {
	ASKS_MAX = 1000,
	KEYS_MAX = 1000,
	URL_MAX = 8 << 10,
	BODY_MAX = 64 << 10,    /* bytes of an answer's body */
	HEADERS_MAX = 16 << 10, /* and of its header lines */
	VALUE_MAX = 64 << 10,   /* and of what a key holds */
	BYTES_MAX = 4 << 20     /* of all of it */
};

struct ask {
	struct sh_link link;
	uint64_t number, at, took; /* number 0: no answer is awaited any more */
	bool answered, cut;
	int error;
	unsigned status;
	struct sh_slice method, url;
	struct sh_slice headers, body, detail; /* in `answer` */
	char *answer;
	char text[];
};

struct key {
	struct sh_link link;
	struct sh_slice store, key;
	bool read, cut;
	struct sh_shared_copy *was; /* NULL: nothing */
	char text[];
};

static struct sh_slice keep(char **to, struct sh_slice s)
{
	struct sh_slice copy = {*to, s.len};

	if (s.len)
		memcpy(*to, s.base, s.len);
	*to += s.len;
	return copy;
}

static bool has_room(struct sh_outside *o, size_t bytes)
{
	if (o->bytes + bytes <= BYTES_MAX)
		return true;
	o->cut = true;
	return false;
}

/* ------------------------------------------------------------------ web servers */

/* "https://user:password@host/path": the parts around what stands before the @ (RFC 3986 3.2). */
static void without_user(struct sh_slice url, struct sh_slice *scheme, struct sh_slice *rest)
{
	const char *slashes = memmem(url.base, url.len, "://", 3);
	size_t host = slashes ? (size_t)(slashes - url.base) + 3 : 0, at = host;

	for (size_t i = host; i < url.len && !strchr("/?#", url.base[i]); i++)
		if (url.base[i] == '@')
			at = i + 1;
	*scheme = sh_slice_make(url.base, host);
	*rest = sh_slice_make(url.base + at, url.len - at);
}

uint64_t sh_outside_ask(struct sh_outside *o, uint64_t at, const struct sh_http_request *rq)
{
	struct sh_slice scheme, rest;
	size_t size = rq->method.len + rq->url.len;
	struct ask *a = NULL;
	char *to;

	if (o->nasks < ASKS_MAX && size <= URL_MAX && has_room(o, size))
		a = sh_calloc(1, sizeof(*a) + size);
	if (!a) {
		o->cut = true;
		return 0;
	}
	to = a->text;
	a->method = keep(&to, rq->method);
	without_user(rq->url, &scheme, &rest);
	a->url = keep(&to, scheme);
	a->url.len += keep(&to, rest).len;
	a->at = at;
	a->number = ++o->last;
	sh_list_init(&a->link);
	sh_list_append(&o->asks, &a->link);
	o->nasks++;
	o->open++;
	o->bytes += size;
	return a->number;
}

/* One whose answer is awaited; the newest are at the end. */
static struct ask *find_ask(const struct sh_outside *o, uint64_t number)
{
	for (struct sh_link *l = o->asks.prev; l != &o->asks; l = l->prev) {
		struct ask *a = SH_CONTAINER(l, struct ask, link);

		if (a->number == number)
			return a;
	}
	return NULL;
}

void sh_outside_answer(struct sh_outside *o, uint64_t ask, uint64_t at, const struct sh_http_response *r)
{
	struct ask *a = find_ask(o, ask);
	struct sh_slice detail = {0};
	size_t size;
	char *to;

	if (!a)
		return; /* of a record that is over */
	o->open--;
	a->number = 0;
	if (!r)
		return;
	detail = sh_slice_cstr(r->detail ? r->detail : "");
	size = r->headers.len + r->body.len + detail.len;
	a->answered = true;
	a->took = at > a->at ? at - a->at : 0;
	a->error = r->error;
	a->status = r->status;
	if (r->headers.len > HEADERS_MAX || r->body.len > BODY_MAX || detail.len > HEADERS_MAX || !has_room(o, size) ||
	    !(a->answer = sh_malloc(size + 1))) {
		a->cut = o->cut = true;
		return;
	}
	to = a->answer;
	a->headers = keep(&to, r->headers);
	a->body = keep(&to, r->body);
	a->detail = keep(&to, detail);
	o->bytes += size;
}

/* ------------------------------------------------------------------ shared stores */

static bool knows(const struct sh_outside *o, struct sh_slice store, struct sh_slice key)
{
	SH_LIST_EACH(l, &o->keys)
	{
		const struct key *k = SH_CONTAINER(l, struct key, link);

		if (sh_slice_eq(k->key, key) && sh_slice_eq(k->store, store))
			return true;
	}
	return false;
}

static size_t size_of(const struct sh_shared_copy *c)
{
	size_t size = c->count * sizeof(c->values[0]);

	for (size_t i = 0; i < c->count; i++)
		size += c->values[i].kind == SH_SHARED_STRING ? c->values[i].u.text.len : 0;
	return size;
}

void sh_outside_use(struct sh_outside *o, const struct sh_shared_at *at, struct sh_slice key, bool reads)
{
	struct sh_slice store = sh_shared_name(at->store);
	struct key *k = NULL;
	char *to;
	int err;

	if (key.len > SH_SHARED_KEY_MAX || knows(o, store, key))
		return;
	if (o->nkeys < KEYS_MAX && has_room(o, store.len + key.len))
		k = sh_calloc(1, sizeof(*k) + store.len + key.len);
	if (!k) {
		o->cut = true;
		return;
	}
	to = k->text;
	k->store = keep(&to, store);
	k->key = keep(&to, key);
	k->read = reads;
	err = reads ? sh_shared_copy(at, key, VALUE_MAX, &k->was) : -ENOENT;
	if (!err && !has_room(o, size_of(k->was))) {
		sh_free(k->was);
		k->was = NULL;
		err = -EMSGSIZE;
	}
	k->cut = err && err != -ENOENT;
	o->cut = o->cut || k->cut;
	o->bytes += store.len + key.len + (k->was ? size_of(k->was) : 0);
	sh_list_init(&k->link);
	sh_list_append(&o->keys, &k->link);
	o->nkeys++;
}

/* ------------------------------------------------------------------ as JSON */

/* As text under `name`, or what is none as base64 under `name64`. */
static void put_octets(struct sh_json *j, const char *name, const char *name64, struct sh_slice s)
{
	char *base64;

	if (sh_slice_is_utf8(s) && !memchr(s.base ? s.base : "", 0, s.len)) {
		sh_json_key(j, name);
		sh_json_text(j, s);
		return;
	}
	base64 = sh_malloc(SH_BASE64_ROOM(s.len));
	if (!base64) {
		j->failed = true;
		return;
	}
	sh_json_key(j, name64);
	sh_json_text(j, sh_slice_make(base64, sh_base64_encode(SH_BASE64, s.base, s.len, base64)));
	sh_free(base64);
}

static void put_hidden(struct sh_json *j, const char *name, const char *name64, struct sh_slice s, struct sh_secrets *secrets)
{
	char *made;

	if (sh_secrets_hide(secrets, s, &s, &made) < 0)
		j->failed = true;
	else
		put_octets(j, name, name64, s);
	sh_free(made);
}

static void put_number(struct sh_json *j, const char *name, uint64_t n)
{
	sh_json_key(j, name);
	sh_json_int(j, (int64_t)n);
}

static void put_ask(struct sh_json *j, const struct ask *a, uint64_t began, struct sh_secrets *secrets)
{
	sh_json_open(j, '{');
	sh_json_key(j, "at");
	sh_json_int(j, a->at > began ? (int64_t)(a->at - began) : 0);
	put_octets(j, "method", "method64", a->method);
	put_octets(j, "url", "url64", a->url);
	if (a->answered)
		put_number(j, "took", a->took);
	if (a->cut) {
		sh_json_key(j, "cut");
		sh_json_bool(j, true);
	}
	if (a->answered && a->error) {
		sh_json_key(j, "error");
		/* one that the test library names otherwise */
		sh_json_text(j, sh_slice_cstr(a->error == -ENOENT ? "not_found" : sh_http_error_name(a->error)));
		put_hidden(j, "detail", "detail64", a->detail, secrets);
	} else if (a->answered) {
		put_number(j, "status", a->status);
		put_hidden(j, "headers", "headers64", a->headers, secrets);
		put_hidden(j, "body", "body64", a->body, secrets);
	}
	sh_json_close(j, '}');
}

static void put_value(struct sh_json *j, const struct sh_shared_value *v, struct sh_secrets *secrets)
{
	sh_json_open(j, '{');
	switch (v->kind) {
	case SH_SHARED_BOOLEAN:
		sh_json_key(j, "boolean");
		sh_json_bool(j, v->u.boolean);
		break;
	case SH_SHARED_INTEGER:
		sh_json_key(j, "integer");
		sh_json_int(j, v->u.integer);
		break;
	case SH_SHARED_FLOAT:
		sh_json_key(j, "float");
		sh_json_number(j, v->u.number);
		break;
	default:
		put_hidden(j, "text", "text64", v->u.text, secrets);
	}
	sh_json_close(j, '}');
}

static void put_key(struct sh_json *j, const struct key *k, struct sh_secrets *secrets)
{
	sh_json_open(j, '{');
	put_octets(j, "store", "store64", k->store);
	put_octets(j, "key", "key64", k->key);
	if (k->cut) {
		sh_json_key(j, "cut");
		sh_json_bool(j, true);
	}
	if (k->was) {
		sh_json_key(j, "list");
		sh_json_bool(j, k->was->kind == SH_SHARED_LIST);
		if (k->was->left)
			put_number(j, "left", k->was->left);
		sh_json_key(j, "values");
		sh_json_open(j, '[');
		for (size_t i = 0; i < k->was->count; i++)
			put_value(j, &k->was->values[i], secrets);
		sh_json_close(j, ']');
	}
	sh_json_close(j, '}');
}

/* The stores first: what is tried out to find secrets has a limit. */
void sh_outside_put(const struct sh_outside *o, uint64_t began, struct sh_secrets *secrets, struct sh_json *j)
{
	sh_json_key(j, "shared");
	sh_json_open(j, '[');
	SH_LIST_EACH(l, &o->keys)
	{
		const struct key *k = SH_CONTAINER(l, struct key, link);

		if (k->read)
			put_key(j, k, secrets);
	}
	sh_json_close(j, ']');
	sh_json_key(j, "http");
	sh_json_open(j, '[');
	SH_LIST_EACH(l, &o->asks)
	put_ask(j, SH_CONTAINER(l, struct ask, link), began, secrets);
	sh_json_close(j, ']');
}

/* ------------------------------------------------------------------ life */

void sh_outside_init(struct sh_outside *o)
{
	*o = (struct sh_outside){.cut = false};
	sh_list_init(&o->asks);
	sh_list_init(&o->keys);
}

void sh_outside_clear(struct sh_outside *o)
{
	struct sh_link *l;

	while ((l = sh_list_pop(&o->asks))) {
		sh_free(SH_CONTAINER(l, struct ask, link)->answer);
		sh_free(SH_CONTAINER(l, struct ask, link));
	}
	while ((l = sh_list_pop(&o->keys))) {
		sh_free(SH_CONTAINER(l, struct key, link)->was);
		sh_free(SH_CONTAINER(l, struct key, link));
	}
	o->nasks = o->nkeys = o->open = 0;
	o->bytes = 0;
	o->cut = false;
}
