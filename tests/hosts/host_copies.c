/* Two copies of the object in one process, as two adapters of different packages would load them, and hosts that try to get rid of one:
 * each copy has variables of its own, one path gives one table, and dlclose() changes nothing. */
#include "host.h"

#include <sys/sendfile.h>
#include <fcntl.h>

static void copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	off_t size = lseek(in, 0, SEEK_END);

	MUST(in >= 0 && out >= 0 && size > 0 && lseek(in, 0, SEEK_SET) == 0);
	while (size > 0) {
		ssize_t n = sendfile(out, in, NULL, (size_t)size);

		MUST(n > 0);
		size -= n;
	}
	close(in);
	close(out);
}

static struct siphook *serve(const struct siphook_api *sip, const char *script, unsigned port)
{
	struct siphook_host host = {.abi = SIPHOOK_ABI, .size = sizeof(host), .log = print_line};
	char uri[64];
	struct siphook_option options[] = {{"script", script}, {"listen", uri}};
	struct siphook *s = NULL;

	snprintf(uri, sizeof(uri), "udp://127.0.0.1:%u", port);
	MUST(sip->create(&s, &host, options, 2) == 0 && sip->start(s, SIPHOOK_THREADS) == 0);
	MUST(answers_options(port));
	return s;
}

int main(int argc, char **argv)
{
	char folder[] = "/tmp/siphook-host-XXXXXX", other_path[64];
	const struct siphook_api *one, *two;
	struct siphook *first, *second;
	unsigned port = free_port(), other_port = free_port();
	void *object;

	MUST(argc == 3 && mkdtemp(folder));
	snprintf(other_path, sizeof(other_path), "%s/siphook.so", folder);
	copy(argv[1], other_path);
	one = load_object(argv[1]);
	MUST(load_object(argv[1]) == one); /* a second load of the same file */
	two = load_object(other_path);
	MUST(two != one);
	first = serve(one, argv[2], port);
	second = serve(two, argv[2], other_port);

	object = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	MUST(object);
	for (int i = 0; i < 4; i++)
		dlclose(object); /* one for each dlopen(), and one too many */
	MUST(answers_options(port) && answers_options(other_port));
	one->destroy(first);
	MUST(answers_options(other_port));
	MUST(load_object(argv[1]) == one);
	first = serve(one, argv[2], port);
	two->destroy(second);
	MUST(answers_options(port));
	one->destroy(first);
	unlink(other_path);
	rmdir(folder);
	return 0;
}
