/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "work/clone_priv.h"

#include <fcntl.h>
#include <string.h>

#define RANGE_LEAST (128u << 10) /* a shorter extent is not worth asking for copy_file_range() */
#define RANGE_BYTES (16u << 20)  /* of one call, so that `stop` is looked at */
#define FLUSH_BYTES (8u << 20) /* writing to the disk begins early: the sync then waits for less */

struct copying {
	struct dr_cloner *cloner;
	int from, to;
	bool skips_zeros;
	uint64_t unflushed; /* bytes */
	enum dr_step step;
};

static bool is_stopping(const struct dr_cloner *cloner)
{
	return cloner->stop && atomic_load_explicit(cloner->stop, memory_order_relaxed);
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* Writes the pages that are not all zeros, those side by side in one go. */
static int write_nonzero(int fd, const uint8_t *bytes, size_t len, uint64_t off)
{
	const size_t page = 4096;

	for (size_t at = 0; at < len;) {
		size_t from = at;

		while (at < len && !is_zero(bytes + at, len - at < page ? len - at : page)) {
			at += page;
		}
		size_t to = at < len ? at : len;
		int r = to > from ? dr_pwrite_full(fd, bytes + from, to - from, (off_t)(off + from))
				  : 0;

		if (r < 0) {
			return r;
		}
		at += page;
	}
	return 0;
}

static void flush(struct copying *copying, uint64_t end, size_t len)
{
	copying->unflushed += len;
	if (copying->unflushed < FLUSH_BYTES || copying->cloner->to->kind == DR_FS_LUSTRE) {
		return; /* Lustre sends what is dirty as soon as it fills a request */
	}
	/* It only begins: an error shows in the sync of whoever settles. */
	(void)sync_file_range(copying->to, (off_t)(end - copying->unflushed),
		(off_t)copying->unflushed, SYNC_FILE_RANGE_WRITE);
	copying->unflushed = 0;
}

/*
 * The kernel's own copy, which shares extents or copies on the server where a file system can do that; elsewhere it is as fast as ours. It does not say
 * which side an error is of: whatever it leaves, our copy does, or fails at.
 * @return how far it came
 */
static int copy_range(struct copying *copying, uint64_t off, uint64_t end, uint64_t *ret_off)
{
	struct dr_cloner *cloner = copying->cloner;

	/* Lustre has none: the generic one takes a page at a time there. */
	while (off < end && end - off >= RANGE_LEAST && !cloner->no_range_copy &&
		!copying->skips_zeros && cloner->from->kind != DR_FS_LUSTRE &&
		cloner->to->kind != DR_FS_LUSTRE) {
		off_t in = (off_t)off, out = (off_t)off;
		size_t len = end - off < RANGE_BYTES ? (size_t)(end - off) : RANGE_BYTES;

		if (is_stopping(cloner)) {
			return -ECANCELED;
		}
		ssize_t n = copy_file_range(copying->from, &in, copying->to, &out, len, 0);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP ||
				     errno == ENOSYS)) {
			cloner->no_range_copy = true;
		}
		if (n <= 0) {
			break;
		}
		off += (uint64_t)n;
		flush(copying, off, (size_t)n);
	}
	*ret_off = off;
	return 0;
}

static int copy_extent(struct copying *copying, uint64_t off, uint64_t end)
{
	struct dr_cloner *cloner = copying->cloner;

	copying->step = DR_STEP_COPY;
	int r = copy_range(copying, off, end, &off);

	while (r == 0 && off < end) {
		/* Buffers end at multiples of their size, so that stripes are not cut anew each time. */
		uint64_t room = cloner->buffer_bytes - off % cloner->buffer_bytes;
		size_t len = (size_t)(end - off < room ? end - off : room);

		copying->step = DR_STEP_COPY;
		if (is_stopping(cloner)) {
			return -ECANCELED;
		}
		ssize_t n = dr_pread_full(copying->from, cloner->buffer, len, (off_t)off);

		if (n < 0) {
			return (int)n;
		}
		if ((size_t)n < len) {
			copying->step = DR_STEP_VERSION;
			return -ESTALE;
		}
		copying->step = DR_STEP_WRITE;
		r = copying->skips_zeros
			    ? write_nonzero(copying->to, cloner->buffer, len, off)
			    : dr_pwrite_full(copying->to, cloner->buffer, len, (off_t)off);
		off += len;
		flush(copying, off, len);
	}
	return r;
}

/* The next data of [off, end). @return 1 found; 0 there is none */
static int next_data(int fd, uint64_t off, uint64_t end, uint64_t *ret_start, uint64_t *ret_end)
{
	off_t start = lseek(fd, (off_t)off, SEEK_DATA);

	if (start < 0 && errno == ENXIO) {
		return 0;
	}
	off_t stop = start < 0 ? -1 : lseek(fd, start, SEEK_HOLE);

	if (stop < 0 && errno != EINVAL && errno != EOPNOTSUPP && errno != ENXIO) {
		return -errno;
	}
	/* No answer, or one that a change has overtaken: all of it may be data. */
	*ret_start = start < 0 ? off : (uint64_t)start;
	*ret_end = stop < 0 || (uint64_t)stop > end ? end : (uint64_t)stop;
	return *ret_start < end;
}

int dr_clone_copy_data(struct dr_cloner *cloner, int from, int to, uint64_t offset, uint64_t end,
	bool is_sparse, enum dr_step *ret_step)
{
	struct copying copying = { .cloner = cloner, .from = from, .to = to };
	int r = 0;

	if (end - offset > cloner->buffer_bytes) {
		(void)posix_fadvise(
			from, (off_t)offset, (off_t)(end - offset), POSIX_FADV_SEQUENTIAL);
	}
	if (!is_sparse && offset < end) {
		r = copy_extent(&copying, offset, end);
	}
	for (uint64_t off = offset; is_sparse && r == 0 && off < end;) {
		uint64_t data = 0, hole = 0;

		copying.step = DR_STEP_COPY;
		r = next_data(from, off, end, &data, &hole);
		if (r <= 0) {
			break;
		}
		/* Fewer blocks than bytes, and no hole: this file system does not tell where they are. */
		copying.skips_zeros = data == offset && hole == end;
		copying.unflushed = 0;
		r = copy_extent(&copying, data, hole);
		off = hole;
	}
	*ret_step = copying.step;
	return r;
}

int dr_clone_same_data(const struct dr_cloner *cloner, int from, int to, uint64_t size)
{
	size_t half = cloner->buffer_bytes / 2;
	uint8_t *other = cloner->buffer + half;

	if (size > half) {
		(void)posix_fadvise(from, 0, 0, POSIX_FADV_SEQUENTIAL);
		(void)posix_fadvise(to, 0, 0, POSIX_FADV_SEQUENTIAL);
	}
	for (uint64_t off = 0; off < size;) {
		size_t len = size - off < half ? (size_t)(size - off) : half;

		if (is_stopping(cloner)) {
			return -ECANCELED;
		}
		ssize_t n = dr_pread_full(from, cloner->buffer, len, (off_t)off);

		if (n < 0) {
			return (int)n;
		}
		if (n != (ssize_t)len || dr_pread_full(to, other, len, (off_t)off) != n ||
			memcmp(cloner->buffer, other, len) != 0) {
			return 0;
		}
		off += len;
	}
	return 1;
}
