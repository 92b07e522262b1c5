/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_CANDIDATES_H
#define DR_CAMPAIGN_CANDIDATES_H

#include "base/buf.h"
#include "fs/layout.h"

/*
 * The candidates of a campaign: files that somebody else named (drover start --from-list), in the file "candidates" of the campaign's
 * folder, which never changes. A candidate is "/" and the path relative to the file system's root, of the form a/b/c, or a FID in
 * brackets; each ends with a NUL.
 *
 * A range [from, to) of the file, in bytes, stands for the candidates that begin in it. So any two numbers are a range, and
 * ranges that lie side by side share no candidate and lose none.
 */
#define DR_CANDIDATES_FILE "candidates"
#define DR_CANDIDATE_MAX 65536u /* bytes of one, without its NUL */

struct dr_candidate {
	const char *path; /* relative to the root, NUL-terminated, lent; NULL: it is a FID */
	size_t len;
	struct dr_fid fid;
};

/* Appends it, with its NUL. */
void dr_candidate_put(struct dr_buf *out, const struct dr_candidate *candidate);
/*
 * The bytes of one without its NUL, which must be there; the path is lent by them.
 * @error EBADMSG neither a path nor a FID
 */
dr_nodiscard int dr_candidate_parse(
	const char *bytes, size_t len, struct dr_candidate *ret_candidate);

/* Reads a range. Belongs to one thread. */
struct dr_candidate_reader {
	int fd;
	uint64_t position; /* from here to `to` is what was not read yet, as a range */
	uint64_t to;
	uint8_t *buf;
	uint64_t buf_off; /* of the buffer in the file */
	size_t buf_len, at;
};

/*
 * folder_fd: of the campaign's folder.
 * @error ENOENT there is no list; EBADMSG the range does not lie in it
 */
dr_nodiscard int dr_candidate_reader_init(
	struct dr_candidate_reader *reader, int folder_fd, uint64_t from, uint64_t to);
/* Also after an init that failed, and of zeroed memory. */
void dr_candidate_reader_fini(struct dr_candidate_reader *reader);
/*
 * The next one, lent until the next call. @return 1; 0 there is none left
 * @error EBADMSG it is damaged, or the file is shorter than the range
 */
dr_nodiscard int dr_candidate_next(
	struct dr_candidate_reader *reader, struct dr_candidate *ret_candidate);

#endif
