/* The examples of docs/lua.md, docs/lua/ and docs/tls.md: each one loads, and those that say so (-- call, -- message,
 * -- register, -- subscribe, -- refer) are run, with the answer that they promise (-- call: 486). No error may be in the log. */
#include "script_world.h"

#include <glob.h>

static char *page;

/* All pages, one behind the other. */
static int read_page(void **state)
{
	size_t len = 0;
	glob_t paths;

	(void)state;
	if (glob("docs/lua.md", 0, NULL, &paths) || glob("docs/lua/*.md", GLOB_APPEND, NULL, &paths) ||
	    glob("docs/tls.md", GLOB_APPEND, NULL, &paths))
		fail_msg("docs/: run from the root of the tree");
	for (size_t i = 0; i < paths.gl_pathc; i++) {
		FILE *f = fopen(paths.gl_pathv[i], "rb");
		long size;

		assert_non_null(f);
		fseek(f, 0, SEEK_END);
		size = ftell(f);
		rewind(f);
		page = realloc(page, len + (size_t)size + 1);
		assert_int_equal(fread(page + len, 1, (size_t)size, f), size);
		len += (size_t)size;
		page[len] = '\0';
		fclose(f);
	}
	globfree(&paths);
	return 0;
}

static int free_page(void **state)
{
	(void)state;
	free(page);
	return 0;
}

/* The phones of the examples take every call and message. */
static void be_polite(struct phone_msg *m, void *ctx)
{
	(void)ctx;
	if (m->code == 0 && m->m.is_request && m->m.method != SH_ACK)
		phone_reply(m, 200, NULL, NULL, m->m.method == SH_INVITE ? SDP : NULL);
	m->consumed = m->m.is_request;
}

static bool was_hung_up(const struct phone *p)
{
	SH_LIST_EACH(l, &p->log)
	{
		const struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

		if (!m->sent && m->code == 0 && m->m.is_request && m->m.method == SH_BYE)
			return true;
	}
	return false;
}

/* "-- call: 486" says what the answer is; nothing: any but 500. */
static void check_answer(const char *text, unsigned status)
{
	unsigned wanted;

	if (sscanf(text, "-- %*[a-z]: %u", &wanted) != 1)
		wanted = status == 500 ? 0 : status;
	if (status != wanted)
		phone_fail(w->sim, __FILE__, __LINE__, "%u came, in the example\n%s", status, text);
}

static void call_once(const char *text)
{
	struct phone_call *c = phone_invite(alice, "sip:bob@example.org", "X-Customer: 7", SDP);
	struct phone_msg *m;

	do {
		m = phone_expect_in(c, "*", 60 * SH_SECOND);
	} while (m->m.status < 200);
	phone_ack(m, NULL, NULL);
	check_answer(text, m->m.status);
	if (m->m.status >= 300)
		return;
	world_advance(w, SH_SECOND);
	if (was_hung_up(alice))
		return;
	phone_bye(c);
	soon(alice, "200 BYE");
}

static void cancel_once(void)
{
	struct phone_call *c = phone_invite(alice, "sip:bob@example.org", NULL, SDP);
	struct phone_msg *m;

	world_advance(w, SH_SECOND / 1000);
	phone_cancel(c, NULL);
	do {
		m = phone_expect_in(c, "*", 60 * SH_SECOND);
	} while (m->m.status < 200 || m->m.method != SH_INVITE);
	phone_ack(m, NULL, NULL);
	phone_assert(alice, m->m.status != 500);
	if (m->m.status >= 300)
		return;
	phone_bye(c);
	phone_expect(alice, "200 BYE", SH_SECOND);
}

static void request_once(const char *method, const char *text)
{
	static const char headers[] = "Event: x-time\nExpires: 60";
	bool subscribe = strcmp(method, "SUBSCRIBE") == 0;
	struct phone_call *c = phone_request(bob, method, "sip:bob@example.org", subscribe ? headers : NULL, NULL);
	struct phone_msg *m = phone_expect_in(c, "*", 60 * SH_SECOND);

	if (m->m.status == 401) {
		phone_login(bob, "bob", "builder");
		phone_authorize(m);
		m = phone_expect_in(c, "*", 60 * SH_SECOND);
		phone_assert(bob, m->m.status == 200);
	}
	check_answer(text, m->m.status);
}

/* bob sends alice to carol; all three get along by themselves. */
static void refer_once(void)
{
	struct phone_call *c = phone_invite(alice, "sip:bob@example.org", NULL, SDP), *b;
	struct phone_msg *m;

	carol = world_phone(w, "carol", "10.0.0.4");
	phone_auto(carol, PHONE_ROBUST);
	alice->on_message = carol->on_message = be_polite;
	phone_ack(phone_expect_in(c, "200", 60 * SH_SECOND), NULL, NULL);
	world_advance(w, SH_SECOND);
	b = SH_CONTAINER(bob->calls.next, struct phone_call, link);
	phone_in_call(b, "REFER", "Refer-To: <sip:carol@example.org>", NULL);
	m = phone_expect_in(b, "200 REFER", 60 * SH_SECOND);
	phone_assert(bob, m->m.status != 500);
	world_advance(w, 60 * SH_SECOND);
	phone_bye(c);
	phone_expect_in(c, "200 BYE", SH_SECOND);
}

static void try_example(const char *text, size_t len)
{
	static const char prelude[] = "local sip = require 'siphook' ";
	static const char a_call[] = "\nsip.on.invite(function(call) call:dial 'sip:bob@10.0.0.3' end)\n";
	bool refer = strncmp(text, "-- refer", 8) == 0;
	char *script = calloc(1, sizeof(prelude) + len + sizeof(a_call));

	memcpy(script, prelude, sizeof(prelude) - 1);
	memcpy(script + sizeof(prelude) - 1, text, len);
	text = script + sizeof(prelude) - 1;
	if (refer)
		memcpy(script + sizeof(prelude) - 1 + len, a_call, sizeof(a_call) - 1);
	w = world_create(NULL, script);
	alice = world_phone(w, "alice", "10.0.0.2");
	bob = world_phone(w, "bob", "10.0.0.3");
	phone_auto(alice, PHONE_ROBUST);
	phone_auto(bob, PHONE_ROBUST);
	bob->on_message = be_polite;
	if (strncmp(text, "-- call", 7) == 0) {
		call_once(text);
		cancel_once();
	} else if (strncmp(text, "-- message", 10) == 0) {
		request_once("MESSAGE", text);
	} else if (refer) {
		refer_once();
	} else if (strncmp(text, "-- register", 11) == 0) {
		request_once("REGISTER", text);
	} else if (strncmp(text, "-- subscribe", 12) == 0) {
		request_once("SUBSCRIBE", text);
	}
	world_advance(w, 100 * SH_SECOND);
	world_destroy(w);
	free(script);
}

static void every_example_loads_and_does_its_work(void **state)
{
	unsigned n = 0;

	(void)state;
	for (char *at = page; (at = strstr(at, "```lua\n"));) {
		char *end_of = strstr(at += 7, "```");

		assert_non_null(end_of);
		try_example(at, (size_t)(end_of - at));
		at = end_of + 3;
		n++;
	}
	assert_true(n >= 45);
}

/* Whatever a script can name stands on the page: what `sip` has, and each verb of an object, by the stubs for editors, which
 * a test of theirs compares with the runtime. */
static void every_name_of_sip_is_documented(void **state)
{
	char plan[] = "local sip = require 'siphook'\n"
		      "local names = {}\n"
		      "for k, v in pairs(sip) do names[#names + 1] = k end\n"
		      "table.sort(names)\n"
		      "sip.log.info(table.concat(names, ' '))\n";
	char text[200], *name, *rest;

	(void)state;
	w = world_create(NULL, plan);
	rest = strchr(w->lines[0].text, ' ');
	while ((name = strtok_r(rest, " ", &rest))) {
		snprintf(text, sizeof(text), "sip.%s", name);
		if (!strstr(page, text))
			fail_msg("'%s' is not documented", text);
	}
	world_destroy(w);
}

static void every_verb_is_documented(void **state)
{
	FILE *f = fopen("lua/siphook.d.lua", "r");
	char line[1000], class[64], name[64], wanted[3][100];
	unsigned verbs = 0;

	(void)state;
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "function %63[a-z]:%63[a-z_](", class, name) != 2)
			continue;
		verbs++;
		snprintf(wanted[0], sizeof(wanted[0]), "### %s\n", name);
		snprintf(wanted[1], sizeof(wanted[1]), ":%s(", name);
		snprintf(wanted[2], sizeof(wanted[2]), ":%s{", name);
		if (!strstr(page, wanted[0]) && !strstr(page, wanted[1]) && !strstr(page, wanted[2]))
			fail_msg("'%s:%s' is not documented", class, name);
	}
	fclose(f);
	assert_true(verbs >= 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_example_loads_and_does_its_work),
	    cmocka_unit_test(every_name_of_sip_is_documented),
	    cmocka_unit_test(every_verb_is_documented),
	};

	return cmocka_run_group_tests(tests, read_page, free_page);
}
