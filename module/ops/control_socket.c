#include "ops/control_socket.h"
#include "core/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 16, LOCK_TRIES = 100, LOCK_WAIT_NS = 10000000 };

static int fail(int err, const char *path, const char *words, char *error, size_t size)
{
	snprintf(error, size, "control socket %s: %s", path, words ? words : strerrordesc_np(-err));
	return err;
}

static bool may_be_made(const char *dir)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	size_t n = runtime ? strlen(runtime) : 0;

	if (strcmp(dir, "/run/siphook") == 0)
		return true;
	return n > 1 && strncmp(dir, runtime, n) == 0 && (dir[n] == '/' || runtime[n - 1] == '/');
}

/* The directory of the path, made when it is one of those that are ours to make. */
static int open_directory(const char *path, int *out)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (!slash)
		snprintf(dir, sizeof(dir), ".");
	else
		snprintf(dir, sizeof(dir), "%.*s", n ? (int)n : 1, path);
	if (may_be_made(dir) && mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	*out = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *out < 0 ? -errno : 0;
}

/* Another starting process holds the lock for some microseconds; somebody else's lock may last, so not forever. */
static int lock_directory(int dir)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(dir, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		nanosleep(&(struct timespec){.tv_nsec = LOCK_WAIT_NS}, NULL);
	}
	return -EBUSY;
}

/* Something stands at the address. 0: it was a dead socket of ours and is removed. */
static int remove_dead(const struct sockaddr_un *addr, const char **words)
{
	struct stat st;
	int fd, err;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		*words = "exists and is not a socket";
		return -EEXIST;
	}
	if (st.st_uid != geteuid()) {
		*words = "belongs to another user";
		return -EEXIST;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Non-blocking: EAGAIN is a living server with a full queue. */
	err = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? errno : 0;
	close(fd);
	if (err != ECONNREFUSED) {
		*words = "in use by a running process";
		return -EADDRINUSE;
	}
	return unlink(addr->sun_path) < 0 ? -errno : 0;
}

/* Beside the path, and then in its place: under the lock of the folder, so that the name is nobody else's. */
static int bind_beside(struct sh_control_socket *s, const struct sockaddr_un *addr, struct sockaddr_un *beside)
{
	size_t len = strlen(addr->sun_path);

	*beside = *addr;
	if (len + 2 > sizeof(beside->sun_path))
		return -ENAMETOOLONG;
	beside->sun_path[len] = '~';
	unlink(beside->sun_path);
	return bind(s->fd, (const struct sockaddr *)beside, sizeof(*beside)) < 0 ? -errno : 0;
}

static int claim(struct sh_control_socket *s, const struct sockaddr_un *addr, bool succeed, const char **words)
{
	struct sockaddr_un at = *addr;
	struct stat st;
	int err;

	if (bind(s->fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0) {
		if (errno != EADDRINUSE)
			return -errno;
		err = remove_dead(addr, words);
		if (err == -EADDRINUSE && succeed)
			err = bind_beside(s, addr, &at);
		else if (err == 0 && bind(s->fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
			err = -errno;
		if (err < 0)
			return err;
	}
	/* The umask belongs to the host; nobody can connect before listen(). */
	if (chmod(at.sun_path, 0600) < 0 || lstat(at.sun_path, &st) < 0 || listen(s->fd, BACKLOG) < 0 ||
	    (at.sun_path[strlen(addr->sun_path)] && rename(at.sun_path, addr->sun_path) < 0)) {
		err = -errno;
		unlink(at.sun_path);
		return err;
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return 0;
}

int sh_control_socket_open(struct sh_control_socket *s, const char *path, bool succeed, char *error, size_t size)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct sh_control_socket made = {.fd = -1};
	const char *words = NULL;
	int dir = -1, err;

	if (strlen(path) >= sizeof(addr.sun_path))
		return fail(-ENAMETOOLONG, path, "longer than 107 bytes", error, size);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	made.path = sh_strndup(path, strlen(path));
	if (!made.path)
		return fail(-ENOMEM, path, NULL, error, size);
	err = open_directory(path, &dir);
	if (err < 0)
		goto out;
	err = lock_directory(dir);
	if (err < 0)
		goto out;
	made.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	err = made.fd < 0 ? -errno : claim(&made, &addr, succeed, &words);
out:
	if (dir >= 0)
		close(dir);
	if (err < 0) {
		fail(err, path, words, error, size);
		if (made.fd >= 0)
			close(made.fd);
		sh_free(made.path);
		return err;
	}
	*s = made;
	return 0;
}

void sh_control_socket_unlink(struct sh_control_socket *s)
{
	struct stat st;

	if (lstat(s->path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
}

void sh_control_socket_close(struct sh_control_socket *s)
{
	sh_control_socket_unlink(s);
	/* A forked child of the host may hold the descriptor too: without the shutdown clients would go on connecting.
	 */
	shutdown(s->fd, SHUT_RDWR);
	close(s->fd);
	sh_free(s->path);
	*s = (struct sh_control_socket){.fd = -1};
}

bool sh_control_socket_trusts(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}
