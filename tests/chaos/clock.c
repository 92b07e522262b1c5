/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Preloaded: the wall clock of one host, CHAOS_SKEW_S seconds away from the machine's. A time namespace cannot do this
 * (it shifts only the clocks that begin at boot), and libfaketime does not get along with the server's own malloc.
 * Nothing here allocates or looks up symbols, so that it works before anything else does.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t skew(void)
{
	const char *text = getenv("CHAOS_SKEW_S"); // NOLINT(concurrency-mt-unsafe)

	return text ? (time_t)strtol(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ts);

	if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
		ts->tv_sec += skew();
	}
	return r;
}

int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;

	(void)tz;
	if (clock_gettime(CLOCK_REALTIME, &ts) < 0) {
		return -1;
	}
	*tv = (struct timeval){ .tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000 };
	return 0;
}

time_t time(time_t *ret)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) < 0) {
		return -1;
	}
	if (ret) {
		*ret = ts.tv_sec;
	}
	return ts.tv_sec;
}
