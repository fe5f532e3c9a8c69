/* The start of an instance that takes over from another, and the end. */
#include "engine/handover.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 16, LOCK_TRIES = 3000, EPOCH_MAX = 4095 };

static int say(char *error, size_t size, const struct sh_handover *h, int err, const char *words)
{
	snprintf(error, size, "handover %s: %s", h->folder, words ? words : strerror(-err));
	return err;
}

/* ------------------------------------------------------------------ the folder */

/* One process at a time looks around in it; the others wait until that one runs. */
static int lock_folder(struct sh_handover *h)
{
	struct stat st;

	if (mkdir(h->folder, 0700) < 0 && errno != EEXIST)
		return -errno;
	h->dir = open(h->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (h->dir < 0)
		return errno == ENOTDIR || errno == ELOOP ? -EPERM : -errno;
	if (fstat(h->dir, &st) < 0)
		return -errno;
	if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & 022))
		return -EPERM; /* whoever may write there could take our calls */
	h->lock_file = openat(h->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (h->lock_file < 0)
		return -errno;
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(h->lock_file, LOCK_EX | LOCK_NB) == 0)
			return 0;
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	return -EBUSY;
}

static void unlock_folder(struct sh_handover *h)
{
	if (h->lock_file >= 0)
		close(h->lock_file);
	h->lock_file = -1;
}

/* By the descriptor: whoever exchanges the folder meanwhile leads us nowhere, and its name may be of any length. */
static struct sockaddr_un address(const struct sh_handover *h, unsigned epoch)
{
	struct sockaddr_un out = {.sun_family = AF_UNIX};

	snprintf(out.sun_path, sizeof(out.sun_path), "/proc/self/fd/%d/%u", h->dir, epoch);
	return out;
}

/* A dead process's socket goes; what is anything else, or anybody else's, stays. */
static void remove_dead(const struct sh_handover *h, const char *name)
{
	struct stat st;

	if (fstatat(h->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode) && st.st_uid == geteuid())
		unlinkat(h->dir, name, 0);
}

/* A socket that somebody listens on becomes a peer; one that nobody does is a dead process's. */
static void connect_to(struct sh_handover *h, const char *name, unsigned epoch)
{
	struct sockaddr_un addr = address(h, epoch);
	int fd = sh_handover_socket();

	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (errno == ECONNREFUSED)
			remove_dead(h, name);
	} else if (sh_handover_trusts(fd) && sh_handover_add_peer(h, fd, epoch) >= 0) {
		return;
	}
	close(fd);
}

/* By a peer, by one that is none, or by something else of that name. */
static bool is_taken(const struct sh_handover *h, unsigned epoch)
{
	char name[16];
	struct stat st;

	snprintf(name, sizeof(name), "%u", epoch);
	return sh_handover_peer_of(h, epoch) >= 0 || fstatat(h->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int find_peers(struct sh_handover *h)
{
	int fd = openat(h->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	unsigned highest = 0;

	if (!dir) {
		int err = -errno;

		if (fd >= 0)
			close(fd);
		return err;
	}
	for (struct dirent *d; (d = readdir(dir)) != NULL;) {
		char *end;
		unsigned long epoch = strtoul(d->d_name, &end, 10);

		if (d->d_name[0] >= '1' && d->d_name[0] <= '9' && !*end && epoch <= EPOCH_MAX)
			connect_to(h, d->d_name, (unsigned)epoch);
	}
	closedir(dir);
	for (int i = 0; i < SH_HANDOVER_PEERS; i++)
		if (h->peers[i].fd >= 0)
			highest = h->peers[i].epoch > highest ? h->peers[i].epoch : highest;
	h->epoch = highest ? highest % EPOCH_MAX + 1 : 1 + (unsigned)sh_random_below(&sh_net_env(h->engine->net, 0)->random, EPOCH_MAX);
	for (int i = 0; i < EPOCH_MAX && is_taken(h, h->epoch); i++)
		h->epoch = h->epoch % EPOCH_MAX + 1;
	return 0;
}

static int listen_for_others(struct sh_handover *h)
{
	struct sockaddr_un addr = address(h, h->epoch);

	h->listener = sh_handover_socket();
	if (h->listener < 0 || bind(h->listener, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	h->name = sh_strndup(strrchr(addr.sun_path, '/') + 1, 5);
	if (!h->name)
		return -ENOMEM;
	return chmod(addr.sun_path, 0600) < 0 || listen(h->listener, BACKLOG) < 0 ? -errno : 0;
}

/* ------------------------------------------------------------------ greetings */

static void drop_peer(struct sh_handover *h, int peer)
{
	close(h->peers[peer].fd);
	h->peers[peer].fd = -1;
	atomic_fetch_sub(&h->live, 1);
}

/* One that does not answer, speaks another version or cannot prove itself is left alone: it goes on with what comes to it. Only when
 * there is no room for its sockets is this start in vain: other sockets of the same addresses would get a part of what comes. */
static int greet(struct sh_handover *h, int peer, char *buffer)
{
	struct sh_handover_welcome w = {.active = 0};
	int fds[SH_HANDOVER_FDS];
	unsigned nfds = 0;
	int err = sh_handover_greet(h, peer, &w, buffer, fds, &nfds);

	if (err) {
		sh_warn(&h->engine->log, "handover %s: process %u %s", h->folder, h->peers[peer].epoch,
			err == -EACCES  ? "does not know the secret"
			: err == -EMFILE ? "gives more sockets than this one may open"
					 : "does not understand, or does not answer");
		drop_peer(h, peer);
	} else if (w.active) {
		h->active = peer;
		h->key = w.key;
		h->secret = w.secret;
	}
	for (unsigned i = 0; i < nfds; i++) {
		if (!err && w.active && sh_net_inherit(h->engine->net, fds[i]) < 0)
			sh_warn(&h->engine->log, "handover %s: a socket could not be taken over", h->folder);
		close(fds[i]);
	}
	explicit_bzero(&w, sizeof(w));
	return err == -EMFILE ? err : 0;
}

static int meet(struct sh_handover *h)
{
	char *buffer = sh_malloc(SH_HANDOVER_PACKET);
	int err = 0;

	if (!buffer)
		return -ENOMEM;
	for (int i = 0; i < SH_HANDOVER_PEERS && !err; i++)
		if (h->peers[i].fd >= 0)
			err = greet(h, i, buffer);
	sh_free(buffer);
	return err;
}

/* ------------------------------------------------------------------ life */

int sh_handover_open(struct sh_engine *e, char *error, size_t size)
{
	struct sh_handover *h;
	int err;

	if (!e->handover_folder || !e->net)
		return 0;
	h = e->handover = sh_calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->engine = e;
	h->folder = e->handover_folder;
	h->secret_words = sh_slice_cstr(e->handover_secret ? e->handover_secret : "");
	h->dir = h->lock_file = h->listener = h->active = h->newest = -1;
	h->taken_end = &h->taken;
	for (int i = 0; i < SH_HANDOVER_PEERS; i++)
		h->peers[i].fd = -1;
	pthread_mutex_init(&h->lock, NULL);
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = h->wake < 0 ? -errno : lock_folder(h);
	if (!err)
		err = find_peers(h);
	if (!err)
		err = listen_for_others(h);
	if (!err)
		err = meet(h);
	if (err)
		return say(error, size, h, err,
			   err == -EPERM ? "must be a folder of the user that the process runs as, in which nobody else may write" : NULL);
	for (unsigned i = 0; i < e->nworkers; i++) {
		struct sh_env *env = sh_net_env(e->net, i);

		env->epoch = h->epoch;
		if (h->active >= 0)
			env->key = h->key;
	}
	return 0;
}

static int keep(struct sh_handover *h, enum sh_handover_kind kind, const char *data, size_t len)
{
	struct sh_handover_packet *p = sh_malloc(sizeof(*p) + len);

	if (!p)
		return -ENOMEM;
	p->next = NULL;
	p->kind = kind;
	p->len = len;
	memcpy(p->data, data, len);
	*h->taken_end = p;
	h->taken_end = &p->next;
	return 0;
}

int sh_handover_take(struct sh_engine *e, char *error, size_t size)
{
	struct sh_handover *h = e->handover;
	uint32_t kind = 0;
	char *buffer;
	int err;

	if (!h || h->active < 0)
		return 0;
	buffer = sh_malloc(SH_HANDOVER_PACKET);
	err = buffer ? sh_handover_send(h, h->active, SH_HANDOVER_TAKE, NULL, 0, NULL, 0) : -ENOMEM;
	while (!err && kind != SH_HANDOVER_DONE) {
		ssize_t n = sh_handover_await(h, h->active, buffer, NULL, NULL);

		if (n == -EAGAIN)
			continue;
		if (n < (ssize_t)sizeof(kind)) {
			err = n < 0 ? (int)n : -EPIPE;
			break;
		}
		memcpy(&kind, buffer, sizeof(kind));
		if (!h->taking_since && kind != SH_HANDOVER_BINDING && kind != SH_HANDOVER_UNBINDING)
			h->taking_since = sh_handover_now(); /* from here on nobody reads the sockets */
		err = keep(h, (enum sh_handover_kind)kind, buffer + sizeof(kind), (size_t)n - sizeof(kind));
	}
	sh_free(buffer);
	h->run_by = sh_handover_now() + (SH_HANDOVER_RUN_MS - SH_HANDOVER_MS) * SH_MS;
	if (!err)
		err = sh_handover_put_stores(h);
	return err ? say(error, size, h, err, NULL) : 0;
}

int sh_handover_join(struct sh_engine *e, char *error, size_t size)
{
	struct sh_handover *h = e->handover;
	int err;

	if (!h)
		return 0;
	sh_handover_attach(h);
	err = h->active >= 0 ? sh_handover_put_rest(h) : 0;
	sh_handover_free(&h->taken);
	return err ? say(error, size, h, err, NULL) : 0;
}

void sh_handover_ready(struct sh_engine *e)
{
	struct sh_handover *h = e->handover;
	const struct sh_transport *t = sh_ua_transport(e->workers[0].ua);

	for (unsigned i = 0; h && i < sh_transport_endpoints(t); i++)
		if (!sh_transport_endpoint(t, i)->connect_only)
			h->places[h->nplaces++] = sh_transport_endpoint(t, i)->local;
}

int sh_handover_run(struct sh_engine *e, char *error, size_t size)
{
	struct sh_handover *h = e->handover;
	int err = 0;

	if (h && h->run_by && sh_handover_now() > h->run_by)
		err = -ETIMEDOUT; /* the other one is about to go on */
	if (h)
		h->run_by = 0; /* from here on the thread's */
	if (h && !err)
		err = sh_handover_serve(h);
	if (!h || err)
		return err ? say(error, size, h, err, NULL) : 0;
	pthread_mutex_lock(&h->lock);
	for (int i = 0; i < SH_HANDOVER_PEERS; i++)
		if (h->peers[i].greeted && h->peers[i].fd >= 0)
			sh_handover_tell(h, i, SH_HANDOVER_RUN, h->places, h->nplaces * sizeof(h->places[0]), NULL, 0);
	pthread_mutex_unlock(&h->lock);
	unlock_folder(h);
	if (h->active >= 0)
		sh_info(&e->log, "taken over from epoch %u with %llu bindings in %llu ms; this is epoch %u", h->peers[h->active].epoch,
			(unsigned long long)sh_location_count(e->location), (unsigned long long)(sh_handover_now() - h->taking_since) / SH_MS, h->epoch);
	return 0;
}

void sh_handover_stop(struct sh_engine *e)
{
	if (e->handover)
		sh_handover_quit(e->handover);
}

void sh_handover_close(struct sh_engine *e)
{
	struct sh_handover *h = e->handover;

	if (!h)
		return;
	sh_handover_quit(h);
	e->handover = NULL;
	if (h->name)
		unlinkat(h->dir, h->name, 0);
	for (int i = 0; i < SH_HANDOVER_PEERS; i++) {
		sh_handover_forget(&h->peers[i]);
		if (h->peers[i].fd < 0)
			continue;
		shutdown(h->peers[i].fd, SHUT_RDWR); /* a forked child may hold it too */
		close(h->peers[i].fd);
	}
	if (h->listener >= 0) {
		shutdown(h->listener, SHUT_RDWR);
		close(h->listener);
	}
	if (h->wake >= 0)
		close(h->wake);
	unlock_folder(h);
	if (h->dir >= 0)
		close(h->dir);
	sh_handover_free(&h->taken);
	sh_handover_free(&h->known);
	pthread_mutex_destroy(&h->lock);
	explicit_bzero(&h->secret, sizeof(h->secret));
	sh_free(h->begun);
	sh_free(h->name);
	sh_free(h);
}
