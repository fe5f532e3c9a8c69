/* Log lines go to one sink that the host gave. Levels, and a rate limit for everything that the network can cause.
 * Thread-safe: a logger is shared by all workers. A line is at most 1,000 bytes; longer text is cut, control
 * characters (a log must stay one line) are written as \xHH. */
#ifndef SH_CORE_LOG_H
#define SH_CORE_LOG_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum sh_log_level { SH_LOG_ERROR, SH_LOG_WARN, SH_LOG_INFO, SH_LOG_DEBUG };

/* line has no newline; it is NUL-terminated too, valid during the call. */
typedef void (*sh_log_fn)(enum sh_log_level level, const char *line, size_t len, void *ctx);

struct sh_log {
	sh_log_fn sink;
	void *ctx;
	_Atomic int level; /* lines above it are not even formatted */
};

/* One per place (static or in a struct): so many lines a second, then one line that says how many were left out. */
struct sh_log_limit {
	_Atomic uint64_t window; /* second of the current window */
	_Atomic uint32_t used, dropped;
};

enum { SH_LOG_LIMIT_PER_SECOND = 10 };

void sh_log_init(struct sh_log *log, enum sh_log_level level, sh_log_fn sink, void *ctx);

void sh_log_write(struct sh_log *log, enum sh_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same under a limit; now in microseconds (the environment's clock). */
void sh_log_write_limited(struct sh_log *log, enum sh_log_level level, struct sh_log_limit *limit, uint64_t now,
			  const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#define sh_log_on(log, lvl) (atomic_load_explicit(&(log)->level, memory_order_relaxed) >= (int)(lvl))
#define sh_error(log, ...) sh_log_write((log), SH_LOG_ERROR, __VA_ARGS__)
#define sh_warn(log, ...) sh_log_write((log), SH_LOG_WARN, __VA_ARGS__)
#define sh_info(log, ...)                                        \
	do {                                                     \
		if (sh_log_on((log), SH_LOG_INFO))               \
			sh_log_write((log), SH_LOG_INFO, __VA_ARGS__); \
	} while (0)
#define sh_debug(log, ...)                                       \
	do {                                                     \
		if (sh_log_on((log), SH_LOG_DEBUG))              \
			sh_log_write((log), SH_LOG_DEBUG, __VA_ARGS__); \
	} while (0)

#endif
