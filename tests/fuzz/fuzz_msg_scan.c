/* The scanner and everything that reads a scanned message: whatever comes, spans stay inside of the text, chains end,
 * a clone says the same, and what is accepted can be answered by a response that is accepted in turn. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "msg/uri.h"
#include "msg/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(const struct sh_msg *m, struct sh_span s)
{
	assert((size_t)s.off + s.len <= m->size);
}

static void check_spans(const struct sh_msg *m)
{
	const struct sh_span spans[] = {m->method_name, m->uri,      m->reason,     m->body,         m->from_uri,
					m->from_tag,    m->to_uri,   m->to_tag,     m->call_id,      m->cseq_method,
					m->via,         m->via_host, m->via_branch, m->via_received, m->via_rport_span};

	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++)
		inside(m, spans[i]);
	assert(m->nheaders <= SH_MSG_MAX_HEADERS);
	for (unsigned i = 0; i < m->nheaders; i++) {
		inside(m, m->headers[i].name);
		inside(m, m->headers[i].value);
	}
}

/* Every header field with a known id is in the chain of that id, in order, and found by its name. */
static void check_chains(const struct sh_msg *m)
{
	unsigned chained = 0, known = 0;

	for (unsigned id = 1; id < SH_H_COUNT; id++) {
		unsigned n = 0;

		for (unsigned i = m->first[id]; i; i = m->headers[i - 1].next) {
			assert(i <= m->nheaders && m->headers[i - 1].id == id);
			assert(m->headers[i - 1].next == 0 || m->headers[i - 1].next > i);
			assert(sh_msg_find(m, sh_msg_text(m, m->headers[i - 1].name), n).base ==
			       sh_msg_value(m, i).base);
			n++;
		}
		chained += n;
		sh_msg_has_token(m, (enum sh_header_id)id, SH_LIT("100rel"));
	}
	for (unsigned i = 0; i < m->nheaders; i++)
		known += m->headers[i].id != SH_H_OTHER;
	assert(chained == known);
}

static void read_value(struct sh_arena *a, struct sh_slice value)
{
	struct sh_slice rest = value, element, name, text;
	struct sh_name_addr address;

	while (sh_list_next(&rest, &element))
		assert(element.len && element.base >= value.base &&
		       element.base + element.len <= value.base + value.len);
	for (rest = value; sh_param_next(&rest, &name, &text);)
		assert(text.base >= value.base && text.base + text.len <= value.base + value.len);
	for (rest = value; rest.len && sh_name_addr_next(&rest, &address) == 0;)
		assert(address.star || address.uri.len);
	if (sh_msg_unfold(a, value, &text) == 0) {
		assert(text.len <= value.len);
		assert(sh_slice_find(text, '\n') < 0);
	}
	sh_unquote(a, value, &text);
	sh_qvalue(value);
}

static void check_clone(const struct sh_msg *m)
{
	struct sh_msg *clone = sh_msg_clone(m);

	assert(clone && clone->size == m->size && clone->nheaders == m->nheaders);
	assert(m->size == 0 || memcmp(clone->base, m->base, m->size) == 0);
	check_spans(clone);
	for (unsigned i = 0; i < m->nheaders; i++)
		assert(sh_slice_eq(sh_msg_value(m, i + 1), sh_msg_value(clone, i + 1)));
	sh_free(clone);
}

static void check_response(const struct sh_msg *m, int result)
{
	static const struct sh_addr source = {.family = 4, .port = 5060, .ip = {192, 0, 2, 1}};
	static char text[2 * SH_MSG_MAX_SIZE];
	static struct sh_msg response;
	struct sh_writer w;
	const char *why = "";

	sh_writer_init(&w, text, sizeof(text));
	sh_put_response_head(&w, m, &source, result ? (unsigned)result : 200, SH_LIT(""), SH_LIT("tag"));
	sh_put_body(&w, SH_LIT(""), SH_LIT(""));
	assert(!w.full);
	if (w.len > SH_MSG_MAX_SIZE)
		return;
	sh_msg_scan(&response, text, w.len, true, &why);
	if (result)
		return;
	assert(!*why);
	assert(response.status == 200 && response.cseq == m->cseq && response.to_tag.len);
	assert(sh_slice_eq(sh_msg_text(&response, response.call_id), sh_msg_text(m, m->call_id)));
	assert(sh_slice_eq(sh_msg_text(&response, response.from_tag), sh_msg_text(m, m->from_tag)));
	assert(sh_slice_eq(sh_msg_text(&response, response.via_branch), sh_msg_text(m, m->via_branch)));
	assert(sh_slice_eq(sh_msg_text(&response, response.cseq_method), sh_msg_text(m, m->cseq_method)));
	assert(response.via_has_rport == m->via_has_rport);
}

static void scan(const char *text, size_t size, bool stream)
{
	static struct sh_msg m;
	const char *why = NULL;
	struct sh_arena a;
	int result = sh_msg_scan(&m, text, size, stream, &why);

	assert(result == 0 || result == 400 || result == 505 || result == -EBADMSG);
	assert((result == 0) == (why == NULL));
	assert(m.size <= size);
	check_spans(&m);
	check_chains(&m);
	check_clone(&m);
	sh_arena_init(&a, 4096);
	for (unsigned i = 0; i < m.nheaders; i++)
		read_value(&a, sh_msg_value(&m, i + 1));
	sh_arena_finish(&a);
	if (result < 0)
		return;
	assert(m.call_id.len && m.via_host.len && m.cseq_method.len);
	if (result == 0)
		assert(m.via.len && m.from_uri.len && m.to_uri.len);
	if (m.is_request)
		check_response(&m, result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	scan((const char *)data, size, false);
	scan((const char *)data, size, true);
	return 0;
}
