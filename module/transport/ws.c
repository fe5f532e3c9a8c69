/* SIP over WebSocket on one accepted connection (RFC 7118, RFC 6455). wslay cuts and joins frames, answers pings, checks
 * UTF-8 and says why it closes; it reads what came through a callback, and writes through another one, so that it sees
 * no socket either.
 *
 *   begun --(not "GET ")--> SIP without WebSocket, where the socket serves that too
 *     |
 *     +--(GET, answered with 101)--> open --(close frame of either side)--> closing
 */
#include "transport/impl.h"

#include <wslay/wslay.h>

enum {
	REQUEST_MAX = 8192, /* octets of a handshake; browsers send cookies along */
	ANSWER_MAX = 512,
	FRAMES_MAX = 256, /* of one message: each has an allocation of its own */
};

struct sh_ws {
	wslay_event_context_ptr ctx; /* NULL: the handshake is not over */
	struct sh_slice in;          /* what has come and is not read yet */
	size_t looked;               /* octets of the handshake without its end */
	size_t unframed;             /* octets read that belong to no whole frame yet */
	size_t frame;                /* octets of the frame in hand, with its head */
	unsigned frames;             /* of the message in hand; 0: none has begun */
	bool control, last;          /* the frame in hand */
	bool progress;               /* a message, or a control frame outside of one, was completed */
};

/* ---- what wslay calls ---- */

static ssize_t on_read(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *user)
{
	struct sh_flow *f = user;
	struct sh_slice *in = &f->ws->in;
	size_t n = len < in->len ? len : in->len;

	(void)flags;
	if (n == 0 || f->state != SH_FLOW_OPEN) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	memcpy(buf, in->base, n);
	*in = sh_slice_make(in->base + n, in->len - n);
	f->ws->unframed += n;
	return (ssize_t)n;
}

static ssize_t on_write(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *user)
{
	struct sh_flow *f = user;

	(void)flags;
	if (sh_stream_put_plain(f, sh_slice_make((const char *)data, len)) < 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
		return -1;
	}
	return (ssize_t)len;
}

static void on_frame(wslay_event_context_ptr ctx, const struct wslay_event_on_frame_recv_start_arg *arg, void *user)
{
	struct sh_flow *f = user;
	struct sh_ws *ws = f->ws;
	size_t len = (size_t)arg->payload_length;

	ws->frame = 2 + (len > 65535 ? 8 : len > 125 ? 2 : 0) + 4 + len; /* 5.2, masked */
	ws->control = wslay_is_ctrl_frame(arg->opcode);
	ws->last = arg->fin;
	if (ws->control || ++ws->frames <= FRAMES_MAX)
		return;
	wslay_event_shutdown_read(ctx);
	wslay_event_queue_close(ctx, WSLAY_CODE_MESSAGE_TOO_BIG, NULL, 0);
}

static void on_frame_end(wslay_event_context_ptr ctx, void *user)
{
	struct sh_flow *f = user;
	struct sh_ws *ws = f->ws;

	(void)ctx;
	ws->unframed -= ws->frame;
	if (!ws->control && ws->last)
		ws->frames = 0;
	if (ws->frames == 0)
		ws->progress = true;
}

/* One WebSocket message is one SIP message, or a keep-alive (RFC 7118 5, 6). */
static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg, void *user)
{
	struct sh_flow *f = user;
	const struct sh_path from = {
	    .proto = f->proto, .endpoint = f->endpoint, .flow = f->id, .local = f->local, .remote = f->remote};
	const char *text = (const char *)arg->msg;
	size_t blank;

	(void)ctx;
	if (wslay_is_ctrl_frame(arg->opcode) || f->state != SH_FLOW_OPEN)
		return;
	blank = sh_stream_keep_alive(f, text, arg->msg_length);
	f->ping = 0;
	if (blank < arg->msg_length && f->state == SH_FLOW_OPEN)
		sh_transport_receive(f->t, &from, text + blank, arg->msg_length - blank);
}

static const struct wslay_event_callbacks callbacks = {
    .recv_callback = on_read,
    .send_callback = on_write,
    .on_frame_recv_start_callback = on_frame,
    .on_frame_recv_end_callback = on_frame_end,
    .on_msg_recv_callback = on_message,
};

/* ---- out ---- */

/* What wslay holds goes to the layer below, which takes or queues all of it. */
static int push(struct sh_flow *f)
{
	int err = 0;

	while (!err && wslay_event_want_write(f->ws->ctx))
		err = wslay_event_send(f->ws->ctx);
	if (err)
		sh_flow_end(f, err == WSLAY_ERR_NOMEM ? -ENOMEM : -EPIPE);
	return err ? -EPIPE : 0;
}

int sh_ws_send(struct sh_flow *f, struct sh_slice text)
{
	if (sh_slice_eq(text, SH_LIT("\r\n\r\n"))) { /* a keep-alive: pages would take it for a broken message (RFC 7118 6) */
		sh_ws_ping(f);
		return 0;
	}
	const struct wslay_event_msg m = {
	    /* RFC 7118 5: text is what every client reads; it must be UTF-8, and bodies need not be */
	    .opcode = sh_slice_is_utf8(text) ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
	    .msg = (const uint8_t *)text.base,
	    .msg_length = text.len,
	};
	int err = f->ws->ctx ? wslay_event_queue_msg(f->ws->ctx, &m) : WSLAY_ERR_NO_MORE_MSG;

	if (err)
		return err == WSLAY_ERR_NOMEM ? -ENOMEM : -EPIPE;
	return push(f);
}

void sh_ws_close(struct sh_flow *f, unsigned code)
{
	if (f->ws->ctx && wslay_event_queue_close(f->ws->ctx, (uint16_t)code, NULL, 0) == 0)
		push(f);
}

/* Browsers answer without asking their pages (RFC 6455 5.5.2). */
void sh_ws_ping(struct sh_flow *f)
{
	const struct wslay_event_msg m = {.opcode = WSLAY_PING};

	if (f->ws->ctx && wslay_event_queue_msg(f->ws->ctx, &m) == 0)
		push(f);
}

/* ---- in ---- */

/* The last frame is on its way: RFC 6455 7.1.1 lets the server close first. */
static void close_after_output(struct sh_flow *f)
{
	if (f->state != SH_FLOW_OPEN)
		return;
	if (f->tls)
		sh_tls_flow_shut(f);
	if (f->state != SH_FLOW_OPEN)
		return;
	sh_flow_unlist(f);
	f->state = SH_FLOW_CLOSING;
	sh_stream_flush(f);
}

static void complain(struct sh_flow *f)
{
	unsigned code = wslay_event_get_status_code_sent(f->ws->ctx);
	const char *why = code == WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA ? "text that is no UTF-8"
			  : code == WSLAY_CODE_MESSAGE_TOO_BIG          ? "the message is too large"
									: "the rules of WebSocket are broken";

	f->t->stats.malformed++;
	sh_transport_complain(f->t, (enum sh_proto)f->proto, &f->remote, "connection closed", why, SH_LIT(""));
}

bool sh_ws_has_part(const struct sh_flow *f)
{
	return f->ws->unframed > 0 || f->ws->frames > 0;
}

static void receive(struct sh_flow *f, const char *data, size_t len)
{
	struct sh_ws *ws = f->ws;
	int err;

	ws->progress = !sh_ws_has_part(f);
	ws->in = sh_slice_make(data, len);
	err = wslay_event_recv(ws->ctx);
	if (f->state != SH_FLOW_OPEN)
		return;
	if (ws->progress) /* what is not whole began now */
		f->part_since = f->t->env->now;
	if (err == WSLAY_ERR_NOMEM) {
		sh_flow_end(f, -ENOMEM);
		return;
	}
	/* Any other error is a frame that cannot be; wslay has a close frame for that, without a code. */
	if (push(f) < 0 || !wslay_event_get_close_sent(ws->ctx))
		return;
	if (!wslay_event_get_close_received(ws->ctx))
		complain(f);
	close_after_output(f);
}

/* ---- the handshake ---- */

/* The endpoint of this socket that speaks WebSocket, or the one that does not; NULL: none. */
static struct sh_listen *endpoint_of(const struct sh_flow *f, bool ws)
{
	struct sh_listen *l = f->t->listens[f->endpoint];

	if ((l->pub.proto == SH_PROTO_WS || l->pub.proto == SH_PROTO_WSS) == ws)
		return l;
	return l->sibling;
}

static void refuse(struct sh_flow *f, const char *answer, size_t len, const char *why)
{
	f->t->stats.upgrades_refused++;
	sh_transport_complain(f->t, (enum sh_proto)f->proto, &f->remote, "WebSocket handshake refused", why, SH_LIT(""));
	if (sh_stream_put_plain(f, sh_slice_make(answer, len)) == 0)
		close_after_output(f);
}

static void refuse_with(struct sh_flow *f, unsigned status, const char *why)
{
	char answer[ANSWER_MAX];

	refuse(f, answer, sh_ws_refusal(status, why, answer, sizeof(answer)), why);
}

/* No WebSocket: what has come so far, and all that follows, are messages. */
static void become_plain(struct sh_flow *f)
{
	struct sh_listen *l = endpoint_of(f, false);
	struct sh_buffer early = f->in;

	if (!l) {
		refuse_with(f, 400, "this is no HTTP");
		return;
	}
	sh_ws_finish(f);
	f->in = (struct sh_buffer){0};
	sh_flow_ready(f, l);
	sh_stream_take(f, sh_buffer_text(&early).base, early.len);
	sh_buffer_finish(&early);
}

static void open_ws(struct sh_flow *f, struct sh_slice answer, struct sh_buffer *early, size_t request)
{
	struct sh_slice rest = sh_buffer_text(early);

	if (wslay_event_context_server_init(&f->ws->ctx, &callbacks, f) != 0) {
		f->ws->ctx = NULL;
		sh_flow_end(f, -ENOMEM);
		return;
	}
	wslay_event_config_set_max_recv_msg_length(f->ws->ctx, SH_MSG_MAX_SIZE);
	f->t->stats.upgrades++;
	if (sh_stream_put_plain(f, answer) < 0)
		return;
	sh_flow_ready(f, endpoint_of(f, true));
	if (rest.len > request)
		receive(f, rest.base + request, rest.len - request);
}

/* Where the header section ends; 0: not yet. */
static size_t request_end(struct sh_ws *ws, struct sh_slice text)
{
	size_t from = ws->looked > 3 ? ws->looked - 3 : 0;
	const char *end = text.len > from ? memmem(text.base + from, text.len - from, "\r\n\r\n", 4) : NULL;

	ws->looked = text.len;
	return end ? (size_t)(end - text.base) + 4 : 0;
}

static void shake(struct sh_flow *f, const char *data, size_t len)
{
	struct sh_slice text;
	struct sh_buffer early;
	char answer[ANSWER_MAX];
	size_t end, answer_len;
	const char *why;

	if (sh_buffer_append(&f->in, data, len) < 0) {
		sh_flow_end(f, -ENOMEM);
		return;
	}
	text = sh_buffer_text(&f->in);
	if (memcmp(text.base, "GET ", text.len < 4 ? text.len : 4) != 0 || !endpoint_of(f, true)) {
		become_plain(f);
		return;
	}
	end = request_end(f->ws, text);
	if (end == 0 || end > REQUEST_MAX) {
		if (text.len > REQUEST_MAX)
			refuse_with(f, 431, "the handshake is too large");
		return;
	}
	if (sh_ws_answer(endpoint_of(f, true), sh_slice_make(text.base, end), answer, sizeof(answer), &answer_len,
			 &why) != 101) {
		refuse(f, answer, answer_len, why);
		return;
	}
	early = f->in;
	f->in = (struct sh_buffer){0};
	open_ws(f, sh_slice_make(answer, answer_len), &early, end);
	sh_buffer_finish(&early);
}

void sh_ws_receive(struct sh_flow *f, const char *data, size_t len)
{
	if (len == 0 || f->state != SH_FLOW_OPEN)
		return;
	if (f->ws->ctx)
		receive(f, data, len);
	else
		shake(f, data, len);
}

/* ---- life ---- */

int sh_ws_begin(struct sh_flow *f)
{
	f->ws = sh_calloc(1, sizeof(*f->ws));
	return f->ws ? 0 : -ENOMEM;
}

void sh_ws_finish(struct sh_flow *f)
{
	if (!f->ws)
		return;
	if (f->ws->ctx)
		wslay_event_context_free(f->ws->ctx);
	sh_free(f->ws);
	f->ws = NULL;
}
