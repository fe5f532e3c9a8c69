/* What the files of the nginx adapter share. */
#ifndef NGX_SIPHOOK_H
#define NGX_SIPHOOK_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "../adapter.h"
#include "../processes.h"

/* The directives of the main block. Strings and pairs live in the pool of their cycle. */
struct ngx_siphook_conf {
	ngx_uint_t version; /* NGX_SIPHOOK_CONF: of this structure, since another build of the module may look into it */
	ngx_array_t sockets; /* struct ngx_siphook_socket */
	ngx_flag_t on;
	ngx_array_t options; /* struct siphook_option: all that the instance gets */
	char *script, *object, *control;
	ngx_path_t *folder; /* of the hand-over and the control socket; nginx makes it, for the user of its workers */
};

#define NGX_SIPHOOK_CONF 1

/* A listening address. The master opens it and keeps it; each cycle has a descriptor of its own. */
struct ngx_siphook_socket {
	char *uri;
	int fd; /* -1: it could not be opened, or is not needed */
};

extern ngx_module_t ngx_siphook_module, ngx_http_siphook_module;

static inline struct ngx_siphook_conf *ngx_siphook_conf_of(ngx_cycle_t *cycle)
{
	return (struct ngx_siphook_conf *)ngx_get_conf(cycle->conf_ctx, ngx_siphook_module);
}

/* ngx_siphook_sockets.c: what the master does when it reads its configuration */
ngx_int_t ngx_siphook_open_sockets(ngx_cycle_t *cycle, struct ngx_siphook_conf *conf);
void ngx_siphook_seal_sockets(struct ngx_siphook_conf *conf); /* in a process that the master has forked */
ngx_int_t ngx_siphook_check(ngx_cycle_t *cycle, struct ngx_siphook_conf *conf);

/* ngx_siphook_worker.c: SIP in the worker that serves it */
ngx_int_t ngx_siphook_init_process(ngx_cycle_t *cycle);
void ngx_siphook_exit_process(ngx_cycle_t *cycle);

#endif
