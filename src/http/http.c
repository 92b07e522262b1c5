/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "http/http.h"

#include "base/buf.h"

#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* The handler's result was an int until 0.9.71. */
#if MHD_VERSION >= 0x00097002
typedef enum MHD_Result mhd_result;
#else
typedef int mhd_result;
#endif

struct dr_http {
	struct MHD_Daemon *mhd;
	dr_http_fn *fn;
	void *ctx;
};

static mhd_result answer(
	struct MHD_Connection *connection, unsigned status, char *body, const char *type)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_FREE);

	if (!response) {
		free(body);
		return MHD_NO;
	}
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	mhd_result r = MHD_queue_response(connection, status, response);

	MHD_destroy_response(response);
	return r;
}

static mhd_result handle(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_size,
	void **state)
{
	struct dr_http *http = cls;
	char *body = NULL;
	const char *type = "text/plain; charset=utf-8";

	(void)version;
	(void)upload;
	(void)upload_size;
	(void)state;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
			dr_xstrdup("only GET and HEAD\n"), type);
	}
	const char *accept =
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	unsigned status = http->fn(http->ctx, url, accept ? accept : "", &body, &type);

	return answer(connection, status, body ? body : dr_xstrdup(""), type);
}

int dr_http_start(
	const char *address, uint16_t port, dr_http_fn *fn, void *ctx, struct dr_http **ret_http)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM };
	struct addrinfo *info = NULL;
	char service[8];

	(void)snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(address, service, &hints, &info) != 0) {
		return -EINVAL;
	}
	struct dr_http *http = dr_xcalloc(1, sizeof(*http));
	unsigned flags =
		MHD_USE_INTERNAL_POLLING_THREAD | (info->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0);

	http->fn = fn;
	http->ctx = ctx;
	errno = 0;
	http->mhd = MHD_start_daemon(flags, port, NULL, NULL, handle, http, MHD_OPTION_SOCK_ADDR,
		info->ai_addr, MHD_OPTION_CONNECTION_LIMIT, 64u, MHD_OPTION_CONNECTION_TIMEOUT, 10u,
		MHD_OPTION_END);
	freeaddrinfo(info);
	if (!http->mhd) {
		int r = errno ? -errno : -EADDRINUSE;

		free(http);
		return r;
	}
	*ret_http = http;
	return 0;
}

void dr_http_stop(struct dr_http *http)
{
	if (http) {
		MHD_stop_daemon(http->mhd);
		free(http);
	}
}
