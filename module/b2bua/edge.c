/* Flow tokens: see edge.h. */
#include "b2bua/edge.h"

#include <errno.h>

#include "core/encode.h"

enum {
	VERSION = 1, /* of what is below */
	KEY = 4, /* says which key, so that a code can be told from one of another key */
	ADDRESS = 19, /* family, port, octets */
	FIELDS = 1 + KEY, /* where they begin: protocol, endpoint, worker, addresses, number */
	PLAIN = FIELDS + 3 + 2 * ADDRESS + 8,
	SEAL = 12,
};

static uint8_t *put_number(uint8_t *at, uint64_t n, unsigned octets)
{
	while (octets-- > 0)
		*at++ = (uint8_t)(n >> 8 * octets);
	return at;
}

static uint64_t get_number(const uint8_t *at, unsigned octets)
{
	uint64_t n = 0;

	while (octets-- > 0)
		n = n << 8 | *at++;
	return n;
}

/* Without a zone: that of a link-local address is lost, and nobody is called there. */
static uint8_t *put_address(uint8_t *at, const struct sh_addr *a)
{
	*at++ = a->family;
	at = put_number(at, a->port, 2);
	memcpy(at, a->ip, sizeof(a->ip));
	return at + sizeof(a->ip);
}

static struct sh_addr get_address(const uint8_t *at)
{
	struct sh_addr a = {.family = at[0], .port = (uint16_t)get_number(at + 1, 2)};

	memcpy(a.ip, at + 3, sizeof(a.ip));
	return a;
}

static void name_key(const struct sh_hash_key *key, uint8_t out[KEY])
{
	struct sh_slice label = SH_LIT("flow token key");
	struct sh_id128 id = sh_mac128_slices(key, &label, 1);

	memcpy(out, &id, KEY);
}

static void seal(const struct sh_hash_key *key, const uint8_t plain[PLAIN], uint8_t out[SEAL])
{
	struct sh_slice parts[2] = {SH_LIT("flow token"), {(const char *)plain, PLAIN}};
	struct sh_id128 id = sh_mac128_slices(key, parts, 2);

	memcpy(out, &id, SEAL);
}

/* In constant time: how far a made-up code is right must not show. */
static bool same_seal(const uint8_t a[SEAL], const uint8_t b[SEAL])
{
	uint8_t differs = 0;

	for (unsigned i = 0; i < SEAL; i++)
		differs |= a[i] ^ b[i];
	return !differs;
}

size_t sh_flow_token_write(const struct sh_hash_key *key, const struct sh_path *path, char out[SH_FLOW_TOKEN])
{
	uint8_t token[PLAIN + SEAL], *at = token;

	_Static_assert(SH_BASE64_ROOM(PLAIN + SEAL) <= SH_FLOW_TOKEN, "its text has room");
	*at++ = VERSION;
	name_key(key, at);
	at += KEY;
	*at++ = path->proto;
	*at++ = path->endpoint;
	*at++ = path->worker;
	at = put_address(at, &path->local);
	at = put_address(at, &path->remote);
	put_number(at, path->flow, 8);
	seal(key, token, token + PLAIN);
	return sh_base64_encode(SH_BASE64_URL, token, sizeof(token), out);
}

int sh_flow_token_read(const struct sh_hash_key *key, struct sh_slice text, struct sh_path *out)
{
	uint8_t token[SH_BASE64_OCTETS(SH_FLOW_TOKEN)], sealed[SEAL], name[KEY];
	const uint8_t *fields = token + FIELDS;
	ssize_t octets = text.len <= SH_FLOW_TOKEN ? sh_base64_decode(SH_BASE64_URL, text, token) : -EINVAL;

	if (octets != PLAIN + SEAL || token[0] != VERSION)
		return -EINVAL;
	name_key(key, name);
	if (memcmp(name, token + 1, KEY) != 0)
		return -ESTALE;
	seal(key, token, sealed);
	if (!same_seal(sealed, token + PLAIN))
		return -EBADMSG;
	*out = (struct sh_path){.proto = fields[0],
				.endpoint = fields[1],
				.worker = fields[2],
				.local = get_address(fields + 3),
				.remote = get_address(fields + 3 + ADDRESS),
				.flow = get_number(fields + 3 + 2 * ADDRESS, 8)};
	return 0;
}

/* ------------------------------------------------------------------ Route and Path */

static bool same_flow(const struct sh_path *a, const struct sh_path *b)
{
	return a->proto == b->proto && a->flow == b->flow && sh_addr_eq(&a->remote, &b->remote);
}

unsigned sh_edge_read(const struct sh_transport *t, const struct sh_hash_key *key, const struct sh_msg *m, const struct sh_path *from,
		      struct sh_path *out)
{
	struct sh_slice list = m->first[SH_H_ROUTE] ? sh_msg_header(m, SH_H_ROUTE) : (struct sh_slice){0};
	struct sh_name_addr first;
	struct sh_uri uri;
	int err;

	if (!list.len || sh_name_addr_next(&list, &first) || sh_uri_parse(&uri, first.uri) || !uri.user.len ||
	    !sh_transport_is_local(t, &uri))
		return 0;
	err = sh_flow_token_read(key, uri.user, out);
	if (err == -EINVAL && !sh_param_find(uri.params, SH_LIT("ob"), NULL))
		return 0; /* whatever that is, it is none of ours */
	if (err == -ESTALE)
		return 430; /* whatever it named, this process never had it (9: an edge that has just rebooted) */
	if (err)
		return 403; /* 5.3.1 */
	if (same_flow(out, from))
		return 0;
	return !out->flow || sh_transport_flow_alive(t, out->flow) ? 1 : 430;
}

void sh_edge_put_path(struct sh_transport *t, const struct sh_hash_key *key, const struct sh_msg *m, const struct sh_path *from,
		      const struct sh_path *to, struct sh_writer *w)
{
	struct sh_uri uri;
	bool secure = sh_uri_parse(&uri, sh_msg_text(m, m->uri)) == 0 && uri.kind == SH_URI_SIPS;
	char token[SH_FLOW_TOKEN], buf[SH_ADDR_TEXT];
	struct sh_slice host;
	uint16_t port;

	sh_transport_sent_by(t, to, buf, &host, &port);
	sh_put_lit(w, "Path: <sip");
	if (secure)
		sh_put_char(w, 's');
	sh_put_char(w, ':');
	sh_put(w, sh_slice_make(token, sh_flow_token_write(key, from, token)));
	sh_put_char(w, '@');
	sh_put(w, host);
	sh_put_char(w, ':');
	sh_put_uint(w, port);
	if (to->proto != SH_PROTO_UDP && !(secure && to->proto == SH_PROTO_TLS)) {
		sh_put_lit(w, ";transport=");
		sh_put(w, sh_proto_param((enum sh_proto)to->proto));
	}
	sh_put_lit(w, ";lr");
	if (sh_msg_has_one_via(m))
		sh_put_lit(w, ";ob"); /* 5.1: the first hop, and nobody else */
	sh_put_lit(w, ">\r\n");
}
