/* What came of it: causes, and which failure is the one to report (RFC 3261 16.7 step 6). */
#include "b2bua/impl.h"

struct sh_slice sh_cause_name(enum sh_cause c)
{
	static const struct sh_slice names[] = {
		{"", 0},           {"busy", 4},       {"declined", 8}, {"no_answer", 9}, {"unreachable", 11},
		{"not_found", 9},  {"redirected", 10}, {"rejected", 8}, {"failed", 6},    {"empty", 5},
	};

	return names[c];
}

enum sh_cause sh_cause_of(unsigned code)
{
	switch (code) {
	case 404:
	case 410:
	case 484:
	case 485:
	case 604:
		return SH_NOT_FOUND;
	case 408:
	case 480:
	case 487:
		return SH_NO_ANSWER;
	case 430: /* the phone's flow is dead, as its edge proxy says (RFC 5626 11.5) */
		return SH_UNREACHABLE;
	case 486:
	case 600:
		return SH_BUSY;
	case 603:
	case 607:
		return SH_DECLINED;
	default:
		return code < 300 ? SH_CAUSE_NONE : code < 400 ? SH_REDIRECTED : code < 500 || code >= 600 ? SH_REJECTED : SH_FAILED;
	}
}

unsigned sh_result_rank(unsigned code, enum sh_cause cause)
{
	unsigned within;

	if (code >= 600)
		return 0;
	if (cause == SH_UNREACHABLE) /* nobody was there: every real answer says more */
		return 9000;
	switch (code) {
	case 401:
	case 407:
	case 415:
	case 420:
	case 484: /* what the caller can mend */
		within = 0;
		break;
	case 486:
		within = 1;
		break;
	case 408:
	case 487:
	case 503:
		within = 3;
		break;
	default:
		within = 2;
	}
	return code / 100 * 10 + within;
}
