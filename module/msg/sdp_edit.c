#include "msg/sdp_edit.h"

#include "msg/lex.h"

enum { PAYLOADS = 128 };

/* What the payload numbers of a stream mean, read in one walk. */
struct codecs {
	struct sh_slice name[PAYLOADS];
	uint32_t rate[PAYLOADS];
};

bool sh_sdp_is_rtp(const struct sh_sdp_media *m)
{
	for (size_t i = 0; i + 4 <= m->proto.len; i++)
		if (sh_slice_istarts(sh_slice_make(m->proto.base + i, m->proto.len - i), SH_LIT("RTP/")))
			return true;
	return false;
}

static int payload_of(struct sh_slice format)
{
	uint32_t n;

	return sh_lex_uint(format, PAYLOADS - 1, &n) ? -1 : (int)n;
}

static void read_codecs(struct codecs *c, const struct sh_sdp_media *m)
{
	struct sh_sdp_media none = *m;
	struct sh_slice lines = m->text, formats = m->formats, name, value, format;
	struct sh_sdp_codec codec;

	memset(c, 0, sizeof(*c));
	none.text = (struct sh_slice){0}; /* the static meaning alone */
	for (unsigned i = 0; i < PAYLOADS && sh_sdp_format_next(&formats, &format); i++) {
		int n = payload_of(format);

		if (n < 0 || sh_sdp_codec(&none, format, &codec))
			continue;
		c->name[n] = codec.name;
		c->rate[n] = codec.rate;
	}
	while (sh_sdp_attribute_next(&lines, &name, &value)) {
		struct sh_slice rate, rest;
		uint32_t hertz;
		int n;

		if (!value.base || !sh_slice_eq(name, SH_LIT("rtpmap")) || !sh_sdp_format_next(&value, &format))
			continue;
		n = payload_of(format);
		if (n < 0)
			continue;
		sh_slice_cut(sh_slice_trim(value), '/', &c->name[n], &rate);
		sh_slice_cut(rate, '/', &rate, &rest);
		c->rate[n] = sh_lex_uint(rate, UINT32_MAX, &hertz) ? 0 : hertz;
	}
}

static bool matches(const struct codecs *c, int n, struct sh_slice wanted)
{
	struct sh_slice name, rate;
	uint32_t hertz;

	if (payload_of(wanted) == n)
		return true;
	sh_slice_cut(wanted, '/', &name, &rate);
	if (!c->name[n].len || !sh_slice_ieq(c->name[n], name))
		return false;
	return !rate.len || (!sh_lex_uint(rate, UINT32_MAX, &hertz) && hertz == c->rate[n]);
}

/* The place of a payload in the list; count: it is not there. */
static unsigned place(const struct codecs *c, int n, const struct sh_slice *names, unsigned count)
{
	unsigned i = 0;

	while (i < count && (n < 0 || !matches(c, n, names[i])))
		i++;
	return i;
}

static void put_format(struct sh_writer *w, struct sh_slice format)
{
	sh_put_char(w, ' ');
	sh_put(w, format);
}

/* The formats in their new order; how many. */
static unsigned put_formats(struct sh_writer *w, const struct sh_sdp_media *m, enum sh_sdp_edit how, const uint8_t *gone,
			    const struct codecs *c, const struct sh_slice *names, unsigned count)
{
	struct sh_slice rest, format;
	unsigned n = 0;

	for (unsigned pass = how == SH_SDP_PREFER ? 0 : count; pass <= count; pass++) {
		rest = m->formats;
		while (sh_sdp_format_next(&rest, &format)) {
			int payload = payload_of(format);

			if (payload >= 0 && gone[payload])
				continue;
			if (how == SH_SDP_PREFER && place(c, payload, names, count) != pass)
				continue;
			put_format(w, format);
			n++;
		}
	}
	return n;
}

/* A line about a payload that is gone. */
static bool concerns(struct sh_slice line, const uint8_t *gone)
{
	static const struct sh_slice about[] = {{"a=rtpmap:", 9}, {"a=fmtp:", 7}, {"a=rtcp-fb:", 10}};
	struct sh_slice format, rest;
	int n;

	for (unsigned i = 0; i < sizeof(about) / sizeof(about[0]); i++) {
		if (!sh_slice_starts(line, about[i]))
			continue;
		rest = sh_slice_make(line.base + about[i].len, line.len - about[i].len);
		n = sh_sdp_format_next(&rest, &format) ? payload_of(format) : -1;
		return n >= 0 && gone[n];
	}
	return false;
}

/* The lines behind the first one. */
static void put_lines(struct sh_writer *w, struct sh_slice lines, const uint8_t *gone)
{
	struct sh_slice line;

	while (lines.len) {
		long end = sh_slice_find(lines, '\n');
		size_t n = end < 0 ? lines.len : (size_t)end + 1;

		line = sh_slice_make(lines.base, n);
		lines = sh_slice_make(lines.base + n, lines.len - n);
		if (!gone || !concerns(line, gone))
			sh_put(w, line);
	}
}

/* "m=audio 4000 RTP/AVP", with another port or not. */
static void put_head(struct sh_writer *w, const struct sh_sdp_media *m, bool refused)
{
	if (!refused) {
		sh_put(w, sh_slice_trim(sh_slice_make(m->text.base, (size_t)(m->formats.base - m->text.base))));
		return;
	}
	sh_put_lit(w, "m=");
	sh_put(w, m->kind);
	sh_put_lit(w, " 0 ");
	sh_put(w, m->proto);
}

static void edit_media(struct sh_writer *w, const struct sh_sdp_media *m, enum sh_sdp_edit how, const struct sh_slice *names,
		       unsigned count)
{
	struct sh_slice line_end = {m->formats.base + m->formats.len, 0}, lines = m->text, first = m->formats;
	uint8_t gone[PAYLOADS] = {0};
	struct codecs codecs;
	size_t start = w->len;

	if (!sh_sdp_is_rtp(m) || !m->formats.len) {
		sh_put(w, m->text);
		return;
	}
	read_codecs(&codecs, m);
	for (int n = 0; how != SH_SDP_PREFER && n < PAYLOADS; n++)
		gone[n] = (place(&codecs, n, names, count) < count) != (how == SH_SDP_KEEP);
	lines = sh_slice_make(line_end.base, (size_t)(m->text.base + m->text.len - line_end.base));
	put_head(w, m, false);
	if (put_formats(w, m, how, gone, &codecs, names, count)) {
		put_lines(w, lines, gone);
		return;
	}
	w->len = start; /* nothing is left: the stream is refused, as it was offered */
	put_head(w, m, true);
	while (sh_sdp_format_next(&first, &line_end))
		put_format(w, line_end);
	put_lines(w, lines, NULL);
}

int sh_sdp_edit(struct sh_writer *w, struct sh_slice text, enum sh_sdp_edit how, const struct sh_slice *names, unsigned count)
{
	struct sh_sdp_media m;
	struct sh_slice rest;
	struct sh_sdp sdp;

	if (sh_sdp_parse(&sdp, text))
		return -EINVAL;
	sh_put(w, sdp.session);
	rest = sdp.media;
	while (rest.len) {
		const char *from = rest.base;
		int more = sh_sdp_media_next(&sdp, &rest, &m);

		if (more > 0)
			edit_media(w, &m, how, names, count);
		else
			sh_put(w, sh_slice_make(from, (size_t)(rest.base - from)));
	}
	return 0;
}

bool sh_sdp_has(struct sh_slice text, struct sh_slice name)
{
	struct sh_sdp_media m;
	struct sh_slice rest, formats, format;
	struct codecs codecs;
	struct sh_sdp sdp;
	int more;

	if (sh_sdp_parse(&sdp, text))
		return false;
	rest = sdp.media;
	while ((more = sh_sdp_media_next(&sdp, &rest, &m)) != 0) {
		bool rtp = more > 0 && m.port && sh_sdp_is_rtp(&m);

		if (more < 0 || !m.port)
			continue;
		if (rtp)
			read_codecs(&codecs, &m);
		formats = m.formats;
		while (sh_sdp_format_next(&formats, &format)) {
			int n = rtp ? payload_of(format) : -1;

			if (rtp ? n >= 0 && matches(&codecs, n, name) : sh_slice_ieq(format, name))
				return true;
		}
	}
	return false;
}

static void put_hex(struct sh_writer *w, uint8_t octet)
{
	static const char digits[] = "0123456789ABCDEF";

	sh_put_char(w, digits[octet >> 4]);
	sh_put_char(w, digits[octet & 15]);
}

static void put_noise(struct sh_writer *w, const uint8_t noise[SH_SDP_NOISE], unsigned from, unsigned octets)
{
	for (unsigned i = from; i < from + octets; i++)
		put_hex(w, noise[i % SH_SDP_NOISE]);
}

/* "sha-256 AB:CD...": of the same length. */
static void put_fingerprint(struct sh_writer *w, struct sh_slice value, const uint8_t noise[SH_SDP_NOISE])
{
	struct sh_slice algorithm, digest;

	sh_slice_cut(sh_slice_trim(value), ' ', &algorithm, &digest);
	sh_put(w, algorithm);
	for (unsigned i = 0; i < (sh_slice_trim(digest).len + 1) / 3; i++) {
		sh_put_char(w, i ? ':' : ' ');
		put_hex(w, noise[i % SH_SDP_NOISE]);
	}
}

enum offered { AS_IT_IS, BOTH_WAYS, GONE, SETUP, UFRAG, PASSWORD, FINGERPRINT };

/* What becomes of an attribute. */
static enum offered offered_as(struct sh_slice line, struct sh_slice *value)
{
	static const struct {
		struct sh_slice name;
		enum offered as;
	} attributes[] = {{{"sendonly", 8}, BOTH_WAYS}, {{"recvonly", 8}, BOTH_WAYS}, {{"inactive", 8}, BOTH_WAYS}, {{"candidate", 9}, GONE},
			  {{"remote-candidates", 17}, GONE}, {{"end-of-candidates", 17}, GONE}, {{"setup", 5}, SETUP}, {{"ice-ufrag", 9}, UFRAG},
			  {{"ice-pwd", 7}, PASSWORD}, {{"fingerprint", 11}, FINGERPRINT}};
	struct sh_slice name;

	if (!sh_slice_starts(line, SH_LIT("a=")))
		return AS_IT_IS;
	sh_slice_cut(sh_slice_make(line.base + 2, line.len - 2), ':', &name, value);
	for (unsigned i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
		if (sh_slice_eq(sh_slice_trim(name), attributes[i].name))
			return attributes[i].as;
	return AS_IT_IS;
}

int sh_sdp_as_offer(struct sh_writer *w, struct sh_slice text, const uint8_t noise[SH_SDP_NOISE])
{
	struct sh_slice line, value = {0};
	struct sh_sdp sdp;
	int err = sh_sdp_parse(&sdp, text);

	while (!err && text.len) {
		ptrdiff_t end = sh_slice_find(text, '\n');
		size_t n = end < 0 ? text.len : (size_t)end + 1;
		enum offered as;

		line = sh_slice_make(text.base, n);
		text = sh_slice_make(text.base + n, text.len - n);
		as = offered_as(line, &value);
		if (as == AS_IT_IS)
			sh_put(w, line);
		if (as == AS_IT_IS || as == GONE)
			continue;
		sh_put(w, as == BOTH_WAYS ? SH_LIT("a=sendrecv") : sh_slice_make(line.base, (size_t)(value.base - line.base)));
		if (as == SETUP)
			sh_put_lit(w, "actpass");
		else if (as == UFRAG)
			put_noise(w, noise, 0, 4);
		else if (as == PASSWORD)
			put_noise(w, noise, 4, 16);
		else if (as == FINGERPRINT)
			put_fingerprint(w, value, noise);
		sh_put_lit(w, "\r\n");
	}
	return err;
}

void sh_sdp_for_browser(struct sh_writer *w, const uint8_t noise[SH_SDP_NOISE])
{
	static const struct sh_slice text =
		SH_LIT("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
		       "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8 101\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n"
		       "a=ice-ufrag:x\r\na=ice-pwd:x\r\na=fingerprint:sha-256 00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:"
		       "00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00\r\na=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n"
		       "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
		       "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n");

	(void)sh_sdp_as_offer(w, text, noise);
}
