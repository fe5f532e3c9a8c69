/* siphook in redis-server, driven by its event loop: no thread but the one that loads scripts. See README.md.
 *
 * Debian has no header for Redis modules. The few functions that are needed are declared here from the documentation of the
 * modules API; their addresses come by name, through the function at the beginning of the context. */
#include "../adapter.h"

#define EXPORTED __attribute__((visibility("default")))

enum { OK = 0, ERR = 1, API_VERSION = 1, READABLE = 1, RELOAD_MS = 60000, STOP_MS = 5000 };

struct RedisModuleCtx;
struct RedisModuleString;
struct RedisModuleBlockedClient;

typedef struct RedisModuleCtx ctx_t;
typedef struct RedisModuleString string_t;
typedef int (*command_fn)(ctx_t *ctx, string_t **argv, int argc);
typedef void (*loop_fn)(int fd, void *user, int mask);
typedef void (*free_fn)(ctx_t *ctx, void *data);

/* X(name in Redis, ours, result, arguments) */
#define FUNCTIONS(X)                                                                                                     \
	X(SetModuleAttribs, set_attributes, void, (ctx_t *, const char *name, int version, int api))                     \
	X(CreateCommand, create_command, int, (ctx_t *, const char *, command_fn, const char *flags, int, int, int))     \
	X(Log, write_log, void, (ctx_t *, const char *level, const char *format, ...))                                   \
	X(StringPtrLen, string_text, const char *, (const string_t *, size_t *len))                                      \
	X(ReplyWithStringBuffer, reply_buffer, int, (ctx_t *, const char *text, size_t len))                             \
	X(ReplyWithSimpleString, reply_simple, int, (ctx_t *, const char *text))                                         \
	X(ReplyWithError, reply_error, int, (ctx_t *, const char *error))                                                \
	X(WrongArity, wrong_arity, int, (ctx_t *))                                                                       \
	X(BlockClient, block_client, struct RedisModuleBlockedClient *,                                                  \
	  (ctx_t *, command_fn reply, command_fn timeout, free_fn, long long timeout_ms))                                \
	X(UnblockClient, unblock_client, int, (struct RedisModuleBlockedClient *, void *data))                           \
	X(GetBlockedClientPrivateData, blocked_data, void *, (ctx_t *))                                                  \
	X(EventLoopAdd, loop_add, int, (int fd, int mask, loop_fn, void *user))                                          \
	X(EventLoopDel, loop_del, int, (int fd, int mask))

#define X(name, ours, result, arguments) static result(*ours) arguments;
FUNCTIONS(X)
#undef X

static struct adapter siphook;
static int loaded;

static void on_log(void *ctx, enum siphook_level level, const char *line, size_t len)
{
	static const char *const levels[] = {"warning", "warning", "notice", "debug"};

	(void)ctx;
	(void)len;
	write_log(NULL, levels[level], "siphook: %s", line);
}

static void on_readable(int fd, void *user, int mask)
{
	(void)fd;
	(void)user;
	(void)mask;
	siphook.sip->process(siphook.instance, NULL);
}

/* ---------------------------------------------------------------- life of the instance */

static int begin(void)
{
	if (adapter_start(&siphook, SIPHOOK_DRIVEN) < 0)
		return ERR;
	if (loop_add(siphook.sip->fd(siphook.instance), READABLE, on_readable, NULL) != OK) {
		snprintf(siphook.error, sizeof(siphook.error), "the server takes no descriptor of ours");
		adapter_stop(&siphook, 0);
		return ERR;
	}
	return OK;
}

static void end(void)
{
	if (siphook.instance)
		loop_del(siphook.sip->fd(siphook.instance), READABLE);
	adapter_stop(&siphook, STOP_MS);
}

/* ---------------------------------------------------------------- commands */

static int not_running(ctx_t *ctx)
{
	char text[1200];

	snprintf(text, sizeof(text), "ERR siphook does not run: %s", siphook.error);
	return reply_error(ctx, text);
}

static void on_text(void *ctx, const char *text, size_t len)
{
	reply_buffer(ctx, text, len);
}

static int query(ctx_t *ctx, int argc, const char *what)
{
	if (argc != 1)
		return wrong_arity(ctx);
	if (!siphook.instance)
		return not_running(ctx);
	if (siphook.sip->query(siphook.instance, what, on_text, ctx) < 0)
		return reply_error(ctx, "ERR siphook does not answer");
	return OK;
}

static int status(ctx_t *ctx, string_t **argv, int argc)
{
	(void)argv;
	return query(ctx, argc, "status");
}

static int calls(ctx_t *ctx, string_t **argv, int argc)
{
	(void)argv;
	return query(ctx, argc, "calls");
}

static int registrations(ctx_t *ctx, string_t **argv, int argc)
{
	(void)argv;
	return query(ctx, argc, "registrations");
}

static int metrics(ctx_t *ctx, string_t **argv, int argc)
{
	(void)argv;
	return query(ctx, argc, "metrics");
}

static int hangup(ctx_t *ctx, string_t **argv, int argc)
{
	if (argc != 2)
		return wrong_arity(ctx);
	if (!siphook.instance)
		return not_running(ctx);
	if (siphook.sip->hangup(siphook.instance, string_text(argv[1], NULL)) < 0)
		return reply_error(ctx, "ERR no such call");
	return reply_simple(ctx, "OK");
}

/* The client waits until the reload has ended; the server does not. The text is the client's reply. After a start that failed a
 * reload is another start. */
static void on_reloaded(void *ctx, uint64_t generation, const char *error)
{
	char *text = malloc(1200);

	if (text && error)
		snprintf(text, 1200, "ERR %s", error);
	else if (text)
		snprintf(text, 1200, "generation %llu", (unsigned long long)generation);
	unblock_client(ctx, text);
}

static int reload_reply(ctx_t *ctx, string_t **argv, int argc)
{
	const char *text = blocked_data(ctx);

	(void)argv;
	(void)argc;
	if (!text)
		return reply_error(ctx, "ERR out of memory");
	return strncmp(text, "ERR ", 4) == 0 ? reply_error(ctx, text) : reply_simple(ctx, text);
}

static int reload_timeout(ctx_t *ctx, string_t **argv, int argc)
{
	(void)argv;
	(void)argc;
	return reply_error(ctx, "ERR the reload takes longer than a minute; the log will tell its outcome");
}

static void free_text(ctx_t *ctx, void *data)
{
	(void)ctx;
	free(data);
}

static int reload(ctx_t *ctx, string_t **argv, int argc)
{
	struct RedisModuleBlockedClient *client;

	(void)argv;
	if (argc != 1)
		return wrong_arity(ctx);
	if (!siphook.instance)
		return begin() == OK ? reply_simple(ctx, "generation 1") : not_running(ctx);
	client = block_client(ctx, reload_reply, reload_timeout, free_text, RELOAD_MS);
	if (siphook.sip->reload(siphook.instance, on_reloaded, client) < 0)
		unblock_client(client, strdup("ERR siphook cannot reload now"));
	return OK;
}

/* ---------------------------------------------------------------- life */

static int find_functions(ctx_t *ctx)
{
	int (*find)(const char *name, void *out) = *(int (**)(const char *, void *))(void *)ctx;

#define X(name, ours, result, arguments)                                                                                \
	if (find("RedisModule_" #name, &ours) != OK)                                                                     \
		return ERR;
	FUNCTIONS(X)
#undef X
	return OK;
}

/* KEY=VALUE words, kept as long as the server lives; object= is ours, every other key an option of siphook. */
static void read_options(struct adapter *a, string_t **argv, int argc)
{
	for (int i = 0; i < argc; i++) {
		char *text = strdup(string_text(argv[i], NULL)), *value = text ? strchr(text, '=') : NULL;

		if (!value) {
			snprintf(a->options.complaint, sizeof(a->options.complaint), "KEY=VALUE is expected, not \"%s\"",
				 text ? text : "");
			continue;
		}
		*value++ = '\0';
		if (strcmp(text, "object") == 0)
			a->object = value;
		else
			adapter_add(&a->options, text, value);
	}
}

EXPORTED int RedisModule_OnLoad(ctx_t *ctx, string_t **argv, int argc);
EXPORTED int RedisModule_OnUnload(ctx_t *ctx);

int RedisModule_OnLoad(ctx_t *ctx, string_t **argv, int argc)
{
	static const struct {
		const char *name;
		command_fn fn;
	} commands[] = {{"siphook.reload", reload},   {"siphook.status", status},
			{"siphook.calls", calls},     {"siphook.registrations", registrations},
			{"siphook.metrics", metrics}, {"siphook.hangup", hangup}};

	if (find_functions(ctx) != OK)
		return ERR;
	if (loaded) {
		write_log(ctx, "warning", "siphook: it is loaded already");
		return ERR;
	}
	set_attributes(ctx, "siphook", 1, API_VERSION);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (create_command(ctx, commands[i].name, commands[i].fn, i ? "readonly" : "admin", 0, 0, 0) != OK)
			return ERR;
	loaded = 1;
	siphook.host.log = on_log;
	read_options(&siphook, argv, argc);
	if (begin() != OK)
		write_log(ctx, "warning", "siphook: %s; SIPHOOK.RELOAD tries again", siphook.error);
	return OK;
}

/* MODULE UNLOAD: calls are ended; the object itself stays in the process. */
int RedisModule_OnUnload(ctx_t *ctx)
{
	(void)ctx;
	end();
	return OK;
}
