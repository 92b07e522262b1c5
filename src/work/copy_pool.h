/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_COPY_POOL_H
#define DR_WORK_COPY_POOL_H

#include "work/copy.h"

/* Between copy.c and copy_pool.c. */

/* What came of a copy's writes and reads. */
struct dr_copy_result {
	int error;    /* negative errno, or 0 */
	bool writing; /* the error is of the volatile's side */
	uint32_t ost; /* that is to blame, or UINT32_MAX */
};

/* Copies [start, end) through this buffer. own: by the thread that owns the copy, which is the one that ticks. */
typedef void dr_copy_segment_fn(const struct dr_copy *copy, uint8_t *buffer, uint64_t start,
	uint64_t end, bool own, const _Atomic bool *stop, struct dr_copy_result *result);

/*
 * Copies [start, end) by the caller and by threads of the pool, segment by segment. Returns when none of them works on it any
 * more; the first error of any of them stops all, and is the result.
 */
void dr_copy_pool_run(struct dr_copy_pool *pool, const struct dr_copy *copy, uint64_t start,
	uint64_t end, dr_copy_segment_fn *fn, struct dr_copy_result *result);

#endif
