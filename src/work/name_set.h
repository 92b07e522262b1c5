/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_NAME_SET_H
#define DR_WORK_NAME_SET_H

#include "base/prelude.h"

/*
 * A set of names, of which only a hash of 64 bits is kept: 11 to 22 bytes a name (a half more while it grows), however long the names are. A name that was added is
 * always found; one that was not is found by mistake once in 2^64 / n questions, by chance alone: the hash has a random key.
 * For users to whom that mistake does no harm: a name that is found is left alone.
 * Zeroed memory is the empty set.
 */
struct dr_name_set {
	uint64_t *slots; /* 0: free */
	size_t n, cap;   /* cap: a power of two */
	uint64_t key;
};

void dr_name_set_fini(struct dr_name_set *set);
void dr_name_set_add(struct dr_name_set *set, const char *name, size_t len);
bool dr_name_set_has(const struct dr_name_set *set, const char *name, size_t len);

#endif
