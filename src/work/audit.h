/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_AUDIT_H
#define DR_WORK_AUDIT_H

#include "campaign/chunk.h"

/*
 * The log of every move: HOST.succeeded.log and HOST.failed.log in the campaign's logs folder, a line a file:
 *   2026-11-22T17:30:01Z succeeded fid=0x200000402:0x4:0x0 bytes=4096 layout="raid0 1x4M [0]" to="raid0 1x4M [3]" path="a/b"
 *   2026-11-22T17:30:01Z busy step=lease error=EBUSY fid=... bytes=... path="a/b"
 * Lines are gathered and appended before their settle; a line without its last quote was cut, and follows once
 * more unless its writer died. One thread each; several processes append to one file, whole
 * lines at a time.
 */
struct dr_audit {
	int fd_succeeded, fd_failed; /* owned */
	struct dr_buf succeeded, failed;
	bool look_succeeded, look_failed; /* at a log's end before the next write: it may be torn */
};

/* @error of open */
dr_nodiscard int dr_audit_open(struct dr_audit *audit, int logs_fd, const char *host);
void dr_audit_fini(struct dr_audit *audit);
/* from and to may be "" where they are not known. */
void dr_audit_moved(struct dr_audit *audit, const struct dr_chunk_file *file, uint64_t bytes,
	const char *from, const char *to);
void dr_audit_not_moved(
	struct dr_audit *audit, const struct dr_chunk_file *file, const struct dr_outcome *outcome);
/*
 * Appends what was gathered. What a full or broken file system does not take is kept (8 MiB of it) for the next time, and
 * stops nothing; a line that was cut is written again, whole.
 */
void dr_audit_flush(struct dr_audit *audit);

#endif
