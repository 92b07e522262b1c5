/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/name_set.h"

#include "base/buf.h"

#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

static uint64_t hash_of(const struct dr_name_set *set, const char *name, size_t len)
{
	uint64_t hash = XXH3_64bits_withSeed(name, len, set->key);

	return hash ? hash : 1;
}

/* Where the hash is, or would be. */
static uint64_t *find(uint64_t *slots, size_t cap, uint64_t hash)
{
	size_t i = (size_t)hash & (cap - 1);

	while (slots[i] != 0 && slots[i] != hash) {
		i = (i + 1) & (cap - 1);
	}
	return &slots[i];
}

static void grow(struct dr_name_set *set)
{
	size_t cap = set->cap ? set->cap * 2 : 64;
	uint64_t *slots = dr_xcalloc(cap, sizeof(*slots));

	for (size_t i = 0; i < set->cap; i++) {
		if (set->slots[i] != 0) {
			*find(slots, cap, set->slots[i]) = set->slots[i];
		}
	}
	free(set->slots);
	set->slots = slots;
	set->cap = cap;
}

static uint64_t new_key(void)
{
	uint64_t key;

	if (getrandom(&key, sizeof(key), 0) != (ssize_t)sizeof(key)) {
		struct timespec now;

		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		key = (uint64_t)now.tv_nsec * UINT64_C(0x9e3779b97f4a7c15);
	}
	return key;
}

void dr_name_set_fini(struct dr_name_set *set)
{
	free(set->slots);
	*set = (struct dr_name_set){ 0 };
}

void dr_name_set_add(struct dr_name_set *set, const char *name, size_t len)
{
	if (set->cap == 0) {
		set->key = new_key();
	}
	if (set->n >= set->cap / 4 * 3) {
		grow(set);
	}
	uint64_t hash = hash_of(set, name, len), *slot = find(set->slots, set->cap, hash);

	if (*slot == 0) {
		*slot = hash;
		set->n++;
	}
}

bool dr_name_set_has(const struct dr_name_set *set, const char *name, size_t len)
{
	return set->n > 0 && *find(set->slots, set->cap, hash_of(set, name, len)) != 0;
}
