/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_BASE_CLOCK_H
#define DR_BASE_CLOCK_H

#include "base/prelude.h"

#include <time.h>

/* Nanoseconds of the monotonic clock: for durations and deadlines. */
static inline uint64_t dr_now_ns(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Milliseconds since 1970 of this machine's wall clock: for what people read. */
static inline uint64_t dr_wall_ms(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

/* Sleeps at least that long; a signal does not cut it short. */
void dr_sleep_ms(unsigned ms);

#endif
