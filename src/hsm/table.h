/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_TABLE_H
#define DR_HSM_TABLE_H

#include "base/prelude.h"

/*
 * Live actions by their index: entries side by side in one array, found through a table of positions with open addressing (linear
 * probing, at most 2/3 full), so that half a million of them cost what they hold and 12 to 24 bytes each.
 * Every entry is a structure of one size that begins with a struct dr_table_key. Adding and removing move entries: a pointer to one is
 * good until then. Removing puts the last entry in the gap.
 * Threads: one at a time.
 */
struct dr_table_key {
	uint64_t cat, rec;
	uint32_t mdt; /* a number that the table's owner gave it */
};

/* Part of an entry's hash stands with its position, so that a probe or a larger table need not look at entries all over memory. */
struct dr_table_slot {
	uint32_t hash;
	uint32_t position; /* + 1; 0: free */
};

struct dr_table {
	size_t entry_size; /* bytes; a multiple of 8 */
	char *entries;
	uint32_t n, cap;
	struct dr_table_slot *slots;
	uint32_t n_slots; /* a power of two, or 0 */
};

void dr_table_init(struct dr_table *table, size_t entry_size);
/* What entries own is the caller's. */
void dr_table_fini(struct dr_table *table);
/* NULL: none. */
void *dr_table_find(const struct dr_table *table, const struct dr_table_key *key);
/*
 * The entry of that key, made with zeros after the key when there is none.
 * @error ENOMEM; ENOSPC 2^31 of them
 */
dr_nodiscard int dr_table_add(
	struct dr_table *table, const struct dr_table_key *key, void **ret_entry, bool *ret_is_new);
/* The entry, which must be one of the table's, is gone. */
void dr_table_remove(struct dr_table *table, void *entry);
void dr_table_clear(struct dr_table *table);
/* Makes room for n entries in all, ahead of time. @error ENOMEM, ENOSPC */
dr_nodiscard int dr_table_reserve(struct dr_table *table, uint32_t n);

static inline void *dr_table_at(const struct dr_table *table, uint32_t i)
{
	return table->entries + (size_t)i * table->entry_size;
}

static inline uint32_t dr_table_position(const struct dr_table *table, const void *entry)
{
	return (uint32_t)((size_t)((const char *)entry - table->entries) / table->entry_size);
}

#endif
