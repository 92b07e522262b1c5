/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_COPY_H
#define DR_WORK_COPY_H

#include "fs/fs.h"

/*
 * Copies all data of a file into its volatile: every byte up to size, which was read under the lease; holes stay
 * holes. A short read is an error until the size is reached. The lease is looked at before every buffer.
 * Nothing is on the disks when it returns: dr_fs_driver.vol_sync is for that.
 *
 * tick (may be NULL) is called before every buffer; other than 0, it ends the copy with that error.
 * @error ECANCELED the lease was lost; EIO the file gave less than its size; ENOSPC with *ret_ost the full OST;
 *        others of the driver
 */
typedef int dr_tick_fn(void *ctx);
dr_nodiscard int dr_copy_data(struct dr_file *file, struct dr_vol *vol, uint64_t size,
	uint8_t *buffer, size_t buffer_bytes, dr_tick_fn *tick, void *ctx, uint32_t *ret_ost);

/* Reads the volatile back and compares it with the file. @error EILSEQ they differ; ECANCELED */
dr_nodiscard int dr_copy_verify(struct dr_file *file, struct dr_vol *vol, uint64_t size,
	uint8_t *buffer, size_t buffer_bytes);

#endif
