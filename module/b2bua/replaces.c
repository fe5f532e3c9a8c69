/* The dialogs that Replaces, Join and Target-Dialog name (RFC 3891 3, RFC 3911 4, RFC 4538 7), and how one side's dialog is
 * called on the other side. */
#include "b2bua/impl.h"
#include "b2bua/transfer.h"
#include "core/encode.h"

int sh_dialog_ids_parse(struct sh_dialog_ids *out, struct sh_slice value)
{
	struct sh_slice params, name, text;

	*out = (struct sh_dialog_ids){0};
	sh_slice_cut(value, ';', &out->call_id, &params);
	out->call_id = sh_slice_trim(out->call_id);
	while (sh_param_next(&params, &name, &text)) {
		struct sh_slice *to = NULL;

		if (sh_slice_ieq(name, SH_LIT("to-tag")) || sh_slice_ieq(name, SH_LIT("local-tag")))
			to = &out->to_tag;
		else if (sh_slice_ieq(name, SH_LIT("from-tag")) || sh_slice_ieq(name, SH_LIT("remote-tag")))
			to = &out->from_tag;
		else if (sh_slice_ieq(name, SH_LIT("early-only")))
			out->early_only = true;
		if (to && to->len)
			return -EINVAL;
		if (to)
			*to = text;
	}
	return out->call_id.len && out->to_tag.len && out->from_tag.len ? 0 : -EINVAL;
}

int sh_dialog_ids_of(struct sh_dialog_ids *out, const struct sh_msg *m, enum sh_header_id id)
{
	unsigned first = m->first[id];

	if (!first)
		return -ENOENT;
	if (m->headers[first - 1].next)
		return -EINVAL;
	return sh_dialog_ids_parse(out, sh_msg_value(m, first));
}

struct sh_leg *sh_ua_find_leg(const struct sh_ua *ua, const struct sh_dialog_ids *ids)
{
	struct sh_dialog *d = sh_dialog_find_ids(&ua->dialogs, ids->call_id, ids->to_tag, ids->from_tag);
	enum sh_owner *owner = d ? d->owner : NULL;

	return owner && *owner == SH_OWNER_LEG ? (struct sh_leg *)owner : NULL;
}

void sh_put_named_dialog(const struct sh_ua *ua, enum sh_header_id id, struct sh_slice value, struct sh_writer *out)
{
	struct sh_writer mapped;
	char text[512];

	sh_writer_init(&mapped, text, sizeof(text));
	if (sh_replaces_map(ua, value, &mapped) && !mapped.full)
		value = sh_writer_text(&mapped);
	sh_put_header(out, id, value);
}

/* As a header part of a URI (RFC 3261 25.1, hvalue). */
static void put_escaped(struct sh_writer *w, struct sh_slice s)
{
	if (3 * s.len > w->cap - w->len) {
		w->full = true;
		return;
	}
	w->len += sh_percent_escape(s, SH_PERCENT_SIP, w->base + w->len);
}

bool sh_refer_map(const struct sh_ua *ua, const struct sh_msg *m, struct sh_writer *out)
{
	struct sh_refer_to to;
	struct sh_slice why;
	struct sh_writer mapped;
	struct sh_arena a;
	char text[512];
	bool found;

	if (m->method != SH_REFER)
		return false;
	sh_arena_init(&a, 512);
	sh_writer_init(&mapped, text, sizeof(text));
	found = !sh_refer_read(&to, m, &a, &why) && to.replaces.len && sh_replaces_map(ua, to.replaces, &mapped) && !mapped.full;
	if (found) {
		sh_put_lit(out, "Refer-To: <");
		sh_put(out, to.uri);
		sh_put_lit(out, "?Replaces=");
		put_escaped(out, sh_writer_text(&mapped));
		sh_put_lit(out, ">\r\n");
	}
	sh_arena_finish(&a);
	return found;
}

bool sh_replaces_map(const struct sh_ua *ua, struct sh_slice value, struct sh_writer *out)
{
	struct sh_dialog_ids ids;
	struct sh_leg *l = sh_dialog_ids_parse(&ids, value) == 0 ? sh_ua_find_leg(ua, &ids) : NULL;
	struct sh_call *c = l ? l->call : NULL;
	const struct sh_leg *other = c ? (l == c->a ? c->b : l == c->b ? c->a : NULL) : NULL;

	if (!other || !sh_dialog_remote_tag(&other->dialog).len)
		return false;
	sh_put(out, sh_dialog_call_id(&other->dialog));
	sh_put_lit(out, ";to-tag=");
	sh_put(out, sh_dialog_remote_tag(&other->dialog));
	sh_put_lit(out, ";from-tag=");
	sh_put(out, sh_slice_make(other->dialog.local_tag, SH_TAG_LEN));
	if (ids.early_only)
		sh_put_lit(out, ";early-only");
	return true;
}
