/* A name and what it is set to, as the host gives them. */
#ifndef SH_CORE_PAIR_H
#define SH_CORE_PAIR_H

struct sh_pair {
	const char *key, *value;
};

#endif
