/* Datagrams to the worker that they are for. The kernel spreads those of a shared port by addresses and port numbers, so
 * that most of what belongs to a dialog would come to another worker and have to cross. Where a text says itself whose it is,
 * a filter of the port reads that (SO_ATTACH_REUSEPORT_CBPF, socket(7): every process may). It is a hint, and may be wrong or
 * forged: whoever gets a message looks whose it is. Who forges it chooses the worker that reads and passes on what he sends, as he
 * does anyway with the worker of a call that he began; what a flood may do to one worker is the door's to bound.
 *
 * A classic BPF program has no loops. The search is unrolled, in steps of four: of a mark of seven characters or more one of
 * the words that begin with its first four characters stands at any four consecutive offsets. An answer beyond the sockets of the port
 * leaves the choice to the kernel. To read behind the end would end the program with socket 0: so the length comes first.
 *
 * Older kernels allow 20 kB of translated program (net.core.optmem_max), some 2,400 of their instructions; a step is 28. */
#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>

#include "core/alloc.h"
#include "drivers/net/net_impl.h"

enum {
	STEP = 4,             /* octets between two looks */
	STEP_CODE = 13,       /* instructions of one */
	PROGRAM_MAX = 2048,
	STEPS_MAX = 60,       /* of all marks */
};
#define NOBODY UINT32_MAX /* the kernel's choice */

struct program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned len;
};

static void put(struct program *p, unsigned code, unsigned yes, unsigned no, uint32_t k)
{
	p->code[p->len++] = (struct sock_filter){(uint16_t)code, (uint8_t)yes, (uint8_t)no, k};
}

static void put_return(struct program *p, uint32_t socket)
{
	put(p, BPF_RET | BPF_K, 0, 0, socket);
}

static uint32_t word(const char *text)
{
	const unsigned char *t = (const unsigned char *)text;

	return (uint32_t)t[0] << 24 | (uint32_t)t[1] << 16 | (uint32_t)t[2] << 8 | t[3];
}

static unsigned steps_of(const struct sh_net_mark *m)
{
	return (m->to - m->from) / STEP + 1;
}

/* Goes on behind itself with the offset of the mark in X; where it is not found, to nobody. */
static void put_search(struct program *p, const struct sh_net_mark *m)
{
	unsigned end = p->len + steps_of(m) * STEP_CODE + 1;

	for (uint32_t at = m->from; at <= m->to; at += STEP) {
		put(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, at);
		for (unsigned i = 0; i < STEP; i++)
			put(p, BPF_JMP | BPF_JEQ | BPF_K, STEP - 1 + i, i < STEP - 1 ? 0 : 2 * STEP, word(m->text + i));
		for (unsigned i = 0; i < STEP; i++) {
			put(p, BPF_LDX | BPF_IMM, 0, 0, at - i);
			put(p, BPF_JMP | BPF_JA, 0, 0, end - p->len - 1);
		}
	}
	put_return(p, NOBODY);
}

/* The mark at X in full, and behind it the worker. */
static void put_choice(struct program *p, const struct sh_net_mark *m, const struct net_steering *s, const uint8_t *holders,
		       unsigned count)
{
	uint32_t len = (uint32_t)strlen(m->text);

	for (uint32_t at = 0; at <= len - 4; at += len - 4) {
		put(p, BPF_LD | BPF_W | BPF_IND, 0, 0, at);
		put(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, word(m->text + at));
		put_return(p, NOBODY);
	}
	put(p, BPF_LD | BPF_H | BPF_IND, 0, 0, len);
	for (unsigned i = 0; i < count; i++) {
		char code[2];

		s->code(holders[i], code);
		put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)((unsigned char)code[0] << 8 | (unsigned char)code[1]));
		put_return(p, i);
	}
	put_return(p, NOBODY);
}

static uint32_t shortest(const struct net_steering *s)
{
	uint32_t len = 0;

	for (unsigned i = 0; i < s->count; i++) {
		uint32_t end = s->marks[i].to + (uint32_t)strlen(s->marks[i].text) + 2;

		len = end > len ? end : len;
	}
	return len;
}

void net_steer(struct sh_net *n, int fd, const uint8_t *holders, unsigned count)
{
	const struct net_steering *s = &n->steering;
	struct program *p = s->count ? sh_malloc(sizeof(*p)) : NULL;
	struct sock_fprog filter;

	if (!p)
		return;
	p->len = 0;
	put(p, BPF_LD | BPF_W | BPF_LEN, 0, 0, 0);
	put(p, BPF_JMP | BPF_JGE | BPF_K, 1, 0, shortest(s));
	put_return(p, NOBODY);
	for (unsigned i = 0; i < s->count; i++) {
		const struct sh_net_mark *m = &s->marks[i];
		unsigned skip = 0;

		if (m->begins) {
			put(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, 0);
			put(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, word(m->begins));
			skip = p->len;
			put(p, BPF_JMP | BPF_JA, 0, 0, 0);
		}
		put_search(p, m);
		put_choice(p, m, s, holders, count);
		if (skip)
			p->code[skip].k = p->len - skip - 1;
	}
	put_return(p, NOBODY);
	filter = (struct sock_fprog){(unsigned short)p->len, p->code};
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof(filter)) < 0)
		sh_info(n->log, "datagrams are not steered to their workers: %s", strerror(errno));
	sh_free(p);
}

int sh_net_steer(struct sh_net *n, const struct sh_net_mark *marks, unsigned count, void (*code)(unsigned worker, char out[2]))
{
	unsigned steps = 0;

	if (count > SH_NET_MARKS)
		return -EINVAL;
	for (unsigned i = 0; i < count; i++) {
		const struct sh_net_mark *m = &marks[i];
		size_t len = strlen(m->text);

		/* Of more than eight characters the two words that are compared would leave some out. */
		if (len < STEP + 3 || len > 8 || m->from < STEP || m->to < m->from || (m->begins && strlen(m->begins) != 4))
			return -EINVAL;
		steps += steps_of(m);
	}
	if (steps > STEPS_MAX)
		return -EINVAL;
	n->steering = (struct net_steering){.count = count, .code = code};
	memcpy(n->steering.marks, marks, count * sizeof(*marks));
	return 0;
}
