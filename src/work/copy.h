/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_COPY_H
#define DR_WORK_COPY_H

#include "fs/fs.h"

/*
 * Threads that help with large files, of drivers that let several threads at one file. All movers of a process share them:
 * whoever copies a large file does not wait for them, but copies its segments too.
 */
struct dr_copy_pool;
/* threads, each with a buffer of so many bytes, aligned to a page. @error EAGAIN no thread could be made; ENOMEM */
dr_nodiscard int dr_copy_pool_new(
	unsigned threads, size_t buffer_bytes, struct dr_copy_pool **ret_pool);
void dr_copy_pool_free(struct dr_copy_pool *pool); /* no copy may be under way; takes NULL */

typedef int dr_tick_fn(void *ctx);

/* One copy: all lent. */
struct dr_copy {
	struct dr_file *file;
	struct dr_vol *vol;
	uint64_t size;   /* of the file, read under the lease */
	bool skip_zeros; /* pages of nothing but zeros become holes */
	uint8_t *buffer;
	size_t buffer_bytes;       /* a multiple of the page size */
	struct dr_copy_pool *pool; /* may be NULL */
	uint64_t
		flush_bytes; /* what was written is sent on its way each time so much has come together; 0: never */
	dr_tick_fn *
		tick; /* called before every buffer, by the caller's thread; below 0 ends the copy with that error; may be NULL */
	void *ctx;
};

/*
 * Copies all data of a file into its volatile: every byte up to size; holes stay holes. A short read is an error until
 * the size is reached. The lease is looked at before every buffer. Nothing is certain to be on the disks when it
 * returns: dr_fs_driver.vol_sync is for that.
 * @error ECANCELED the lease was lost; EIO the file gave less than its size; others of the driver and of tick. After an
 *        error of the volatile's side *ret_writing is true, and *ret_ost the OST where the driver knows it
 */
dr_nodiscard int dr_copy_data(const struct dr_copy *copy, bool *ret_writing, uint32_t *ret_ost);

/* Reads the volatile back and compares it with the file. @error EILSEQ they differ; ECANCELED */
dr_nodiscard int dr_copy_verify(const struct dr_copy *copy);

#endif
