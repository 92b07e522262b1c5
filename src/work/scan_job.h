/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_SCAN_JOB_H
#define DR_WORK_SCAN_JOB_H

/* What all scanners share (scan.c, clone_walk.c); nothing else includes it. */

#include "campaign/frontier.h"
#include "work/worker.h"

/*
 * A scan job: takes directories off its frontier, last first, has each read to its end, and gathers what was found and the directories that were
 * met. Now and then it settles: in one step the chunks are queued and the rest of the frontier, with the position in the directory in hand, is
 * stored. Whoever takes the job after a crash goes on from there, so nothing is queued twice and nothing is missed.
 *
 * A range of the campaign's list stands on the frontier like a directory; its position is an offset in the list.
 */
struct dr_scan;

struct dr_scan_ops {
	/* Puts what is in the making into scan->results, before a settle. */
	int (*flush)(struct dr_scan *scan);
	/* Reads the directory, or the range, in hand (scan->here) to its end, and settles when that is due. @return 0; 1 the claim is over; -errno */
	int (*read_dir)(struct dr_scan *scan);
	int (*read_list)(struct dr_scan *scan); /* NULL: there are no lists */
};

struct dr_scan {
	const struct dr_scan_ops *ops;
	struct dr_worker *worker;
	struct dr_claim *claim;
	const struct dr_spec *spec;
	struct dr_frontier frontier; /* without the directory in hand */
	struct dr_frontier_dir here; /* the directory or the range in hand; path NULL: none */
	const char *
		dir; /* lent: where the entries at hand lie; the directory in hand, or that of a candidate */
	size_t dir_len;
	struct dr_scan_results results;
	struct dr_buf path; /* scratch of dr_scan_child() */
	struct dr_queue_state state;
	uint64_t settled_ns;
	unsigned unseen; /* entries since the last look */
	bool ended;      /* the claim was settled for good, given back, or lost */
};

/* Does the whole job, and settles its end. The claim is still the caller's to drop. */
dr_nodiscard int dr_scan_run(struct dr_scan *scan);
void dr_scan_fini(struct dr_scan *scan);

/* Whether what is found is listed, and not moved. */
bool dr_scan_reports_only(const struct dr_scan *scan);
/* scan->path becomes that of an entry of scan->dir. */
void dr_scan_child(struct dr_scan *scan, const char *name, size_t len);
/* Tells an error; path: bytes to be shown, of a file or a directory. */
void dr_scan_error(struct dr_scan *scan, const void *path, size_t len, int error);
void dr_scan_entry_error(struct dr_scan *scan, const struct dr_entry *entry, int error);
/* Of the directory in hand: one that is gone took its files along; but a scan path that is gone was never looked at, which is told. */
void dr_scan_directory_error(struct dr_scan *scan, int error);
/* Whether it is time to settle: to be asked after each entry. */
bool dr_scan_is_due(struct dr_scan *scan);
/* Settles what was found up to here. @return 1 go on; 0 the claim is over (scan->ended); -errno */
int dr_scan_settle(struct dr_scan *scan);

#endif
