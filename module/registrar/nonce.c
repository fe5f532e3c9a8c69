#include "registrar/nonce.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "core/alloc.h"
#include "core/encode.h"
#include "core/wheel.h"

enum { PLAIN = 16, MAC = 16, RAW = PLAIN + MAC, WINDOW = 64 };

#define CLOCK_SKEW (10 * SH_SECOND)

/* --- text -------------------------------------------------------------------------------------------------------- */

static int decode(struct sh_slice text, unsigned char raw[RAW])
{
	unsigned char octets[SH_BASE64_OCTETS(SH_NONCE_TEXT)];

	if (text.len != SH_NONCE_TEXT || sh_base64_decode(SH_BASE64_URL, text, octets) != RAW)
		return -EINVAL;
	memcpy(raw, octets, RAW);
	return 0;
}

static void put_u64(unsigned char *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

static uint64_t get_u64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

/* The code of the plain half of raw. */
static struct sh_id128 mac(const struct sh_hash_key *secret, struct sh_slice realm, struct sh_slice source,
			 const unsigned char raw[RAW])
{
	const struct sh_slice parts[] = {sh_slice_make((const char *)raw, PLAIN), realm, source};

	return sh_mac128_slices(secret, parts, 3);
}

void sh_nonce_write(const struct sh_hash_key *secret, struct sh_slice realm, struct sh_slice source, const struct sh_nonce *n,
		    char out[SH_NONCE_TEXT])
{
	unsigned char raw[RAW];
	struct sh_id128 code;

	put_u64(raw, n->made);
	put_u64(raw + 8, n->serial);
	code = mac(secret, realm, source, raw);
	put_u64(raw + PLAIN, code.w[0]);
	put_u64(raw + PLAIN + 8, code.w[1]);
	sh_base64_encode(SH_BASE64_URL, raw, RAW, out);
}

int sh_nonce_read(const struct sh_hash_key *secret, struct sh_slice realm, struct sh_slice source, struct sh_slice text,
		  struct sh_nonce *out)
{
	unsigned char raw[RAW];
	struct sh_id128 code;
	int err = decode(text, raw);

	if (err)
		return err;
	code = mac(secret, realm, source, raw);
	/* In constant time. */
	if ((code.w[0] ^ get_u64(raw + PLAIN)) | (code.w[1] ^ get_u64(raw + PLAIN + 8)))
		return -EBADMSG;
	out->made = get_u64(raw);
	out->serial = get_u64(raw + 8);
	return 0;
}

/* What stands before the code, and the two octets that share a group of letters with it. */
int sh_nonce_decode(struct sh_slice text, struct sh_nonce *out)
{
	enum { LETTERS = 24 };
	unsigned char raw[SH_BASE64_OCTETS(LETTERS)];

	if (text.len != SH_NONCE_TEXT || sh_base64_decode(SH_BASE64_URL, sh_slice_make(text.base, LETTERS), raw) < PLAIN)
		return -EINVAL;
	out->made = get_u64(raw);
	out->serial = get_u64(raw + 8);
	return 0;
}

/* --- those in use ------------------------------------------------------------------------------------------------ */

struct used {
	struct sh_hash_node node; /* its hash is the serial */
	struct sh_link by_age;
	uint64_t made;
	uint64_t seen; /* bit n: the count highest - n has been used */
	uint32_t highest;
};

static void drop_used(struct sh_hash_node *n, void *ctx)
{
	(void)ctx;
	sh_free(SH_CONTAINER(n, struct used, node));
}

static void stripe_finish(struct sh_nonce_stripe *s)
{
	sh_hash_each(&s->used, drop_used, NULL);
	sh_hash_finish(&s->used);
	pthread_mutex_destroy(&s->lock);
}

int sh_nonce_table_init(struct sh_nonce_table *t, unsigned max, uint64_t lifetime)
{
	t->lifetime = lifetime;
	t->max_per_stripe = (max + (size_t)SH_NONCE_STRIPES - 1) / SH_NONCE_STRIPES;
	for (unsigned i = 0; i < SH_NONCE_STRIPES; i++) {
		struct sh_nonce_stripe *s = &t->stripes[i];
		int err = sh_hash_init(&s->used, 0);

		if (!err) {
			err = -pthread_mutex_init(&s->lock, NULL);
			if (err)
				sh_hash_finish(&s->used);
		}
		if (err) {
			while (i > 0)
				stripe_finish(&t->stripes[--i]);
			return err;
		}
		sh_list_init(&s->by_age);
		s->watermark = 0;
	}
	return 0;
}

void sh_nonce_table_finish(struct sh_nonce_table *t)
{
	for (unsigned i = 0; i < SH_NONCE_STRIPES; i++)
		stripe_finish(&t->stripes[i]);
}

bool sh_nonce_fresh(const struct sh_nonce_table *t, const struct sh_nonce *n, uint64_t now)
{
	return n->made > now ? n->made - now <= CLOCK_SKEW : now - n->made <= t->lifetime;
}

static struct used *find(const struct sh_nonce_stripe *s, const struct sh_nonce *n)
{
	for (struct sh_hash_node *h = sh_hash_find(&s->used, n->serial); h; h = sh_hash_next(h)) {
		struct used *u = SH_CONTAINER(h, struct used, node);

		if (u->made == n->made)
			return u;
	}
	return NULL;
}

static struct used *oldest(const struct sh_nonce_stripe *s)
{
	return sh_list_empty(&s->by_age) ? NULL : SH_CONTAINER(s->by_age.next, struct used, by_age);
}

static struct used *take_out(struct sh_nonce_stripe *s, struct used *u)
{
	sh_list_remove(&u->by_age);
	sh_hash_remove(&s->used, &u->node);
	if (u->made > s->watermark)
		s->watermark = u->made;
	return u;
}

/* Memory for one more: new while there may be more, else that of the oldest. */
static struct used *room(const struct sh_nonce_table *t, struct sh_nonce_stripe *s)
{
	struct used *u = s->used.count < t->max_per_stripe ? sh_malloc(sizeof(*u)) : NULL;

	if (!u) {
		u = oldest(s);
		if (u)
			take_out(s, u);
	}
	return u;
}

static bool count_is_new(struct used *u, uint32_t nc)
{
	if (nc > u->highest) {
		uint32_t by = nc - u->highest;

		u->seen = (by < WINDOW ? u->seen << by : 0) | 1;
		u->highest = nc;
		return true;
	}
	if (u->highest - nc >= WINDOW || (u->seen >> (u->highest - nc) & 1))
		return false;
	u->seen |= UINT64_C(1) << (u->highest - nc);
	return true;
}

static bool use(const struct sh_nonce_table *t, struct sh_nonce_stripe *s, const struct sh_nonce *n, uint32_t nc,
		uint64_t now)
{
	struct used *u;

	/* Two at most for one that comes: the table empties itself and no call is slow. */
	for (int i = 0; i < 2; i++) {
		u = oldest(s);
		if (!u || sh_nonce_fresh(t, &(struct sh_nonce){.made = u->made}, now))
			break;
		sh_free(take_out(s, u));
	}
	u = find(s, n);
	if (u)
		return count_is_new(u, nc);
	if (n->made <= s->watermark)
		return false;
	u = room(t, s);
	if (!u)
		return false; /* what cannot be remembered must not be accepted */
	*u = (struct used){.made = n->made, .seen = 1, .highest = nc};
	sh_hash_insert(&s->used, &u->node, n->serial);
	sh_list_append(&s->by_age, &u->by_age);
	return true;
}

bool sh_nonce_use(struct sh_nonce_table *t, const struct sh_nonce *n, uint32_t nc, uint64_t now)
{
	struct sh_nonce_stripe *s = &t->stripes[n->serial >> 60];
	bool good;

	if (!sh_nonce_fresh(t, n, now))
		return false;
	pthread_mutex_lock(&s->lock);
	good = use(t, s, n, nc, now);
	pthread_mutex_unlock(&s->lock);
	return good;
}

void sh_nonce_table_each(struct sh_nonce_table *t, void (*fn)(void *ctx, const struct sh_nonce_record *r), void *ctx)
{
	for (uint64_t i = 0; i < SH_NONCE_STRIPES; i++) {
		struct sh_nonce_stripe *s = &t->stripes[i];

		pthread_mutex_lock(&s->lock);
		fn(ctx, &(struct sh_nonce_record){.made = s->watermark, .serial = i << 60});
		SH_LIST_EACH(l, &s->by_age)
		{
			const struct used *u = SH_CONTAINER(l, struct used, by_age);

			fn(ctx, &(struct sh_nonce_record){u->made, u->node.hash, u->seen, u->highest});
		}
		pthread_mutex_unlock(&s->lock);
	}
}

void sh_nonce_table_put(struct sh_nonce_table *t, const struct sh_nonce_record *r)
{
	struct sh_nonce_stripe *s = &t->stripes[r->serial >> 60];
	struct used *u;

	pthread_mutex_lock(&s->lock);
	u = r->seen ? room(t, s) : NULL;
	if (u) {
		*u = (struct used){.made = r->made, .seen = r->seen, .highest = (uint32_t)r->highest};
		sh_hash_insert(&s->used, &u->node, r->serial);
		sh_list_append(&s->by_age, &u->by_age);
	} else if (r->made > s->watermark) {
		s->watermark = r->made;
	}
	pthread_mutex_unlock(&s->lock);
}
