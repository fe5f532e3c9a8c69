/* REGISTER: see register.h. */
#include "registrar/register.h"
#include "registrar/gruu.h"

#include <errno.h>

enum {
	MIN_EXPIRES = 60,
	MAX_EXPIRES = 3600,
	DEFAULT_EXPIRES = 3600,
	MALFORMED_EXPIRES = 3600, /* RFC 3261 20.10: what a value that cannot be read stands for */
	HOUR = 3600,
	MAX_CONTACTS = 10,
	MAX_TEXT = 4000,
	MAX_USER_AGENT = 255,
};

struct request {
	struct sh_arena *a;
	const struct sh_msg *m;
	struct sh_register_options o; /* defaults filled in */
	struct sh_register_result *out;
	struct sh_location_update update;
	struct sh_contact_update *contacts; /* those of update, to be filled in */
	unsigned count;
	bool direct, reg_id_counts, supports_outbound; /* direct: nobody is between the client and us */
	unsigned staying, with_reg_id; /* contacts that do not go, and those with a reg-id that counts */
	bool path_sips, any_sips; /* all values of Path are sips; a Contact is */
	const struct sh_transport *transport; /* who knows about NAT; may be NULL */
	const struct sh_domains *domains;
};

/* The answer has been found. Returns what every step returns then: the caller just goes back. */
static int answer(struct request *r, unsigned code, const char *reason)
{
	r->out->code = code;
	r->out->reason = sh_slice_cstr(reason);
	return -ECANCELED;
}

static int bad(struct request *r, const char *reason)
{
	return answer(r, 400, reason);
}

/* --- step 5: the address of record ------------------------------------------------------------------------------- */

static int read_aor(struct request *r, const struct sh_domains *d)
{
	struct sh_slice text = r->o.aor.len ? r->o.aor : sh_msg_text(r->m, r->m->to_uri);
	struct sh_uri uri;
	int err;

	if (sh_uri_parse(&uri, text))
		return bad(r, "Bad To");
	err = sh_aor_canonical(r->a, &uri, d, &r->out->aor);
	return err == -EINVAL ? answer(r, 404, NULL) : err;
}

/* --- what all contacts of the request share ---------------------------------------------------------------------- */

/* Several fields are one list (RFC 3261 7.3.1), and stand on one line. */
static int read_path(struct request *r, struct sh_slice *out)
{
	struct sh_writer w;
	size_t room = 0;
	char *buf;

	for (unsigned i = r->m->first[SH_H_PATH]; i; i = r->m->headers[i - 1].next)
		room += sh_msg_value(r->m, i).len + 2;
	if (!room)
		return 0;
	buf = sh_arena_alloc(r->a, room);
	if (!buf)
		return -ENOMEM;
	sh_writer_init(&w, buf, room);
	for (unsigned i = r->m->first[SH_H_PATH]; i; i = r->m->headers[i - 1].next) {
		struct sh_slice value;
		int err = sh_msg_unfold(r->a, sh_msg_value(r->m, i), &value);

		if (err)
			return err;
		if (w.len && value.len)
			sh_put_lit(&w, ", ");
		sh_put(&w, value);
	}
	*out = sh_writer_text(&w);
	return 0;
}

/* Calls will be routed by it: each value must be a SIP URI in <> (RFC 3327 4). *ob: the first has that parameter. */
static int check_path(struct request *r, struct sh_slice path, bool *ob)
{
	*ob = false;
	r->path_sips = true;
	for (bool first = true; path.len; first = false) {
		struct sh_name_addr v;
		struct sh_uri uri;

		if (sh_name_addr_next(&path, &v) || v.star || v.uri.base == v.text.base || sh_uri_parse(&uri, v.uri) ||
		    (uri.kind != SH_URI_SIP && uri.kind != SH_URI_SIPS))
			return bad(r, "Bad Path");
		r->path_sips = r->path_sips && uri.kind == SH_URI_SIPS;
		if (first)
			*ob = sh_param_find(uri.params, SH_LIT("ob"), NULL);
	}
	return 0;
}

/* What a client requires it also supports. */
static bool speaks(const struct sh_msg *m, struct sh_slice tag)
{
	return sh_msg_has_token(m, SH_H_SUPPORTED, tag) || sh_msg_has_token(m, SH_H_REQUIRE, tag);
}

static int read_common(struct request *r, const struct sh_path *from, uint64_t now)
{
	struct sh_location_update *u = &r->update;
	bool ob;
	int err;

	u->aor = r->out->aor;
	u->call_id = sh_msg_text(r->m, r->m->call_id);
	u->cseq = r->m->cseq;
	u->from = *from;
	u->now = now;
	u->max_contacts = r->o.max_contacts;
	u->replace_oldest = r->o.replace_oldest;
	u->by = r->o.by;
	err = read_path(r, &u->path);
	if (!err)
		err = check_path(r, u->path, &ob);
	if (!err)
		err = sh_msg_unfold(r->a, sh_msg_header(r->m, SH_H_USER_AGENT), &u->user_agent);
	if (err)
		return err;
	if (u->user_agent.len > MAX_USER_AGENT)
		u->user_agent.len = MAX_USER_AGENT;
	if (sh_msg_has_token(r->m, SH_H_SUPPORTED, SH_LIT("path")))
		r->out->path = u->path;
	r->direct = sh_msg_has_one_via(r->m);
	r->reg_id_counts = ob || r->direct;
	r->supports_outbound = speaks(r->m, SH_LIT("outbound"));
	r->out->gruu = r->o.key && speaks(r->m, SH_LIT("gruu"));
	r->out->key = r->o.key;
	r->out->random = r->o.random;
	u->keep_alive = r->o.keep_alive;
	u->keep_interval = r->o.keep_interval;
	return 0;
}

/* --- steps 6 and 7: the contacts --------------------------------------------------------------------------------- */

/* The time that the binding gets: 0 removes it. */
static int read_expires(struct request *r, struct sh_slice params, uint32_t *out)
{
	struct sh_slice text;
	uint64_t wanted = r->o.default_expires;
	bool asked = true;

	if (sh_param_find(params, SH_LIT("expires"), &text)) {
		int err = sh_slice_u64(text, UINT32_MAX, &wanted);

		if (err)
			wanted = err == -ERANGE ? UINT32_MAX : MALFORMED_EXPIRES;
	} else if (r->m->expires >= 0) {
		wanted = (uint64_t)r->m->expires;
	} else if (r->m->first[SH_H_EXPIRES]) {
		wanted = MALFORMED_EXPIRES;
	} else {
		asked = false;
	}
	if (wanted && wanted < r->o.min_expires && wanted < HOUR) {
		if (asked) {
			r->out->min_expires = r->o.min_expires;
			return answer(r, 423, NULL);
		}
		wanted = r->o.min_expires;
	}
	*out = (uint32_t)(wanted < r->o.max_expires ? wanted : r->o.max_expires);
	return 0;
}

/* Those have a place of their own in the binding, or are ours to give. */
static bool has_place(struct sh_slice name)
{
	return sh_slice_ieq(name, SH_LIT("expires")) || sh_slice_ieq(name, SH_LIT("q")) ||
	       sh_slice_ieq(name, SH_LIT("pub-gruu")) || sh_slice_ieq(name, SH_LIT("temp-gruu"));
}

static int other_params(struct request *r, struct sh_slice params, struct sh_slice *out)
{
	bool any = false;
	struct sh_slice name, value;
	struct sh_writer w;
	char *buf;

	for (struct sh_slice rest = params; !any && sh_param_next(&rest, &name, &value);)
		any = has_place(name);
	if (!any) {
		*out = params;
		return 0;
	}
	buf = sh_arena_alloc(r->a, params.len);
	if (!buf)
		return -ENOMEM;
	sh_writer_init(&w, buf, params.len);
	while (sh_param_next(&params, &name, &value)) {
		if (has_place(name))
			continue;
		if (w.len)
			sh_put_char(&w, ';');
		sh_put(&w, name);
		if (value.len) {
			sh_put_char(&w, '=');
			sh_put(&w, value);
		}
	}
	*out = sh_writer_text(&w);
	return 0;
}

/* RFC 5626 6: reg-id without an instance is nothing. */
static void read_instance(const struct request *r, struct sh_slice params, struct sh_contact_update *c)
{
	struct sh_slice text;

	if (!sh_param_find(params, SH_LIT("+sip.instance"), &text) || text.len < 3 || text.base[0] != '"')
		return;
	c->instance = text;
	if (!r->reg_id_counts || !sh_param_find(params, SH_LIT("reg-id"), &text) || sh_slice_u32(text, &c->reg_id) ||
	    c->reg_id > INT32_MAX)
		c->reg_id = 0;
}

/* RFC 5630 5.2: no part of the way may be without. */
static bool asked_for_sips(const struct request *r)
{
	struct sh_uri to;

	return r->path_sips && sh_uri_parse(&to, sh_msg_text(r->m, r->m->uri)) == 0 && to.kind == SH_URI_SIPS;
}

static int read_contact(struct request *r, const struct sh_name_addr *v, struct sh_contact_update *c)
{
	const struct sh_location_update *u = &r->update;
	struct sh_slice q;
	struct sh_uri uri;
	int err, thousandths = 1000;

	if (sh_uri_parse(&uri, v->uri))
		return bad(r, "Bad Contact");
	if (uri.kind == SH_URI_SIPS && !asked_for_sips(r))
		return bad(r, "A sips Contact Needs a sips Request-URI and Path"); /* RFC 5630 5.2 */
	if (uri.kind == SH_URI_SIP && r->any_sips)
		return bad(r, "Contacts of Both sip and sips");
	*c = (struct sh_contact_update){.uri = v->uri};
	r->any_sips = r->any_sips || uri.kind == SH_URI_SIPS;
	err = read_expires(r, v->params, &c->expires);
	if (!err)
		err = other_params(r, v->params, &c->params);
	if (err)
		return err;
	if (r->supports_outbound && !r->reg_id_counts && sh_param_find(v->params, SH_LIT("reg-id"), NULL))
		return answer(r, 439, "First Hop Lacks Outbound Support"); /* RFC 5626 6 */
	if (sh_param_find(v->params, SH_LIT("q"), &q))
		thousandths = sh_qvalue(q);
	c->q = (uint16_t)(thousandths < 0 ? 1000 : thousandths);
	read_instance(r, v->params, c);
	if (r->o.require_outbound && c->expires && (!r->supports_outbound || !c->reg_id))
		return answer(r, 421, NULL);
	r->staying += c->expires != 0;
	r->with_reg_id += c->expires && c->reg_id;
	if (r->with_reg_id && r->staying > 1)
		return bad(r, "A Flow Has One Contact"); /* RFC 5626 6 */
	if (r->supports_outbound && c->reg_id) {
		r->out->outbound = true;
		r->out->flow_timer = r->direct ? r->o.flow_timer : 0;
		if (c->expires > r->out->longest)
			r->out->longest = c->expires;
	}
	c->behind_nat = r->o.nat == SH_REGISTER_NAT_ALWAYS ||
			(r->o.nat == SH_REGISTER_NAT_AUTO && r->transport &&
			 sh_transport_behind_nat(r->transport, r->m, c->uri, &u->from));
	/* A call to it would come back, once for each such Contact, until Max-Forwards ends it (RFC 5393 1). */
	if (c->expires != 0 && sh_domains_this_server(r->domains, &uri))
		return answer(r, 403, "Contact Is This Server");
	if (c->uri.len + c->params.len + c->instance.len + u->call_id.len + u->path.len + u->user_agent.len > MAX_TEXT)
		return answer(r, 403, "Contact Too Long");
	return 0;
}

/* Room for the contacts: there are not more of them than commas and fields. Twice the limit may come, since some may be
 * removed for others, but no more: what an update costs is their number times that of the bindings. */
static int make_room(struct request *r, size_t *room)
{
	size_t n = 0;

	for (unsigned i = r->m->first[SH_H_CONTACT]; i; i = r->m->headers[i - 1].next) {
		struct sh_slice value = sh_msg_value(r->m, i);

		n++;
		for (size_t k = 0; k < value.len; k++)
			n += value.base[k] == ',';
	}
	*room = n < 2 * (size_t)r->o.max_contacts ? n : 2 * (size_t)r->o.max_contacts;
	r->contacts = sh_arena_calloc(r->a, *room, sizeof(*r->contacts));
	return r->contacts ? 0 : -ENOMEM;
}

static int read_contacts(struct request *r)
{
	unsigned stars = 0, others = 0;
	size_t room;
	int err = make_room(r, &room);

	for (unsigned i = r->m->first[SH_H_CONTACT]; i && !err; i = r->m->headers[i - 1].next) {
		struct sh_slice value;

		err = sh_msg_unfold(r->a, sh_msg_value(r->m, i), &value);
		while (!err && value.len) {
			struct sh_name_addr v;

			if (sh_name_addr_next(&value, &v))
				return bad(r, "Bad Contact");
			if (v.star)
				stars++;
			else if (others == room)
				return answer(r, 403, "Too Many Contacts");
			else
				err = read_contact(r, &v, &r->contacts[others++]);
		}
	}
	if (!err && stars && (stars > 1 || others || r->m->expires != 0))
		return bad(r, "Bad Contact *");
	r->update.remove_all = stars > 0;
	r->update.contacts = r->contacts;
	r->update.count = others;
	return err;
}

/* --- the whole -----------------------------------------------------------------------------------------------------
 */

static void set_options(struct request *r, const struct sh_register_options *o)
{
	r->o = *o;
	if (!o->min_expires)
		r->o.min_expires = o->max_expires && o->max_expires < MIN_EXPIRES ? o->max_expires : MIN_EXPIRES;
	if (!o->max_expires)
		r->o.max_expires = MAX_EXPIRES;
	if (!o->default_expires)
		r->o.default_expires = DEFAULT_EXPIRES;
	if (!o->max_contacts)
		r->o.max_contacts = MAX_CONTACTS;
	if (r->o.max_expires < r->o.min_expires)
		r->o.max_expires = r->o.min_expires;
}

static int process(struct request *r, struct sh_location *l, const struct sh_path *from, const struct sh_domains *d,
		   uint64_t now)
{
	int err;

	r->domains = d;
	r->update.replaced = r->o.flow_timer ? &r->out->replaced : NULL;
	err = read_aor(r, d);

	if (!err)
		err = read_common(r, from, now);
	if (!err)
		err = read_contacts(r);
	if (!err)
		err = sh_location_update(l, &r->update, &r->out->bindings);
	switch (err) {
	case 0:
		return answer(r, 200, NULL);
	case -EBUSY:
		return answer(r, 500, "CSeq Out Of Order");
	case -EDQUOT:
		return answer(r, 403, "Too Many Contacts");
	case -ENOMEM:
		answer(r, 503, NULL);
		return err;
	default:
		return err;
	}
}

int sh_register_process(struct sh_location *l, struct sh_arena *a, const struct sh_msg *m, const struct sh_path *from,
			const struct sh_domains *d, const struct sh_register_options *o, uint64_t now_wall,
			struct sh_register_result *out)
{
	struct request r = {.a = a, .m = m, .out = out};

	*out = (struct sh_register_result){.code = 500};
	if (d)
		r.transport = d->transport;
	set_options(&r, o);
	return process(&r, l, from, d, now_wall) == -ENOMEM ? -ENOMEM : 0;
}

/* --- the answer -------------------------------------------------------------------------------------------------- */

/* 0 .. 1000 as "0.25". */
static void put_q(struct sh_writer *w, unsigned q)
{
	sh_put_lit(w, ";q=");
	sh_put_uint(w, q / 1000);
	if (q % 1000)
		sh_put_char(w, '.');
	for (unsigned rest = q % 1000; rest; rest = rest * 10 % 1000)
		sh_put_char(w, (char)('0' + rest / 100));
}

static void put_contact(struct sh_writer *w, const struct sh_register_result *r, const struct sh_contact *c, uint64_t now)
{
	sh_put_lit(w, "Contact: <");
	sh_put(w, c->uri);
	sh_put_lit(w, ">;expires=");
	sh_put_uint(w, (c->expires_at - now + SH_SECOND - 1) / SH_SECOND);
	if (c->q < 1000)
		put_q(w, c->q);
	if (c->params.len) {
		sh_put_char(w, ';');
		sh_put(w, c->params);
	}
	if (r->gruu)
		sh_gruu_put(w, r->key, r->random, r->bindings->aor, c);
	sh_put_lit(w, "\r\n");
}

void sh_register_put_headers(struct sh_writer *w, const struct sh_register_result *r, uint64_t now_wall)
{
	if (r->code == 423)
		sh_put_header_uint(w, SH_H_MIN_EXPIRES, r->min_expires);
	if (r->code == 421)
		sh_put_lit(w, "Require: outbound\r\n");
	if (r->code != 200)
		return;
	for (unsigned i = 0; r->bindings && i < r->bindings->count; i++)
		if (r->bindings->contacts[i].expires_at > now_wall)
			put_contact(w, r, &r->bindings->contacts[i], now_wall);
	if (r->outbound)
		sh_put_lit(w, "Require: outbound\r\n");
	if (r->outbound && r->flow_timer) {
		sh_put_lit(w, "Flow-Timer: ");
		sh_put_uint(w, r->flow_timer);
		sh_put_lit(w, "\r\n");
	}
	if (r->path.len)
		sh_put_header(w, SH_H_PATH, r->path);
	sh_put_date(w, now_wall);
}

static void put_two(struct sh_writer *w, unsigned n)
{
	sh_put_char(w, (char)('0' + n / 10));
	sh_put_char(w, (char)('0' + n % 10));
}

/* SIP-date is always GMT and English: neither the zone nor the locale of the host has a say. */
void sh_put_date(struct sh_writer *w, uint64_t wall)
{
	static const char week_days[] = "ThuFriSatSunMonTueWed"; /* 1970 began on a Thursday */
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	uint64_t seconds = wall / SH_SECOND, days = seconds / 86400;
	unsigned second = (unsigned)(seconds % 86400);
	/* In eras of 400 years that begin on a first of March, so that the leap day is the last of its year. */
	uint64_t from_era = days + 719468;
	unsigned day_of_era = (unsigned)(from_era % 146097);
	unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned march_month = (5 * day_of_year + 2) / 153; /* 0 = March */
	unsigned month = (march_month + 2) % 12;            /* 0 = January */

	sh_put_lit(w, "Date: ");
	sh_put(w, sh_slice_make(week_days + days % 7 * 3, 3));
	sh_put_lit(w, ", ");
	put_two(w, day_of_year - (153 * march_month + 2) / 5 + 1);
	sh_put_char(w, ' ');
	sh_put(w, sh_slice_make(months + (size_t)month * 3, 3));
	sh_put_char(w, ' ');
	sh_put_uint(w, from_era / 146097 * 400 + year_of_era + (month < 2));
	sh_put_char(w, ' ');
	put_two(w, second / 3600);
	sh_put_char(w, ':');
	put_two(w, second / 60 % 60);
	sh_put_char(w, ':');
	put_two(w, second % 60);
	sh_put_lit(w, " GMT\r\n");
}
