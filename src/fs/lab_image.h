/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_FS_LAB_IMAGE_H
#define DR_FS_LAB_IMAGE_H

#include "base/buf.h"
#include "fs/fs.h"

#include <stdatomic.h>

/*
 * The lab's image: what a simulated Lustre looks like on disk. Used by the lab driver and by
 * drover-lab; nothing else looks below DIR but through the name space.
 *
 *   DIR/lab.json        format version, number of OSTs and MDTs, identity (a random word)
 *   DIR/lab.state       mapped by every user: struct dr_lab_state
 *   DIR/ns/             the name space
 *   DIR/OST0000/dNN/    objects; NN = object id mod 32, decimal, two digits; made with its first object
 *   DIR/layouts/        layouts too large for an xattr
 *   DIR/journal/        one file per process that has the lab open: its volatile files
 *   DIR/archive/        the data of released files, named by FID (the HSM back end)
 *   DIR/pools/NAME      the OSTs of a pool, as "0-3,7" or an index on each line; made with the first pool
 *
 * A regular file of the name space with a layout is a stub:
 *  - its size is the file's size; its owner, mode, links and times are the file's;
 *  - xattr user.lov holds the layout in Lustre's binary format, lmm_oi of each component being the
 *    file's FID; or, when that is longer than DR_LAB_XATTR_MAX, 16 bytes "DRLABLAY" + le64 generation, naming
 *    DIR/layouts/FID.GENERATION; the file is written before the xattr names it;
 *  - it holds no data but the bytes of its DoM components (what lies on the MDT), at their offsets;
 *  - data version = a hash of size, mtime (ns) and inode: whatever writes to a stub changes it, so that a foreign
 *    write is a change: a move in progress never swaps. The bytes of a foreign write outside DoM are not file data.
 * FID = { seq DR_LAB_SEQ + (inode >> 32), oid inode's low half, ver the inode's generation }. A stub whose FID is not that
 * of its inode is a foreign copy (cp -a keeps xattrs); it is no file of the lab, and nobody moves it.
 *
 * An object's name is OBJECT:OWNER, both FIDs in hex: "%llx.%x:%llx.%x.%x" (object seq, oid; owner seq, oid, ver). The owner of
 * a volatile file's objects is the file that it was made for, so a swap renames nothing.
 * Object FID = { DR_LAB_OST_SEQ + (ost << 30) + (number >> 32), number's low half, 0 }; numbers come from the state's counter.
 * A RAID0 stripe's bytes lie in its object as dr_layout_map() says; an object is never longer than its part of the file.
 */
#define DR_LAB_FORMAT 1
#define DR_LAB_SEQ 0x200000400ull
#define DR_LAB_OST_SEQ 0x280000401ull
#define DR_LAB_XATTR "user.lov"
#define DR_LAB_XATTR_MAX 3072 /* bytes; ext4 keeps all xattrs of an inode in one 4 KiB block */
#define DR_LAB_OST_MAX 4096
#define DR_LAB_BLOCK 4096u /* usage is counted in blocks of this */

enum dr_lab_ost_state { DR_LAB_UP, DR_LAB_IS_DOWN, DR_LAB_FULL, DR_LAB_CLOSED, DR_LAB_SLOW };

/* Shared by all processes, in lab.state; every field is atomic. */
struct dr_lab_ost {
	_Atomic uint64_t size_bytes; /* 0: as big as the disk beneath allows */
	_Atomic int64_t used_bytes;  /* sum of the objects' blocks that hold data */
	_Atomic int64_t objects;
	_Atomic uint64_t next_number; /* of an object; starts at 1 */
	_Atomic uint32_t state;       /* enum dr_lab_ost_state */
	_Atomic uint32_t
		latency_ms; /* per object operation (create, read, write, sync), state SLOW */
	_Atomic uint64_t
		bandwidth; /* bytes per second for reads and writes, state SLOW; 0: no limit */
	_Atomic uint64_t busy_until_ns; /* CLOCK_MONOTONIC: the token bucket of the bandwidth */
	uint64_t reserved[8];
};

struct dr_lab_state {
	_Atomic uint64_t magic;
	_Atomic uint32_t n_osts;
	_Atomic uint32_t
		recount; /* 1: a process died in mid-operation: usage may be a little off */
	_Atomic uint64_t
		boot; /* of the machine that mapped it last: after another boot usage is in doubt */
	uint64_t reserved[13];
	struct dr_lab_ost ost[];
};

struct dr_lab {
	char *dir;      /* absolute */
	char *identity; /* "lab:<random word>" */
	uint32_t n_osts, n_mdts;
	int dir_fd, ns_fd, layouts_fd, archive_fd, journal_fd;
	int state_fd; /* of lab.state; an OFD read lock on it says that the lab is in use */
	uint64_t ns_dev;
	int handle_type; /* of name_to_handle_at below ns; -1: FIDs cannot be opened */
	struct dr_lab_state *state;
	size_t state_bytes;
	const char *fault;              /* where to die, see dr_lab_open(); NULL: nowhere */
	struct dr_lab_journal *journal; /* this process's; opaque */
};

/* @error EEXIST DIR exists and is not empty; EINVAL too many OSTs. ost_size 0: as the disk allows */
dr_nodiscard int dr_lab_create(
	const char *dir, uint32_t n_osts, uint32_t n_mdts, uint64_t ost_size);
/*
 * Opens a lab and recovers what killed processes left: their volatile objects go, half-done swaps are
 * decided by the stub's layout; and if nobody else has it open and usage is in doubt, it is counted anew.
 * For tests of such deaths: with DROVER_LAB_FAULT in the environment the process kills itself (SIGKILL) at
 * that point: slot (named in the journal, not yet created), created, charged, swap-before, swap-after, unlinked.
 * @error ENOENT, EBADMSG not a lab; ESTALE another format
 */
dr_nodiscard int dr_lab_open(const char *dir, struct dr_lab **ret_lab);
void dr_lab_close(struct dr_lab *lab);
/* The lab directory that holds path (in its ns), malloc'ed. @return 1 found, 0 not in a lab */
dr_nodiscard int dr_lab_find(const char *path, char **ret_dir);
/* Destroys the volatile objects of processes that are gone. @return how many processes were cleaned up after */
dr_nodiscard int dr_lab_recover(struct dr_lab *lab);
/* Counts usage anew from the objects. Only while nobody moves or writes. */
dr_nodiscard int dr_lab_recount(struct dr_lab *lab);

dr_nodiscard int dr_lab_fid_of(struct dr_lab *lab, int fd, struct dr_fid *ret_fid);
/* 1 the stub with this FID exists, 0 it does not, -ENOTSUP not knowable here (not root, file system without handles) */
dr_nodiscard int dr_lab_fid_exists(struct dr_lab *lab, const struct dr_fid *fid);

/* Layout of a stub. @error ENODATA none; EBADMSG of another inode (a foreign copy) or not decodable */
dr_nodiscard int dr_lab_layout_get(struct dr_lab *lab, int fd, struct dr_buf *out);
dr_nodiscard int dr_lab_layout_set(
	struct dr_lab *lab, int fd, const struct dr_fid *fid, const struct dr_layout *layout);

/* Bytes of data blocks in an object: what it is charged for. */
dr_nodiscard int dr_lab_object_charge(int fd, uint64_t *ret_bytes);
dr_nodiscard int dr_lab_object_open(struct dr_lab *lab, const struct dr_layout_object *obj,
	const struct dr_fid *owner, int flags);
/*
 * Creates an object on obj->ost, sets obj->fid, counts it. The caller's slot (below) must name it first when
 * the process may die before a layout does.
 * @error ENODEV down; ENOBUFS closed; ENOSPC full
 */
dr_nodiscard int dr_lab_object_create(
	struct dr_lab *lab, struct dr_layout_object *obj, const struct dr_fid *owner);
/* Removes an object and its charge; a missing one is no error. */
dr_nodiscard int dr_lab_object_destroy(
	struct dr_lab *lab, const struct dr_layout_object *obj, const struct dr_fid *owner);
#define DR_LAB_BUCKETS 32
/* The path of an OST's folder number `bucket` relative to dir_fd, "OST0003/d07", into buf (16 bytes). */
char *dr_lab_bucket_path(uint32_t ost, uint32_t bucket, char *buf);
/* The name of an object in its folder into buf (DR_LAB_NAME_SIZE bytes), and back. @error EINVAL no such name */
#define DR_LAB_NAME_SIZE 80
char *dr_lab_object_name(const struct dr_fid *fid, const struct dr_fid *owner, char *buf);
dr_nodiscard int dr_lab_object_parse(
	const char *name, struct dr_fid *ret_fid, struct dr_fid *ret_owner);
/*
 * Every object of an OST, in no order; one that goes or comes meanwhile may be seen or not. fn gets the
 * folder's descriptor and the object's name in it; below 0 or above 0 from it ends the walk with that value.
 */
typedef int dr_lab_object_fn(void *ctx, int dirfd, const char *name,
	const struct dr_layout_object *obj, const struct dr_fid *owner);
dr_nodiscard int dr_lab_each_object(
	struct dr_lab *lab, uint32_t ost, dr_lab_object_fn *fn, void *ctx);
/* Takes bytes of an OST's space, or gives them back. @error ENOSPC */
dr_nodiscard int dr_lab_charge(struct dr_lab *lab, uint32_t ost, int64_t bytes);
void dr_lab_osts(struct dr_lab *lab, struct dr_ost *ret_osts /* n_osts */);

/* What a pool may be called: up to DR_POOL_MAX letters, digits, '-', '_' and '.', which does not come first. */
bool dr_lab_pool_name_ok(const char *name);
/* The OSTs of a pool, into *osts (replaced; untouched on an error). @error ENOENT no such pool; EBADMSG its file is garbage */
dr_nodiscard int dr_lab_pool_get(struct dr_lab *lab, const char *name, struct dr_rangeset *osts);
/* Makes a pool, or gives it other OSTs. @error EINVAL no name of a pool */
dr_nodiscard int dr_lab_pool_set(
	struct dr_lab *lab, const char *name, const struct dr_rangeset *osts);
/* @error ENOENT no such pool */
dr_nodiscard int dr_lab_pool_remove(struct dr_lab *lab, const char *name);

/*
 * Makes a file of the lab from data: used by import and fill. The stub is created at dirfd/name, objects by
 * the template layout (component extents, patterns, stripe sizes and counts; objects of initialised
 * components are placed by `place`, which is called with the number of objects wanted and fills their OSTs).
 * Data is read from src_fd (holes kept); size from fstat. src_fd -1: empty file. DoM bytes go into the stub.
 * Owner, mode and times are the caller's business.
 */
typedef void dr_lab_place_fn(
	void *ctx, struct dr_layout_object *objects, uint32_t n, bool overstripe);
dr_nodiscard int dr_lab_file_make(struct dr_lab *lab, int dirfd, const char *name, mode_t mode,
	const struct dr_layout *template, dr_lab_place_fn *place, void *ctx, int src_fd,
	int *ret_fd);
/* Reads a file of the lab by its open stub: objects, DoM bytes, archive of released ones. @return bytes, 0 at the end */
struct dr_lab_reader;
dr_nodiscard int dr_lab_reader_open(
	struct dr_lab *lab, int stub_fd, struct dr_lab_reader **ret_reader);
ssize_t dr_lab_reader_read(struct dr_lab_reader *reader, void *buf, size_t len, uint64_t off);
/* The next extent of data at or after off. @error ENXIO */
dr_nodiscard int dr_lab_reader_next_data(
	struct dr_lab_reader *reader, uint64_t off, uint64_t *ret_start, uint64_t *ret_end);
uint64_t dr_lab_reader_size(const struct dr_lab_reader *reader);
void dr_lab_reader_close(struct dr_lab_reader *reader);
/* Moves a file's data into the archive and marks its layout released. */
dr_nodiscard int dr_lab_file_release(struct dr_lab *lab, int stub_fd);

#endif
