/* siphook as the edge proxy of somebody else's registrar (RFC 5626 5): a REGISTER that is passed on gets a Path with a flow token, by
 * which requests come back and find the connection, or the address, that it came from.
 *
 * A token is base64url of: a name of the process's key, the transport, worker and endpoint, addresses and ports of the peer and of us, the
 * connection's number | a code of 12 octets (SipHash-2-4-128 under that key) over all that. So it names one flow, nothing is stored, and
 * nobody can make one up or change it (5.2). It is good as long as the process lives. A successor by `handover` has the same key: a token
 * of datagrams is good there too, while the listeners keep their order. One of a connection is not, since connections stay with the old
 * process: it is a 430, or with several workers nobody hears, until the phone registers by a new connection. Any thread. */
#ifndef SH_B2BUA_EDGE_H
#define SH_B2BUA_EDGE_H

#include "msg/writer.h"
#include "transport/transport.h"

enum { SH_FLOW_TOKEN = 96 }; /* room for its text */

size_t sh_flow_token_write(const struct sh_hash_key *key, const struct sh_path *path, char out[SH_FLOW_TOKEN]);
/* 0; -EINVAL: it has not that form; -ESTALE: it names another key; -EBADMSG: this key, but it was made up or changed. */
int sh_flow_token_read(const struct sh_hash_key *key, struct sh_slice text, struct sh_path *out);

/* What the topmost Route of a request says. 0: nothing that concerns us, or the sender's own flow ("outgoing", 5.3); 1: *out is a flow that
 * lives; 403: a token that was made up; 430: the flow is gone, or belonged to a process before this one. */
unsigned sh_edge_read(const struct sh_transport *t, const struct sh_hash_key *key, const struct sh_msg *m, const struct sh_path *from,
		      struct sh_path *out);
/* "Path: <sip:TOKEN@host:port;lr;ob>\r\n", for a REGISTER that came by `from` and leaves by `to`. ob: nobody was in between. */
void sh_edge_put_path(struct sh_transport *t, const struct sh_hash_key *key, const struct sh_msg *m, const struct sh_path *from,
		      const struct sh_path *to, struct sh_writer *w);

#endif
