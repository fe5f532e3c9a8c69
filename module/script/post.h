/* Messages from one worker's runtime to another's, that do not get lost: while a ring is full they wait here. A message
 * belongs to whoever has it: the sender until it is sent, then the receiver. */
#ifndef SH_SCRIPT_POST_H
#define SH_SCRIPT_POST_H

#include "core/list.h"

struct sh_runtime;
struct sh_script;
struct sh_post;

/* On the receiver's thread. rt NULL: everything ends, on whatever thread, and no other one runs: free it. */
typedef void (*sh_post_fn)(struct sh_post *p, struct sh_runtime *rt);

struct sh_post {
	struct sh_link link; /* in runtime->unsent */
	struct sh_script *script;
	unsigned worker;
	sh_post_fn deliver;
};

/* p comes zeroed, or from an earlier delivery. To any worker, the own one too; never delivered before this returns. */
void sh_post_send(struct sh_runtime *rt, struct sh_post *p, unsigned worker, sh_post_fn deliver);

/* private to runtime.c */
void sh_post_init(struct sh_runtime *rt);
void sh_post_finish(struct sh_runtime *rt);

#endif
