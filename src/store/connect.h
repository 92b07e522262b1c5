/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_STORE_CONNECT_H
#define DR_STORE_CONNECT_H

#include "store/url.h"

#include <hiredis/hiredis.h>

/*
 * One connection to the server that the URL names, ready for commands: found through its sentinels where it has some,
 * encrypted, authenticated, its database selected, its socket closed on exec.
 * Every step is bounded by connect_ms: a name's lookup, TLS, each command. Each address of a name (at most 4) is a step,
 * and each sentinel has steps of its own, so the whole may take a multiple. The finished connection's commands are bounded
 * by command_ms.
 * With sentinels, a server that does not call itself a master is refused (ENOTCONN): it has just been one.
 * What is wrong is logged, without the password; EAGAIN, and ENOTCONN of a quiet URL, at debug level only;
 * EPROTONOSUPPORT is not.
 * Threads: all functions from all threads. Callers ignore SIGPIPE.
 * @error ENOTCONN nobody there, or not yet ready; EAGAIN it still loads its data; EACCES user, password or a permission
 *        is refused, a socket file may not be opened, or the server refuses TLS with this host (an alert); EPROTO it is
 *        no such server or a Redis Cluster, its certificate will not do, or it has no such database; ENOENT a TLS file
 *        cannot be used; EPROTONOSUPPORT TLS, and this build has none
 */
dr_nodiscard int dr_connect(const struct dr_url *url, unsigned connect_ms, unsigned command_ms,
	redisContext **ret_redis);
/* The same for commands: on an error *ret_why (malloc'ed, one line, no password) says it, and nothing is logged. */
dr_nodiscard int dr_connect_or_say(const struct dr_url *url, unsigned connect_ms,
	unsigned command_ms, redisContext **ret_redis, char **ret_why);

/* Whether this build has TLS. */
bool dr_connect_has_tls(void);

#endif
