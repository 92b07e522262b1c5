/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_SHIPPER_H
#define DR_HSM_SHIPPER_H

#include "hsm/config.h"
#include "hsm/ship.h"

/*
 * All MDTs of this server: polls, maintenance, and the cache file.
 * Threads: one polls (dr_shipper_poll()), one maintains (dr_shipper_replay(), dr_shipper_trim()), each with a connection of its own;
 * an MDT's state is locked while it is polled, and for moments by maintenance. dr_shipper_cancel(), dr_shipper_save() from any.
 */
struct dr_shipper;

/* Config is lent for the shipper's life. Reads the cache; one that is missing, torn or of another version costs a replay of the streams. */
dr_nodiscard int dr_shipper_new(
	const struct dr_hsm_config *config, struct dr_shipper **ret_shipper, char **ret_message);
void dr_shipper_free(struct dr_shipper *shipper);
/* From now on everything fails with -ECANCELED, and what waits for the server does so at once. */
void dr_shipper_cancel(struct dr_shipper *shipper);

/* What a poll came to; also on an error, up to there. */
struct dr_poll {
	size_t n_mdts;    /* whose files are here */
	size_t n_missing; /* known, but their files are not here */
	uint64_t n_live, n_lines, n_bad, n_new, n_update, n_purged;
};

/*
 * Reads every file once and ships what changed. The cache is saved when enough did.
 * An MDT whose file cannot be read, or whose key is no stream, is logged and passed over.
 * @error those of dr_feed_add() that concern the server
 */
dr_nodiscard int dr_shipper_poll(struct dr_shipper *shipper, struct dr_poll *ret_poll);

/*
 * The first half of maintenance, for all MDTs whose files are here: replays each stream and takes the replay for the state. Where it differs from what was
 * known, the stream was changed by others; the next poll puts it right.
 * @return how many actions differ
 */
dr_nodiscard int64_t dr_shipper_replay(struct dr_shipper *shipper);
/*
 * The second half, after a poll: trims each stream to its oldest live action, or to nothing.
 * @return how many entries were removed
 */
dr_nodiscard int64_t dr_shipper_trim(struct dr_shipper *shipper);

/*
 * Writes the cache if anything was shipped since the last time, waiting at most wait_ms for the states to be at rest.
 * @error ETIMEDOUT; those of dr_known_save()
 */
dr_nodiscard int dr_shipper_save(struct dr_shipper *shipper, unsigned wait_ms);

/* When anything went on last (dr_now_ns()): a shipper whose beat is old is stuck. */
uint64_t dr_shipper_beat(const struct dr_shipper *shipper);

#endif
