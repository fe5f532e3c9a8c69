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

static const struct siphook_api *sip;
static struct siphook *instance;

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
	sip->process(instance, NULL);
}

/* ---------------------------------------------------------------- commands */

static void on_text(void *ctx, const char *text, size_t len)
{
	reply_buffer(ctx, text, len);
}

static int query(ctx_t *ctx, int argc, const char *what)
{
	if (argc != 1)
		return wrong_arity(ctx);
	if (sip->query(instance, what, on_text, ctx) < 0)
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
	if (sip->hangup(instance, string_text(argv[1], NULL)) < 0)
		return reply_error(ctx, "ERR no such call");
	return reply_simple(ctx, "OK");
}

/* The client waits until the reload has ended; the server does not. The text is the client's reply. */
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
	client = block_client(ctx, reload_reply, reload_timeout, free_text, RELOAD_MS);
	if (sip->reload(instance, on_reloaded, client) < 0)
		unblock_client(client, strdup("ERR siphook is not running"));
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

/* KEY=VALUE words; object= is ours, every other key an option of siphook. */
static int read_options(ctx_t *ctx, struct adapter_options *o, const char **object, string_t **argv, int argc)
{
	for (int i = 0; i < argc; i++) {
		char *text = strdup(string_text(argv[i], NULL)), *value = text ? strchr(text, '=') : NULL;

		if (!value) {
			write_log(ctx, "warning", "siphook: KEY=VALUE is expected, not \"%s\"", text ? text : "");
			return ERR;
		}
		*value++ = '\0'; /* kept as long as the server lives: the options are few */
		if (strcmp(text, "object") == 0)
			*object = value;
		else
			adapter_add(o, text, value);
	}
	return OK;
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
	struct siphook_host host = {.abi = SIPHOOK_ABI, .size = sizeof(host), .log = on_log};
	struct adapter_options options = {.count = 0};
	const char *object = NULL;
	char error[512];

	if (find_functions(ctx) != OK)
		return ERR;
	set_attributes(ctx, "siphook", 1, API_VERSION);
	if (read_options(ctx, &options, &object, argv, argc) != OK)
		return ERR;
	sip = adapter_load(object, error, sizeof(error));
	if (!sip) {
		write_log(ctx, "warning", "siphook: %s", error);
		return ERR;
	}
	if (sip->create(&instance, &host, options.list, options.count) < 0 || sip->start(instance, SIPHOOK_DRIVEN) < 0) {
		write_log(ctx, "warning", "siphook: %s", sip->last_error(instance));
		sip->destroy(instance);
		return ERR;
	}
	if (loop_add(sip->fd(instance), READABLE, on_readable, NULL) != OK) {
		write_log(ctx, "warning", "siphook: the server takes no descriptor of ours");
		sip->destroy(instance);
		return ERR;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (create_command(ctx, commands[i].name, commands[i].fn, i ? "readonly" : "admin", 0, 0, 0) != OK)
			return ERR;
	return OK;
}

/* MODULE UNLOAD: calls are ended; the object itself stays in the process. */
int RedisModule_OnUnload(ctx_t *ctx)
{
	(void)ctx;
	loop_del(sip->fd(instance), READABLE);
	sip->stop(instance, STOP_MS);
	sip->destroy(instance);
	instance = NULL;
	return OK;
}
