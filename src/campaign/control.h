/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_CONTROL_H
#define DR_CAMPAIGN_CONTROL_H

#include "campaign/leadership.h"
#include "store/store.h"

/*
 * The campaign as a whole: its state, its status, and commands to it. Each call is one script, hence
 * one atomic step. Used by the daemon's control loop and by the command line.
 */

/* Names of states, as status shows them. */
#define DR_STATE_CREATED "created"
#define DR_STATE_RUNNING "running"
#define DR_STATE_PAUSED "paused"
#define DR_STATE_COMPLETED "completed"
#define DR_STATE_LEFTOVERS "completed_with_leftovers"
#define DR_STATE_DRY_RUN "dry_run_completed"
#define DR_STATE_FAILED "failed"
#define DR_STATE_REOPENED "reopened" /* a retry was asked for; the next daemon does it */

bool dr_state_is_final(const char *state);

/*
 * The status of a campaign as one JSON object, from one atomic snapshot:
 * campaign kind state reason leader epoch dry_run round osts paths[] created_ms started_ms finished_ms elapsed_seconds
 * workers[]{id host pid threads{scan move} in_flight_bytes others_in_flight_bytes current[]{worker path}}
 * progress{discovered succeeded unneeded skipped failed gone pending in_progress bytes_succeeded bytes_discovered bytes_done,
 *          busy changed refused no_space failed_other new}
 * list{candidates looked_at on_sources gone excluded below_paths}: of the first scan, null without a list
 * scan{pending active entries directories errors error_list[] residue residue_list[]} rates{files_per_sec bytes_per_sec scanned_per_sec} eta_seconds (null: unknown)
 * retries{scheduled next_seconds} memory{used_bytes max_bytes}
 * sources[]{ost files_moved bytes_moved files_appeared closing{command state_shows_it ended_ms result last_line}} (closing.h)
 * reasons[]{class step error files}
 * and of a clone: from to passes[] stage stage_number stages[], and in progress: linked (names that the links stage took up) dirs_made unchanged filtered corrected deleted would_delete target_entries
 *   differences
 */
dr_nodiscard int dr_control_status(
	struct dr_store *store, const struct dr_spec *spec, json_t **ret_status);

/* @error EALREADY it is in that state; EPERM the campaign is over (leave a request instead) */
dr_nodiscard int dr_control_pause(struct dr_store *store, const char *reason);
dr_nodiscard int dr_control_resume(struct dr_store *store);
/* Gives the campaign up: nothing can be done, and the reason says why. */
dr_nodiscard int dr_control_fail(struct dr_store *store, const char *reason);
/* The prefix of the campaign's keys, malloc'ed. */
char *dr_control_prefix(const struct dr_spec *spec);
/* Starts a campaign that was never started: puts its scan paths and its list into the queue. */
dr_nodiscard int dr_control_prime(struct dr_store *store, const struct dr_spec *spec, bool dry_run);
/* Forgets all counts and jobs, and begins with the scan paths and the list again. What workers hold is refused at their next settle. */
dr_nodiscard int dr_control_reprime(struct dr_store *store, const struct dr_spec *spec);
/* The scan paths and the list as frontiers of a round, appended to the arguments; free with dr_control_free_frontiers() after the call. */
void dr_control_put_frontiers(
	const struct dr_spec *spec, uint64_t round, struct dr_args *args, struct dr_buf **ret_bufs);
void dr_control_free_frontiers(const struct dr_spec *spec, struct dr_buf *bufs);

/*
 * Puts leftovers back into the move queue: those of the classes named ("busy,changed" or "refused,no_space,failed").
 * reopen: also when the campaign is over (for the next leader only).
 * @return 0, *ret_files is how many. @error EPERM the campaign is over
 */
dr_nodiscard int dr_control_retry(
	struct dr_store *store, const char *classes, bool reopen, uint64_t *ret_files);

/*
 * Calls fn for every leftover: a JSON object {path class step error errno size fid osts[]}. fn does not keep it.
 * max: no more than so many.
 */
typedef int dr_leftover_fn(void *ctx, const json_t *leftover);
dr_nodiscard int dr_control_leftovers(struct dr_store *store, const struct dr_spec *spec,
	uint64_t max, dr_leftover_fn *fn, void *ctx);

/*
 * Connects to the running campaign's server for commands. @error ENOTCONN no leader answers; EACCES its secret, or a
 * password, is refused to us; ENOENT the site's own server does not have the campaign
 */
dr_nodiscard int dr_control_connect(
	const struct dr_folder *folder, const struct dr_spec *spec, struct dr_store **ret_store);

/*
 * The status from wherever it can be had: the server; else status.json (with "live": false); else, before
 * any daemon ran, the spec with state "created". A request for a retry left in the folder shows as "reopened".
 */
dr_nodiscard int dr_control_status_any(const struct dr_folder *folder, json_t **ret_status);

#endif
