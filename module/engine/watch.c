/* Reload when a file of the script changes: a small thread with inotify on the folders of these files (an editor that
 * saves by rename changes the folder, not the file). Changes are gathered for a moment, then one reload is asked for. */
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "engine/impl.h"

enum { MAX_FILES = 64, SETTLE_MS = 50 };

struct watched {
	char *name; /* last part of the path */
	int wd;
};

struct sh_watch {
	struct sh_engine *engine;
	int inotify, stop;
	pthread_t thread;
	pthread_mutex_t lock; /* of files */
	struct watched files[MAX_FILES];
	unsigned count;
};

static bool concerns_us(struct sh_watch *w, const struct inotify_event *ev)
{
	bool ours = false;

	if (!ev->len)
		return false;
	pthread_mutex_lock(&w->lock);
	for (unsigned i = 0; i < w->count && !ours; i++)
		ours = w->files[i].wd == ev->wd && strcmp(w->files[i].name, ev->name) == 0;
	pthread_mutex_unlock(&w->lock);
	return ours;
}

static bool drain(struct sh_watch *w)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool ours = false;
	ssize_t n;

	while ((n = read(w->inotify, buf, sizeof(buf))) > 0) {
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *ev = (const struct inotify_event *)p;

			ours = ours || (ev->mask & IN_Q_OVERFLOW) || concerns_us(w, ev);
			p += sizeof(*ev) + ev->len;
		}
	}
	return ours;
}

static void *watch_main(void *arg)
{
	struct sh_watch *w = arg;
	struct pollfd fds[2] = {{w->inotify, POLLIN, 0}, {w->stop, POLLIN, 0}};
	bool changed = false;

	for (;;) {
		int n = poll(fds, 2, changed ? SETTLE_MS : -1);

		if (fds[1].revents)
			return NULL;
		if (n == 0 && changed) {
			changed = false;
			sh_engine_reload(w->engine, NULL, NULL); /* the outcome is in the log */
		} else if (fds[0].revents) {
			changed = drain(w) || changed;
		}
	}
}

int sh_watch_create(struct sh_watch **out, struct sh_engine *e)
{
	struct sh_watch *w = sh_calloc(1, sizeof(*w));
	sigset_t all, before;
	int err;

	if (!w)
		return -ENOMEM;
	w->engine = e;
	pthread_mutex_init(&w->lock, NULL);
	w->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	w->stop = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	err = w->inotify < 0 || w->stop < 0 ? -errno : 0;
	if (!err) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		err = -pthread_create(&w->thread, NULL, watch_main, w);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		if (!err)
			pthread_setname_np(w->thread, "siphook-watch");
	}
	if (err) {
		if (w->inotify >= 0)
			close(w->inotify);
		if (w->stop >= 0)
			close(w->stop);
		pthread_mutex_destroy(&w->lock);
		sh_free(w);
		return err;
	}
	*out = w;
	return 0;
}

void sh_watch_update(struct sh_watch *w, const struct sh_generation *g)
{
	const struct sh_vm_file *files;
	size_t count;

	if (!w)
		return;
	files = sh_generation_files(g, &count);
	pthread_mutex_lock(&w->lock);
	for (unsigned i = 0; i < w->count; i++)
		sh_free(w->files[i].name);
	w->count = 0;
	for (size_t i = 0; i < count && w->count < MAX_FILES; i++) {
		const char *path = files[i].path, *slash = strrchr(path, '/');
		char *dir = slash ? sh_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : sh_strndup(".", 1);
		struct watched *f = &w->files[w->count];

		f->name = sh_strndup(slash ? slash + 1 : path, strlen(slash ? slash + 1 : path));
		/* the same folder gives the same number; folders that no file needs any more cost nothing but a glance */
		f->wd = dir ? inotify_add_watch(w->inotify, dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE) : -1;
		sh_free(dir);
		if (f->name && f->wd >= 0) {
			w->count++;
			continue;
		}
		sh_warn(&w->engine->log, "%s cannot be watched: %s", path, f->name ? strerror(errno) : "out of memory");
		sh_free(f->name);
	}
	pthread_mutex_unlock(&w->lock);
}

void sh_watch_destroy(struct sh_watch *w)
{
	uint64_t one = 1;

	if (!w)
		return;
	if (write(w->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(w->thread, NULL);
	close(w->inotify);
	close(w->stop);
	for (unsigned i = 0; i < w->count; i++)
		sh_free(w->files[i].name);
	pthread_mutex_destroy(&w->lock);
	sh_free(w);
}
