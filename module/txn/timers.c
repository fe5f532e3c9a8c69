#include "txn/txn_impl.h"

const struct sh_txn_timers sh_txn_timers_default = {
#define X(field, value, what) .field = (value),
    SH_TXN_TIMERS(X)
#undef X
};

uint64_t sh_txn_quiet_time(const struct sh_txn_timers *t)
{
	uint64_t sum = 0;

	for (uint64_t e = t->t1; e < t->t2 && e > 0; e *= 2)
		sum += e;
	return sum;
}
