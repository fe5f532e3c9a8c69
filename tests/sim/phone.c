/* The phone's ground: its host and sockets, the log of messages, expectations, the ladder. */
#include "phone_impl.h"

#include <stdio.h>
#include <stdlib.h>

#define GIVE_UP (64 * PHONE_T1)

/* Of all simulations, so that a failure can show the other phones too. Only the test's thread comes here. */
static struct sh_link phones = {&phones, &phones};
static uint64_t messages;

struct phone_conn {
	struct sh_link link; /* phone->conns */
	struct phone *phone;
	struct sh_stream *stream; /* NULL: closed */
	struct sh_addr remote;
	bool connected;
	char *in, *out; /* not yet a message, not yet taken */
	size_t in_len, out_len;
};

/* ---- memory ---- */

static void *must(void *p)
{
	if (!p)
		fail_msg("out of memory");
	return p;
}

struct block {
	struct sh_link link;
	_Alignas(16) char data[];
};

void *phone_alloc(struct phone *p, size_t n)
{
	struct block *b = must(calloc(1, sizeof(*b) + n));

	sh_list_append(&p->heap, &b->link);
	return b->data;
}

const char *phone_keep(struct phone *p, struct sh_slice s)
{
	char *copy = phone_alloc(p, s.len + 1);

	if (s.len > 0)
		memcpy(copy, s.base, s.len);
	return copy;
}

const char *phone_printf(struct phone *p, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(p->scratch, PHONE_SCRATCH, fmt, args);
	va_end(args);
	assert_true(n >= 0 && n < PHONE_SCRATCH);
	return phone_keep(p, sh_slice_make(p->scratch, (size_t)n));
}

static void append(char **buf, size_t *len, const char *data, size_t n)
{
	if (n == 0)
		return;
	*buf = must(realloc(*buf, *len + n));
	memcpy(*buf + *len, data, n);
	*len += n;
}

static void take_off(char *buf, size_t *len, size_t n)
{
	if (n == 0)
		return;
	memmove(buf, buf + n, *len - n);
	*len -= n;
}

/* ---- the log ---- */

static void on_resend(struct sh_timer *t);

static struct phone_msg *note(struct phone *p, const struct phone_way *way, bool sent, const char *text, size_t len)
{
	struct phone_msg *msg = phone_alloc(p, sizeof(*msg));

	msg->phone = p;
	msg->at = p->env->now;
	msg->number = messages++;
	msg->proto = way->proto;
	msg->remote = way->to;
	msg->conn = way->conn;
	msg->sent = sent;
	msg->text = (char *)phone_keep(p, sh_slice_make(text, len));
	msg->len = len;
	msg->code = sh_msg_scan(&msg->m, msg->text, len, way->proto != SH_PROTO_UDP, NULL);
	sh_timer_init(&msg->timer, on_resend);
	sh_list_append(&p->log, &msg->link);
	return msg;
}

static void come_in(struct phone *p, const struct phone_way *from, const char *text, size_t len)
{
	struct phone_msg *msg = note(p, from, false, text, len);

	if (phone_take_in(msg))
		msg->consumed = true;
	else if (p->on_message)
		p->on_message(msg, p->ctx);
}

/* ---- connections ---- */

static struct phone_conn *conn_create(struct phone *p, const struct sh_addr *remote)
{
	struct phone_conn *c = must(calloc(1, sizeof(*c)));

	c->phone = p;
	c->remote = *remote;
	sh_list_append(&p->conns, &c->link);
	return c;
}

static void conn_flush(struct phone_conn *c)
{
	struct sh_env *env = c->phone->env;
	ssize_t n;

	if (!c->stream || !c->connected || c->out_len == 0)
		return;
	n = env->driver->write(env, c->stream, c->out, c->out_len);
	if (n > 0)
		take_off(c->out, &c->out_len, (size_t)n);
}

static void conn_close(struct phone_conn *c)
{
	if (c->stream)
		c->phone->env->driver->close(c->phone->env, c->stream);
	c->stream = NULL;
}

/* The connection of the message that is answered, one that is open to that address, or a new one. */
static struct phone_conn *conn_for(struct phone *p, const struct phone_way *way)
{
	struct phone_conn *c;

	if (way->conn && way->conn->stream)
		return way->conn;
	SH_LIST_EACH(l, &p->conns)
	{
		c = SH_CONTAINER(l, struct phone_conn, link);
		if (c->stream && sh_addr_eq(&c->remote, &way->to))
			return c;
	}
	c = conn_create(p, &way->to);
	if (p->env->driver->connect(p->env, NULL, &way->to, c, &c->stream))
		c->stream = NULL; /* memory is out: as if it had been refused */
	return c;
}

static void *on_accepted(void *ctx, void *listener_user, struct sh_stream *s, const struct sh_addr *local,
			 const struct sh_addr *remote)
{
	struct phone_conn *c = conn_create(ctx, remote);

	(void)listener_user, (void)local;
	c->stream = s;
	c->connected = true;
	return c;
}

static void on_connected(void *ctx, void *user, const struct sh_addr *local)
{
	struct phone_conn *c = user;

	(void)ctx, (void)local;
	c->connected = true;
	conn_flush(c);
}

static void on_writable(void *ctx, void *user)
{
	(void)ctx;
	conn_flush(user);
}

static void on_closed(void *ctx, void *user, int error)
{
	struct phone_conn *c = user;

	(void)ctx, (void)error;
	c->stream = NULL;
}

static bool take_message(struct phone_conn *c)
{
	struct phone_way from = {SH_PROTO_TCP, c->remote, c};
	size_t blank = 0, len;
	ssize_t total;

	while (blank < c->in_len && (c->in[blank] == '\r' || c->in[blank] == '\n'))
		blank++; /* RFC 3261 7.5, and keep-alives */
	take_off(c->in, &c->in_len, blank);
	if (c->in_len == 0)
		return false;
	total = sh_msg_frame(c->in, c->in_len);
	if (total == 0 || (total > 0 && (size_t)total > c->in_len))
		return false;
	len = total < 0 ? c->in_len : (size_t)total; /* garbage is noted down as a whole */
	come_in(c->phone, &from, c->in, len);
	take_off(c->in, &c->in_len, len);
	return true;
}

static void on_data(void *ctx, void *user, const char *data, size_t len)
{
	struct phone_conn *c = user;

	(void)ctx;
	append(&c->in, &c->in_len, data, len);
	while (take_message(c))
		;
}

void phone_hang_up_connections(struct phone *p)
{
	SH_LIST_EACH(l, &p->conns)
	conn_close(SH_CONTAINER(l, struct phone_conn, link));
}

size_t phone_connections(const struct phone *p)
{
	size_t n = 0;

	SH_LIST_EACH(l, &p->conns)
	n += SH_CONTAINER(l, struct phone_conn, link)->stream != NULL;
	return n;
}

/* ---- datagrams ---- */

static void on_datagram(void *ctx, void *user, const struct sh_addr *local, const struct sh_addr *remote, char *data,
			size_t len)
{
	struct phone_way from = {SH_PROTO_UDP, *remote, NULL};

	(void)user, (void)local;
	come_in(ctx, &from, data, len);
}

static void on_icmp(void *ctx, void *user, const struct sh_addr *remote, int error, const char *data, size_t len)
{
	struct phone *p = ctx;

	(void)user, (void)remote, (void)error, (void)data, (void)len;
	p->icmp++;
}

/* ---- sending ---- */

static void put_on_the_wire(const struct phone_msg *msg)
{
	struct phone *p = msg->phone;

	if (msg->conn) {
		append(&msg->conn->out, &msg->conn->out_len, msg->text, msg->len);
		conn_flush(msg->conn);
	} else {
		p->env->driver->udp_send(p->env, p->udp, NULL, &msg->remote, msg->text, msg->len);
	}
}

struct phone_msg *phone_transmit(struct phone *p, const struct phone_way *way, const char *text, size_t len)
{
	struct phone_way used = *way;
	struct phone_msg *msg;

	used.conn = way->proto == SH_PROTO_TCP ? conn_for(p, way) : NULL;
	if (used.conn)
		used.to = used.conn->remote;
	msg = note(p, &used, true, text, len);
	put_on_the_wire(msg);
	return msg;
}

struct phone_msg *phone_send(struct phone *p, enum sh_proto proto, const char *ip, uint16_t port, const char *text,
			     size_t len)
{
	struct phone_way way = {.proto = proto};

	assert_int_equal(sh_addr_parse(&way.to, sh_slice_cstr(ip), port), 0);
	return phone_transmit(p, &way, text, len);
}

struct phone_msg *phone_resend(struct phone_msg *sent)
{
	struct phone_way way = {sent->proto, sent->remote, sent->conn};
	struct phone_msg *again = phone_transmit(sent->phone, &way, sent->text, sent->len);

	again->call = sent->call;
	again->repeat = true;
	return again;
}

static void on_resend(struct sh_timer *t)
{
	struct phone_msg *msg = SH_CONTAINER(t, struct phone_msg, timer);
	const struct sh_env *env = msg->phone->env;

	if (env->now >= msg->give_up)
		return;
	phone_resend(msg);
	msg->interval *= 2;
	if (msg->interval > PHONE_T2 && !phone_is_request(msg, SH_INVITE)) /* timer A has no limit, E and G have */
		msg->interval = PHONE_T2;
	sh_env_timer(msg->phone->env, t, msg->interval);
}

void phone_insist(struct phone_msg *sent)
{
	if (!(sent->phone->habits & PHONE_RESEND) || sent->proto != SH_PROTO_UDP)
		return;
	sent->interval = PHONE_T1;
	sent->give_up = sent->phone->env->now + GIVE_UP;
	sh_env_timer(sent->phone->env, &sent->timer, sent->interval);
}

void phone_answered(struct phone_msg *sent)
{
	sh_env_cancel(sent->phone->env, &sent->timer);
}

/* ---- life ---- */

static const struct sh_env_events events = {
    .udp_data = on_datagram,
    .udp_error = on_icmp,
    .stream_accepted = on_accepted,
    .stream_connected = on_connected,
    .stream_data = on_data,
    .stream_writable = on_writable,
    .stream_closed = on_closed,
};

struct phone *phone_create(struct sh_sim *sim, const char *ip)
{
	struct phone *p = must(calloc(1, sizeof(*p)));
	struct sh_addr bound;
	char host[SH_ADDR_TEXT];

	sh_list_init(&p->log);
	sh_list_init(&p->calls);
	sh_list_init(&p->conns);
	sh_list_init(&p->heap);
	p->scratch = must(malloc(PHONE_SCRATCH));
	p->sim = sim;
	p->env = must(sh_sim_env_create(sim, 0, 1));
	p->env->events = &events;
	p->env->events_ctx = p;
	assert_int_equal(sh_addr_parse(&p->addr, sh_slice_cstr(ip), 5060), 0);
	assert_int_equal(sh_sim_host_add_addr(p->env, &p->addr), 0);
	assert_int_equal(p->env->driver->udp_open(p->env, &p->addr, p, &p->udp, &bound), 0);
	assert_int_equal(p->env->driver->listen(p->env, &p->addr, p, &p->listener, &bound), 0);
	sh_addr_format_host(&p->addr, host);
	phone_identity(p, "phone", host);
	sh_list_append(&phones, &p->link);
	return p;
}

void phone_destroy(struct phone *p)
{
	if (!p)
		return;
	sh_list_remove(&p->link);
	sh_sim_env_stop(p->env);
	p->env->driver->udp_close(p->env, p->udp);
	p->env->driver->listen_close(p->env, p->listener);
	for (struct sh_link *l; (l = sh_list_pop(&p->conns)) != NULL;) {
		struct phone_conn *c = SH_CONTAINER(l, struct phone_conn, link);
		conn_close(c);
		free(c->in);
		free(c->out);
		free(c);
	}
	for (struct sh_link *l; (l = sh_list_pop(&p->heap)) != NULL;)
		free(SH_CONTAINER(l, struct block, link));
	free(p->scratch);
	free(p);
}

void phone_identity(struct phone *p, const char *user, const char *domain)
{
	p->name = phone_keep(p, sh_slice_cstr(user));
	p->uri = phone_printf(p, "sip:%s@%s", user, domain);
}

void phone_proxy(struct phone *p, enum sh_proto proto, const char *ip, uint16_t port)
{
	p->has_proxy = true;
	p->proxy_proto = proto;
	assert_int_equal(sh_addr_parse(&p->proxy, sh_slice_cstr(ip), port), 0);
}

void phone_login(struct phone *p, const char *user, const char *password)
{
	p->login = phone_keep(p, sh_slice_cstr(user));
	p->password = phone_keep(p, sh_slice_cstr(password));
}

void phone_auto(struct phone *p, unsigned habits)
{
	p->habits = habits;
}

/* ---- the ladder ---- */

static const struct phone_msg *next_message(const struct sh_sim *sim, uint64_t from)
{
	const struct phone_msg *next = NULL;

	SH_LIST_EACH(pl, &phones)
	{
		const struct phone *p = SH_CONTAINER(pl, struct phone, link);
		if (p->sim != sim)
			continue;
		SH_LIST_EACH(l, &p->log)
		{
			const struct phone_msg *msg = SH_CONTAINER(l, struct phone_msg, link);
			if (msg->number < from)
				continue;
			if (!next || msg->number < next->number)
				next = msg;
			break; /* the log of a phone is in order */
		}
	}
	return next;
}

static void print_rung(const struct phone_msg *msg, unsigned n)
{
	char own[SH_ADDR_TEXT], other[SH_ADDR_TEXT];
	struct sh_slice line = {msg->text, 0};

	while (line.len < msg->len && line.len < 60 && msg->text[line.len] != '\r' && msg->text[line.len] != '\n')
		line.len++;
	sh_addr_format(&msg->phone->addr, own);
	sh_addr_format(&msg->remote, other);
	print_error("%4u %12.6f  %-21s %s %-21s %s %s%.*s", n, (double)msg->at / 1e6, own, msg->sent ? "-->" : "<--",
		    other, msg->conn ? "TCP" : "UDP", msg->repeat ? "(again) " : "", SH_FMT(line));
	if (phone_is_sip(msg))
		print_error("  [%u %.*s]", msg->m.cseq, SH_FMT(phone_span(msg, msg->m.cseq_method)));
	print_error("%s\n", msg->sent || msg->consumed ? "" : "  (not expected yet)");
}

static void print_text(const struct phone_msg *msg, unsigned n)
{
	print_error("---- %u, %s by %.*s\n", n, msg->sent ? "sent" : "received",
		    SH_FMT(sh_slice_cstr(msg->phone->uri)));
	for (size_t i = 0; i < msg->len; i++) {
		if (msg->text[i] != '\r')
			print_error("%c", msg->text[i]);
	}
	print_error("\n");
}

/* First all messages as one line each, in the order of time, then the texts. */
void phone_ladder(const struct sh_sim *sim)
{
	const struct phone_msg *msg;
	unsigned n = 0;

	print_error("seed %llu, time %.6f\n", (unsigned long long)sh_sim_seed(sim), (double)sh_sim_now(sim) / 1e6);
	for (uint64_t from = 0; (msg = next_message(sim, from)) != NULL; from = msg->number + 1)
		print_rung(msg, n++);
	n = 0;
	for (uint64_t from = 0; (msg = next_message(sim, from)) != NULL; from = msg->number + 1, n++) {
		if (!msg->repeat)
			print_text(msg, n);
	}
}

void phone_fail(const struct sh_sim *sim, const char *file, int line, const char *fmt, ...)
{
	char text[1000];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	phone_ladder(sim);
	print_error("==== %s\n", text);
	_fail(file, line);
	abort(); /* cmocka has jumped away */
}

/* ---- expectations ---- */

/* "200", "2xx": the first digit and what the code must be below that; the rest of the word is `*rest`. */
static bool matches_status(unsigned status, const char *what)
{
	char digits[4];

	if (what[1] == 'x')
		return status / 100 == (unsigned)(what[0] - '0');
	snprintf(digits, sizeof(digits), "%u", status % 1000);
	return strncmp(what, digits, 3) == 0;
}

static bool matches(const struct phone_msg *msg, const char *what)
{
	const char *method = strchr(what, ' ');

	if (strcmp(what, "*") == 0)
		return true;
	if (strcmp(what, "?") == 0 || !phone_is_sip(msg))
		return strcmp(what, "?") == 0 && !phone_is_sip(msg);
	if (what[0] < '0' || what[0] > '9')
		return msg->m.is_request && sh_slice_eq(phone_span(msg, msg->m.method_name), sh_slice_cstr(what));
	return !msg->m.is_request && matches_status(msg->m.status, what) &&
	       (!method || sh_slice_eq(phone_span(msg, msg->m.cseq_method), sh_slice_cstr(method + 1)));
}

/* A pattern that can never match is a mistake of the test. */
static void check_pattern(const struct phone *p, const char *what, const char *file, int line)
{
	if (what[0] >= '0' && what[0] <= '9' && (strlen(what) < 3 || (what[3] != '\0' && what[3] != ' ')))
		phone_fail(p->sim, file, line, "'%s' is no status", what);
}

static struct phone_msg *find_waiting(const struct phone *p, const struct phone_call *c, const char *what)
{
	SH_LIST_EACH(l, &p->log)
	{
		struct phone_msg *msg = SH_CONTAINER(l, struct phone_msg, link);
		if (!msg->sent && !msg->consumed && (!c || msg->call == c) && matches(msg, what))
			return msg;
	}
	return NULL;
}

struct phone_msg *phone_expect_at(struct phone *p, const struct phone_call *c, const char *what, uint64_t timeout,
				  const char *file, int line)
{
	uint64_t end = sh_sim_now(p->sim) + timeout;
	struct phone_msg *msg;

	check_pattern(p, what, file, line);
	while (!(msg = find_waiting(p, c, what))) {
		if (!sh_sim_step_until(p->sim, end)) {
			sh_sim_run_until(p->sim, end);
			phone_fail(p->sim, file, line, "%s: no %s within %.3f s", p->uri, what, (double)timeout / 1e6);
		}
	}
	msg->consumed = true;
	return msg;
}

void phone_expect_none_at(struct phone *p, const char *what, uint64_t duration, const char *file, int line)
{
	uint64_t end = sh_sim_now(p->sim) + duration;

	check_pattern(p, what, file, line);
	do {
		if (find_waiting(p, NULL, what))
			phone_fail(p->sim, file, line, "%s: there is a %s", p->uri, what);
	} while (sh_sim_step_until(p->sim, end));
	sh_sim_run_until(p->sim, end);
}

unsigned phone_count(const struct phone *p, const char *what)
{
	unsigned n = 0;

	SH_LIST_EACH(l, &p->log)
	{
		const struct phone_msg *msg = SH_CONTAINER(l, struct phone_msg, link);
		n += !msg->sent && matches(msg, what);
	}
	return n;
}

const char *phone_value(const struct phone_msg *msg, const char *name)
{
	struct sh_slice value;

	if (!phone_is_sip(msg))
		return NULL;
	value = sh_msg_find(&msg->m, sh_slice_cstr(name), 0);
	return value.base ? phone_keep(msg->phone, value) : NULL;
}

const char *phone_body(const struct phone_msg *msg)
{
	return phone_keep(msg->phone, phone_is_sip(msg) ? phone_span(msg, msg->m.body) : SH_LIT(""));
}

void phone_assert_header_at(const struct phone_msg *msg, const char *name, const char *value, const char *file,
			    int line)
{
	const char *is = phone_value(msg, name);

	if (!is != !value || (value && strcmp(is, value) != 0))
		phone_fail(msg->phone->sim, file, line, "%s is '%s', not '%s'", name, is ? is : "(absent)",
			   value ? value : "(absent)");
}

void phone_assert_contains_at(const struct phone_msg *msg, const char *name, const char *part, const char *file,
			      int line)
{
	const char *is = phone_value(msg, name);

	if (!is || !strstr(is, part))
		phone_fail(msg->phone->sim, file, line, "%s is '%s', without '%s'", name, is ? is : "(absent)", part);
}

void phone_assert_body_at(const struct phone_msg *msg, const char *text, const char *file, int line)
{
	const char *is = phone_body(msg);

	if (strcmp(is, text) != 0)
		phone_fail(msg->phone->sim, file, line, "the body is '%s', not '%s'", is, text);
}
