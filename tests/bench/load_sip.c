#include "load.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ROUTES_MAX = 16, BRANCH_BASE = 16 };

static const char sdp[] = "v=0\r\n"
			  "o=load 71234567 71234567 IN IP4 127.0.0.1\r\n"
			  "s=-\r\n"
			  "c=IN IP4 127.0.0.1\r\n"
			  "t=0 0\r\n"
			  "m=audio 6000 RTP/AVP 8 0 101\r\n"
			  "a=rtpmap:8 PCMA/8000\r\n"
			  "a=rtpmap:0 PCMU/8000\r\n"
			  "a=rtpmap:101 telephone-event/8000\r\n"
			  "a=ptime:20\r\n";

/* ---------------------------------------------------------------- writing */

struct text {
	char *base;
	size_t len, cap;
};

/* What does not fit is cut: the answer to a broken message fails the call, and that is the right result. */
__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(t->base + t->len, t->cap - t->len, fmt, args);
	va_end(args);
	t->len += n < 0 ? 0 : (size_t)n < t->cap - t->len ? (size_t)n : t->cap - t->len - 1;
}

/* Call-IDs and tags look random, as real ones are: those that count up collide in weak hash functions. */
static uint64_t mix(const struct load *load, long index)
{
	uint64_t x = (uint64_t)load->run << 32 | (uint64_t)index;

	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static long index_of(const struct load *load, const struct call *call)
{
	return call - load->calls;
}

static unsigned user_of(const struct load *load, const struct call *call)
{
	return (unsigned)(index_of(load, call) % load->users);
}

/* What a URI of ours ends with. */
static const char *by(const struct load *load)
{
	static const char *const ends[] = {[UDP] = "", [TCP] = ";transport=tcp", [TLS] = ";transport=tls"};

	return ends[load->transport];
}

/* The branch names run, call and CSeq, so that the answer finds them; the ACK of a 2xx has one of its own. */
static void put_via(struct text *t, const struct load *load, const struct call *call, const char *method, unsigned cseq)
{
	static const char *const names[] = {[UDP] = "UDP", [TCP] = "TCP", [TLS] = "TLS"};

	put(t, "Via: SIP/2.0/%s 127.0.0.1:%u;branch=z9hG4bK%s%x.%lx.%x;rport\r\nMax-Forwards: 70\r\n",
	    names[load->transport], (unsigned)load->ports[CALLER].number, *method == 'A' ? "A" : "L", load->run,
	    (unsigned long)index_of(load, call), cseq);
}

static void put_ids(struct text *t, const struct load *load, const struct call *call, const char *method, unsigned cseq)
{
	put(t, "Call-ID: %llx@127.0.0.1\r\nCSeq: %u %s\r\n", (unsigned long long)mix(load, index_of(load, call)), cseq,
	    method);
}

static void put_from(struct text *t, const struct load *load, const struct call *call)
{
	uint64_t id = mix(load, ~index_of(load, call));

	put(t, "From: \"caller\" <sip:c%08x@127.0.0.1:%u>;tag=%x\r\n", (unsigned)(id >> 32),
	    (unsigned)load->ports[CALLER].number, (unsigned)id);
}

static void put_outside(struct text *t, const struct load *load, const struct call *call, const char *method)
{
	put(t, "%s sip:%s@%s SIP/2.0\r\n", method, load->user, load->host);
	put_via(t, load, call, method, 1);
	put_from(t, load, call);
	put_ids(t, load, call, method, 1);
	put(t, "To: <sip:%s@%s>\r\nContact: <sip:caller@127.0.0.1:%u%s>\r\n", load->user, load->host,
	    (unsigned)load->ports[CALLER].number, by(load));
	put(t, "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nUser-Agent: load\r\n");
	if (*method == 'I')
		put(t, "Content-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n%s", sizeof(sdp) - 1, sdp);
	else
		put(t, "Content-Length: 0\r\n\r\n");
}

static void put_register(struct text *t, const struct load *load, const struct call *call)
{
	unsigned cseq = call->state == PROVING ? 2 : 1, user = user_of(load, call);
	uint64_t id = mix(load, ~index_of(load, call));

	put(t, "REGISTER sip:%s SIP/2.0\r\n", load->host);
	put_via(t, load, call, "REGISTER", cseq);
	put(t, "From: <sip:u%06u@%s>;tag=%x\r\nTo: <sip:u%06u@%s>\r\n", user, load->host, (unsigned)id, user,
	    load->host);
	put_ids(t, load, call, "REGISTER", cseq);
	put(t, "Contact: <sip:u%06u@127.0.0.1:%u%s>\r\nExpires: %u\r\n%s", user,
	    (unsigned)load->ports[CALLEE].number, by(load), load->expires, call->state == PROVING ? call->keep : "");
	put(t, "User-Agent: load\r\nContent-Length: 0\r\n\r\n");
}

static void put_inside(struct text *t, const struct load *load, const struct call *call, const char *method,
		       unsigned cseq)
{
	const char *target = call->keep, *routes = target + strlen(target) + 1, *to = routes + strlen(routes) + 1;

	put(t, "%s %s SIP/2.0\r\n", method, target);
	put_via(t, load, call, method, cseq);
	put_from(t, load, call);
	put_ids(t, load, call, method, cseq);
	put(t, "%sTo: %s\r\nContent-Length: 0\r\n\r\n", routes, to);
}

static struct text begin(struct port *p)
{
	return (struct text){port_buffer(p), 0, MESSAGE_MAX};
}

/* The server, by the connection of the call. */
static struct origin server_of(const struct load *load, const struct call *call)
{
	return (struct origin){load->server, call->stream};
}

void sip_request(struct load *load, const struct call *call)
{
	struct text t = begin(&load->ports[CALLER]);
	struct origin server = server_of(load, call);

	if (call->state == ENDING)
		put_inside(&t, load, call, "BYE", 2);
	else if (load->scenario == REGISTER)
		put_register(&t, load, call);
	else
		put_outside(&t, load, call, load->scenario == INVITE ? "INVITE" : "OPTIONS");
	port_push(&load->ports[CALLER], t.len, &server);
}

void sip_ack(struct load *load, const struct call *call)
{
	struct text t = begin(&load->ports[CALLER]);
	struct origin server = server_of(load, call);

	put_inside(&t, load, call, "ACK", 1);
	port_push(&load->ports[CALLER], t.len, &server);
}

/* ---------------------------------------------------------------- reading */

struct slice {
	const char *base;
	size_t len;
};

struct field {
	struct slice name, value;
	struct slice line; /* both, with the line's end */
};

static bool is(struct slice name, const char *full, char compact)
{
	return (name.len == 1 && compact && (name.base[0] | 0x20) == compact) ||
	       (name.len == strlen(full) && strncasecmp(name.base, full, name.len) == 0);
}

/* The next header field of what is left; false at the empty line. No folding: no server of today writes it. */
static bool next_field(struct slice *left, struct field *f)
{
	const char *end = memchr(left->base, '\n', left->len), *colon;
	size_t len;

	if (!end || end - left->base < 2)
		return false;
	len = (size_t)(end + 1 - left->base);
	colon = memchr(left->base, ':', len);
	if (!colon)
		return false;
	f->line = (struct slice){left->base, len};
	f->name = (struct slice){left->base, (size_t)(colon - left->base)};
	while (f->name.len && f->name.base[f->name.len - 1] == ' ')
		f->name.len--;
	f->value.base = colon + 1;
	while (*f->value.base == ' ')
		f->value.base++;
	f->value.len = (size_t)(end - f->value.base);
	if (f->value.len && f->value.base[f->value.len - 1] == '\r')
		f->value.len--;
	*left = (struct slice){end + 1, left->len - len};
	return true;
}

static struct slice after_first_line(const char *text, size_t len)
{
	const char *end = memchr(text, '\n', len);

	return end ? (struct slice){end + 1, len - (size_t)(end + 1 - text)} : (struct slice){text, 0};
}

/* The URI of a name-addr or an addr-spec. */
static struct slice uri_of(struct slice value)
{
	const char *open = memchr(value.base, '<', value.len), *close;

	if (open) {
		close = memchr(open, '>', value.len - (size_t)(open - value.base));
		return close ? (struct slice){open + 1, (size_t)(close - open - 1)} : (struct slice){value.base, 0};
	}
	close = memchr(value.base, ';', value.len);
	return (struct slice){value.base, close ? (size_t)(close - value.base) : value.len};
}

/* One value after the other of a Record-Route, whose URIs stand in angle brackets. */
static unsigned split_routes(struct slice value, struct slice *routes, unsigned count)
{
	const char *at = value.base, *end = value.base + value.len;

	while (at < end && count < ROUTES_MAX) {
		const char *close = memchr(at, '>', (size_t)(end - at));
		const char *comma = close ? memchr(close, ',', (size_t)(end - close)) : NULL;

		if (!comma)
			comma = end;
		routes[count++] = (struct slice){at, (size_t)(comma - at)};
		at = comma + 1;
		while (at < end && *at == ' ')
			at++;
	}
	return count;
}

/* What the dialog's requests need of the 2xx: the target, the route set in reverse (RFC 3261 12.1.2), To with its tag.
 */
static char *keep_dialog(struct slice left)
{
	struct slice routes[ROUTES_MAX], to = {0}, target = {0};
	struct text t = {malloc(MESSAGE_MAX), 0, MESSAGE_MAX};
	unsigned count = 0;
	struct field f;

	while (next_field(&left, &f)) {
		if (is(f.name, "Record-Route", 0))
			count = split_routes(f.value, routes, count);
		else if (is(f.name, "To", 't'))
			to = f.value;
		else if (is(f.name, "Contact", 'm'))
			target = uri_of(f.value);
	}
	if (!t.base || !to.len || !target.len) {
		free(t.base);
		return NULL;
	}
	put(&t, "%.*s%c", (int)target.len, target.base, '\0');
	while (count--)
		put(&t, "Route: %.*s\r\n", (int)routes[count].len, routes[count].base);
	put(&t, "%c%.*s%c", '\0', (int)to.len, to.base, '\0');
	return realloc(t.base, t.len);
}

/* ---------------------------------------------------------------- digest */

static void md5(char hex[33], const char *text, size_t len)
{
	unsigned char sum[16];

	EVP_Digest(text, len, sum, NULL, EVP_md5(), NULL);
	for (size_t i = 0; i < sizeof(sum); i++)
		snprintf(hex + 2 * i, 3, "%02x", sum[i]);
}

/* The value of one parameter of a challenge, without its quotes; empty without it. */
static struct slice parameter(struct slice value, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i + len + 1 < value.len; i++) {
		const char *at = value.base + i, *end;

		if (strncasecmp(at, name, len) || at[len] != '=' || (i && !strchr(" ,", at[-1])))
			continue;
		at += len + 1;
		end = *at == '"' ? strchr(++at, '"') : at + strcspn(at, ", \r\n");
		return end ? (struct slice){at, (size_t)(end - at)} : (struct slice){at, 0};
	}
	return (struct slice){value.base, 0};
}

/* The Authorization line for a challenge of a registrar: RFC 2617 with MD5, qop auth where it is offered. */
static char *keep_credentials(const struct load *load, const struct call *call, struct slice challenge)
{
	struct slice realm = parameter(challenge, "realm"), nonce = parameter(challenge, "nonce");
	struct slice opaque = parameter(challenge, "opaque");
	bool qop = parameter(challenge, "qop").len > 0;
	unsigned user = user_of(load, call);
	char space[MESSAGE_MAX], secret[33], request[33], response[33];
	struct text t = {space, 0, sizeof(space)};

	put(&t, "u%06u:%.*s:pw%06u", user, (int)realm.len, realm.base, user);
	md5(secret, t.base, t.len);
	t.len = 0;
	put(&t, "REGISTER:sip:%s", load->host);
	md5(request, t.base, t.len);
	t.len = 0;
	put(&t, "%s:%.*s:%s%s", secret, (int)nonce.len, nonce.base, qop ? "00000001:0a4f113b:auth:" : "", request);
	md5(response, t.base, t.len);
	t.len = 0;
	put(&t, "Authorization: Digest username=\"u%06u\",realm=\"%.*s\",nonce=\"%.*s\",uri=\"sip:%s\",response=\"%s\"",
	    user, (int)realm.len, realm.base, (int)nonce.len, nonce.base, load->host, response);
	put(&t, ",algorithm=MD5%s", qop ? ",qop=auth,nc=00000001,cnonce=\"0a4f113b\"" : "");
	if (opaque.len)
		put(&t, ",opaque=\"%.*s\"", (int)opaque.len, opaque.base);
	put(&t, "\r\n");
	return strdup(t.base);
}

/* Of several challenges (RFC 8760: the strongest first) the one with MD5. */
static char *answer_challenge(const struct load *load, const struct call *call, struct slice left)
{
	struct field f;

	while (next_field(&left, &f)) {
		struct slice algorithm;

		if (!is(f.name, "WWW-Authenticate", 0))
			continue;
		algorithm = parameter(f.value, "algorithm");
		if (!algorithm.len || (algorithm.len == 3 && strncasecmp(algorithm.base, "MD5", 3) == 0))
			return keep_credentials(load, call, f.value);
	}
	return NULL;
}

/* ---------------------------------------------------------------- the two ends */

/* Our call and CSeq, by the branch of an answer's first Via. */
static struct call *call_of(const struct load *load, const char *text, unsigned *cseq)
{
	const char *branch = strstr(text, "branch=z9hG4bKL");
	unsigned long run, index;
	char *end;

	if (!branch)
		return NULL;
	run = strtoul(branch + strlen("branch=z9hG4bKL"), &end, BRANCH_BASE);
	if (*end != '.' || run != load->run)
		return NULL;
	index = strtoul(end + 1, &end, BRANCH_BASE);
	if (*end != '.' || index >= (unsigned long)load->started)
		return NULL;
	*cseq = (unsigned)strtoul(end + 1, NULL, BRANCH_BASE);
	return &load->calls[index];
}

/* The callee keeps nothing: its tag follows from the Call-ID, and a request that comes again is answered again. */
static void answer(struct load *load, struct port *port, const char *text, size_t len, const struct origin *from)
{
	bool invite = strncmp(text, "INVITE ", 7) == 0, ringing = invite;
	struct slice left = after_first_line(text, len), to = {0};
	char space[MESSAGE_MAX];
	struct text copied = {space, 0, sizeof(space)};
	unsigned tag = 2166136261u;
	struct field f;

	if (strncmp(text, "ACK ", 4) == 0)
		return;
	while (next_field(&left, &f)) {
		bool id = is(f.name, "Call-ID", 'i');

		if (is(f.name, "To", 't'))
			to = f.value;
		else if (id || is(f.name, "Via", 'v') || is(f.name, "From", 'f') || is(f.name, "CSeq", 0) ||
			 (invite && is(f.name, "Record-Route", 0)))
			put(&copied, "%.*s", (int)f.line.len, f.line.base);
		for (size_t i = 0; id && i < f.value.len; i++)
			tag = (tag ^ (unsigned char)f.value.base[i]) * 16777619u;
	}
	if (!to.len) {
		load->strange++;
		return;
	}
	do {
		struct text t = begin(port);

		put(&t, "SIP/2.0 %s\r\n%sTo: %.*s", ringing ? "180 Ringing" : "200 OK", copied.base, (int)to.len,
		    to.base);
		if (!memmem(to.base, to.len, ";tag=", 5))
			put(&t, ";tag=s%x", tag);
		put(&t, "\r\n");
		if (invite)
			put(&t, "Contact: <sip:callee@127.0.0.1:%u%s>\r\n", (unsigned)port->number, by(load));
		if (invite && !ringing)
			put(&t, "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nContent-Type: application/sdp\r\n");
		put(&t, "Content-Length: %zu\r\n\r\n%s", invite && !ringing ? sizeof(sdp) - 1 : 0,
		    invite && !ringing ? sdp : "");
		port_push(port, t.len, from);
	} while (ringing && !(ringing = false));
}

void sip_callee(char *text, size_t len, const struct origin *from, double at, void *ctx)
{
	struct load *load = ctx;

	(void)at;
	answer(load, &load->ports[CALLEE], text, len, from);
}

/* The ACK of a failure belongs to the INVITE's transaction: the same URI and branch (RFC 3261 17.1.1.3). */
static void ack_failure(struct load *load, const struct call *call, struct slice left)
{
	struct text t = begin(&load->ports[CALLER]);
	struct origin server = server_of(load, call);
	struct slice to = {0};
	struct field f;

	while (next_field(&left, &f))
		if (is(f.name, "To", 't'))
			to = f.value;
	put(&t, "ACK sip:%s@%s SIP/2.0\r\n", load->user, load->host);
	put_via(&t, load, call, "INVITE", 1);
	put_from(&t, load, call);
	put_ids(&t, load, call, "ACK", 1);
	put(&t, "To: %.*s\r\nContent-Length: 0\r\n\r\n", (int)to.len, to.base);
	port_push(&load->ports[CALLER], t.len, &server);
}

static void invite_answer(struct load *load, struct call *call, int code, struct slice left, double at)
{
	if ((call->state == UP || call->state == ENDING) && code < 300) {
		load->again++; /* the 2xx again: our ACK did not arrive in time */
		sip_ack(load, call);
	} else if (call->state == INVITING && code < 200) {
		call->ringing = true;
	} else if (call->state == INVITING && code < 300 && (call->keep = keep_dialog(left))) {
		call_answered(load, call, at);
		sip_ack(load, call);
	} else if (code >= 300) {
		ack_failure(load, call, left);
		if (call->state == INVITING) {
			load->refused += code == 503;
			call_finished(load, call, at, false);
		}
	}
}

void sip_caller(char *text, size_t len, const struct origin *from, double at, void *ctx)
{
	struct load *load = ctx;
	struct slice left = after_first_line(text, len);
	struct call *call;
	unsigned cseq = 0;
	int code;

	if (strncmp(text, "SIP/2.0 ", 8)) {
		answer(load, &load->ports[CALLER], text, len, from); /* a request of the server */
		return;
	}
	code = (int)strtol(text + 8, NULL, 10);
	call = call_of(load, text, &cseq);
	if (!call) {
		load->strange++;
	} else if (load->scenario == INVITE && cseq == 1) {
		invite_answer(load, call, code, left, at);
	} else if (code < 200) {
		return;
	} else if (call->state == ASKING && cseq == 1 && load->scenario == REGISTER) {
		call->keep = code == 401 ? answer_challenge(load, call, left) : NULL;
		if (call->keep)
			call_challenged(load, call, at);
		else
			call_finished(load, call, at, code == 200); /* nobody asked for a password */
	} else if (call->state == ENDING || call->state == ASKING || (call->state == PROVING && cseq == 2)) {
		call_finished(load, call, at, code == 200);
	}
}
