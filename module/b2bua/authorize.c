/* Requests of ours that are challenged go out again with credentials (RFC 3261 22.2), and the dialog's later ones have
 * them from the start. */
#include "b2bua/impl.h"

enum { CREDENTIALS_ROOM = 8192 };

static struct sh_slice body_of(struct sh_slice rest)
{
	for (size_t i = 0; i + 3 < rest.len; i++)
		if (memcmp(rest.base + i, "\r\n\r\n", 4) == 0)
			return sh_slice_make(rest.base + i + 4, rest.len - i - 4);
	return (struct sh_slice){0};
}

/* "INVITE sip:x SIP/2.0": what the digest covers. */
static void cut_line(struct sh_slice line, struct sh_slice *method, struct sh_slice *uri)
{
	struct sh_slice rest;

	sh_slice_cut(line, ' ', method, &rest);
	sh_slice_cut(rest, ' ', uri, &rest);
}

static bool is_field(struct sh_slice line, struct sh_slice name)
{
	return line.len > name.len && line.base[name.len] == ':' && sh_slice_istarts(line, name);
}

/* The request but for its CSeq and credentials, behind new ones. */
static void rewrite(struct sh_writer *w, struct sh_slice rest, struct sh_slice method, uint32_t cseq)
{
	struct sh_slice line, body = body_of(rest);
	bool leave_out = false;

	sh_put_lit(w, "CSeq: ");
	sh_put_uint(w, cseq);
	sh_put_char(w, ' ');
	sh_put(w, method);
	sh_put_lit(w, "\r\n");
	while (sh_slice_cut(rest, '\n', &line, &rest) && line.len > 1) {
		if (line.base[0] != ' ' && line.base[0] != '\t') /* else it belongs to the one above */
			leave_out = is_field(line, SH_LIT("CSeq")) || is_field(line, SH_LIT("Authorization")) ||
				    is_field(line, SH_LIT("Proxy-Authorization"));
		if (leave_out)
			continue;
		sh_put(w, line);
		sh_put_char(w, '\n');
	}
	sh_put_lit(w, "\r\n");
	sh_put(w, body);
}

bool sh_ua_authorize(struct sh_ua *ua, struct sh_client_auth *auth, struct sh_client_txn *ct, const struct sh_msg *m,
		     uint32_t *seen, uint32_t cseq)
{
	struct sh_slice line, rest, method, uri;
	struct sh_writer w, unused;
	int err = sh_client_auth_learn(auth, m, &ua->env->random, seen);

	if (err) {
		sh_ua_warn(ua, "the challenge of %.*s is not answered: %s", SH_FMT(sh_msg_text(m, m->to_uri)),
				     err == -EACCES    ? "wrong or no credentials"
				     : err == -ENOTSUP ? "unknown algorithm or qop"
						       : strerror(-err));
		return false;
	}
	sh_client_txn_text(ct, &line, &rest);
	cut_line(line, &method, &uri);
	sh_ua_writers(ua, &unused, &w);
	sh_client_auth_put(auth, &w, method, uri, body_of(rest));
	rewrite(&w, rest, method, cseq);
	return !w.full && sh_client_txn_again(ct, line, sh_writer_text(&w)) == 0;
}

/* Puts the credentials that are known already in front of the other fields. */
static int put_known(struct sh_client_auth *auth, const struct sh_writer *line, struct sh_writer *rest)
{
	struct sh_slice method, uri;
	struct sh_writer w;
	char *buf;
	int err = 0;

	if (!auth || !sh_client_auth_ready(auth) || rest->full)
		return 0;
	buf = sh_malloc(CREDENTIALS_ROOM);
	if (!buf)
		return -ENOMEM;
	sh_writer_init(&w, buf, CREDENTIALS_ROOM);
	cut_line(sh_writer_text(line), &method, &uri);
	sh_client_auth_put(auth, &w, method, uri, body_of(sh_writer_text(rest)));
	if (w.full || w.len > rest->cap - rest->len) {
		err = -EMSGSIZE;
	} else {
		memmove(rest->base + w.len, rest->base, rest->len);
		memcpy(rest->base, w.base, w.len);
		rest->len += w.len;
	}
	sh_free(buf);
	return err;
}

int sh_ua_send_auth(struct sh_ua *ua, struct sh_client_txn **out, enum sh_method method, const struct sh_writer *line,
		    struct sh_writer *rest, const struct sh_path *path, sh_client_fn fn, void *user, struct sh_client_auth *auth,
		    sh_challenge_fn challenged, void *ctx)
{
	int err = put_known(auth, line, rest);
	struct sh_client_request rq = {.method = method, .line = sh_writer_text(line), .rest = sh_writer_text(rest), .path = *path,
				       .challenged = auth ? challenged : NULL, .challenged_ctx = ctx};

	if (line->full || rest->full)
		err = -EMSGSIZE;
	return err ? err : sh_client_txn_start(out, ua->txn, &rq, fn, user);
}

/* ------------------------------------------------------------------ of a leg */

/* The lines that an ACK has to repeat. Without memory it goes without. */
static void keep_credentials(struct sh_leg *l, struct sh_slice rest)
{
	struct sh_slice line;
	struct sh_writer w;

	sh_free(l->invite_credentials);
	l->invite_credentials = sh_malloc(rest.len + 1);
	if (!l->invite_credentials)
		return;
	sh_writer_init(&w, l->invite_credentials, rest.len);
	while (sh_slice_cut(rest, '\n', &line, &rest) && line.len > 1) {
		if (!is_field(line, SH_LIT("Authorization")) && !is_field(line, SH_LIT("Proxy-Authorization")))
			continue;
		sh_put(&w, line);
		sh_put_char(&w, '\n');
	}
	l->invite_credentials[w.len] = 0;
}

static bool on_challenged(struct sh_client_txn *ct, const struct sh_msg *m, uint32_t *seen, void *ctx)
{
	struct sh_slice line, rest;
	struct sh_leg *l = ctx;

	if (l->branch)
		sh_branch_heard(l->branch);
	if (!sh_ua_authorize(l->ua, l->auth, ct, m, seen, l->dialog.local_cseq + 1))
		return false;
	l->dialog.local_cseq++;
	if (m->method == SH_INVITE) {
		l->dialog.invite_cseq = l->dialog.local_cseq;
		sh_client_txn_text(ct, &line, &rest);
		keep_credentials(l, rest);
	}
	return true;
}

int sh_leg_send_in(struct sh_leg *l, const struct sh_dialog *d, struct sh_client_txn **out, enum sh_method method,
		   const struct sh_writer *line, struct sh_writer *rest, sh_client_fn fn, void *user)
{
	if (d == &l->dialog)
		return sh_leg_send(l, out, method, line, rest, fn, user);
	return sh_ua_send(l->ua, out, method, line, rest, &d->path, fn, user);
}

int sh_leg_send(struct sh_leg *l, struct sh_client_txn **out, enum sh_method method, const struct sh_writer *line,
		struct sh_writer *rest, sh_client_fn fn, void *user)
{
	struct sh_path others[SH_MAX_CANDIDATES];
	unsigned other_count = sh_next_hop_choose(l->ua, &l->next_hop, &l->dialog, others);
	struct sh_client_request rq = {.method = method, .path = l->dialog.path, .others = others, .other_count = other_count};
	int err = l->auth ? put_known(l->auth, line, rest) : 0;

	rq.line = sh_writer_text(line);
	rq.rest = sh_writer_text(rest);
	if (l->auth) {
		rq.challenged = on_challenged;
		rq.challenged_ctx = l;
	}
	if (line->full || rest->full)
		err = -EMSGSIZE;
	if (!err)
		err = sh_client_txn_start(out, l->ua->txn, &rq, fn, user);
	if (err || method != SH_INVITE)
		return err;
	l->invite_ct = *out;
	if (l->auth)
		keep_credentials(l, sh_writer_text(rest));
	return 0;
}
