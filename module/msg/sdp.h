/* A tolerant reader of session descriptions (RFC 4566, RFC 8866; directions: RFC 3264 5.1). It gives slices of the body
 * and changes nothing: bodies pass from leg to leg untouched, and what a phone wrote is not ours to refuse. Lines may
 * end in CRLF, LF or the end of the text, come in any order and be of unknown type; those without '=' are passed over.
 * Linear, without allocation; every iterator takes from a slice that the caller keeps. Any thread. */
#ifndef SH_MSG_SDP_H
#define SH_MSG_SDP_H

#include "core/slice.h"

enum sh_sdp_direction { SH_SDP_SENDRECV, SH_SDP_SENDONLY, SH_SDP_RECVONLY, SH_SDP_INACTIVE };

struct sh_sdp {
	struct sh_slice text;       /* all of it */
	struct sh_slice session;    /* the session section: up to the first m= line */
	struct sh_slice media;      /* from the first m= line on; empty when there is none */
	struct sh_slice origin;     /* value of o=, or empty */
	struct sh_slice connection; /* the address of the session's c=, without network and address type, or empty */
	enum sh_sdp_direction direction; /* of media that do not say their own */
};

struct sh_sdp_media {
	struct sh_slice text;       /* the whole section, its m= line included */
	struct sh_slice kind;       /* "audio" */
	uint16_t port;              /* 0: refused or ended */
	uint16_t ports;             /* of "port/ports"; 1 when not given */
	struct sh_slice proto;      /* "RTP/AVP" */
	struct sh_slice formats;    /* "0 8 101": see sh_sdp_format_next() */
	struct sh_slice connection; /* its own address, or else the session's */
	enum sh_sdp_direction direction;
};

struct sh_sdp_codec {
	unsigned payload;     /* 0 .. 127 */
	struct sh_slice name; /* "PCMA", from a=rtpmap or RFC 3551; empty when unknown */
	uint32_t rate;        /* 0 when unknown */
	unsigned channels;    /* 1 when not given */
	struct sh_slice fmtp; /* its format parameters, or empty */
};

/* 0, or -EINVAL when the text does not begin with a v= line (it is no session description). */
int sh_sdp_parse(struct sh_sdp *out, struct sh_slice text);

/* Takes the next media section off *rest, which starts as sdp->media. 1: *out is filled in. 0: no more.
 * -EINVAL: its m= line cannot be read (*rest has moved behind the section). */
int sh_sdp_media_next(const struct sh_sdp *sdp, struct sh_slice *rest, struct sh_sdp_media *out);

/* Takes the next line off *rest: its letter and its value. False at the end. */
bool sh_sdp_line_next(struct sh_slice *rest, char *type, struct sh_slice *value);

/* Takes the next a= line off *rest, which starts as sdp->session or media->text. "a=name:value"; value has no base when
 * there is no colon. False at the end. */
bool sh_sdp_attribute_next(struct sh_slice *rest, struct sh_slice *name, struct sh_slice *value);

/* The first attribute of that name. value may be NULL. */
bool sh_sdp_attribute(struct sh_slice section, struct sh_slice name, struct sh_slice *value);

/* Takes the next format off *formats, which starts as media->formats. False at the end. */
bool sh_sdp_format_next(struct sh_slice *formats, struct sh_slice *format);

/* What a format of RTP media means. 0, or -EINVAL when it is no payload number. Costs one walk through the section: who
 * reads all formats stops after 128 of them, there are no more payload numbers. */
int sh_sdp_codec(const struct sh_sdp_media *media, struct sh_slice format, struct sh_sdp_codec *out);

struct sh_slice sh_sdp_direction_name(enum sh_sdp_direction d);
/* The direction that answers d (RFC 3264 6.1): sendonly and recvonly change places. */
enum sh_sdp_direction sh_sdp_direction_reverse(enum sh_sdp_direction d);

#endif
