/* The packages that the engine serves by itself, and what their documents share. */
#include "b2bua/event.h"
#include "b2bua/impl.h"

const struct sh_package *sh_package_find(struct sh_slice event)
{
	static const struct sh_package *const all[] = {&sh_package_dialog, &sh_package_mwi, &sh_package_presence, &sh_package_reg};

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (sh_slice_eq(all[i]->event, event)) /* case-sensitive: RFC 6665 8.4 */
			return all[i];
	return NULL;
}

void sh_put_xml(struct sh_writer *w, struct sh_slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		switch (s.base[i]) {
		case '<':
			sh_put_lit(w, "&lt;");
			break;
		case '>':
			sh_put_lit(w, "&gt;");
			break;
		case '&':
			sh_put_lit(w, "&amp;");
			break;
		case '"':
			sh_put_lit(w, "&quot;");
			break;
		default:
			sh_put_char(w, s.base[i]);
		}
	}
}
