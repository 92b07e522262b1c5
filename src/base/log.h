/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_BASE_LOG_H
#define DR_BASE_LOG_H

#include "base/prelude.h"

/*
 * One line a call, on stderr or in a file: `time level event key=value ...`.
 * The event is a stable name in lower case with dashes. Never pass a password.
 * May be called from every thread.
 */
enum dr_log_level { DR_LOG_NONE, DR_LOG_ERROR, DR_LOG_WARNING, DR_LOG_INFO, DR_LOG_DEBUG };

extern enum dr_log_level dr_log_level;

/* @error EINVAL not one of error, warning, info, debug (any case) */
dr_nodiscard int dr_log_parse_level(const char *s, enum dr_log_level *ret_level);
/* Lines go to the descriptor from now on (it stays the caller's). Before the first thread starts. */
void dr_log_set_fd(int fd);
/* Lines, without time and level, go to the function from now on: "event key=value ...". NULL: to the descriptor. Likewise before the first thread. */
void dr_log_set_sink(void (*sink)(void *arg, enum dr_log_level level, const char *line), void *arg);

void dr_log_line(enum dr_log_level level, const char *event, const char *fmt, ...) dr_printf(3, 4);

#define dr_log(level, event, ...)                                                                  \
	do {                                                                                       \
		if ((level) <= dr_log_level)                                                       \
			dr_log_line(level, event, __VA_ARGS__);                                    \
	} while (0)

struct dr_log_limit {
	uint64_t next_ns;  /* atomic */
	uint64_t left_out; /* atomic; lines since the last one that was written */
};
bool dr_log_may(struct dr_log_limit *limit, unsigned seconds);
/* How many lines were left out; counts from 0 again. */
uint64_t dr_log_left_out(struct dr_log_limit *limit);

/*
 * The same, at most once in `seconds` for this place in the code; says how many were left out,
 * in a line of its own before it: "log-left-out of=EVENT n=N".
 */
#define dr_log_limited(seconds, level, event, ...)                                                 \
	do {                                                                                       \
		static struct dr_log_limit dr_limit_;                                              \
		if ((level) <= dr_log_level && dr_log_may(&dr_limit_, seconds)) {                  \
			uint64_t dr_n_ = dr_log_left_out(&dr_limit_);                              \
			if (dr_n_)                                                                 \
				dr_log_line(level, "log-left-out", "of=%s n=%llu", event,          \
					(unsigned long long)dr_n_);                                \
			dr_log_line(level, event, __VA_ARGS__);                                    \
		}                                                                                  \
	} while (0)

#endif
