/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab/content.h"

#include "base/fdio.h"

#include <sys/stat.h>
#include <sys/xattr.h>

int dr_content_is_foreign_copy(struct dr_lab *lab, int fd)
{
	static const struct dr_rangeset none;
	uint8_t bytes[4096];
	struct dr_layout_look look;
	struct dr_fid fid;
	ssize_t len = fgetxattr(fd, DR_LAB_XATTR, bytes, sizeof(bytes));
	int r;

	if (len < 0) {
		return -errno;
	}
	r = dr_lab_fid_of(lab, fd, &fid);
	if (r < 0) {
		return r;
	}
	/* A copied pointer names a file that only the other stub has. */
	if (dr_layout_look(bytes, (size_t)len, &none, &look) < 0) {
		return len == 16;
	}
	return !dr_fid_equal(&look.fid, &fid);
}

int dr_content_open(struct dr_lab *lab, int fd, struct dr_content *ret_content)
{
	struct dr_lab_reader *reader = NULL;
	struct stat st;
	int r = dr_lab_reader_open(lab, fd, &reader);

	if (r >= 0) {
		*ret_content = (struct dr_content){ reader, fd, dr_lab_reader_size(reader) };
		return 0;
	}
	if (r == -EBADMSG && dr_content_is_foreign_copy(lab, fd) == 1) {
		r = -ENODATA;
	}
	if (r != -ENODATA) {
		return r;
	}
	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	*ret_content = (struct dr_content){ NULL, fd, (uint64_t)st.st_size };
	return 0;
}

void dr_content_close(struct dr_content *content)
{
	if (content->reader) {
		dr_lab_reader_close(content->reader);
	}
	content->reader = NULL;
}

ssize_t dr_content_read(struct dr_content *content, void *buf, size_t len, uint64_t off)
{
	if (content->reader) {
		return dr_lab_reader_read(content->reader, buf, len, off);
	}
	return dr_pread_full(content->fd, buf, len, (off_t)off);
}

int dr_content_next_data(
	struct dr_content *content, uint64_t off, uint64_t *ret_start, uint64_t *ret_end)
{
	off_t start, end;

	if (content->reader) {
		return dr_lab_reader_next_data(content->reader, off, ret_start, ret_end);
	}
	start = lseek(content->fd, (off_t)off, SEEK_DATA);
	if (start < 0) {
		return -errno;
	}
	end = lseek(content->fd, start, SEEK_HOLE);
	if (end < 0) {
		return -errno;
	}
	*ret_start = (uint64_t)start;
	*ret_end = (uint64_t)end;
	return 0;
}
