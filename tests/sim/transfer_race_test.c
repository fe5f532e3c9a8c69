/* REFER x BYE and the like: whoever hangs up at whatever moment of a transfer, with a network that loses, repeats and reorders,
 * on one worker and on several: in the end no leg is left, each dialog was ended, and the hangup hook ran once for each call. */
#include "b2bua_habits.h"
#include "transfer_helpers.h"

static struct habits ha, hb, hc;
static unsigned done, failed; /* transfers */

static void stage(uint64_t seed, unsigned workers)
{
	struct world_options o = {.workers = workers, .sim = {.seed = seed, .loss = 0.1, .duplicate = 0.05, .delay_min = 500, .delay_max = 20000}};

	begin_with(&o, TRANSFER_PLAN);
	ha = (struct habits){.ring = true, .answer = true, .sdp = SDP_A};
	hb = (struct habits){.ring = true, .answer = true, .sdp = SDP_B};
	hc = (struct habits){.ring = true, .answer = true, .sdp = SDP_C};
	take_up(alice, &ha);
	take_up(bob, &hb);
	take_up(carol, &hc);
	w->forgiving = true;
}

static struct phone_call *only_call(struct phone *p)
{
	return sh_list_empty(&p->calls) ? NULL : SH_CONTAINER(p->calls.next, struct phone_call, link);
}

static struct phone_call *last_call(struct phone *p)
{
	return sh_list_empty(&p->calls) ? NULL : SH_CONTAINER(p->calls.prev, struct phone_call, link);
}

/* One of the parties leaves all that it is in. */
static void leaves(struct phone *p)
{
	SH_LIST_EACH (l, &p->calls) {
		struct phone_call *c = SH_CONTAINER(l, struct phone_call, link);

		if (c->confirmed && !has_bye(c))
			phone_bye(c);
	}
}

static unsigned lines_with(const char *part)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->nlines; i++)
		n += strstr(w->lines[i].text, part) != NULL;
	return n;
}

/* The end of a round: everybody leaves what is left, and all is over. */
static void round_over(uint64_t seed)
{
	uint64_t calls = 0;

	world_advance(w, 40 * SH_SECOND);
	leaves(alice);
	leaves(bob);
	leaves(carol);
	world_settle(w, 500 * SH_SECOND);
	for (unsigned i = 0; i < w->workers; i++) {
		calls += sh_ua_stats(w->ua[i])->calls;
		if (sh_ua_stats(w->ua[i])->legs_live || sh_ua_stats(w->ua[i])->calls_live)
			phone_fail(w->sim, __FILE__, __LINE__, "seed %llu: something is left", (unsigned long long)seed);
	}
	done += lines_with(": done");
	failed += lines_with("transfer to ") - lines_with(": done");
	if (lines_with("hangup ") != calls)
		phone_fail(w->sim, __FILE__, __LINE__, "seed %llu: %u hangup hooks for %u calls", (unsigned long long)seed, lines_with("hangup "),
			   (unsigned)calls);
	world_destroy(w);
}

static void explore(uint64_t from, unsigned seeds, bool attended)
{
	done = failed = 0;
	for (uint64_t seed = from; seed < from + seeds; seed++) {
		struct phone *all[3];
		uint64_t mix = seed * 0x9e3779b97f4a7c15u;
		struct phone_call *b;

		stage(seed, seed % 3 ? 1 : 3);
		all[0] = alice;
		all[1] = bob;
		all[2] = carol;
		phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
		world_advance(w, 3 * SH_SECOND);
		b = only_call(bob);
		if (attended && b) {
			phone_invite(bob, "sip:carol@example.org", NULL, SDP_B);
			world_advance(w, 3 * SH_SECOND);
		}
		if (b && b->confirmed && !has_bye(b)) {
			struct phone_call *second = last_call(bob);
			bool with = attended && second != b && second->remote_tag;

			phone_in_call(b, "REFER", with ? replaces(second, "carol") : "Refer-To: <sip:carol@example.org>", NULL);
			world_advance(w, mix >> 40 & 0x1ffff); /* up to 131 ms */
			leaves(all[(mix >> 32) % 3]);
			world_advance(w, mix >> 20 & 0xffff);
			if (mix & 0x100)
				leaves(all[(mix >> 16) % 3]);
		}
		round_over(seed);
	}
	/* both ends of it were seen */
	assert_in_range(done, seeds / 4, seeds);
	assert_in_range(failed, seeds / 20, seeds);
}

static void blind(void **state)
{
	(void)state;
	explore(1, 400, false);
}

static void attended(void **state)
{
	(void)state;
	explore(1001, 400, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(blind), cmocka_unit_test(attended)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
