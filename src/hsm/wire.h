/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_WIRE_H
#define DR_HSM_WIRE_H

#include "base/buf.h"
#include "store/url.h"

#include <hiredis/hiredis.h>

/*
 * A connection whose every wait can be cut short by another thread or a signal handler, which hiredis' own cannot.
 * Threads: one at a time, but dr_wire_stop() from any thread and from signal handlers.
 */
struct dr_wire {
	redisContext *redis; /* NULL: not connected */
	bool is_stopped;     /* atomic */
};

#define DR_WIRE_SLICE_MS 200u /* the longest that a stop goes unseen */

static inline bool dr_wire_is_stopped(const struct dr_wire *wire)
{
	return __atomic_load_n(&wire->is_stopped, __ATOMIC_RELAXED);
}

static inline void dr_wire_stop(struct dr_wire *wire)
{
	__atomic_store_n(&wire->is_stopped, true, __ATOMIC_RELAXED);
}

/* Sleeps until then (dr_now_ns()), a stop, or a signal. */
void dr_wire_nap(const struct dr_wire *wire, uint64_t until_ns);

/* @error ENOTCONN, EAGAIN, EACCES, EPROTO as dr_connect(), which logs what is wrong; ECANCELED stopped */
dr_nodiscard int dr_wire_connect(struct dr_wire *wire, const struct dr_url *url);
void dr_wire_close(struct dr_wire *wire);

/* Puts a command in the queue of what is to be sent. lens NULL: words are C strings. @error ENOTCONN */
dr_nodiscard int dr_wire_put(
	struct dr_wire *wire, int n_words, const char **words, const size_t *lens);
/*
 * Sends what is queued and reads the next reply, as the parser's functions make it. An error closes the connection, and is logged.
 * @error ENOTCONN the connection broke, or nothing came for 10 s; EPROTO that is no reply; ECANCELED stopped
 */
dr_nodiscard int dr_wire_get(struct dr_wire *wire, void **ret_reply);

/* What a reply of type error means: EAGAIN, EACCES, ENOTCONN or EPROTO, as dr_connect(). */
int dr_wire_error(const char *text);

#endif
