/* The host interface 1.0 as hosts were compiled with it. It does not change: host_versions.c compiled with it must go on working. */
#ifndef SIPHOOK_H
#define SIPHOOK_H

#include <stddef.h>
#include <stdint.h>

#define SIPHOOK_ABI_MAJOR 1
#define SIPHOOK_ABI_MINOR 0
#define SIPHOOK_ABI       (((uint32_t)SIPHOOK_ABI_MAJOR << 16) | SIPHOOK_ABI_MINOR)
#define SIPHOOK_VERSION   "0.1.0"
#define SIPHOOK_INSTANCES 64

struct siphook;

enum siphook_level { SIPHOOK_ERROR, SIPHOOK_WARN, SIPHOOK_INFO, SIPHOOK_DEBUG };
enum siphook_mode { SIPHOOK_THREADS, SIPHOOK_DRIVEN };

struct siphook_host {
	uint32_t abi;
	uint32_t size;
	void *ctx;
	void (*log)(void *ctx, enum siphook_level level, const char *line, size_t len);
	void (*metric)(void *ctx, const char *name, int64_t value);
	void (*stop_wanted)(void *ctx);
};

struct siphook_option {
	const char *key;
	const char *value;
};

typedef void (*siphook_reload_fn)(void *ctx, uint64_t generation, const char *error);
typedef void (*siphook_text_fn)(void *ctx, const char *text, size_t len);

struct siphook_api {
	uint32_t abi;
	uint32_t size;
	const char *version;
	uint64_t features;
	int (*create)(struct siphook **out, const struct siphook_host *host, const struct siphook_option *options, size_t count);
	int (*start)(struct siphook *s, enum siphook_mode mode);
	int (*fd)(struct siphook *s);
	int (*process)(struct siphook *s, int64_t *next_ms);
	int (*reload)(struct siphook *s, siphook_reload_fn fn, void *ctx);
	int (*query)(struct siphook *s, const char *what, siphook_text_fn fn, void *ctx);
	int (*hangup)(struct siphook *s, const char *id);
	int (*stop)(struct siphook *s, int64_t deadline_ms);
	void (*destroy)(struct siphook *s);
	int (*check)(const struct siphook_option *options, size_t count);
	const char *(*last_error)(struct siphook *s);
};

typedef const struct siphook_api *(*siphook_entry_fn)(uint32_t host_abi);

#endif
