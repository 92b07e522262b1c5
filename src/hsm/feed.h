/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_FEED_H
#define DR_HSM_FEED_H

#include "hsm/known.h"
#include "store/url.h"

/*
 * The shipper's side of a stream: one connection; reading what is new in a stream, adding to it, trimming it.
 * Every function connects when there is no connection; a failure closes it.
 * Threads: one at a time, but dr_feed_cancel() from any.
 * @error of all: ENOTCONN, EAGAIN, EACCES, EPROTO as dr_connect(), or the connection was lost in the middle; ENOMEM; ECANCELED;
 *        EMEDIUMTYPE the key is no stream; ENOSPC the server's memory is full; EROFS it takes no writes
 */
struct dr_feed;

/* The URL is lent for the stream's life. `beat` is called before every command, so that others see that it is not stuck; may be NULL. */
struct dr_feed *dr_feed_new(const struct dr_url *url, void (*beat)(void *arg), void *arg);
void dr_feed_free(struct dr_feed *feed);
/* From now on every call fails with -ECANCELED; one that waits for an answer does so at once. */
void dr_feed_cancel(struct dr_feed *feed);
bool dr_feed_is_connected(const struct dr_feed *feed);

/*
 * Brings `known` up to the stream's last entry. It reads what comes behind known->last; when that entry is not in the stream
 * any more, because the stream was trimmed, deleted or lost, the whole stream.
 * @return how many entries were applied
 */
dr_nodiscard int64_t dr_feed_catch_up(
	struct dr_feed *feed, const char *key, struct dr_known *known);

/*
 * Adds n events, JSON, all or none, if the stream's last entry is still `last`. ret_ids gets their ids.
 * @error ESTALE its last entry is another: catch up first
 */
dr_nodiscard int dr_feed_add(struct dr_feed *feed, const char *key, struct dr_entry_id last,
	const struct dr_span *events, size_t n, struct dr_entry_id *ret_ids);

/*
 * Removes entries older than `keep`, at most `chunk` in one command, so that the server is never held up. With is_approximate whole
 * nodes of the stream alone, which is faster.
 * @return how many entries
 */
dr_nodiscard int64_t dr_feed_trim(struct dr_feed *feed, const char *key, struct dr_entry_id keep,
	uint64_t chunk, bool is_approximate);

#endif
