/* What the user of a server transaction sends. */
#include "txn/txn_impl.h"

void sh_server_txn_watch(struct sh_server_txn *st, sh_server_fn fn, void *user)
{
	st->fn = fn;
	st->user = user;
}

void *sh_server_txn_user(const struct sh_server_txn *st)
{
	return st->user;
}

const struct sh_msg *sh_server_txn_request(const struct sh_server_txn *st)
{
	return st->request;
}

const struct sh_path *sh_server_txn_path(const struct sh_server_txn *st)
{
	return &st->from;
}

bool sh_server_txn_answered(const struct sh_server_txn *st)
{
	return st->answered;
}

static bool reliable(const struct sh_server_txn *st)
{
	return sh_proto_reliable((enum sh_proto)st->from.proto);
}

static int send_text(struct sh_server_txn *st, struct sh_slice text)
{
	struct sh_path path = st->from;

	path.remote.port = st->reply_port;
	return sh_transport_send(st->layer->transport, &path, text, NULL);
}

struct sh_slice sh_server_tag(struct sh_server_txn *st, const struct sh_msg *m)
{
	if (!st->has_tag) {
		sh_tag_derive(st->layer->env, m, st->tag);
		st->has_tag = true;
	}
	return sh_slice_make(st->tag, SH_TAG_LEN);
}

static struct sh_slice choose_tag(struct sh_server_txn *st, unsigned code, struct sh_slice wanted)
{
	if (wanted.len == 0)
		return code > 100 ? sh_server_tag(st, st->request) : wanted;
	if (wanted.len == SH_TAG_LEN) {
		memcpy(st->tag, wanted.base, SH_TAG_LEN);
		st->has_tag = true;
	}
	return wanted;
}

struct sh_writer *sh_server_txn_begin(struct sh_server_txn *st, unsigned code, struct sh_slice reason,
				      struct sh_slice to_tag)
{
	struct sh_txn_layer *l = st->layer;
	struct sh_writer *w = &l->writer;

	if (st->answered) { /* takes everything, and respond refuses it */
		sh_writer_init(w, l->answer, 0);
		w->full = true;
		return w;
	}
	sh_writer_init(w, l->answer, SH_TXN_BUFFER);
	sh_put_response_head(w, st->request, &st->from.remote, code, reason, choose_tag(st, code, to_tag));
	l->head = st->has_tag || st->request->to_tag.len ? w->len : 0;
	return w;
}

void sh_server_send_100(struct sh_server_txn *st)
{
	struct sh_writer *w = sh_server_txn_begin(st, 100, SH_LIT(""), SH_LIT(""));

	sh_put_body(w, SH_LIT(""), SH_LIT(""));
	st->provisional = true;
	if (!w->full)
		send_text(st, sh_writer_text(w));
}

/* The answer as it was, from the request that has come again. Empty when it does not fit any more. */
static struct sh_slice rebuild(struct sh_server_txn *st, const struct sh_msg *m)
{
	struct sh_txn_layer *l = st->layer;
	struct sh_slice reason = sh_slice_make(st->text.base, st->reason_len);
	struct sh_writer w;

	sh_writer_init(&w, l->answer, SH_TXN_BUFFER);
	sh_put_response_head(&w, m, &st->from.remote, st->short_code, reason,
			     sh_slice_make(st->tag, st->has_tag ? SH_TAG_LEN : 0));
	sh_put(&w, sh_slice_make(st->text.base + st->reason_len, st->text.len - st->reason_len));
	return w.full ? SH_LIT("") : sh_writer_text(&w);
}

void sh_server_repeat(struct sh_server_txn *st, const struct sh_msg *m)
{
	int err;

	if (st->short_code && !m)
		return;
	if (st->text.len) {
		err = send_text(st, st->short_code ? rebuild(st, m) : sh_txn_text_slice(&st->text));
		st->layer->stats.retransmissions_out++;
		if (err)
			sh_server_tell(st, SH_SERVER_FAILED); /* RFC 6026 8.8: the state stays */
	} else if (!st->answered && st->provisional) {
		sh_server_send_100(st);
		st->layer->stats.retransmissions_out++;
	}
}

/* A final answer to another request than INVITE, without what its repetition brings: a third of it. */
static void keep_short(struct sh_server_txn *st, unsigned code, struct sh_slice text)
{
	struct sh_txn_layer *l = st->layer;
	const char *reason = text.base + sizeof("SIP/2.0 200"), *end;
	size_t len;
	char *at;

	if (reliable(st))
		return;
	end = l->head ? memchr(reason, '\r', l->head - sizeof("SIP/2.0 200")) : NULL;
	len = end ? (size_t)(end - reason) + text.len - l->head : 0;
	if (!end || end - reason > UINT16_MAX) {
		sh_txn_text_set(l, &st->text, text);
		return;
	}
	sh_txn_text_free(l, &st->text);
	at = sh_pool_alloc(&l->env->pool, len);
	if (!at)
		return;
	st->text = (struct sh_txn_text){at, (uint32_t)len, (uint32_t)len};
	st->short_code = (uint16_t)code;
	st->reason_len = (uint16_t)(end - reason);
	memcpy(at, reason, st->reason_len);
	memcpy(at + st->reason_len, text.base + l->head, text.len - l->head);
}

/* Only over datagrams anything is ever sent again. Without memory for it the peer's repetitions go unanswered. */
static void keep_answer(struct sh_server_txn *st, struct sh_slice text)
{
	if (!reliable(st))
		sh_txn_text_set(st->layer, &st->text, text);
}

/* RFC 4320 4.1: nothing but 100, and over datagrams not before the client has slowed down. */
static bool other_may_proceed(const struct sh_server_txn *st, unsigned code)
{
	const struct sh_txn_layer *l = st->layer;
	uint64_t created = st->deadline - sh_txn_64t1(l);

	return code == 100 && (reliable(st) || l->env->now >= created + sh_txn_quiet_time(&l->timers));
}

static int provisional(struct sh_server_txn *st, unsigned code, struct sh_slice text)
{
	if (st->method != SH_INVITE) {
		if (!other_may_proceed(st, code))
			return -EPERM;
		st->state = SH_TXN_PROCEEDING;
	}
	st->provisional = true;
	if (code > 100)
		keep_answer(st, text);
	else
		st->text.len = 0;
	return send_text(st, text);
}

/* --- how often a failure is repeated ---
 *
 * Whoever lies about his address would have us send each failure eleven times to somebody else (17.2.1; 26.1.5, 26.3.2.4). So an address
 * to which several are under way without an ACK gets only a few of each from there on, unless it is in a dialog with us; whoever
 * has heard nothing yet repeats his INVITE by himself (timer A), and each time the answer goes out once more. */

enum { UNCONFIRMED_MAX = 4, FEW = 2, FEW_CALMED = 4 }; /* CALMED: behind a provisional answer, which stops timer A */

/* Those that share a number have few repetitions the sooner. */
static uint32_t *unconfirmed(const struct sh_server_txn *st)
{
	struct sh_addr a = st->from.remote;

	a.port = 0;
	return &st->layer->unconfirmed[sh_hash_slice(&st->layer->env->key, sh_slice_make((const char *)&a, sizeof(a))) & (SH_TXN_ADDRESSES - 1)];
}

void sh_server_confirm(struct sh_server_txn *st)
{
	--*unconfirmed(st);
	st->counted = false;
}

static uint8_t repetitions(struct sh_server_txn *st, unsigned code)
{
	if (!st->mergeable) /* it had our tag: a dialog */
		return SH_TXN_ALL;
	if ((code == 401 || code == 407) && !st->provisional)
		return 0; /* what an open server sends most */
	st->counted = true;
	if (++*unconfirmed(st) <= UNCONFIRMED_MAX)
		return SH_TXN_ALL;
	return st->provisional ? FEW_CALMED : FEW;
}

static int final(struct sh_server_txn *st, unsigned code, struct sh_slice text)
{
	struct sh_txn_layer *l = st->layer;
	struct sh_env *env = l->env;
	int err = send_text(st, text);

	st->answered = true;
	if (st->cloned)
		sh_server_drop_request(st);
	if (st->method != SH_INVITE && (code == 401 || code == 407)) {
		/* A challenge leaves nothing behind (8.2.7: a stateless UAS): the same request again is challenged again,
		 * and who has no password costs no memory. */
		st->state = SH_TXN_COMPLETED;
		sh_env_timer(env, &st->timer, 0);
	} else if (st->method != SH_INVITE) {
		st->state = SH_TXN_COMPLETED;
		keep_short(st, code, text);
		sh_txn_linger(env, &st->timer, reliable(st) ? 0 : sh_txn_64t1(l)); /* J */
	} else if (code < 300) {
		st->state = SH_TXN_ACCEPTED;
		sh_txn_text_free(st->layer, &st->text);
		sh_txn_linger(env, &st->timer, sh_txn_64t1(l)); /* L */
	} else {
		st->state = SH_TXN_COMPLETED;
		keep_answer(st, text);
		st->deadline = env->now + sh_txn_64t1(l); /* H */
		st->interval = (uint32_t)l->timers.t1;    /* G */
		st->repetitions = reliable(st) ? 0 : repetitions(st, code);
		sh_wheel_add(&env->wheel, &st->timer,
			     st->repetitions == 0 ? st->deadline : sh_txn_earlier(env->now + st->interval, st->deadline));
	}
	return err;
}

int sh_server_txn_respond(struct sh_server_txn *st, unsigned code, struct sh_writer *w)
{
	struct sh_slice text = sh_writer_text(w);

	if (st->answered)
		return -EALREADY;
	if (w->full || w->len > SH_MSG_MAX_SIZE)
		return -EMSGSIZE;
	if (code < 200)
		return provisional(st, code, text);
	if (code == 408 && st->method != SH_INVITE)
		return -EPERM; /* RFC 4320 4.2 */
	return final(st, code, text);
}

int sh_server_txn_reply(struct sh_server_txn *st, unsigned code, struct sh_slice reason)
{
	struct sh_writer *w = sh_server_txn_begin(st, code, reason, SH_LIT(""));

	sh_put_body(w, SH_LIT(""), SH_LIT(""));
	return sh_server_txn_respond(st, code, w);
}

int sh_server_txn_resend(struct sh_server_txn *st, struct sh_slice text)
{
	st->layer->stats.retransmissions_out++;
	return send_text(st, text);
}
