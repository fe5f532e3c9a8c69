/* Shared stores on disk: a file for each in the folder of the option `data`, written anew beside the old one and put in its
 * place, so that there is a whole one at any moment. Saved every ten seconds by the background thread, if something has
 * changed, and at the end. */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/encode.h"
#include "engine/files.h"
#include "engine/impl.h"

#define PERIOD (10 * SH_SECOND)

enum { FILE_MAX = 1 << 30 };

/* FOLDER/NAME.store; other characters than letters, digits, '_' and '-' as %XX. False: too long. */
static bool path_of(const struct sh_engine *e, const char *name, const char *suffix, char out[PATH_MAX])
{
	struct sh_slice rest = sh_slice_cstr(name);
	int n = snprintf(out, PATH_MAX, "%s/", e->data);

	if (n > 0 && rest.len < (size_t)(PATH_MAX - 32) / 3 && n < PATH_MAX - 32 - 3 * (int)rest.len)
		n += (int)sh_percent_escape(rest, "_-", out + n);
	else
		n = PATH_MAX;
	if (n < 0 || n >= PATH_MAX - 32)
		return false;
	snprintf(out + n, 32, "%s", suffix);
	return true;
}

static int read_all(int fd, char **data, size_t *len)
{
	struct stat st;
	size_t got = 0;
	char *buf;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
		return -EFBIG;
	buf = sh_malloc((size_t)st.st_size + 1);
	if (!buf)
		return -ENOMEM;
	while (got < (size_t)st.st_size) {
		ssize_t n = read(fd, buf + got, (size_t)st.st_size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	*data = buf;
	*len = got;
	return 0;
}

static int keeper_read(void *ctx, const char *name, char **data, size_t *len)
{
	char path[PATH_MAX];
	int fd, err;

	if (sh_handover_inherits(ctx))
		return -ENOENT; /* the process before has what is newer */
	if (!path_of(ctx, name, ".store", path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	err = read_all(fd, data, len);
	close(fd);
	return err;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int keeper_write(void *ctx, const char *name, const char *data, size_t len)
{
	struct sh_engine *e = ctx;
	char path[PATH_MAX], fresh[PATH_MAX];
	int fd, err;

	if (!path_of(e, name, ".store", path) || !path_of(e, name, ".store.new", fresh))
		return -ENAMETOOLONG;
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	err = fd < 0 ? -errno : write_all(fd, data, len);
	if (fd >= 0)
		close(fd);
	if (!err && rename(fresh, path) < 0)
		err = -errno;
	if (err)
		sh_error(&e->log, "shared store \"%s\": %s: %s", name, path, strerror(-err));
	return err;
}

static void save(void *arg)
{
	struct sh_engine *e = arg;

	sh_shared_save(e->shared, e->keep_now, e->keep_wall);
}

static void saved(void *arg)
{
	struct sh_engine *e = arg;

	sh_env_timer(e->workers[0].env, &e->keep, PERIOD);
}

static void on_keep(struct sh_timer *t)
{
	struct sh_engine *e = SH_CONTAINER(t, struct sh_engine, keep);
	struct sh_env *env = e->workers[0].env;

	e->keep_now = env->now;
	e->keep_wall = sh_env_wall(env);
	if (env->driver->background(env, save, saved, e) < 0)
		saved(e);
}

int sh_engine_keep_open(struct sh_engine *e, char *error, size_t size)
{
	struct sh_shared_keeper keeper = {keeper_read, keeper_write, e};

	if (!e->data)
		return 0;
	if (mkdir(e->data, 0700) < 0 && errno != EEXIST) {
		int err = -errno;

		snprintf(error, size, "data %s: %s", e->data, strerror(errno));
		return err;
	}
	sh_shared_keep(e->shared, &keeper);
	return 0;
}

void sh_engine_keep_start(struct sh_engine *e)
{
	sh_timer_init(&e->keep, on_keep);
	if (e->data)
		sh_env_timer(e->workers[0].env, &e->keep, PERIOD);
}

void sh_engine_keep_close(struct sh_engine *e)
{
	struct sh_vm_world w;

	if (sh_handover_succeeded(e) || !e->data || !e->shared || !e->workers || !e->workers[0].env)
		return;
	sh_engine_world(e, &w);
	sh_shared_save(e->shared, w.now(w.ctx), w.wall(w.ctx));
}
