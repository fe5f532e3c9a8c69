/* The message-summary event package (RFC 3842): its state is what a script says with sip.notify. */
#include "b2bua/event.h"
#include "b2bua/impl.h"

static void state(struct sh_subscription *s, struct sh_writer *w, struct sh_slice *type)
{
	struct sh_slice body = sh_event_body(s, type);

	if (body.len) {
		sh_put(w, body);
		return;
	}
	*type = SH_LIT("application/simple-message-summary");
	sh_put_lit(w, "Messages-Waiting: no\r\nMessage-Account: ");
	sh_put(w, s->aor);
	sh_put_lit(w, "\r\n");
}

const struct sh_package sh_package_mwi = {{"message-summary", 15}, 3600, state, NULL, NULL};
