/* The octets of connections: messages cut out of what comes in, and a queue for what the driver does not take.
 *
 * A message that arrives in one piece is never copied; only one that is cut short waits in f->in. While more than a
 * little output waits, nothing is read: who does not take our answers gets to put no more questions. What waits is
 * bounded by max_unsent; who exceeds it is closed. */
#include "transport/impl.h"

enum {
	IN_MAX = 65536, /* more than the largest message: a full buffer holds one, or framing has failed */
	FLUSH_AT = 32768,
	HIGH_WATER = 65536,
};

/* ---- out ---- */

static size_t at_most(const struct sh_flow *f, size_t octets)
{
	size_t half = f->t->config.max_unsent / 2;

	return half < octets ? half : octets;
}

/* Between the marks it stays as it is. */
static void regulate(struct sh_flow *f)
{
	size_t high = at_most(f, HIGH_WATER);
	bool pause = f->paused ? f->out.len > high / 2 : f->out.len > high;

	if (pause == f->paused || !f->connected || f->broken || f->state == SH_FLOW_ENDED)
		return;
	f->paused = pause;
	if (!pause)
		f->part_since = f->t->env->now; /* that it waited was our doing */
	f->t->env->driver->read_enable(f->t->env, f->stream, !pause);
	sh_flow_watch(f);
}

/* What the driver takes of it now. After an error everything is "taken": stream_closed is on its way. */
static size_t write_some(struct sh_flow *f, const char *data, size_t len)
{
	struct sh_env *env = f->t->env;
	ssize_t n = f->broken ? (ssize_t)len : env->driver->write(env, f->stream, data, len);

	if (n < 0) {
		sh_flow_unlist(f);
		f->broken = true;
		return len;
	}
	if (n > 0)
		f->last_byte = f->moved = env->now;
	return (size_t)n;
}

void sh_stream_flush(struct sh_flow *f)
{
	if (f->tls)
		sh_tls_flow_encrypt(f);
	while (f->out.len > 0 && f->state != SH_FLOW_ENDED) {
		struct sh_slice text = sh_buffer_text(&f->out);
		size_t n = write_some(f, text.base, text.len);

		sh_buffer_take(&f->out, n);
		if (n < text.len)
			break;
	}
	if (f->state == SH_FLOW_CLOSING && f->out.len == 0 && !f->broken)
		sh_flow_end(f, 0);
	regulate(f);
}

int sh_stream_overrun(struct sh_flow *f)
{
	sh_transport_complain(f->t, f->proto, &f->remote, "connection closed", "the peer does not read", SH_LIT(""));
	sh_flow_end(f, -ENOBUFS);
	return -ENOBUFS;
}

void sh_stream_touch(struct sh_flow *f)
{
	struct sh_transport *t = f->t;

	if (!f->connected)
		return; /* it will be flushed when it is */
	if (sh_list_empty(&f->dirty))
		sh_list_append(&t->dirty, &f->dirty);
	if (!sh_timer_pending(&t->report))
		sh_env_timer(t->env, &t->report, 0);
}

/* For the end of the turn, or for when the driver takes more. What has begun below must be finished, or the connection is of no
 * use. */
static int queue(struct sh_flow *f, struct sh_slice rest, bool begun)
{
	int err;

	if (f->out.len == 0)
		f->moved = f->t->env->now;
	if (rest.len > f->t->config.max_unsent - f->out.len)
		return sh_stream_overrun(f);
	err = sh_buffer_append(&f->out, rest.base, rest.len);
	if (err && begun)
		sh_flow_end(f, err);
	if (err)
		return err;
	sh_flow_watch(f);
	regulate(f);
	return 0;
}

/* What one turn writes to a connection leaves with one call of the kernel, whose price is that of many messages, and in as few
 * records of TLS as can be. A busy turn does not wait with more than a little. */
static int put(struct sh_flow *f, struct sh_slice text)
{
	int err = f->state == SH_FLOW_ENDED || f->broken ? -EPIPE : queue(f, text, false);

	if (err)
		return err;
	if (f->connected && f->out.len > at_most(f, FLUSH_AT))
		sh_stream_flush(f);
	else
		sh_stream_touch(f);
	return 0;
}

int sh_stream_put(struct sh_flow *f, struct sh_slice octets)
{
	int err = f->state == SH_FLOW_ENDED || f->broken ? -EPIPE : queue(f, octets, true);

	if (!err)
		sh_stream_touch(f);
	return err;
}

int sh_stream_put_plain(struct sh_flow *f, struct sh_slice text)
{
	return f->tls ? sh_tls_flow_send(f, text) : put(f, text);
}

int sh_stream_send(struct sh_flow *f, struct sh_slice text)
{
	return f->ws ? sh_ws_send(f, text) : sh_stream_put_plain(f, text);
}

void sh_stream_flush_dirty(struct sh_transport *t)
{
	for (struct sh_link *l; (l = sh_list_pop(&t->dirty)) != NULL;) {
		struct sh_flow *f = SH_CONTAINER(l, struct sh_flow, dirty);
		if (f->connected)
			sh_stream_flush(f);
	}
}

/* ---- in ---- */

static bool listening(const struct sh_flow *f)
{
	return f->state == SH_FLOW_OPEN;
}

/* Octets between messages: a CRLF CRLF is answered with CRLF (RFC 5626 3.5.1), everything else of the kind is passed
 * over (RFC 3261 7.5). Returns how many there are. */
size_t sh_stream_keep_alive(struct sh_flow *f, const char *data, size_t len)
{
	bool pong = false;
	size_t n;

	for (n = 0; n < len && (data[n] == '\r' || data[n] == '\n'); n++) {
		f->ping = data[n] == "\r\n\r\n"[f->ping] ? (uint8_t)(f->ping + 1) : data[n] == '\r';
		if (f->ping < 4)
			continue;
		f->ping = 0;
		f->t->stats.keepalives++;
		pong = true;
	}
	if (n < len)
		f->ping = 0;
	if (pong)
		sh_stream_send(f, SH_LIT("\r\n")); /* one is enough for all that came together */
	return n;
}

/* data is what came of the message: the line names its Call-ID where that was in it. */
static void lose_framing(struct sh_flow *f, int error, const char *data, size_t len)
{
	const char *why = error == -EMSGSIZE        ? "the message is too large"
			  : f->framer.start_line_ok ? "framing is lost: Content-Length is missing or broken"
						    : "this is not SIP";

	struct sh_msg *m = &f->t->msg;
	const char *ignored;

	f->t->stats.malformed++;
	sh_msg_scan(m, data, len, false, &ignored);
	sh_transport_complain(f->t, f->proto, &f->remote, "connection closed", why, sh_msg_text(m, m->call_id));
	sh_flow_end(f, error);
}

/* Hands up the messages at the beginning of data. Returns the octets that are done with; the flow may have ended. */
static size_t consume(struct sh_flow *f, const char *data, size_t len)
{
	const struct sh_path from = {
	    .proto = f->proto, .endpoint = f->endpoint, .flow = f->id, .local = f->local, .remote = f->remote};
	size_t done = 0;

	while (done < len && listening(f)) {
		ssize_t size;

		if (f->framer.scanned == 0 && f->framer.total == 0)
			done += sh_stream_keep_alive(f, data + done, len - done);
		if (done == len || !listening(f))
			break;
		size = sh_framer_feed(&f->framer, data + done, len - done);
		if (size < 0)
			lose_framing(f, (int)size, data + done, len - done);
		if (size <= 0 || (size_t)size > len - done)
			break;
		f->framer = (struct sh_framer){0};
		sh_transport_receive(f->t, &from, data + done, (size_t)size);
		done += (size_t)size;
	}
	return done;
}

/* Nothing waits: straight from the driver's buffer. What is left of a message cannot be larger than IN_MAX, framing
 * sees to that. */
static void receive_fresh(struct sh_flow *f, const char *data, size_t len)
{
	size_t done = consume(f, data, len);

	if (done == len || !listening(f))
		return;
	f->part_since = f->t->env->now;
	if (sh_buffer_append(&f->in, data + done, len - done) < 0)
		sh_flow_end(f, -ENOMEM);
}

/* Behind the beginning of a message. Returns how much was taken; a full buffer ends that message in any case. */
static size_t receive_more(struct sh_flow *f, const char *data, size_t len)
{
	size_t room = IN_MAX - f->in.len, n = len < room ? len : room, done;
	struct sh_slice text;

	if (sh_buffer_append(&f->in, data, n) < 0) {
		sh_flow_end(f, -ENOMEM);
		return n;
	}
	text = sh_buffer_text(&f->in);
	done = consume(f, text.base, text.len);
	if (done > 0) {
		sh_buffer_take(&f->in, done);
		sh_buffer_pack(&f->in);
		f->part_since = f->t->env->now;
	}
	return n;
}

static void take_messages(struct sh_flow *f, const char *data, size_t len)
{
	while (len > 0 && listening(f)) {
		size_t n = len;

		if (f->in.len > 0)
			n = receive_more(f, data, len);
		else
			receive_fresh(f, data, len);
		data += n;
		len -= n;
	}
}

void sh_stream_take(struct sh_flow *f, const char *data, size_t len)
{
	if (f->ws)
		sh_ws_receive(f, data, len);
	else
		take_messages(f, data, len);
}

void sh_stream_receive(struct sh_flow *f, const char *data, size_t len)
{
	f->last_byte = f->last_in = f->t->env->now;
	f->pinged = 0;
	if (f->tls)
		sh_tls_flow_receive(f, data, len);
	else
		sh_stream_take(f, data, len);
	sh_flow_watch(f);
}
