/* What happens to calls, as JSON for a host that asked for it. */
#include "engine/impl.h"
#include "core/json.h"

static void put_text(struct sh_json *j, const char *key, struct sh_slice text)
{
	sh_json_key(j, key);
	sh_json_text(j, text);
}

void sh_engine_tell_call(void *worker, struct sh_call *c, enum sh_call_event event, const struct sh_why *why)
{
	static const char *const names[] = {"call.new", "call.answer", "call.end"};
	static const char *const by[] = {"caller", "callee", "script", "engine"};
	struct sh_worker *w = worker;
	const struct sh_call_times *t = sh_call_times(c);
	uint64_t now = sh_env_wall(w->env);
	char source[SH_ADDR_TEXT];
	struct sh_json j;

	sh_json_init(&j);
	sh_json_open(&j, '{');
	put_text(&j, "event", sh_slice_cstr(names[event]));
	put_text(&j, "id", sh_call_id(c));
	sh_json_key(&j, "time");
	sh_json_seconds(&j, now);
	put_text(&j, "from", sh_call_from(c));
	put_text(&j, "to", sh_call_to(c));
	put_text(&j, "uri", sh_call_uri(c));
	put_text(&j, "source", sh_slice_make(source, sh_addr_format(&sh_call_source(c)->remote, source)));
	if (sh_call_b(c))
		put_text(&j, "connected", sh_leg_uri(sh_call_b(c)));
	if (why) {
		put_text(&j, "by", sh_slice_cstr(by[why->by]));
		sh_json_key(&j, "code");
		sh_json_int(&j, (int64_t)why->code);
		put_text(&j, "reason", why->reason);
		if (why->q850) {
			sh_json_key(&j, "q850");
			sh_json_int(&j, (int64_t)why->q850);
		}
		sh_json_key(&j, "duration");
		sh_json_seconds(&j, t->answer ? now - t->answer : 0);
	}
	sh_json_close(&j, '}');
	if (!j.failed)
		w->engine->event(w->engine->event_ctx, names[event], j.text, j.len);
	sh_json_finish(&j);
}
