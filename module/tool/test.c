/* `siphook test FILE...`: the files run in parallel, what they say is printed in their order. Where there are more processors than
 * files a file with many cases is divided. */
#include "tool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ERROR_MAX = 2048, JOBS_MAX = 64 };

/* What one file, or a part of it, said: its results as text, to be printed when its turn has come. */
struct job {
	const struct siphook_api *api;
	const struct settings *settings;
	struct siphook_test test;
	const char *file;
	FILE *out;
	char *text;
	size_t size;
	unsigned passed, failed, skipped, count;
	double seconds;
	uint64_t real_us;
	char error[ERROR_MAX];
	int err;
};

struct pool {
	struct job *jobs;
	size_t count;
	_Atomic size_t next;
};

static void put_lines(FILE *out, const char *text, const char *before)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		fprintf(out, "%s%.*s\n", before, (int)n, text);
		text += n + (text[n] == '\n');
	}
}

/* TAP: '#' begins a directive. */
static void put_name(FILE *out, const char *name)
{
	for (; *name; name++) {
		if (*name == '#' || *name == '\\')
			fputc('\\', out);
		fputc(*name == '\n' ? ' ' : *name, out);
	}
}

static void on_case(void *ctx, const struct siphook_case *c)
{
	struct job *j = ctx;
	bool tap = j->settings->tap;

	j->count++;
	j->passed += !c->failure && !c->skipped;
	j->failed += c->failure != NULL;
	j->skipped += c->skipped != 0;
	j->seconds += c->seconds;
	j->real_us += c->real_us;
	if (tap) {
		/* the number is put before when the file's turn has come: it is not known yet */
		fputs(c->failure ? "\1not ok " : "\1ok ", j->out);
		fputs("\2 - ", j->out);
		put_name(j->out, c->name);
		fputs(c->skipped ? " # SKIP\n" : "\n", j->out);
		if (c->failure)
			put_lines(j->out, c->failure, "# ");
		if (c->details)
			put_lines(j->out, c->details, "# ");
		return;
	}
	if (c->failure) {
		fprintf(j->out, "FAIL  %s\n", c->name);
		put_lines(j->out, c->failure, "      ");
		if (c->details)
			put_lines(j->out, c->details, "      ");
	} else if (c->skipped) {
		fprintf(j->out, "skip  %s\n", c->name);
	} else {
		fprintf(j->out, "ok    %s  (%g s in %.1f ms)\n", c->name, (double)(long)(c->seconds * 10 + 0.5) / 10,
			(double)c->real_us / 1000);
	}
}

static void on_print(void *ctx, const char *line, size_t len)
{
	struct job *j = ctx;

	if (j->settings->tap)
		put_lines(j->out, line, "# ");
	else
		fprintf(j->out, "%.*s\n", (int)len, line);
}

static void run_job(struct job *j)
{
	j->out = open_memstream(&j->text, &j->size);
	if (!j->out) {
		j->err = -ENOMEM;
		snprintf(j->error, sizeof(j->error), "out of memory");
		return;
	}
	j->test.ctx = j;
	j->test.result = on_case;
	j->test.print = on_print;
	j->err = j->api->test(&j->test, j->error, sizeof(j->error));
	fclose(j->out);
}

static void *work(void *arg)
{
	struct pool *p = arg;
	size_t i;

	while ((i = atomic_fetch_add(&p->next, 1)) < p->count)
		run_job(&p->jobs[i]);
	return NULL;
}

static void run_all(struct pool *p, unsigned threads)
{
	pthread_t id[JOBS_MAX];
	unsigned started = 0;

	while (started + 1 < threads && pthread_create(&id[started], NULL, work, p) == 0)
		started++;
	work(p);
	while (started > 0)
		pthread_join(id[--started], NULL);
}

/* Text with the numbers of TAP filled in. */
static void print_tap(const struct job *j, unsigned *number)
{
	for (size_t i = 0; i < j->size; i++) {
		if (j->text[i] == '\1')
			++*number;
		else if (j->text[i] == '\2')
			printf("%u", *number);
		else
			putchar(j->text[i]);
	}
}

static bool read_number(const char *text, const char *name, double max, double *out)
{
	char *end;

	if (!text)
		return true;
	*out = strtod(text, &end);
	if (end != text && !*end && *out >= 0 && *out <= max)
		return true;
	complain("test: --%s %s: a number from 0 to %g is wanted", name, text, max);
	return false;
}

static bool read_options(const struct settings *s, struct siphook_test *t, unsigned *threads)
{
	double seed = 0, loss = 0, jobs = 0;
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (!read_number(s->seed, "seed", 9007199254740992.0, &seed) || !read_number(s->loss, "loss", 0.9, &loss) ||
	    !read_number(s->jobs, "jobs", JOBS_MAX, &jobs))
		return false;
	t->size = sizeof(*t);
	t->seed = (uint64_t)seed;
	t->loss = loss;
	t->filter = s->filter;
	*threads = jobs >= 1 ? (unsigned)jobs : processors > 0 && processors <= JOBS_MAX ? (unsigned)processors : 1;
	return true;
}

static void print_sums(const struct settings *s, const struct pool *p, unsigned failed_files)
{
	unsigned passed = 0, failed = 0, skipped = 0;
	double seconds = 0, real = 0;

	for (size_t i = 0; i < p->count; i++) {
		passed += p->jobs[i].passed;
		failed += p->jobs[i].failed;
		skipped += p->jobs[i].skipped;
		seconds += p->jobs[i].seconds;
		real += (double)p->jobs[i].real_us / 1e6;
	}
	if (s->tap) {
		printf("1..%u\n", passed + failed + skipped + failed_files);
		return;
	}
	printf("%u passed, %u failed", passed, failed + failed_files);
	if (skipped)
		printf(", %u skipped", skipped);
	printf("  (%.0f virtual seconds in %.3f s)\n", seconds, real);
}

/* What the parts of one file said; how many cases it has. An error of the file ends up in the first part. */
static unsigned print_file(struct job *parts, unsigned count, bool named, unsigned *number)
{
	struct job *first = &parts[0];
	bool tap = first->settings->tap;
	unsigned cases = 0;

	if (named && !tap && first->text)
		printf("%s:\n", first->file);
	for (unsigned k = 0; k < count; k++) {
		struct job *j = &parts[k];

		if (tap && j->text)
			print_tap(j, number);
		else if (j->text)
			fwrite(j->text, 1, j->size, stdout);
		if (j->err && !first->err) {
			first->err = j->err;
			memcpy(first->error, j->error, sizeof(first->error));
		}
		cases += j->count;
		free(j->text);
	}
	if (!first->err && cases == 0 && !first->settings->filter) {
		first->err = -ENOENT;
		snprintf(first->error, sizeof(first->error), "there is no case in this file");
	}
	if (first->err) {
		if (tap)
			printf("not ok %u - %s\n", ++*number, first->file);
		else
			printf("FAIL  %s\n", first->file);
		put_lines(stdout, first->error, tap ? "# " : "      ");
	}
	return cases;
}

int command_test(struct settings *s)
{
	struct pool p = {0};
	struct siphook_test test = {0};
	const struct siphook_api *api;
	unsigned threads, number = 0, failed_files = 0, bad = 0, count = 0;

	if (!read_options(s, &test, &threads))
		return 1;
	api = object_load();
	if (!api)
		return 1;
	test.parts = threads > s->argument_count ? threads / (unsigned)s->argument_count : 1;
	p.count = s->argument_count * test.parts;
	p.jobs = calloc(p.count, sizeof(*p.jobs));
	if (!p.jobs) {
		complain("out of memory");
		return 1;
	}
	for (size_t i = 0; i < p.count; i++) {
		p.jobs[i] = (struct job){.api = api, .settings = s, .test = test, .file = s->arguments[i / test.parts]};
		p.jobs[i].test.file = p.jobs[i].file;
		p.jobs[i].test.part = (uint32_t)i % test.parts;
	}
	run_all(&p, threads < p.count ? threads : (unsigned)p.count);
	if (s->tap)
		puts("TAP version 13");
	for (size_t i = 0; i < p.count; i += test.parts) {
		unsigned cases = print_file(&p.jobs[i], test.parts, p.count > test.parts, &number);

		for (unsigned k = 0; k < test.parts; k++)
			bad += p.jobs[i + k].failed;
		failed_files += p.jobs[i].err != 0;
		count += cases;
	}
	bad += failed_files;
	print_sums(s, &p, failed_files);
	if (count == 0 && s->filter) {
		complain("no case has a name with \"%s\"", s->filter);
		bad++;
	}
	free(p.jobs);
	return bad ? 1 : 0;
}
