/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_NEWCOMERS_H
#define DR_WORK_NEWCOMERS_H

#include "campaign/ledger.h"
#include "fs/fs.h"

/*
 * Files that a scan finds on a source and that may not have been there when the campaign began: with such files the source was open to new
 * objects. What the proving scans find is new when nobody has heard of it; what the first scan finds, when it was born since.
 * Of the chunk in the making; one thread. Zeroed memory is none.
 */
struct dr_newcomers {
	struct dr_newcomer *v;
	size_t n, cap;
};

/* Whether the file was made after that time, as far as it is known. */
bool dr_newcomers_born_since(const struct dr_stat *stat, uint64_t ms);
/* file: its number in the chunk. */
void dr_newcomers_add(struct dr_newcomers *newcomers, const struct dr_entry *entry,
	const struct dr_rangeset *sources, size_t file);
/* Puts those whose file nobody has heard of into the results, and forgets all. known (by the number in the chunk) NULL: of none. */
void dr_newcomers_tell(
	struct dr_newcomers *newcomers, const uint8_t *known, struct dr_scan_results *results);
void dr_newcomers_fini(struct dr_newcomers *newcomers);

#endif
