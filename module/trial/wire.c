#include "trial/wire.h"

#include <errno.h>

#include "core/alloc.h"

enum { PLACES_MAX = 256 };

struct place {
	struct sh_wire *wire;
	unsigned number;
	struct sh_addr addr;
	struct sh_udp *udp;
	struct sh_listener *listener;
	struct sh_link conns;
};

struct conn {
	struct sh_link link; /* place->conns */
	struct place *place;
	struct sh_stream *stream; /* NULL: closed */
	struct sh_addr remote;
	bool connected;
	char *in, *out; /* not yet a message; not yet taken */
	size_t in_len, out_len;
};

struct sh_wire {
	struct sh_env *env;
	struct sh_link arrivals;
	unsigned count;
	struct place *places[PLACES_MAX];
};

/* ------------------------------------------------------------------ arrivals */

static void arrive(struct place *p, enum sh_proto proto, const struct sh_addr *remote, const char *data, size_t len)
{
	struct sh_arrival *a = sh_malloc(sizeof(*a) + len + 1);

	if (!a) /* lost */
		return;
	sh_list_init(&a->link);
	a->place = p->number;
	a->proto = proto;
	a->remote = *remote;
	a->at = p->wire->env->now;
	a->len = len;
	memcpy(a->data, data, len);
	a->data[len] = '\0';
	sh_list_append(&p->wire->arrivals, &a->link);
}

struct sh_arrival *sh_wire_next(const struct sh_wire *w)
{
	return sh_list_empty(&w->arrivals) ? NULL : SH_CONTAINER(w->arrivals.next, struct sh_arrival, link);
}

void sh_wire_drop(struct sh_arrival *a)
{
	sh_list_remove(&a->link);
	sh_free(a);
}

/* ------------------------------------------------------------------ datagrams */

static void on_datagram(void *ctx, void *user, const struct sh_addr *local, const struct sh_addr *remote, char *data,
			size_t len)
{
	(void)ctx, (void)local;
	arrive(user, SH_PROTO_UDP, remote, data, len);
}

static void on_icmp(void *ctx, void *user, const struct sh_addr *remote, int error, const char *data, size_t len)
{
	(void)ctx, (void)user, (void)remote, (void)error, (void)data, (void)len;
}

/* ------------------------------------------------------------------ connections */

static struct conn *conn_create(struct place *p, const struct sh_addr *remote)
{
	struct conn *c = sh_calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->place = p;
	c->remote = *remote;
	sh_list_append(&p->conns, &c->link);
	return c;
}

static void conn_destroy(struct conn *c)
{
	struct sh_env *env = c->place->wire->env;

	if (c->stream)
		env->driver->close(env, c->stream);
	sh_list_remove(&c->link);
	sh_free(c->in);
	sh_free(c->out);
	sh_free(c);
}

static bool append(char **buf, size_t *len, const char *data, size_t n)
{
	char *more = n ? sh_realloc(*buf, *len + n) : NULL;

	if (!more)
		return n == 0;
	memcpy(more + *len, data, n);
	*buf = more;
	*len += n;
	return true;
}

static void take_off(char *buf, size_t *len, size_t n)
{
	if (n == 0)
		return;
	memmove(buf, buf + n, *len - n);
	*len -= n;
}

static void conn_flush(struct conn *c)
{
	struct sh_env *env = c->place->wire->env;
	ssize_t n;

	if (!c->stream || !c->connected || c->out_len == 0)
		return;
	n = env->driver->write(env, c->stream, c->out, c->out_len);
	if (n > 0)
		take_off(c->out, &c->out_len, (size_t)n);
}

static void *on_accepted(void *ctx, void *listener_user, struct sh_stream *s, const struct sh_addr *local,
			 const struct sh_addr *remote)
{
	struct conn *c = conn_create(listener_user, remote);

	(void)ctx, (void)local;
	if (!c)
		return NULL;
	c->stream = s;
	c->connected = true;
	return c;
}

static void on_connected(void *ctx, void *user, const struct sh_addr *local)
{
	struct conn *c = user;

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
	struct conn *c = user;

	(void)ctx, (void)error;
	c->stream = NULL;
	conn_destroy(c);
}

static bool take_message(struct conn *c)
{
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
	len = total < 0 ? c->in_len : (size_t)total; /* garbage is shown as a whole */
	arrive(c->place, SH_PROTO_TCP, &c->remote, c->in, len);
	take_off(c->in, &c->in_len, len);
	return true;
}

static void on_data(void *ctx, void *user, const char *data, size_t len)
{
	struct conn *c = user;

	(void)ctx;
	append(&c->in, &c->in_len, data, len);
	while (take_message(c))
		;
}

/* One that is open to that address, or a new one; NULL: memory is out, or it was refused at once. */
static struct conn *conn_to(struct place *p, const struct sh_addr *to)
{
	struct sh_env *env = p->wire->env;
	struct sh_addr local = p->addr;
	struct conn *c;

	SH_LIST_EACH(l, &p->conns)
	{
		c = SH_CONTAINER(l, struct conn, link);
		if (c->stream && sh_addr_eq(&c->remote, to))
			return c;
	}
	c = conn_create(p, to);
	local.port = 0;
	if (c && env->driver->connect(env, &local, to, c, &c->stream) < 0) {
		c->stream = NULL;
		conn_destroy(c);
		return NULL;
	}
	return c;
}

/* ------------------------------------------------------------------ life */

static const struct sh_env_events events = {
    .udp_data = on_datagram,
    .udp_error = on_icmp,
    .stream_accepted = on_accepted,
    .stream_connected = on_connected,
    .stream_data = on_data,
    .stream_writable = on_writable,
    .stream_closed = on_closed,
};

int sh_wire_create(struct sh_wire **out, struct sh_env *env)
{
	struct sh_wire *w = sh_calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->env = env;
	sh_list_init(&w->arrivals);
	env->events = &events;
	env->events_ctx = w;
	*out = w;
	return 0;
}

static void place_destroy(struct place *p)
{
	struct sh_env *env = p->wire->env;

	while (!sh_list_empty(&p->conns))
		conn_destroy(SH_CONTAINER(p->conns.next, struct conn, link));
	if (p->udp)
		env->driver->udp_close(env, p->udp);
	if (p->listener)
		env->driver->listen_close(env, p->listener);
	sh_free(p);
}

void sh_wire_destroy(struct sh_wire *w)
{
	struct sh_arrival *a;

	if (!w)
		return;
	for (unsigned i = 0; i < w->count; i++)
		place_destroy(w->places[i]);
	while ((a = sh_wire_next(w)))
		sh_wire_drop(a);
	sh_free(w);
}

int sh_wire_listen(struct sh_wire *w, const struct sh_addr *addr, unsigned *place)
{
	struct sh_env *env = w->env;
	struct place *p;
	struct sh_addr bound;
	int err;

	if (w->count == PLACES_MAX)
		return -ENOSPC;
	p = sh_calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->wire = w;
	p->number = w->count;
	p->addr = *addr;
	sh_list_init(&p->conns);
	err = env->driver->udp_open(env, addr, p, &p->udp, &bound);
	if (!err)
		err = env->driver->listen(env, addr, p, &p->listener, &bound);
	if (err) {
		place_destroy(p);
		return err;
	}
	*place = w->count;
	w->places[w->count++] = p;
	return 0;
}

void sh_wire_send(struct sh_wire *w, unsigned place, enum sh_proto proto, const struct sh_addr *to, const char *data,
		  size_t len)
{
	struct place *p = w->places[place];
	struct conn *c;

	if (proto == SH_PROTO_UDP) {
		w->env->driver->udp_send(w->env, p->udp, &p->addr, to, data, len);
		return;
	}
	c = conn_to(p, to);
	if (c && append(&c->out, &c->out_len, data, len))
		conn_flush(c);
}

void sh_wire_hang_up(struct sh_wire *w, unsigned place)
{
	struct place *p = w->places[place];

	while (!sh_list_empty(&p->conns))
		conn_destroy(SH_CONTAINER(p->conns.next, struct conn, link));
}
