/* Who has which port. The workers of a net share a port with SO_REUSEPORT, but that option alone would also let us
 * join the port of a second copy of ourselves, and each would get half of the calls. So the first socket of an address
 * is bound without it, which fails if anybody else is there, and becomes sharable afterwards: the kernel looks at the
 * option of the socket that is there when the next one is bound. A probe that is closed again would leave a gap. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/alloc.h"
#include "drivers/net/net_impl.h"

struct net_port {
	struct sh_link link; /* sh_net.ports */
	int type;
	struct sh_addr addr;
	uint8_t holders[SH_NET_MAX_WORKERS]; /* the workers, in the order in which the kernel counts their sockets */
	unsigned count;
};

struct net_inherited {
	struct sh_link link; /* sh_net.inherited */
	int fd, type;
	struct sh_addr addr;
};

void net_set(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

int net_local_addr(int fd, struct sh_addr *out)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	sh_addr_from_sockaddr(out, (struct sockaddr *)&sa);
	return 0;
}

int net_socket(const struct sh_addr *local, int type)
{
	int family = local->family == 4 ? AF_INET : local->family == 6 ? AF_INET6 : AF_UNSPEC;
	int fd;

	if (family == AF_UNSPEC)
		return -EAFNOSUPPORT;
	fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (family == AF_INET6) /* an address has one form, and "::" leaves room for "0.0.0.0" */
		net_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	return fd;
}

static struct net_port *find(const struct sh_net *n, int type, const struct sh_addr *addr)
{
	SH_LIST_EACH(l, &n->ports)
	{
		struct net_port *p = SH_CONTAINER(l, struct net_port, link);
		if (p->type == type && sh_addr_eq(&p->addr, addr))
			return p;
	}
	return NULL;
}

static int bind_socket(int fd, const struct sh_addr *local, struct sh_addr *bound)
{
	struct sockaddr_storage sa;
	socklen_t len = sh_addr_to_sockaddr(local, &sa);

	if (bind(fd, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	return net_local_addr(fd, bound);
}

static void hold(struct net_port *p, unsigned worker)
{
	p->holders[p->count++] = (uint8_t)worker;
}

static bool holds(const struct net_port *p, unsigned worker)
{
	return memchr(p->holders, (int)worker, p->count) != NULL;
}

/* The kernel closes a gap with the last one. */
static void let_go(struct net_port *p, unsigned worker)
{
	uint8_t *at = memchr(p->holders, (int)worker, p->count);

	*at = p->holders[--p->count];
}

static int bind_first(struct net_worker *w, int fd, int type, const struct sh_addr *local, struct net_port **port,
		      struct sh_addr *bound)
{
	struct net_port *p = sh_calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	err = bind_socket(fd, local, bound);
	if (err) {
		sh_free(p);
		return err;
	}
	net_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	p->type = type;
	p->addr = *bound;
	hold(p, w->env.worker);
	sh_list_append(&w->net->ports, &p->link);
	*port = p;
	return 0;
}

static int bind_shared(struct net_worker *w, int fd, struct net_port *p, struct sh_addr *bound)
{
	int err;

	if (holds(p, w->env.worker))
		return -EADDRINUSE;
	net_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	err = bind_socket(fd, &p->addr, bound);
	if (!err)
		hold(p, w->env.worker);
	return err;
}

int net_bind(struct net_worker *w, int fd, int type, const struct sh_addr *local, struct net_port **port,
	     struct sh_addr *bound)
{
	struct net_port *p;
	int err;

	*port = NULL;
	if (w->net->count == 1)
		return bind_socket(fd, local, bound);
	pthread_mutex_lock(&w->net->lock);
	p = find(w->net, type, local);
	if (p)
		err = bind_shared(w, fd, p, bound);
	else
		err = bind_first(w, fd, type, local, &p, bound);
	if (!err)
		*port = p;
	if (!err && type == SOCK_DGRAM && p->count == w->net->count)
		net_steer(w->net, fd, p->holders, p->count);
	pthread_mutex_unlock(&w->net->lock);
	return err;
}

void net_unbind(struct net_worker *w, struct net_port *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&w->net->lock);
	let_go(p, w->env.worker);
	if (p->count == 0) {
		sh_list_remove(&p->link);
		sh_free(p);
	}
	pthread_mutex_unlock(&w->net->lock);
}

/* ---- sockets that somebody else has bound ---- */

int sh_net_inherit(struct sh_net *n, int fd)
{
	struct net_inherited *i;
	int type, listens = 0, flags = fcntl(fd, F_GETFL);
	socklen_t len = sizeof(type);

	if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return errno == ENOTSOCK ? -EINVAL : -errno;
	len = sizeof(listens);
	if (type == SOCK_STREAM && (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens))
		return -EINVAL;
	if (type != SOCK_STREAM && type != SOCK_DGRAM)
		return -EINVAL;
	i = sh_calloc(1, sizeof(*i));
	if (!i)
		return -ENOMEM;
	i->type = type;
	i->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (i->fd < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || net_local_addr(fd, &i->addr) < 0 || !i->addr.family) {
		int err = errno ? -errno : -EINVAL;

		if (i->fd >= 0)
			close(i->fd);
		sh_free(i);
		return err;
	}
	sh_list_append(&n->inherited, &i->link);
	return 0;
}

static unsigned count_inherited(const struct sh_net *n, int type, const struct sh_addr *local)
{
	unsigned count = 0;

	SH_LIST_EACH(l, &n->inherited)
	{
		const struct net_inherited *i = SH_CONTAINER(l, struct net_inherited, link);

		count += i->type == type && sh_addr_eq(&i->addr, local);
	}
	return count;
}

bool net_inherited_by_several(const struct net_worker *w, int type, const struct sh_addr *local)
{
	unsigned count = count_inherited(w->net, type, local);

	return count > 0 && count < w->net->count;
}

/* There may be several for one address, of the workers of another process: all must be read. */
int net_inherited(struct net_worker *w, int type, const struct sh_addr *local, unsigned nth, struct sh_addr *bound)
{
	unsigned count = count_inherited(w->net, type, local), wanted = w->env.worker + nth * w->net->count;
	int fd;

	if (nth == 0 && count)
		wanted %= count; /* more workers than sockets */
	SH_LIST_EACH(l, &w->net->inherited)
	{
		const struct net_inherited *i = SH_CONTAINER(l, struct net_inherited, link);

		if (i->type != type || !sh_addr_eq(&i->addr, local) || wanted-- > 0)
			continue;
		*bound = i->addr;
		fd = fcntl(i->fd, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? -errno : fd;
	}
	return -ENOENT;
}

void net_inherited_finish(struct sh_net *n)
{
	for (struct sh_link *l; (l = sh_list_pop(&n->inherited)) != NULL;) {
		struct net_inherited *i = SH_CONTAINER(l, struct net_inherited, link);

		close(i->fd);
		sh_free(i);
	}
}
