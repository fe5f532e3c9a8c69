/* The location store against RFC 3261 10.3, RFC 5626 6 and its own promises. */
#include "registrar_helpers.h"

/* One contact of one user agent, bound at `at` seconds after NOW for `expires` (or 3,600) seconds, or removed. */
struct one {
	const char *uri, *call_id, *instance;
	uint32_t cseq, reg_id, expires;
	int q;
	uint64_t at, flow;
	unsigned max;
	bool replace, remove;
	bool proxied; /* has a Path, though it came by a connection */
};

static int bind_at(struct sh_location *l, struct sh_slice aor, struct one o)
{
	struct sh_contact_update c = {
	    .uri = sh_slice_cstr(o.uri),
	    .params = SH_LIT("ob"),
	    .instance = sh_slice_cstr(o.instance),
	    .reg_id = o.reg_id,
	    .q = (uint16_t)(o.q ? o.q : 1000),
	    .expires = o.remove    ? 0
		       : o.expires ? o.expires
				   : 3600,
	};
	struct sh_location_update u = {
	    .aor = aor,
	    .call_id = sh_slice_cstr(o.call_id ? o.call_id : "c1"),
	    .path = o.flow && !o.proxied ? SH_LIT("") : SH_LIT("<sip:p.example.org;lr>"),
	    .user_agent = SH_LIT("phone/1"),
	    .cseq = o.cseq ? o.cseq : 1,
	    .from = {.proto = SH_PROTO_TCP, .flow = o.flow},
	    .now = NOW + o.at * SH_SECOND,
	    .contacts = &c,
	    .count = 1,
	    .max_contacts = o.max,
	    .replace_oldest = o.replace,
	};
	struct sh_bindings *b = NULL;
	int err = sh_location_update(l, &u, &b);

	if (!err)
		sh_bindings_unref(b);
	return err;
}

#define BIND(...) bind_at(l, ALICE, (struct one){__VA_ARGS__})

static int remove_all(struct sh_location *l, const char *call_id, uint32_t cseq)
{
	struct sh_location_update u = {
	    .aor = ALICE, .call_id = sh_slice_cstr(call_id), .cseq = cseq, .now = NOW, .remove_all = true};
	struct sh_bindings *b = NULL;
	int err = sh_location_update(l, &u, &b);

	if (!err)
		sh_bindings_unref(b);
	return err;
}

static void a_binding_keeps_all_that_it_was_given(void **state)
{
	struct sh_location *l = new_location(NULL);
	struct sh_bindings *b;

	(void)state;
	assert_null(sh_location_lookup(l, ALICE));
	assert_int_equal(BIND(.uri = "sip:a@1", .instance = "\"<urn:uuid:1>\"", .reg_id = 7, .q = 250, .flow = 99, .proxied = true), 0);
	b = sh_location_lookup(l, ALICE);
	assert_non_null(b);
	assert_int_equal(b->count, 1);
	assert_slice(b->aor, "sip:alice@example.org");
	assert_slice(b->contacts[0].uri, "sip:a@1");
	assert_slice(b->contacts[0].params, "ob");
	assert_slice(b->contacts[0].call_id, "c1");
	assert_slice(b->contacts[0].path, "<sip:p.example.org;lr>");
	assert_slice(b->contacts[0].user_agent, "phone/1");
	assert_slice(b->contacts[0].instance, "\"<urn:uuid:1>\"");
	assert_int_equal(b->contacts[0].cseq, 1);
	assert_int_equal(b->contacts[0].reg_id, 7);
	assert_int_equal(b->contacts[0].q, 250);
	assert_int_equal(b->contacts[0].expires_at, NOW + 3600 * SH_SECOND);
	assert_int_equal(b->contacts[0].updated_at, NOW);
	assert_int_equal(b->contacts[0].from.flow, 99);
	sh_bindings_unref(b);
	assert_null(sh_location_lookup(l, SH_LIT("sip:Alice@example.org")));
	assert_int_equal(sh_location_count(l), 1);
	sh_location_destroy(l);
}

static void contacts_stand_by_q_then_newest_first(void **state)
{
	struct sh_location *l = new_location(NULL);

	(void)state;
	BIND(.uri = "sip:a@1", .q = 500, .at = 1);
	BIND(.uri = "sip:b@1", .q = 500, .at = 2);
	BIND(.uri = "sip:c@1", .at = 3);
	BIND(.uri = "sip:d@1", .q = 1, .at = 4);
	BIND(.uri = "sip:e@1", .at = 5);
	assert_bound(sh_location_lookup(l, ALICE), "sip:e@1 sip:c@1 sip:b@1 sip:a@1 sip:d@1");
	/* A refresh makes it the newest of its class; another q moves it to another. */
	BIND(.uri = "sip:a@1", .q = 500, .at = 6, .cseq = 2);
	BIND(.uri = "sip:e@1", .q = 100, .at = 7, .cseq = 2);
	assert_bound(sh_location_lookup(l, ALICE), "sip:c@1 sip:a@1 sip:b@1 sip:e@1 sip:d@1");
	sh_location_destroy(l);
}

static void contacts_compare_by_the_uri_rules(void **state)
{
	struct diary d = {0};
	struct sh_location *l = new_location(&d);

	(void)state;
	BIND(.uri = "sip:%61lice@EXAMPLE.com;Transport=TCP");
	BIND(.uri = "sip:alice@example.com;transport=tcp", .cseq = 2);
	assert_diary(&d, "+sip:%61lice@EXAMPLE.com;Transport=TCP ~sip:alice@example.com;transport=tcp");
	BIND(.uri = "sip:alice@example.com:5060;transport=tcp", .cseq = 3);
	BIND(.uri = "sip:Alice@example.com;transport=tcp", .cseq = 4);
	BIND(.uri = "urn:x:1", .cseq = 5);
	BIND(.uri = "urn:x:1", .cseq = 6);
	assert_int_equal(d.counts[SH_BINDING_ADDED], 3);
	assert_int_equal(d.counts[SH_BINDING_REFRESHED], 1);
	assert_int_equal(sh_location_count(l), 4);
	sh_location_destroy(l);
}

static void instance_and_reg_id_decide_when_both_have_them(void **state)
{
	struct diary d = {0};
	struct sh_location *l = new_location(&d);

	(void)state;
	BIND(.uri = "sip:a@1:1000", .instance = "\"<urn:uuid:AB>\"", .reg_id = 1);
	BIND(.uri = "sip:a@1:2000", .instance = "\"<urn:uuid:ab>\"", .reg_id = 1, .cseq = 2);
	assert_bound(sh_location_lookup(l, ALICE), "sip:a@1:2000");
	assert_diary(&d, "+sip:a@1:1000 ~sip:a@1:2000");
	/* Another flow of the same phone is another binding, with the same URI, too. */
	BIND(.uri = "sip:a@1:2000", .instance = "\"<urn:uuid:ab>\"", .reg_id = 2, .cseq = 3, .at = 1);
	assert_bound(sh_location_lookup(l, ALICE), "sip:a@1:2000 sip:a@1:2000");
	/* Who has no reg-id compares by URI, and removes all that is equal. */
	BIND(.uri = "sip:a@1:2000", .instance = "\"<urn:uuid:ab>\"", .cseq = 4, .remove = true);
	assert_bound(sh_location_lookup(l, ALICE), "");
	sh_location_destroy(l);
}

static void an_older_request_of_the_same_call_id_is_refused(void **state)
{
	struct sh_location *l = new_location(NULL);

	(void)state;
	assert_int_equal(BIND(.uri = "sip:a@1", .cseq = 5), 0);
	assert_int_equal(BIND(.uri = "sip:a@1", .cseq = 5), -EBUSY);
	assert_int_equal(BIND(.uri = "sip:a@1", .cseq = 4), -EBUSY);
	assert_int_equal(BIND(.uri = "sip:a@1", .cseq = 4, .remove = true), -EBUSY);
	assert_int_equal(remove_all(l, "c1", 5), -EBUSY);
	assert_bound(sh_location_lookup(l, ALICE), "sip:a@1");
	/* Another Call-ID: the phone has been restarted. */
	assert_int_equal(BIND(.uri = "sip:a@1", .cseq = 1, .call_id = "c2"), 0);
	assert_int_equal(remove_all(l, "c3", 1), 0);
	assert_null(sh_location_lookup(l, ALICE));
	assert_int_equal(remove_all(l, "c3", 1), 0);
	assert_int_equal(sh_location_count(l), 0);
	sh_location_destroy(l);
}

static int update_list(struct sh_location *l, const char *const *uris, const uint32_t *expires, unsigned n,
		       uint32_t cseq, unsigned max, bool replace)
{
	struct sh_contact_update c[32] = {0};
	struct sh_location_update u = {
	    .aor = ALICE, .call_id = SH_LIT("c1"), .cseq = cseq, .now = NOW + cseq, .count = n};
	struct sh_bindings *b = NULL;
	int err;

	u.contacts = c;
	u.max_contacts = max;
	u.replace_oldest = replace;
	for (unsigned i = 0; i < n; i++) {
		c[i].uri = sh_slice_cstr(uris[i]);
		c[i].q = 1000;
		c[i].expires = expires[i];
	}
	err = sh_location_update(l, &u, &b);
	if (!err)
		sh_bindings_unref(b);
	return err;
}

static void one_refused_contact_undoes_the_whole_update(void **state)
{
	struct diary d = {0};
	struct sh_location *l = new_location(&d);

	(void)state;
	BIND(.uri = "sip:b@1", .cseq = 9);
	memset(&d, 0, sizeof(d));
	/* a is new, c is not there, b was bound by a later request. */
	assert_int_equal(
	    update_list(l, (const char *[]){"sip:a@1", "sip:c@1", "sip:b@1"}, (uint32_t[]){60, 0, 60}, 3, 8, 0, false),
	    -EBUSY);
	assert_bound(sh_location_lookup(l, ALICE), "sip:b@1");
	assert_diary(&d, "");
	assert_int_equal(
	    update_list(l, (const char *[]){"sip:a@1", "sip:c@1", "sip:b@1"}, (uint32_t[]){60, 0, 60}, 3, 10, 0, false),
	    0);
	assert_bound(sh_location_lookup(l, ALICE), "sip:b@1 sip:a@1");
	sh_location_destroy(l);
}

static void of_equal_contacts_in_one_update_the_later_counts(void **state)
{
	struct diary d = {0};
	struct sh_location *l = new_location(&d);
	struct sh_bindings *b;

	(void)state;
	assert_int_equal(update_list(l,
				     (const char *[]){"sip:a@1", "sip:a@1", "sip:b@1", "sip:b@1", "sip:c@1", "sip:c@1"},
				     (uint32_t[]){60, 90, 60, 0, 0, 70}, 6, 1, 0, false),
			 0);
	assert_diary(&d, "+sip:a@1 +sip:c@1");
	b = sh_location_lookup(l, ALICE);
	assert_int_equal(b->contacts[0].expires_at, NOW + 1 + 90 * SH_SECOND);
	assert_bound(b, "sip:a@1 sip:c@1");
	/* Removed and bound again in one breath is a refresh. */
	assert_int_equal(update_list(l, (const char *[]){"sip:a@1", "sip:a@1"}, (uint32_t[]){0, 60}, 2, 2, 0, false),
			 0);
	assert_diary(&d, "~sip:a@1");
	sh_location_destroy(l);
}

static void a_limit_refuses_or_replaces_the_oldest(void **state)
{
	static const char *const twelve[] = {"sip:0@1", "sip:1@1", "sip:2@1", "sip:3@1", "sip:4@1",  "sip:5@1",
					     "sip:6@1", "sip:7@1", "sip:8@1", "sip:9@1", "sip:10@1", "sip:11@1"};
	static const uint32_t minute[12] = {60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60};
	struct diary d = {0};
	struct sh_location *l = new_location(&d);

	(void)state;
	BIND(.uri = "sip:a@1", .at = 1, .max = 2);
	BIND(.uri = "sip:b@1", .at = 2, .max = 2);
	assert_int_equal(BIND(.uri = "sip:c@1", .at = 3, .max = 2), -EDQUOT);
	assert_bound(sh_location_lookup(l, ALICE), "sip:b@1 sip:a@1");
	assert_int_equal(BIND(.uri = "sip:a@1", .at = 4, .max = 2, .cseq = 2), 0);
	memset(&d, 0, sizeof(d));
	assert_int_equal(BIND(.uri = "sip:c@1", .at = 5, .max = 2, .replace = true), 0);
	assert_diary(&d, "-sip:b@1 +sip:c@1");
	/* A limit that was lowered later does not keep anybody from refreshing or going. */
	assert_int_equal(BIND(.uri = "sip:a@1", .at = 6, .max = 1, .cseq = 3), 0);
	assert_int_equal(BIND(.uri = "sip:d@1", .at = 6, .max = 1), -EDQUOT);
	assert_int_equal(BIND(.uri = "sip:c@1", .at = 7, .max = 1, .cseq = 2, .remove = true), 0);
	assert_bound(sh_location_lookup(l, ALICE), "sip:a@1");
	/* More in one request than there may be: nothing can make room for that. Ten is the default. */
	assert_int_equal(update_list(l, twelve, minute, 12, 9, 0, true), -EDQUOT);
	assert_int_equal(update_list(l, twelve, minute, 11, 9, 0, true), -EDQUOT);
	assert_int_equal(update_list(l, twelve, minute, 10, 9, 0, false), -EDQUOT);
	assert_bound(sh_location_lookup(l, ALICE), "sip:a@1");
	assert_int_equal(update_list(l, twelve, minute, 10, 9, 0, true), 0);
	assert_int_equal(sh_location_count(l), 10);
	sh_location_destroy(l);
}

static void a_snapshot_stays_as_it_is(void **state)
{
	struct sh_location *l = new_location(NULL);
	struct sh_bindings *b;

	(void)state;
	BIND(.uri = "sip:a@1", .flow = 5);
	b = sh_location_lookup(l, ALICE);
	BIND(.uri = "sip:b@1", .flow = 5);
	sh_location_flow_closed(l, 5, NOW, NULL);
	assert_null(sh_location_lookup(l, ALICE));
	BIND(.uri = "sip:c@1");
	sh_location_destroy(l);
	assert_int_equal(b->count, 1);
	assert_bound(b, "sip:a@1");
}

static void bindings_expire_when_their_time_is_over_and_not_before(void **state)
{
	struct diary d = {0};
	struct sh_location *l = new_location(&d);

	(void)state;
	BIND(.uri = "sip:a@1", .expires = 60);
	BIND(.uri = "sip:b@1", .expires = 120);
	memset(&d, 0, sizeof(d));
	assert_false(sh_location_expire(l, NOW + 60 * SH_SECOND - 1, NULL));
	assert_diary(&d, "");
	assert_false(sh_location_expire(l, NOW + 60 * SH_SECOND, NULL));
	assert_diary(&d, "xsip:a@1");
	assert_bound(sh_location_lookup(l, ALICE), "sip:b@1");
	BIND(.uri = "sip:b@1", .expires = 120, .at = 100, .cseq = 2);
	memset(&d, 0, sizeof(d));
	sh_location_expire(l, NOW + 219 * SH_SECOND, NULL);
	assert_diary(&d, "");
	sh_location_expire(l, NOW + 220 * SH_SECOND, NULL);
	assert_diary(&d, "xsip:b@1");
	assert_null(sh_location_lookup(l, ALICE));
	assert_int_equal(sh_location_count(l), 0);
	sh_location_destroy(l);
}

static void what_is_due_but_still_there_counts_no_more(void **state)
{
	struct diary d = {0};
	struct sh_location *l = new_location(&d);

	(void)state;
	BIND(.uri = "sip:a@1", .expires = 60, .max = 1, .cseq = 9);
	memset(&d, 0, sizeof(d));
	/* Neither for the limit nor for the order of requests. */
	assert_int_equal(BIND(.uri = "sip:b@1", .at = 60, .max = 1), 0);
	assert_diary(&d, "xsip:a@1 +sip:b@1");
	assert_int_equal(BIND(.uri = "sip:b@1", .at = 3660, .cseq = 1), 0);
	assert_diary(&d, "xsip:b@1 +sip:b@1");
	sh_location_destroy(l);
}

static void a_hundred_thousand_expire_in_bounded_portions(void **state)
{
	struct diary *d = calloc(1, sizeof(*d));
	struct sh_location *l = new_location(d);
	struct sh_random r;
	unsigned calls = 0, total = 0;
	char aor[64];

	(void)state;
	sh_random_init_seed(&r, 7);
	for (unsigned i = 0; i < 100000; i++) {
		int n = snprintf(aor, sizeof(aor), "sip:u%u@example.org", i / 2);

		assert_int_equal(bind_at(l, sh_slice_make(aor, (size_t)n),
					 (struct one){.uri = i % 2 ? "sip:a@1" : "sip:b@1",
						      .cseq = 1,
						      .expires = 60 + (uint32_t)sh_random_below(&r, 3600)}),
				 0);
	}
	assert_int_equal(sh_location_count(l), 100000);
	/* In time: each call takes exactly what has come due since the last one. */
	for (unsigned s = 0; s <= 1800; s++) {
		unsigned before = d->counts[SH_BINDING_EXPIRED];

		while (sh_location_expire(l, NOW + s * SH_SECOND, NULL))
			;
		total += d->counts[SH_BINDING_EXPIRED] - before;
	}
	assert_int_equal(total + sh_location_count(l), 100000);
	assert_in_range(total, 45000, 52000);
	/* All at once, after a long sleep. */
	for (bool more = true; more; calls++) {
		unsigned before = d->counts[SH_BINDING_EXPIRED];

		more = sh_location_expire(l, NOW + 86400 * SH_SECOND, NULL);
		assert_in_range(d->counts[SH_BINDING_EXPIRED] - before, 0, 1001);
	}
	assert_in_range(calls, 45, 60);
	assert_int_equal(d->counts[SH_BINDING_EXPIRED], 100000);
	assert_int_equal(sh_location_count(l), 0);
	sh_location_destroy(l);
	free(d);
}

static void a_closed_flow_takes_its_bindings_and_no_others(void **state)
{
	struct diary d = {0};
	struct sh_location *l = new_location(&d);
	char aor[64];

	(void)state;
	BIND(.uri = "sip:a@1", .flow = 1, .at = 1);
	BIND(.uri = "sip:b@1", .flow = 2, .at = 2);
	BIND(.uri = "sip:c@1", .flow = 1, .at = 3);
	BIND(.uri = "sip:d@1", .at = 4);
	memset(&d, 0, sizeof(d));
	sh_location_flow_closed(l, 0, NOW, NULL);
	sh_location_flow_closed(l, 3, NOW, NULL);
	assert_diary(&d, "");
	sh_location_flow_closed(l, 1, NOW, NULL);
	assert_diary(&d, "!sip:c@1 !sip:a@1");
	assert_bound(sh_location_lookup(l, ALICE), "sip:d@1 sip:b@1");
	sh_location_flow_closed(l, 1, NOW, NULL);
	assert_diary(&d, "");
	/* Refreshed over another connection: the old one does not matter any more. */
	BIND(.uri = "sip:b@1", .flow = 9, .cseq = 2);
	memset(&d, 0, sizeof(d));
	sh_location_flow_closed(l, 2, NOW, NULL);
	assert_diary(&d, "");
	sh_location_flow_closed(l, 9, NOW, NULL);
	assert_diary(&d, "!sip:b@1");
	/* Thousands of users by one connection, some of whom leave first. */
	for (unsigned i = 0; i < 3000; i++) {
		int n = snprintf(aor, sizeof(aor), "sip:u%u@example.org", i);
		struct one o = {.uri = "sip:x@1", .expires = 60, .cseq = 1, .flow = 4};

		bind_at(l, sh_slice_make(aor, (size_t)n), o);
		o.cseq = 2;
		o.remove = i % 3 == 0;
		bind_at(l, sh_slice_make(aor, (size_t)n), o);
	}
	memset(&d, 0, sizeof(d));
	assert_int_equal(sh_location_count(l), 2001);
	sh_location_flow_closed(l, 4, NOW, NULL);
	assert_int_equal(d.counts[SH_BINDING_LOST], 2000);
	assert_int_equal(sh_location_count(l), 1);
	sh_location_destroy(l);
}

static void unbind_removes_one_or_all(void **state)
{
	struct diary d = {0};
	struct sh_location *l = new_location(&d);

	(void)state;
	BIND(.uri = "sip:a@1");
	BIND(.uri = "sip:b@1", .flow = 3);
	BIND(.uri = "sip:c@1");
	memset(&d, 0, sizeof(d));
	assert_int_equal(sh_location_unbind(l, ALICE, SH_LIT("sip:%62@1"), NOW, NULL), 1);
	assert_diary(&d, "-sip:b@1");
	assert_int_equal(sh_location_unbind(l, ALICE, SH_LIT("sip:b@1"), NOW, NULL), 0);
	assert_int_equal(sh_location_unbind(l, SH_LIT("sip:bob@example.org"), SH_LIT(""), NOW, NULL), 0);
	assert_int_equal(sh_location_unbind(l, ALICE, SH_LIT(""), NOW, NULL), 2);
	assert_null(sh_location_lookup(l, ALICE));
	sh_location_destroy(l);
}

/* With allocation number n failing: the update fails and nothing has changed, or it succeeds. */
static void without_memory_nothing_changes(void **state)
{
	struct diary d = {0};
	struct sh_location *l = new_location(&d);
	long n;
	int err = -ENOMEM;

	(void)state;
	for (n = 0; err; n++) {
		sh_alloc_fail_after(n);
		err = BIND(.uri = "sip:a@1", .flow = 1);
		sh_alloc_fail_after(-1);
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(sh_location_lookup(l, ALICE));
		assert_int_equal(sh_location_count(l), 0);
		assert_diary(&d, "");
	}
	assert_in_range(n, 3, 10);
	BIND(.uri = "sip:b@1", .flow = 2, .at = 1);
	memset(&d, 0, sizeof(d));
	for (n = 0;; n++) {
		sh_alloc_fail_after(n);
		err = update_list(l, (const char *[]){"sip:a@1", "sip:c@1"}, (uint32_t[]){0, 60}, 2, 2, 0, false);
		sh_alloc_fail_after(-1);
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
		assert_bound(sh_location_lookup(l, ALICE), "sip:b@1 sip:a@1");
		assert_diary(&d, "");
	}
	assert_true(n >= 2);
	assert_diary(&d, "-sip:a@1 +sip:c@1");
	sh_alloc_fail_after(0);
	assert_int_equal(sh_location_unbind(l, ALICE, SH_LIT("sip:b@1"), NOW, NULL), -ENOMEM);
	sh_alloc_fail_after(-1);
	assert_bound(sh_location_lookup(l, ALICE), "sip:b@1 sip:c@1");
	sh_location_expire(l, NOW + 30 * SH_SECOND, NULL);
	assert_diary(&d, "");
	sh_location_destroy(l);
}

static void what_came_by_a_proxy_with_a_path_does_not_end_with_its_connection(void **state)
{
	struct sh_location *l = new_location(NULL);

	(void)state;
	BIND(.uri = "sip:a@1", .flow = 5, .proxied = true);
	BIND(.uri = "sip:b@1", .flow = 5);
	sh_location_flow_closed(l, 5, NOW, NULL);
	assert_bound(sh_location_lookup(l, ALICE), "sip:a@1");
	sh_location_destroy(l);
}

static void without_memory_what_is_gone_goes_a_second_later(void **state)
{
	struct diary d = {0};
	struct sh_location *l = new_location(&d);

	(void)state;
	BIND(.uri = "sip:a@1", .flow = 1);
	BIND(.uri = "sip:b@1", .flow = 2);
	BIND(.uri = "sip:c@1", .expires = 60);
	memset(&d, 0, sizeof(d));
	sh_alloc_fail_after(0);
	sh_location_flow_closed(l, 1, NOW, NULL);
	assert_false(sh_location_expire(l, NOW + 60 * SH_SECOND, NULL));
	sh_alloc_fail_after(-1);
	assert_int_equal(sh_location_count(l), 3);
	assert_diary(&d, "");
	sh_location_expire(l, NOW + 61 * SH_SECOND, NULL);
	assert_int_equal(d.counts[SH_BINDING_LOST], 1);
	assert_int_equal(d.counts[SH_BINDING_EXPIRED], 1);
	assert_bound(sh_location_lookup(l, ALICE), "sip:b@1");
	/* The last one needs no memory to go. */
	sh_alloc_fail_after(0);
	sh_location_flow_closed(l, 2, NOW, NULL);
	sh_alloc_fail_after(-1);
	assert_int_equal(d.counts[SH_BINDING_LOST], 2);
	assert_null(sh_location_lookup(l, ALICE));
	sh_location_destroy(l);
}

static void count_bindings(void *ctx, const struct sh_bindings *b)
{
	*(unsigned *)ctx += b->count;
}

static void each_visits_everybody(void **state)
{
	struct sh_location *l = new_location(NULL);
	unsigned n = 0;
	char aor[64];

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		int len = snprintf(aor, sizeof(aor), "sip:u%u@example.org", i);

		bind_at(l, sh_slice_make(aor, (size_t)len), (struct one){.uri = "sip:x@1", .expires = 60});
	}
	assert_int_equal(sh_location_each(l, count_bindings, &n), 0);
	assert_int_equal(n, 1000);
	sh_alloc_fail_after(0);
	assert_int_equal(sh_location_each(l, count_bindings, &n), -ENOMEM);
	sh_alloc_fail_after(-1);
	sh_location_destroy(l);
}

struct move {
	struct sh_location *to;
	int err;
};

static void restore_all(void *ctx, const struct sh_bindings *b)
{
	struct move *m = ctx;

	for (unsigned i = 0; i < b->count && !m->err; i++)
		m->err = sh_location_restore(m->to, b->aor, &b->contacts[i]);
}

static void another_store_can_take_all_bindings_over_as_they_are(void **state)
{
	struct diary d = {.len = 0};
	struct sh_location *l = new_location(NULL), *to = new_location(&d);
	struct move m = {to, 0};
	struct sh_bindings *b;

	(void)state;
	BIND(.uri = "sip:a@1", .q = 200, .flow = 7);
	BIND(.uri = "sip:b@1", .q = 900);
	BIND(.uri = "sip:c@1", .q = 500, .instance = "\"<urn:uuid:1>\"", .reg_id = 7);
	sh_location_each(l, restore_all, &m);
	sh_location_each(l, restore_all, &m); /* again: the same ones */
	assert_int_equal(m.err, 0);
	assert_int_equal(sh_location_count(to), 3);
	assert_bound(sh_location_lookup(to, ALICE), "sip:b@1 sip:c@1 sip:a@1");
	assert_diary(&d, ""); /* nothing has happened to them */
	b = sh_location_lookup(to, ALICE);
	assert_int_equal(b->contacts[1].reg_id, 7);
	assert_true(sh_slice_eq(b->contacts[1].path, SH_LIT("<sip:p.example.org;lr>")));
	assert_int_equal(b->contacts[1].expires_at, NOW + 3600 * SH_SECOND);
	sh_bindings_unref(b);
	sh_location_flow_closed(to, 7, NOW, NULL);
	assert_bound(sh_location_lookup(to, ALICE), "sip:b@1 sip:c@1");
	sh_location_destroy(l);
	sh_location_destroy(to);
}

static void creation_fails_cleanly(void **state)
{
	struct sh_location *l = NULL;

	(void)state;
	for (long n = 0; !l; n++) {
		sh_alloc_fail_after(n);
		if (sh_location_create(&l, &test_key, NULL, NULL))
			assert_null(l);
		sh_alloc_fail_after(-1);
	}
	sh_location_destroy(l);
	sh_location_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_binding_keeps_all_that_it_was_given),
	    cmocka_unit_test(contacts_stand_by_q_then_newest_first),
	    cmocka_unit_test(contacts_compare_by_the_uri_rules),
	    cmocka_unit_test(instance_and_reg_id_decide_when_both_have_them),
	    cmocka_unit_test(an_older_request_of_the_same_call_id_is_refused),
	    cmocka_unit_test(one_refused_contact_undoes_the_whole_update),
	    cmocka_unit_test(of_equal_contacts_in_one_update_the_later_counts),
	    cmocka_unit_test(a_limit_refuses_or_replaces_the_oldest),
	    cmocka_unit_test(a_snapshot_stays_as_it_is),
	    cmocka_unit_test(bindings_expire_when_their_time_is_over_and_not_before),
	    cmocka_unit_test(what_is_due_but_still_there_counts_no_more),
	    cmocka_unit_test(a_hundred_thousand_expire_in_bounded_portions),
	    cmocka_unit_test(a_closed_flow_takes_its_bindings_and_no_others),
	    cmocka_unit_test(unbind_removes_one_or_all),
	    cmocka_unit_test(without_memory_nothing_changes),
	    cmocka_unit_test(what_came_by_a_proxy_with_a_path_does_not_end_with_its_connection),
	    cmocka_unit_test(without_memory_what_is_gone_goes_a_second_later),
	    cmocka_unit_test(each_visits_everybody),
	    cmocka_unit_test(another_store_can_take_all_bindings_over_as_they_are),
	    cmocka_unit_test(creation_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
