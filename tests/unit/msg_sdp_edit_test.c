/* Codecs of a session description, kept, dropped and put in order. */
#include "msg_helpers.h"

#include "msg/sdp_edit.h"
#include "msg/uri.h"

#define HEAD "v=0\r\no=a 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
#define AUDIO                                                                                                          \
	"m=audio 4000 RTP/SAVPF 111 0 8 9 101\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n"           \
	"a=rtcp-fb:111 nack\r\na=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n"
#define VIDEO "m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"
#define FAX   "m=image 4004 udptl t38\r\na=T38FaxVersion:0\r\n"

static void gives(const char *text, enum sh_sdp_edit how, const char *list, const char *expected)
{
	struct sh_slice names[8], rest = sh_slice_cstr(list), one;
	unsigned count = 0;
	char buf[2000];
	struct sh_writer w;

	while (sh_list_next(&rest, &one))
		names[count++] = one;
	sh_writer_init(&w, buf, sizeof(buf) - 1);
	assert_int_equal(sh_sdp_edit(&w, sh_slice_cstr(text), how, names, count), 0);
	assert_false(w.full);
	buf[w.len] = 0;
	assert_string_equal(buf, expected);
}

static void what_is_not_listed_goes_with_its_lines(void **state)
{
	(void)state;
	gives(HEAD AUDIO, SH_SDP_KEEP, "PCMA, opus",
	      HEAD "m=audio 4000 RTP/SAVPF 111 8\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\na=rtcp-fb:111 nack\r\na=sendrecv\r\n");
	gives(HEAD AUDIO, SH_SDP_DROP, "OPUS, g722, pcmu, telephone-event", HEAD "m=audio 4000 RTP/SAVPF 8\r\na=sendrecv\r\n");
	gives(HEAD AUDIO, SH_SDP_KEEP, "8, 101",
	      HEAD "m=audio 4000 RTP/SAVPF 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n");
}

static void what_is_preferred_comes_first_in_the_order_of_the_list(void **state)
{
	(void)state;
	gives(HEAD "m=audio 4000 RTP/AVP 0 8 9 18\r\n", SH_SDP_PREFER, "G729, PCMA", HEAD "m=audio 4000 RTP/AVP 18 8 0 9\r\n");
	gives(HEAD "m=audio 4000 RTP/AVP 0 8\n", SH_SDP_PREFER, "PCMA", HEAD "m=audio 4000 RTP/AVP 8 0\n");
	gives(HEAD "m=audio 4000 RTP/AVP 0 8", SH_SDP_PREFER, "iLBC", HEAD "m=audio 4000 RTP/AVP 0 8");
}

static void the_rate_may_be_named(void **state)
{
	(void)state;
	gives(HEAD "m=audio 4 RTP/AVP 96 97\r\na=rtpmap:96 L16/8000\r\na=rtpmap:97 L16/16000\r\n", SH_SDP_KEEP, "L16/16000",
	      HEAD "m=audio 4 RTP/AVP 97\r\na=rtpmap:97 L16/16000\r\n");
}

static void a_stream_without_a_codec_left_is_refused_as_it_was_offered(void **state)
{
	(void)state;
	gives(HEAD "m=audio 4000 RTP/AVP 0 8\r\n" VIDEO, SH_SDP_KEEP, "PCMA",
	      HEAD "m=audio 4000 RTP/AVP 8\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n");
}

static void what_is_no_rtp_is_left_alone(void **state)
{
	(void)state;
	gives(HEAD FAX, SH_SDP_KEEP, "PCMA", HEAD FAX);
	gives(HEAD FAX, SH_SDP_DROP, "t38", HEAD FAX);
	gives(HEAD "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", SH_SDP_KEEP, "opus", HEAD "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n");
	gives(HEAD "m=broken\r\na=x\r\n" FAX, SH_SDP_KEEP, "opus", HEAD "m=broken\r\na=x\r\n" FAX);
}

static void has_finds_codecs_of_streams_that_are_not_refused(void **state)
{
	struct sh_slice text = sh_slice_cstr(HEAD AUDIO FAX "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n");

	(void)state;
	assert_true(sh_sdp_has(text, SH_LIT("opus")));
	assert_true(sh_sdp_has(text, SH_LIT("opus/48000")));
	assert_false(sh_sdp_has(text, SH_LIT("opus/8000")));
	assert_true(sh_sdp_has(text, SH_LIT("pcma")));
	assert_true(sh_sdp_has(text, SH_LIT("T38")));
	assert_false(sh_sdp_has(text, SH_LIT("VP8")));
	assert_false(sh_sdp_has(text, SH_LIT("G729")));
	assert_false(sh_sdp_has(SH_LIT("hello"), SH_LIT("PCMA")));
}

static void an_answer_becomes_an_offer(void **state)
{
	static const char answer[] = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\na=recvonly\r\nm=audio 9 RTP/AVP 111\r\n"
				     "a=sendonly \r\na=rtpmap:111 opus/48000/2\r\nm=video 0 RTP/AVP 31\na=inactive\na=inactive-not\na=mid:1";
	static const char offer[] = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\na=sendrecv\r\nm=audio 9 RTP/AVP 111\r\n"
				    "a=sendrecv\r\na=rtpmap:111 opus/48000/2\r\nm=video 0 RTP/AVP 31\na=sendrecv\r\na=inactive-not\na=mid:1";
	uint8_t noise[SH_SDP_NOISE];
	char text[600];
	struct sh_writer w;

	(void)state;
	memset(noise, 0x5a, sizeof(noise));
	sh_writer_init(&w, text, sizeof(text));
	assert_int_equal(sh_sdp_as_offer(&w, SH_LIT(answer), noise), 0);
	assert_slice(sh_writer_text(&w), offer);
	assert_int_equal(sh_sdp_as_offer(&w, SH_LIT("hello"), noise), -EINVAL);
	assert_int_equal(sh_sdp_as_offer(&w, SH_LIT(""), noise), -EINVAL);
}

/* Nobody reaches whoever said it by what is offered. */
static void ice_and_dtls_of_an_answer_lead_nowhere(void **state)
{
	static const char answer[] = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n"
				     "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\na=ice-options:trickle\r\n"
				     "a=fingerprint:sha-1 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33\r\na=setup:active\r\n"
				     "a=fingerprint:\r\n";
	static const char offer[] = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
				    "a=ice-ufrag:5A5A5A5A\r\na=ice-pwd:5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A\r\na=ice-options:trickle\r\n"
				    "a=fingerprint:sha-1 5A:5A:5A:5A:5A:5A:5A:5A:5A:5A:5A:5A:5A:5A:5A:5A:5A:5A:5A:5A\r\na=setup:actpass\r\n"
				    "a=fingerprint:\r\n";
	uint8_t noise[SH_SDP_NOISE];
	char text[600];
	struct sh_writer w;

	(void)state;
	memset(noise, 0x5a, sizeof(noise));
	sh_writer_init(&w, text, sizeof(text));
	assert_int_equal(sh_sdp_as_offer(&w, SH_LIT(answer), noise), 0);
	assert_slice(sh_writer_text(&w), offer);
}

/* What a browser needs is there, made of noise. */
static void an_offer_of_nobody_is_one_for_a_browser(void **state)
{
	uint8_t noise[SH_SDP_NOISE];
	struct sh_sdp_media media;
	char text[1200];
	struct sh_slice rest;
	struct sh_writer w;
	struct sh_sdp sdp;

	(void)state;
	memset(noise, 0x5a, sizeof(noise));
	sh_writer_init(&w, text, sizeof(text) - 1);
	sh_sdp_for_browser(&w, noise);
	assert_false(w.full);
	text[w.len] = '\0';
	assert_int_equal(sh_sdp_parse(&sdp, sh_writer_text(&w)), 0);
	rest = sdp.media;
	assert_int_equal(sh_sdp_media_next(&sdp, &rest, &media), 1);
	assert_slice(media.proto, "UDP/TLS/RTP/SAVPF");
	assert_int_equal(sh_sdp_media_next(&sdp, &rest, &media), 0);
	assert_non_null(strstr(text, "\r\na=ice-pwd:5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A\r\n"));
	assert_int_equal(strcspn(strstr(text, "sha-256 ") + 8, "\r"), 32 * 3 - 1);
	assert_non_null(strstr(text, "\r\na=setup:actpass\r\n"));
	assert_non_null(strstr(text, "\r\na=rtcp-mux\r\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_offer_of_nobody_is_one_for_a_browser),
	    cmocka_unit_test(what_is_not_listed_goes_with_its_lines),
	    cmocka_unit_test(what_is_preferred_comes_first_in_the_order_of_the_list),
	    cmocka_unit_test(the_rate_may_be_named),
	    cmocka_unit_test(a_stream_without_a_codec_left_is_refused_as_it_was_offered),
	    cmocka_unit_test(what_is_no_rtp_is_left_alone),
	    cmocka_unit_test(has_finds_codecs_of_streams_that_are_not_refused),
	    cmocka_unit_test(an_answer_becomes_an_offer),
		cmocka_unit_test(ice_and_dtls_of_an_answer_lead_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
