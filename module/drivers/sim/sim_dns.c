/* The zone: what names mean in the virtual network. A question takes the way there and back. */
#include <errno.h>

#include "core/alloc.h"
#include "drivers/sim/sim_impl.h"

enum { NEGATIVE_TTL = 30, DEFAULT_TTL = 60, FIELDS = 8 };

struct zone_record {
	struct sh_link link; /* zone_name.records */
	enum sh_dns_type type;
	struct sh_dns_record record; /* texts point into text */
	char text[];
};

struct zone_name {
	struct sh_link link; /* sh_sim.zone */
	struct sh_link records;
	int error;
	struct sh_slice name;
	char text[];
};

static struct sh_slice without_dot(struct sh_slice name)
{
	if (name.len > 0 && name.base[name.len - 1] == '.')
		name.len--;
	return name;
}

static void forget_records(struct zone_name *n)
{
	for (struct sh_link *l; (l = sh_list_pop(&n->records)) != NULL;)
		sh_free(SH_CONTAINER(l, struct zone_record, link));
}

void sim_dns_finish(struct sh_sim *sim)
{
	for (struct sh_link *l; (l = sh_list_pop(&sim->zone)) != NULL;) {
		struct zone_name *n = SH_CONTAINER(l, struct zone_name, link);
		forget_records(n);
		sh_free(n);
	}
}

static struct zone_name *find(const struct sh_sim *sim, struct sh_slice name)
{
	SH_LIST_EACH(l, &sim->zone)
	{
		struct zone_name *n = SH_CONTAINER(l, struct zone_name, link);
		if (sh_slice_ieq(n->name, without_dot(name)))
			return n;
	}
	return NULL;
}

static struct zone_name *find_or_create(struct sh_sim *sim, const char *text)
{
	struct sh_slice name = without_dot(sh_slice_cstr(text));
	struct zone_name *n = find(sim, name);

	if (n)
		return n;
	n = sh_calloc(1, sizeof(*n) + name.len);
	if (!n)
		return NULL;
	memcpy(n->text, name.base, name.len);
	n->name = sh_slice_make(n->text, name.len);
	sh_list_init(&n->records);
	sh_list_append(&sim->zone, &n->link);
	return n;
}

/* ---- what is in it ---- */

static unsigned split(char *text, struct sh_slice *out)
{
	struct sh_slice rest = sh_slice_cstr(text), field;
	unsigned n = 0;

	while (rest.len > 0 && n < FIELDS) {
		sh_slice_cut(rest, ' ', &field, &rest);
		if (field.len > 0)
			out[n++] = field;
	}
	return n;
}

static bool number(struct sh_slice text, uint16_t *out)
{
	uint64_t n;

	if (sh_slice_u64(text, UINT16_MAX, &n) < 0)
		return false;
	*out = (uint16_t)n;
	return true;
}

static bool read_record(struct zone_record *z)
{
	struct sh_dns_record *r = &z->record;
	struct sh_slice f[FIELDS];
	unsigned n = split(z->text, f);

	if (n < 3 || sh_slice_u32(f[0], &r->ttl) < 0)
		return false;
	if (sh_slice_eq(f[1], SH_LIT("A")) || sh_slice_eq(f[1], SH_LIT("AAAA"))) {
		z->type = f[1].len == 1 ? SH_DNS_A : SH_DNS_AAAA;
		return n == 3 && sh_addr_parse(&r->addr, f[2], 0) == 0 && (r->addr.family == 4) == (f[1].len == 1);
	}
	if (sh_slice_eq(f[1], SH_LIT("SRV"))) {
		z->type = SH_DNS_SRV;
		r->target = n == 6 ? without_dot(f[5]) : f[0];
		return n == 6 && number(f[2], &r->order) && number(f[3], &r->weight) && number(f[4], &r->port);
	}
	z->type = SH_DNS_NAPTR;
	if (!sh_slice_eq(f[1], SH_LIT("NAPTR")) || n != 7)
		return false;
	r->flags = f[4];
	r->service = f[5];
	r->target = without_dot(f[6]);
	return number(f[2], &r->order) && number(f[3], &r->weight);
}

int sh_sim_add_record(struct sh_sim *sim, const char *name, const char *record)
{
	struct zone_name *n = find_or_create(sim, name);
	struct zone_record *z = n ? sh_calloc(1, sizeof(*z) + strlen(record) + 1) : NULL;

	if (!z)
		return -ENOMEM;
	memcpy(z->text, record, strlen(record) + 1);
	if (!read_record(z)) {
		sh_free(z);
		return -EINVAL;
	}
	sh_list_append(&n->records, &z->link);
	return 0;
}

int sh_sim_add_name(struct sh_sim *sim, const char *name, const struct sh_addr *addrs, size_t count)
{
	struct zone_name *n = find_or_create(sim, name);

	if (!n)
		return -ENOMEM;
	n->error = 0;
	forget_records(n);
	for (size_t i = 0; i < count; i++) {
		struct zone_record *z = sh_calloc(1, sizeof(*z));
		if (!z)
			return -ENOMEM;
		z->type = addrs[i].family == 4 ? SH_DNS_A : SH_DNS_AAAA;
		z->record = (struct sh_dns_record){.ttl = DEFAULT_TTL, .addr = addrs[i]};
		z->record.addr.port = 0;
		sh_list_append(&n->records, &z->link);
	}
	return 0;
}

int sh_sim_fail_name(struct sh_sim *sim, const char *name, int error)
{
	struct zone_name *n = find_or_create(sim, name);

	if (!n)
		return -ENOMEM;
	n->error = error;
	return 0;
}

uint64_t sh_sim_queries(const struct sh_sim *sim)
{
	return sim->queries;
}

/* ---- questions ---- */

struct sim_question {
	struct sim_event event;
	struct sim_env *env;
	sh_dns_fn fn;
	void *ctx;
	enum sh_dns_type type;
	size_t len;
	char name[];
};

static void answer(struct sh_sim *sim, const struct sim_question *q)
{
	struct sh_dns_answer a = {.ttl = NEGATIVE_TTL};
	const struct zone_name *n = find(sim, sh_slice_make(q->name, q->len));
	struct sh_dns_record *records = NULL;
	size_t room = 0;

	if (n && !n->error) {
		SH_LIST_EACH(l, &n->records)
		room++;
		records = sim_calloc((room + 1) * sizeof(*records));
		SH_LIST_EACH(l, &n->records)
		{
			const struct zone_record *z = SH_CONTAINER(l, struct zone_record, link);
			if (records && z->type == q->type)
				records[a.count++] = z->record;
		}
	}
	a.records = records;
	a.error = n && n->error ? n->error : a.count > 0 ? 0 : -ENOENT;
	q->fn(&a, q->ctx);
	sim_free(records);
}

static void run_question(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_question *q = SH_CONTAINER(event, struct sim_question, event);

	if (deliver && !q->env->stopped) {
		q->env->dirty = true;
		answer(sim, q);
	}
	sim_free(q);
}

int sim_query(struct sh_env *env, struct sh_slice name, enum sh_dns_type type, sh_dns_fn fn, void *ctx)
{
	struct sim_env *e = sim_env_of(env);
	struct sh_sim *sim = e->sim;
	struct sim_question *q;

	if (e->stopped)
		return -ESHUTDOWN;
	q = sim_calloc(sizeof(*q) + name.len);
	if (!q)
		return -ENOMEM;
	q->event.run = run_question;
	q->env = e;
	q->fn = fn;
	q->ctx = ctx;
	q->type = type;
	q->len = name.len;
	if (name.len > 0)
		memcpy(q->name, name.base, name.len);
	sim->queries++;
	sim_queue_push(&sim->queue, &q->event, sim->now + sim_delay(sim) + sim_delay(sim));
	return 0;
}
