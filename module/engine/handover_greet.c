/* Who may speak: the greeting of two instances, which proves to each that the other one knows the secret of both (the option
 * handover_secret), where there is one. The number of the other process, which the kernel vouches for, is part of what is proven: nobody
 * can stand between two that know the secret and pass on what they say. */
#include "engine/handover.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "msg/digest.h"

enum { VERSION = 2, EPOCHS = 4096 };

struct sh_handover_hello sh_handover_hello(const struct sh_handover *h)
{
	return (struct sh_handover_hello){VERSION, sizeof(struct sh_path), sizeof(struct sh_contact), h->epoch, {0}};
}

static bool understood(const struct sh_handover_hello *a)
{
	return a->version == VERSION && a->path_size == sizeof(struct sh_path) && a->contact_size == sizeof(struct sh_contact) &&
	       a->epoch > 0 && a->epoch < EPOCHS;
}

/* The process at the other end; with 0, its user. */
static int peer_of(int fd, struct ucred *out)
{
	socklen_t len = sizeof(*out);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, out, &len) == 0 ? 0 : -errno;
}

bool sh_handover_trusts(int fd)
{
	struct ucred peer;

	return peer_of(fd, &peer) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

/* What the one who listens, or the one who connects, says to prove itself; ours: we are that one. */
static int prove(const struct sh_handover *h, const struct sh_handover_peer *p, bool listens, bool ours, uint8_t out[SH_HANDOVER_PROOF_LEN])
{
	struct {
		uint8_t nonces[2][SH_HANDOVER_NONCE_LEN]; /* of who connects; of who listens */
		uint32_t prover, judge;
	} said;
	const struct sh_slice parts[] = {sh_slice_cstr(listens ? "listens" : "connects"), sh_slice_make((const char *)&said, sizeof(said)),
					 h->secret_words};
	struct ucred peer;
	int err = peer_of(p->fd, &peer);

	if (err)
		return err;
	if (peer.pid == 0)
		return -ESRCH; /* it lives in a world of its own: nothing can be said about it */
	memcpy(said.nonces, p->nonces, sizeof(said.nonces));
	said.prover = (uint32_t)(ours ? getpid() : peer.pid);
	said.judge = (uint32_t)(ours ? peer.pid : getpid());
	return sh_hash_octets(SH_HASH_SHA512_256, parts, 3, out);
}

/* The other one's. */
static bool is_proven(const struct sh_handover *h, const struct sh_handover_peer *p, bool listens, const uint8_t *said)
{
	uint8_t wanted[SH_HANDOVER_PROOF_LEN];
	unsigned differ = 0;

	if (!h->secret_words.len)
		return true;
	if (prove(h, p, listens, false, wanted) < 0)
		return false;
	for (size_t i = 0; i < sizeof(wanted); i++)
		differ |= (unsigned)(wanted[i] ^ said[i]);
	return differ == 0;
}

static int put_proof(const struct sh_handover *h, const struct sh_handover_peer *p, bool listens, uint8_t *out)
{
	return h->secret_words.len ? prove(h, p, listens, true, out) : 0;
}

/* ------------------------------------------------------------------ as the one who connects */

ssize_t sh_handover_await(struct sh_handover *h, int peer, char *buffer, int *fds, unsigned *nfds)
{
	struct pollfd p = {.fd = h->peers[peer].fd, .events = POLLIN};

	if (poll(&p, 1, SH_HANDOVER_MS) <= 0)
		return -ETIMEDOUT;
	return sh_handover_receive(p.fd, buffer, fds, nfds);
}

/* A packet of that kind and size. */
static int expect(struct sh_handover *h, int peer, enum sh_handover_kind kind, void *out, size_t size, char *buffer, int *fds,
		  unsigned *nfds)
{
	ssize_t n = sh_handover_await(h, peer, buffer, fds, nfds);
	uint32_t k;

	if (n < 0)
		return (int)n;
	if (n != (ssize_t)(sizeof(k) + size))
		return -EPROTO;
	memcpy(&k, buffer, sizeof(k));
	if (k != kind)
		return -EPROTO;
	memcpy(out, buffer + sizeof(k), size);
	return 0;
}

int sh_handover_greet(struct sh_handover *h, int peer, struct sh_handover_welcome *w, char *buffer, int *fds, unsigned *nfds)
{
	struct sh_handover_peer *p = &h->peers[peer];
	struct sh_handover_hello hello = sh_handover_hello(h);
	struct sh_handover_challenge c;
	struct sh_handover_proof proof = {{0}};
	int err = getentropy(hello.nonce, sizeof(hello.nonce)) < 0 ? -errno : 0;

	memcpy(p->nonces[0], hello.nonce, sizeof(hello.nonce));
	if (!err)
		err = sh_handover_send(h, peer, SH_HANDOVER_HELLO, &hello, sizeof(hello), NULL, 0);
	if (!err)
		err = expect(h, peer, SH_HANDOVER_CHALLENGE, &c, sizeof(c), buffer, NULL, NULL);
	if (err)
		return err;
	memcpy(p->nonces[1], c.nonce, sizeof(c.nonce));
	if (!is_proven(h, p, true, c.proof))
		return -EACCES;
	err = put_proof(h, p, false, proof.proof);
	if (!err)
		err = sh_handover_send(h, peer, SH_HANDOVER_PROOF, &proof, sizeof(proof), NULL, 0);
	if (!err)
		err = expect(h, peer, SH_HANDOVER_WELCOME, w, sizeof(*w), buffer, fds, nfds);
	if (!err && !understood(&w->hello))
		err = -EPROTO;
	p->greeted = !err;
	return err;
}

/* ------------------------------------------------------------------ as the one who listens */

int sh_handover_challenge(struct sh_handover *h, int peer, const char *data, size_t len)
{
	struct sh_handover_peer *p = &h->peers[peer];
	struct sh_handover_hello hello = {0};
	struct sh_handover_challenge c = {{0}, {0}};
	int err;

	memcpy(&hello, data, len < sizeof(hello) ? len : sizeof(hello));
	if (len != sizeof(hello) || !understood(&hello))
		return -EPROTO;
	if (p->claims)
		return -EALREADY;
	if (getentropy(c.nonce, sizeof(c.nonce)) < 0)
		return -errno;
	memcpy(p->nonces[0], hello.nonce, sizeof(hello.nonce));
	memcpy(p->nonces[1], c.nonce, sizeof(c.nonce));
	err = put_proof(h, p, true, c.proof);
	if (err)
		return err;
	p->claims = hello.epoch;
	return sh_handover_send(h, peer, SH_HANDOVER_CHALLENGE, &c, sizeof(c), NULL, 0);
}

int sh_handover_judge(struct sh_handover *h, int peer, const char *data, size_t len)
{
	struct sh_handover_peer *p = &h->peers[peer];

	if (!p->claims || p->greeted || len != sizeof(struct sh_handover_proof))
		return -EPROTO;
	if (!is_proven(h, p, false, (const uint8_t *)data))
		return -EACCES;
	if (p->claims == h->epoch || sh_handover_peer_of(h, p->claims) >= 0)
		return -EEXIST; /* it would get what is another one's */
	return 0;
}
