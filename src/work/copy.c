/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/copy.h"

#include <xxhash.h>

/* Fills the buffer from off up to end. @return bytes, all of them */
static ssize_t read_whole(struct dr_file *file, uint8_t *buffer, size_t len, uint64_t off)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = file->fs->ops->read(file, buffer + have, len - have, off + have);

		if (n == -EINTR) {
			continue;
		}
		if (n < 0) {
			return n;
		}
		if (n == 0) {
			/* The size was read under the lease: an end before it is an error of the read. */
			return -EIO;
		}
		have += (size_t)n;
	}
	return (ssize_t)have;
}

static int copy_extent(const struct dr_copy *copy, uint64_t start, uint64_t end, bool *ret_writing,
	uint32_t *ret_ost)
{
	const struct dr_fs_driver *ops = copy->file->fs->ops;
	uint64_t unflushed = 0;

	for (uint64_t off = start; off < end;) {
		/* Buffers end at multiples of their size, so that stripes are not cut anew each time. */
		uint64_t room = copy->buffer_bytes - off % copy->buffer_bytes;
		size_t len = (size_t)(end - off < room ? end - off : room);
		int r = copy->tick ? copy->tick(copy->ctx) : 0;

		if (r < 0) {
			return r;
		}
		if (ops->lease_check(copy->file) != 1) {
			return -ECANCELED;
		}
		ssize_t n = read_whole(copy->file, copy->buffer, len, off);

		if (n < 0) {
			return (int)n;
		}
		r = ops->vol_write(copy->vol, copy->buffer, len, off, ret_ost);
		if (r < 0) {
			*ret_writing = true;
			return r;
		}
		off += len;
		unflushed += len;
		if (copy->flush_bytes && unflushed >= copy->flush_bytes) {
			unflushed = 0;
			r = ops->vol_flush(copy->vol);
			if (r < 0) {
				*ret_writing = true;
				return r;
			}
		}
	}
	return 0;
}

int dr_copy_data(const struct dr_copy *copy, bool *ret_writing, uint32_t *ret_ost)
{
	const struct dr_fs_driver *ops = copy->file->fs->ops;
	uint64_t off = 0;

	while (off < copy->size) {
		uint64_t start, end;
		int r = ops->next_data(copy->file, off, &start, &end);

		if (r == -ENXIO) {
			break;
		}
		if (r < 0) {
			return r;
		}
		if (end > copy->size) {
			end = copy->size;
		}
		if (start >= end) {
			break;
		}
		r = copy_extent(copy, start, end, ret_writing, ret_ost);
		if (r < 0) {
			return r;
		}
		off = end;
	}
	int r = ops->vol_truncate(copy->vol, copy->size);

	*ret_writing = r < 0;
	return r;
}

int dr_copy_verify(const struct dr_copy *copy)
{
	const struct dr_fs_driver *ops = copy->file->fs->ops;
	uint8_t *buffer = copy->buffer;

	for (uint64_t off = 0; off < copy->size;) {
		uint64_t left = copy->size - off;
		size_t len = left < copy->buffer_bytes ? (size_t)left : copy->buffer_bytes;
		size_t have = 0;

		if (ops->lease_check(copy->file) != 1) {
			return -ECANCELED;
		}
		ssize_t n = read_whole(copy->file, buffer, len, off);

		if (n < 0) {
			return (int)n;
		}
		XXH64_hash_t want = XXH64(buffer, len, 0);

		while (have < len) {
			n = ops->vol_read(copy->vol, buffer + have, len - have, off + have);
			if (n <= 0) {
				return n < 0 ? (int)n : -EILSEQ;
			}
			have += (size_t)n;
		}
		if (XXH64(buffer, len, 0) != want) {
			return -EILSEQ;
		}
		off += len;
	}
	return 0;
}
