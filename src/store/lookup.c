/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/lookup.h"

#include "base/buf.h"
#include "store/wait.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

/* What the thread says through the pipe. */
struct answer {
	int error; /* of getaddrinfo() */
	struct dr_addresses addresses;
};

/* The thread owns it. */
struct lookup {
	int fd; /* a pipe, for the answer */
	char host[];
};

/* IPv4 before IPv6, as hiredis has it. */
static struct answer resolve(const char *host)
{
	static const int families[] = { AF_INET, AF_INET6 };
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct answer answer = { 0 };
	struct dr_addresses *found = &answer.addresses;
	struct addrinfo *list = NULL;

	answer.error = getaddrinfo(host, NULL, &hints, &list);
	if (answer.error) {
		return answer;
	}
	for (size_t i = 0; i < 2; i++) {
		for (struct addrinfo *a = list; a && found->n < DR_LOOKUP_MAX; a = a->ai_next) {
			if (a->ai_family == families[i] &&
				getnameinfo(a->ai_addr, a->ai_addrlen, found->text[found->n],
					sizeof(found->text[0]), NULL, 0, NI_NUMERICHOST) == 0) {
				found->n++;
			}
		}
	}
	freeaddrinfo(list);
	answer.error = found->n ? 0 : EAI_NONAME;
	return answer;
}

static void *lookup_main(void *arg)
{
	struct lookup *lookup = arg;
	const struct answer answer = resolve(lookup->host);

	/* So few bytes are written at once or, when the asker has left, not at all. */
	if (write(lookup->fd, &answer, sizeof(answer)) < 0) {
		/* Nobody to tell. */
	}
	(void)close(lookup->fd);
	free(lookup);
	return NULL;
}

/* The thread takes no signals, and nobody waits for its end. The descriptor is its own if it starts. */
static int lookup_start(const char *host, int fd)
{
	size_t size = strlen(host) + 1;
	struct lookup *lookup = dr_xcalloc(1, sizeof(*lookup) + size);
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;

	lookup->fd = fd;
	memcpy(lookup->host, host, size);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, (size_t)512 * 1024);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&thread, &attr, lookup_main, lookup);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	if (error) {
		free(lookup);
	}
	return -error;
}

static bool is_address(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

int dr_lookup(const char *host, unsigned ms, struct dr_addresses *ret_addresses, char **ret_message)
{
	struct answer answer = { 0 };
	uint64_t until_ns = dr_now_ns() + (uint64_t)ms * 1000000u;
	int ends[2] = { -EBADF, -EBADF };

	if (is_address(host)) {
		ret_addresses->n = 1;
		(void)snprintf(ret_addresses->text[0], sizeof(ret_addresses->text[0]), "%s", host);
		return 0;
	}
	int r = pipe2(ends, O_CLOEXEC) < 0 ? -errno : lookup_start(host, ends[1]);
	int read_end dr_cleanup(dr_fd_closep) = ends[0];

	if (r < 0) {
		dr_fd_closep(&ends[1]);
		*ret_message =
			dr_xasprintf("'%s' cannot be looked up: %s", host, strerrordesc_np(-r));
		return r;
	}
	if (dr_wait_fd(read_end, POLLIN, until_ns) < 0 ||
		read(read_end, &answer, sizeof(answer)) != (ssize_t)sizeof(answer)) {
		*ret_message = dr_xasprintf("looking up '%s' takes longer than %u ms", host, ms);
		return -ETIMEDOUT;
	}
	if (answer.error) {
		*ret_message =
			dr_xasprintf("looking up '%s': %s", host, gai_strerror(answer.error));
		return -ENOENT;
	}
	*ret_addresses = answer.addresses;
	return 0;
}
