/* PUBLISH (RFC 3903): documents by entity tag, kept for their time on every worker. The tag is ours and random, so a tag that
 * is not found is a tag that has run out (412). */
#include "b2bua/event.h"
#include "b2bua/impl.h"

enum { DEFAULT_EXPIRES = 3600, SHORTEST = 10, MOST = 16 }; /* s, s, documents of one address and event */
enum { LONGEST = 16 * 1024, LONGEST_EVENT = 64, ALL = 128 * 1024 * 1024 }; /* octets of a document with its names, of one, of all */
enum { OWN = 256 }; /* octets that a document costs besides */

void sh_publication_free(struct sh_ua *ua, struct sh_publication *p)
{
	sh_wheel_cancel(&ua->env->wheel, &p->timer);
	sh_list_remove(&p->link);
	sh_source_give(ua, p->source, SH_KEPT_OCTETS, p->octets);
	ua->published -= p->octets;
	sh_body_unref(p->body);
	sh_free(p);
}

static bool has_room(const struct sh_ua *ua, const struct sh_addr *from, size_t octets)
{
	return ua->published + octets <= ALL && sh_source_has_room(ua, from, SH_KEPT_OCTETS, octets);
}

/* The document is of that size, and of whoever has sent it last. */
static int account(struct sh_publication *p, const struct sh_addr *from, size_t octets)
{
	struct sh_ua *ua = p->ua;
	struct sh_source *source;
	int err;

	sh_source_give(ua, p->source, SH_KEPT_OCTETS, p->octets);
	ua->published -= p->octets;
	p->source = NULL;
	p->octets = 0;
	source = NULL;
	err = ua->published + octets > ALL ? -EAGAIN : from->family ? sh_source_take(ua, from, SH_KEPT_OCTETS, octets, &source) : 0;
	if (err)
		return err;
	p->source = source;
	p->octets = octets;
	ua->published += octets;
	return 0;
}

static void on_expired(struct sh_timer *t)
{
	struct sh_publication *p = SH_CONTAINER(t, struct sh_publication, timer);
	struct sh_resource *r = p->resource;
	struct sh_ua *ua = p->ua;

	sh_publication_free(ua, p);
	sh_resource_tell(r);
	sh_resource_drop_if_idle(ua, r);
}

/* What happened to a document, told to every worker. */
struct change {
	struct sh_ua *const *peers;
	size_t event, aor, type, body;
	char old_tag[SH_TAG_LEN], tag[SH_TAG_LEN];
	bool has_old, has_body;
	struct sh_addr from;
	uint64_t expires; /* us; 0: it goes */
	char text[];
};

static struct sh_publication *find(const struct sh_link *list, const char tag[SH_TAG_LEN])
{
	SH_LIST_EACH (k, list) {
		struct sh_publication *p = SH_CONTAINER(k, struct sh_publication, link);

		if (memcmp(p->tag, tag, SH_TAG_LEN) == 0)
			return p;
	}
	return NULL;
}

static size_t octets_of(const struct change *c)
{
	return OWN + c->event + c->aor + c->type + c->body;
}

static void apply(struct sh_ua *ua, const struct change *c)
{
	struct sh_slice event = sh_slice_make(c->text, c->event), aor = sh_slice_make(event.base + c->event, c->aor);
	struct sh_slice type = sh_slice_make(aor.base + c->aor, c->type), body = sh_slice_make(type.base + c->type, c->body);
	struct sh_link *list = sh_resource_publications(ua, event, aor);
	struct sh_resource *r = list ? sh_resource_find(ua, event, aor) : NULL;
	struct sh_publication *p = list && c->has_old ? find(list, c->old_tag) : NULL;
	bool news = c->has_body || !c->expires;

	if (!list)
		return;
	if (!c->expires) {
		if (p)
			sh_publication_free(ua, p);
	} else {
		if (!p) {
			p = sh_calloc(1, sizeof(*p));
			if (!p)
				return;
			p->ua = ua;
			p->resource = r;
			sh_timer_init(&p->timer, on_expired);
			sh_list_append(list, &p->link);
		}
		memcpy(p->tag, c->tag, SH_TAG_LEN);
		if (c->has_body) {
			sh_body_unref(p->body);
			p->body = account(p, &c->from, octets_of(c)) == 0 ? sh_body_make(type, body) : NULL;
			sh_list_remove(&p->link);
			sh_list_append(list, &p->link);
		}
		sh_env_timer(ua->env, &p->timer, c->expires);
	}
	if (news)
		sh_resource_tell(r);
	sh_resource_drop_if_idle(ua, r);
}

static void on_change(struct sh_env *env, void *arg)
{
	struct change *c = arg;

	apply(c->peers[env->worker], c);
	sh_free(c);
}

static struct change *copy(const struct change *c)
{
	size_t size = sizeof(*c) + c->event + c->aor + c->type + c->body;
	struct change *other = sh_malloc(size);

	if (other)
		memcpy(other, c, size);
	return other;
}

static void refuse(struct sh_request *q, unsigned code, struct sh_slice reason, struct sh_slice headers)
{
	struct sh_slice none = {0};

	sh_request_reply(q, code, reason, headers, none, none);
}

static void put_texts(struct change *c, struct sh_slice event, struct sh_slice aor, struct sh_slice type, struct sh_slice body)
{
	const struct sh_slice parts[] = {event, aor, type, body};
	char *p = c->text;

	for (unsigned i = 0; i < 4; i++) {
		if (parts[i].len)
			memcpy(p, parts[i].base, parts[i].len);
		p += parts[i].len;
	}
}

static struct change *read_change(struct sh_request *q, struct sh_slice aor, uint32_t limit)
{
	const struct sh_msg *m = q->msg;
	struct sh_slice event, id, match = sh_msg_header(m, SH_H_SIP_IF_MATCH), none = {0};
	struct sh_slice type = sh_msg_header(m, SH_H_CONTENT_TYPE), body = sh_msg_text(m, m->body);
	uint32_t expires = m->expires >= 0 ? (uint32_t)m->expires : DEFAULT_EXPIRES;
	struct sh_ua *ua = q->ua;
	struct sh_resource *r;
	struct change *c;

	sh_event_split(sh_msg_header(m, SH_H_EVENT), &event, &id);
	if (!event.len || event.len > LONGEST_EVENT) {
		refuse(q, 489, none, none);
		return NULL;
	}
	if (expires && expires < SHORTEST) {
		refuse(q, 423, none, SH_LIT("Min-Expires: 10\r\n"));
		return NULL;
	}
	if (expires > (limit ? limit : DEFAULT_EXPIRES))
		expires = limit ? limit : DEFAULT_EXPIRES;
	if (event.len + aor.len + type.len + body.len > LONGEST) {
		refuse(q, 413, none, none);
		return NULL;
	}
	r = sh_resource_find(ua, event, aor);
	if (match.len && (match.len != SH_TAG_LEN || !r || !find(sh_resource_publications(ua, event, aor), match.base))) {
		refuse(q, 412, none, none);
		return NULL;
	}
	if (!match.len && (!body.len || !expires)) {
		refuse(q, 400, SH_LIT("Nothing is published"), none);
		return NULL;
	}
	if (!match.len && r) {
		unsigned n = 0;

		SH_LIST_EACH (k, sh_resource_publications(ua, event, aor))
			n += k != NULL;
		if (n >= MOST) {
			refuse(q, 403, SH_LIT("Too many publications"), none);
			return NULL;
		}
	}
	if (body.len && !has_room(ua, &q->from.remote, OWN + event.len + aor.len + type.len + body.len)) {
		refuse(q, 503, SH_LIT("Too much is published"), SH_LIT("Retry-After: 60\r\n"));
		return NULL;
	}
	c = sh_malloc(sizeof(*c) + event.len + aor.len + type.len + body.len);
	if (!c) {
		refuse(q, 503, none, none);
		return NULL;
	}
	*c = (struct change){.peers = ua->config.peers, .event = event.len, .aor = aor.len, .type = body.len ? type.len : 0, .body = body.len,
			     .from = q->from.remote, .has_old = match.len > 0, .has_body = body.len > 0, .expires = expires * SH_SECOND};
	sh_tag_make(ua->env, c->tag);
	if (match.len)
		memcpy(c->old_tag, match.base, SH_TAG_LEN);
	put_texts(c, event, aor, body.len ? type : none, body);
	return c;
}

int sh_publication_put(struct sh_ua *ua, struct sh_slice event, struct sh_slice aor, const char tag[SH_TAG_LEN], struct sh_slice type,
		       struct sh_slice body, const struct sh_addr *from, uint64_t left)
{
	struct change *c = sh_malloc(sizeof(*c) + event.len + aor.len + type.len + body.len);

	if (!c)
		return -ENOMEM;
	*c = (struct change){.event = event.len, .aor = aor.len, .type = type.len, .body = body.len, .from = *from, .has_body = true,
			     .expires = left ? left : 1};
	memcpy(c->tag, tag, SH_TAG_LEN);
	put_texts(c, event, aor, type, body);
	apply(ua, c);
	sh_free(c);
	return 0;
}

int sh_request_publish(struct sh_request *q, struct sh_slice aor, uint32_t limit, struct sh_slice headers)
{
	struct sh_ua *ua = q->ua;
	struct sh_writer *w;
	struct change *c;

	if (!q->st || q->answered)
		return -EALREADY;
	c = read_change(q, aor, limit);
	if (!c)
		return -EBADMSG;
	w = sh_request_begin(q, 200, (struct sh_slice){0});
	sh_put_header_uint(w, SH_H_EXPIRES, c->expires / SH_SECOND);
	sh_put_header(w, SH_H_SIP_ETAG, sh_slice_make(c->tag, SH_TAG_LEN));
	sh_put_said(w, headers);
	for (unsigned i = 0; i < ua->env->workers; i++) { /* before the answer: the next one may come to another worker */
		struct change *other = i == ua->env->worker ? NULL : copy(c);

		if (other && ua->env->driver->post(ua->env, i, on_change, other) < 0)
			sh_free(other);
	}
	sh_request_send(q, 200, w);
	apply(ua, c);
	sh_free(c);
	return 0;
}
