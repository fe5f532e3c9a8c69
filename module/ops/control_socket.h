/* The path of the control socket: taken without ever taking it from somebody else (but a process that we succeed), given back only
 * while it is ours.
 *
 *  - The socket has mode 0600 before anybody can connect.
 *  - What stands at the path is removed only if it is a socket of our user that refuses connections (its owner died).
 *  - A lock on the directory keeps two starting processes from judging the same dead socket at once.
 *  - $XDG_RUNTIME_DIR/... and /run/siphook are made (mode 0700) when missing, no other directory. */
#ifndef SH_OPS_CONTROL_SOCKET_H
#define SH_OPS_CONTROL_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct sh_control_socket {
	int fd; /* listening, non-blocking, close-on-exec */
	char *path;
	dev_t dev;
	ino_t ino;
};

/* 0 or -errno with "control socket PATH: reason" in `error`. -EADDRINUSE: a living process serves it. succeed: then it is taken
 * over, without a moment in which there is none; the other one keeps its connections. */
int sh_control_socket_open(struct sh_control_socket *s, const char *path, bool succeed, char *error, size_t size);

/* Removes the path if it still is this socket. May be called twice. */
void sh_control_socket_unlink(struct sh_control_socket *s);

/* Unlinks and closes. */
void sh_control_socket_close(struct sh_control_socket *s);

/* Whether the process behind a connection may give orders: our user or root. */
bool sh_control_socket_trusts(int fd);

#endif
