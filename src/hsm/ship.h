/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_SHIP_H
#define DR_HSM_SHIP_H

#include "hsm/feed.h"
#include "hsm/known.h"

/*
 * One MDT, one poll: what its actions file says against what its stream says, and the difference into the stream.
 *
 *   catch up -> read the file: each line is known as it is, new, changed, or its index holds another request now
 *            -> what was known and not seen is gone, if the file did not change meanwhile
 *            -> ship: PURGED first, then NEW and UPDATE in the order of the file; apply each batch once the server has taken it
 *
 * PURGED comes first because other programs know an action by FID and action alone, and a repeated request has the same. Past
 * DR_SHIP_MAX_BYTES of events, what was collected is shipped at once, so that memory stays bounded.
 */
#define DR_SHIP_MAX_BYTES (16u << 20)

struct dr_ship_counts {
	uint64_t n_lines, n_bad; /* of the file */
	uint64_t n_new, n_update, n_purged;
	uint64_t n_read; /* entries of the stream that others made, or that were replayed */
	int file_error;  /* a negative errno: the file could not be read to its end */
	bool is_stable; /* the file was read whole, and did not change meanwhile; else nothing was purged */
};

/*
 * @param key      of the stream
 * @param mdt      its name, as events have it
 * @param path     of the actions file; NULL: there is none, and all its actions are to be purged
 * @param now_s    seconds since 1970, for events
 * @param ret_counts filled also on an error, with what was shipped before it
 * @error those of dr_feed_add(); EAGAIN also: others kept writing to the stream. What was not shipped is found again by the next call
 */
dr_nodiscard int dr_ship_mdt(struct dr_feed *feed, const char *key, const char *mdt,
	const char *path, int64_t now_s, struct dr_known *known, struct dr_ship_counts *ret_counts);

#endif
