/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_CHUNK_H
#define DR_CAMPAIGN_CHUNK_H

#include "base/buf.h"
#include "campaign/outcome.h"
#include "fs/layout.h"

/*
 * The codec of a move job: files with their directory, FID and size; of leftovers also what became of them. In a clone the FID is
 * the source's inode (seq), and a job is of one of several kinds.
 *
 * Bytes: version, flags, [kind], varint files, varint bytes of all files, then per file
 *   tag, [directory: blob], varint of name bytes shared with the file before, rest of the name: blob,
 *   [varint zigzag difference of the FID's seq], varint zigzag difference of its oid, [u32 ver],
 *   varint size, [part: varint offset, varint size of the whole file, zigzag seconds and varint nanoseconds of mtime and ctime],
 *   [outcome: class, step, varint errno, varint OSTs, varint each]
 * so that names in a directory and FIDs of neighbours cost little memory in the queue.
 */
#define DR_CHUNK_FILES_MAX 65536

/* What is to be done with the files. */
enum dr_chunk_kind {
	DR_CHUNK_MOVE,   /* off the sources */
	DR_CHUNK_COPY,   /* into the target tree */
	DR_CHUNK_LINK,   /* one more name of a file that was copied */
	DR_CHUNK_PART,   /* a part of a huge file; size is the part's */
	DR_CHUNK_END,    /* the end of a file whose parts are all there */
	DR_CHUNK_VERIFY, /* compare */
	DR_N_CHUNK_KINDS,
};

/* Of files of the kinds PART and END: where the part is, and what the file was when it was cut. */
struct dr_chunk_part {
	uint64_t offset, total; /* bytes */
	struct timespec mtime, ctime;
};

struct dr_chunk_file {
	const char *dir; /* relative to the file system's root; NUL-terminated */
	size_t dir_len;
	const char *name; /* NUL-terminated */
	size_t name_len;
	struct dr_fid fid;         /* zero: not known */
	uint64_t size;             /* bytes, as the scan saw it */
	struct dr_chunk_part part; /* of PART and END */
	struct dr_outcome outcome; /* of leftovers */
};

/* One in the making. Zeroed memory is an empty one. */
struct dr_chunk_builder {
	struct dr_buf body;
	uint64_t n_files, bytes;
	enum dr_chunk_kind kind; /* set before the first file */
	bool outcomes;           /* likewise */
	struct dr_buf dir, name; /* of the file before */
	struct dr_fid fid;
};

void dr_chunk_add(struct dr_chunk_builder *builder, const struct dr_chunk_file *file);
/* Appends the whole chunk to out, and empties the builder. */
void dr_chunk_finish(struct dr_chunk_builder *builder, struct dr_buf *out);
void dr_chunk_builder_fini(struct dr_chunk_builder *builder);

/* One taken apart. */
struct dr_chunk {
	struct dr_chunk_file *files;
	size_t n_files;
	uint64_t bytes;
	enum dr_chunk_kind kind;
	bool outcomes;
	char *names; /* what the files point into */
};

/* @error EBADMSG torn or not a chunk */
dr_nodiscard int dr_chunk_decode(const void *bytes, size_t len, struct dr_chunk *ret_chunk);
void dr_chunk_fini(struct dr_chunk *chunk);

#endif
