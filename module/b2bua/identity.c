/* Who is told what about whom: asserted identities by trust (RFC 3325), the caller's wish for privacy (RFC 3323), where a
 * call was diverted from (RFC 5806, RFC 7044), Session-ID (RFC 7989), and causes of Q.850 (RFC 3326). */
#include "b2bua/impl.h"

#define ANONYMOUS SH_LIT("\"Anonymous\" <sip:anonymous@anonymous.invalid>")

/* priv-values are separated by semicolons (RFC 3323 4.2); commas are met, too. */
static bool privacy_has(const struct sh_msg *m, struct sh_slice value)
{
	for (unsigned i = m->first[SH_H_PRIVACY]; i; i = m->headers[i - 1].next) {
		struct sh_slice list = sh_msg_value(m, i), element, one;

		while (sh_list_next(&list, &element)) {
			while (element.len) {
				sh_slice_cut(element, ';', &one, &element);
				if (sh_slice_ieq(sh_slice_trim(one), value))
					return true;
			}
		}
	}
	return false;
}

unsigned sh_identity_classes(const struct sh_ua *ua, const struct sh_msg *m, const struct sh_addr *from, const struct sh_addr *to)
{
	bool hidden = privacy_has(m, SH_LIT("id")) || privacy_has(m, SH_LIT("history"));

	/* RFC 3325 7: what a trusted peer asserts goes on, but not to strangers when privacy is asked for */
	return sh_ua_trusts(ua, from) && (!hidden || sh_ua_trusts(ua, to)) ? SH_COPY_IDENTITY | SH_COPY_FORWARDED : 0;
}

/* ------------------------------------------------------------------ privacy */

static bool wants_privacy(const struct sh_msg *m)
{
	return privacy_has(m, SH_LIT("user")) || privacy_has(m, SH_LIT("header"));
}

bool sh_privacy_applies(const struct sh_ua *ua, const struct sh_msg *m, const struct sh_addr *to)
{
	return m && m->first[SH_H_PRIVACY] && wants_privacy(m) && !sh_ua_trusts(ua, to);
}

struct sh_slice sh_privacy_from(void)
{
	return ANONYMOUS;
}

struct sh_slice sh_privacy_removed(void)
{
	return SH_LIT("Subject,Call-Info,Reply-To,In-Reply-To,Organization,User-to-User"); /* RFC 3323 4.1, 5.3 */
}

/* What is left of Privacy when we have done the user and header level (RFC 3323 5: those values are taken out). */
void sh_privacy_put_rest(struct sh_writer *w, const struct sh_msg *m)
{
	bool any = false;

	for (unsigned i = m->first[SH_H_PRIVACY]; i; i = m->headers[i - 1].next) {
		struct sh_slice rest = sh_msg_value(m, i), one;

		while (rest.len) {
			sh_slice_cut(rest, ';', &one, &rest);
			one = sh_slice_trim(one);
			if (!one.len || sh_slice_ieq(one, SH_LIT("user")) || sh_slice_ieq(one, SH_LIT("header")) ||
			    sh_slice_ieq(one, SH_LIT("critical")))
				continue;
			sh_put(w, any ? SH_LIT(";") : SH_LIT("Privacy: "));
			sh_put(w, one);
			any = true;
		}
	}
	if (any)
		sh_put_lit(w, "\r\n");
}

/* ------------------------------------------------------------------ diversion */

/* The index of the last entry of History-Info; empty: there is none. */
static struct sh_slice last_index(const struct sh_msg *m)
{
	struct sh_slice found = {0}, list, one, value;

	for (unsigned i = m->first[SH_H_HISTORY_INFO]; i; i = m->headers[i - 1].next) {
		list = sh_msg_value(m, i);
		while (sh_list_next(&list, &one)) {
			ptrdiff_t close = sh_slice_find(one, '>');
			struct sh_slice params = close < 0 ? one : sh_slice_make(one.base + close + 1, one.len - (size_t)close - 1);

			if (sh_param_find(params, SH_LIT("index"), &value) && value.len)
				found = value;
		}
	}
	return found;
}

static void put_entry(struct sh_writer *w, struct sh_slice uri)
{
	sh_put_lit(w, "History-Info: <");
	sh_put(w, uri);
	sh_put_lit(w, ">;index=");
}

/* The script forwards: Diversion on top of those before (RFC 5806 5.1), and in History-Info what was dialled and what became of it
 * (RFC 7044 10.3: mapped to another target). in NULL: nothing was dialled. with_former: its own entries are passed on. */
void sh_diversion_put(struct sh_writer *w, const struct sh_target *t, const struct sh_msg *in, bool with_former)
{
	struct sh_slice index = in && with_former ? last_index(in) : (struct sh_slice){0};

	sh_put_header(w, SH_H_DIVERSION, t->diversion);
	if (in && with_former)
		sh_put_copy(w, in, SH_H_DIVERSION);
	if (!in)
		return;
	if (with_former)
		sh_put_copy(w, in, SH_H_HISTORY_INFO);
	if (!index.len) {
		index = SH_LIT("1");
		put_entry(w, sh_msg_text(in, in->uri));
		sh_put_lit(w, "1\r\n");
	}
	put_entry(w, t->uri);
	sh_put(w, index);
	sh_put_lit(w, ".1;mp=");
	sh_put(w, index);
	sh_put_lit(w, "\r\n");
}

/* ------------------------------------------------------------------ Session-ID */

static struct sh_slice session_of(const struct sh_msg *m)
{
	struct sh_slice id, params;

	if (!m || !m->first[SH_H_SESSION_ID])
		return (struct sh_slice){0};
	sh_slice_cut(sh_msg_header(m, SH_H_SESSION_ID), ';', &id, &params);
	return sh_slice_trim(id);
}

static void keep_session(struct sh_leg *l, struct sh_slice local, struct sh_slice remote)
{
	static const struct sh_slice nobody = {"00000000000000000000000000000000", 32};
	size_t room = local.len + 64 + remote.len;
	struct sh_writer w;

	if (!local.len)
		return;
	sh_free(l->session_id);
	l->session_id = sh_malloc(room);
	if (!l->session_id)
		return; /* it goes without */
	sh_writer_init(&w, l->session_id, room - 1);
	sh_put(&w, local);
	sh_put_lit(&w, ";remote=");
	sh_put(&w, remote.len ? remote : nobody);
	l->session_id[w.len] = 0;
}

/* The two are connected: what our own requests to them say (RFC 7989 7). */
void sh_session_id_learn(struct sh_call *c, struct sh_leg *leg, const struct sh_msg *answer)
{
	struct sh_slice a = session_of(c->invite), b = session_of(answer);

	keep_session(leg, a, b);
	keep_session(c->a, b, a);
}

void sh_session_id_answered(struct sh_leg *l, const struct sh_msg *answer)
{
	const struct sh_msg *in = l->call && !l->call->answered ? l->call->invite : NULL;

	keep_session(l, session_of(in), session_of(answer));
}

/* ------------------------------------------------------------------ Q.850 */

/* One value of Reason. */
static bool read_cause(struct sh_why *why, struct sh_slice one)
{
	struct sh_slice protocol, params, cause, text = {0};
	uint32_t n;

	sh_slice_cut(one, ';', &protocol, &params);
	if (!sh_slice_ieq(sh_slice_trim(protocol), SH_LIT("Q.850")))
		return false;
	if (sh_param_find(params, SH_LIT("cause"), &cause) && sh_slice_u32(cause, &n) == 0 && n < 128)
		why->q850 = n;
	if (sh_param_find(params, SH_LIT("text"), &text) && text.len >= 2 && text.base[0] == '"')
		text = sh_slice_make(text.base + 1, text.len - 2);
	why->q850_text = text;
	return true;
}

void sh_why_read_value(struct sh_why *why, struct sh_slice values)
{
	struct sh_slice one;

	while (sh_list_next(&values, &one))
		if (read_cause(why, one))
			return;
}

void sh_why_read(struct sh_why *why, const struct sh_msg *m)
{
	for (unsigned i = m->first[SH_H_REASON]; i && !why->q850; i = m->headers[i - 1].next)
		sh_why_read_value(why, sh_msg_value(m, i));
}

void sh_why_read_lines(struct sh_why *why, struct sh_slice lines)
{
	struct sh_slice line, name, value;

	while (lines.len && !why->q850) {
		sh_slice_cut(lines, '\n', &line, &lines);
		if (sh_slice_cut(line, ':', &name, &value) && sh_slice_ieq(sh_slice_trim(name), SH_LIT("Reason")))
			sh_why_read_value(why, sh_slice_trim(value));
	}
}
