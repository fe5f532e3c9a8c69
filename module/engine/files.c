/* The world of a script while it loads: files, the clock, random numbers. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/impl.h"

enum { MAX_FILE = 16 << 20 };

int sh_engine_read_file(void *ctx, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), err = 0;
	struct stat st;
	char *buf = NULL;
	size_t got = 0;

	(void)ctx;
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	else if (st.st_size > MAX_FILE)
		err = -EFBIG;
	else if (!(buf = sh_malloc((size_t)st.st_size + 1)))
		err = -ENOMEM;
	while (!err && got < (size_t)st.st_size) {
		ssize_t n = read(fd, buf + got, (size_t)st.st_size - got);

		if (n > 0)
			got += (size_t)n;
		else if (n == 0)
			break;
		else if (errno != EINTR)
			err = -errno;
	}
	close(fd);
	if (err) {
		sh_free(buf);
		return err;
	}
	*text = buf;
	*len = got;
	*stamp = (struct sh_vm_stamp){(int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, (uint64_t)st.st_size, st.st_ino};
	return 0;
}

enum { DEPTH_MAX = 4 };

struct listing {
	bool (*fn)(void *arg, const char *path);
	void *arg;
	bool stop;
};

/* dir ends in a slash, or is empty. Hidden files and folders are left out. */
static void list(struct listing *l, const char *dir, int depth)
{
	DIR *d = opendir(*dir ? dir : ".");
	struct dirent *entry;

	while (d && !l->stop && (entry = readdir(d))) {
		char path[PATH_MAX];
		size_t len = strlen(entry->d_name);
		struct stat st;
		int n;

		if (entry->d_name[0] == '.')
			continue;
		n = snprintf(path, sizeof(path) - 1, "%s%s", dir, entry->d_name);
		if (n < 0 || (size_t)n >= sizeof(path) - 1 || fstatat(dirfd(d), entry->d_name, &st, 0) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
			path[n] = '/';
			path[n + 1] = '\0';
			list(l, path, depth + 1);
		} else if (S_ISREG(st.st_mode) && len > 4 && strcmp(entry->d_name + len - 4, ".lua") == 0) {
			l->stop = !l->fn(l->arg, path);
		}
	}
	if (d)
		closedir(d);
}

void sh_engine_list_files(void *ctx, const char *dir, bool (*fn)(void *arg, const char *path), void *arg)
{
	struct listing l = {fn, arg, false};

	(void)ctx;
	list(&l, dir, 0);
}

static uint64_t clock_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * SH_SECOND + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t world_now(void *ctx)
{
	(void)ctx;
	return clock_us(CLOCK_MONOTONIC);
}

static uint64_t world_wall(void *ctx)
{
	(void)ctx;
	return clock_us(CLOCK_REALTIME);
}

static uint64_t world_random(void *ctx)
{
	uint64_t n = 0;

	(void)ctx;
	while (getrandom(&n, sizeof(n), 0) < 0 && errno == EINTR)
		;
	return n;
}

static uint64_t simulated_now(void *ctx)
{
	return ((struct sh_engine *)ctx)->simulation.envs[0]->now;
}

static uint64_t simulated_wall(void *ctx)
{
	return sh_env_wall(((struct sh_engine *)ctx)->simulation.envs[0]);
}

static uint64_t simulated_random(void *ctx)
{
	return sh_random_u64(&((struct sh_engine *)ctx)->simulation.envs[0]->random);
}

static int simulated_read(void *ctx, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp)
{
	const struct sh_engine_simulation *sim = &((struct sh_engine *)ctx)->simulation;

	if (sim->read)
		return sim->read(sim->read_ctx, path, text, len, stamp);
	return sh_engine_read_file(NULL, path, text, len, stamp);
}

void sh_engine_world(struct sh_engine *e, struct sh_vm_world *w)
{
	const struct sh_engine_simulation *sim = &e->simulation;

	if (!sim->envs) {
		*w = (struct sh_vm_world){world_now, world_wall, world_random, sh_engine_read_file, NULL, sh_engine_list_files};
		return;
	}
	*w = (struct sh_vm_world){simulated_now, simulated_wall, simulated_random, simulated_read, e, NULL};
}
