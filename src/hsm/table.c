/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/table.h"

#include <string.h>

void dr_table_init(struct dr_table *table, size_t entry_size)
{
	*table = (struct dr_table){ .entry_size = entry_size };
}

void dr_table_fini(struct dr_table *table)
{
	free(table->entries);
	free(table->slots);
	*table = (struct dr_table){ .entry_size = table->entry_size };
}

static uint32_t hash_of(const struct dr_table_key *key)
{
	uint64_t h = (key->cat ^ ((uint64_t)key->mdt << 40)) * 0x9e3779b97f4a7c15u;

	h = (h ^ (h >> 32) ^ key->rec) * 0xd6e8feb86659fd93u;
	return (uint32_t)(h >> 32);
}

static bool is_same(const struct dr_table_key *a, const struct dr_table_key *b)
{
	return a->rec == b->rec && a->cat == b->cat && a->mdt == b->mdt;
}

/* The slot of that key, or the free one where it would go. There is a free one. */
static uint32_t slot_of(const struct dr_table *table, const struct dr_table_key *key)
{
	uint32_t mask = table->n_slots - 1;
	uint32_t slot = hash_of(key) & mask;

	while (table->slots[slot] && !is_same(dr_table_at(table, table->slots[slot] - 1), key)) {
		slot = (slot + 1) & mask;
	}
	return slot;
}

void *dr_table_find(const struct dr_table *table, const struct dr_table_key *key)
{
	if (table->n == 0) {
		return NULL;
	}
	uint32_t position = table->slots[slot_of(table, key)];

	return position ? dr_table_at(table, position - 1) : NULL;
}

static int grow_slots(struct dr_table *table)
{
	uint32_t n_slots = table->n_slots ? table->n_slots * 2 : 64;
	uint32_t *slots = calloc(n_slots, sizeof(*slots));

	if (!slots) {
		return -ENOMEM;
	}
	free(table->slots);
	table->slots = slots;
	table->n_slots = n_slots;
	/* All keys differ: the first free slot will do, and no other entry is looked at. */
	for (uint32_t i = 0; i < table->n; i++) {
		uint32_t slot = hash_of(dr_table_at(table, i)) & (n_slots - 1);

		while (slots[slot]) {
			slot = (slot + 1) & (n_slots - 1);
		}
		slots[slot] = i + 1;
	}
	return 0;
}

static int grow_entries(struct dr_table *table)
{
	uint32_t cap = table->cap ? table->cap + table->cap / 2 : 64;
	char *entries = realloc(table->entries, cap * table->entry_size);

	if (!entries) {
		return -ENOMEM;
	}
	table->entries = entries;
	table->cap = cap;
	return 0;
}

int dr_table_add(
	struct dr_table *table, const struct dr_table_key *key, void **ret_entry, bool *ret_is_new)
{
	/* At most 2/3 full, with the one that may come. */
	if ((uint64_t)(table->n + 1) * 3 > (uint64_t)table->n_slots * 2) {
		if (table->n_slots >= 1u << 31) {
			return -ENOSPC;
		}
		int r = grow_slots(table);

		if (r < 0) {
			return r;
		}
	}
	uint32_t slot = slot_of(table, key);

	if (table->slots[slot]) {
		*ret_entry = dr_table_at(table, table->slots[slot] - 1);
		*ret_is_new = false;
		return 0;
	}
	if (table->n == table->cap) {
		int r = grow_entries(table);

		if (r < 0) {
			return r;
		}
	}
	char *entry = dr_table_at(table, table->n);

	memset(entry, 0, table->entry_size);
	memcpy(entry, key, sizeof(*key));
	table->slots[slot] = ++table->n;
	*ret_entry = entry;
	*ret_is_new = true;
	return 0;
}

/* Closes the gap at a slot: each one behind it moves up when its own place is not between the gap and it. */
static void free_slot(struct dr_table *table, uint32_t gap)
{
	uint32_t mask = table->n_slots - 1;

	for (uint32_t slot = (gap + 1) & mask; table->slots[slot]; slot = (slot + 1) & mask) {
		uint32_t home = hash_of(dr_table_at(table, table->slots[slot] - 1)) & mask;

		if (((slot - home) & mask) >= ((slot - gap) & mask)) {
			table->slots[gap] = table->slots[slot];
			gap = slot;
		}
	}
	table->slots[gap] = 0;
}

void dr_table_remove(struct dr_table *table, void *entry)
{
	uint32_t position = dr_table_position(table, entry);
	uint32_t last = table->n - 1;

	free_slot(table, slot_of(table, entry));
	if (position != last) {
		void *moved = dr_table_at(table, last);

		table->slots[slot_of(table, moved)] = position + 1;
		memcpy(entry, moved, table->entry_size);
	}
	table->n = last;
}

void dr_table_clear(struct dr_table *table)
{
	dr_table_fini(table);
}
