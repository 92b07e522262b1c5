/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_TARGET_H
#define DR_WORK_TARGET_H

#include "campaign/outcome.h"
#include "fs/fs.h"

/*
 * Where new objects go: weighted by free space less what is on its way there, from this process and from the others of the
 * campaign; never a source, never an OST that is down, degraded, read-only, closed or full, that would fall below its reserve, or
 * that refused an object a moment ago; and where a component names a pool, only the OSTs of that pool. Threads: any.
 */
struct dr_targets;

struct dr_targets *dr_targets_new(
	struct dr_fs *fs, const struct dr_rangeset *sources, unsigned reserve_percent);
void dr_targets_free(struct dr_targets *targets);
/*
 * Looks at the OSTs again when it is time: a second after the last look, or twenty times as long as that one took (ten
 * seconds at most), so that looking costs one thread no more than a twentieth; a second after it in any case when an OST
 * was to be avoided since. When a look fails, what is known counts on.
 * @error of the driver, when nothing is known yet
 */
dr_nodiscard int dr_targets_refresh(struct dr_targets *targets);
/* Not to be chosen for some seconds. */
void dr_targets_avoid(struct dr_targets *targets, uint32_t ost);
/* The file system refused a layout that names a pool: its OSTs are looked up again. */
void dr_targets_forget_pools(struct dr_targets *targets);
/* Whether the index is a source of the campaign. */
bool dr_targets_is_source(const struct dr_targets *targets, uint32_t ost);

/*
 * Makes the layout of the volatile from the file's: each object on a source, outside of its component's pool, or on an OST
 * that takes no objects now, goes elsewhere, the others keep their OST; stripes of a component on
 * different OSTs, and overstriped where fewer are left; no OST of another mirror where that can be helped. An object of a
 * component that is not initialised, but names its OSTs, is treated alike, and has no bytes.
 * mirror: 0, or the only mirror that is placed (dr_layout_next_mirror_on()); then *ret_layout is dr_layout_mirror() of it.
 * What was chosen counts as on its way until dr_targets_done().
 * @error ENOSPC no target has room, or none of the pool; EINVAL the file has no such mirror; of the driver
 */
dr_nodiscard int dr_targets_place(struct dr_targets *targets, const struct dr_layout *file,
	uint32_t mirror, uint64_t size, struct dr_layout **ret_layout);
/* The bytes of a placement have arrived, or never will. */
void dr_targets_done(struct dr_targets *targets, const struct dr_layout *placed, uint64_t size);

/*
 * What all processes of the campaign have on its way to each OST, told in the form of work/flight.h. Each second a process tells its own
 * (dr_targets_tell_flight()) and hears the sum of all (dr_targets_hear_flight()), which was made at some moment before, and holds what
 * this process told before that. `number` counts the sums: where it grew between two tellings that were both
 * answered, the sum is younger than the first of them and older than the second, hence it is known which
 * part of it is ours. One thread at a time.
 */
/* Appends what is on its way from this process. */
void dr_targets_tell_flight(struct dr_targets *targets, struct dr_buf *out);
/*
 * The answer: the sum of all, and its number. Counts for half a minute.
 * @error EBADMSG the text is garbage; nothing of it counts, and what was heard before goes on
 */
dr_nodiscard int dr_targets_hear_flight(
	struct dr_targets *targets, const char *sum, size_t len, uint64_t number);
/* Bytes on their way from this process, and, as far as it has heard, from the others. */
void dr_targets_flight_bytes(
	struct dr_targets *targets, uint64_t *ret_own_bytes, uint64_t *ret_others_bytes);

#endif
