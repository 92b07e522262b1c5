/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_BASE_RANGESET_H
#define DR_BASE_RANGESET_H

#include "base/buf.h"

#define DR_RANGESET_MAX 65536 /* OST indices are 16 bits wide, lustre/lustre_idl.h */

/*
 * A set of small numbers (OST indices), with a constant-time test.
 * Zeroed memory is the empty set. Not locked: built by one thread, then read by all.
 */
struct dr_rangeset {
	uint64_t *bits; /* DR_RANGESET_MAX bits, or NULL: empty */
	size_t count;   /* members */
};

void dr_rangeset_fini(struct dr_rangeset *set);
/* A number past the maximum is no OST: it is not added. */
void dr_rangeset_add(struct dr_rangeset *set, uint32_t n);
void dr_rangeset_remove(struct dr_rangeset *set, uint32_t n);
void dr_rangeset_copy(struct dr_rangeset *to, const struct dr_rangeset *from);
/* The smallest member >= from, or -ENOENT. Iterates: for (n = next(s,0); n >= 0; n = next(s,n+1)). */
int dr_rangeset_next(const struct dr_rangeset *set, uint32_t from);

static inline bool dr_rangeset_has(const struct dr_rangeset *set, uint32_t n)
{
	return set->bits && n < DR_RANGESET_MAX && (set->bits[n / 64] >> (n % 64) & 1);
}

/*
 * Reads "10-20,30": numbers and ascending ranges, separated by commas, blanks around them
 * allowed. Overlaps are joined.
 * @error EINVAL not of that form, empty, or descending; ERANGE an index past 65535
 * ret_set holds a set already (may be empty), which the new one replaces; on an error it is
 * left untouched.
 */
dr_nodiscard int dr_rangeset_parse(const char *s, struct dr_rangeset *ret_set);
/* "10-20,30"; "" for the empty set. */
void dr_rangeset_format(const struct dr_rangeset *set, struct dr_buf *out);

#endif
