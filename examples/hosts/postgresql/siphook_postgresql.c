/* siphook in PostgreSQL: a background worker whose loop drives it, and a function with which SQL asks it. See README.md.
 *
 * The worker has no threads but the one that loads scripts, whose log lines wait in a queue: a process of PostgreSQL may report from
 * its main thread alone. Backends ask over the control socket in the data folder, which is the working folder of all processes. */
#include <postgres.h>
#include <fmgr.h>
#include <miscadmin.h>
#include <postmaster/bgworker.h>
#include <postmaster/interrupt.h>
#include <storage/ipc.h>
#include <storage/latch.h>
#include <utils/builtins.h>
#include <utils/guc.h>
#include <utils/guc_tables.h>
#include <utils/memutils.h>
#include <utils/wait_event.h>

#define ASK_INTERRUPTED InterruptPending
#include "../adapter.h"
#include "../processes.h"

#pragma GCC visibility push(default)
PG_MODULE_MAGIC;
void _PG_init(void);
void siphook_worker(Datum unused);
PG_FUNCTION_INFO_V1(siphook_ask);
#pragma GCC visibility pop

enum { STOP_MS = 3000, RESTART_SECONDS = 5 };

static const char socket_path[] = "siphook.sock", prefix[] = "siphook.";
static char *script, *listen_uris, *object;

/* ---------------------------------------------------------------- the worker's log */

static struct adapter_queue lines;

static void on_log(void *ctx, enum siphook_level level, const char *line, size_t len)
{
	(void) ctx;
	adapter_queue_put(&lines, (int) level, NULL, line, len);
}

/* LOG stands in the server's log whatever log_min_messages says, as siphook's few lines of level info should; WARNING is not
 * above it there, so an error is a LOG line that says so. */
static void write_lines(void)
{
	static const char *const words[] = {"error: ", "warning: ", "", ""};
	size_t forgotten;
	struct adapter_line *line = adapter_queue_take(&lines, &forgotten), *next;

	for (; line; line = next) {
		next = line->next;
		ereport(line->kind == SIPHOOK_DEBUG ? DEBUG1 : LOG, (errmsg("siphook: %s%s", words[line->kind], line->text)));
		free(line);
	}
	if (forgotten)
		ereport(LOG, (errmsg("siphook: %zu lines were lost", forgotten)));
}

/* ---------------------------------------------------------------- parameters */

/* All parameters siphook.KEY, declared or not, as options; siphook.object is ours. postgresql.conf takes one point in a name, so
 * siphook.config_NAME is config.NAME. All texts are copied into `memory`. */
static void read_options(struct adapter *a, MemoryContext memory)
{
	struct config_generic **all = get_guc_variables();
	int count = GetNumConfigOptions();
	MemoryContext before = MemoryContextSwitchTo(memory);

	a->object = object[0] ? pstrdup(object) : NULL;
	a->options.count = 0;
	a->options.complaint[0] = '\0';
	for (int i = 0; i < count; i++) {
		const char *name = all[i]->name, *key = name + sizeof(prefix) - 1;
		char *value;

		if (strncmp(name, prefix, sizeof(prefix) - 1) != 0 || strcmp(key, "object") == 0)
			continue;
		value = GetConfigOptionByName(name, NULL, true);
		if (!value || !*value)
			continue;
		if (strcmp(key, "listen") == 0)
			adapter_add_listeners(&a->options, value);
		else if (strcmp(key, "control") == 0)
			snprintf(a->options.complaint, sizeof(a->options.complaint), "siphook.control: the control socket is %s/%s",
				 DataDir, socket_path);
		else if (strncmp(key, "config_", 7) == 0)
			adapter_add(&a->options, psprintf("config.%s", key + 7), value);
		else
			adapter_add(&a->options, pstrdup(key), value);
	}
	adapter_add(&a->options, "control", socket_path);
	MemoryContextSwitchTo(before);
}

static const char *value_of(const struct adapter_options *o, const struct siphook_option *like, size_t nth)
{
	for (size_t i = 0; i < o->count; i++)
		if (strcmp(o->list[i].key, like->key) == 0 && nth-- == 0)
			return o->list[i].value;
	return NULL;
}

/* Which options the running instance does not have: they take effect when the worker is started anew. */
static void tell_changes(const struct adapter_options *now, const struct adapter_options *then)
{
	for (int side = 0; side < 2; side++) {
		const struct adapter_options *a = side ? then : now, *b = side ? now : then;

		for (size_t i = 0; i < a->count; i++) {
			const char *value;
			size_t nth = 0;

			for (size_t k = 0; k < i; k++)
				nth += strcmp(a->list[k].key, a->list[i].key) == 0;
			value = value_of(b, &a->list[i], nth);
			if (!value || (side == 0 && strcmp(value, a->list[i].value) != 0))
				ereport(LOG, (errmsg("siphook: parameter \"siphook.%s\" was changed: it needs a restart of the server",
						     a->list[i].key)));
		}
	}
}

/* ---------------------------------------------------------------- the worker */

struct worker {
	struct adapter siphook;
	MemoryContext memory; /* of the options that the instance has */
	WaitEventSet *events;
};

/* A set of events cannot lose one, so it is made anew with the instance. */
static void watch(struct worker *w)
{
	w->events = CreateWaitEventSet(TopMemoryContext, 3);
	AddWaitEventToSet(w->events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(w->events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	if (w->siphook.instance)
		AddWaitEventToSet(w->events, WL_SOCKET_READABLE, w->siphook.sip->fd(w->siphook.instance), NULL, NULL);
}

static void begin(struct worker *w)
{
	MemoryContextReset(w->memory);
	read_options(&w->siphook, w->memory);
	if (adapter_start(&w->siphook, SIPHOOK_DRIVEN) < 0)
		ereport(LOG, (errmsg("siphook: error: %s", w->siphook.error), errhint("pg_reload_conf() tries again.")));
	else
		ereport(LOG, (errmsg("siphook: version %s serves SIP in process %d", w->siphook.sip->version, MyProcPid)));
	if (w->events)
		FreeWaitEventSet(w->events);
	watch(w);
}

/* SIGHUP: the dial plan is read again; after a start that failed, everything. */
static void reload(struct worker *w)
{
	struct adapter fresh = {.object = NULL};
	MemoryContext memory;

	ProcessConfigFile(PGC_SIGHUP);
	if (!w->siphook.instance) {
		begin(w);
		return;
	}
	memory = AllocSetContextCreate(TopMemoryContext, "siphook reload", ALLOCSET_DEFAULT_SIZES);
	read_options(&fresh, memory);
	tell_changes(&fresh.options, &w->siphook.options);
	MemoryContextDelete(memory);
	w->siphook.sip->reload(w->siphook.instance, NULL, NULL); /* its outcome comes as a log line */
}

void siphook_worker(Datum unused)
{
	struct worker *w = MemoryContextAllocZero(TopMemoryContext, sizeof(*w));
	WaitEvent event;

	(void) unused;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	adapter_queue_init(&lines);
	w->memory = AllocSetContextCreate(TopMemoryContext, "siphook options", ALLOCSET_DEFAULT_SIZES);
	w->siphook.host.log = on_log;
	begin(w);
	while (!ShutdownRequestPending) {
		write_lines();
		WaitEventSetWait(w->events, -1, &event, 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (w->siphook.instance)
			w->siphook.sip->process(w->siphook.instance, NULL);
		if (ConfigReloadPending) {
			ConfigReloadPending = false;
			reload(w);
		}
	}
	adapter_stop(&w->siphook, STOP_MS);
	write_lines();
	proc_exit(0);
}

/* The worker is another process, which loads this library by its name. */
static void name_library(char *name, size_t size)
{
	Dl_info info;

	if (!dladdr((const void *) name_library, &info) || strlen(info.dli_fname) >= size)
		ereport(ERROR, (errmsg("siphook: the path of the library must be shorter than %zu bytes", size)));
	snprintf(name, size, "%s", info.dli_fname);
}

void _PG_init(void)
{
	BackgroundWorker worker = {
	    .bgw_name = "siphook",
	    .bgw_type = "siphook",
	    .bgw_flags = BGWORKER_SHMEM_ACCESS,
	    .bgw_start_time = BgWorkerStart_PostmasterStart,
	    .bgw_restart_time = RESTART_SECONDS,
	    .bgw_function_name = "siphook_worker",
	};

	/* A session that calls a function loads the library too. */
	if (!process_shared_preload_libraries_in_progress)
		return;
	DefineCustomStringVariable("siphook.script", "Path of the dial plan.", NULL, &script, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("siphook.listen", "Addresses of SIP, with spaces between them.", NULL, &listen_uris, "", PGC_SIGHUP,
				   0, NULL, NULL, NULL);
	DefineCustomStringVariable("siphook.object", "Path of siphook.so.", NULL, &object, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
	name_library(worker.bgw_library_name, sizeof(worker.bgw_library_name));
	RegisterBackgroundWorker(&worker);
}

/* ---------------------------------------------------------------- SQL */

/* siphook_ask(request text) returns text: "status", "calls", "registrations", "metrics", "reload", "hangup ID". */
Datum siphook_ask(PG_FUNCTION_ARGS)
{
	char *request = text_to_cstring(PG_GETARG_TEXT_PP(0)), error[1024];
	char *answer;
	text *result;

	if (strchr(request, '\n'))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a request to siphook is one line")));
	answer = ask(socket_path, request, error, sizeof(error));
	CHECK_FOR_INTERRUPTS();
	if (!answer)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("siphook: %s", error)));
	result = cstring_to_text(answer);
	free(answer);
	PG_RETURN_TEXT_P(result);
}
