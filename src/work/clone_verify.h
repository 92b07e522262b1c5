/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_CLONE_VERIFY_H
#define DR_WORK_CLONE_VERIFY_H

#include "work/clone.h"

/* The verify pass: compares, reports, changes nothing. */

enum dr_verify_difference {
	DR_VERIFY_MISSING = 1, /* the target has no such entry */
	DR_VERIFY_EXTRA = 2,   /* the source has none */
	DR_VERIFY_TYPE = 4,
	DR_VERIFY_DATA = 8, /* size, content, symlink's target, device's number */
	DR_VERIFY_OWNER = 16,
	DR_VERIFY_MODE = 32,
	DR_VERIFY_XATTRS = 64,
	DR_VERIFY_PROJECT = 128,
	DR_VERIFY_FLAGS = 256,
	DR_VERIFY_TIMES = 512,
	DR_VERIFY_LINKS = 1024, /* another number of names */
};

struct dr_verify_digest {
	bool is_sha256; /* else XXH3, 128 bits */
	uint8_t bytes[32];
};

/*
 * Compares one entry, a file's content too: both sides are read to their ends, side by side, but where both have a hole; a hole equals zeros. The atimes of what is read stay, where
 * we may say so. Of directories the entry itself is compared, not what is in it.
 * A released file of the source is read when the cloner says DR_RELEASED_COPY; with DR_RELEASED_STUB all but its content is compared, and *ret_bytes is 0.
 * What the target alone is missing (DR_VERIFY_MISSING) or has as another type is read all the same, for the digest.
 * @param wants_sha256 fills *ret_digest with SHA-256 of the source's content, for a manifest; else with XXH3. Of what was not read, and is no regular file: zeros, is_sha256 false
 * @param ret_differences 0: none; never DR_VERIFY_EXTRA
 * @param ret_bytes of the source's content, with its holes
 * @error ENOENT the source's entry is gone; errors of reading either side; ESTALE the source changed meanwhile; ENODATA released, and DR_RELEASED_SKIP;
 *        EAGAIN somebody holds a lease on it; ECANCELED stopping; EINVAL the cloner's buffer is smaller than two pages
 */
dr_nodiscard int dr_clone_verify(struct dr_cloner *cloner, int from_fd, int to_fd, const char *name,
	bool wants_sha256, unsigned *ret_differences, struct dr_verify_digest *ret_digest,
	uint64_t *ret_bytes);
/* "data owner mode", into buf of at least 128 bytes; returns buf. */
const char *dr_verify_words(unsigned differences, char *buf, size_t size);
/* A line of a manifest as sha256sum -c reads it ("\" and a leading backslash for odd names), appended. */
void dr_verify_manifest_line(
	struct dr_buf *out, const struct dr_verify_digest *digest, const char *path, size_t len);

#endif
