/* `siphook record FILE`: asks the running server for the next call, waits until it is over. `siphook replay FILE SCRIPT`. */
#include "tool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

enum { POLL_MS = 200, ERROR_MAX = 2048 };

static volatile sig_atomic_t interrupted;

static void on_signal(int signo)
{
	(void)signo;
	interrupted = 1;
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static void wait_a_moment(void)
{
	struct timespec t = {0, POLL_MS * 1000000L};

	nanosleep(&t, NULL);
}

static bool simple_request(struct settings *s, const char *request)
{
	json_t *answer = control_ask(s, request);
	bool good = answer != NULL;

	json_decref(answer);
	return good;
}

/* The record when the call is over; NULL: interrupted or failed (told). */
static json_t *wait_for_record(struct settings *s)
{
	json_t *record = NULL;
	char state[16] = "";

	while (!record && !interrupted) {
		json_t *answer = control_ask(s, "recorded");
		const char *now = json_string_value(json_object_get(json_object_get(answer, "result"), "state"));

		if (!answer)
			return NULL;
		if (now && strcmp(now, state) != 0 && strcmp(now, "running") == 0)
			fputs("a call is being recorded\n", stderr);
		if (now && strcmp(now, "none") == 0) {
			complain("record: somebody else has ended it");
			json_decref(answer);
			return NULL;
		}
		snprintf(state, sizeof(state), "%s", now ? now : "");
		record = json_incref(json_object_get(json_object_get(answer, "result"), "record"));
		json_decref(answer);
		if (!record)
			wait_a_moment();
	}
	return record;
}

int command_record(struct settings *s)
{
	char *request = text_format("record %s", s->filter ? s->filter : "");
	json_t *record = NULL;
	bool begun;
	int code = 1;

	catch_signals();
	if (strchr(request, '\n'))
		complain("record: the filter must be one line");
	begun = !strchr(request, '\n') && simple_request(s, request);
	free(request);
	if (!begun)
		return 1;
	fprintf(stderr, "waiting for a call%s%s; Ctrl-C ends it\n", s->filter ? " with " : "", s->filter ? s->filter : "");
	record = wait_for_record(s);
	if (!record) {
		simple_request(s, "unrecord");
		return 1;
	}
	if (json_dump_file(record, s->argument, JSON_INDENT(1)) < 0) {
		complain("%s: %s", s->argument, strerror(errno));
	} else {
		fprintf(stderr, "%s: %zu messages, %zu requests to web servers, %zu keys of stores%s\n", s->argument,
			json_array_size(json_object_get(record, "messages")), json_array_size(json_object_get(record, "http")),
			json_array_size(json_object_get(record, "shared")),
			json_is_true(json_object_get(record, "cut")) ? " (not all: something is too large for a record)" : "");
		code = 0;
	}
	json_decref(record);
	return code;
}

/* ------------------------------------------------------------------ replay */

static void print_line(void *ctx, const char *line, size_t len)
{
	(void)ctx;
	printf("%.*s\n", (int)len, line);
}

int command_replay(struct settings *s)
{
	const struct siphook_api *api = object_load();
	struct siphook_replay r = {
	    .size = sizeof(r),
	    .make_case = s->make_case,
	    .record = s->argument,
	    .script = s->argument_count > 1 ? s->arguments[1] : NULL,
	    .config = s->options,
	    .config_count = s->count,
	    .seed = s->seed ? strtoull(s->seed, NULL, 10) : 0,
	    .print = print_line,
	};
	char error[ERROR_MAX];
	int err;

	if (!api)
		return 1;
	err = api->replay(&r, error, sizeof(error));
	if (err < 0)
		complain("%s", error);
	return err ? 1 : 0;
}
