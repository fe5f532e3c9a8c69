/* Session descriptions: what is read out of good ones, and that odd ones harm nobody. */
#include "msg_helpers.h"

#include "msg/sdp.h"

static struct sh_sdp parse(const char *text)
{
	struct sh_sdp sdp = {.direction = SH_SDP_INACTIVE};

	assert_int_equal(sh_sdp_parse(&sdp, sh_slice_cstr(text)), 0);
	return sdp;
}

static struct sh_sdp_media first_media(const char *text)
{
	struct sh_sdp sdp = parse(text);
	struct sh_sdp_media m = {.port = 0};

	assert_int_equal(sh_sdp_media_next(&sdp, &sdp.media, &m), 1);
	return m;
}

static const char offer[] = "v=0\r\n"
			    "o=- 1 2 IN IP4 192.0.2.1\r\n"
			    "s= \r\n"
			    "c=IN IP4 192.0.2.1\r\n"
			    "t=0 0\r\n"
			    "a=sendonly\r\n"
			    "a=group:BUNDLE 1 2\r\n"
			    "m=audio 49170/2 RTP/AVP 0 8 97 101\r\n"
			    "a=rtpmap:97 opus/48000/2\r\n"
			    "a=fmtp:97 useinbandfec=1; maxptime=20 \r\n"
			    "a=rtpmap:101 telephone-event/8000\r\n"
			    "a=fmtp:101 0-15\r\n"
			    "a=rtpmap:8 PCMA/8000/1\r\n"
			    "m=video 0 RTP/SAVPF 31\r\n"
			    "c=IN IP6 ff15::101/3\r\n"
			    "a=inactive\r\n"
			    "m=message 5060 TCP/MSRP *\r\n";

static void a_description_is_taken_apart(void **state)
{
	struct sh_sdp sdp = parse(offer);
	struct sh_slice rest = sdp.media, value;
	struct sh_sdp_media m;

	(void)state;
	assert_slice(sdp.origin, "- 1 2 IN IP4 192.0.2.1");
	assert_slice(sdp.connection, "192.0.2.1");
	assert_int_equal(sdp.direction, SH_SDP_SENDONLY);
	assert_int_equal(sdp.session.len + sdp.media.len, sizeof(offer) - 1);
	assert_true(sh_sdp_attribute(sdp.session, SH_LIT("group"), &value));
	assert_slice(value, "BUNDLE 1 2");
	assert_true(sh_sdp_attribute(sdp.session, SH_LIT("sendonly"), &value));
	assert_null(value.base);
	assert_false(sh_sdp_attribute(sdp.session, SH_LIT("rtpmap"), NULL));

	assert_int_equal(sh_sdp_media_next(&sdp, &rest, &m), 1);
	assert_slice(m.kind, "audio");
	assert_int_equal(m.port, 49170);
	assert_int_equal(m.ports, 2);
	assert_slice(m.proto, "RTP/AVP");
	assert_slice(m.formats, "0 8 97 101");
	assert_slice(m.connection, "192.0.2.1");
	assert_int_equal(m.direction, SH_SDP_SENDONLY);
	assert_true(sh_slice_starts(m.text, SH_LIT("m=audio")));

	assert_int_equal(sh_sdp_media_next(&sdp, &rest, &m), 1);
	assert_slice(m.kind, "video");
	assert_int_equal(m.port, 0);
	assert_int_equal(m.ports, 1);
	assert_slice(m.connection, "ff15::101");
	assert_int_equal(m.direction, SH_SDP_INACTIVE);
	assert_slice(m.text, "m=video 0 RTP/SAVPF 31\r\nc=IN IP6 ff15::101/3\r\na=inactive\r\n");

	assert_int_equal(sh_sdp_media_next(&sdp, &rest, &m), 1);
	assert_slice(m.formats, "*");
	assert_slice(m.connection, "192.0.2.1");
	assert_int_equal(sh_sdp_media_next(&sdp, &rest, &m), 0);
}

static void codecs_come_from_rtpmap_or_rfc_3551(void **state)
{
	struct sh_sdp_media m = first_media(offer);
	struct sh_slice rest = m.formats, format;
	struct sh_sdp_codec c = {.payload = 999};

	(void)state;
	assert_true(sh_sdp_format_next(&rest, &format));
	assert_int_equal(sh_sdp_codec(&m, format, &c), 0);
	assert_int_equal(c.payload, 0);
	assert_slice(c.name, "PCMU");
	assert_int_equal(c.rate, 8000);
	assert_int_equal(c.channels, 1);
	assert_slice(c.fmtp, "");
	assert_true(sh_sdp_format_next(&rest, &format));
	assert_int_equal(sh_sdp_codec(&m, format, &c), 0);
	assert_slice(c.name, "PCMA");
	assert_true(sh_sdp_format_next(&rest, &format));
	assert_int_equal(sh_sdp_codec(&m, format, &c), 0);
	assert_slice(c.name, "opus");
	assert_int_equal(c.rate, 48000);
	assert_int_equal(c.channels, 2);
	assert_slice(c.fmtp, "useinbandfec=1; maxptime=20");
	assert_true(sh_sdp_format_next(&rest, &format));
	assert_int_equal(sh_sdp_codec(&m, format, &c), 0);
	assert_slice(c.name, "telephone-event");
	assert_slice(c.fmtp, "0-15");
	assert_false(sh_sdp_format_next(&rest, &format));

	assert_int_equal(sh_sdp_codec(&m, SH_LIT("96"), &c), 0);
	assert_slice(c.name, "");
	assert_int_equal(c.rate, 0);
	c.payload = 999;
	assert_int_equal(sh_sdp_codec(&m, SH_LIT("128"), &c), -EINVAL);
	assert_int_equal(sh_sdp_codec(&m, SH_LIT("*"), &c), -EINVAL);
	assert_int_equal(sh_sdp_codec(&m, SH_LIT(""), &c), -EINVAL);
	assert_int_equal(c.payload, 999);
}

static void odd_rtpmaps_are_read_as_far_as_they_go(void **state)
{
	struct sh_sdp_media m = first_media("v=0\nm=audio 1 RTP/AVP 96 97 98\na=rtpmap:96\na=rtpmap:97 x\n"
					    "a=rtpmap:98 y/99999999999/300\na=rtpmap:980 no/1\na=fmtp\na=fmtp:98");
	struct sh_sdp_codec c;

	(void)state;
	assert_int_equal(sh_sdp_codec(&m, SH_LIT("96"), &c), 0);
	assert_slice(c.name, "");
	assert_int_equal(sh_sdp_codec(&m, SH_LIT("97"), &c), 0);
	assert_slice(c.name, "x");
	assert_int_equal(c.rate, 0);
	assert_int_equal(sh_sdp_codec(&m, SH_LIT("98"), &c), 0);
	assert_slice(c.name, "y");
	assert_int_equal(c.rate, 0);
	assert_int_equal(c.channels, 1);
	assert_slice(c.fmtp, "");
}

static void any_line_end_order_and_unknown_line_is_fine(void **state)
{
	struct sh_sdp sdp = parse("v=0\nnonsense\n\nx=y\na=recvonly \r\nc=IN IP4 0.0.0.0\no=o\n=\nm");
	struct sh_sdp_media m;

	(void)state;
	assert_int_equal(sdp.direction, SH_SDP_RECVONLY);
	assert_slice(sdp.connection, "0.0.0.0");
	assert_slice(sdp.origin, "o");
	assert_int_equal(sdp.media.len, 0);
	assert_int_equal(sh_sdp_media_next(&sdp, &sdp.media, &m), 0);
	sdp = parse("v=0");
	assert_slice(sdp.origin, "");
	assert_int_equal(sdp.direction, SH_SDP_SENDRECV);
	sdp = parse("v=0\nc=IN\nm=audio 1 RTP/AVP");
	assert_slice(sdp.connection, "");
	assert_int_equal(sh_sdp_media_next(&sdp, &sdp.media, &m), 1);
	assert_slice(m.formats, "");
	assert_false(sh_sdp_format_next(&m.formats, &m.kind));
}

static void what_is_no_description_is_refused(void **state)
{
	static const char *const bad[] = {"", "v", "V=0\r\n", "\r\nv=0\r\n", "<xml/>", "m=audio 1 RTP/AVP 0\r\n"};
	struct sh_sdp sdp = {.direction = SH_SDP_INACTIVE};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(sh_sdp_parse(&sdp, sh_slice_cstr(bad[i])), -EINVAL);
	assert_int_equal(sh_sdp_parse(&sdp, (struct sh_slice){NULL, 0}), -EINVAL);
	assert_int_equal(sdp.direction, SH_SDP_INACTIVE);
}

static void a_broken_media_line_is_passed_over(void **state)
{
	static const char *const bad[] = {"m=",
					  "m=audio",
					  "m=audio 1",
					  "m=audio x RTP/AVP 0",
					  "m=audio 65536 RTP/AVP 0",
					  "m=audio 1/x RTP/AVP 0",
					  "m=audio -1 RTP/AVP 0"};
	char text[128];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sh_sdp_media m = {.port = 7};
		struct sh_sdp sdp;

		snprintf(text, sizeof(text), "v=0\r\n%s\r\na=x\r\nm=video 9 RTP/AVP 31\r\n", bad[i]);
		sdp = parse(text);
		assert_int_equal(sh_sdp_media_next(&sdp, &sdp.media, &m), -EINVAL);
		assert_int_equal(m.port, 7);
		assert_int_equal(sh_sdp_media_next(&sdp, &sdp.media, &m), 1);
		assert_int_equal(m.port, 9);
		assert_int_equal(sh_sdp_media_next(&sdp, &sdp.media, &m), 0);
	}
}

static void attributes_are_walked_in_order(void **state)
{
	struct sh_slice rest = SH_LIT("v=0\na=x\nb=AS:1\na=y:1:2\r\na=z:\na="), name, value;

	(void)state;
	assert_true(sh_sdp_attribute_next(&rest, &name, &value));
	assert_slice(name, "x");
	assert_null(value.base);
	assert_true(sh_sdp_attribute_next(&rest, &name, &value));
	assert_slice(name, "y");
	assert_slice(value, "1:2");
	assert_true(sh_sdp_attribute_next(&rest, &name, &value));
	assert_slice(name, "z");
	assert_non_null(value.base);
	assert_int_equal(value.len, 0);
	assert_true(sh_sdp_attribute_next(&rest, &name, &value));
	assert_slice(name, "");
	assert_false(sh_sdp_attribute_next(&rest, &name, &value));
}

static void directions_answer_each_other(void **state)
{
	static const struct {
		enum sh_sdp_direction d, answer;
		const char *name;
	} cases[] = {
	    {SH_SDP_SENDRECV, SH_SDP_SENDRECV, "sendrecv"},
	    {SH_SDP_SENDONLY, SH_SDP_RECVONLY, "sendonly"},
	    {SH_SDP_RECVONLY, SH_SDP_SENDONLY, "recvonly"},
	    {SH_SDP_INACTIVE, SH_SDP_INACTIVE, "inactive"},
	};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		char text[64];

		assert_int_equal(sh_sdp_direction_reverse(cases[i].d), cases[i].answer);
		assert_slice(sh_sdp_direction_name(cases[i].d), cases[i].name);
		snprintf(text, sizeof(text), "v=0\nm=audio 1 RTP/AVP 0\na=%s", cases[i].name);
		assert_int_equal(first_media(text).direction, cases[i].d);
	}
	assert_int_equal(first_media("v=0\na=inactive\nm=audio 1 RTP/AVP 0\na=sendrecv\n").direction, SH_SDP_SENDRECV);
	assert_int_equal(first_media("v=0\nm=audio 1 RTP/AVP 0\na=SENDONLY\n").direction, SH_SDP_SENDRECV);
}

static void every_cut_of_a_description_is_safe(void **state)
{
	(void)state;
	for (size_t n = 0; n < sizeof(offer); n++) {
		char *copy = malloc(n ? n : 1);
		struct sh_slice format;
		struct sh_sdp_codec c;
		struct sh_sdp_media m;
		struct sh_sdp sdp;
		int more;

		assert_non_null(copy);
		memcpy(copy, offer, n);
		if (sh_sdp_parse(&sdp, sh_slice_make(copy, n)) == 0) {
			while ((more = sh_sdp_media_next(&sdp, &sdp.media, &m)) != 0)
				while (more == 1 && sh_sdp_format_next(&m.formats, &format))
					sh_sdp_codec(&m, format, &c);
		} else {
			assert_true(n < 2);
		}
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_description_is_taken_apart),
	    cmocka_unit_test(codecs_come_from_rtpmap_or_rfc_3551),
	    cmocka_unit_test(odd_rtpmaps_are_read_as_far_as_they_go),
	    cmocka_unit_test(any_line_end_order_and_unknown_line_is_fine),
	    cmocka_unit_test(what_is_no_description_is_refused),
	    cmocka_unit_test(a_broken_media_line_is_passed_over),
	    cmocka_unit_test(attributes_are_walked_in_order),
	    cmocka_unit_test(directions_answer_each_other),
	    cmocka_unit_test(every_cut_of_a_description_is_safe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
