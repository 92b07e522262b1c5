/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_BASE_IDSET_H
#define DR_BASE_IDSET_H

#include "base/buf.h"

/*
 * A set of owners, groups or projects: numbers of 32 bits, as ascending ranges that neither touch nor overlap. Unlike a range set
 * it holds numbers of any size, and costs what its ranges cost.
 * Zeroed memory is the empty set. Not locked: built by one thread, then read by all.
 */
struct dr_idset {
	struct dr_idset_range {
		uint32_t first, last;
	} * ranges;
	size_t n;
};

#define DR_ID_MAX 4294967294u /* the last number there is means "no change" to chown(2) */

void dr_idset_fini(struct dr_idset *set);
/* first <= last <= DR_ID_MAX */
void dr_idset_add(struct dr_idset *set, uint32_t first, uint32_t last);
bool dr_idset_has(const struct dr_idset *set, uint32_t id);
/*
 * Reads what dr_idset_format() writes: "0-99,1000"; in any order.
 * ret_set holds a set already (may be empty), which the new one replaces; on an error it is left untouched.
 * @error EINVAL not of that form, empty, or descending; ERANGE past DR_ID_MAX
 */
dr_nodiscard int dr_idset_parse(const char *s, struct dr_idset *ret_set);
/* "" for the empty set */
void dr_idset_format(const struct dr_idset *set, struct dr_buf *out);

/* The numbers of one "N" or "N-M". @error EINVAL; ERANGE */
dr_nodiscard int dr_idset_parse_range(
	const char *s, size_t len, uint32_t *ret_first, uint32_t *ret_last);

#endif
