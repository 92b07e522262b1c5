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

/* Records of one log have their numbers one after the other: eight neighbours share a cache line of slots. */
static uint32_t hash_of(const struct dr_table_key *key)
{
	uint64_t h = (key->cat ^ ((uint64_t)key->mdt << 40)) * 0x9e3779b97f4a7c15u;

	h = (h ^ (h >> 32) ^ (key->rec >> 3)) * 0xd6e8feb86659fd93u;
	return ((uint32_t)(h >> 32) & ~7u) | (uint32_t)(key->rec & 7);
}

static bool is_same(const struct dr_table_key *a, const struct dr_table_key *b)
{
	return a->rec == b->rec && a->cat == b->cat && a->mdt == b->mdt;
}

/* The slot of that key, or the free one where it would go. There is a free one. */
static uint32_t slot_of(const struct dr_table *table, const struct dr_table_key *key, uint32_t hash)
{
	uint32_t mask = table->n_slots - 1;

	for (uint32_t i = hash & mask;; i = (i + 1) & mask) {
		const struct dr_table_slot *slot = &table->slots[i];

		if (!slot->position ||
			(slot->hash == hash &&
				is_same(dr_table_at(table, slot->position - 1), key))) {
			return i;
		}
	}
}

void *dr_table_find(const struct dr_table *table, const struct dr_table_key *key)
{
	if (table->n == 0) {
		return NULL;
	}
	uint32_t position = table->slots[slot_of(table, key, hash_of(key))].position;

	return position ? dr_table_at(table, position - 1) : NULL;
}

static int resize_slots(struct dr_table *table, uint32_t n_slots)
{
	struct dr_table_slot *slots = calloc(n_slots, sizeof(*slots));
	uint32_t mask = n_slots - 1;

	if (!slots) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < table->n_slots; i++) {
		if (table->slots[i].position) {
			uint32_t to = table->slots[i].hash & mask;

			while (slots[to].position) {
				to = (to + 1) & mask;
			}
			slots[to] = table->slots[i];
		}
	}
	free(table->slots);
	table->slots = slots;
	table->n_slots = n_slots;
	return 0;
}

static int resize_entries(struct dr_table *table, uint32_t cap)
{
	char *entries = realloc(table->entries, cap * table->entry_size);

	if (!entries) {
		return -ENOMEM;
	}
	table->entries = entries;
	table->cap = cap;
	return 0;
}

int dr_table_reserve(struct dr_table *table, uint32_t n)
{
	uint32_t n_slots = table->n_slots ? table->n_slots : 64;

	/* At most 2/3 full. */
	while ((uint64_t)n * 3 > (uint64_t)n_slots * 2) {
		if (n_slots >= 1u << 31) {
			return -ENOSPC;
		}
		n_slots *= 2;
	}
	int r = n_slots > table->n_slots ? resize_slots(table, n_slots) : 0;

	return r == 0 && n > table->cap ? resize_entries(table, n) : r;
}

int dr_table_add(
	struct dr_table *table, const struct dr_table_key *key, void **ret_entry, bool *ret_is_new)
{
	uint32_t hash = hash_of(key);
	uint32_t slot = table->n ? slot_of(table, key, hash) : 0;

	if (table->n && table->slots[slot].position) {
		*ret_entry = dr_table_at(table, table->slots[slot].position - 1);
		*ret_is_new = false;
		return 0;
	}
	if (table->n == table->cap || (uint64_t)(table->n + 1) * 3 > (uint64_t)table->n_slots * 2) {
		uint32_t more = table->n == table->cap ? table->n / 2 + 64 : 1;
		int r = dr_table_reserve(table, table->n + more);

		if (r < 0) {
			return r;
		}
		slot = slot_of(table, key, hash);
	} else if (table->n == 0) {
		slot = slot_of(table, key, hash);
	}
	char *entry = dr_table_at(table, table->n);

	memset(entry, 0, table->entry_size);
	memcpy(entry, key, sizeof(*key));
	table->slots[slot] = (struct dr_table_slot){ .hash = hash, .position = ++table->n };
	*ret_entry = entry;
	*ret_is_new = true;
	return 0;
}

/* Closes the gap at a slot: each one behind it moves up when its own place is not between the gap and it. */
static void free_slot(struct dr_table *table, uint32_t gap)
{
	uint32_t mask = table->n_slots - 1;

	for (uint32_t i = (gap + 1) & mask; table->slots[i].position; i = (i + 1) & mask) {
		uint32_t home = table->slots[i].hash & mask;

		if (((i - home) & mask) >= ((i - gap) & mask)) {
			table->slots[gap] = table->slots[i];
			gap = i;
		}
	}
	table->slots[gap] = (struct dr_table_slot){ 0 };
}

void dr_table_remove(struct dr_table *table, void *entry)
{
	uint32_t position = dr_table_position(table, entry);
	uint32_t last = table->n - 1;

	free_slot(table, slot_of(table, entry, hash_of(entry)));
	if (position != last) {
		void *moved = dr_table_at(table, last);

		table->slots[slot_of(table, moved, hash_of(moved))].position = position + 1;
		memcpy(entry, moved, table->entry_size);
	}
	table->n = last;
}

void dr_table_clear(struct dr_table *table)
{
	dr_table_fini(table);
}
