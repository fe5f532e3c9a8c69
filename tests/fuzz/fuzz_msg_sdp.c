/* Session descriptions: sections add up to the text, iterators end. */
#include <assert.h>
#include <errno.h>

#include "msg/sdp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct sh_slice whole, struct sh_slice part)
{
	assert(part.len == 0 || (part.base >= whole.base && part.base + part.len <= whole.base + whole.len));
}

static void check_attributes(struct sh_slice section)
{
	struct sh_slice rest = section, name, value, first;
	char type;

	while (sh_sdp_attribute_next(&rest, &name, &value)) {
		inside(section, name);
		inside(section, value);
		assert(rest.len < section.len);
		assert(sh_sdp_attribute(section, SH_LIT("fmtp"), &first) || !sh_slice_eq(name, SH_LIT("fmtp")));
	}
	for (rest = section; sh_sdp_line_next(&rest, &type, &value);)
		assert(value.len == 0 || value.base[value.len - 1] != '\n');
}

static void check_media(const struct sh_sdp *sdp, const struct sh_sdp_media *m)
{
	struct sh_slice rest = m->formats, format;
	struct sh_sdp_codec c;

	inside(m->text, m->kind);
	inside(m->text, m->proto);
	inside(m->text, m->formats);
	inside(sdp->text, m->connection);
	assert(m->proto.len && (unsigned)m->direction <= SH_SDP_INACTIVE);
	for (unsigned n = 0; n < 128 && sh_sdp_format_next(&rest, &format); n++) {
		inside(m->formats, format);
		if (sh_sdp_codec(m, format, &c) == 0) {
			assert(c.payload <= 127);
			inside(m->text, c.fmtp);
		}
	}
	check_attributes(m->text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sh_slice text = sh_slice_make((const char *)data, size), rest;
	struct sh_sdp sdp;
	int more;

	if (sh_sdp_parse(&sdp, text) == 0) {
		struct sh_sdp_media m;
		size_t sections = 0;

		assert(sdp.session.len + sdp.media.len == size);
		inside(sdp.session, sdp.origin);
		inside(sdp.session, sdp.connection);
		check_attributes(sdp.session);
		for (rest = sdp.media; (more = sh_sdp_media_next(&sdp, &rest, &m)) != 0;) {
			assert(more == 1 || more == -EINVAL);
			if (more != 1)
				continue;
			check_media(&sdp, &m);
			sections += m.text.len;
		}
		assert(rest.len == 0 && sections <= sdp.media.len);
	}
	return 0;
}
