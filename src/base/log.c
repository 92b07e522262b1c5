/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

enum dr_log_level dr_log_level = DR_LOG_INFO;

/* Set before the first thread starts, then only read. */
static int log_fd = STDERR_FILENO;
static void (*log_sink)(void *arg, enum dr_log_level level, const char *line);
static void *log_sink_arg;

static const char *const level_names[] = {
	[DR_LOG_ERROR] = "error",
	[DR_LOG_WARNING] = "warning",
	[DR_LOG_INFO] = "info",
	[DR_LOG_DEBUG] = "debug",
};

int dr_log_parse_level(const char *s, enum dr_log_level *ret_level)
{
	for (size_t i = DR_LOG_ERROR; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcasecmp(s, level_names[i]) == 0) {
			*ret_level = (enum dr_log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void dr_log_set_fd(int fd)
{
	log_fd = fd;
}

void dr_log_set_sink(void (*sink)(void *arg, enum dr_log_level level, const char *line), void *arg)
{
	log_sink = sink;
	log_sink_arg = arg;
}

/* A sink gets the event alone. */
static size_t format_head(char *line, size_t size, enum dr_log_level level, const char *event)
{
	uint64_t now_ms = dr_wall_ms();
	time_t seconds = (time_t)(now_ms / 1000);
	struct tm tm = { 0 };
	(void)gmtime_r(&seconds, &tm);
	int len = log_sink ? snprintf(line, size, "%s ", event)
			   : snprintf(line, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ %s %s ",
				     tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
				     tm.tm_min, tm.tm_sec, (unsigned)(now_ms % 1000),
				     level_names[level], event);
	if (len < 0) {
		return 0;
	}
	return (size_t)len < size ? (size_t)len : size - 1;
}

/* One write, so that the lines of threads and of processes do not mix. */
static void write_line(char *line, size_t len, enum dr_log_level level)
{
	while (len > 0 && line[len - 1] == ' ') {
		len--; /* an event without values */
	}
	for (size_t i = 0; i < len; i++) {
		if (line[i] == '\n' || line[i] == '\r') {
			line[i] = ' ';
		}
	}
	if (log_sink) {
		line[len] = '\0';
		log_sink(log_sink_arg, level, line);
		return;
	}
	line[len] = '\n';
	ssize_t n;
	do {
		n = write(log_fd, line, len + 1);
	} while (n < 0 && errno == EINTR);
}

void dr_log_line(enum dr_log_level level, const char *event, const char *fmt, ...)
{
	int saved = errno;
	char line[1024];
	size_t head = format_head(line, 256, level, event);
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int len = vsnprintf(line + head, sizeof(line) - head, fmt, ap);
	va_end(ap);
	if (len >= 0 && (size_t)len < sizeof(line) - head) {
		write_line(line, head + (size_t)len, level);
	} else if (len >= 0) {
		/* Longer than the common case: the NUL's place takes the newline. */
		char *whole dr_cleanup(dr_freep) = dr_xcalloc(1, head + (size_t)len + 1);
		memcpy(whole, line, head);
		(void)vsnprintf(whole + head, (size_t)len + 1, fmt, again);
		write_line(whole, head + (size_t)len, level);
	}
	va_end(again);
	errno = saved;
}

bool dr_log_may(struct dr_log_limit *limit, unsigned seconds)
{
	uint64_t now_ns = dr_now_ns();
	uint64_t next_ns = __atomic_load_n(&limit->next_ns, __ATOMIC_RELAXED);
	uint64_t after_ns = now_ns + (uint64_t)seconds * 1000000000u;
	if (now_ns >= next_ns && __atomic_compare_exchange_n(&limit->next_ns, &next_ns, after_ns,
					 false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
		return true;
	}
	(void)__atomic_add_fetch(&limit->left_out, 1, __ATOMIC_RELAXED);
	return false;
}

uint64_t dr_log_left_out(struct dr_log_limit *limit)
{
	return __atomic_exchange_n(&limit->left_out, 0, __ATOMIC_RELAXED);
}
