/* Writing JSON into a growing buffer. Errors stick: write everything, look at the end. One thread. */
#ifndef SH_CORE_JSON_H
#define SH_CORE_JSON_H

#include "core/slice.h"

struct sh_json {
	char *text;
	size_t len, cap;
	bool failed; /* out of memory */
	bool comma;  /* a value has been written at this level */
};

void sh_json_init(struct sh_json *j);
void sh_json_finish(struct sh_json *j);

void sh_json_open(struct sh_json *j, char bracket);  /* '{' or '[', as a value */
void sh_json_close(struct sh_json *j, char bracket); /* '}' or ']' */
void sh_json_key(struct sh_json *j, const char *name);
void sh_json_text(struct sh_json *j, struct sh_slice s); /* octets that are no UTF-8 are written as U+FFFD */
void sh_json_int(struct sh_json *j, int64_t n);
void sh_json_number(struct sh_json *j, double n);     /* what is no number in JSON (nan, inf) is null */
void sh_json_seconds(struct sh_json *j, uint64_t us); /* a number with milliseconds */
void sh_json_bool(struct sh_json *j, bool b);
/* Text that is no JSON, as it is: what else is written line by line (Prometheus). */
void sh_json_raw(struct sh_json *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Values that another writer has made, without their brackets: "1,2,3". */
void sh_json_join(struct sh_json *j, const struct sh_json *part);

#endif
