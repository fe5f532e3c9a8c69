#include "tool.h"

#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder of the running program, as malloc'ed text. */
static char *own_folder(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (n <= 0)
		return text_format(".");
	path[n] = '\0';
	slash = strrchr(path, '/');
	return text_format("%.*s", slash ? (int)(slash - path) : 0, path);
}

static const struct siphook_api *load(const char *path)
{
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const struct siphook_api *api;
	siphook_entry_fn entry;

	if (!object) {
		complain("%s", dlerror());
		return NULL;
	}
	*(void **)&entry = dlsym(object, "siphook_entry");
	if (!entry) {
		complain("%s is not siphook: it has no siphook_entry", path);
		return NULL;
	}
	api = entry(SIPHOOK_ABI);
	if (!api || api->size < sizeof(*api)) {
		complain("%s has another version of the host interface than this command", path);
		return NULL;
	}
	return api;
}

const struct siphook_api *object_load(void)
{
	char *folder = own_folder();
	char *beside = text_format("%s/siphook.so", folder);
	char *installed = text_format("%s/../lib/siphook/siphook.so", folder);
	const char *places[] = {beside, installed, getenv("SIPHOOK_SO")};
	const struct siphook_api *api = NULL;
	size_t i = 0, count = sizeof(places) / sizeof(places[0]);

	while (i < count && (!places[i] || access(places[i], F_OK) != 0))
		i++;
	if (i < count)
		api = load(places[i]);
	else
		complain("siphook.so was found neither at %s nor at %s; set SIPHOOK_SO to its path", beside, installed);
	free(installed);
	free(beside);
	free(folder);
	return api;
}

/* A script's own words may be no UTF-8, which JSON must be. */
static json_t *text_of(const char *words)
{
	json_t *text = json_string(words);
	char *ascii;

	if (text)
		return text;
	ascii = text_format("%s", words);
	for (char *p = ascii; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	text = json_string(ascii);
	free(ascii);
	return text;
}

int command_check(struct settings *s)
{
	const struct siphook_api *api = object_load();
	const char *place;
	int err;

	if (!api)
		return 1;
	err = api->check(s->options, s->count);
	place = settings_place(s, api->last_error(NULL));
	if (s->json) {
		char *words = text_format("%s%s", place, api->last_error(NULL));
		json_t *said = json_pack("{sbso}", "ok", err == 0, err ? "error" : "warnings", text_of(words));

		json_dumpf(said, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(said);
		free(words);
	} else if (*api->last_error(NULL)) { /* what is wrong, or only strange */
		fprintf(stderr, "%s%s\n", place, api->last_error(NULL));
	}
	return err ? 1 : 0;
}

int command_version(struct settings *s)
{
	const struct siphook_api *api = object_load();

	if (!api)
		return 1;
	if (s->json)
		printf("{\"version\":\"%s\",\"object\":\"%s\",\"abi\":\"%u.%u\"}\n", SIPHOOK_VERSION, api->version,
		       api->abi >> 16, api->abi & 0xffff);
	else
		printf("siphook %s (siphook.so %s, host interface %u.%u)\n", SIPHOOK_VERSION, api->version,
		       api->abi >> 16, api->abi & 0xffff);
	return 0;
}
