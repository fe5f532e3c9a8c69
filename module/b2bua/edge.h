/* siphook as the edge proxy of somebody else's registrar (RFC 5626 5): a REGISTER that is passed on gets a Path with a flow token, by
 * which requests come back and find the connection, or the address, that it came from.
 *
 * A token is base64url of: the transport, worker and endpoint, addresses and ports of the peer and of us, the connection's number | a code
 * of 12 octets (SipHash-2-4-128 under the process's key) over all that. So it names one flow, nothing is stored, and nobody can make
 * one up or change it (5.2). It is good as long as the process lives, or its successor by `handover`, which has the same key. Any thread. */
#ifndef SH_B2BUA_EDGE_H
#define SH_B2BUA_EDGE_H

#include "msg/writer.h"
#include "transport/transport.h"

enum { SH_FLOW_TOKEN = 96 }; /* room for its text */

size_t sh_flow_token_write(const struct sh_hash_key *key, const struct sh_path *path, char out[SH_FLOW_TOKEN]);
/* 0; -EINVAL: it has not that form; -EBADMSG: it was not made with this key. */
int sh_flow_token_read(const struct sh_hash_key *key, struct sh_slice text, struct sh_path *out);

/* What the topmost Route of a request says. 0: nothing that concerns us, or the sender's own flow ("outgoing", 5.3); 1: *out is a flow that
 * lives; 403: a token that we have not made; 430: the flow is gone. */
unsigned sh_edge_read(const struct sh_transport *t, const struct sh_hash_key *key, const struct sh_msg *m, const struct sh_path *from,
		      struct sh_path *out);
/* "Path: <sip:TOKEN@host:port;lr;ob>\r\n", for a REGISTER that came by `from` and leaves by `to`. ob: nobody was in between. */
void sh_edge_put_path(struct sh_transport *t, const struct sh_hash_key *key, const struct sh_msg *m, const struct sh_path *from,
		      const struct sh_path *to, struct sh_writer *w);

#endif
