/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_STORE_WAIT_H
#define DR_STORE_WAIT_H

#include "base/clock.h"

#include <limits.h>
#include <poll.h>

/*
 * Waits until the descriptor is ready for the events (POLLIN, POLLOUT), or hung up, but not beyond until_ns (of
 * dr_now_ns()). A signal does not end it.
 * Threads: all.
 * @error ETIMEDOUT; others of poll
 */
dr_nodiscard static inline int dr_wait_fd(int fd, short events, uint64_t until_ns)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now_ns = dr_now_ns();
		uint64_t left_ms = now_ns < until_ns ? (until_ns - now_ns + 999999u) / 1000000u : 0;
		int n = poll(&poll_fd, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);

		if (n > 0) {
			return 0;
		}
		if (n < 0 && errno != EINTR) {
			return -errno;
		}
		if (left_ms == 0) {
			return -ETIMEDOUT;
		}
	}
}

#endif
