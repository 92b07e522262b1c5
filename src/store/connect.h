/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_STORE_CONNECT_H
#define DR_STORE_CONNECT_H

#include "store/url.h"

#include <hiredis/hiredis.h>

/*
 * One connection to the server that the URL names, ready for commands: found through its sentinels where it has some,
 * encrypted, authenticated, its database selected, its socket closed on exec. Every step is bounded by
 * connect_ms; the finished connection's commands by command_ms.
 * With sentinels, a server that does not call itself a master is refused (ENOTCONN): it has just been one.
 * Threads: all functions from all threads.
 * @error ENOTCONN nobody there, or not yet ready; EACCES user, password or a permission is refused (logged, without the
 *        password); EPROTONOSUPPORT TLS, and this build has none; EPROTO it is no such server, or a Redis Cluster (logged);
 *        ENOENT a TLS file cannot be read (logged)
 */
dr_nodiscard int dr_connect(
	const struct dr_url *url, unsigned connect_ms, unsigned command_ms, redisContext **ret_redis);

/* Whether this build has TLS. */
bool dr_connect_has_tls(void);

#endif
