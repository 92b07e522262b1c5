/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"

void dr_sleep_ms(unsigned ms)
{
	uint64_t until_ns = dr_now_ns() + (uint64_t)ms * 1000000u;
	struct timespec until = {
		.tv_sec = (time_t)(until_ns / 1000000000u),
		.tv_nsec = (long)(until_ns % 1000000000u),
	};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
	}
}
