/* Datagrams: one is one message. The receive path neither allocates nor copies. */
#include "transport/impl.h"

enum { DATAGRAM_MAX = 65507 }; /* what IPv4 carries in UDP */

static bool is_blank(char c)
{
	return c == '\r' || c == '\n' || c == ' ' || c == '\0';
}

/* What phones send to keep a NAT binding open: nothing, CRLFs, four NULs, or a STUN request (RFC 5626 3.5.2). SIP begins
 * with a letter, so that one look is enough for it. */
static bool is_keep_alive(const char *data, size_t len)
{
	size_t n = 0;

	if (len > 0 && (unsigned char)data[0] > ' ')
		return false;
	if (sh_stun_is(data, len))
		return true;
	while (n < len && is_blank(data[n]))
		n++;
	return n == len;
}

static void answer_stun(struct sh_listen *l, const struct sh_path *from, const char *data, size_t len)
{
	struct sh_transport *t = l->t;
	uint8_t answer[SH_STUN_ANSWER];
	size_t n = sh_door_admits_connection(t, &from->remote, 1) ? sh_stun_answer(answer, data, len, &from->remote) : 0;

	if (n > 0)
		t->env->driver->udp_send(t->env, l->udp, &from->local, &from->remote, (const char *)answer, n);
}

void sh_udp_receive(struct sh_listen *l, const struct sh_addr *local, const struct sh_addr *remote, const char *data,
		    size_t len)
{
	struct sh_transport *t = l->t;
	struct sh_path from = {.proto = SH_PROTO_UDP, .endpoint = l->index, .worker = (uint8_t)t->env->worker, .remote = *remote};

	t->stats.datagrams_in++;
	if (sh_addr_is_source(local))
		from.local = *local;
	if (is_keep_alive(data, len)) {
		t->stats.keepalives++;
		if (t->beats.count)
			sh_beat_came(t, remote);
		if (sh_stun_is(data, len))
			answer_stun(l, &from, data, len);
		return;
	}
	sh_listen_saw(l, local);
	sh_transport_receive(t, &from, data, len);
}

int sh_udp_transmit(struct sh_transport *t, const struct sh_path *path, struct sh_slice text)
{
	struct sh_listen *l = path->remote.family ? sh_listen_for(t, path) : NULL;
	struct sh_addr from = {0};

	if (!l || path->remote.port == 0)
		return -EHOSTUNREACH;
	if (text.len > DATAGRAM_MAX)
		return -EMSGSIZE;
	if (path->local.family == path->remote.family)
		from = path->local;
	t->stats.datagrams_out++;
	t->env->driver->udp_send(t->env, l->udp, &from, &path->remote, text.base, text.len);
	return 0;
}

/* ---- what came back ---- */

/* Takes a whole line off *rest, without its end; false when only a part of one is left. */
static bool next_line(struct sh_slice *rest, struct sh_slice *line)
{
	if (sh_slice_find(*rest, '\n') < 0)
		return false;
	sh_slice_cut(*rest, '\n', line, rest);
	if (line->len > 0 && line->base[line->len - 1] == '\r')
		line->len--;
	return true;
}

struct sh_slice sh_udp_branch(struct sh_slice start)
{
	const struct sh_slice none = {NULL, 0};
	struct sh_slice line, name, value, branch, via;

	if (!next_line(&start, &line))
		return none;
	while (next_line(&start, &line) && line.len > 0) {
		if (!sh_slice_cut(line, ':', &name, &value))
			continue;
		name = sh_slice_trim(name);
		if (!sh_slice_ieq(name, SH_LIT("Via")) && !sh_slice_ieq(name, SH_LIT("v")))
			continue;
		if (!sh_list_next(&value, &via) || !sh_slice_cut(via, ';', &name, &value))
			return none;
		return sh_param_find(value, SH_LIT("branch"), &branch) ? branch : none;
	}
	return none;
}
