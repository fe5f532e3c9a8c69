/* Session descriptions with other codecs (RFC 4566, RFC 3264): what a script keeps, drops or prefers. Nothing else of the
 * text changes: lines, their order and line ends stay. Only media over RTP have codecs; a fax or a data channel is left
 * alone. A stream of which nothing remains is refused with port 0 (RFC 3264 6, 8.2). Linear; any thread. */
#ifndef SH_MSG_SDP_EDIT_H
#define SH_MSG_SDP_EDIT_H

#include "msg/sdp.h"
#include "msg/writer.h"

enum sh_sdp_edit {
	SH_SDP_KEEP,   /* these and no others, in the order of the text */
	SH_SDP_DROP,   /* all but these */
	SH_SDP_PREFER, /* these first, in the order of the list */
};

/* names: "PCMA", "opus/48000" or a payload number, in any case. 0; -EINVAL: no session description; the writer may be full. */
int sh_sdp_edit(struct sh_writer *w, struct sh_slice text, enum sh_sdp_edit how, const struct sh_slice *names, unsigned count);

/* What somebody said to somebody else, as an offer that can be answered and is replaced then: streams that flow both ways (RFC
 * 3264 5.1). Where it has ICE and DTLS they lead nowhere: no candidates, and password and fingerprint made of noise, so that
 * nothing is begun with whoever said it (RFC 8445 9, RFC 5763 5). 0; -EINVAL: no session description. */
enum { SH_SDP_NOISE = 32 };
int sh_sdp_as_offer(struct sh_writer *w, struct sh_slice text, const uint8_t noise[SH_SDP_NOISE]);
/* The same of nobody: one stream of audio as a browser wants it (RFC 8829), which leads nowhere either. */
void sh_sdp_for_browser(struct sh_writer *w, const uint8_t noise[SH_SDP_NOISE]);

/* A stream that is not refused has that codec; also "t38" and other formats that are no RTP. */
bool sh_sdp_has(struct sh_slice text, struct sh_slice name);

bool sh_sdp_is_rtp(const struct sh_sdp_media *m); /* its formats are payload numbers */

#endif
