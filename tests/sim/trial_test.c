/* The test tool tests itself: the files of tests/trial/ run in it, and what it says of each case is what the case's name promises:
 * a case passes, or its name goes on with " | " and a text that its failure must contain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "engine/engine.h"
#include "engine/files.h"
#include "msg/digest.h"
#include "trial/trial.h"

struct tally {
	unsigned cases, wrong;
	char *last; /* details of the last failure */
	bool expect_all;
};

static void on_case(void *ctx, const struct sh_trial_case *c)
{
	struct tally *t = ctx;
	const char *promise = strstr(c->name, " | ");

	t->cases++;
	if (c->details) {
		free(t->last);
		t->last = strdup(c->details);
	}
	if (!promise && !c->failure)
		return;
	if (promise && c->failure && strstr(c->failure, promise + 3))
		return;
	t->wrong++;
	print_error("%s: %s\n%s\n", c->name, c->failure ? c->failure : "passed", c->details ? c->details : "");
}

static struct tally run_with(struct sh_trial_options o)
{
	struct tally t = {0};
	char error[2048];

	o.result = on_case;
	o.ctx = &t;
	if (sh_trial_run(&o, error, sizeof(error)) < 0)
		fail_msg("%s", error);
	assert_int_equal(t.wrong, 0);
	return t;
}

static void run_file(const char *file)
{
	struct tally t = run_with((struct sh_trial_options){.file = file});

	assert_true(t.cases > 0);
	free(t.last);
}

static void the_contract_example_runs(void **state)
{
	(void)state;
	run_file("tests/trial/contract_test.lua");
}

static void phones_do_what_a_test_says(void **state)
{
	(void)state;
	run_file("tests/trial/phones_test.lua");
}

static void failures_say_what_came_instead(void **state)
{
	(void)state;
	run_file("tests/trial/failures_test.lua");
}

/* lua/siphook.d.lua and its neighbours against the tables of the runtime. */
static void editors_are_told_what_there_is(void **state)
{
	(void)state;
	run_file("tests/trial/stubs_test.lua");
	run_file("tests/trial/options_test.lua");
	run_file("tests/trial/arguments_test.lua");
	run_file("tests/trial/reference_test.lua");
}

static void limits_are_told_and_counted(void **state)
{
	(void)state;
#ifndef SH_TORTURE /* ten thousand hooks, looked through at each call of the API, would take hours */
	run_file("tests/trial/limits_test.lua");
#endif
}

static void the_world_around_a_plan(void **state)
{
	(void)state;
	run_file("tests/trial/world_test.lua");
}

static void a_call_has_the_verbs_of_a_request(void **state)
{
	(void)state;
	run_file("tests/trial/reply_test.lua");
}

static void legs_that_are_hung_up_take_their_call_along(void **state)
{
	(void)state;
	run_file("tests/trial/legs_test.lua");
}

static void what_a_script_says_takes_the_place_of_ours(void **state)
{
	(void)state;
	run_file("tests/trial/said_test.lua");
}

static void verbs_say_why_not(void **state)
{
	(void)state;
	run_file("tests/trial/edges_test.lua");
}

static void a_dial_plan_is_taken_at_its_word(void **state)
{
	(void)state;
	run_file("tests/trial/plain_test.lua");
}

/* Each dial plan of examples/ has its tests beside it. */
static void the_examples_do_what_their_tests_say(void **state)
{
	unsigned plans = 0, tests = 0;
	glob_t files;

	(void)state;
	assert_int_equal(glob("examples/dialplans/*.lua", 0, NULL, &files), 0);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		const char *path = files.gl_pathv[i];
		size_t len = strlen(path);
		char test[200];

		if (len > 9 && strcmp(path + len - 9, "_test.lua") == 0) {
			run_file(path);
			tests++;
			continue;
		}
		plans++;
		snprintf(test, sizeof(test), "%.*s_test.lua", (int)(len - 4), path);
		if (access(test, R_OK) != 0)
			fail_msg("%s has no %s", path, test);
	}
	assert_int_equal(plans, tests);
	globfree(&files);
}

/* The text of a block "```lua NAME" or "```text NAME" of the page from *at on, which moves behind it; NULL: no more. */
static char *next_block(const char **at, char name[64])
{
	const char *begin = *at, *end;

	do {
		begin = strstr(begin + 1, "\n```");
		if (!begin)
			return NULL;
	} while (sscanf(begin, "\n```lua %63s", name) != 1 && sscanf(begin, "\n```text %63s", name) != 1);
	begin = strchr(begin + 1, '\n') + 1;
	end = strstr(begin, "\n```");
	assert_non_null(end);
	*at = end + 4;
	return strndup(begin, (size_t)(end + 1 - begin));
}

static void write_file(const char *folder, const char *name, const char *text, char path[300])
{
	FILE *f;

	snprintf(path, 300, "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

struct failure {
	char text[8192]; /* as the command prints it */
	size_t len;
};

static void add_lines(struct failure *f, const char *text)
{
	for (const char *end; *text; text = *end ? end + 1 : end) {
		end = strchrnul(text, '\n');
		f->len += (size_t)snprintf(f->text + f->len, sizeof(f->text) - f->len, "      %.*s\n", (int)(end - text), text);
	}
}

static void on_failing_case(void *ctx, const struct sh_trial_case *c)
{
	struct failure *f = ctx;

	assert_non_null(c->failure);
	f->len = (size_t)snprintf(f->text, sizeof(f->text), "FAIL  %s\n", c->name);
	add_lines(f, c->failure);
	add_lines(f, c->details ? c->details : "");
}

/* What the command prints of a case in the folder that fails. */
static void run_failing(const char *folder, struct failure *out)
{
	struct sh_trial_options o = {.file = "case.lua", .result = on_failing_case, .ctx = out};
	char error[2048], *before = getcwd(NULL, 0);

	assert_non_null(before);
	assert_int_equal(chdir(folder), 0);
	if (sh_trial_run(&o, error, sizeof(error)) < 0)
		fail_msg("%s", error);
	assert_int_equal(chdir(before), 0);
	free(before);
}

static void the_examples_of_the_manual_run(void **state)
{
	char folder[] = "/tmp/siphook-testing-XXXXXX", name[64], path[300], plan[300], *page, *block;
	FILE *f = fopen("docs/testing.md", "r");
	size_t size = 1 << 20;
	static struct failure failure;
	unsigned cases = 0, shown = 0;

	(void)state;
	assert_non_null(f);
	assert_non_null(mkdtemp(folder));
	page = calloc(1, size);
	assert_true(fread(page, 1, size - 1, f) > 0);
	fclose(f);
	for (const char *at = page; (block = next_block(&at, name)) != NULL; free(block)) {
		bool is_case = strcmp(name, "case") == 0, failing = strcmp(name, "failing") == 0;

		if (strcmp(name, "failure") == 0) {
			assert_string_equal(failure.text, block);
			shown++;
			continue;
		}
		write_file(folder, is_case || failing ? "case.lua" : name, block, is_case || failing ? path : plan);
		if (is_case)
			run_file(path);
		else if (failing)
			run_failing(folder, &failure);
		cases += is_case;
	}
	assert_true(cases >= 4 && shown == 1);
	unlink(path);
	unlink(plan);
	rmdir(folder);
	free(page);
}

static int selftest(const char *script, const char *code, char *error, size_t size)
{
	struct sh_pair pair = {"code", code};
	struct sh_trial_selftest o = {.script = script, .config = &pair, .nconfig = 1};

	return sh_trial_selftest(&o, error, size);
}

static void a_dial_plan_tries_itself_out(void **state)
{
	char error[1024];

	(void)state;
	assert_int_equal(selftest("tests/trial/data/selftest.lua", "486", error, sizeof(error)), 0);
	assert_int_equal(selftest("tests/trial/data/selftest.lua", "603", error, sizeof(error)), -EINVAL);
	assert_string_equal(error, "selftest: tests/trial/data/selftest.lua:26: alice expected 603 Decline, but 486 Busy Here (INVITE) came");
	assert_int_equal(selftest("tests/trial/data/selftest.lua", "leak", error, sizeof(error)), -EINVAL);
	assert_string_equal(error, "selftest: tests/trial/data/selftest.lua:31: as asked");
	assert_int_equal(selftest("tests/trial/data/config.lua", "", error, sizeof(error)), 0); /* none */
	assert_int_equal(selftest("tests/trial/data/listeners.lua", "", error, sizeof(error)), 0);
	assert_int_equal(selftest("tests/trial/data/syntax.lua", "", error, sizeof(error)), -EINVAL);
}

struct lines {
	char text[16384];
	size_t len;
};

static void on_line(void *ctx, const char *line, size_t len)
{
	struct lines *l = ctx;

	if (l->len + len + 2 > sizeof(l->text))
		return;
	memcpy(l->text + l->len, line, len);
	l->len += len;
	l->text[l->len++] = '\n';
	l->text[l->len] = '\0';
}

static int replay(const char *record, const char *key, const char *value, bool make_case, struct lines *out)
{
	struct sh_pair pair = {key, value};
	struct sh_trial_replay o = {.record = record, .config = &pair, .nconfig = 1, .make_case = make_case, .print = on_line, .ctx = out};
	char error[1024] = "";
	int err;

	*out = (struct lines){.len = 0};
	err = sh_trial_replay(&o, error, sizeof(error));
	if (err < 0)
		on_line(out, error, strlen(error));
	return err;
}

static void must_say(const struct lines *l, const char *part)
{
	if (!strstr(l->text, part))
		fail_msg("'%s' is not in:\n%s", part, l->text);
}

static char *read_text(const char *path, size_t *len)
{
	struct sh_vm_stamp stamp;
	char *text;

	assert_int_equal(sh_engine_read_file(NULL, path, &text, len, &stamp), 0);
	return text;
}

static void write_text(const char *path, const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* The case that was made, beside a copy of its dial plan, passes as it is written. */
static void must_pass(const struct lines *made, const char *plan)
{
	char folder[] = "/tmp/siphook-case-XXXXXX", test[64], copy[128], *text;
	size_t len;

	assert_non_null(mkdtemp(folder));
	snprintf(test, sizeof(test), "%s/case_test.lua", folder);
	snprintf(copy, sizeof(copy), "%s%s", folder, strrchr(plan, '/'));
	write_text(test, made->text, made->len);
	text = read_text(plan, &len);
	write_text(copy, text, len);
	sh_free(text);
	run_file(test);
	unlink(test);
	unlink(copy);
	rmdir(folder);
}

static void a_recorded_call_is_replayed_and_differences_are_told(void **state)
{
	static struct lines out;
	char path[] = "/tmp/siphook-record-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	setenv("SIPHOOK_RECORD", path, 1);
	run_file("tests/trial/record_test.lua");
	unsetenv("SIPHOOK_RECORD");
	if (replay(path, "none", "", false, &out) != 0)
		fail_msg("%s", out.text);
	must_say(&out, "answers the caller 407");
	must_say(&out, "calls sip:bob@198.18.1.2:5060 at 198.18.1.2:5060  (record.lua:14: call:fork)");
	must_say(&out, "answers the caller 180 Ringing");
	must_say(&out, "sends CANCEL to 198.18.1.2:5060");
	must_say(&out, "answers the caller 200 OK");
	must_say(&out, "sends BYE to 198.18.1.1:5060");
	must_say(&out, "\nno difference\n");
	assert_int_equal(replay(path, "mailbox", "no", false, &out), 1);
	must_say(&out, "calls sip:mail@10.0.0.2 at 10.0.0.2:5060");
	must_say(&out, "\n+ ");
	must_say(&out, "answers the caller 408 Request Timeout  (record.lua:16: call:reject)");
	assert_int_equal(replay(path, "seconds", "10", false, &out), 1);
	must_say(&out, "(recorded at 20.");
	assert_int_equal(replay(path, "none", "", true, &out), 0);
	must_say(&out, "local plan = t.load(\"record.lua\"");
	must_say(&out, "local out = alice:invite \"bob\"");
	must_say(&out, "expect(\"INVITE\", { uri = \"^sip:mail\" })"); /* a pattern: a number's + is escaped */
	must_say(&out, "plan:advance(20)");
	must_say(&out, ":expect \"CANCEL\"");
	must_say(&out, "out:expect(200):ack()");
	must_pass(&out, "tests/trial/data/record.lua");
	assert_true(replay("tests/trial/data/syntax.lua", "none", "", false, &out) < 0);
	must_say(&out, "this is no record of siphook");
	unlink(path);
}

/* In place; what is no record any more is refused in words, and what still is one runs. */
static void damage(char *text, size_t *len, uint64_t *random)
{
	static const char octets[] = "0123456789-.eE\"\\,:{}[] tfn\xff\r\n";
	unsigned kind, n;

	*random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
	kind = (unsigned)(*random >> 61);
	n = 1 + (unsigned)(*random >> 58 & 7);
	for (unsigned i = 0; i < n; i++) {
		size_t at;

		*random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
		at = (size_t)(*random >> 20) % *len;
		if (kind == 0)
			*len = at + 1;
		else if (kind < 5) /* a digit for a digit: sizes and times */
			text[at] = text[at] >= '0' && text[at] <= '9' ? (char)('0' + (*random >> 12) % 10) : text[at];
		else
			text[at] = octets[(*random >> 12) % (sizeof(octets) - 1)];
	}
}

static void nothing_in_a_record_is_believed(const char *path)
{
	static struct lines out;
	static const struct {
		const char *record, *says;
	} wrong[] = {
	    {"", "this is no record of siphook"},
	    {"[]", "this is no record of siphook"},
	    {"{\"siphook_record\":2}", "this is no record of siphook"},
	    {"{\"siphook_record\":1}", "'script': string expected, got nothing"},
	    {"{\"siphook_record\":1,\"script\":\"x\",\"began\":-1}", "'began': 0 to "},
	    {"{\"siphook_record\":1,\"script\":\"x\",\"began\":0,\"domains\":[5]}", "domains 1: string expected, got number"},
	    {"{\"siphook_record\":1,\"script\":\"x\",\"began\":0,\"domains\":[],\"messages\":[{\"text\":1}]}", "message 1: 'text': string expected"},
	    {"{\"siphook_record\":1,\"script\":\"x\",\"began\":0,\"domains\":[],\"messages\":[],\"legs\":[]}", "no INVITE of a caller"},
	};
	size_t len, whole;
	char *text = read_text(path, &whole), *copy = malloc(whole + 1);
	uint64_t random = 1;

	assert_non_null(copy);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		write_text(path, wrong[i].record, strlen(wrong[i].record));
		assert_true(replay(path, "none", "", i & 1, &out) < 0);
		must_say(&out, wrong[i].says);
	}
	for (unsigned i = 0; i < 300; i++) {
		memcpy(copy, text, whole);
		len = whole;
		damage(copy, &len, &random);
		write_text(path, copy, len);
		replay(path, "none", "", i & 1, &out);
		if (strstr(out.text, "attempt to") || strstr(out.text, "bad argument")) /* a check is missing */
			fail_msg("seed %u: %s", i, out.text);
	}
	write_text(path, text, whole);
	free(copy);
	sh_free(text);
}

static void web_servers_and_stores_say_in_a_replay_what_they_said(void **state)
{
	enum { LONG_RECORD = 9 << 20 };
	static struct lines out;
	char folder[] = "/tmp/siphook-record-XXXXXX", path[64], old[64], *text, *longer;
	size_t len;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/record.json", folder);
	snprintf(old, sizeof(old), "%s/old.json", folder);
	setenv("SIPHOOK_RECORD", path, 1);
	run_file("tests/trial/outside_test.lua");
	unsetenv("SIPHOOK_RECORD");
	if (replay(path, "none", "", false, &out) != 0)
		fail_msg("%s", out.text);
	must_say(&out, "asks https://routes.example.net/%2B498922  (outside.lua:23: sip.http.get)");
	must_say(&out, "asks POST https://bill.example.net/");
	must_say(&out, "calls sip:+498922@10.0.0.2 at 10.0.0.2:5060");
	must_say(&out, "\nno difference\n");
	assert_null(strstr(out.text, "status.example.net")); /* a timer has asked it */
	/* a record of before */
	text = read_text(path, &len);
	for (char *at = text; (at = strstr(at, "\"http\":[")) || (at = strstr(text, "\"shared\":[")); at++)
		at[1] = '_';
	write_text(old, text, len);
	sh_free(text);
	assert_int_equal(replay(old, "none", "", false, &out), 1);
	must_say(&out, "-     0.858  calls sip:+498922@10.0.0.2 at 10.0.0.2:5060");
	must_say(&out, "answers the caller 404 Not Found  (outside.lua:38: call:reject)");
	/* a long one */
	text = read_text(path, &len);
	longer = sh_malloc(len + LONG_RECORD);
	assert_non_null(longer);
	memcpy(longer, text, len);
	memset(longer + len, ' ', LONG_RECORD);
	write_text(old, longer, len + LONG_RECORD);
	sh_free(longer);
	sh_free(text);
	assert_int_equal(replay(old, "none", "", false, &out), 0);
	/* other servers */
	assert_int_equal(replay(path, "routes", "https://new.example.net/", false, &out), 1);
	must_say(&out, "-     0.0"); /* the first request to the old one */
	must_say(&out, "asks https://new.example.net/%2B498922, which the record does not know");
	must_say(&out, "answers the caller 404 Not Found");
	/* as a test case, which passes as it is written */
	assert_int_equal(replay(path, "none", "", true, &out), 0);
	must_say(&out, "[\"GET https://routes.example.net/%2B498922\"] = in_turn{");
	must_say(&out, "{ \"a=1\", \"b=2\", \"c=3\" }");
	must_say(&out, "plan:shared(\"queue\"):set(\"gateways\", { \"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\" })");
	must_pass(&out, "tests/trial/data/outside.lua");
	nothing_in_a_record_is_believed(path);
	unlink(path);
	unlink(old);
	rmdir(folder);
}

/* Every seed: what is lost is sent again, by the phones too. */
static void cases_pass_on_a_network_that_loses(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct tally t = run_with((struct sh_trial_options){
		    .file = "tests/trial/contract_test.lua", .seed = seed, .loss = 0.2, .filter = "lossy"});

		assert_true(t.cases > 0);
		free(t.last);
	}
}

static char *ladder_of(const char *filter, uint64_t seed)
{
	struct tally t = run_with(
	    (struct sh_trial_options){.file = "tests/trial/failures_test.lua", .filter = filter, .seed = seed});

	assert_int_equal(t.cases, 1);
	assert_non_null(t.last);
	return t.last;
}

static void a_ladder_shows_all_legs_and_the_lines_of_the_script(void **state)
{
	char *text = ladder_of("wrong answer", 1);

	(void)state;
	assert_non_null(strstr(text, "alice                     siphook                   bob"));
	assert_non_null(strstr(text, "|---------INVITE--------->|"));
	assert_non_null(strstr(text, "| dialplan.lua:17: call:fork("));
	assert_non_null(strstr(text, "{timeout = 20}"));
	assert_non_null(strstr(text, "486 Busy Here"));
	free(text);
}

static void a_seed_replays_exactly(void **state)
{
	char *first = ladder_of("wrong answer", 7), *second = ladder_of("wrong answer", 7);

	(void)state;
	assert_string_equal(first, second);
	free(first);
	free(second);
}

/* Many cases: each runs in one part, in the order of the file. Few: the first part has them all. */
static void a_file_with_many_cases_is_divided(void **state)
{
	static const char text[] = "local t = require 'siphook.test'\n"
				   "for i = 1, %u do t.case('case ' .. i, function() end) end\n";
	static const unsigned sizes[] = {SH_TRIAL_MANY + 7, SH_TRIAL_MANY - 1};
	char path[] = "/tmp/siphook-many-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	for (unsigned i = 0; i < 2; i++) {
		unsigned sum = 0;
		FILE *f = fopen(path, "w");

		assert_non_null(f);
		fprintf(f, text, sizes[i]);
		fclose(f);
		for (unsigned part = 0; part < 3; part++) {
			struct tally t = run_with((struct sh_trial_options){.file = path, .part = part, .parts = 3});

			assert_true(i == 0 ? t.cases >= sizes[0] / 3 : t.cases == (part == 0 ? sizes[1] : 0));
			sum += t.cases;
		}
		assert_int_equal(sum, sizes[i]);
	}
	unlink(path);
}

static void files_that_do_not_load_are_told_with_their_line(void **state)
{
	struct sh_trial_options o = {.file = "tests/trial/data/syntax.lua"};
	char error[2048];

	(void)state;
	assert_true(sh_trial_run(&o, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "tests/trial/data/syntax.lua:2:"));
	o.file = "tests/trial/data/nowhere.lua";
	assert_true(sh_trial_run(&o, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "cannot read tests/trial/data/nowhere.lua"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_contract_example_runs),
	    cmocka_unit_test(phones_do_what_a_test_says),
	    cmocka_unit_test(failures_say_what_came_instead),
	    cmocka_unit_test(editors_are_told_what_there_is),
	    cmocka_unit_test(the_world_around_a_plan),
	    cmocka_unit_test(limits_are_told_and_counted),
	    cmocka_unit_test(a_call_has_the_verbs_of_a_request),
	    cmocka_unit_test(legs_that_are_hung_up_take_their_call_along),
	    cmocka_unit_test(what_a_script_says_takes_the_place_of_ours),
	    cmocka_unit_test(verbs_say_why_not),
	    cmocka_unit_test(a_dial_plan_is_taken_at_its_word),
	    cmocka_unit_test(the_examples_do_what_their_tests_say),
	    cmocka_unit_test(the_examples_of_the_manual_run),
	    cmocka_unit_test(a_recorded_call_is_replayed_and_differences_are_told),
	    cmocka_unit_test(web_servers_and_stores_say_in_a_replay_what_they_said),
	    cmocka_unit_test(a_dial_plan_tries_itself_out),
	    cmocka_unit_test(cases_pass_on_a_network_that_loses),
	    cmocka_unit_test(a_ladder_shows_all_legs_and_the_lines_of_the_script),
	    cmocka_unit_test(a_seed_replays_exactly),
	    cmocka_unit_test(a_file_with_many_cases_is_divided),
	    cmocka_unit_test(files_that_do_not_load_are_told_with_their_line),
	};

	if (sh_digest_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
