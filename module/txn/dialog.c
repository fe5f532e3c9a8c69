/* Dialogs: their life, how they are found, and what the peer's messages change. Routes are in dialog_route.c. */
#include "txn/dialog_impl.h"

/* --- the table -------------------------------------------------------------------------------- */

int sh_dialog_table_init(struct sh_dialog_table *t, struct sh_env *env)
{
	t->env = env;
	return sh_hash_init(&t->by_tag, 0);
}

void sh_dialog_table_finish(struct sh_dialog_table *t)
{
	sh_hash_finish(&t->by_tag);
}

static struct sh_slice local_tag(const struct sh_dialog *d)
{
	return sh_slice_make(d->local_tag, SH_TAG_LEN);
}

static void list_in(struct sh_dialog *d, struct sh_dialog_table *t)
{
	d->table = t;
	sh_hash_insert(&t->by_tag, &d->node, sh_hash_slice(&t->env->key, local_tag(d)));
}

static void enter(struct sh_dialog *d, struct sh_dialog_table *t)
{
	sh_tag_make(t->env, d->local_tag);
	list_in(d, t);
}

/* What we sent or learnt, or anything as long as the peer has not said who it is. */
static bool is_peer(const struct sh_dialog *d, struct sh_slice tag)
{
	struct sh_slice own = sh_dialog_remote_tag(d);

	return sh_slice_eq(own, tag) || (d->uac && !d->confirmed && own.len == 0);
}

static struct sh_dialog *find(const struct sh_dialog_table *t, struct sh_slice call_id, struct sh_slice ours,
			      struct sh_slice theirs, bool zero_is_none)
{
	struct sh_hash_node *n;

	if (ours.len != SH_TAG_LEN)
		return NULL;
	for (n = sh_hash_find(&t->by_tag, sh_hash_slice(&t->env->key, ours)); n; n = sh_hash_next(n)) {
		struct sh_dialog *d = SH_CONTAINER(n, struct sh_dialog, node);

		if (sh_slice_eq(local_tag(d), ours) && sh_slice_eq(sh_dialog_call_id(d), call_id) &&
		    (is_peer(d, theirs) || (zero_is_none && sh_dialog_remote_tag(d).len == 0)))
			return d;
	}
	return NULL;
}

struct sh_dialog *sh_dialog_find(const struct sh_dialog_table *t, const struct sh_msg *m)
{
	struct sh_slice to = sh_msg_text(m, m->to_tag), from = sh_msg_text(m, m->from_tag);

	return find(t, sh_msg_text(m, m->call_id), m->is_request ? to : from, m->is_request ? from : to, false);
}

/* RFC 3891 3: the tag "0" stands for none too. */
struct sh_dialog *sh_dialog_find_ids(const struct sh_dialog_table *t, struct sh_slice call_id, struct sh_slice ours,
				     struct sh_slice theirs)
{
	return find(t, call_id, ours, theirs, sh_slice_eq(theirs, SH_LIT("0")));
}

/* --- texts ------------------------------------------------------------------------------------ */

static void get_texts(const struct sh_dialog *d, struct sh_slice out[SH_DIALOG_TEXTS])
{
	for (int i = 0; i < SH_DIALOG_TEXTS; i++)
		out[i] = sh_dialog_text(d, (enum sh_dialog_part)i);
}

/* Folds become spaces, so that texts can be written as they are. Hardly a text has one. */
static void unfold(char *text, size_t len)
{
	if (!memchr(text, '\n', len) && !memchr(text, '\r', len))
		return;
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\r' || text[i] == '\n')
			text[i] = ' ';
}

/* A new block with these texts, which may lie in the old one. Where routes come from `route_source`, they are written
 * straight into it. */
static int intern(struct sh_dialog *d, struct sh_slice texts[SH_DIALOG_TEXTS], const struct sh_msg *route_source,
		  bool reverse)
{
	uint32_t ends[SH_DIALOG_TEXTS];
	size_t size = 1, at = 0;
	char *block;

	if (route_source)
		texts[SH_DIALOG_ROUTES] = sh_slice_make(NULL, sh_dialog_routes_room(route_source));
	for (int i = 0; i < SH_DIALOG_TEXTS; i++)
		size += texts[i].len;
	block = sh_malloc(size);
	if (!block)
		return -ENOMEM;
	for (int i = 0; i < SH_DIALOG_TEXTS; i++) {
		if (i == SH_DIALOG_ROUTES && route_source) {
			at += sh_dialog_copy_routes(block + at, texts[i].len, route_source, reverse).len;
		} else if (texts[i].len) {
			memcpy(block + at, texts[i].base, texts[i].len);
			at += texts[i].len;
		}
		ends[i] = (uint32_t)at;
	}
	unfold(block, at);
	sh_free(d->text);
	d->text = block;
	memcpy(d->ends, ends, sizeof(ends));
	return 0;
}

/* --- names and targets ------------------------------------------------------------------------ */

/* Display name and URI of a From or To value, whose URI the scanner has found; parameters are not ours to repeat.
 * Writes at most value.len + 2 octets. */
static struct sh_slice name_of(char *out, struct sh_slice value, struct sh_slice uri)
{
	struct sh_slice display = sh_slice_make(value.base, (size_t)(uri.base - value.base));
	struct sh_writer w;

	if (display.len && display.base[display.len - 1] == '<')
		display.len--;
	display = sh_slice_trim(display);
	sh_writer_init(&w, out, value.len + 3);
	if (display.len) {
		sh_put(&w, display);
		sh_put_char(&w, ' ');
	}
	sh_put_char(&w, '<');
	sh_put(&w, uri);
	sh_put_char(&w, '>');
	return sh_writer_text(&w);
}

enum { MAX_TARGET = 2048 }; /* a longer one could not be answered: no request to it would fit */

/* The URI of the first Contact. 0, -ENOENT: there is none, -EBADMSG: it is none that one can send to. */
static int contact_of(const struct sh_msg *m, struct sh_slice *out, struct sh_uri *uri)
{
	struct sh_slice value = sh_msg_header(m, SH_H_CONTACT);
	struct sh_name_addr contact;

	if (!value.base)
		return -ENOENT;
	if (sh_name_addr_next(&value, &contact) || contact.star || contact.uri.len > MAX_TARGET || sh_uri_parse(uri, contact.uri) ||
	    (uri->kind != SH_URI_SIP && uri->kind != SH_URI_SIPS))
		return -EBADMSG;
	*out = contact.uri;
	return 0;
}

static bool is_sips(struct sh_slice uri)
{
	return sh_slice_istarts(uri, SH_LIT("sips:"));
}

/* --- life ------------------------------------------------------------------------------------- */

static void start(struct sh_dialog *d, void *owner, const struct sh_path *path)
{
	memset(d, 0, sizeof(*d));
	d->owner = owner;
	if (path)
		d->path = *path;
}

int sh_dialog_init_uas(struct sh_dialog *d, struct sh_dialog_table *t, void *owner, const struct sh_msg *m,
		       const struct sh_path *from)
{
	struct sh_slice texts[SH_DIALOG_TEXTS], contact = SH_LIT("");
	struct sh_slice our = sh_msg_header(m, SH_H_TO), their = sh_msg_header(m, SH_H_FROM);
	struct sh_uri uri;
	char *names;
	int err;

	memset(d, 0, sizeof(*d));
	if (contact_of(m, &contact, &uri) || sh_dialog_check_routes(m))
		return -EBADMSG;
	names = sh_malloc(our.len + their.len + 6);
	if (!names)
		return -ENOMEM;
	start(d, owner, from);
	texts[SH_DIALOG_CALL_ID] = sh_msg_text(m, m->call_id);
	texts[SH_DIALOG_REMOTE_TAG] = sh_msg_text(m, m->from_tag);
	texts[SH_DIALOG_LOCAL] = name_of(names, our, sh_msg_text(m, m->to_uri));
	texts[SH_DIALOG_REMOTE] = name_of(names + our.len + 3, their, sh_msg_text(m, m->from_uri));
	texts[SH_DIALOG_TARGET] = contact;
	err = intern(d, texts, m, false);
	sh_free(names);
	if (err)
		return err;
	/* 12.1.1; what came by TCP may have come by TLS to who stands in front of us, by datagrams it cannot */
	d->secure = sh_proto_reliable((enum sh_proto)from->proto) && is_sips(sh_msg_text(m, m->uri));
	d->remote_cseq = m->cseq;
	d->has_remote_cseq = true;
	d->local_cseq = (uint32_t)sh_random_below(&t->env->random, 1 << 15);
	enter(d, t);
	return 0;
}

int sh_dialog_init_uac(struct sh_dialog *d, struct sh_dialog_table *t, void *owner, struct sh_slice call_id,
		       struct sh_slice local, struct sh_slice remote, struct sh_slice target, struct sh_slice routes,
		       const struct sh_path *path)
{
	struct sh_slice texts[SH_DIALOG_TEXTS];
	char fresh[SH_TAG_LEN];
	int err;

	start(d, owner, path);
	if (call_id.len == 0) {
		sh_tag_make(t->env, fresh);
		call_id = sh_slice_make(fresh, sizeof(fresh));
	}
	texts[SH_DIALOG_CALL_ID] = call_id;
	texts[SH_DIALOG_REMOTE_TAG] = SH_LIT("");
	texts[SH_DIALOG_LOCAL] = local;
	texts[SH_DIALOG_REMOTE] = remote;
	texts[SH_DIALOG_TARGET] = target;
	texts[SH_DIALOG_ROUTES] = routes;
	err = intern(d, texts, NULL, false);
	if (err)
		return err;
	d->uac = true;
	d->secure = is_sips(target);
	d->local_cseq = (uint32_t)sh_random_below(&t->env->random, 1 << 15);
	enter(d, t);
	return 0;
}

int sh_dialog_init_fork(struct sh_dialog *d, const struct sh_dialog *first, void *owner, const struct sh_msg *response,
			const struct sh_path *from)
{
	struct sh_slice texts[SH_DIALOG_TEXTS];
	int err;

	start(d, owner, &first->path);
	d->uac = true;
	d->secure = first->secure;
	d->local_cseq = d->invite_cseq = first->invite_cseq;
	memcpy(d->local_tag, first->local_tag, SH_TAG_LEN);
	get_texts(first, texts);
	texts[SH_DIALOG_REMOTE_TAG] = texts[SH_DIALOG_ROUTES] = SH_LIT("");
	err = intern(d, texts, NULL, false);
	if (!err)
		err = sh_dialog_learn(d, response, from);
	if (err == -ENOMEM)
		sh_dialog_finish(d);
	else
		list_in(d, first->table);
	return err;
}

int sh_dialog_init_twin(struct sh_dialog *d, const struct sh_dialog *first)
{
	struct sh_slice texts[SH_DIALOG_TEXTS];
	int err;

	*d = *first;
	d->table = NULL;
	d->text = NULL;
	get_texts(first, texts);
	err = intern(d, texts, NULL, false);
	if (err) {
		memset(d, 0, sizeof(*d));
		return err;
	}
	d->rseq = 0;
	enter(d, first->table);
	return 0;
}

void sh_dialog_become(struct sh_dialog *d, struct sh_dialog *other)
{
	struct sh_dialog_table *t = d->table;
	void *owner = d->owner;

	sh_dialog_finish(d);
	sh_hash_remove(&t->by_tag, &other->node);
	*d = *other;
	d->owner = owner;
	list_in(d, t);
	memset(other, 0, sizeof(*other));
}

void sh_dialog_move(struct sh_dialog *to, struct sh_dialog *from, void *owner)
{
	struct sh_dialog_table *t = from->table;

	if (t)
		sh_hash_remove(&t->by_tag, &from->node);
	*to = *from;
	memset(from, 0, sizeof(*from));
	to->owner = owner;
	if (t)
		list_in(to, t);
}

void sh_dialog_detach(struct sh_dialog *d)
{
	if (d->table)
		sh_hash_remove(&d->table->by_tag, &d->node);
	d->table = NULL;
}

void sh_dialog_attach(struct sh_dialog *d, struct sh_dialog_table *t, void *owner)
{
	d->owner = owner;
	list_in(d, t);
}

void sh_dialog_finish(struct sh_dialog *d)
{
	if (d->table)
		sh_hash_remove(&d->table->by_tag, &d->node);
	sh_free(d->text);
	memset(d, 0, sizeof(*d));
}

/* --- what messages change --------------------------------------------------------------------- */

/* As the 200 behind a 180 does. */
static bool says_nothing_new(const struct sh_dialog *d, const struct sh_slice *texts, const struct sh_msg *m)
{
	return sh_slice_eq(texts[SH_DIALOG_REMOTE_TAG], sh_dialog_remote_tag(d)) &&
	       sh_slice_eq(texts[SH_DIALOG_TARGET], sh_dialog_target(d)) && !sh_dialog_routes(d).len && !m->first[SH_H_RECORD_ROUTE];
}

int sh_dialog_learn(struct sh_dialog *d, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_slice texts[SH_DIALOG_TEXTS], tag = sh_msg_text(m, m->to_tag), contact;
	bool success = m->status >= 200 && m->status < 300;
	struct sh_uri uri;
	int target, routes;

	/* A provisional answer without a tag makes no dialog; a 2xx of an RFC 2543 peer does (12.1.2). */
	if (m->status <= 100 || m->status >= 300 || (!success && (tag.len == 0 || d->confirmed)))
		return 0;
	if (d->confirmed && !sh_slice_eq(tag, sh_dialog_remote_tag(d)))
		return -EEXIST;
	target = contact_of(m, &contact, &uri);
	routes = sh_dialog_check_routes(m);
	get_texts(d, texts);
	texts[SH_DIALOG_REMOTE_TAG] = tag;
	if (!target)
		texts[SH_DIALOG_TARGET] = contact;
	if (!says_nothing_new(d, texts, m) && intern(d, texts, routes ? NULL : m, true))
		return -ENOMEM;
	d->confirmed = d->confirmed || success;
	if (from)
		d->path = *from;
	return success && (target || routes) ? -EBADMSG : 0;
}

int sh_dialog_retarget(struct sh_dialog *d, struct sh_slice uri)
{
	struct sh_slice texts[SH_DIALOG_TEXTS];

	if (sh_slice_eq(uri, sh_dialog_target(d)))
		return 0;
	get_texts(d, texts);
	texts[SH_DIALOG_TARGET] = uri;
	return intern(d, texts, NULL, false);
}

int sh_dialog_refresh(struct sh_dialog *d, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_slice contact;
	struct sh_uri uri;

	if ((!m->is_request && (m->status < 200 || m->status >= 300)) || contact_of(m, &contact, &uri))
		return 0;
	if (sh_dialog_retarget(d, contact))
		return -ENOMEM;
	if (from)
		d->path = *from;
	return 0;
}

int sh_dialog_accept_cseq(struct sh_dialog *d, const struct sh_msg *m)
{
	if (!m->is_request || m->method == SH_ACK || m->method == SH_CANCEL)
		return 0;
	if (d->has_remote_cseq && m->cseq <= d->remote_cseq)
		return 500;
	d->remote_cseq = m->cseq;
	d->has_remote_cseq = true;
	return 0;
}
