/* Certificates and keys from files: read at the start, again with every reload of the script, and alone when only they
 * have changed. All files are read and judged before any of them is used. */
#include "engine/impl.h"

#include <openssl/crypto.h>

/* ------------------------------------------------------------------ configuration */

static char *copy(const char *s)
{
	return s ? sh_strndup(s, strlen(s)) : NULL;
}

static int copy_list(char ***out, const char *const *from, unsigned count)
{
	*out = sh_calloc(count + 1u, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		(*out)[i] = copy(from[i]);
		if (!(*out)[i])
			return -ENOMEM;
	}
	return 0;
}

static void free_list(char **list)
{
	for (char **p = list; p && *p; p++)
		sh_free(*p);
	sh_free(list);
}

int sh_engine_tls_copy(struct sh_engine_tls *t, const struct sh_engine_tls_config *c, char *error, size_t size)
{
	int err;

	if (c->nkeys != c->ncertificates && c->nkeys != 0) {
		snprintf(error, size, "%u tls_certificate but %u tls_private_key: each certificate has its own, in the same order",
			 c->ncertificates, c->nkeys);
		return -EINVAL;
	}
	if (c->ncertificates > SH_TLS_MAX_IDENTITIES) {
		snprintf(error, size, "tls_certificate: at most %d", SH_TLS_MAX_IDENTITIES);
		return -EINVAL;
	}
	t->ncertificates = c->ncertificates;
	t->verify = c->verify;
	t->ca = copy(c->ca);
	err = c->ca && !t->ca ? -ENOMEM : copy_list(&t->certificates, c->certificates, c->ncertificates);
	if (!err)
		err = copy_list(&t->keys, c->nkeys ? c->keys : c->certificates, c->ncertificates);
	if (err)
		snprintf(error, size, "out of memory");
	return err;
}

void sh_engine_tls_finish(struct sh_engine_tls *t)
{
	free_list(t->certificates);
	free_list(t->keys);
	sh_free(t->ca);
	*t = (struct sh_engine_tls){0};
}

/* ------------------------------------------------------------------ files */

/* What a configuration is made of while it is read. */
struct texts {
	struct sh_tls_identity identities[SH_TLS_MAX_IDENTITIES];
	struct sh_tls_config config;
};

static int read_text(struct sh_slice *out, const char *path, char *error, size_t size)
{
	struct sh_vm_stamp stamp;
	char *text;
	size_t len;
	int err = sh_engine_read_file(NULL, path, &text, &len, &stamp);

	if (err) {
		snprintf(error, size, "%s: %s", path, strerror(-err));
		return err == -ENOMEM ? err : -EINVAL;
	}
	*out = sh_slice_make(text, len);
	return 0;
}

/* Keys do not stay in memory that somebody else gets. */
static void drop_text(struct sh_slice *s)
{
	if (s->base)
		OPENSSL_cleanse((void *)s->base, s->len);
	sh_free((void *)s->base);
}

static void drop_texts(struct texts *t)
{
	for (unsigned i = 0; i < SH_TLS_MAX_IDENTITIES; i++) {
		drop_text(&t->identities[i].certificate);
		drop_text(&t->identities[i].key);
	}
	drop_text(&t->config.authorities);
	sh_free(t);
}

static int read_texts(struct texts **out, const struct sh_engine_tls *from, int64_t now, char *error, size_t size)
{
	struct texts *t = sh_calloc(1, sizeof(*t));
	int err = 0;

	if (!t) {
		snprintf(error, size, "out of memory");
		return -ENOMEM;
	}
	t->config = (struct sh_tls_config){.identities = t->identities,
					   .count = from->ncertificates,
					   .authorities_name = from->ca,
					   .verify = from->verify,
					   .now = now};
	if (from->ca)
		err = read_text(&t->config.authorities, from->ca, error, size);
	for (unsigned i = 0; i < from->ncertificates && !err; i++) {
		struct sh_tls_identity *id = &t->identities[i];

		id->certificate_name = from->certificates[i];
		id->key_name = from->keys[i];
		err = read_text(&id->certificate, from->certificates[i], error, size);
		if (!err)
			err = read_text(&id->key, from->keys[i], error, size);
	}
	if (err) {
		drop_texts(t);
		return err;
	}
	*out = t;
	return 0;
}

/* Stands for all that was read. */
static struct sh_id128 identify(struct sh_engine *e, const struct texts *t)
{
	struct sh_slice parts[2 * SH_TLS_MAX_IDENTITIES + 1];
	size_t n = 0;

	for (unsigned i = 0; i < t->config.count; i++) {
		parts[n++] = t->identities[i].certificate;
		parts[n++] = t->identities[i].key;
	}
	parts[n++] = t->config.authorities;
	return sh_hash128_slices(&sh_engine_env(e, 0)->key, parts, n);
}

/* ------------------------------------------------------------------ start */

static int64_t wall_seconds(struct sh_engine *e)
{
	struct sh_vm_world world;

	sh_engine_world(e, &world);
	return (int64_t)(world.wall(world.ctx) / SH_SECOND);
}

/* A certificate that has expired is better than no server at all when it starts; a reload refuses it. */
static int open_one(struct sh_engine *e, struct sh_engine_tls *t, bool starts, char *error, size_t size)
{
	struct texts *texts;
	int err = read_texts(&texts, t, wall_seconds(e), error, size);

	if (err)
		return err;
	err = sh_tls_create(&t->tls, &texts->config, error, size);
	if (err == -EKEYEXPIRED && starts) {
		sh_warn(&e->log, "%s: it is used all the same", error);
		error[0] = '\0';
		texts->config.now = 0;
		err = sh_tls_create(&t->tls, &texts->config, error, size);
	}
	t->texts = identify(e, texts);
	drop_texts(texts);
	return err;
}

static void close_one(struct sh_engine_tls *t)
{
	sh_tls_unref(t->tls);
	sh_tls_set_unref(t->next);
	t->tls = NULL;
	t->next = NULL;
}

int sh_engine_tls_open(struct sh_engine *e, char *error, size_t size)
{
	return open_one(e, &e->tls, true, error, size);
}

static void destroy(struct sh_engine_tls *t)
{
	close_one(t);
	sh_engine_tls_finish(t);
	sh_free(t);
}

void sh_engine_tls_close(struct sh_engine *e)
{
	close_one(&e->tls);
	while (e->own_tls) {
		struct sh_engine_tls *t = e->own_tls;

		e->own_tls = t->after;
		destroy(t);
	}
}

/* ------------------------------------------------------------------ reload */

static int prepare_one(struct sh_engine *e, struct sh_engine_tls *t, char *error, size_t size)
{
	struct texts *texts;
	int err;

	if (!t->tls || t->next)
		return 0; /* nothing of it is in use; it is prepared already */
	err = read_texts(&texts, t, wall_seconds(e), error, size);
	if (err)
		return err;
	t->next_texts = identify(e, texts);
	/* What is in use already is not judged again: it may have expired, and the script be reloaded all the same. */
	if (!sh_id128_eq(t->next_texts, t->texts))
		err = sh_tls_prepare(&t->next, t->tls, &texts->config, error, size);
	drop_texts(texts);
	return err;
}

int sh_engine_tls_prepare(struct sh_engine *e, bool all, char *error, size_t size)
{
	int err = prepare_one(e, &e->tls, error, size);

	for (struct sh_engine_tls *t = e->own_tls; all && t && !err; t = t->after)
		err = prepare_one(e, t, error, size);
	return err;
}

static void commit_one(struct sh_engine_tls *t, bool use)
{
	if (t->next && use) {
		sh_tls_commit(t->tls, t->next);
		t->texts = t->next_texts;
	} else {
		sh_tls_set_unref(t->next);
	}
	t->next = NULL;
}

void sh_engine_tls_commit(struct sh_engine *e, bool use, bool script)
{
	struct sh_engine_tls **at = &e->own_tls, *t;

	commit_one(&e->tls, use);
	while ((t = *at) != NULL) {
		bool keep = use && script ? t->wanted : !t->fresh;

		commit_one(t, use);
		t->wanted = t->fresh = false;
		if (keep) {
			at = &t->after;
			continue;
		}
		*at = t->after;
		destroy(t);
	}
}

/* ------------------------------------------------------------------ listeners of scripts */

static struct sh_engine_tls *find_own(const struct sh_engine *e, const struct sh_listen_tls *files)
{
	for (struct sh_engine_tls *t = e->own_tls; t; t = t->after) {
		const struct sh_listen_tls same = {.certificates = (const char **)t->certificates,
						   .keys = (const char **)t->keys,
						   .count = t->ncertificates,
						   .ca = t->ca,
						   .verify = t->verify};
		if (sh_listen_tls_same(&same, files))
			return t;
	}
	return NULL;
}

static int make_own(struct sh_engine_tls **out, struct sh_engine *e, const struct sh_listen_tls *files, char *error, size_t size)
{
	const struct sh_engine_tls_config config = {.certificates = files->certificates,
						    .ncertificates = files->count,
						    .keys = files->keys,
						    .nkeys = files->count,
						    .ca = files->ca,
						    .verify = files->verify};
	struct sh_engine_tls *t = sh_calloc(1, sizeof(*t));
	int err = -ENOMEM;

	if (t)
		err = sh_engine_tls_copy(t, &config, error, size);
	if (!err)
		err = open_one(e, t, !sh_script_current(e->script), error, size);
	if (err) {
		if (t)
			destroy(t);
		return err;
	}
	t->fresh = true;
	t->after = e->own_tls;
	e->own_tls = t;
	*out = t;
	return 0;
}

int sh_engine_tls_bind(struct sh_engine *e, struct sh_generation *g, char *error, size_t size)
{
	if (e->simulation.envs)
		return 0; /* it has no such sockets, and the files need not be there */
	for (unsigned i = 0; i < sh_generation_listens(g); i++) {
		struct sh_listen_tls *files = sh_generation_listen_tls(g, i);
		struct sh_engine_tls *t = files ? find_own(e, files) : NULL;
		int err = 0;

		if (!files)
			continue;
		if (t)
			err = prepare_one(e, t, error, size);
		else
			err = make_own(&t, e, files, error, size);
		if (err)
			return err;
		t->wanted = true;
		files->tls = sh_tls_ref(t->tls);
	}
	return 0;
}
