/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_STORE_TLS_H
#define DR_STORE_TLS_H

#include "store/url.h"

#include <hiredis/hiredis.h>

/*
 * TLS for connections of hiredis, where this build has it. On an error *ret_message (malloc'ed, one line) says what is
 * wrong.
 * Threads: all functions from all threads; a connection is one thread's.
 */

/* Whether this build has it. */
bool dr_tls_is_there(void);

/*
 * Encrypts a connection on which nothing was said so far. The server must show a certificate for the URL's host, of a CA
 * that the URL trusts. ms: of the handshake as a whole. After an error the connection is fit for redisFree() only.
 * Callers ignore SIGPIPE.
 * @error ENOTCONN it hangs up or takes longer; EACCES it refuses TLS with this host (an alert); EPROTO it speaks no TLS,
 *        or its certificate will not do; ENOENT a TLS file cannot be used; EPROTONOSUPPORT this build has no TLS
 */
dr_nodiscard int dr_tls_start(
	redisContext *redis, const struct dr_url *url, unsigned ms, char **ret_message);

/*
 * What OpenSSL knows of the failure that hiredis has just told of, in this thread.
 * @return 0 nothing: there is no message. @error ENOTCONN, EACCES, EPROTO as above
 */
dr_nodiscard int dr_tls_explain(char **ret_message);

#endif
