/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/audit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define KEPT_MAX (8u << 20) /* bytes of lines that a log does not take */
#define LOOK_AGAIN_MS 2

static int open_log(int logs_fd, const char *host, const char *kind)
{
	char *name dr_cleanup(dr_freep) = dr_xasprintf("%s.%s.log", host, kind);
	int fd = openat(logs_fd, name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

	return fd < 0 ? -errno : fd;
}

int dr_audit_open(struct dr_audit *audit, int logs_fd, const char *host)
{
	*audit = (struct dr_audit){
		.fd_succeeded = -1, .fd_failed = -1, .look_succeeded = true, .look_failed = true
	};
	int fd = open_log(logs_fd, host, "succeeded");

	if (fd < 0) {
		return fd;
	}
	audit->fd_succeeded = fd;
	fd = open_log(logs_fd, host, "failed");
	if (fd < 0) {
		return fd;
	}
	audit->fd_failed = fd;
	return 0;
}

void dr_audit_fini(struct dr_audit *audit)
{
	dr_audit_flush(audit);
	dr_fd_closep(&audit->fd_succeeded);
	dr_fd_closep(&audit->fd_failed);
	dr_buf_fini(&audit->succeeded);
	dr_buf_fini(&audit->failed);
}

static void put_time(struct dr_buf *line)
{
	time_t now = time(NULL);
	struct tm tm;
	char text[32];

	(void)gmtime_r(&now, &tm);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	dr_buf_put(line, text, strlen(text));
}

static void put_path(struct dr_buf *line, const struct dr_chunk_file *file)
{
	dr_buf_put(line, " path=\"", 7);
	dr_text_escape(line, file->dir, file->dir_len);
	if (file->dir_len > 0) {
		dr_buf_put(line, "/", 1);
	}
	dr_text_escape(line, file->name, file->name_len);
	dr_buf_put(line, "\"\n", 2);
}

void dr_audit_moved(struct dr_audit *audit, const struct dr_chunk_file *file, uint64_t bytes,
	const char *from, const char *to)
{
	char fid[DR_FID_TEXT_SIZE];

	put_time(&audit->succeeded);
	dr_buf_printf(&audit->succeeded,
		" succeeded fid=%s bytes=%" PRIu64 " layout=\"%s\" to=\"%s\"",
		dr_fid_format(&file->fid, fid), bytes, from, to);
	put_path(&audit->succeeded, file);
}

void dr_audit_not_moved(
	struct dr_audit *audit, const struct dr_chunk_file *file, const struct dr_outcome *outcome)
{
	char fid[DR_FID_TEXT_SIZE];
	const char *error = outcome->error ? strerrorname_np(-outcome->error) : "none";

	put_time(&audit->failed);
	dr_buf_printf(&audit->failed, " %s step=%s error=%s fid=%s bytes=%" PRIu64,
		dr_class_name(outcome->class), dr_step_name(outcome->step),
		error ? error : "unknown", dr_fid_format(&file->fid, fid), outcome->bytes);
	put_path(&audit->failed, file);
}

/* @return the log's size when it ends in the middle of a line, else 0 */
static off_t torn_size(int fd)
{
	struct stat st;
	char last = '\n';

	if (fstat(fd, &st) < 0 || st.st_size == 0 || pread(fd, &last, 1, st.st_size - 1) != 1) {
		return 0;
	}
	return last == '\n' ? 0 : st.st_size;
}

/*
 * Whether a write was cut short, by a full disk or by the death of its writer. Another writer in the middle of its write
 * looks alike, but not for long.
 */
static bool is_torn(int fd)
{
	off_t size = torn_size(fd);

	if (size == 0) {
		return false;
	}
	dr_sleep_ms(LOOK_AGAIN_MS);
	return torn_size(fd) == size;
}

/* Keeps what is left from `done` on; a line that was cut begins again. */
static void keep_rest(struct dr_buf *lines, size_t done)
{
	struct dr_buf rest = { 0 };

	while (done > 0 && lines->data[done - 1] != '\n') {
		done--;
	}
	dr_buf_put(&rest, lines->data + done, lines->len - done);
	dr_buf_fini(lines);
	*lines = rest;
}

/* *look: the log may end in the middle of a line. */
static void flush(int fd, struct dr_buf *lines, bool *look)
{
	size_t done = 0;

	if (lines->len == 0) {
		return;
	}
	if (*look && is_torn(fd) && write(fd, "\n", 1) != 1) {
		done = SIZE_MAX; /* it takes nothing yet */
	}
	while (done < lines->len) {
		ssize_t n = write(fd, lines->data + done, lines->len - done);

		if (n > 0) {
			done += (size_t)n;
		} else if (n == 0 || errno != EINTR) {
			break;
		}
	}
	*look = done != lines->len;
	if (!*look) {
		dr_buf_clear(lines);
		return;
	}
	int error = errno;

	keep_rest(lines, done == SIZE_MAX ? 0 : done);
	dr_log_limited(60, DR_LOG_ERROR, "audit-log-not-written",
		"errno=%d error=\"%s\" next=\"kept, and tried again\"", error,
		strerrordesc_np(error));
	if (lines->len > KEPT_MAX) {
		dr_log_limited(60, DR_LOG_ERROR, "audit-lines-lost", "bytes=%zu", lines->len);
		dr_buf_clear(lines);
	}
}

void dr_audit_flush(struct dr_audit *audit)
{
	flush(audit->fd_succeeded, &audit->succeeded, &audit->look_succeeded);
	flush(audit->fd_failed, &audit->failed, &audit->look_failed);
}
