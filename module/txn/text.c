/* Texts that the layer writes itself: Via, ACK, CANCEL; and the blocks in which texts are kept. */
#include "txn/txn_impl.h"

int sh_txn_text_set(struct sh_txn_layer *l, struct sh_txn_text *t, struct sh_slice s)
{
	if (s.len > t->cap) {
		char *base = sh_pool_alloc(&l->env->pool, s.len);

		sh_pool_free(&l->env->pool, t->base, t->cap);
		t->base = base;
		t->cap = base ? (uint32_t)s.len : 0;
	}
	t->len = t->base ? (uint32_t)s.len : 0;
	if (t->len)
		memcpy(t->base, s.base, s.len);
	return t->base || s.len == 0 ? 0 : -ENOMEM;
}

void sh_txn_text_free(struct sh_txn_layer *l, struct sh_txn_text *t)
{
	sh_pool_free(&l->env->pool, t->base, t->cap);
	*t = (struct sh_txn_text){NULL, 0, 0};
}

void sh_txn_branch_make(struct sh_env *env, char out[SH_TXN_BRANCH_LEN])
{
	memcpy(out, "z9hG4bK", 7);
	sh_tag_make(env, out + 7);
}

void sh_txn_put_via(struct sh_writer *w, enum sh_proto proto, const struct sh_txn_sent_by *by, struct sh_slice branch)
{
	sh_put_lit(w, "Via: SIP/2.0/");
	sh_put(w, sh_proto_via(proto));
	sh_put_char(w, ' ');
	sh_put(w, by->host);
	sh_put_char(w, ':');
	sh_put_uint(w, by->port);
	sh_put_lit(w, ";branch=");
	sh_put(w, branch);
	sh_put_lit(w, ";rport");
	if (proto == SH_PROTO_TLS) /* RFC 5923: the peer may come back the same way */
		sh_put_lit(w, ";alias");
	sh_put_lit(w, "\r\n");
}

/* The part that ACK and CANCEL have in common: everything of the request that names it (RFC 3261 9.1, 17.1.1.3). */
static void put_beside(struct sh_writer *w, const struct sh_client_txn *ct, const struct sh_msg *request,
		       struct sh_slice method, struct sh_slice to)
{
	sh_put_request_line(w, method, sh_msg_text(request, request->uri));
	sh_put(w, sh_slice_make(ct->text.base + ct->line_len, ct->via_len));
	sh_put_copy(w, request, SH_H_ROUTE);
	sh_put_lit(w, "Max-Forwards: 70\r\n");
	sh_put_header(w, SH_H_FROM, sh_msg_header(request, SH_H_FROM));
	sh_put_header(w, SH_H_TO, to);
	sh_put_header(w, SH_H_CALL_ID, sh_msg_header(request, SH_H_CALL_ID));
	sh_put_lit(w, "CSeq: ");
	sh_put_uint(w, request->cseq);
	sh_put_char(w, ' ');
	sh_put(w, method);
	sh_put_lit(w, "\r\n");
	sh_put_copy(w, request, SH_H_SESSION_ID); /* RFC 7989 6 */
}

static struct sh_slice finish(struct sh_writer *w)
{
	sh_put_body(w, SH_LIT(""), SH_LIT(""));
	return w->full ? SH_LIT("") : sh_writer_text(w);
}

/* What we sent is scanned again: cheaper than keeping an index of every request for the few that need it. */
static bool scan_kept(const struct sh_client_txn *ct, struct sh_msg *m)
{
	return ct->text.len && sh_msg_scan(m, ct->text.base, ct->text.len, false, NULL) >= 0;
}

struct sh_slice sh_txn_write_ack(struct sh_client_txn *ct, const struct sh_msg *response)
{
	struct sh_msg request;
	struct sh_writer w;

	if (!scan_kept(ct, &request))
		return SH_LIT("");
	sh_writer_init(&w, ct->layer->request, SH_TXN_BUFFER);
	put_beside(&w, ct, &request, SH_LIT("ACK"), sh_msg_header(response, SH_H_TO));
	return finish(&w);
}

struct sh_slice sh_txn_write_cancel(struct sh_client_txn *ct, struct sh_slice reason)
{
	struct sh_msg request;
	struct sh_writer w;

	if (!scan_kept(ct, &request))
		return SH_LIT("");
	sh_writer_init(&w, ct->layer->request, SH_TXN_BUFFER);
	put_beside(&w, ct, &request, SH_LIT("CANCEL"), sh_msg_header(&request, SH_H_TO));
	if (reason.len)
		sh_put_header(&w, SH_H_REASON, reason);
	return finish(&w);
}
