/* The `siphook` command: a host of siphook.so like any other, and a client of its control socket. Of the module it sees
 * siphook.h alone. One process, one thread that decides; memory that cannot be had ends the program. */
#ifndef SH_TOOL_TOOL_H
#define SH_TOOL_TOOL_H

#include "siphook.h"

#include <stdbool.h>

/* What the command line and the configuration file say, as the ABI wants it. */
struct settings {
	struct siphook_option *options;
	char **places; /* "siphook.conf:3: " of those that a file gives, NULL of the others */
	size_t count;
	const char *argument; /* SCRIPT or ID, or NULL */
	char **arguments;     /* all of them, when the command takes several */
	size_t argument_count;
	bool json, tap, tls, make_case;
	const char *seed, *loss, *filter, *jobs; /* of the test command */
};

/* args.c: an option that `letters` does not name is an error. 0, 1 (wrong; told on stderr) or 2 (help was asked for);
 * to be finished in any case. */
int settings_read(struct settings *s, int argc, char **argv, const char *letters, const char *command, bool many);
const char *settings_get(const struct settings *s, const char *key);       /* the value or NULL */
void settings_set(struct settings *s, const char *key, const char *value); /* adds or replaces */
void settings_finish(struct settings *s);
/* Where the option stands that siphook.so complains of: "siphook.conf:3: ", or "". */
const char *settings_place(const struct settings *s, const char *complaint);

/* args.c: malloc'ed text, or the program ends. */
char *text_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* host.c: finds and loads siphook.so. NULL: told on stderr. */
const struct siphook_api *object_load(void);

/* client.c: where the control socket is: -s, the file's `control`, or the user's default, which becomes a setting.
 * NULL: there is none. */
const char *control_path(struct settings *s);

/* service.c: systemd, where it is. States are those of sd_notify(3). */
void service_notify(const char *state);
void service_notify_reloading(void);
int service_watchdog_ms(void); /* how often it wants a sign of life; -1: never */
int service_socket(void *ctx, const char *uri); /* struct siphook_host.listen_fd */

struct json_t;

/* client.c: one request to the running server: its answer when that is yes, else NULL (told on stderr). */
struct json_t *control_ask(struct settings *s, const char *request);

/* table.c: JSON for people. what: "calls" in "no calls". */
void table_print(const struct json_t *value, const char *what);

/* The commands; the result is the exit code. */
int command_run(struct settings *s);
int command_check(struct settings *s);
int command_test(struct settings *s);
int command_record(struct settings *s);
int command_replay(struct settings *s);
int command_version(struct settings *s);
int command_reload(struct settings *s);
int command_rollback(struct settings *s);
int command_status(struct settings *s);
int command_calls(struct settings *s);
int command_registrations(struct settings *s);
int command_metrics(struct settings *s);
int command_hangup(struct settings *s);
int command_stop(struct settings *s);

#endif
