/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_LIVE_IMPL_H
#define DR_HSM_LIVE_IMPL_H

#include "hsm/live.h"
#include "hsm/table.h"

/* What live.c, which changes it, and live_look.c, which tells of it, share. */

/*
 * Every live action is an entry of a dr_table; its MDT is a number, and its texts are those of its group, whose count goes along.
 *
 * A PURGED without an index ends entries that only a pass over all of them finds. So that tens of thousands of them cost one pass, they
 * are gathered: `purges` has the ordinal of the latest for an (MDT, action_key), and an entry notes how many there had been when an event
 * last told of it. An entry is over when a purge of its key came later. Such entries are swept out before anything is counted, and
 * when there are as many purges as entries.
 */

struct dr_live_entry {
	struct dr_table_key key;
	uint64_t action_key; /* its hash */
	int64_t first_s, changed_s;
	/* "0xSEQ:0xOID:0xVER", or with has_text one of another form, malloc'ed. Without that and seq 0: there is none. */
	union {
		uint64_t fid_seq;
		char *fid_text;
	};
	uint32_t fid_oid, fid_ver;
	uint32_t group : 31;
	uint32_t has_text : 1;
	uint32_t purges; /* how many of them were gathered at its last event */
};

/* A PURGED that named no index. Its key is the hash of the action_key, and the MDT. */
struct dr_live_purge {
	struct dr_table_key key;
	uint64_t ordinal;
};

/* From a hash of a name to a number. */
struct dr_live_name {
	struct dr_table_key key;
	uint64_t number;
};

enum dr_live_state {
	DR_LIVE_NONE,
	DR_LIVE_OPEN,
	DR_LIVE_SUCCEED,
	DR_LIVE_FAILED,
	DR_LIVE_CANCELED
};

struct dr_live_bundle {
	uint32_t mdt;
	enum dr_live_state state;
	char *action, *status; /* one block, at action */
	uint64_t count;
	/* Of the last look: */
	int64_t oldest_s;
	uint64_t stalled;
	bool is_wanted;
};

struct dr_live {
	struct dr_table entries;                    /* struct dr_live_entry */
	struct dr_table purges;                     /* struct dr_live_purge */
	uint32_t n_purges;                          /* gathered since the last sweep */
	struct dr_table mdt_numbers, group_numbers; /* struct dr_live_name */
	char **mdts;
	struct dr_live_bundle *groups;
	uint32_t n_mdts, cap_mdts, n_groups, cap_groups;
	uint32_t last_mdt;            /* number of the last event's */
	struct dr_live_totals totals; /* live and oldest_s are filled in when asked for */
};

/* Takes out what gathered purges ended. */
void dr_live_sweep(struct dr_live *live);

#endif
