/* Passwords in texts of a record: a text that proves itself against the digests (RFC 7616) which the call's own messages show is the
 * password, or the HA1, behind them, and nobody's business. */
#ifndef SH_ENGINE_SECRETS_H
#define SH_ENGINE_SECRETS_H

#include "core/arena.h"
#include "msg/digest.h"

enum { SH_SECRETS_SHOWN = 4 };

struct sh_secrets {
	struct sh_arena arena;
	struct {
		struct sh_credentials credentials;
		struct sh_slice method, body;
	} shown[SH_SECRETS_SHOWN]; /* the latest; the texts are the messages' or in the arena */
	unsigned nshown;           /* of all */
	unsigned tries;            /* that are left: each costs four hashes; behind them all is hidden */
};

void sh_secrets_init(struct sh_secrets *s);
void sh_secrets_finish(struct sh_secrets *s);
void sh_secrets_learn(struct sh_secrets *s, struct sh_slice message); /* a SIP message, which must stay where it is */
/* The text with ? in the place of each word, or of each quoted string, that is a secret. *made: memory of sh_malloc() where it is
 * another one than `text`, else NULL. 0 or -ENOMEM. */
int sh_secrets_hide(struct sh_secrets *s, struct sh_slice text, struct sh_slice *out, char **made);

#endif
