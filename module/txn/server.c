/* Server transactions: matching, life, timers. What the user sends is in answer.c. */
#include "txn/txn_impl.h"

/* --- matching (17.2.3) ------------------------------------------------------------------------ */

static bool has_cookie(struct sh_slice branch)
{
	/* The bare cookie identifies nothing: as if there were no branch. */
	return branch.len > 7 && sh_slice_istarts(branch, SH_LIT("z9hG4bK"));
}

/* The method is not part of the key, so that a CANCEL finds what it cancels (9.2); it is compared. Methods without a
 * number are told apart by name. */
static void key_of(struct sh_txn_key *out, const struct sh_txn_layer *l, const struct sh_msg *m)
{
	struct sh_slice branch = sh_msg_text(m, m->via_branch), tag = sh_msg_text(m, m->to_tag);
	struct sh_slice name = m->method == SH_METHOD_OTHER ? sh_msg_text(m, m->method_name) : SH_LIT("");

	out->rfc2543 = !has_cookie(branch);
	if (!out->rfc2543) {
		const struct sh_slice parts[] = {
		    branch,
		    sh_msg_text(m, m->via_host),
		    sh_slice_make((const char *)&m->via_port, sizeof(m->via_port)),
		    name,
		};

		out->to_tag = 0;
		out->id = sh_hash128_slices(&l->env->key, parts, name.len ? 4 : 3);
	} else {
		const struct sh_slice parts[] = {
		    sh_msg_text(m, m->uri),     sh_msg_text(m, m->from_tag),
		    sh_msg_text(m, m->call_id), sh_slice_make((const char *)&m->cseq, sizeof(m->cseq)),
		    sh_msg_text(m, m->via),     name,
		};

		out->to_tag = tag.len ? sh_hash_slice(&l->env->key, tag) : 0;
		out->id = sh_hash128_slices(&l->env->key, parts, sizeof(parts) / sizeof(parts[0]));
	}
}

uint64_t sh_txn_request_key(const struct sh_txn_layer *l, const struct sh_msg *m)
{
	struct sh_txn_key key;

	key_of(&key, l, m);
	return key.id.w[0];
}

struct each_key {
	void (*fn)(void *ctx, uint64_t key);
	void *ctx;
};

static void tell_key(struct sh_hash_node *n, void *arg)
{
	const struct each_key *e = arg;

	e->fn(e->ctx, n->hash);
}

void sh_txn_each_request_key(struct sh_txn_layer *l, void (*fn)(void *ctx, uint64_t key), void *ctx)
{
	struct each_key e = {fn, ctx};

	sh_hash_each(&l->servers, tell_key, &e);
}

static struct sh_server_txn *next_match(struct sh_hash_node *n, const struct sh_txn_key *key)
{
	for (; n; n = sh_hash_next(n)) {
		struct sh_server_txn *st = SH_CONTAINER(n, struct sh_server_txn, node);

		if (st->id == key->id.w[1] && st->rfc2543 == key->rfc2543)
			return st;
	}
	return NULL;
}

static struct sh_server_txn *find_server(const struct sh_txn_layer *l, const struct sh_txn_key *key, unsigned method)
{
	struct sh_server_txn *st = next_match(sh_hash_find(&l->servers, key->id.w[0]), key);

	while (st && (st->method != method || st->to_tag != key->to_tag))
		st = next_match(sh_hash_next(&st->node), key);
	return st;
}

/* An ACK of an RFC 2543 peer names the answer by its To tag, unless the peer knows nothing of tags. */
static bool ack_names(const struct sh_server_txn *st, const struct sh_msg *ack, const struct sh_txn_key *key)
{
	struct sh_slice tag = sh_msg_text(ack, ack->to_tag);

	if (!st->rfc2543 || tag.len == 0)
		return true;
	if (st->to_tag) /* the request had one already */
		return st->to_tag == key->to_tag;
	return st->has_tag && sh_slice_eq(tag, sh_slice_make(st->tag, SH_TAG_LEN));
}

static struct sh_server_txn *find_acked(const struct sh_txn_layer *l, const struct sh_msg *ack)
{
	struct sh_txn_key key;
	struct sh_server_txn *st;

	key_of(&key, l, ack);
	st = next_match(sh_hash_find(&l->servers, key.id.w[0]), &key);
	while (st && (st->method != SH_INVITE || !ack_names(st, ack, &key)))
		st = next_match(sh_hash_next(&st->node), &key);
	return st;
}

/* 8.2.2.2: what the same request has in common that came by another way. */
static struct sh_id128 merge_key(const struct sh_txn_layer *l, const struct sh_msg *m)
{
	const struct sh_slice parts[] = {
	    sh_msg_text(m, m->from_tag),
	    sh_msg_text(m, m->call_id),
	    sh_slice_make((const char *)&m->cseq, sizeof(m->cseq)),
	    sh_msg_text(m, m->method_name),
	};

	return sh_hash128_slices(&l->env->key, parts, sizeof(parts) / sizeof(parts[0]));
}

static bool find_merged(const struct sh_txn_layer *l, struct sh_id128 key)
{
	for (struct sh_hash_node *n = sh_hash_find(&l->merges, key.w[0]); n; n = sh_hash_next(n))
		if (SH_CONTAINER(n, struct sh_server_txn, merge)->merge_id == key.w[1])
			return true;
	return false;
}

/* --- life ------------------------------------------------------------------------------------- */

void sh_server_tell(struct sh_server_txn *st, enum sh_server_event ev)
{
	if (st->fn)
		st->fn(st, ev, st->user);
}

void sh_server_drop_request(struct sh_server_txn *st)
{
	if (st->cloned)
		sh_free((void *)(uintptr_t)st->request);
	st->cloned = false;
	st->request = NULL;
}

void sh_server_free(struct sh_server_txn *st)
{
	sh_env_cancel(st->layer->env, &st->timer);
	if (st->counted)
		sh_server_confirm(st);
	sh_server_drop_request(st);
	sh_txn_text_free(st->layer, &st->text);
	sh_pool_free(&st->layer->env->pool, st, sizeof(*st));
}

static void server_end(struct sh_server_txn *st)
{
	struct sh_txn_layer *l = st->layer;

	sh_hash_remove(&l->servers, &st->node);
	if (st->mergeable)
		sh_hash_remove(&l->merges, &st->merge);
	l->stats.server_live--;
	st->answered = true; /* whatever the user tries now */
	sh_server_tell(st, SH_SERVER_ENDED);
	sh_server_free(st);
}

/* Timer G, until H. */
static void completed_timer(struct sh_server_txn *st)
{
	struct sh_txn_layer *l = st->layer;
	struct sh_env *env = l->env;

	if (env->now >= st->deadline) {
		sh_server_tell(st, SH_SERVER_TIMEOUT);
		server_end(st);
		return;
	}
	sh_server_repeat(st, NULL);
	if (st->repetitions != SH_TXN_ALL && --st->repetitions == 0) {
		sh_wheel_add(&env->wheel, &st->timer, st->deadline);
		return;
	}
	st->interval = (uint32_t)sh_txn_earlier(2 * (uint64_t)st->interval, l->timers.t2);
	sh_wheel_add(&env->wheel, &st->timer, sh_txn_earlier(env->now + st->interval, st->deadline));
}

/* A failure of our own making. When not even that fits into a message, the peer hears nothing. */
static void refuse(struct sh_server_txn *st, unsigned code)
{
	sh_server_txn_reply(st, code, SH_LIT(""));
	if (st->answered)
		return;
	st->answered = true;
	st->state = SH_TXN_ACCEPTED;
	sh_server_drop_request(st);
	sh_txn_linger(st->layer->env, &st->timer, sh_txn_64t1(st->layer));
}

/* An INVITE may ring for as long as its user likes; only one that nobody watches any more will never be answered. */
static void unanswered_invite(struct sh_server_txn *st)
{
	struct sh_env *env = st->layer->env;

	if (env->now >= st->deadline) {
		if (!st->fn) {
			refuse(st, 500);
			return;
		}
		st->deadline += sh_txn_64t1(st->layer);
	} else if (!st->provisional) {
		sh_server_send_100(st);
	}
	sh_wheel_add(&env->wheel, &st->timer, st->deadline);
}

/* RFC 4320: a 100 when the client has slowed down, nothing at all when it has given up. */
static void unanswered_other(struct sh_server_txn *st)
{
	struct sh_env *env = st->layer->env;

	if (env->now >= st->deadline) {
		server_end(st);
		return;
	}
	if (st->state == SH_TXN_TRYING) {
		st->state = SH_TXN_PROCEEDING;
		sh_server_send_100(st);
	}
	sh_wheel_add(&env->wheel, &st->timer, st->deadline);
}

static void on_timer(struct sh_timer *t)
{
	struct sh_server_txn *st = SH_CONTAINER(t, struct sh_server_txn, timer);

	if (st->state <= SH_TXN_PROCEEDING) {
		if (st->method == SH_INVITE)
			unanswered_invite(st);
		else
			unanswered_other(st);
	} else if (st->state == SH_TXN_COMPLETED && st->method == SH_INVITE) {
		completed_timer(st);
	} else {
		server_end(st); /* I, J, L */
	}
}

static struct sh_server_txn *create_server(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from,
					   const struct sh_txn_key *key)
{
	struct sh_server_txn *st = sh_pool_calloc(&l->env->pool, sizeof(*st));

	if (!st)
		return NULL;
	st->layer = l;
	st->id = key->id.w[1];
	st->to_tag = key->to_tag;
	st->rfc2543 = key->rfc2543;
	st->method = m->method;
	st->state = m->method == SH_INVITE ? SH_TXN_PROCEEDING : SH_TXN_TRYING;
	st->from = *from;
	st->reply_port = sh_txn_reply_port(m, from);
	st->request = m;
	st->deadline = l->env->now + sh_txn_64t1(l);
	sh_timer_init(&st->timer, on_timer);
	sh_hash_insert(&l->servers, &st->node, key->id.w[0]);
	if (m->method == SH_INVITE)
		l->env->called = l->env->now;
	l->stats.server_created++;
	l->stats.server_live++;
	return st;
}

/* --- what arrives ----------------------------------------------------------------------------- */

/* Behind the user's look at a new request: what is left for us to do when it is not answered yet. */
static void keep_unanswered(struct sh_server_txn *st)
{
	struct sh_txn_layer *l = st->layer;
	struct sh_msg *copy = sh_msg_clone(st->request);
	uint64_t due = st->deadline;

	if (!copy) {
		refuse(st, 503);
		st->request = NULL;
		sh_server_tell(st, SH_SERVER_FAILED);
		return;
	}
	st->request = copy;
	st->cloned = true;
	if (!st->provisional) {
		uint64_t quiet = st->method == SH_INVITE ? l->timers.trying : sh_txn_quiet_time(&l->timers);

		due = sh_txn_earlier(l->env->now + quiet, due);
	}
	sh_wheel_add(&l->env->wheel, &st->timer, due);
}

static void absorb(struct sh_server_txn *st, const struct sh_msg *m)
{
	st->layer->stats.retransmissions_in++;
	switch (st->state) {
	case SH_TXN_PROCEEDING:
	case SH_TXN_COMPLETED:
		sh_server_repeat(st, m);
		break;
	default:
		break; /* Trying: no answer yet; Accepted: the user repeats its 2xx; Confirmed: late */
	}
}

/* Overload (21.5.4): what would begin something new is answered before anybody looks at it, so that there is time for what
 * has begun. Whoever is told to come again comes at different times. */
static void refuse_new(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from)
{
	char line[] = "Retry-After: 5\r\n";

	line[sizeof(line) - 4] = (char)('2' + sh_random_u64(&l->env->random) % 8);
	l->stats.overload++;
	sh_txn_reply_stateless(l, m, from, 503, SH_LIT(""), sh_slice_make(line, sizeof(line) - 1));
}

/* The rate of its source: false, and whoever is to be told has been told. */
static bool admitted(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from)
{
	unsigned seconds = 0;
	enum sh_admission a = sh_transport_admit(l->transport, m, from, &seconds);
	char line[40];
	struct sh_writer w;

	if (a == SH_REFUSED) {
		sh_writer_init(&w, line, sizeof(line));
		sh_put_header_uint(&w, SH_H_RETRY_AFTER, seconds);
		sh_txn_reply_stateless(l, m, from, 503, SH_LIT("Too Many Requests"), sh_writer_text(&w));
	}
	return a == SH_ADMITTED;
}

void sh_server_request(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_txn_key key;
	struct sh_id128 merge = {{0, 0}};
	struct sh_server_txn *st;

	key_of(&key, l, m);
	st = find_server(l, &key, m->method);
	if (st) {
		absorb(st, m);
		return;
	}
	if (m->to_tag.len == 0 && l->env->overloaded && !sh_transport_is_emergency(l->transport, m)) {
		refuse_new(l, m, from);
		return;
	}
	if (m->to_tag.len == 0) {
		merge = merge_key(l, m);
		if (find_merged(l, merge)) {
			l->stats.merged++;
			sh_txn_reply_stateless(l, m, from, 482, SH_LIT(""), SH_LIT(""));
			return;
		}
	}
	if (!admitted(l, m, from))
		return;
	st = l->stats.server_live < SH_TXN_MAX_SERVERS ? create_server(l, m, from, &key) : NULL;
	if (!st) {
		/* Who is refused a BYE goes all the same, and nobody tells the other side: better that it comes again. */
		if (m->method != SH_BYE || sh_proto_reliable((enum sh_proto)from->proto))
			sh_txn_reply_stateless(l, m, from, 503, SH_LIT(""), SH_LIT(""));
		return;
	}
	if (m->to_tag.len == 0) {
		st->mergeable = true;
		st->merge_id = merge.w[1];
		sh_hash_insert(&l->merges, &st->merge, merge.w[0]);
	}
	l->user->request(l->ctx, st, m, from);
	if (st->answered)
		st->request = NULL;
	else
		keep_unanswered(st);
}

void sh_server_ack(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_server_txn *st = find_acked(l, m);

	if (!st || st->state == SH_TXN_ACCEPTED) {
		l->user->request(l->ctx, NULL, m, from);
		return;
	}
	if (st->state != SH_TXN_COMPLETED) { /* too early, or once more */
		l->stats.retransmissions_in++;
		return;
	}
	if (st->counted)
		sh_server_confirm(st);
	st->state = SH_TXN_CONFIRMED;
	sh_txn_text_free(st->layer, &st->text);
	sh_txn_linger(l->env, &st->timer, sh_proto_reliable((enum sh_proto)st->from.proto) ? 0 : l->timers.t4); /* I */
	sh_server_tell(st, SH_SERVER_ACKED);
}

/* Answered without a transaction: the answer to the same CANCEL is always the same. */
void sh_server_cancel(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_txn_key key;
	struct sh_server_txn *st;

	key_of(&key, l, m);
	st = next_match(sh_hash_find(&l->servers, key.id.w[0]), &key);
	while (st && st->to_tag != key.to_tag)
		st = next_match(sh_hash_next(&st->node), &key);
	if (!st) {
		sh_txn_reply_stateless(l, m, from, 481, SH_LIT(""), SH_LIT(""));
		return;
	}
	sh_txn_send_stateless(l, m, from, 200, SH_LIT(""), sh_server_tag(st, m), SH_LIT(""));
	if (st->cancelled || st->answered || st->method != SH_INVITE)
		return;
	st->cancelled = true;
	l->user->cancel(l->ctx, st, m);
}
