#include "msg/sdp.h"

#include "msg/lex.h"

/* The next line without its line end. False at the end of the text. */
static bool raw_line(struct sh_slice *rest, struct sh_slice *line)
{
	if (rest->len == 0)
		return false;
	sh_slice_cut(*rest, '\n', line, rest);
	if (line->len && line->base[line->len - 1] == '\r')
		line->len--;
	return true;
}

bool sh_sdp_line_next(struct sh_slice *rest, char *type, struct sh_slice *value)
{
	struct sh_slice line;

	while (raw_line(rest, &line)) {
		if (line.len >= 2 && line.base[1] == '=') {
			*type = line.base[0];
			*value = sh_slice_make(line.base + 2, line.len - 2);
			return true;
		}
	}
	return false;
}

/* The next word of a line. Empty at the end. */
static struct sh_slice word_next(struct sh_slice *rest)
{
	const char *p = sh_lex_lws(rest->base, rest->base + rest->len), *end = rest->base + rest->len, *from = p;

	while (p < end && !sh_lex_is(*p, SH_LEX_LWS))
		p++;
	*rest = sh_lex_span(p, end);
	return sh_lex_span(from, p);
}

bool sh_sdp_format_next(struct sh_slice *formats, struct sh_slice *format)
{
	struct sh_slice word;

	if (formats->len == 0)
		return false;
	word = word_next(formats);
	if (word.len == 0)
		return false;
	*format = word;
	return true;
}

/* c=<nettype> <addrtype> <address>["/" ttl] */
static struct sh_slice connection_address(struct sh_slice value)
{
	struct sh_slice address, ttl;

	word_next(&value);
	word_next(&value);
	sh_slice_cut(word_next(&value), '/', &address, &ttl);
	return address;
}

static const struct sh_slice direction_names[] = {
    [SH_SDP_SENDRECV] = {"sendrecv", 8},
    [SH_SDP_SENDONLY] = {"sendonly", 8},
    [SH_SDP_RECVONLY] = {"recvonly", 8},
    [SH_SDP_INACTIVE] = {"inactive", 8},
};

struct sh_slice sh_sdp_direction_name(enum sh_sdp_direction d)
{
	return (unsigned)d <= SH_SDP_INACTIVE ? direction_names[d] : SH_LIT("");
}

enum sh_sdp_direction sh_sdp_direction_reverse(enum sh_sdp_direction d)
{
	return d == SH_SDP_SENDONLY ? SH_SDP_RECVONLY : d == SH_SDP_RECVONLY ? SH_SDP_SENDONLY : d;
}

static void read_direction(struct sh_slice attribute, enum sh_sdp_direction *out)
{
	attribute = sh_lex_trim(attribute);
	for (unsigned i = 0; i <= SH_SDP_INACTIVE; i++)
		if (sh_slice_eq(attribute, direction_names[i]))
			*out = (enum sh_sdp_direction)i;
}

/* How long the section at the start of text is: up to the next m= line behind its first line. */
static size_t section_length(struct sh_slice text, bool skip_first)
{
	struct sh_slice rest = text, line;

	if (skip_first)
		raw_line(&rest, &line);
	while (rest.len && !(rest.len >= 2 && rest.base[0] == 'm' && rest.base[1] == '='))
		raw_line(&rest, &line);
	return text.len - rest.len;
}

int sh_sdp_parse(struct sh_sdp *out, struct sh_slice text)
{
	struct sh_sdp sdp = {.text = text};
	struct sh_slice rest, value;
	size_t session;
	char type;

	if (!sh_slice_starts(text, SH_LIT("v=")))
		return -EINVAL;
	session = section_length(text, false);
	sdp.session = sh_slice_make(text.base, session);
	sdp.media = sh_slice_make(text.base + session, text.len - session);
	rest = sdp.session;
	while (sh_sdp_line_next(&rest, &type, &value)) {
		if (type == 'o')
			sdp.origin = value;
		else if (type == 'c')
			sdp.connection = connection_address(value);
		else if (type == 'a')
			read_direction(value, &sdp.direction);
	}
	*out = sdp;
	return 0;
}

/* m=<media> <port>["/" ports] <proto> <fmt> ... */
static int media_line(struct sh_slice value, struct sh_sdp_media *m)
{
	struct sh_slice port, ports;
	uint32_t n;

	m->kind = word_next(&value);
	sh_slice_cut(word_next(&value), '/', &port, &ports);
	m->proto = word_next(&value);
	m->formats = sh_lex_trim(value);
	if (m->proto.len == 0 || sh_lex_uint(port, UINT16_MAX, &n))
		return -EINVAL;
	m->port = (uint16_t)n;
	if (ports.len && sh_lex_uint(ports, UINT16_MAX, &n))
		return -EINVAL;
	m->ports = ports.len ? (uint16_t)n : 1;
	return 0;
}

int sh_sdp_media_next(const struct sh_sdp *sdp, struct sh_slice *rest, struct sh_sdp_media *out)
{
	struct sh_sdp_media m = {.connection = sdp->connection, .direction = sdp->direction};
	struct sh_slice lines, value;
	size_t n;
	char type;

	if (rest->len == 0)
		return 0;
	n = section_length(*rest, true);
	m.text = sh_slice_make(rest->base, n);
	*rest = sh_slice_make(rest->base + n, rest->len - n);
	lines = m.text;
	if (!sh_sdp_line_next(&lines, &type, &value) || type != 'm' || media_line(value, &m))
		return -EINVAL;
	while (sh_sdp_line_next(&lines, &type, &value)) {
		if (type == 'c')
			m.connection = connection_address(value);
		else if (type == 'a')
			read_direction(value, &m.direction);
	}
	*out = m;
	return 1;
}

bool sh_sdp_attribute_next(struct sh_slice *rest, struct sh_slice *name, struct sh_slice *value)
{
	struct sh_slice line;
	char type;

	while (sh_sdp_line_next(rest, &type, &line)) {
		struct sh_slice n, v;

		if (type != 'a')
			continue;
		if (!sh_slice_cut(line, ':', &n, &v))
			v = (struct sh_slice){NULL, 0};
		*name = n;
		*value = v;
		return true;
	}
	return false;
}

bool sh_sdp_attribute(struct sh_slice section, struct sh_slice name, struct sh_slice *value)
{
	struct sh_slice n, v;

	while (sh_sdp_attribute_next(&section, &n, &v)) {
		if (sh_slice_eq(n, name)) {
			if (value)
				*value = v;
			return true;
		}
	}
	return false;
}

/* Static payload types of RFC 3551 6 that still occur. */
static const struct {
	unsigned payload;
	struct sh_slice name;
	uint32_t rate;
	unsigned channels;
} static_payloads[] = {
    {0, {"PCMU", 4}, 8000, 1},   {3, {"GSM", 3}, 8000, 1},    {4, {"G723", 4}, 8000, 1},   {5, {"DVI4", 4}, 8000, 1},
    {6, {"DVI4", 4}, 16000, 1},  {7, {"LPC", 3}, 8000, 1},    {8, {"PCMA", 4}, 8000, 1},   {9, {"G722", 4}, 8000, 1},
    {10, {"L16", 3}, 44100, 2},  {11, {"L16", 3}, 44100, 1},  {12, {"QCELP", 5}, 8000, 1}, {13, {"CN", 2}, 8000, 1},
    {14, {"MPA", 3}, 90000, 1},  {15, {"G728", 4}, 8000, 1},  {16, {"DVI4", 4}, 11025, 1}, {17, {"DVI4", 4}, 22050, 1},
    {18, {"G729", 4}, 8000, 1},  {25, {"CelB", 4}, 90000, 1}, {26, {"JPEG", 4}, 90000, 1}, {28, {"nv", 2}, 90000, 1},
    {31, {"H261", 4}, 90000, 1}, {32, {"MPV", 3}, 90000, 1},  {33, {"MP2T", 4}, 90000, 1}, {34, {"H263", 4}, 90000, 1},
};

/* <encoding>/<rate>[/<channels>] */
static void read_rtpmap(struct sh_slice text, struct sh_sdp_codec *c)
{
	struct sh_slice name, rate, channels;
	uint32_t n;

	sh_slice_cut(sh_lex_trim(text), '/', &name, &rate);
	sh_slice_cut(rate, '/', &rate, &channels);
	c->name = name;
	c->rate = sh_lex_uint(rate, UINT32_MAX, &n) ? 0 : n;
	c->channels = sh_lex_uint(channels, 255, &n) ? 1 : n;
}

int sh_sdp_codec(const struct sh_sdp_media *media, struct sh_slice format, struct sh_sdp_codec *out)
{
	struct sh_sdp_codec c = {.channels = 1};
	struct sh_slice lines = media->text, name, value;
	uint32_t n;

	if (sh_lex_uint(format, 127, &n))
		return -EINVAL;
	c.payload = n;
	for (size_t i = 0; i < sizeof(static_payloads) / sizeof(static_payloads[0]); i++) {
		if (static_payloads[i].payload == n) {
			c.name = static_payloads[i].name;
			c.rate = static_payloads[i].rate;
			c.channels = static_payloads[i].channels;
		}
	}
	while (sh_sdp_attribute_next(&lines, &name, &value)) {
		bool is_map = sh_slice_eq(name, SH_LIT("rtpmap")), is_fmtp = sh_slice_eq(name, SH_LIT("fmtp"));

		if (!value.base || (!is_map && !is_fmtp) || !sh_slice_eq(word_next(&value), format))
			continue;
		if (is_map)
			read_rtpmap(value, &c);
		else
			c.fmtp = sh_lex_trim(value);
	}
	*out = c;
	return 0;
}
