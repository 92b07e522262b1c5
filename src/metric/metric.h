/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_METRIC_METRIC_H
#define DR_METRIC_METRIC_H

#include "base/prelude.h"

#include <stdatomic.h>

/*
 * What one process did, counted. Each thread adds to counters of its own (relaxed, no line shared
 * with another); a reader sums them, and may see one counter a little newer than another.
 */
enum dr_counter {
	DR_COUNT_ENTRIES,
	DR_COUNT_FOUND,
	DR_COUNT_SCANS,
	DR_COUNT_SUCCEEDED,
	DR_COUNT_FAILED,  /* refused, no_space, failed */
	DR_COUNT_SKIPPED, /* busy, changed */
	DR_COUNT_BYTES,
	DR_N_COUNTERS,
};

struct dr_counters {
	_Alignas(64) _Atomic uint64_t v[DR_N_COUNTERS];
};

static inline void dr_count(struct dr_counters *counters, enum dr_counter which, uint64_t by)
{
	atomic_store_explicit(&counters->v[which],
		atomic_load_explicit(&counters->v[which], memory_order_relaxed) + by,
		memory_order_relaxed);
}

static inline uint64_t dr_counted(const struct dr_counters *counters, enum dr_counter which)
{
	return atomic_load_explicit(&counters->v[which], memory_order_relaxed);
}

/* A speed, smoothed over some seconds. Owned by one thread. */
struct dr_rate {
	uint64_t last_ns, last_value;
	double per_sec;
	bool primed;
};

/* Takes the counter's value now; the speed of the last tau_s seconds counts most. */
void dr_rate_update(struct dr_rate *rate, uint64_t now_ns, uint64_t value, double tau_s);

#endif
