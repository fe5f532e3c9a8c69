/* Phones that ask for passwords: whether what comes back is right. */
#ifndef CREDENTIALS_H
#define CREDENTIALS_H

#include "msg/digest.h"
#include "phone.h"

/* The value of that header field for the realm proves the password; gives the credentials. */
static inline struct sh_credentials proves_at(const struct phone_msg *m, enum sh_header_id id, const char *user,
					      const char *password, const char *realm, const char *file, int line)
{
	static struct sh_arena arena; /* as long as the process */
	struct sh_credentials c;
	struct sh_digest_hex ha1, response;
	bool found = false;

	if (!arena.first_size)
		sh_arena_init(&arena, 4096);
	for (unsigned i = m->m.first[id]; i && !found; i = m->m.headers[i - 1].next) {
		if (sh_credentials_parse(&arena, sh_msg_value(&m->m, i), &c) < 0)
			phone_fail(m->phone->sim, file, line, "credentials that cannot be read");
		found = sh_slice_eq(c.realm, sh_slice_cstr(realm));
	}
	if (!found)
		phone_fail(m->phone->sim, file, line, "no credentials for %s", realm);
	assert_true(sh_slice_eq(c.username, sh_slice_cstr(user)));
	assert_true(sh_slice_eq(c.uri, sh_msg_text(&m->m, m->m.uri)));
	assert_int_equal(sh_digest_ha1(c.alg, c.username, c.realm, sh_slice_cstr(password), &ha1), 0);
	assert_int_equal(sh_digest_response(&c, sh_slice_make(ha1.text, ha1.len), sh_msg_text(&m->m, m->m.method_name),
					    sh_msg_text(&m->m, m->m.body), &response),
			 0);
	if (!sh_digest_equal(sh_slice_make(response.text, response.len), c.response))
		phone_fail(m->phone->sim, file, line, "wrong response for %s", realm);
	return c;
}
#define proves(m, id, user, password, realm) proves_at((m), (id), (user), (password), (realm), __FILE__, __LINE__)

#endif
