/* The WebSocket handshake of a server (RFC 6455 4.2, RFC 7118 4): an HTTP request judged, and its answer. */
#include "transport/impl.h"

#include <stdio.h>

#include "core/encode.h"
#include "msg/digest.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 1.3 */

enum { KEY_LEN = 24, ACCEPT_LEN = 28 }; /* 16 and 20 octets in base64 */

/* What the request says. Slices without a base: not there. */
struct upgrade {
	struct sh_slice host, key, version, origin;
	bool websocket, upgrade, sip; /* tokens of Upgrade, Connection and Sec-WebSocket-Protocol */
	bool twice;                   /* a field that may stand once */
};

/* ---- reading ---- */

static bool has_token(struct sh_slice list, struct sh_slice token)
{
	struct sh_slice item;

	while (list.len > 0) {
		sh_slice_cut(list, ',', &item, &list);
		if (sh_slice_ieq(sh_slice_trim(item), token))
			return true;
	}
	return false;
}

static void set_once(struct upgrade *u, struct sh_slice *field, struct sh_slice value)
{
	u->twice |= field->base != NULL;
	*field = value;
}

static void read_field(struct upgrade *u, struct sh_slice name, struct sh_slice value)
{
	if (sh_slice_ieq(name, SH_LIT("Host")))
		set_once(u, &u->host, value);
	else if (sh_slice_ieq(name, SH_LIT("Sec-WebSocket-Key")))
		set_once(u, &u->key, value);
	else if (sh_slice_ieq(name, SH_LIT("Sec-WebSocket-Version")))
		set_once(u, &u->version, value);
	else if (sh_slice_ieq(name, SH_LIT("Origin")))
		set_once(u, &u->origin, value);
	else if (sh_slice_ieq(name, SH_LIT("Upgrade")))
		u->websocket |= has_token(value, SH_LIT("websocket"));
	else if (sh_slice_ieq(name, SH_LIT("Connection")))
		u->upgrade |= has_token(value, SH_LIT("upgrade"));
	else if (sh_slice_ieq(name, SH_LIT("Sec-WebSocket-Protocol")))
		u->sip |= has_token(value, SH_LIT("sip"));
}

/* "GET /any/path HTTP/1.1" */
static bool is_request_line(struct sh_slice line)
{
	struct sh_slice method, path, version;

	return sh_slice_cut(line, ' ', &method, &line) && sh_slice_cut(line, ' ', &path, &version) &&
	       sh_slice_eq(method, SH_LIT("GET")) && path.len > 0 && sh_slice_eq(version, SH_LIT("HTTP/1.1"));
}

/* False: no HTTP. */
static bool read_request(struct upgrade *u, struct sh_slice rest)
{
	struct sh_slice line, name, value;

	*u = (struct upgrade){0};
	for (unsigned i = 0; rest.len > 0; i++) {
		if (!sh_slice_cut(rest, '\n', &line, &rest) || line.len == 0 || line.base[line.len - 1] != '\r')
			return false;
		line.len--;
		if (line.len == 0)
			return i > 0;
		if (i == 0) {
			if (!is_request_line(line))
				return false;
			continue;
		}
		if (line.base[0] == ' ' || line.base[0] == '\t' || !sh_slice_cut(line, ':', &name, &value) ||
		    name.len == 0)
			return false;
		read_field(u, name, sh_slice_trim(value));
	}
	return false;
}

/* ---- judging ---- */

static bool is_key(struct sh_slice key)
{
	if (key.len != KEY_LEN || key.base[KEY_LEN - 1] != '=' || key.base[KEY_LEN - 2] != '=')
		return false;
	for (size_t i = 0; i < KEY_LEN - 2; i++) {
		char c = key.base[i], l = sh_lower(c);
		if (!(l >= 'a' && l <= 'z') && !(c >= '0' && c <= '9') && c != '+' && c != '/')
			return false;
	}
	return true;
}

/* Only browsers send an Origin, and only for them it says something: another program writes there what it likes. */
static bool is_welcome(const struct sh_listen *l, struct sh_slice origin)
{
	if (!l->origins || !origin.base)
		return true;
	for (const char *o = l->origins; *o; o += strlen(o) + 1)
		if (sh_slice_ieq(sh_slice_cstr(o), origin))
			return true;
	return false;
}

static unsigned judge(const struct sh_listen *l, const struct upgrade *u, const char **why)
{
	if (u->twice || !u->host.base) {
		*why = u->twice ? "a header field stands there twice" : "Host is missing";
		return 400;
	}
	if (!u->websocket || !u->upgrade) {
		*why = "this is a place for WebSocket only";
		return 426;
	}
	if (!sh_slice_eq(u->version, SH_LIT("13"))) {
		*why = "the version of WebSocket is not 13";
		return 426;
	}
	if (!is_key(u->key)) {
		*why = "Sec-WebSocket-Key is missing or broken";
		return 400;
	}
	if (!is_welcome(l, u->origin)) {
		*why = "the origin is not allowed";
		return 403;
	}
	if (!u->sip) {
		*why = "the subprotocol sip is not offered";
		return 400;
	}
	return 101;
}

/* ---- answering ---- */

static const char *reason_of(unsigned status)
{
	switch (status) {
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 426:
		return "Upgrade Required";
	case 431:
		return "Request Header Fields Too Large";
	default:
		return "Internal Server Error";
	}
}

static int accept_of(struct sh_slice key, char out[ACCEPT_LEN + 1])
{
	char text[KEY_LEN + sizeof(GUID) - 1];
	unsigned char hash[20];
	int err;

	memcpy(text, key.base, KEY_LEN);
	memcpy(text + KEY_LEN, GUID, sizeof(GUID) - 1);
	err = sh_hash_octets(SH_HASH_SHA1, &(struct sh_slice){text, sizeof(text)}, 1, hash);
	if (!err)
		out[sh_base64_encode(SH_BASE64, hash, sizeof(hash), out)] = '\0';
	return err;
}

size_t sh_ws_refusal(unsigned status, const char *why, char *out, size_t size)
{
	int n = snprintf(out, size,
			 "HTTP/1.1 %u %s\r\n%sConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s\n",
			 status, reason_of(status),
			 status == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" : "", strlen(why) + 1,
			 why);

	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

unsigned sh_ws_answer(const struct sh_listen *l, struct sh_slice request, char *out, size_t size, size_t *len,
		      const char **why)
{
	char accept[ACCEPT_LEN + 1];
	struct upgrade u;
	unsigned status;

	*why = "this is no HTTP/1.1";
	status = read_request(&u, request) ? judge(l, &u, why) : 400;
	if (status == 101 && accept_of(u.key, accept) < 0) {
		*why = "out of memory";
		status = 500;
	}
	if (status == 101)
		*len = (size_t)snprintf(out, size,
					"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
					"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
					accept);
	else
		*len = sh_ws_refusal(status, *why, out, size);
	return status;
}
