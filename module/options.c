#include "options.h"
#include "core/alloc.h"
#include "core/nearest.h"
#include "core/slice.h"
#include "transport/tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { OPTIONS_MAX = 65536, WORKERS_MAX = 64, GATHER_MAX = 10000, SECRET_MIN = 16 };

static const char config_prefix[] = "config.";

static int set_script(struct sh_options *o, const char *value)
{
	o->engine.script = value;
	return *value ? 0 : -EINVAL;
}

static int set_listen(struct sh_options *o, const char *value)
{
	o->listen[o->engine.nlisten++] = value;
	return *value ? 0 : -EINVAL;
}

static int set_workers(struct sh_options *o, const char *value)
{
	uint64_t n;

	if (sh_slice_u64(sh_slice_cstr(value), WORKERS_MAX, &n) < 0 || n == 0)
		return -EINVAL;
	o->engine.workers = (unsigned)n;
	return 0;
}

static int set_watch(struct sh_options *o, const char *value)
{
	static const char *const words[] = {"no", "yes", "off", "on", "false", "true", "0", "1"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(value, words[i]) == 0) {
			o->engine.watch = i & 1;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_log_level(struct sh_options *o, const char *value)
{
	static const char *const words[] = {"error", "warn", "info", "debug"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(value, words[i]) == 0) {
			o->engine.log_level = (enum sh_log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_control(struct sh_options *o, const char *value)
{
	o->control = value;
	return *value ? 0 : -EINVAL;
}

static int set_handover(struct sh_options *o, const char *value)
{
	o->engine.handover = value;
	return *value ? 0 : -EINVAL;
}

static int set_handover_secret(struct sh_options *o, const char *value)
{
	o->engine.handover_secret = value;
	return strlen(value) >= SECRET_MIN ? 0 : -EINVAL;
}

static int read_gather(const char *value, int *out)
{
	uint64_t n;

	if (sh_slice_u64(sh_slice_cstr(value), GATHER_MAX, &n) < 0)
		return -EINVAL;
	*out = n ? (int)n : -1;
	return 0;
}

static int set_gather(struct sh_options *o, const char *value)
{
	return read_gather(value, &o->engine.gather);
}

static int set_gather_calls(struct sh_options *o, const char *value)
{
	return read_gather(value, &o->engine.gather_calls);
}

static int set_dns(struct sh_options *o, const char *value)
{
	o->engine.dns = value;
	return *value ? 0 : -EINVAL;
}

static int set_data(struct sh_options *o, const char *value)
{
	o->engine.data = value;
	return *value ? 0 : -EINVAL;
}

static int set_session_expires(struct sh_options *o, const char *value)
{
	uint64_t n;

	if (sh_slice_u64(sh_slice_cstr(value), 86400, &n) < 0 || (n && n < 90))
		return -EINVAL;
	o->engine.session_expires = n ? (uint32_t)n : UINT32_MAX;
	return 0;
}

static int set_certificate(struct sh_options *o, const char *value)
{
	o->certificates[o->engine.tls.ncertificates++] = value;
	return *value ? 0 : -EINVAL;
}

static int set_private_key(struct sh_options *o, const char *value)
{
	o->keys[o->engine.tls.nkeys++] = value;
	return *value ? 0 : -EINVAL;
}

static int set_ca(struct sh_options *o, const char *value)
{
	o->engine.tls.ca = value;
	return *value ? 0 : -EINVAL;
}

static int set_verify(struct sh_options *o, const char *value)
{
	for (int i = 0; sh_tls_verify_words[i]; i++) {
		if (strcmp(value, sh_tls_verify_words[i]) == 0) {
			o->engine.tls.verify = (enum sh_tls_verify)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* RFC 6454: a scheme and a host, without a path. */
static int set_origin(struct sh_options *o, const char *value)
{
	const char *host = strstr(value, "://");

	o->origins[o->engine.tls.norigins++] = value;
	return host && host > value && host[3] && !strchr(host + 3, '/') ? 0 : -EINVAL;
}

static const struct rule {
	const char *key;
	int (*set)(struct sh_options *o, const char *value);
	bool repeated;
	const char *wanted;
} rules[] = {
    {"script", set_script, false, "the path of a script"},
    {"listen", set_listen, true, "a URI such as udp://127.0.0.1:5060"},
    {"workers", set_workers, false, "a number from 1 to 64"},
    {"watch", set_watch, false, "yes or no"},
    {"log_level", set_log_level, false, "error, warn, info or debug"},
    {"gather", set_gather, false, "microseconds, 0 to 10000"},
    {"gather_calls", set_gather_calls, false, "microseconds, 0 to 10000"},
    {"dns", set_dns, false, "the addresses of name servers, such as 127.0.0.1:5353,[::1]"},
    {"data", set_data, false, "the path of a folder"},
    {"session_expires", set_session_expires, false, "0 or 90 to 86400 seconds"},
    {"control", set_control, false, "the path of a socket"},
    {"handover", set_handover, false, "the path of a folder"},
    {"handover_secret", set_handover_secret, false, "at least 16 characters"},
    {"tls_certificate", set_certificate, true, "the path of a PEM file"},
    {"tls_private_key", set_private_key, true, "the path of a PEM file"},
    {"tls_ca", set_ca, false, "the path of a PEM file"},
    {"tls_verify", set_verify, false, "yes, no, optional or mutual"},
    {"ws_origin", set_origin, true, "an origin such as https://example.org"},
};

enum { COUNT_RULES = sizeof(rules) / sizeof(rules[0]) };

static const char *nearest_key(const char *key)
{
	const char *nearest = NULL;
	size_t best = SH_NEAREST_NONE;

	for (int i = 0; i < COUNT_RULES; i++)
		if (sh_is_nearer(key, rules[i].key, &best))
			nearest = rules[i].key;
	return nearest;
}

static int unknown_key(const char *key, char *error, size_t size)
{
	const char *near = nearest_key(key);

	if (near)
		snprintf(error, size, "unknown option \"%s\" (did you mean \"%s\"?)", key, near);
	else
		snprintf(error, size, "unknown option \"%s\" (a value for the script is config.%s)", key, key);
	return -EINVAL;
}

static int add_config(struct sh_options *o, const struct siphook_option *option, char *error, size_t size)
{
	const char *name = option->key + sizeof(config_prefix) - 1;

	if (!*name) {
		snprintf(error, size, "option \"%s\" has no name behind the dot", option->key);
		return -EINVAL;
	}
	for (unsigned i = 0; i < o->engine.nconfig; i++) {
		if (strcmp(o->config[i].key, name) == 0) {
			snprintf(error, size, "option \"%s\" is given twice", option->key);
			return -EINVAL;
		}
	}
	o->config[o->engine.nconfig++] = (struct sh_pair){name, option->value};
	return 0;
}

static int add_option(struct sh_options *o, const struct siphook_option *option, unsigned *seen, char *error,
		      size_t size)
{
	if (strncmp(option->key, config_prefix, sizeof(config_prefix) - 1) == 0)
		return add_config(o, option, error, size);
	for (int i = 0; i < COUNT_RULES; i++) {
		const struct rule *r = &rules[i];

		if (strcmp(option->key, r->key) != 0)
			continue;
		if (!r->repeated && (*seen & 1u << i)) {
			snprintf(error, size, "option \"%s\" is given twice", r->key);
			return -EINVAL;
		}
		*seen |= 1u << i;
		if (r->set(o, option->value) == 0)
			return 0;
		if (r->set == set_handover_secret) /* not for a log */
			snprintf(error, size, "option \"%s\" must be %s", r->key, r->wanted);
		else
			snprintf(error, size, "option \"%s\" is \"%s\"; it must be %s", r->key, option->value, r->wanted);
		return -EINVAL;
	}
	return unknown_key(option->key, error, size);
}

int sh_options_init(struct sh_options *o, const struct siphook_option *options, size_t count, char *error, size_t size)
{
	unsigned seen = 0;
	int err = -ENOMEM;

	if (count > OPTIONS_MAX || (count > 0 && !options)) {
		snprintf(error, size, "%zu options, at most %d are possible", count, OPTIONS_MAX);
		return -EINVAL;
	}
	*o = (struct sh_options){.engine.log_level = SH_LOG_INFO};
	o->listen = sh_calloc(count + 1, sizeof(*o->listen));
	o->config = sh_calloc(count + 1, sizeof(*o->config));
	o->certificates = sh_calloc(count + 1, sizeof(*o->certificates));
	o->keys = sh_calloc(count + 1, sizeof(*o->keys));
	o->origins = sh_calloc(count + 1, sizeof(*o->origins));
	if (!o->listen || !o->config || !o->certificates || !o->keys || !o->origins) {
		snprintf(error, size, "out of memory");
		goto failed;
	}
	o->engine.listen = o->listen;
	o->engine.tls.certificates = o->certificates;
	o->engine.tls.keys = o->keys;
	o->engine.tls.origins = o->origins;
	o->engine.config = o->config;
	for (size_t i = 0; i < count; i++) {
		err = -EINVAL;
		if (!options[i].key || !options[i].value) {
			snprintf(error, size, "option %zu has no key or no value", i + 1);
			goto failed;
		}
		err = add_option(o, &options[i], &seen, error, size);
		if (err < 0)
			goto failed;
	}
	if (!o->engine.script) {
		snprintf(error, size, "the option \"script\" is missing");
		err = -EINVAL;
		goto failed;
	}
	return 0;
failed:
	sh_options_finish(o);
	return err;
}

void sh_options_finish(struct sh_options *o)
{
	sh_free(o->listen);
	sh_free(o->certificates);
	sh_free(o->keys);
	sh_free(o->origins);
	sh_free(o->config);
	*o = (struct sh_options){0};
}
