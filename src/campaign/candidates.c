/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/candidates.h"

#include "base/fdio.h"
#include "campaign/spec.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define BUFFER_BYTES ((size_t)4 * DR_CANDIDATE_MAX)

void dr_candidate_put(struct dr_buf *out, const struct dr_candidate *candidate)
{
	char fid[DR_FID_TEXT_SIZE];

	if (candidate->path) {
		dr_buf_put_u8(out, '/');
		dr_buf_put(out, candidate->path, candidate->len);
	} else {
		dr_buf_printf(out, "[%s]", dr_fid_format(&candidate->fid, fid));
	}
	dr_buf_put_u8(out, '\0');
}

int dr_candidate_parse(const char *bytes, size_t len, struct dr_candidate *ret_candidate)
{
	struct dr_fid fid;

	if (len > DR_CANDIDATE_MAX || memchr(bytes, '\0', len)) {
		return -EBADMSG;
	}
	if (len > 1 && bytes[0] == '/' && dr_path_is_normal(bytes + 1)) {
		*ret_candidate = (struct dr_candidate){ .path = bytes + 1, .len = len - 1 };
		return 0;
	}
	if (len > 1 && bytes[0] == '[' && dr_fid_parse(bytes, len, &fid) == 0) {
		*ret_candidate = (struct dr_candidate){ .fid = fid };
		return 0;
	}
	return -EBADMSG;
}

/* Drops what was read from the buffer, and fills it up. @error EBADMSG nothing more is there */
static int fill(struct dr_candidate_reader *reader)
{
	size_t kept = reader->buf_len - reader->at;

	memmove(reader->buf, reader->buf + reader->at, kept);
	reader->buf_off += reader->at;
	reader->at = 0;
	reader->buf_len = kept;
	ssize_t n = dr_pread_full(reader->fd, reader->buf + kept, BUFFER_BYTES - kept,
		(off_t)(reader->buf_off + kept));

	if (n < 0) {
		return (int)n;
	}
	reader->buf_len += (size_t)n;
	return n > 0 ? 0 : -EBADMSG;
}

/* Up to the next NUL. @return the bytes before it; the reader is behind it. @error EBADMSG too long, or the end */
static int take(struct dr_candidate_reader *reader, const char **ret_bytes, size_t *ret_len)
{
	const uint8_t *nul = NULL;
	size_t searched = 0;

	for (;;) {
		size_t have = reader->buf_len - reader->at;

		nul = have > searched
			      ? memchr(reader->buf + reader->at + searched, '\0', have - searched)
			      : NULL;
		if (nul || have > DR_CANDIDATE_MAX) {
			break;
		}
		searched = have;
		int r = fill(reader);

		if (r < 0) {
			return r;
		}
	}
	if (!nul) {
		return -EBADMSG;
	}
	*ret_bytes = (const char *)reader->buf + reader->at;
	*ret_len = (size_t)(nul - (reader->buf + reader->at));
	reader->at += *ret_len + 1;
	return 0;
}

int dr_candidate_reader_init(
	struct dr_candidate_reader *reader, int folder_fd, uint64_t from, uint64_t to)
{
	const char *bytes;
	size_t len;
	struct stat st;

	*reader = (struct dr_candidate_reader){
		.fd = openat(folder_fd, DR_CANDIDATES_FILE, O_RDONLY | O_CLOEXEC),
		.position = from,
		.to = to,
		.buf_off = from > 0 ? from - 1 : 0,
	};
	if (reader->fd < 0 || fstat(reader->fd, &st) < 0) {
		return -errno;
	}
	if (from > to || to > (uint64_t)st.st_size) {
		return -EBADMSG;
	}
	reader->buf = dr_xcalloc(1, BUFFER_BYTES);
	/* One that begins before the range belongs to another; from - 1 is the NUL before the first or lies within it. */
	return from > 0 && from < to ? take(reader, &bytes, &len) : 0;
}

void dr_candidate_reader_fini(struct dr_candidate_reader *reader)
{
	if (reader->buf || reader->fd > 0) {
		dr_fd_closep(&reader->fd);
	}
	free(reader->buf);
	*reader = (struct dr_candidate_reader){ .fd = -EBADF };
}

int dr_candidate_next(struct dr_candidate_reader *reader, struct dr_candidate *ret_candidate)
{
	const char *bytes;
	size_t len;

	if (reader->position >= reader->to || reader->buf_off + reader->at >= reader->to) {
		reader->position = reader->to;
		return 0;
	}
	int r = take(reader, &bytes, &len);

	if (r == 0) {
		r = dr_candidate_parse(bytes, len, ret_candidate);
	}
	if (r < 0) {
		return r;
	}
	uint64_t next = reader->buf_off + reader->at;

	reader->position = next < reader->to ? next : reader->to;
	return 1;
}
