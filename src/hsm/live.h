/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_LIVE_H
#define DR_HSM_LIVE_H

#include "hsm/reader.h"

/*
 * The actions that are live, as the events of streams tell: which there are of each (MDT, action, status), since when, and how they change.
 * An action is live from its NEW or UPDATE until its PURGED. It is known by MDT and index; a PURGED without an index, as other programs
 * make them, ends all live ones of its MDT and action_key.
 * Memory: about 100 bytes a live action, and nothing for what is past. Of different (MDT, action, status) there are at most 65,536, and
 * one more an MDT: what comes beyond is counted there, as action and status "other".
 * Threads: one at a time.
 */
struct dr_live;

struct dr_live *dr_live_new(void);
void dr_live_free(struct dr_live *live);

/* Takes what dr_reader_next() gave. @error ENOMEM */
dr_nodiscard int dr_live_take(struct dr_live *live, const struct dr_reader_event *event);

/* One (MDT, action, status). The texts are lent for the table's life; "N/A" where an event had none, cut where one is longer than 255 bytes. */
struct dr_live_group {
	const char *mdt, *action, *status;
	uint64_t count;
	int64_t oldest_s; /* when the oldest of them was first seen, seconds since 1970; 0: none */
	uint64_t
		stalled; /* of them, waiting or started and unchanged since before `stalled_before_s` */
};

/* Of the live ones, and counts since the start, of events in the streams as they were read. */
struct dr_live_totals {
	uint64_t live;
	uint64_t events;                      /* NEW, UPDATE, PURGED */
	uint64_t begun;                       /* NEW of what was not live */
	uint64_t succeeded, failed, canceled; /* actions that came into that state */
	uint64_t purged;                      /* PURGED */
	int64_t oldest_s;                     /* of all live ones; 0: none */
	uint64_t last_event_ms;               /* id of the newest event; 0: none */
};

/* Sorted by MDT, action, status; groups that are empty are left out. The caller frees *ret_groups. */
void dr_live_groups(struct dr_live *live, int64_t stalled_before_s,
	struct dr_live_group **ret_groups, size_t *ret_n);
void dr_live_totals(struct dr_live *live, struct dr_live_totals *ret_totals);

/* One live action, as the longest stalled are shown. */
struct dr_live_action {
	const char *mdt, *action, *status;
	uint64_t cat, rec;
	int64_t first_s, changed_s; /* seconds since 1970 */
	char fid[64];               /* as the event had it, cut off; "" none */
};
/* Whether actions of that group are wanted; called once a group. */
typedef bool dr_live_want_fn(void *ctx, const char *mdt, const char *action, const char *status);

/*
 * Those waiting or started that have not changed since before `before_s`: the n that have not for the longest time go to `actions`, the
 * longest first. The texts are lent for the table's life.
 * @param want NULL: all are wanted
 * @return how many there are, which may be more than n
 */
size_t dr_live_stalled(struct dr_live *live, int64_t before_s, dr_live_want_fn *want, void *ctx,
	struct dr_live_action *actions, size_t n);

#endif
