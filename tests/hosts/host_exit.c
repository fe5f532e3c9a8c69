/* A host calls exit() with a call up and its workers busy with digests: the process ends at once and with code 0. Every
 * second time the host has initialised OpenSSL before, so that OpenSSL's exit handler is the older one. */
#include "host.h"

#include <openssl/crypto.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { ROUNDS = 30, LIMIT_MS = 2000, BURST = 300 };

/* A header field of a message with its line end, or "". */
static const char *field(const char *message, const char *name, char *out, size_t size)
{
	const char *p = message;
	size_t n = strlen(name), len = 0;

	out[0] = '\0';
	while ((p = strstr(p, "\r\n")) != NULL) {
		p += 2;
		if (strncmp(p, name, n) == 0 && p[n] == ':') {
			const char *end = strstr(p, "\r\n");

			len += (size_t)snprintf(out + len, size - len, "%.*s\r\n", (int)(end - p), p);
			MUST(len < size);
		}
	}
	return out;
}

/* The phone that is called answers every INVITE. */
static void answer(int fd, unsigned own, unsigned port, const char *invite)
{
	char text[4096], via[1024], from[256], to[256], call_id[256], cseq[128];

	field(invite, "To", to, sizeof(to));
	MUST(strlen(to) > 2);
	snprintf(text, sizeof(text),
		 "SIP/2.0 200 OK\r\n%s%s%.*s;tag=phone\r\n%s%sContact: <sip:phone@127.0.0.1:%u>\r\nContent-Length: "
		 "0\r\n\r\n",
		 field(invite, "Via", via, sizeof(via)), field(invite, "From", from, sizeof(from)), (int)strlen(to) - 2,
		 to, field(invite, "Call-ID", call_id, sizeof(call_id)), field(invite, "CSeq", cseq, sizeof(cseq)),
		 own);
	send_text(fd, port, text);
}

static void acknowledge(int fd, unsigned own, unsigned port, const char *ok)
{
	char text[2048], from[256], to[256], call_id[256];

	snprintf(text, sizeof(text),
		 "ACK sip:test@127.0.0.1:%u SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKack%u\r\n"
		 "Max-Forwards: 70\r\n%s%s%sCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
		 port, own, (unsigned)getpid(), field(ok, "From", from, sizeof(from)), field(ok, "To", to, sizeof(to)),
		 field(ok, "Call-ID", call_id, sizeof(call_id)));
	send_text(fd, port, text);
}

static void set_up_call(int caller, unsigned own, int phone, unsigned phone_port, unsigned port)
{
	int64_t end = now_ms() + 5000;
	char text[4096];

	send_request(caller, own, port, "INVITE", 1, "");
	while (now_ms() < end) {
		receive_text(phone, 10, text, sizeof(text));
		if (strncmp(text, "INVITE ", 7) == 0)
			answer(phone, phone_port, port, text);
		receive_text(caller, 10, text, sizeof(text));
		if (strncmp(text, "SIP/2.0 200", 11) == 0) {
			acknowledge(caller, own, port, text);
			return;
		}
	}
	MUST(!"the call was answered");
}

static void child(char **argv, int openssl_first, int64_t *exits)
{
	struct siphook_host host = {.abi = SIPHOOK_ABI, .size = sizeof(host)};
	unsigned port = free_port(), own, phone_port;
	int caller = udp_socket(&own), phone = udp_socket(&phone_port);
	char uri[64], peer[64];
	struct siphook_option options[] = {
	    {"script", argv[2]}, {"listen", uri}, {"config.peer", peer}, {"workers", "2"}};
	const struct siphook_api *sip;
	struct siphook *s = NULL;

	if (openssl_first)
		OPENSSL_init_crypto(OPENSSL_INIT_ADD_ALL_DIGESTS, NULL);
	snprintf(uri, sizeof(uri), "udp://127.0.0.1:%u", port);
	snprintf(peer, sizeof(peer), "sip:phone@127.0.0.1:%u", phone_port);
	sip = load_object(argv[1]);
	MUST(sip->create(&s, &host, options, 4) == 0);
	MUST(sip->start(s, SIPHOOK_THREADS) == 0);
	set_up_call(caller, own, phone, phone_port, port);
	for (unsigned i = 0; i < BURST; i++)
		send_request(caller, own, port, "REGISTER", 10 + i,
			     "Authorization: Digest username=\"a\", realm=\"hosts\", nonce=\"n\", uri=\"sip:x\", "
			     "response=\"00000000000000000000000000000000\", algorithm=MD5\r\n");
	*exits = now_ms();
	exit(0);
}

int main(int argc, char **argv)
{
	int64_t *exits = mmap(NULL, sizeof(*exits), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	MUST(argc == 3 && exits != MAP_FAILED);
	for (int i = 0; i < ROUNDS; i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0)
			child(argv, i & 1, exits);
		MUST(pid > 0 && waitpid(pid, &status, 0) == pid);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			fprintf(stderr, "round %d: status %x\n", i, (unsigned)status);
		MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		MUST(now_ms() - *exits < LIMIT_MS);
	}
	return 0;
}
