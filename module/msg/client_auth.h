/* The digest client: what somebody who has passwords answers to 401 and 407 (RFC 3261 22.2, 22.3; RFC 7616 3.3 to 3.6;
 * RFC 8760 2.4). It remembers each realm's last challenge, so that the next request need not be challenged again, and
 * counts how often a nonce was used.
 *
 * Of one realm's challenges the topmost counts whose algorithm we know; several realms are answered at the same time.
 * Of qop, auth is taken before auth-int. Shared by reference count; on one thread. */
#ifndef SH_MSG_CLIENT_AUTH_H
#define SH_MSG_CLIENT_AUTH_H

#include "core/random.h"
#include "msg/digest.h"
#include "msg/writer.h"

enum { SH_CLIENT_REALMS = 8, SH_CLIENT_LOGINS = 8 };

/* realm empty: for every realm that has no login of its own. */
struct sh_login {
	struct sh_slice user, password, realm;
};

struct sh_client_auth;

/* At most SH_CLIENT_LOGINS; copied. 0, -EINVAL (none, too many, a login without a user) or -ENOMEM. */
int sh_client_auth_create(struct sh_client_auth **out, const struct sh_login *logins, unsigned count);
struct sh_client_auth *sh_client_auth_ref(struct sh_client_auth *a); /* NULL is fine */
void sh_client_auth_unref(struct sh_client_auth *a);                 /* NULL is fine; wipes the passwords */

/* Learns the challenges of a 401 or 407. *seen belongs to one request: 0 when it is first sent, left alone from one
 * challenge to the next. 0: send it again with sh_client_auth_put. -EACCES: no login for any of its realms, or the
 * one that was tried is wrong (a fresh challenge without stale=true, RFC 3261 22.2), or this goes on and on;
 * -ENOTSUP: only algorithms or qop that we do not do; -EBADMSG: no challenge that can be read; -ENOMEM. */
int sh_client_auth_learn(struct sh_client_auth *a, const struct sh_msg *response, struct sh_random *random,
			 uint32_t *seen);

/* Something was learnt: there is what to put. */
bool sh_client_auth_ready(const struct sh_client_auth *a);
/* Authorization and Proxy-Authorization lines for a request, one for each realm; each call counts its nonces up. When
 * memory is out the writer is left full. */
void sh_client_auth_put(struct sh_client_auth *a, struct sh_writer *w, struct sh_slice method, struct sh_slice uri,
			struct sh_slice body);

#endif
