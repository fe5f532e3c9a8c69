#include "tool.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void complain(const char *fmt, ...)
{
	va_list args;

	fputs("siphook: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

static void *need(void *p)
{
	if (p)
		return p;
	complain("out of memory");
	exit(1);
}

char *text_format(const char *fmt, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	return need(text);
}

const char *settings_get(const struct settings *s, const char *key)
{
	for (size_t i = 0; i < s->count; i++) {
		if (strcmp(s->options[i].key, key) == 0)
			return s->options[i].value;
	}
	return NULL;
}

static void append_from(struct settings *s, const char *key, const char *value, const char *place)
{
	s->options = need(realloc(s->options, (s->count + 1) * sizeof(*s->options)));
	s->places = need(realloc(s->places, (s->count + 1) * sizeof(*s->places)));
	s->places[s->count] = place ? need(strdup(place)) : NULL;
	s->options[s->count++] = (struct siphook_option){need(strdup(key)), need(strdup(value))};
}

static void append(struct settings *s, const char *key, const char *value)
{
	append_from(s, key, value, NULL);
}

/* `unknown option "watc" ...`, `option "workers" is ...` */
const char *settings_place(const struct settings *s, const char *complaint)
{
	const char *key = strchr(complaint, '"');

	if (strncmp(complaint, "unknown option ", 15) != 0 && strncmp(complaint, "option ", 7) != 0)
		return "";
	for (size_t i = s->count; key && i-- > 0;) {
		size_t n = strlen(s->options[i].key);

		if (s->places[i] && strncmp(key + 1, s->options[i].key, n) == 0 && key[n + 1] == '"')
			return s->places[i];
	}
	return "";
}

void settings_set(struct settings *s, const char *key, const char *value)
{
	for (size_t i = 0; i < s->count; i++) {
		if (strcmp(s->options[i].key, key) == 0) {
			free((char *)s->options[i].value);
			s->options[i].value = need(strdup(value));
			return;
		}
	}
	append(s, key, value);
}

void settings_finish(struct settings *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free((char *)s->options[i].key);
		free((char *)s->options[i].value);
		free(s->places[i]);
	}
	free(s->options);
	free(s->places);
	*s = (struct settings){0};
}

static char *trim(char *text)
{
	size_t n;

	while (isspace((unsigned char)*text))
		text++;
	n = strlen(text);
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		text[--n] = '\0';
	return text;
}

/* A # begins a comment where a word could begin; inside a word it is part of it. */
static void cut_comment(char *line)
{
	for (char *p = line; *p; p++) {
		if (*p == '#' && (p == line || isspace((unsigned char)p[-1]))) {
			*p = '\0';
			return;
		}
	}
}

static bool names_file(const char *key)
{
	static const char *const keys[] = {"script", "tls_certificate", "tls_private_key", "tls_ca"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(key, keys[i]) == 0)
			return true;
	return false;
}

static int read_line(struct settings *s, char *line, const char *file, unsigned number)
{
	char *key, *value, *equals, *place;
	const char *slash = strrchr(file, '/');

	cut_comment(line);
	key = trim(line);
	if (!*key)
		return 0;
	equals = strchr(key, '=');
	if (!equals) {
		complain("%s:%u: \"%s\" is not KEY = VALUE", file, number, key);
		return 1;
	}
	*equals = '\0';
	value = trim(equals + 1);
	key = trim(key);
	if (!*key || !*value) {
		complain("%s:%u: %s is missing", file, number, *key ? "the value" : "the key");
		return 1;
	}
	place = text_format("%s:%u: ", file, number);
	/* A file beside its configuration is found wherever the command is called from. */
	if (names_file(key) && value[0] != '/' && slash) {
		char *path = text_format("%.*s/%s", (int)(slash - file), file, value);

		append_from(s, key, path, place);
		free(path);
	} else {
		append_from(s, key, value, place);
	}
	free(place);
	return 0;
}

static int read_file(struct settings *s, const char *file)
{
	FILE *f = fopen(file, "re");
	char *line = NULL;
	size_t size = 0;
	unsigned number = 0;
	int err = 0;

	if (!f) {
		complain("%s: %s", file, strerror(errno));
		return 1;
	}
	while (!err && getline(&line, &size, f) >= 0)
		err = read_line(s, line, file, ++number);
	if (!err && ferror(f)) {
		complain("%s: %s", file, strerror(errno));
		err = 1;
	}
	free(line);
	fclose(f);
	return err;
}

/* What the command line says about a key replaces what the file says. */
static void merge(struct settings *s, const struct settings *file)
{
	size_t own = s->count;

	for (size_t i = 0; i < file->count; i++) {
		bool replaced = false;

		for (size_t j = 0; j < own && !replaced; j++)
			replaced = strcmp(s->options[j].key, file->options[i].key) == 0;
		if (!replaced)
			append_from(s, file->options[i].key, file->options[i].value, file->places[i]);
	}
}

static int read_pair(struct settings *s, const char *text)
{
	const char *equals = strchr(text, '=');
	char *key;

	if (!equals || equals == text) {
		complain("-o %s: KEY=VALUE is wanted", text);
		return 1;
	}
	key = text_format("%.*s", (int)(equals - text), text);
	append(s, key, equals + 1);
	free(key);
	return 0;
}

static void wrong_option(int c, char **argv, const char *command)
{
	if (c == ':')
		complain("%s: option %s needs a value", command, argv[optind - 1]);
	else if (optopt)
		complain("%s: unknown option -%c", command, optopt);
	else
		complain("%s: unknown option %s", command, argv[optind - 1]);
}

/* One option with its value; `file` takes what a configuration file says. */
static int take(struct settings *s, struct settings *file, int c, const char *value)
{
	switch (c) {
	case 'c':
		return read_file(file, value);
	case 'o':
		return read_pair(s, value);
	case 'j':
		s->json = true;
		return 0;
	case 't':
		s->tap = true;
		return 0;
	case 'T':
		s->tls = true;
		return 0;
	case 'k':
		s->make_case = true;
		return 0;
	case 'S':
		s->seed = value;
		return 0;
	case 'L':
		s->loss = value;
		return 0;
	case 'f':
		s->filter = value;
		return 0;
	case 'J':
		s->jobs = value;
		return 0;
	default:
		append(s, c == 's' ? "control" : c == 'l' ? "listen" : "workers", value);
		return 0;
	}
}

/* An option of another command: by its letter where it has one. */
static void refuse(const char *command, int c, const char *letters, const struct option *names)
{
	while (names->name && names->val != c)
		names++;
	if (strchr(letters, c) || !names->name)
		complain("%s: unknown option -%c", command, c);
	else
		complain("%s: unknown option --%s", command, names->name);
}

int settings_read(struct settings *s, int argc, char **argv, const char *letters, const char *command, bool many)
{
	static const char letter_forms[] = ":c:s:l:w:o:f:jh";
	static const struct option names[] = {
	    {"config", required_argument, NULL, 'c'}, {"socket", required_argument, NULL, 's'},
	    {"listen", required_argument, NULL, 'l'}, {"workers", required_argument, NULL, 'w'},
	    {"option", required_argument, NULL, 'o'}, {"json", no_argument, NULL, 'j'},
	    {"seed", required_argument, NULL, 'S'},   {"loss", required_argument, NULL, 'L'},
	    {"filter", required_argument, NULL, 'f'}, {"jobs", required_argument, NULL, 'J'},
	    {"tls", no_argument, NULL, 'T'},          {"tap", no_argument, NULL, 't'},
	    {"case", no_argument, NULL, 'k'},         {"help", no_argument, NULL, 'h'},
	    {0},
	};
	struct settings file = {0};
	int c, err = 0;

	while (!err && (c = getopt_long(argc, argv, letter_forms, names, NULL)) != -1) {
		if (c == 'h') {
			err = 2;
		} else if (c == '?' || c == ':') {
			wrong_option(c, argv, command);
			err = 1;
		} else if (!strchr(letters, c)) {
			refuse(command, c, letter_forms, names);
			err = 1;
		} else {
			err = take(s, &file, c, optarg);
		}
	}
	if (!err && argc - optind > 1 && !many) {
		complain("%s: one argument too many: \"%s\"", command, argv[optind + 1]);
		err = 1;
	}
	if (!err) {
		s->argument = optind < argc ? argv[optind] : NULL;
		s->arguments = argv + optind;
		s->argument_count = (size_t)(argc - optind);
		merge(s, &file);
	}
	settings_finish(&file);
	return err;
}
