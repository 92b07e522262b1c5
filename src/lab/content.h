/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_LAB_CONTENT_H
#define DR_LAB_CONTENT_H

#include "fs/lab_image.h"

/*
 * What a file of the name space reads as: the data behind its layout; or, where it is no file of the lab (it
 * has no layout, or carries the one of another file that it was copied from), its own bytes.
 * Belongs to one thread at a time.
 */
struct dr_content {
	struct dr_lab_reader *reader; /* NULL: own bytes */
	int fd;
	uint64_t size;
};

/* Lends fd until dr_content_close(). @error EBADMSG a layout that is none; others of dr_lab_reader_open() */
dr_nodiscard int dr_content_open(struct dr_lab *lab, int fd, struct dr_content *ret_content);
void dr_content_close(struct dr_content *content);
/* @return bytes, 0 at the end */
dr_nodiscard ssize_t dr_content_read(
	struct dr_content *content, void *buf, size_t len, uint64_t off);
/* The next extent of data at or after off. @error ENXIO none */
dr_nodiscard int dr_content_next_data(
	struct dr_content *content, uint64_t off, uint64_t *ret_start, uint64_t *ret_end);

/*
 * Whether a stub whose layout gave EBADMSG carries the layout of another file.
 * @return 1 it does; 0 its layout is damaged
 */
dr_nodiscard int dr_content_is_foreign_copy(struct dr_lab *lab, int fd);

#endif
