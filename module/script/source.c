#include "script/source.h"

#include <errno.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "msg/digest.h"

static void free_file(struct sh_source_file *f)
{
	sh_free(f->path);
	sh_free(f->text);
}

static const struct sh_source_file *find(const struct sh_source *s, const char *path)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->files[i].path, path) == 0)
			return &s->files[i];
	return NULL;
}

/* Takes over the text. */
static int add(struct sh_source *s, const char *path, char *text, size_t len, const struct sh_vm_stamp *stamp)
{
	struct sh_source_file *files = sh_realloc(s->files, (s->count + 1) * sizeof(*files));
	char *name = sh_strndup(path, strlen(path));

	if (files)
		s->files = files;
	if (!files || !name) {
		sh_free(name);
		sh_free(text);
		return -ENOMEM;
	}
	files[s->count++] = (struct sh_source_file){name, text, len, *stamp};
	s->size += len;
	return 0;
}

static int fetch(struct sh_source *s, const struct sh_vm_world *world, const char *path)
{
	struct sh_vm_stamp stamp;
	char *text;
	size_t len;
	int err = world->read(world->ctx, path, &text, &len, &stamp);

	return err ? err : add(s, path, text, len, &stamp);
}

struct listing {
	struct sh_source *source;
	const struct sh_vm_world *world;
	int err;
};

static bool on_file(void *arg, const char *path)
{
	struct listing *l = arg;
	int err = fetch(l->source, l->world, path);

	if (err == -ENOMEM)
		l->err = err;
	return !l->err && l->source->count < SH_SOURCE_FILES && l->source->size < SH_SOURCE_BYTES;
}

int sh_source_create(struct sh_source **out, const struct sh_vm_world *world, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct sh_source *s = sh_calloc(1, sizeof(*s));
	struct listing l = {s, world, 0};
	char *dir;

	if (!s)
		return -ENOMEM;
	atomic_init(&s->refs, 1);
	dir = sh_strndup(path, slash ? (size_t)(slash + 1 - path) : 0);
	if (dir && world->list)
		world->list(world->ctx, dir, on_file, &l);
	if (!dir || l.err) {
		sh_free(dir);
		sh_source_unref(s);
		return -ENOMEM;
	}
	sh_free(dir);
	*out = s;
	return 0;
}

struct sh_source *sh_source_ref(struct sh_source *s)
{
	if (s)
		atomic_fetch_add(&s->refs, 1);
	return s;
}

void sh_source_unref(struct sh_source *s)
{
	while (s && atomic_fetch_sub(&s->refs, 1) == 1) {
		struct sh_source *before = s->before;

		for (size_t i = 0; i < s->count; i++)
			free_file(&s->files[i]);
		sh_free(s->files);
		sh_free(s);
		s = before;
	}
}

int sh_source_read(struct sh_source *s, const struct sh_vm_world *world, const char *path, char **text, size_t *len,
		   struct sh_vm_stamp *stamp)
{
	const struct sh_source_file *f = find(s, path);
	int err = f ? 0 : fetch(s, world, path);

	if (err)
		return err;
	if (!f)
		f = &s->files[s->count - 1];
	*text = sh_malloc(f->len + 1);
	if (!*text)
		return -ENOMEM;
	if (f->len)
		memcpy(*text, f->text, f->len);
	*len = f->len;
	*stamp = f->stamp;
	return 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct sh_source_file *)a)->path, ((const struct sh_source_file *)b)->path);
}

int sh_source_seal(struct sh_source *s)
{
	struct sh_slice *parts = sh_calloc(2 * s->count + 1, sizeof(*parts));
	struct sh_digest_hex hex;
	int err;

	if (!parts)
		return -ENOMEM;
	qsort(s->files, s->count, sizeof(*s->files), by_path);
	for (size_t i = 0; i < s->count; i++) { /* a name with its NUL ends, and no text of Lua has one */
		const char *slash = strrchr(s->files[i].path, '/');

		parts[2 * i] = sh_slice_make(slash ? slash + 1 : s->files[i].path,
					     strlen(slash ? slash + 1 : s->files[i].path) + 1);
		parts[2 * i + 1] = sh_slice_make(s->files[i].text, s->files[i].len);
	}
	err = sh_digest_hash(SH_DIGEST_SHA256, parts, 2 * s->count, &hex);
	sh_free(parts);
	if (err)
		return err;
	memcpy(s->hash, hex.text, SH_SOURCE_HASH);
	return 0;
}

void sh_source_follow(struct sh_source *s, struct sh_source *old)
{
	struct sh_source *last = s;

	if (!old || s->before || s == old)
		return; /* it has been there before */
	s->before = sh_source_ref(old);
	for (unsigned i = 0; last && i < SH_SOURCE_KEPT; i++)
		last = last->before;
	if (last) {
		sh_source_unref(last->before);
		last->before = NULL;
	}
}
