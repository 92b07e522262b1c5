/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/copy_pool.h"

#include <stdatomic.h>
#include <string.h>
#include <xxhash.h>

#define SHARE_BYTES (32u << 20) /* a longer extent is worth several threads */

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

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* Writes the pages that are not all zeros, those side by side in one go. */
static int write_nonzero(const struct dr_copy *copy, const uint8_t *bytes, size_t len, uint64_t off,
	uint32_t *ret_ost)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (size_t at = 0; at < len;) {
		size_t from = at;

		while (at < len && !is_zero(bytes + at, len - at < page ? len - at : page)) {
			at += page;
		}
		size_t to = at < len ? at : len;

		if (to > from) {
			int r = copy->file->fs->ops->vol_write(
				copy->vol, bytes + from, to - from, off + from, ret_ost);
			if (r < 0) {
				return r;
			}
		}
		at += page;
	}
	return 0;
}

/* Why the copy must end now, or 0. */
static int check(const struct dr_copy *copy, bool own, const _Atomic bool *stop)
{
	int r = own && copy->tick ? copy->tick(copy->ctx) : 0;

	if (r < 0) {
		return r;
	}
	if (stop && atomic_load_explicit(stop, memory_order_relaxed)) {
		return -ECANCELED; /* another thread's error counts */
	}
	return copy->file->fs->ops->lease_check(copy->file) == 1 ? 0 : -ECANCELED;
}

static void copy_segment(const struct dr_copy *copy, uint8_t *buffer, uint64_t start, uint64_t end,
	bool own, const _Atomic bool *stop, struct dr_copy_result *result)
{
	const struct dr_fs_driver *ops = copy->file->fs->ops;
	uint64_t unflushed = 0;

	for (uint64_t off = start; off < end && result->error == 0;) {
		/* Buffers end at multiples of their size, so that stripes are not cut anew each time. */
		uint64_t room = copy->buffer_bytes - off % copy->buffer_bytes;
		size_t len = (size_t)(end - off < room ? end - off : room);
		int r = check(copy, own, stop);
		ssize_t n = r < 0 ? r : read_whole(copy->file, buffer, len, off);

		if (n < 0) {
			result->error = (int)n;
			return;
		}
		result->error = copy->skip_zeros
					? write_nonzero(copy, buffer, len, off, &result->ost)
					: ops->vol_write(copy->vol, buffer, len, off, &result->ost);
		off += len;
		unflushed += len;
		if (result->error == 0 && copy->flush_bytes && unflushed >= copy->flush_bytes) {
			unflushed = 0;
			result->error = ops->vol_flush(copy->vol);
		}
		result->writing = result->error < 0;
	}
}

static void copy_extent(
	const struct dr_copy *copy, uint64_t start, uint64_t end, struct dr_copy_result *result)
{
	if (copy->pool && copy->file->fs->ops->parallel && end - start > SHARE_BYTES) {
		dr_copy_pool_run(copy->pool, copy, start, end, copy_segment, result);
	} else {
		copy_segment(copy, copy->buffer, start, end, true, NULL, result);
	}
}

int dr_copy_data(const struct dr_copy *copy, bool *ret_writing, uint32_t *ret_ost)
{
	const struct dr_fs_driver *ops = copy->file->fs->ops;
	uint64_t off = 0;

	while (off < copy->size) {
		struct dr_copy_result result = { .ost = *ret_ost };
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
		copy_extent(copy, start, end, &result);
		if (result.error < 0) {
			*ret_writing = result.writing;
			*ret_ost = result.ost;
			return result.error;
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
