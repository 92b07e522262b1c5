/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_STORE_STORE_H
#define DR_STORE_STORE_H

#include "base/buf.h"
#include "store/connect.h"

/*
 * Redis: where the server is (a link, shared by a process's threads), a connection to it (a store,
 * one a thread), and the scripts, by which alone the campaign's state changes.
 */

#define DR_EPOCH_SIZE 48 /* bytes of an epoch as text, with the NUL */
/* "12"; with a random word, as external servers have it, "12-89abcdef01234567". */
void dr_epoch_text(uint64_t number, const char *word, char text[DR_EPOCH_SIZE]);
uint64_t dr_epoch_number(const char *text);

/* Where the server is. */
struct dr_endpoint {
	const struct dr_url *
		url; /* of a site's own server; lent for as long as the link lives. NULL: host and port */
	char *host;
	uint16_t port;
	char *password;
	char *prefix;   /* of every key */
	char *campaign; /* its random id, checked on every connection; NULL or "": none is known */
	char epoch[DR_EPOCH_SIZE]; /* a server of another epoch is refused; "": any */
};

/* Threads: all functions from all threads. */
struct dr_link;
struct dr_link *dr_link_new(void);
void dr_link_free(struct dr_link *link);
/* A new server, or NULL: none for the moment, callers wait. Wakes all waiters. Copies. */
void dr_link_set(struct dr_link *link, const struct dr_endpoint *endpoint);
/* From now on every call that would wait returns -ECANCELED. */
void dr_link_stop(struct dr_link *link);
/* From then on (dr_now_ns()) a call that would wait returns -ECANCELED; one that is answered still succeeds. */
void dr_link_stop_at(struct dr_link *link, uint64_t ns);
/* "": none so far, or any. */
void dr_link_epoch(struct dr_link *link, char text[DR_EPOCH_SIZE]);

/* Threads: one at a time. */
struct dr_store;
struct dr_store *dr_store_new(struct dr_link *link);
void dr_store_free(struct dr_store *store);
static inline void dr_store_freep(struct dr_store **store)
{
	dr_store_free(*store);
}

/* The socket of its connection, to be polled for its end: nothing is read from it between calls. -1: not connected */
int dr_store_fd(const struct dr_store *store);

/* The scripts, by their names in lua/. */
struct dr_script {
	const char *name;
	const char *text;
	char sha[41]; /* filled at first use, under the link's lock */
};

struct dr_arg {
	const void *bytes;
	size_t len;
};

/*
 * An argument list under construction. Numbers are formatted into the list's own memory.
 */
struct dr_args {
	struct dr_arg *v;
	size_t n, cap;
	char **owned;
	size_t n_owned, cap_owned;
};
void dr_args_fini(struct dr_args *args);
void dr_args_bytes(struct dr_args *args, const void *bytes, size_t len); /* lent until the call */
void dr_args_str(struct dr_args *args, const char *s);                   /* lent */
void dr_args_u64(struct dr_args *args, uint64_t v);
void dr_args_i64(struct dr_args *args, int64_t v);

/*
 * Runs a script; every script is idempotent, so it is sent again after a lost connection.
 * Waits for a server as long as it takes, unless the link is stopped (wait = true), or gives up at
 * the first failure (wait = false).
 * On success *ret_reply is the caller's (freeReplyObject), and is never of type error.
 * @error ECANCELED the link was stopped; ENOTCONN no server, EAGAIN it still loads its data, EACCES it refuses user, password or
 *        permission, ESTALE it is of another epoch or campaign (all with wait = false only); EPROTO the script failed
 *        (logged); ENODATA it says that the server holds no such campaign; ENOMEM the server is out of memory; EPROTONOSUPPORT TLS, which this build has not
 */
dr_nodiscard int dr_store_run(struct dr_store *store, struct dr_script *script,
	const struct dr_args *args, bool wait, redisReply **ret_reply);

static inline void dr_reply_freep(redisReply **reply)
{
	if (*reply) {
		freeReplyObject(*reply);
	}
	*reply = NULL;
}

/* Readers of replies that are arrays: 0 or "" when the element is missing or of another type. */
int64_t dr_reply_int(const redisReply *reply, size_t i);
const char *dr_reply_str(const redisReply *reply, size_t i, size_t *ret_len);

#endif
