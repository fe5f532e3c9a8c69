/* Stock redis-server as a host: it exports a Lua of its own. Debian has no header for Redis modules, so the few
 * functions are declared here; their addresses come by name, as Redis hands them out.
 *
 *     redis-server --loadmodule redis_siphook.so SIPHOOK.SO SCRIPT URI
 *     redis-cli siphook.query status */
#include "siphook.h"

#include <dlfcn.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

enum { OK = 0, ERR = 1, API_VERSION = 1 };

struct RedisModuleCtx; /* begins with the function that finds the others */
struct RedisModuleString;

typedef int (*find_fn)(const char *name, void *out);
typedef int (*command_fn)(struct RedisModuleCtx *ctx, struct RedisModuleString **argv, int argc);

static int (*create_command)(struct RedisModuleCtx *, const char *name, command_fn, const char *flags, int, int, int);
static void (*set_attributes)(struct RedisModuleCtx *, const char *name, int version, int api);
static void (*write_log)(struct RedisModuleCtx *, const char *level, const char *fmt, ...);
static const char *(*string_text)(const struct RedisModuleString *, size_t *len);
static int (*reply_buffer)(struct RedisModuleCtx *, const char *text, size_t len);
static int (*reply_error)(struct RedisModuleCtx *, const char *error);
static int (*wrong_arity)(struct RedisModuleCtx *);

static const struct siphook_api *sip;
static struct siphook *instance;

static void log_line(void *ctx, enum siphook_level level, const char *line, size_t len)
{
	static const char *const levels[] = {"warning", "warning", "notice", "debug"};

	(void)ctx;
	(void)len;
	write_log(NULL, levels[level], "%s", line);
}

static void on_text(void *ctx, const char *text, size_t len)
{
	reply_buffer(ctx, text, len);
}

static int query(struct RedisModuleCtx *ctx, struct RedisModuleString **argv, int argc)
{
	if (argc != 2)
		return wrong_arity(ctx);
	if (sip->query(instance, string_text(argv[1], NULL), on_text, ctx) < 0)
		return reply_error(ctx, "ERR no such thing");
	return OK;
}

static int find_all(struct RedisModuleCtx *ctx)
{
	find_fn find = *(find_fn *)(void *)ctx;
	const struct {
		const char *name;
		void *out;
	} wanted[] = {
	    {"RedisModule_CreateCommand", &create_command},
	    {"RedisModule_SetModuleAttribs", &set_attributes},
	    {"RedisModule_Log", &write_log},
	    {"RedisModule_StringPtrLen", &string_text},
	    {"RedisModule_ReplyWithStringBuffer", &reply_buffer},
	    {"RedisModule_ReplyWithError", &reply_error},
	    {"RedisModule_WrongArity", &wrong_arity},
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		if (find(wanted[i].name, wanted[i].out) != OK)
			return ERR;
	}
	return OK;
}

EXPORTED int RedisModule_OnLoad(struct RedisModuleCtx *ctx, struct RedisModuleString **argv, int argc);

int RedisModule_OnLoad(struct RedisModuleCtx *ctx, struct RedisModuleString **argv, int argc)
{
	struct siphook_host host = {.abi = SIPHOOK_ABI, .size = sizeof(host), .log = log_line};
	struct siphook_option options[2] = {{"script", NULL}, {"listen", NULL}};
	siphook_entry_fn entry = NULL;
	void *object;

	if (find_all(ctx) != OK || argc != 3)
		return ERR;
	set_attributes(ctx, "siphook", 1, API_VERSION);
	object = dlopen(string_text(argv[0], NULL), RTLD_NOW | RTLD_LOCAL);
	if (object)
		*(void **)&entry = dlsym(object, "siphook_entry");
	sip = entry ? entry(SIPHOOK_ABI) : NULL;
	if (!sip) {
		write_log(ctx, "warning", "%s", object ? "not a siphook of this version" : dlerror());
		return ERR;
	}
	options[0].value = string_text(argv[1], NULL);
	options[1].value = string_text(argv[2], NULL);
	if (sip->create(&instance, &host, options, 2) < 0 || sip->start(instance, SIPHOOK_THREADS) < 0) {
		write_log(ctx, "warning", "%s", sip->last_error(instance));
		sip->destroy(instance);
		return ERR;
	}
	return create_command(ctx, "siphook.query", query, "readonly", 0, 0, 0);
}
