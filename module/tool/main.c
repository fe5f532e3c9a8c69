#include "tool.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum argument { NONE, SCRIPT, ID, FILES, RECORD, REPLAY };

static const struct command {
	const char *name;
	int (*run)(struct settings *s);
	const char *letters;
	enum argument argument;
	const char *usage, *summary;
} commands[] = {
    {"run", command_run, "cslwo", SCRIPT, "[-c FILE] [-s PATH] [-l URI]... [-w WORKERS] [-o KEY=VALUE]... [SCRIPT]",
     "serve with a dial plan"},
    {"check", command_check, "coj", SCRIPT, "[-c FILE] [-o KEY=VALUE]... [--json] [SCRIPT]",
     "load and verify a dial plan, open nothing"},
    {"test", command_test, "fSLJt", FILES, "[--seed N] [--loss P] [--filter PATTERN] [--jobs N] [--tap] FILE...",
     "run the tests of a dial plan on a virtual network"},
    {"record", command_record, "csf", RECORD, "[-s PATH] [--filter TEXT] FILE",
     "write the next call to a file, with all its legs"},
    {"replay", command_replay, "cokS", REPLAY, "[-o KEY=VALUE]... [--case] FILE [SCRIPT]",
     "run a recorded call on the virtual network and compare"},
    {"reload", command_reload, "csjT", NONE, "[-s PATH] [--tls] [--json]", "read the dial plan again; wait for the outcome"},
    {"rollback", command_rollback, "csj", NONE, "[-s PATH] [--json]", "go back to the dial plan before this one"},
    {"status", command_status, "csj", NONE, "[-s PATH] [--json]", "what the server is and does"},
    {"calls", command_calls, "csj", NONE, "[-s PATH] [--json]", "the live calls"},
    {"registrations", command_registrations, "csj", NONE, "[-s PATH] [--json]", "who is registered where"},
    {"metrics", command_metrics, "csj", NONE, "[-s PATH] [--json]", "counters in Prometheus' text format"},
    {"hangup", command_hangup, "csj", ID, "[-s PATH] [--json] ID", "end one call"},
    {"stop", command_stop, "csj", NONE, "[-s PATH] [--json]", "end all calls, then the server; wait for it"},
    {"version", command_version, "j", NONE, "[--json]", "of the command and of siphook.so"},
};

enum { COUNT = sizeof(commands) / sizeof(commands[0]) };

static const struct {
	char letter;
	const char *text;
} option_texts[] = {
    {'c', "  -c, --config FILE       options from a file: lines of KEY = VALUE, # begins a comment\n"},
    {'s', "  -s, --socket PATH       the control socket (default: siphook/control.sock under $XDG_RUNTIME_DIR,\n"
	  "                          or /run/siphook/control.sock)\n"},
    {'l', "  -l, --listen URI        udp://127.0.0.1:5060, tcp://[::1]:5060, tls:, ws:, wss:; may be repeated\n"},
    {'w', "  -w, --workers N         worker threads (default 1)\n"},
    {'o', "  -o, --option KEY=VALUE  any option: listen, workers, watch, dns, data, log_level, tls_certificate,\n"
	  "                          tls_private_key, control ..., or config.NAME, which the script reads as sip.config.NAME; may be repeated\n"},
    {'f', "  -f, --filter PATTERN    only cases whose name contains this text or matches it as a Lua pattern;\n"
	  "                          record: only a call whose INVITE contains this text\n"},
    {'k', "      --case              a test case made of the record, instead\n"},
    {'S', "      --seed N            of everything that a case leaves to chance (default 1)\n"},
    {'L', "      --loss P            share of the datagrams that the network loses, 0 to 0.9 (default 0)\n"},
    {'J', "      --jobs N            files at once (default: one per processor)\n"},
    {'t', "      --tap               results in the Test Anything Protocol\n"},
    {'T', "      --tls               certificates, keys and authorities alone, not the dial plan\n"},
    {'j', "  -j, --json              JSON instead of text\n"},
};

static void usage(FILE *to)
{
	fputs(
	    "siphook, a SIP registrar and back-to-back user agent\n\nusage: siphook COMMAND [OPTION]... [ARGUMENT]\n\n",
	    to);
	for (int i = 0; i < COUNT; i++)
		fprintf(to, "  %-14s %s\n", commands[i].name, commands[i].summary);
	fputs("\n`siphook COMMAND --help` says more. Exit code: 0, or 1 when something went wrong.\n", to);
}

static void command_help(const struct command *c)
{
	printf("usage: siphook %s %s\n\n%s\n\n", c->name, c->usage, c->summary);
	for (size_t i = 0; i < sizeof(option_texts) / sizeof(option_texts[0]); i++) {
		if (strchr(c->letters, option_texts[i].letter))
			fputs(option_texts[i].text, stdout);
	}
	if (c->run == command_run)
		fputs("\nSIGHUP reads the dial plan again. SIGINT and SIGTERM end the calls, for at most 5 seconds; a "
		      "second\n"
		      "one ends the program at once.\n",
		      stdout);
}

/* Whether the argument that the command wants is there; a script becomes an option like the others. */
static bool take_argument(const struct command *c, struct settings *s)
{
	if (c->argument == NONE && s->argument) {
		complain("%s takes no argument, but \"%s\" was given", c->name, s->argument);
		return false;
	}
	if (c->argument == ID && !s->argument) {
		complain("%s: the id of a call is missing", c->name);
		return false;
	}
	if ((c->argument == RECORD || c->argument == REPLAY) && !s->argument) {
		complain("%s: the file of the record is missing\nusage: siphook %s %s", c->name, c->name, c->usage);
		return false;
	}
	if (c->argument == REPLAY && s->argument_count > 2) {
		complain("%s: one argument too many: \"%s\"", c->name, s->arguments[2]);
		return false;
	}
	if (c->argument == FILES && !s->argument) {
		complain("%s: the test file is missing\nusage: siphook %s %s", c->name, c->name, c->usage);
		return false;
	}
	if (c->argument == SCRIPT && s->argument)
		settings_set(s, "script", s->argument);
	if (c->argument == SCRIPT && !settings_get(s, "script")) {
		complain("%s: the script is missing\nusage: siphook %s %s", c->name, c->name, c->usage);
		return false;
	}
	return true;
}

static int run(const struct command *c, int argc, char **argv)
{
	struct settings s = {0};
	int err = settings_read(&s, argc, argv, c->letters, c->name, c->argument == FILES || c->argument == REPLAY), code = 1;

	if (err == 2) {
		command_help(c);
		code = 0;
	} else if (!err && take_argument(c, &s)) {
		code = c->run(&s);
	}
	settings_finish(&s);
	return code;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		usage(stderr);
		return 1;
	}
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0)
		argv[1] += 2;
	for (int i = 0; i < COUNT; i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return run(&commands[i], argc - 1, argv + 1);
	}
	complain("unknown %s \"%s\"; `siphook --help` lists the commands", argv[1][0] == '-' ? "option" : "command",
		 argv[1]);
	return 1;
}
