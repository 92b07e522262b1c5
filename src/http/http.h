/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HTTP_HTTP_H
#define DR_HTTP_HTTP_H

#include "base/prelude.h"

/*
 * A read-only status server: one thread, GET and HEAD only, every answer made by one callback.
 */
struct dr_http;

/*
 * Makes the answer to a path (without its query). accept is the request's Accept header, or "".
 * Sets *ret_body (malloc'ed text) and *ret_type (constant). Called in the server's thread.
 * @return the status: 200, 404, 503
 */
typedef unsigned dr_http_fn(
	void *ctx, const char *path, const char *accept, char **ret_body, const char **ret_type);

/* @error EADDRINUSE, EADDRNOTAVAIL, EINVAL the address is no number */
dr_nodiscard int dr_http_start(
	const char *address, uint16_t port, dr_http_fn *fn, void *ctx, struct dr_http **ret_http);
void dr_http_stop(struct dr_http *http); /* takes NULL; no callback runs afterwards */

#endif
