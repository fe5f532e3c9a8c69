/* siphook in Apache httpd: SIP in one of the children, whatever the MPM. See README.md.
 *
 * The parent opens the listening sockets and a lock file; every child has a thread that waits for the lock of that file. The kernel
 * gives it to one child and, when that one ends, whatever way, to the next: this is the election. The others learn what the status
 * handler shows over the control socket of the one.
 *
 * A child that shall end gives the lock back at once, hands over to the child that gets it (the option handover), and goes on with its
 * calls until they have ended. */
#include "../adapter.h"
#include "../processes.h"

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_main.h>
#include <http_protocol.h>
#include <ap_mpm.h>
#include <apr_strings.h>
#include <mpm_common.h>
#include <unixd.h>

#include <signal.h>
#include <sys/stat.h>

extern module AP_MODULE_DECLARE_DATA __attribute__((visibility("default"))) siphook_module;
APLOG_USE_MODULE(siphook);

enum {
	STOP_MS = 2500,      /* Apache repeats its SIGTERM after three seconds, and kills after nine */
	SUCCESSOR_MS = 5000, /* within this time another child has taken over; else none comes: Apache ends */
	TICK_MS = 100,
};

/* What the configuration says. */
static struct adapter siphook;
static const char *control_path, *lock_path, *peers_path;

/* Of the parent; the children inherit both. The sockets outlive the module, which is loaded anew at every restart. */
static struct listeners *listeners;
static int lock_file = -1;

/* Of a child: its thread may be elected at any moment, also when the child has begun to end. */
static struct {
	pthread_mutex_t lock;
	enum { SERVES, HANDS_OVER, ENDED } state;
	void (*before[NSIG])(int signo); /* the MPM's handlers */
	volatile sig_atomic_t killed;
} child = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---------------------------------------------------------------- callbacks of the module */

static void on_log(void *ctx, enum siphook_level level, const char *line, size_t len)
{
	/* Apache writes its notices whatever LogLevel says, as siphook its few lines of level info. */
	static const int levels[] = {APLOG_ERR, APLOG_WARNING, APLOG_NOTICE, APLOG_DEBUG};

	(void)ctx;
	(void)len;
	ap_log_error(APLOG_MARK, levels[level], 0, ap_server_conf, "siphook: %s", line);
}

static int on_listen(void *ctx, const char *uri)
{
	(void)ctx;
	return listeners ? listener_find(listeners, uri) : -1;
}

/* ---------------------------------------------------------------- election */

static void serve(void)
{
	if (adapter_start(&siphook, SIPHOOK_THREADS) < 0)
		ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf, "siphook: %s; no SIP until the next restart", siphook.error);
	else
		ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf, "siphook: version %s serves SIP in process %d",
			     siphook.sip->version, (int)getpid());
}

static void give_lock_back(void)
{
	struct flock unlock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	fcntl(lock_file, F_SETLK, &unlock);
}

/* A child that cannot start keeps the lock: one line in the log is enough. */
static void *wait_for_election(void *arg)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int err;

	do {
		err = fcntl(lock_file, F_SETLKW, &lock) < 0 ? errno : 0;
	} while (err == EINTR);
	pthread_mutex_lock(&child.lock);
	if (err)
		ap_log_error(APLOG_MARK, APLOG_ERR, err, ap_server_conf, "siphook: %s cannot be locked", lock_path);
	else if (child.state != SERVES)
		give_lock_back();
	else
		serve();
	pthread_mutex_unlock(&child.lock);
	return arg;
}

/* ---------------------------------------------------------------- the end */

static void end_service(void)
{
	pthread_mutex_lock(&child.lock);
	child.state = ENDED;
	adapter_stop(&siphook, STOP_MS);
	give_lock_back();
	pthread_mutex_unlock(&child.lock);
}

/* Waits until another child has taken over, then until the last call has ended and no repetition of its messages can come, or until
 * Apache stops or restarts. */
static void finish_calls(void)
{
	const struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};
	struct adapter_status status = {0};
	sigset_t kills;
	int draining = 0;

	sigemptyset(&kills);
	sigaddset(&kills, SIGTERM);
	sigaddset(&kills, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &kills, NULL);
	for (int ticks = 0; siphook.instance && (!draining || status.busy); ticks++) {
		if (sigtimedwait(&kills, NULL, &tick) > 0)
			return;
		adapter_look(&siphook, &status);
		if (!draining && (status.succeeded || ticks * TICK_MS > SUCCESSOR_MS)) {
			siphook.sip->drain(siphook.instance, 0);
			draining = 1;
			status.busy = 1; /* as it will be told by the next look */
		}
	}
}

static apr_status_t on_child_exit(void *ctx)
{
	(void)ctx;
	if (child.state == HANDS_OVER)
		finish_calls();
	end_service();
	return APR_SUCCESS;
}

/* At the beginning of the end of a child, which may still have requests for a long time, and again at their end. Prefork says
 * "graceful" never; there it is what does not begin with a signal that kills. May come on any thread, and must not last. */
static void on_child_stopping(apr_pool_t *pool, int graceful)
{
	int threaded = 0;

	(void)pool;
	if (lock_file < 0 || child.state != SERVES)
		return;
	ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded);
	if (!graceful && (threaded || child.killed)) {
		end_service();
		return;
	}
	pthread_mutex_lock(&child.lock);
	child.state = HANDS_OVER;
	give_lock_back();
	pthread_mutex_unlock(&child.lock);
}

static void on_kill(int signo)
{
	child.killed = 1;
	child.before[signo](signo);
}

/* The signals of stop and restart, which prefork's children end with. */
static void watch_for_kill(int signo)
{
	struct sigaction action;

	if (sigaction(signo, NULL, &action) < 0 || action.sa_handler == SIG_IGN || action.sa_handler == SIG_DFL ||
	    (action.sa_flags & SA_SIGINFO))
		return;
	child.before[signo] = action.sa_handler;
	action.sa_handler = on_kill;
	sigaction(signo, &action, NULL);
}

static void on_child_init(apr_pool_t *pool, server_rec *server)
{
	sigset_t all, before;
	pthread_t thread;

	(void)server;
	if (lock_file < 0)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, wait_for_election, NULL) == 0)
		pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	watch_for_kill(SIGTERM);
	watch_for_kill(SIGHUP);
	apr_pool_cleanup_register(pool, NULL, on_child_exit, apr_pool_cleanup_null);
}

/* ---------------------------------------------------------------- configuration */

static int on_pre_config(apr_pool_t *pool, apr_pool_t *log, apr_pool_t *temporary)
{
	(void)pool;
	(void)log;
	(void)temporary;
	memset(&siphook, 0, sizeof(siphook));
	siphook.host.log = on_log;
	siphook.host.listen_fd = on_listen;
	control_path = lock_path = peers_path = NULL;
	return OK;
}

static const char *set_object(cmd_parms *cmd, void *config, const char *path)
{
	const char *wrong = ap_check_cmd_context(cmd, GLOBAL_ONLY);

	(void)config;
	siphook.object = ap_server_root_relative(cmd->pool, path);
	return wrong;
}

static const char *set_script(cmd_parms *cmd, void *config, const char *path)
{
	(void)config;
	adapter_add(&siphook.options, "script", ap_server_root_relative(cmd->pool, path));
	return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

static const char *set_listen(cmd_parms *cmd, void *config, const char *uri)
{
	(void)config;
	adapter_add(&siphook.options, "listen", uri);
	return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

/* The folder of the lock and of the control socket is the adapter's; the other keys are judged by siphook itself. */
static const char *set_option(cmd_parms *cmd, void *config, const char *key, const char *value)
{
	(void)config;
	if (strcmp(key, "control") == 0 || strncmp(key, "handover", 8) == 0)
		return "control, handover and its secret lie in the DefaultRuntimeDir";
	adapter_add(&siphook.options, key, value);
	return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

static const command_rec directives[] = {
    AP_INIT_TAKE1("SiphookObject", set_object, NULL, RSRC_CONF, "path of siphook.so"),
    AP_INIT_TAKE1("SiphookScript", set_script, NULL, RSRC_CONF, "path of the dial plan; SIP is served if there is one"),
    AP_INIT_ITERATE("SiphookListen", set_listen, NULL, RSRC_CONF, "addresses such as udp://0.0.0.0:5060 tcp://0.0.0.0:5060"),
    AP_INIT_TAKE2("SiphookOption", set_option, NULL, RSRC_CONF, "KEY VALUE: any option of siphook"),
    {.name = NULL},
};

static int wanted(void)
{
	for (size_t i = 0; i < siphook.options.count; i++)
		if (strcmp(siphook.options.list[i].key, "script") == 0)
			return 1;
	return 0;
}

/* `apachectl configtest`, and with it restart and graceful. A start goes on with a broken dial plan, which the error log tells. */
static int on_check_config(apr_pool_t *pool, apr_pool_t *log, apr_pool_t *temporary, server_rec *server)
{
	const char *warnings;

	(void)pool;
	(void)log;
	(void)temporary;
	if (ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_CONFIG_TEST || !siphook.options.count)
		return OK;
	if (siphook.options.complaint[0])
		snprintf(siphook.error, sizeof(siphook.error), "%s", siphook.options.complaint);
	else if (adapter_load(&siphook) == 0 && siphook.sip->check(siphook.options.list, siphook.options.count) < 0)
		snprintf(siphook.error, sizeof(siphook.error), "%s", siphook.sip->last_error(NULL));
	if (siphook.error[0]) {
		ap_log_error(APLOG_MARK, APLOG_ERR, 0, server, "siphook: %s", siphook.error);
		return HTTP_INTERNAL_SERVER_ERROR;
	}
	warnings = siphook.sip->last_error(NULL);
	if (warnings[0])
		ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server, "siphook: %s", warnings);
	return OK;
}

/* The sockets of the process, which a restart, at which the module is loaded anew, does not lose. */
static void open_listeners(apr_pool_t *process)
{
	static const char key[] = "siphook listeners";
	void *data = NULL;

	apr_pool_userdata_get(&data, key, process);
	if (!data) {
		data = apr_pcalloc(process, sizeof(*listeners));
		apr_pool_userdata_set(data, key, apr_pool_cleanup_null, process);
	}
	listeners = data;
	listeners_begin(listeners);
	for (size_t i = 0; i < siphook.options.count; i++)
		if (strcmp(siphook.options.list[i].key, "listen") == 0)
			listeners_want(listeners, siphook.options.list[i].value);
	listeners_end(listeners);
}

static apr_status_t close_lock(void *ctx)
{
	(void)ctx;
	if (lock_file >= 0)
		close(lock_file);
	lock_file = -1;
	return APR_SUCCESS;
}

/* A folder that the children, which are another user, may write to. */
static int open_lock(apr_pool_t *pool, server_rec *server)
{
	const char *folder = ap_runtime_dir_relative(pool, "siphook");
	char *secret = apr_palloc(pool, SECRET_LEN + 1);
	int has;

	control_path = apr_pstrcat(pool, folder, "/control.sock", NULL);
	lock_path = apr_pstrcat(pool, folder, "/lock", NULL);
	peers_path = apr_pstrcat(pool, folder, "/peers", NULL);
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		goto failed;
	if (geteuid() == 0 && chown(folder, ap_unixd_config.user_id, ap_unixd_config.group_id) < 0)
		goto failed;
	has = handover_secret(folder, secret);
	if (has < 0) {
		ap_log_error(APLOG_MARK, APLOG_ERR, errno, server, "siphook: %s.key, which only root may read: no SIP until the next restart", folder);
		return -1;
	}
	lock_file = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock_file < 0)
		goto failed;
	apr_pool_cleanup_register(pool, NULL, close_lock, apr_pool_cleanup_null);
	adapter_add(&siphook.options, "control", control_path);
	adapter_add(&siphook.options, "handover", peers_path);
	if (has)
		adapter_add(&siphook.options, "handover_secret", secret);
	return 0;
failed:
	ap_log_error(APLOG_MARK, APLOG_ERR, errno, server, "siphook: %s: no SIP until the next restart", lock_path);
	return -1;
}

static int on_post_config(apr_pool_t *pool, apr_pool_t *log, apr_pool_t *temporary, server_rec *server)
{
	(void)log;
	(void)temporary;
	if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
		return OK; /* the first of two rounds at a start */
	if (!wanted()) {
		if (siphook.options.count)
			ap_log_error(APLOG_MARK, APLOG_ERR, 0, server, "siphook: SiphookScript is missing: no SIP");
		return OK;
	}
	if (open_lock(pool, server) == 0)
		open_listeners(server->process->pool);
	return OK;
}

/* ---------------------------------------------------------------- status */

/* "SetHandler siphook-status": the status; with ?calls, ?registrations or ?metrics these. */
static int on_request(request_rec *r)
{
	static const char *const questions[] = {"status", "calls", "registrations", "metrics"};
	const char *question = questions[0];
	char error[1024], *text;

	if (!r->handler || strcmp(r->handler, "siphook-status") != 0)
		return DECLINED;
	r->allowed = AP_METHOD_BIT << M_GET;
	if (r->method_number != M_GET)
		return HTTP_METHOD_NOT_ALLOWED;
	if (r->args && *r->args) {
		size_t len = strcspn(r->args, "=&");

		question = NULL;
		for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
			if (strncmp(r->args, questions[i], len) == 0 && !questions[i][len])
				question = questions[i];
		if (!question)
			return HTTP_NOT_FOUND;
	}
	text = control_path ? ask(control_path, question, error, sizeof(error)) : NULL;
	if (!text) {
		ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "siphook: %s", control_path ? error : "it is not configured");
		return HTTP_SERVICE_UNAVAILABLE;
	}
	ap_set_content_type(r, strcmp(question, "metrics") == 0 ? "text/plain; version=0.0.4; charset=utf-8" : "application/json");
	apr_table_setn(r->headers_out, "Cache-Control", "no-store");
	ap_set_content_length(r, (apr_off_t)strlen(text));
	if (!r->header_only)
		ap_rputs(text, r);
	free(text);
	return OK;
}

static void register_hooks(apr_pool_t *pool)
{
	(void)pool;
	ap_hook_pre_config(on_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
	ap_hook_check_config(on_check_config, NULL, NULL, APR_HOOK_MIDDLE);
	ap_hook_post_config(on_post_config, NULL, NULL, APR_HOOK_MIDDLE);
	ap_hook_child_init(on_child_init, NULL, NULL, APR_HOOK_MIDDLE);
	ap_hook_child_stopping(on_child_stopping, NULL, NULL, APR_HOOK_MIDDLE);
	ap_hook_handler(on_request, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA siphook_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, directives, register_hooks, 0,
};
