/* What the master does when it reads its configuration: the script is judged by a child of its own, so that siphook.so is never
 * loaded into the master (a worker then always gets the one that is on the disk); the sockets are opened, or taken over from the
 * configuration before, or from the nginx that this one takes the place of (SIGUSR2). */
#include "ngx_siphook.h"

#include <grp.h>
#include <poll.h>

#define SOCKETS_ENV "SIPHOOK_NGINX_SOCKETS" /* "FD URI;FD URI;", from one nginx to the next */

enum { CHECK_MS = 60000 };

/* ---------------------------------------------------------------- the check */

static void become_worker(ngx_cycle_t *cycle)
{
	ngx_core_conf_t *core = (ngx_core_conf_t *)ngx_get_conf(cycle->conf_ctx, ngx_core_module);

	if (geteuid() != 0 || !core->username)
		return;
	if (setgid(core->group) < 0 || initgroups(core->username, core->group) < 0 || setuid(core->user) < 0)
		return; /* then it is judged as root would read it */
}

/* In the child: what check() says goes through the pipe, its first byte is the outcome. */
static void judge(ngx_cycle_t *cycle, struct ngx_siphook_conf *conf, int out)
{
	struct adapter a = {.object = conf->object};
	const char *words;
	char text[2048];
	int err, n;

	become_worker(cycle);
	err = adapter_load(&a);
	if (err < 0) {
		words = a.error;
	} else {
		err = a.sip->check(conf->options.elts, conf->options.nelts);
		words = a.sip->last_error(NULL);
	}
	n = snprintf(text, sizeof(text), "%c%s", err < 0 ? '-' : '+', words);
	if (n >= (int)sizeof(text))
		n = sizeof(text) - 1;
	_exit(write(out, text, (size_t)n) == n ? 0 : 1);
}

static size_t hear(int in, char *text, size_t size)
{
	struct pollfd p = {.fd = in, .events = POLLIN};
	size_t len = 0;
	ssize_t n = 1;

	while (n > 0 && len + 1 < size && poll(&p, 1, CHECK_MS) > 0) {
		n = read(in, text + len, size - len - 1);
		if (n > 0)
			len += (size_t)n;
	}
	text[len] = '\0';
	return len;
}

/* nginx looks after all children that end: this one is waited for before it hears of it. */
static size_t judge_in_child(ngx_cycle_t *cycle, struct ngx_siphook_conf *conf, char *text, size_t size)
{
	sigset_t child, before;
	size_t len = 0;
	int pair[2];
	pid_t pid;

	if (pipe(pair) < 0)
		return 0;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &before);
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		judge(cycle, conf, pair[1]);
	}
	close(pair[1]);
	if (pid > 0) {
		len = hear(pair[0], text, size);
		if (!len)
			kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(pair[0]);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return len;
}

/* `nginx -t` and every reload. A server that starts goes on without SIP when the script is wrong: its worker says why. */
ngx_int_t ngx_siphook_check(ngx_cycle_t *cycle, struct ngx_siphook_conf *conf)
{
	char text[2048], *rest = NULL;
	size_t len;

	if (!ngx_test_config && ngx_is_init_cycle(cycle->old_cycle))
		return NGX_OK;
	len = judge_in_child(cycle, conf, text, sizeof(text));
	if (!len)
		snprintf(text, sizeof(text), "-the check of %s did not end", conf->script);
	if (text[0] == '-') {
		ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "siphook: %s", text + 1);
		return NGX_ERROR;
	}
	for (char *line = strtok_r(text + 1, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		ngx_log_error(NGX_LOG_WARN, cycle->log, 0, "siphook: %s", line);
	return NGX_OK;
}

/* ---------------------------------------------------------------- sockets */

static void close_sockets(void *data)
{
	struct ngx_siphook_conf *conf = data;
	struct ngx_siphook_socket *s = conf->sockets.elts;

	for (ngx_uint_t i = 0; i < conf->sockets.nelts; i++) {
		if (s[i].fd >= 0)
			close(s[i].fd);
		s[i].fd = -1;
	}
}

/* The configuration before; the module may have been loaded anew since, under another number. */
static struct ngx_siphook_conf *conf_before(ngx_cycle_t *cycle)
{
	ngx_cycle_t *old = cycle->old_cycle;

	if (ngx_is_init_cycle(old) || !old->modules)
		return NULL;
	for (ngx_uint_t i = 0; old->modules[i]; i++) {
		ngx_module_t *m = old->modules[i];
		struct ngx_siphook_conf *conf;

		if (ngx_strcmp(m->name, "ngx_siphook_module") != 0)
			continue;
		conf = (struct ngx_siphook_conf *)old->conf_ctx[m->index];
		return conf && conf->version == NGX_SIPHOOK_CONF ? conf : NULL;
	}
	return NULL;
}

static int take_over(ngx_cycle_t *cycle, const char *uri)
{
	struct ngx_siphook_conf *before = conf_before(cycle);
	struct ngx_siphook_socket *s = before ? before->sockets.elts : NULL;

	for (ngx_uint_t i = 0; before && i < before->sockets.nelts; i++)
		if (s[i].fd >= 0 && strcmp(s[i].uri, uri) == 0)
			return dup(s[i].fd);
	return -1;
}

/* Of the nginx that this one takes the place of. All that it left are closed again in the end. */
static int inherited(const char *uri, int close_all)
{
	const char *left = getenv(SOCKETS_ENV);

	while (left && *left) {
		const char *space = strchr(left, ' '), *end = strchr(left, ';');
		int fd = atoi(left);

		if (!space || !end || space > end)
			break;
		if (close_all)
			close(fd);
		else if (strlen(uri) == (size_t)(end - space) - 1 && strncmp(space + 1, uri, strlen(uri)) == 0)
			return dup(fd);
		left = end + 1;
	}
	return -1;
}

/* For the next nginx; set as if a directive "env" had said so. */
static ngx_int_t leave_sockets(ngx_cycle_t *cycle, struct ngx_siphook_conf *conf)
{
	ngx_core_conf_t *core = (ngx_core_conf_t *)ngx_get_conf(cycle->conf_ctx, ngx_core_module);
	struct ngx_siphook_socket *s = conf->sockets.elts;
	size_t room = sizeof(SOCKETS_ENV "=");
	ngx_str_t *name;
	char *text;

	for (ngx_uint_t i = 0; i < conf->sockets.nelts; i++)
		room += strlen(s[i].uri) + 16;
	text = ngx_pnalloc(cycle->pool, room);
	name = ngx_array_push(&core->env);
	if (!text || !name)
		return NGX_ERROR;
	name->data = (u_char *)text;
	name->len = sizeof(SOCKETS_ENV) - 1;
	text += sprintf(text, SOCKETS_ENV "=");
	for (ngx_uint_t i = 0; i < conf->sockets.nelts; i++)
		if (s[i].fd >= 0)
			text += sprintf(text, "%d %s;", s[i].fd, s[i].uri);
	return NGX_OK;
}

/* A new address that is occupied: the reload is refused, as for nginx's own; a server that starts goes on without. */
ngx_int_t ngx_siphook_open_sockets(ngx_cycle_t *cycle, struct ngx_siphook_conf *conf)
{
	struct ngx_siphook_socket *s = conf->sockets.elts;
	ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(cycle->pool, 0);
	int first = ngx_is_init_cycle(cycle->old_cycle);

	if (!cleanup)
		return NGX_ERROR;
	cleanup->handler = close_sockets;
	cleanup->data = conf;
	if (ngx_test_config)
		return NGX_OK;
	for (ngx_uint_t i = 0; i < conf->sockets.nelts; i++) {
		s[i].fd = first ? inherited(s[i].uri, 0) : take_over(cycle, s[i].uri);
		if (s[i].fd < 0)
			s[i].fd = listener_open(s[i].uri);
		if (s[i].fd < 0 && !first) {
			ngx_log_error(NGX_LOG_EMERG, cycle->log, errno, "siphook: %s cannot be opened", s[i].uri);
			return NGX_ERROR;
		}
		if (s[i].fd >= 0)
			fcntl(s[i].fd, F_SETFD, 0); /* for the next nginx */
	}
	if (first)
		inherited("", 1);
	return leave_sockets(cycle, conf);
}

/* What a worker executes gets none of them; only the master leaves them to the next nginx. */
void ngx_siphook_seal_sockets(struct ngx_siphook_conf *conf)
{
	struct ngx_siphook_socket *s = conf->sockets.elts;

	for (ngx_uint_t i = 0; i < conf->sockets.nelts; i++)
		if (s[i].fd >= 0)
			fcntl(s[i].fd, F_SETFD, FD_CLOEXEC);
}
