/* Where answers go, and answers without a transaction. */
#include "txn/txn_impl.h"

/* It names itself by an address of an inside, and we hear it from outside: its port is the NAT's, too. */
static bool is_behind_nat(const struct sh_msg *m, const struct sh_addr *remote)
{
	struct sh_addr named;

	return sh_addr_parse(&named, sh_msg_text(m, m->via_host), 0) == 0 && sh_addr_is_private(&named) &&
	       !sh_addr_is_private(remote);
}

/* RFC 3261 18.2.2, RFC 3581 4. What stands in received would be the source address, so that is taken. maddr is passed
 * over: it is for multicast, which nobody listens to here, and would make every answer a packet for whom the sender names. */
uint16_t sh_txn_reply_port(const struct sh_msg *m, const struct sh_path *from)
{
	/* over streams it is only for when the connection is gone */
	if (!sh_proto_reliable((enum sh_proto)from->proto) && (m->via_has_rport || is_behind_nat(m, &from->remote)))
		return from->remote.port;
	return m->via_port ? m->via_port : sh_proto_port((enum sh_proto)from->proto);
}

int sh_txn_send_stateless(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from, unsigned code,
			  struct sh_slice reason, struct sh_slice to_tag, struct sh_slice headers)
{
	struct sh_path path = *from;
	struct sh_writer w;

	if (m->method == SH_ACK)
		return 0;
	sh_writer_init(&w, l->answer, SH_TXN_BUFFER);
	sh_put_response_head(&w, m, &from->remote, code, reason, to_tag);
	sh_put(&w, headers);
	sh_put_body(&w, SH_LIT(""), SH_LIT(""));
	if (w.full)
		return -EMSGSIZE;
	path.remote.port = sh_txn_reply_port(m, from);
	return sh_transport_send(l->transport, &path, sh_writer_text(&w), NULL);
}

int sh_txn_reply_stateless(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from, unsigned code,
			   struct sh_slice reason, struct sh_slice headers)
{
	char tag[SH_TAG_LEN];

	sh_tag_derive(l->env, m, tag);
	return sh_txn_send_stateless(l, m, from, code, reason, sh_slice_make(tag, sizeof(tag)), headers);
}

int sh_txn_send_ack(struct sh_txn_layer *l, const struct sh_path *path, struct sh_slice line, struct sh_slice rest,
		    struct sh_slice *text)
{
	char branch[SH_TXN_BRANCH_LEN];
	struct sh_txn_sent_by by;
	struct sh_writer w;
	int err;

	sh_txn_sent_by(&by, l, path);
	sh_txn_branch_make(l->env, branch);
	sh_writer_init(&w, l->request, SH_TXN_BUFFER);
	sh_put(&w, line);
	sh_txn_put_via(&w, (enum sh_proto)path->proto, &by, sh_slice_make(branch, sizeof(branch)));
	sh_put(&w, rest);
	if (w.full)
		return -EMSGSIZE;
	err = sh_transport_send(l->transport, path, sh_writer_text(&w), NULL);
	if (text)
		*text = sh_writer_text(&w);
	return err;
}
