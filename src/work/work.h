/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_WORK_H
#define DR_WORK_WORK_H

#include "campaign/options.h"
#include "campaign/spec.h"
#include "fs/fs.h"
#include "metric/metric.h"
#include "store/store.h"

/*
 * The workers of one process: threads that scan and threads that move, each with a connection of its own.
 * They take jobs until they are stopped; they survive the loss of the server, and go on with the next one.
 */
struct dr_work;

struct dr_work_config {
	const struct dr_spec *spec; /* all lent for the life of the workers */
	const struct dr_options *options;
	struct dr_fs *fs;
	struct dr_link *link;
	const char *process; /* unique to this process: the head of its consumers' names */
	const char *host;
	int logs_fd;   /* of the folder for audit logs */
	int folder_fd; /* of the campaign's folder, where its list is */
	int wake_fd;   /* an eventfd, written when the queue ran dry; the caller's */
	bool dry_run;
};

/* @error EAGAIN no thread could be made; EINVAL, ENOENT, EACCES lfs_migrate_command cannot be run */
dr_nodiscard int dr_work_start(const struct dr_work_config *config, struct dr_work **ret_work);
/*
 * Asks all threads to stop after the file in hand; they settle it and give their jobs back. The link must
 * still work, or be stopped. Waits for them.
 */
void dr_work_stop(struct dr_work *work);
/* How long it may wait for the files in hand, before they are settled. */
uint64_t dr_work_stop_ns(const struct dr_work *work);
void dr_work_free(struct dr_work *work); /* after dr_work_stop(); takes NULL */

/* Keeps what the threads hold; to be called every claim_timeout / 3. One thread at a time. */
dr_nodiscard int dr_work_refresh(struct dr_work *work, struct dr_store *store);
/*
 * What the process has on its way to each OST is told with each heartbeat, and the answer tells the sum of all processes', with
 * its number; see dr_targets_tell_flight(). work may be NULL: then nothing is on its way.
 */
void dr_work_tell_flight(struct dr_work *work, struct dr_buf *out);
/* @error EBADMSG garbage, of which nothing counts */
dr_nodiscard int dr_work_hear_flight(
	struct dr_work *work, const char *sum, size_t len, uint64_t number);
/* Bytes on their way from this process, and from the others as far as was heard. */
void dr_work_flight_bytes(
	struct dr_work *work, uint64_t *ret_own_bytes, uint64_t *ret_others_bytes);
/* Idle workers look for jobs at once. */
void dr_work_wake(struct dr_work *work);
/* The campaign was paused or is over: files in hand are finished, jobs given back. */
void dr_work_set_running(struct dr_work *work, bool running);

/* The sum of the threads' counters. */
uint64_t dr_work_counted(struct dr_work *work, enum dr_counter which);
/* Calls fn for each worker that has a file or directory in hand, with its escaped path. */
typedef void dr_work_current_fn(void *ctx, const char *worker, const char *path);
void dr_work_current(struct dr_work *work, dr_work_current_fn *fn, void *ctx);

#endif
