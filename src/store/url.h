/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_STORE_URL_H
#define DR_STORE_URL_H

#include "base/buf.h"

/*
 * Where a site's own Redis or Valkey is (redis_url in drover.conf):
 *   redis://[user[:password]@]host[:port][/db]      port 6379; ":password@" is the default user's
 *   rediss://...                                    the same over TLS
 *   unix://[user[:password]@]/path[?db=N]           a path of at most 106 bytes
 *   sentinel://[user[:password]@]host[:port][,host[:port]].../name[?db=N]   port 26379; name of the master set
 * User, password, path and name may hold %HH; '#', DEL and bytes up to the space must be written so. An IPv6 address
 * stands in brackets. The word of redis://word@host is a user, whose password comes from elsewhere (redis-cli takes it for
 * a password: who has none for it should refuse such a URL).
 */
enum dr_url_kind { DR_URL_TCP, DR_URL_TLS, DR_URL_UNIX, DR_URL_SENTINEL };

struct dr_url_host {
	char *name;
	uint16_t port;
};

struct dr_url {
	enum dr_url_kind kind;
	char *user;     /* ACL user; NULL: the default one */
	char *password; /* NULL: none */
	struct dr_url_host *hosts;
	size_t n_hosts; /* TCP, TLS: one; unix: none */
	char *path;     /* unix: of the socket */
	char *name;     /* sentinel: of the master set */
	unsigned db;
	/* What no URL says; NULL or false: none. Set by the caller, freed by dr_url_fini(). */
	char *sentinel_password;
	char *tls_ca, *tls_cert, *tls_key; /* files, PEM; no tls_ca: the system's */
	bool quiet; /* nobody there is no news: not logged; its caller starts the server itself */
};

/*
 * On an error *ret_message (malloc'ed, one line) says what is wrong, and never holds a password.
 * @error EINVAL
 */
dr_nodiscard int dr_url_parse(const char *text, struct dr_url *ret_url, char **ret_message);
void dr_url_fini(struct dr_url *url);
/* For people and logs: without user and password. malloc'ed */
char *dr_url_show(const struct dr_url *url);

#endif
