/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_STORE_LOOKUP_H
#define DR_STORE_LOOKUP_H

#include "base/prelude.h"

#define DR_LOOKUP_MAX 4 /* addresses of a name: more are left out */

struct dr_addresses {
	size_t n;                     /* at least 1 */
	char text[DR_LOOKUP_MAX][64]; /* numeric; IPv4 before IPv6 */
};

/*
 * The addresses of a host's name; of an address, itself. Takes at most ms, which getaddrinfo() cannot promise: it runs
 * in a thread of its own, which takes no signals and, when it takes longer, is left behind with all that it owns. How
 * many are left so is bounded only by how often callers try.
 * On an error *ret_message (malloc'ed, one line) says what is wrong.
 * Threads: from all threads.
 * @error ETIMEDOUT; ENOENT the name service knows no addresses, or cannot say; others of pipe2 and pthread_create
 */
dr_nodiscard int dr_lookup(
	const char *host, unsigned ms, struct dr_addresses *ret_addresses, char **ret_message);

#endif
