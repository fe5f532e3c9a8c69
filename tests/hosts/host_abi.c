/* The contract of siphook.h: versions, sizes, options, several instances, the life of an instance. */
#include "host.h"

#include <locale.h>
#include <signal.h>
#include <stddef.h>
#include <sys/stat.h>

static const struct siphook_api *sip;
static const char *script;
static char uri[64];
static unsigned port;

static struct siphook_host whole = {.abi = SIPHOOK_ABI, .size = sizeof(whole), .log = print_line};

static void ignore_text(void *ctx, const char *text, size_t len)
{
	(void)ctx;
	(void)text;
	(void)len;
}

static int create(struct siphook **out, const char *key, const char *value)
{
	struct siphook_option options[] = {{"script", script}, {"listen", uri}, {key, value}};

	return sip->create(out, &whole, options, key ? 3 : 2);
}

static void another_major_version_is_refused(siphook_entry_fn entry)
{
	MUST(entry(SIPHOOK_ABI + 0x10000) == NULL);
	MUST(entry(0) == NULL);
	MUST(entry(SIPHOOK_ABI + 1) == sip);
	MUST(sip->abi >> 16 == SIPHOOK_ABI_MAJOR && sip->size >= sizeof(*sip) &&
	     strcmp(sip->version, SIPHOOK_VERSION) == 0);
}

static void a_smaller_host_structure_is_read_no_further_than_its_size(void)
{
	uint32_t size = offsetof(struct siphook_host, metric);
	struct siphook_host *small = malloc(size); /* the sanitizer sees a read beyond */
	struct siphook_option options[] = {{"script", script}, {"listen", uri}};
	struct siphook *s = NULL;

	MUST(small);
	memcpy(small, &whole, size);
	small->size = size;
	MUST(sip->create(&s, small, options, 2) == 0);
	free(small);
	MUST(sip->start(s, SIPHOOK_THREADS) == 0);
	MUST(answers_options(port));
	sip->destroy(s);

	struct siphook_host wrong = whole;
	wrong.size = 4;
	MUST(sip->create(&s, &wrong, options, 2) == -EINVAL);
	wrong = whole;
	wrong.abi += 0x10000;
	MUST(sip->create(&s, &wrong, options, 2) == -EINVAL && strstr(sip->last_error(NULL), "ABI"));
	MUST(sip->create(&s, NULL, options, 2) == -EINVAL);
	MUST(sip->create(NULL, &whole, options, 2) == -EINVAL);
}

/* What a host of ABI 1.0 knew: it has no event(), and never looks behind last_error. */
static void a_host_of_the_first_version_works(void)
{
	struct siphook_host old = whole;
	struct siphook_option options[] = {{"script", script}, {"listen", uri}};
	struct siphook *s = NULL;

	old.abi = (uint32_t)SIPHOOK_ABI_MAJOR << 16;
	old.size = offsetof(struct siphook_host, event);
	old.event = (void (*)(void *, const char *, const char *, size_t))(uintptr_t)1; /* lies beyond: never called */
	MUST(sip->create(&s, &old, options, 2) == 0 && sip->start(s, SIPHOOK_THREADS) == 0);
	MUST(answer_to(port, "MESSAGE") == 405);
	MUST(sip->stop(s, 1000) == 0);
	sip->destroy(s);
	MUST(offsetof(struct siphook_api, drain) == offsetof(struct siphook_api, last_error) + 2 * sizeof(void *));
}

static void draining_refuses_what_is_new(void)
{
	struct siphook *s = NULL;

	MUST(create(&s, NULL, NULL) == 0);
	MUST(sip->drain(s, 0) == -EINVAL);
	MUST(sip->start(s, SIPHOOK_THREADS) == 0);
	MUST(answer_to(port, "MESSAGE") == 405);
	MUST(sip->drain(s, -1) == -EINVAL && sip->drain(s, 0) == 0 && sip->drain(s, 0) == 0);
	for (int tries = 0; tries < 100 && answer_to(port, "MESSAGE") != 503; tries++)
		; /* each worker learns it in its next turn */
	MUST(answer_to(port, "MESSAGE") == 503);
	MUST(sip->stop(s, 1000) == 0 && sip->drain(s, 0) == -ESHUTDOWN);
	sip->destroy(s);
}

static void a_larger_host_structure_of_a_later_minor_version_is_fine(void)
{
	struct {
		struct siphook_host host;
		void *later;
	} big = {.host = whole, .later = &big};
	struct siphook_option options[] = {{"script", script}, {"listen", uri}};
	struct siphook *s = NULL;

	big.host.size = sizeof(big);
	big.host.abi++;
	MUST(sip->create(&s, &big.host, options, 2) == 0);
	sip->destroy(s);
}

static void wrong_options_are_named(void)
{
	static const struct {
		const char *key, *value, *words;
	} cases[] = {
	    {"wrokers", "2", "\"wrokers\" (did you mean \"workers\"?)"},
	    {"colour", "2", "\"colour\""},
	    {"workers", "0", "\"workers\" is \"0\""},
	    {"workers", "two", "\"workers\" is \"two\""},
	    {"watch", "maybe", "\"watch\""},
	    {"gather", "20000", "\"gather\" is \"20000\""},
	    {"gather_calls", "soon", "\"gather_calls\" is \"soon\""},
	    {"log_level", "loud", "\"log_level\""},
	    {"script", "again.lua", "\"script\" is given twice"},
	    {"config.", "x", "\"config.\""},
	    {"listen", "carrier-pigeon://roof", "carrier-pigeon"},
	    {"workers", NULL, "option 3"},
	};
	struct siphook *s = NULL;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int err = create(&s, cases[i].key, cases[i].value);

		if (err != -EINVAL || s || !strstr(sip->last_error(NULL), cases[i].words))
			fprintf(stderr, "%s: %d %s\n", cases[i].key, err, sip->last_error(NULL));
		MUST(err == -EINVAL && !s && strstr(sip->last_error(NULL), cases[i].words));
	}
	MUST(sip->create(&s, &whole, NULL, 0) == -EINVAL && strstr(sip->last_error(NULL), "script"));
	for (const char *const *level = (const char *const[]){"error", "warn", "info", "debug", NULL}; *level;
	     level++) {
		MUST(create(&s, "log_level", *level) == 0);
		sip->destroy(s);
	}
}

static void the_life_of_an_instance(void)
{
	struct siphook *s = NULL;
	int64_t next;

	sip->destroy(NULL);
	MUST(sip->stop(NULL, 0) == -EINVAL);
	MUST(create(&s, NULL, NULL) == 0);
	MUST(sip->fd(s) == -EINVAL && sip->process(s, &next) == -EINVAL && sip->reload(s, NULL, NULL) == -EINVAL);
	MUST(sip->query(s, "status", NULL, NULL) == -EINVAL && sip->hangup(s, "x") == -EINVAL);
	MUST(sip->stop(s, 0) == 0);
	MUST(sip->start(s, (enum siphook_mode)7) == -EINVAL);
	MUST(sip->start(s, SIPHOOK_THREADS) == 0);
	MUST(sip->start(s, SIPHOOK_THREADS) == -EALREADY && strstr(sip->last_error(s), "running"));
	MUST(sip->fd(s) == -ENOTSUP && sip->process(s, &next) == -ENOTSUP);
	MUST(sip->query(s, "weather", ignore_text, NULL) == -EINVAL);
	MUST(sip->hangup(s, "no-such-call") == -ENOENT);
	MUST(answers_options(port));
	MUST(sip->stop(s, 1000) == 0 && sip->stop(s, 1000) == 0);
	MUST(sip->start(s, SIPHOOK_THREADS) == -ESHUTDOWN && sip->reload(s, NULL, NULL) == -ESHUTDOWN);
	sip->destroy(s);
}

static void a_failed_start_leaves_the_instance_usable(void)
{
	char busy[64];
	unsigned taken;
	int fd = udp_socket(&taken);
	struct siphook_option options[] = {{"script", script}, {"listen", busy}};
	struct siphook *s = NULL;

	snprintf(busy, sizeof(busy), "udp://127.0.0.1:%u", taken);
	MUST(sip->create(&s, &whole, options, 2) == 0);
	MUST(sip->start(s, SIPHOOK_THREADS) == -EADDRINUSE);
	MUST(strstr(sip->last_error(s), busy));
	close(fd);
	MUST(sip->start(s, SIPHOOK_THREADS) == 0);
	MUST(answers_options(taken));
	sip->destroy(s);
}

static void two_instances_live_side_by_side(void)
{
	char other_uri[64];
	unsigned other_port = free_port();
	struct siphook_option options[] = {{"script", script}, {"listen", other_uri}};
	struct siphook *one = NULL, *two = NULL;

	snprintf(other_uri, sizeof(other_uri), "udp://127.0.0.1:%u", other_port);
	MUST(create(&one, NULL, NULL) == 0 && sip->create(&two, &whole, options, 2) == 0);
	MUST(sip->start(one, SIPHOOK_THREADS) == 0 && sip->start(two, SIPHOOK_THREADS) == 0);
	MUST(answers_options(port) && answers_options(other_port));
	sip->destroy(one);
	MUST(answers_options(other_port));
	sip->destroy(two);
}

static void instances_are_bounded(void)
{
	struct siphook *all[SIPHOOK_INSTANCES], *more = NULL;

	for (int i = 0; i < SIPHOOK_INSTANCES; i++)
		MUST(create(&all[i], NULL, NULL) == 0);
	MUST(create(&more, NULL, NULL) == -EAGAIN && !more);
	for (int i = 0; i < SIPHOOK_INSTANCES; i++)
		sip->destroy(all[i]);
	MUST(create(&more, NULL, NULL) == 0);
	sip->destroy(more);
}

static void check_judges_a_script_and_opens_nothing(void)
{
	char broken[] = "/tmp/siphook-host-XXXXXX";
	struct siphook_option options[] = {{"script", script}, {"listen", uri}};
	int fd = mkstemp(broken);

	MUST(fd >= 0 && write(fd, "local a = = 1\n", 14) == 14);
	close(fd);
	MUST(sip->check(options, 2) == 0);
	options[0].value = broken;
	MUST(sip->check(options, 2) == -EINVAL && strstr(sip->last_error(NULL), ":1:"));
	unlink(broken);
	MUST(sip->check(options, 2) == -EINVAL && strstr(sip->last_error(NULL), broken));
}

/* Signal actions, mask, umask, locale and folder are the host's. */
static void the_process_is_left_as_it_was(void)
{
	struct sigaction before[SIGRTMAX + 1], after;
	char folder[2][4096];
	sigset_t mask[2];
	struct siphook *s = NULL;
	mode_t bits = umask(022);

	for (int i = 1; i <= SIGRTMAX; i++)
		sigaction(i, NULL, &before[i]);
	sigprocmask(SIG_BLOCK, NULL, &mask[0]);
	MUST(getcwd(folder[0], sizeof(folder[0])));
	MUST(create(&s, NULL, NULL) == 0 && sip->start(s, SIPHOOK_THREADS) == 0 && answers_options(port));
	sip->destroy(s);
	for (int i = 1; i <= SIGRTMAX; i++) {
		if (sigaction(i, NULL, &after) == 0)
			MUST(after.sa_handler == before[i].sa_handler && after.sa_flags == before[i].sa_flags);
	}
	sigprocmask(SIG_BLOCK, NULL, &mask[1]);
	for (int i = 1; i <= SIGRTMAX; i++)
		MUST(sigismember(&mask[0], i) == sigismember(&mask[1], i));
	MUST(umask(bits) == 022);
	MUST(getcwd(folder[1], sizeof(folder[1])) && strcmp(folder[0], folder[1]) == 0);
	MUST(strcmp(setlocale(LC_ALL, NULL), "C") == 0);
}

/* Whatever a host does with its handle: the object and its threads stay (docs/host-abi.md). */
static void the_object_is_never_unloaded(const char *path)
{
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	struct siphook *s = NULL;

	MUST(object && create(&s, NULL, NULL) == 0 && sip->start(s, SIPHOOK_THREADS) == 0);
	for (int i = 0; i < 3; i++) /* more often than it was opened */
		dlclose(object);
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
	MUST(object);
	dlclose(object);
	MUST(answers_options(port));
	sip->destroy(s);
}

/* The output of the process is the host's: a page of JSON that it writes there must stay one. */
static int hide_output(void)
{
	char path[] = "/tmp/siphook-output-XXXXXX";
	int fd = mkstemp(path);

	MUST(fd >= 0 && unlink(path) == 0 && dup2(fd, 1) == 1);
	return fd;
}

int main(int argc, char **argv)
{
	siphook_entry_fn entry;
	struct stat output;
	int fd = hide_output();

	MUST(argc == 3);
	entry = load_entry(argv[1]);
	sip = entry(SIPHOOK_ABI);
	MUST(sip);
	script = argv[2];
	port = free_port();
	snprintf(uri, sizeof(uri), "udp://127.0.0.1:%u", port);
	another_major_version_is_refused(entry);
	a_smaller_host_structure_is_read_no_further_than_its_size();
	a_host_of_the_first_version_works();
	a_larger_host_structure_of_a_later_minor_version_is_fine();
	draining_refuses_what_is_new();
	wrong_options_are_named();
	the_life_of_an_instance();
	a_failed_start_leaves_the_instance_usable();
	two_instances_live_side_by_side();
	instances_are_bounded();
	check_judges_a_script_and_opens_nothing();
	the_process_is_left_as_it_was();
	the_object_is_never_unloaded(argv[1]);
	MUST(fflush(stdout) == 0 && fstat(fd, &output) == 0 && output.st_size == 0); /* nothing was printed */
	return 0;
}
