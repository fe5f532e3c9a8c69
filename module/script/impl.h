/* What the files of the scheduler and of the Lua objects share. Private to script/. */
#ifndef SH_SCRIPT_IMPL_H
#define SH_SCRIPT_IMPL_H

#include <errno.h>
#include <lauxlib.h>
#include <stdatomic.h>

#include "b2bua/trunk.h"
#include "b2bua/keeper.h"
#include "core/alloc.h"
#include "script/globals.h"
#include "script/limit.h"
#include "script/post.h"
#include "script/sandbox.h"
#include "script/script.h"
#include "script/source.h"
#include "script/value.h"

/* X(identifier, name). Order and names of sip.on. */
#define SH_HOOKS(X)                                                                                                    \
	X(INVITE, "invite")                                                                                            \
	X(REGISTER, "register")                                                                                        \
	X(SUBSCRIBE, "subscribe")                                                                                      \
	X(PUBLISH, "publish")                                                                                          \
	X(REINVITE, "reinvite")                                                                                        \
	X(UPDATE, "update")                                                                                            \
	X(INFO, "info")                                                                                                \
	X(MESSAGE, "message")                                                                                          \
	X(OPTIONS, "options")                                                                                          \
	X(NOTIFY, "notify")                                                                                            \
	X(REFER, "refer")                                                                                              \
	X(ACK, "ack")                                                                                                  \
	X(BYE, "bye")                                                                                                  \
	X(CANCEL, "cancel")                                                                                            \
	X(PRACK, "prack")                                                                                              \
	X(ANSWER, "answer")                                                                                            \
	X(SDP, "sdp")                                                                                                 \
	X(HANGUP, "hangup")                                                                                            \
	X(BINDING, "binding")                                                                                          \
	X(LOAD, "load")                                                                                                \
	X(UNLOAD, "unload")

enum sh_hook {
#define X(id, name) SH_HOOK_##id,
	SH_HOOKS(X)
#undef X
	    SH_HOOK_COUNT,
	SH_HOOK_NONE = SH_HOOK_COUNT
};
extern const char *const sh_hook_names[SH_HOOK_COUNT + 1]; /* NULL ends them */
enum sh_hook sh_hook_of_method(enum sh_method m, bool in_dialog);

/* One Lua state: of one worker in one generation. vm->user. */
/* A REFER and a SUBSCRIBE are requests with more verbs: their handles are the requests'. */
enum sh_object_kind { SH_OBJECT_CALL, SH_OBJECT_REQUEST, SH_OBJECT_LEG, SH_OBJECT_REFER, SH_OBJECT_SUB, SH_OBJECT_KINDS };

enum { SH_PLANS = 2 }; /* sip.originate needs two */

struct sh_state {
	struct sh_generation *generation;
	struct sh_runtime *runtime; /* NULL until its worker takes it up */
	struct sh_vm *vm;
	unsigned worker;
	int hooks[SH_HOOK_COUNT];   /* references, LUA_NOREF: none */
	struct {
		int ref;             /* reference of the metatable */
		const void *pointer; /* lua_topointer of it */
	} classes[SH_OBJECT_KINDS];
	int timers;                 /* reference of the table sip.timer */
	int cancel_error;           /* reference of the object that a cancelled wait raises */
	const void *cancel_pointer; /* lua_topointer of it */
	int retired_error;          /* the same when the generation must go */
	const void *retired_pointer;
	struct sh_link link;        /* in runtime->states, once taken up */
	struct sh_link runs;        /* in progress */
	unsigned spawned;           /* functions that have not begun yet */
	struct sh_link pinned;      /* sh_call_data.pinned_link: calls whose hooks stay here */
	struct sh_timer deadline;   /* when it must be gone; armed when its successor has been taken up */
	unsigned warnings;          /* how often its runs were told so */
	struct sh_link every;       /* sh_deferred: declared at load, armed when taken up; or running */
	/* What the verb that runs has taken and would lose if it raised. Not in a userdata on its stack: one with __gc for each waiting
	 * hook is looked at in the atomic step of the collector. */
	struct {
		struct sh_fork_plan plans[SH_PLANS];
		unsigned nplans; /* read since the hook was resumed */
		struct sh_bindings *bindings;
	} verb;
	unsigned nselftests; /* given to sip.selftest */
	struct sh_shared_journal *watch; /* observe.c; NULL: nobody records */
	bool retiring;
};

enum { SH_GENERATION_TRUNKS = 64 };

/* What sip.listen said. */
struct sh_listen_spec {
	struct sh_slice uri;
	enum sh_proto proto;
	struct sh_addr addr;
	struct sh_slice advertise; /* empty: by itself */
	uint16_t advertise_port;   /* 0: as bound */
	struct sh_listen_tuning tuning;
	struct sh_listen_tls *tls; /* NULL: the instance's, where it needs one */
	struct sh_slice *origins;  /* of WebSockets */
	unsigned norigins;         /* 0: all */
	int place;                 /* index of its endpoint, the same on all workers; -1: there is no room */
};

struct sh_generation {
	struct sh_script *script;
	uint64_t number;
	struct sh_arena arena; /* domains and prefixes, declared by worker 0's top level */
	struct sh_slice *domains;
	unsigned ndomains;
	struct sh_prefix *trust, *allow, *deny;
	unsigned ntrust, nallow, ndeny;
	struct sh_door door; /* when has_door */
	bool has_door;
	struct sh_listen_spec *listens;
	unsigned nlistens;
	bool placed;               /* they have their places */
	struct sh_trunk_config *trunks; /* SH_GENERATION_TRUNKS, in the arena, but for their status */
	unsigned ntrunks;
	struct sh_shared_journal *journal; /* of worker 0's top level */
	struct sh_source *source;
	struct sh_globals globals; /* that its files use; emptied when they have been judged */
	uint64_t loaded;           /* wall clock, microseconds */
	struct sh_generation
	    *next;              /* published after this one: a worker that is late gives back what it never took up */
	_Atomic unsigned users; /* workers that have not given it back */
	unsigned nstates;
	struct sh_state states[];
};

struct sh_script {
	struct sh_script_config config;
	char *path;
	struct sh_pair *pairs;
	struct sh_limits *limits;
	struct sh_generation *_Atomic current;
	_Atomic unsigned alive;
	uint64_t last_number;
	struct sh_runtime **runtimes; /* by worker; each is looked at on its own thread */
	struct sh_locks *locks;
	struct sh_metrics *metrics;
	struct sh_places *places;
};

struct sh_deferred;
struct sh_order;

struct sh_runtime {
	struct sh_script *script;
	struct sh_env *env;
	struct sh_ua *ua;
	struct sh_state *state; /* of the generation taken up */
	struct sh_domains domains;
	struct sh_arena scratch;    /* for one verb: sh_runtime_scratch() */
	uint64_t scratch_used;      /* how many verbs have taken it */
	char *text;                 /* buffer of SH_RUNTIME_TEXT: header lines being built by one verb */
	struct sh_link states;      /* the one taken up, and older ones with runs in progress */
	struct sh_link deferred;    /* named timers: they outlive generations */
	struct sh_deferred *firing; /* the one that runs now; NULL when it was dropped meanwhile */
	uint64_t runs;
	struct sh_script_stats stats;
	unsigned ntimers; /* sh_deferred that are armed */
	bool succeeded;   /* another process has taken over */
	unsigned depth; /* > 0: Lua runs */
	bool flushing;
	struct sh_link questions; /* for the sdp hook, not begun yet */
	struct sh_timer questions_timer;
	struct sh_link branch_hooks; /* of forks that go on */
	struct sh_tls *tls; /* of listeners that need one; NULL: none is configured */
	const struct sh_script_observer *observer; /* NULL: nobody records calls */
	struct sh_keeper *keeper; /* NULL: out of memory */
	bool listens; /* its sockets are open: new generations open theirs */
	bool own_listens[SH_MAX_ENDPOINTS]; /* endpoints that scripts have opened, and that are not over */
	struct sh_timer unnamed; /* looks after those that no generation names any more */
	struct sh_link bound; /* what happened to bindings while Lua ran: binding_hook.c */
	struct sh_link spawned; /* sh_deferred: functions that begin when no Lua is on the stack */
	struct sh_timer spawn_rest;
	struct sh_link unsent;  /* post.c */
	struct sh_timer retry;
	struct sh_link signalled; /* sh_call_data: calls with signals to be delivered */
	struct sh_link over; /* sh_call_data: calls that ended while Lua ran; their hangup hooks come behind it */
	struct sh_log_limit log_limit; /* sh_runtime_error(), sh_runtime_warn() */
};

/* What a peer can cause is logged with these: there is a limit. */
#define sh_runtime_error(rt, ...) \
	sh_log_write_limited((rt)->script->config.log, SH_LOG_ERROR, &(rt)->log_limit, (rt)->env->now, __VA_ARGS__)
#define sh_runtime_warn(rt, ...) \
	sh_log_write_limited((rt)->script->config.log, SH_LOG_WARN, &(rt)->log_limit, (rt)->env->now, __VA_ARGS__)

/* Empties the scratch arena for the verb that begins: what the one before has in it is gone. */
static inline void sh_runtime_scratch(struct sh_runtime *rt)
{
	sh_arena_reset(&rt->scratch);
	rt->scratch_used++;
}

enum { SH_RUNTIME_TEXT = 65536 };

/* What a run of a hook waits for. */
enum sh_wait { SH_WAIT_NONE, SH_WAIT_TIMER, SH_WAIT_FORK, SH_WAIT_BRIDGE, SH_WAIT_PASS, SH_WAIT_RELAY, SH_WAIT_OTHER, SH_WAIT_TURN };

/* One hook in progress. Freed when it ended. */
struct sh_run {
	struct sh_link link; /* in state->runs */
	struct sh_state *state;
	struct sh_coroutine *co;
	enum sh_hook hook; /* SH_HOOK_NONE: a timer or a spawned function */
	const char *name;  /* what the log calls it */
	uint64_t call;     /* handle; held while the run lasts */
	uint64_t request;  /* handle; released when it ends */
	enum sh_wait wait;
	struct sh_timer timer;
	void (*abandon)(void *arg); /* gives up what it waits for: the wait ends by something else */
	void *abandon_arg;
	struct sh_http *exchange; /* of sip.http: that it waits for */
	struct sh_order *order;   /* that it serves */
	struct sh_question *question; /* that it answers: the sdp hook */
	struct sh_link locks;     /* that it holds: lock.c */
	int data_ref;          /* call.data as a table, once it was asked for; else LUA_NOREF */
	struct sh_value *seen; /* what that table held when it was last compared */
	char *auth_user;       /* of the request: whom auth() has found */
	bool retired;             /* it was told to go */
	struct sh_link of_call;   /* in sh_call_data.runs: it is cancelled when the call ends */
	bool doomed;              /* the call has ended while it waited */
	struct sh_link in_waits;  /* of call:wait: in sh_call_data.waits */
	struct sh_slice waits_for; /* name of the event; on its Lua stack */
	char *go_on;              /* call:continue: the timer that takes over */
	uint64_t forks;        /* handle of the call whose fork or bridge it waits for; 0: none */
	uint64_t originates;   /* handle of a call of its own that it waits for */
	uint64_t passes;       /* handle of the request whose pass or relay it waits for */
	bool forked;           /* it has called somebody */
	bool empty;            /* the last fork had no targets */
	bool passed;           /* the outcome of req:pass came before its wait: in result */
	bool has_result;       /* what req:relay brought, to be passed back at the end */
	struct sh_result result;
	struct sh_msg *result_msg;
};

/* What a script keeps of a call between hooks. sh_call_app(). */
enum { SH_CALL_LIMITS = 8 };
struct sh_call_data { /* in the worker's pool: there is one for each call that is up */
	struct sh_value *data;
	char *auth_user;       /* whom auth() has found */
	struct sh_run *run;    /* that is to answer: of the invite hook, or what it has continued with */
	struct sh_run *waiter; /* waits for its fork or bridge: mostly the same */
	struct sh_link runs;   /* sh_run.of_call: those that the call's end cancels */
	struct sh_link waits;  /* sh_run.in_waits: call:wait */
	struct sh_link signals; /* that nobody has taken: call_wait.c */
	struct sh_link signalled; /* in runtime->signalled */
	struct sh_limit **limits; /* what it is counted under: SH_CALL_LIMITS of them, or NULL */
	uint8_t nlimits;
	bool challenged;       /* the only answer was a challenge: no hangup hook */
	unsigned nsignals;     /* of signals */
	struct sh_link timers; /* sh_deferred of call:after */
	struct sh_state *pinned; /* call:pin: its hooks run there; NULL: in the newest */
	struct sh_link pinned_link;
	/* It ended while Lua ran: in runtime->over. */
	struct sh_link link;
	struct sh_call *call; /* held while it is in one of the runtime's lists */
	struct sh_party {
		uint64_t leg; /* handle; 0: there was none */
		char *uri;
	} *parties; /* the legs a and b when it ended, for the hangup hook; NULL: there is none */
	struct {
		char *text; /* reason and q850_text of the why */
		uint32_t reason_len, q850_len, q850;
		uint16_t code;
		uint8_t by; /* enum sh_why_by */
	} why;
};

/* The torture build collects all garbage wherever the API is entered: what nothing on the stack holds is gone then. */
static inline void sh_torture_collect(lua_State *L)
{
#ifdef SH_TORTURE
	lua_gc(L, LUA_GCCOLLECT);
#else
	(void)L;
#endif
}

static inline struct sh_state *sh_state_of(lua_State *L)
{
	return sh_vm_of(L)->user;
}

/* The runtime; raises at load time. what: "call:fork". */
struct sh_runtime *sh_runtime_check(lua_State *L, const char *what);
/* The run in progress; raises outside of hooks. */
struct sh_run *sh_run_check(lua_State *L, const char *what);

/* ---- run.c */
struct sh_run_start {
	enum sh_hook hook;
	struct sh_call *call;
	struct sh_request *request;
	const struct sh_why *why;
	sh_vm_push_fn push; /* pushes function and arguments */
	void *arg;
	struct sh_order *order; /* that it serves; NULL: none */
	struct sh_question *question; /* of the sdp hook */
	bool urgent; /* an emergency call: there is room for a tenth more of them */
	const char *name; /* in the log, where it is no hook; NULL: "timer" */
};
/* 0, or nothing was run: -ENOMEM, -EAGAIN (too many in progress). */
int sh_run_begin(struct sh_state *s, const struct sh_run_start *start);
bool sh_run_waits(const struct sh_run *r);
void sh_run_resume(struct sh_run *r, sh_vm_push_fn push, void *arg);
/* Suspends the running hook: return sh_run_wait(L, run, SH_WAIT_...); the results of the wait become those of the
 * function. */
int sh_run_wait(lua_State *L, struct sh_run *r, enum sh_wait wait);
/* The same for a fork or bridge of c. then: what goes on with the results, which stand above the index `base`; may be
 * NULL. */
int sh_run_wait_call(lua_State *L, struct sh_run *r, struct sh_call *c, enum sh_wait wait, lua_KFunction then);
/* The same for a pass or relay of q, whose done was given the run. */
int sh_run_wait_request(lua_State *L, struct sh_run *r, struct sh_request *q, enum sh_wait wait);
/* The same for what must be given up when the wait ends otherwise (a cancel, a stop): abandon(arg) is called then, and
 * not when sh_run_resume() ends it. */
int sh_run_wait_for(lua_State *L, struct sh_run *r, void (*abandon)(void *arg), void *arg, lua_KFunction then);
void sh_run_interrupt(struct sh_run *r);
/* Its generation must go: the wait raises the retired error; `last`: it ends now, whatever it does. What others have to do (a
 * request that was passed on, an ACK) goes on without it. */
void sh_run_retire(struct sh_run *r, bool last);
void sh_run_drop(struct sh_run *r); /* nothing of it runs any more */
void sh_request_default(struct sh_request *q, enum sh_hook h); /* the default of an in-dialog request, and its release */

/* ---- runtime.c */
void sh_state_drop(struct sh_state *s);
void sh_state_retire_if_idle(struct sh_state *s);
void sh_state_deadline(struct sh_timer *t);
int sh_call_pin(lua_State *L); /* call:pin() */
int sh_call_data_create(struct sh_call *c); /* 0 or -ENOMEM */
void sh_why_push(lua_State *L, const struct sh_why *why); /* a table */
bool sh_runtime_has(struct sh_runtime *rt, enum sh_hook h); /* in the newest generation, which it takes up */
void sh_runtime_flush(struct sh_runtime *rt); /* runs what had to wait until no Lua is on the stack */

/* ---- object.c: userdata with a handle */
struct sh_object {
	enum sh_object_kind kind;
	uint64_t handle;
	uint64_t other; /* of a SUBSCRIBE: its subscription, which outlives it */
};
void sh_object_push(lua_State *L, enum sh_object_kind kind, uint64_t handle);
/* Makes a class. field(L, id) answers the fields, with the object at 1; other(object, name) what is neither field nor
 * method. */
struct sh_field {
	const char *name;
	int id;
};
void sh_object_class(lua_State *L, enum sh_object_kind kind, const luaL_Reg *methods, const struct sh_field *fields,
		     int (*field)(lua_State *L, int id), lua_CFunction other);
struct sh_object *sh_object_check(lua_State *L, int idx, enum sh_object_kind kind);
/* luaL_checkudata(); where the object of a method is missing, it says that a colon may be. owner: "call", for that. */
void *sh_self_check(lua_State *L, int idx, const char *class, const char *owner);
struct sh_object *sh_object_test(lua_State *L, int idx, enum sh_object_kind kind); /* NULL: something else */
struct sh_object *sh_object_check_message(lua_State *L, int idx); /* of a call, or a request of any class; raises */
struct sh_object *sh_object_test_request(lua_State *L, int idx); /* a request of any class; NULL: something else */
/* Raise when it is something else; NULL when it is gone. */
struct sh_call *sh_call_check(lua_State *L, int idx);
struct sh_leg *sh_leg_check(lua_State *L, int idx);
struct sh_request *sh_request_check(lua_State *L, int idx);
struct sh_request *sh_check_no_call(lua_State *L, const char *verb); /* the same at 1, for a verb that is not for an INVITE */
int sh_gone(lua_State *L);                           /* nil, "gone" */
int sh_push_errno(lua_State *L, int err);            /* nil, "code", "detail" */
void sh_count_output(lua_State *L);                  /* a message of the script was too long to be sent */
int sh_too_long(lua_State *L, const char *what);     /* the same, and raises */
int sh_push_done(lua_State *L, int err);             /* true, or the same */
void sh_push_slice(lua_State *L, struct sh_slice s); /* nil without a base */
void sh_push_field(lua_State *L, struct sh_slice s); /* a URI object of a From, To, Contact ...; nil when it is none */

/* ---- call_object.c, leg_object.c */
void sh_call_object_open(lua_State *L);
void sh_leg_object_open(lua_State *L);

/* ---- request_object.c */
void sh_request_object_open(lua_State *L);
/* A class that has all of a request's verbs, and these. */
void sh_request_class(lua_State *L, enum sh_object_kind kind, const luaL_Reg *methods, const struct sh_field *fields,
		      int (*field)(lua_State *L, int id));
bool sh_dtmf_push(lua_State *L, const struct sh_msg *m); /* {signal=, duration=}; false: nothing was pushed */
int sh_dtmf_verb(lua_State *L);                          /* of each class */

/* ---- ref_object.c */
void sh_refer_object_open(lua_State *L);
int sh_call_transfer_verb(lua_State *L);
int sh_call_pickup_verb(lua_State *L);
void sh_push_dialog_ids(lua_State *L, struct sh_slice value); /* of Replaces or Join: a table, or nil */

/* ---- observe.c: for who records calls */
int sh_state_observe(struct sh_state *s); /* as its runtime is; 0 or -ENOMEM */
const struct sh_call *sh_run_call(const struct sh_run *r); /* whose hook it is; NULL: of no call, or it is gone */

/* ---- sub_object.c */
void sh_sub_object_open(lua_State *L);
int sh_publish_verb(lua_State *L);
int sh_notify(lua_State *L); /* sip.notify */

/* ---- view.c: a message, where it came from and whose it is: what fields are read from. */
struct sh_view {
	const struct sh_msg *msg; /* NULL: forgotten */
	const struct sh_path *from;
	struct sh_call *call;
	struct sh_leg *leg;
	struct sh_request *request; /* NULL: the call's INVITE */
};
bool sh_view_get(lua_State *L, int idx, struct sh_view *out); /* of a call or request; false: gone */
extern const struct sh_field sh_view_fields[];                /* ids below SH_FIELD_OWN */
enum { SH_FIELD_OWN = 100 };
int sh_view_field(lua_State *L, int id); /* object at 1 */
void sh_push_source(lua_State *L, const struct sh_path *from); /* {ip=, port=, transport=} */
int sh_view_header(lua_State *L);        /* object at 1, name at 2: the first value */
int sh_view_headers(lua_State *L);       /* method :headers(name) */

/* An answer to what the view stands for. 0 or -errno. */
int sh_view_reply(const struct sh_view *v, unsigned code, struct sh_slice reason, struct sh_slice headers,
		  struct sh_slice content_type, struct sh_slice body);

/* ---- options.c: tables that scripts give. Read raw: a text stays where it is while the table lives. */
int sh_opt_get(lua_State *L, int table, const char *key); /* pushes the value; its type */
unsigned sh_opt_code(lua_State *L, int idx, unsigned min, unsigned max);
uint64_t sh_opt_seconds(lua_State *L, int table, const char *key, uint64_t fallback); /* microseconds */
struct sh_slice sh_opt_text(lua_State *L, int table,
			    const char *key); /* empty when absent; the string stays in the table */
bool sh_opt_bool(lua_State *L, int table, const char *key, bool fallback);
lua_Integer sh_opt_integer(lua_State *L, int table, const char *key, lua_Integer fallback, lua_Integer min,
			   lua_Integer max);
/* One of the words (ended by NULL): its index. Raises for others. */
unsigned sh_opt_choice(lua_State *L, int table, const char *key, const char *const *words, unsigned fallback);
extern const char *const sh_nat_words[]; /* "auto", "always", "never": enum sh_nat and sh_register_nat */
/* The names of the options of each verb, ended by NULL. names.c says whose they are: from there the editor's stubs are compared. */
extern const char *const sh_options_accept[], *const sh_options_acl[], *const sh_options_answer[], *const sh_options_auth[],
    *const sh_options_bridge[], *const sh_options_entry[], *const sh_options_every[], *const sh_options_fork[], *const sh_options_hangup[],
    *const sh_options_http[], *const sh_options_http_request[], *const sh_options_json[], *const sh_options_listen[],
    *const sh_options_listen_tls[], *const sh_options_login[], *const sh_options_lookup[], *const sh_options_message[],
    *const sh_options_originate[], *const sh_options_publish[], *const sh_options_redirect[], *const sh_options_redirect_entry[],
    *const sh_options_register[], *const sh_options_reject[], *const sh_options_relay[], *const sh_options_replaces[],
    *const sh_options_request[], *const sh_options_ring[], *const sh_options_store[], *const sh_options_subscribe[],
    *const sh_options_transfer[], *const sh_options_trunk[], *const sh_options_trunk_register[], *const sh_options_ttl[],
    *const sh_options_uri[];
bool sh_options_listed(const char *const *names);
/* Raises for unknown keys. Bit n of what it returns: the n-th name (of 64 at most) is there. */
uint64_t sh_opt_known(lua_State *L, int table, const char *what, const char *const *names);
/* A target as text or URI object, bare or with <> and a display name. Raises when it is no URI. display may be NULL. */
struct sh_slice sh_opt_uri(lua_State *L, int idx, const char *what, struct sh_slice *display);
/* headers = {Name = "value" | {"v1", "v2"} | false}: lines into w, of a name set to false the name alone. */
void sh_opt_headers(lua_State *L, int idx, struct sh_writer *w);
/* Those of the option `headers` of a table (0: none), in w. */
struct sh_slice sh_opt_header_lines(lua_State *L, int table, struct sh_runtime *rt, struct sh_writer *w);
/* {headers=, body=, content_type=} at idx, or nothing there. Header lines stand in rt->text; the texts are Lua's. */
void sh_opt_message(lua_State *L, int idx, const char *what, struct sh_runtime *rt, struct sh_slice *headers,
		    struct sh_slice *type, struct sh_slice *body);
/* The arguments [reason] [, {...}] from idx on: the reason, empty when there is none, and the index of the table (nil or absent
 * there: no options). */
int sh_opt_reason(lua_State *L, int idx, struct sh_slice *reason);
bool sh_is_token(struct sh_slice name); /* RFC 3261 25.1 */
void sh_check_clean(lua_State *L, struct sh_slice text, const char *what); /* no CR, LF, NUL */

/* ---- targets.c */
/* The plan is the state's: it is given back if nobody takes it over before the hook waits or ends, or after two further ones.
 * what: "call:fork", for complaints. */
enum { SH_PLAN_TARGETS = 64 };
enum sh_plan_kind {
	SH_PLAN_CALL,    /* call:fork */
	SH_PLAN_RELAY,   /* req:relay */
	SH_PLAN_REQUEST, /* sip.request */
	SH_PLAN_ORIGINATE, /* sip.originate */
	SH_PLAN_TRUNK    /* sip.trunk, while the script loads */
};
struct sh_plan_about {
	enum sh_plan_kind kind; /* which options there are */
	struct sh_slice from;   /* the caller's: what a display name alone is put before */
	struct sh_slice uri;    /* the Request-URI: whose user part a trunk is asked for */
};
/* Of the option "offer": true, false, or nil: to browsers. */
enum sh_first_offer sh_opt_offer(lua_State *L, int idx, const char *what);
struct sh_fork_plan *sh_plan_read(lua_State *L, int targets, int options, const char *what, const struct sh_plan_about *about);

/* ---- lookup.c */
int sh_lookup(lua_State *L); /* sip.lookup */
int sh_bindings(lua_State *L);
int sh_unbind(lua_State *L);
/* The flows of a contact: a phone that does outbound has several (RFC 5626 5.1), one is used at a time. */
enum { SH_FLOWS_MAX = 4 };
struct sh_flows {
	unsigned count;
	struct sh_reach reaches[SH_FLOWS_MAX]; /* texts behind it */
	char text[];
};
const struct sh_flows *sh_flows_test(lua_State *L, int idx); /* `flow` of what sip.lookup gives; NULL: something else */
void sh_push_flow(lua_State *L, const struct sh_path *path); /* the same for a flow that a token has named */
int sh_aor_read(lua_State *L, int idx, struct sh_runtime *rt,
		struct sh_slice *out); /* 0 or -EINVAL; text in rt->scratch */
/* Where a reference is given back whatever raises, at the latest when the hook waits or ends. */
struct sh_bindings **sh_bindings_guard(lua_State *L);
void sh_verb_forget(struct sh_state *s);
int sh_push_bindings(lua_State *L, struct sh_bindings **slot,
		     uint64_t now); /* pushes a list of them, and empties *slot. Returns 1 */
void sh_lookup_open(lua_State *L);

/* ---- binding_hook.c */
void sh_push_contact(lua_State *L, const struct sh_contact *c, uint64_t now); /* a table */
void sh_binding_hook_flush(struct sh_runtime *rt);
void sh_binding_hook_drop(struct sh_runtime *rt);

/* ---- sdp_hook.c */
bool sh_sdp_hook_wanted(void *ctx);
void sh_sdp_hook_ask(void *ctx, struct sh_question *q);
void sh_sdp_hook_answer(struct sh_run *r, bool edited); /* a run of it is over; edited: what it did to the sdp counts */
void sh_sdp_hook_init(struct sh_runtime *rt);
void sh_sdp_hook_stop(struct sh_runtime *rt);

/* ---- branch_hook.c: the option on_branch of a fork */
void sh_branch_hook_read(lua_State *L, int options, struct sh_fork_plan *plan);
void sh_branch_hook_stop(struct sh_runtime *rt); /* its Lua states go: nothing is told any more */

/* ---- listen.c */
int sh_listen(lua_State *L); /* sip.listen */
int sh_places_create(struct sh_places **out, unsigned workers);
void sh_generation_place(struct sh_generation *g); /* its listeners get their places; before workers take it up */
void sh_runtime_listen_init(struct sh_runtime *rt);
void sh_runtime_listen_finish(struct sh_runtime *rt);
/* A copy in the generation's arena; raises without memory. */
struct sh_slice sh_generation_keep(lua_State *L, struct sh_generation *g, struct sh_slice text);

/* ---- acl.c */
int sh_acl(lua_State *L); /* sip.acl */
void sh_check_loading(lua_State *L, const char *what); /* raises behind the top level */

/* ---- result_object.c */
void sh_result_open(lua_State *L);
void sh_result_push(lua_State *L, const struct sh_result *r);
/* A res table at idx: code, and what of its message goes to the caller. False: no result. */
struct sh_result_view {
	unsigned code;
	struct sh_slice reason, raw;
};
bool sh_result_test(lua_State *L, int idx, struct sh_result_view *out);

/* ---- auth_verb.c */
int sh_auth_verb(lua_State *L);
int sh_challenge_verb(lua_State *L);
int sh_register_verb(lua_State *L);

/* ---- sip.c */
int sh_sip_open(lua_State *L); /* builds the table siphook and preloads it; arg: struct sh_state */

/* ---- trace.c: from now on the verbs in the table on top and in the classes are told to config.trace */
void sh_trace_open(lua_State *L);
/* Replaces the method on top, of an object that scripts call so. */
void sh_trace_method(lua_State *L, const char *object, const char *name);

/* ---- request_verb.c, originate_verb.c, trunk.c */
int sh_request_verb(lua_State *L);  /* sip.request */
/* "<sip:example.org>": who we are where the script does not say. On top of the stack. */
struct sh_slice sh_own_name(lua_State *L, struct sh_runtime *rt);
int sh_originate_verb(lua_State *L); /* sip.originate */
void sh_trunk_open(lua_State *L);   /* trunk into the table on top */
const struct sh_trunk_config *sh_trunk_test(lua_State *L, int idx); /* NULL: something else */
void sh_push_trunk_of(lua_State *L, const struct sh_addr *from, struct sh_slice user); /* that a request came from; nil: none */

/* ---- call_fork.c */
int sh_call_fork_verb(lua_State *L);
int sh_call_bridge_verb(lua_State *L);
int sh_call_dial_verb(lua_State *L);
int sh_call_relay_verb(lua_State *L);
int sh_call_answer_verb(lua_State *L);

/* ---- call_reply.c */
int sh_call_reply_verb(lua_State *L);
int sh_call_pass_verb(lua_State *L);

/* ---- call_wait.c */
int sh_call_wait_verb(lua_State *L);
int sh_call_signal_verb(lua_State *L);
/* Keeps it, or wakes who waits for it, when no Lua runs. data may be NULL; taken over. -EPIPE, -ENOSPC, -ENOMEM. */
int sh_call_signal(struct sh_runtime *rt, struct sh_call *c, struct sh_slice name, struct sh_value *data);
void sh_call_deliver(struct sh_call_data *d);
bool sh_call_awaits(const struct sh_call_data *d, enum sh_method method);
bool sh_call_wake_request(struct sh_call *c, struct sh_request *q); /* true: somebody has waited for it */
void sh_call_wake_peer_gone(struct sh_call_data *d, const struct sh_why *why);
void sh_call_wake_ended(struct sh_call_data *d, const struct sh_why *why);
void sh_call_wait_drop(struct sh_call_data *d); /* the signals that are left */

/* ---- names.c: which functions may suspend the hook. Every one that does is declared: in the test build the others cannot, so that
 * the editors' stubs and the tests of cancels have all of them. */
void sh_waits_declare(lua_State *L); /* the function on top, which stays */
void sh_waits_declare_all(lua_State *L, const lua_CFunction *verbs); /* up to NULL; of functions without upvalues */
bool sh_waits(lua_State *L, int idx);

/* ---- selftest.c: sip.selftest */
int sh_selftest_verb(lua_State *L);

/* ---- call_data.c: call.data */
int sh_call_data_push(lua_State *L, struct sh_call *c);
void sh_call_data_set(lua_State *L, struct sh_call *c, int idx);
void sh_call_data_save(struct sh_run *r); /* what the run did to it goes to the call; at each wait and at its end */

/* ---- deferred.c: sip.after, sip.every, call:after */
void sh_deferred_open(lua_State *L); /* after, every into the table on top */
int sh_call_after(lua_State *L);
bool sh_timer_exists(struct sh_state *s, const char *name); /* in sip.timer of that state; no Lua of it runs */
/* The name at idx is in sip.timer neither of this generation nor of the newest: a misspelt one raises. Another one does if it is to
 * run at once; else a later generation may have it, and the log says that none has so far. */
void sh_timer_check(lua_State *L, int idx, const char *what, bool at_once);
/* sip.timer.NAME(call) in the newest generation as a run of `hook`, in a moment. 0 or -ENOMEM. */
int sh_deferred_continue(struct sh_runtime *rt, struct sh_call *c, const char *name, enum sh_hook hook);
void sh_deferred_init(struct sh_runtime *rt);
void sh_deferred_run_spawned(struct sh_runtime *rt);
void sh_deferred_take_up(struct sh_state *s); /* arms what its top level declared */
void sh_deferred_drop_state(struct sh_state *s);
void sh_deferred_drop_call(struct sh_call_data *d);
void sh_deferred_drop_all(struct sh_runtime *rt);

#endif
