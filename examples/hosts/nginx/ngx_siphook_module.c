/* siphook in nginx: SIP in one of the workers. See README.md.
 *
 * This file: the directives, and the modules as nginx wants them. The master never loads siphook.so: it opens the sockets and lets
 * a child of its own judge the script (ngx_siphook_sockets.c). Worker 0 loads and runs it (ngx_siphook_worker.c); all workers show
 * its status (ngx_http_siphook_status.c). */
#include "ngx_siphook.h"

#define DEFAULT_FOLDER "/var/lib/nginx/siphook"

static char *copy(ngx_pool_t *pool, const ngx_str_t *s)
{
	char *text = ngx_pnalloc(pool, s->len + 1);

	if (text) {
		ngx_memcpy(text, s->data, s->len);
		text[s->len] = '\0';
	}
	return text;
}

static char *set_path(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
	char **to = (char **)((char *)conf + cmd->offset);
	ngx_str_t path = ((ngx_str_t *)cf->args->elts)[1];

	if (*to)
		return "is duplicate";
	if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK)
		return NGX_CONF_ERROR;
	*to = copy(cf->cycle->pool, &path);
	return *to ? NGX_CONF_OK : NGX_CONF_ERROR;
}

static char *add_option(ngx_conf_t *cf, ngx_command_t *cmd, void *ctx)
{
	struct ngx_siphook_conf *conf = ctx;
	ngx_str_t *args = cf->args->elts;
	struct siphook_option *o = ngx_array_push(&conf->options);

	(void)cmd;
	if (!o)
		return NGX_CONF_ERROR;
	o->key = copy(cf->cycle->pool, &args[1]);
	o->value = copy(cf->cycle->pool, &args[2]);
	if (!o->key || !o->value)
		return NGX_CONF_ERROR;
	if (!strcmp(o->key, "handover_secret")) {
		ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"handover_secret\" is made by the module: it stands in the file siphook_folder.key");
		return NGX_CONF_ERROR;
	}
	if (!strcmp(o->key, "script") || !strcmp(o->key, "listen") || !strcmp(o->key, "control") || !strcmp(o->key, "handover")) {
		ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%s\" has a directive of its own", o->key);
		return NGX_CONF_ERROR;
	}
	return NGX_CONF_OK;
}

static char *add_listen(ngx_conf_t *cf, ngx_command_t *cmd, void *ctx)
{
	struct ngx_siphook_conf *conf = ctx;
	ngx_str_t *args = cf->args->elts;

	(void)cmd;
	for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
		struct ngx_siphook_socket *s = ngx_array_push(&conf->sockets);

		if (!s)
			return NGX_CONF_ERROR;
		s->fd = -1;
		s->uri = copy(cf->cycle->pool, &args[i]);
		if (!s->uri)
			return NGX_CONF_ERROR;
	}
	return NGX_CONF_OK;
}

static char *set_folder(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
	return ngx_conf_set_path_slot(cf, cmd, conf);
}

static void *create_conf(ngx_cycle_t *cycle)
{
	struct ngx_siphook_conf *conf = ngx_pcalloc(cycle->pool, sizeof(*conf));

	if (!conf || ngx_array_init(&conf->options, cycle->pool, 8, sizeof(struct siphook_option)) != NGX_OK ||
	    ngx_array_init(&conf->sockets, cycle->pool, 4, sizeof(struct ngx_siphook_socket)) != NGX_OK)
		return NULL;
	conf->version = NGX_SIPHOOK_CONF;
	conf->on = NGX_CONF_UNSET;
	return conf;
}

static ngx_int_t push(struct ngx_siphook_conf *conf, const char *key, const char *value)
{
	struct siphook_option *o = value ? ngx_array_push(&conf->options) : NULL;

	if (!o)
		return NGX_ERROR;
	*o = (struct siphook_option){key, value};
	return NGX_OK;
}

/* So that no other process of the workers' user can take the calls, or give them to it. */
static ngx_int_t push_secret(ngx_cycle_t *cycle, struct ngx_siphook_conf *conf)
{
	const char *folder = (const char *)conf->folder->name.data;
	char *secret = ngx_pnalloc(cycle->pool, SECRET_LEN + 1);
	int has = secret ? handover_secret(folder, secret) : 0;

	if (has < 0) {
		ngx_log_error(NGX_LOG_EMERG, cycle->log, errno, "siphook: %s.key, which only root may read", folder);
		return NGX_ERROR;
	}
	return !secret || (has && push(conf, "handover_secret", secret) != NGX_OK) ? NGX_ERROR : NGX_OK;
}

/* All that the instance gets, in the order in which its messages make sense. */
static ngx_int_t complete_options(ngx_cycle_t *cycle, struct ngx_siphook_conf *conf)
{
	struct ngx_siphook_socket *s = conf->sockets.elts;
	const char *folder = (const char *)conf->folder->name.data;
	size_t room = conf->folder->name.len + sizeof("/control");

	if (!conf->control) {
		conf->control = ngx_pnalloc(cycle->pool, room);
		if (!conf->control)
			return NGX_ERROR;
		ngx_snprintf((u_char *)conf->control, room, "%V/control%Z", &conf->folder->name);
	}
	if (push(conf, "script", conf->script) != NGX_OK || push(conf, "control", conf->control) != NGX_OK ||
	    push(conf, "handover", folder) != NGX_OK || push_secret(cycle, conf) != NGX_OK)
		return NGX_ERROR;
	for (ngx_uint_t i = 0; i < conf->sockets.nelts; i++)
		if (push(conf, "listen", s[i].uri) != NGX_OK)
			return NGX_ERROR;
	return NGX_OK;
}

static ngx_int_t default_folder(ngx_cycle_t *cycle, struct ngx_siphook_conf *conf)
{
	ngx_path_t **path = ngx_array_push(&cycle->paths);

	conf->folder = ngx_pcalloc(cycle->pool, sizeof(ngx_path_t));
	if (!path || !conf->folder)
		return NGX_ERROR;
	*path = conf->folder;
	ngx_str_set(&conf->folder->name, DEFAULT_FOLDER);
	return NGX_OK;
}

static char *init_conf(ngx_cycle_t *cycle, void *ctx)
{
	struct ngx_siphook_conf *conf = ctx;

	ngx_conf_init_value(conf->on, 0);
	if (!conf->on || ngx_process == NGX_PROCESS_SIGNALLER)
		return NGX_CONF_OK;
	if (!conf->script) {
		ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "siphook: the directive \"siphook_script\" is missing");
		return NGX_CONF_ERROR;
	}
	if ((!conf->folder && default_folder(cycle, conf) != NGX_OK) || complete_options(cycle, conf) != NGX_OK || ngx_siphook_check(cycle, conf) != NGX_OK ||
	    ngx_siphook_open_sockets(cycle, conf) != NGX_OK)
		return NGX_CONF_ERROR;
	return NGX_CONF_OK;
}

#define MAIN (NGX_MAIN_CONF | NGX_DIRECT_CONF)

static ngx_command_t commands[] = {
    {ngx_string("siphook"), MAIN | NGX_CONF_FLAG, ngx_conf_set_flag_slot, 0, offsetof(struct ngx_siphook_conf, on), NULL},
    {ngx_string("siphook_script"), MAIN | NGX_CONF_TAKE1, set_path, 0, offsetof(struct ngx_siphook_conf, script), NULL},
    {ngx_string("siphook_listen"), MAIN | NGX_CONF_1MORE, add_listen, 0, 0, NULL},
    {ngx_string("siphook_option"), MAIN | NGX_CONF_TAKE2, add_option, 0, 0, NULL},
    {ngx_string("siphook_folder"), MAIN | NGX_CONF_TAKE1, set_folder, 0, offsetof(struct ngx_siphook_conf, folder), NULL},
    {ngx_string("siphook_control"), MAIN | NGX_CONF_TAKE1, set_path, 0, offsetof(struct ngx_siphook_conf, control), NULL},
    {ngx_string("siphook_object"), MAIN | NGX_CONF_TAKE1, set_path, 0, offsetof(struct ngx_siphook_conf, object), NULL},
    ngx_null_command};

static ngx_core_module_t context = {ngx_string("siphook"), create_conf, init_conf};

#define EXPORTED __attribute__((visibility("default")))

EXPORTED ngx_module_t ngx_siphook_module = {NGX_MODULE_V1,
					    &context,
					    commands,
					    NGX_CORE_MODULE,
					    NULL,
					    NULL,
					    ngx_siphook_init_process,
					    NULL,
					    NULL,
					    ngx_siphook_exit_process,
					    NULL,
					    NGX_MODULE_V1_PADDING};

/* What nginx's own build writes for a dynamic module. */
extern EXPORTED ngx_module_t *ngx_modules[];
extern EXPORTED char *ngx_module_names[];
extern EXPORTED char *ngx_module_order[];
ngx_module_t *ngx_modules[] = {&ngx_siphook_module, &ngx_http_siphook_module, NULL};
char *ngx_module_names[] = {"ngx_siphook_module", "ngx_http_siphook_module", NULL};
char *ngx_module_order[] = {NULL};
