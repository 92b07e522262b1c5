/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_FS_LAB_PRIV_H
#define DR_FS_LAB_PRIV_H

#include "fs/lab_image.h"

#include <sys/types.h>

/* What the files of the lab share among themselves: lab_image.c, lab_object.c, lab_journal.c, lab_io.c, ... */

/* ---- lab_image.c: the image, FIDs, layouts ---- */

/* Dies at a point that the environment chose; see dr_lab_open(). */
void dr_lab_fault(const struct dr_lab *lab, const char *point);

/* A stub by FID, for reading. @error ENOENT it does not exist; ENOTSUP not knowable here */
dr_nodiscard int dr_lab_fid_open(struct dr_lab *lab, const struct dr_fid *fid);

/* The FID of the file behind fd, whose inode number is known. */
dr_nodiscard int dr_lab_fid_of_ino(
	struct dr_lab *lab, int fd, uint64_t ino, struct dr_fid *ret_fid);

static inline bool dr_lab_fid_is_ino(const struct dr_fid *fid, uint64_t ino)
{
	return fid->oid == (uint32_t)ino && fid->seq == DR_LAB_SEQ + (ino >> 32);
}

/*
 * What an xattr value means: the layout's bytes, or where they lie. dr_lab_value_read() appends the layout that the
 * value stands for to out. A layout of a file that `fid` does not name is EBADMSG.
 */
#define DR_LAB_VALUE_MAX 4096
/* Tried first: the kernel makes and clears a buffer of the size that is asked for, in every call. */
#define DR_LAB_VALUE_USUAL 192
struct dr_lab_value {
	size_t len;
	uint8_t bytes[DR_LAB_VALUE_MAX];
};
/* @error ENODATA */
dr_nodiscard int dr_lab_value_get(int fd, struct dr_lab_value *ret_value);
/* @return 1 with the generation, when the value names a file of layouts/; else 0 */
int dr_lab_value_spilled(const void *value, size_t len, uint64_t *ret_generation);
/* A layout from layouts/, appended. @error ENOENT */
dr_nodiscard int dr_lab_spill_read(
	struct dr_lab *lab, const struct dr_fid *fid, uint64_t generation, struct dr_buf *out);
/* Makes the value for a layout; a large one is written to layouts/, under a new generation (else 0). */
dr_nodiscard int dr_lab_value_make(struct dr_lab *lab, const struct dr_fid *fid, const void *bytes,
	size_t len, uint64_t generation, struct dr_lab_value *ret_value);
/* The FID and generation of a name in layouts/. @error EINVAL */
dr_nodiscard int dr_lab_spill_parse(
	const char *name, struct dr_fid *ret_fid, uint64_t *ret_generation);
/* A new one, never 0, for a layout that does not fit an xattr; 0 for one that does. */
uint64_t dr_lab_generation(size_t layout_len);
void dr_lab_spill_remove(struct dr_lab *lab, const struct dr_fid *fid, uint64_t generation);
/* Layout of the stub with this FID. As dr_lab_layout_get(). */
dr_nodiscard int dr_lab_layout_of(
	struct dr_lab *lab, int fd, const struct dr_fid *fid, struct dr_buf *out);

/* ---- lab_object.c: objects, charges, speed ---- */

#define DR_LAB_CHARGE_UNKNOWN UINT64_MAX
/* A new number of an OST, as an object's FID. */
struct dr_fid dr_lab_object_number(struct dr_lab *lab, uint32_t ost);
/* Creates the object that obj->fid names already. @return a descriptor for reading and writing */
dr_nodiscard int dr_lab_object_create_named(
	struct dr_lab *lab, const struct dr_layout_object *obj, const struct dr_fid *owner);
dr_nodiscard int dr_lab_object_remove(struct dr_lab *lab, const struct dr_layout_object *obj,
	const struct dr_fid *owner, uint64_t charge);
/* Is the OST up? Waits as long as a slow one takes. @error ECANCELED the lease of lease_fd (or -1) was lost; EIO down */
dr_nodiscard int dr_lab_ost_wait(struct dr_lab *lab, uint32_t ost, uint64_t bytes, int lease_fd);
/* @return 1 held, 0 lost */
int dr_lab_lease_held(int fd);

/* Reads a hexadecimal number that ends with `end`, and goes behind that. */
bool dr_lab_get_hex(const char **p, char end, uint64_t max, uint64_t *ret);

/* ---- lab_settle.c ---- */

/* Removes the objects on an OST whose files are gone, and counts the others. */
dr_nodiscard int dr_lab_settle(struct dr_lab *lab, uint32_t ost, uint64_t *ret_objects);

/* ---- lab_fid.c ---- */

/* As fid_path of the driver. Also where FIDs cannot be opened, at the cost of a walk. */
dr_nodiscard int dr_lab_fid_path(struct dr_lab *lab, const struct dr_fid *fid, struct dr_buf *out);

/* ---- lab_journal.c: what a process has in hand ---- */

/* Objects of two layouts in one slot: a layout has at most DR_LAYOUT_MAX bytes, of 24 for each object. */
#define DR_LAB_SLOT_OBJECTS ((size_t)2 * (DR_LAYOUT_MAX / 24))

enum dr_lab_slot_state {
	DR_LAB_SLOT_FREE,
	DR_LAB_SLOT_VOLATILE, /* no layout names the objects */
	DR_LAB_SLOT_SWAPPING, /* the stub's layout decides which are still wanted */
};

struct dr_lab_slot {
	_Atomic uint32_t state; /* enum dr_lab_slot_state; stored last */
	uint32_t n_new, n_old;  /* objects */
	uint32_t reserved;
	uint64_t generation_new, generation_old; /* of layouts/; 0: none */
	struct dr_fid owner;
	struct dr_layout_object objects[DR_LAB_SLOT_OBJECTS]; /* new ones, then old ones */
	char path[4096]; /* of the stub below ns, where FIDs cannot be opened; else "" */
};

struct dr_lab_journal *dr_lab_journal_new(struct dr_lab *lab);
/* Removes the journal file when nothing in it is in use; then free. */
void dr_lab_journal_end(struct dr_lab *lab);
void dr_lab_journal_free(struct dr_lab_journal *journal);
/* A slot with room for n objects, its state FREE. @error ENOSPC; EMFILE too many volatiles */
dr_nodiscard int dr_lab_slot_take(
	struct dr_lab *lab, const struct dr_fid *owner, uint32_t n, struct dr_lab_slot **ret_slot);
/* Makes room for more. */
dr_nodiscard int dr_lab_slot_grow(struct dr_lab *lab, struct dr_lab_slot *slot, uint32_t n);
/* Adds the objects of a layout that is about to be replaced, and where the stub is. */
dr_nodiscard int dr_lab_slot_add_old(
	struct dr_lab *lab, struct dr_lab_slot *slot, const struct dr_layout *old);
dr_nodiscard int dr_lab_slot_name_path(struct dr_lab *lab, struct dr_lab_slot *slot, int stub_fd);
void dr_lab_slot_state(struct dr_lab_slot *slot, enum dr_lab_slot_state state);
void dr_lab_slot_give(struct dr_lab *lab, struct dr_lab_slot *slot);

/* ---- lab_pool.c ---- */

/*
 * What a metadata server refuses: an object outside of the pool that its component names. A pool that does not exist, or
 * has no OST, binds nothing. @error EINVAL *ret_ost is that OST
 */
dr_nodiscard int dr_lab_pool_check(
	struct dr_lab *lab, const struct dr_layout *layout, uint32_t *ret_ost);

/* ---- lab_io.c: bytes of a file by its layout ---- */

struct dr_lab_obj {
	struct dr_layout_object id;
	int fd;               /* negative: not open */
	bool made;            /* we created it, and nobody has taken it from us */
	bool dirty;           /* changed since the last sync */
	uint64_t len;         /* bytes: how long writes and truncates made it */
	uint64_t charged;     /* bytes */
	uint64_t first, next; /* blocks: all that were charged lie in [first, next) */
};

/* For one thread at a time. */
struct dr_lab_io {
	struct dr_lab *lab;
	struct dr_fid owner;
	struct dr_layout *layout; /* owned */
	struct dr_lab_obj *objs;  /* of all components, in their order; owned */
	uint32_t n_objs;
	uint32_t n_open, hand; /* descriptors in use, and where to look for one to close */
	bool writable;
	bool past_cache; /* reads come from the disk */
	int lost;        /* the error of a sync, which the kernel tells only once; 0: none */
	int stub_fd;     /* lent: DoM bytes */
	int archive_fd;  /* owned: data of a released file, opened when needed */
	int lease_fd;    /* lent: its lease is watched while waiting; -1: none is */
};

/* Takes the layout. */
void dr_lab_io_init(struct dr_lab_io *io, struct dr_lab *lab, const struct dr_fid *owner,
	struct dr_layout *layout, int stub_fd, bool writable);
void dr_lab_io_fini(struct dr_lab_io *io);
/* Numbers for all objects, so that they can be journaled, and then the objects. *ret_ost: the OST that failed. */
void dr_lab_io_number(struct dr_lab_io *io);
dr_nodiscard int dr_lab_io_create(struct dr_lab_io *io, uint32_t *ret_ost);
/* Removes all that it created. */
void dr_lab_io_destroy(struct dr_lab_io *io);
/* @error ENODATA no layout there; EIO */
ssize_t dr_lab_io_read(struct dr_lab_io *io, void *buf, size_t len, uint64_t off, uint64_t size);
dr_nodiscard int dr_lab_io_next_data(
	struct dr_lab_io *io, uint64_t off, uint64_t size, uint64_t *ret_start, uint64_t *ret_end);
/* @error ENODATA an offset without an initialised component; ENOSPC; ECANCELED */
dr_nodiscard int dr_lab_io_write(
	struct dr_lab_io *io, const void *buf, size_t len, uint64_t off, uint32_t *ret_ost);
dr_nodiscard int dr_lab_io_truncate(struct dr_lab_io *io, uint64_t size);
dr_nodiscard int dr_lab_io_flush(struct dr_lab_io *io);
dr_nodiscard int dr_lab_io_sync(struct dr_lab_io *io);
/* How long the file is by its objects, when it was meant to have `size` bytes. */
dr_nodiscard int dr_lab_io_size(struct dr_lab_io *io, uint64_t size, uint64_t *ret_size);

/* ---- lab_file.c ---- */

/*
 * Makes a layout that somebody asked for fit to be stored: the file's FID, ids, stripe counts and magics as a server
 * sets them. @error EINVAL
 */
dr_nodiscard int dr_lab_layout_finish(const struct dr_lab *lab, struct dr_layout *layout,
	const struct dr_fid *fid, uint32_t *ret_ost);
/* As dr_lab_reader_open(), for a FID that is known. lease_fd: see struct dr_lab_io. */
dr_nodiscard int dr_lab_reader_new(struct dr_lab *lab, int stub_fd, const struct dr_fid *fid,
	struct dr_lab_reader **ret_reader);
void dr_lab_reader_watch(struct dr_lab_reader *reader, int lease_fd);

/* ---- lab.c and lab_vol.c: the driver ---- */

struct dr_lab_file {
	struct dr_file base;
	struct dr_lab *lab;
	int fd;
	struct dr_fid fid;
	bool verified; /* that it is the file of that FID, generation and all */
	bool locked, leased;
	struct dr_lab_reader *reader; /* from the first read on */
};

/* @error ENOENT the file is not the one that its FID names */
dr_nodiscard int dr_lab_file_verify(struct dr_lab_file *file);
uint64_t dr_lab_version(const struct dr_stat *st);
int dr_lab_vol_create(struct dr_file *base, const struct dr_layout *layout, struct dr_vol **ret_vol,
	uint32_t *ret_ost);
void dr_lab_vol_close(struct dr_vol *base);
int dr_lab_vol_layout(struct dr_vol *base, struct dr_buf *out);
int dr_lab_vol_write(
	struct dr_vol *base, const void *buf, size_t len, uint64_t off, uint32_t *ret_ost);
int dr_lab_vol_truncate(struct dr_vol *base, uint64_t size);
int dr_lab_vol_flush(struct dr_vol *base);
int dr_lab_vol_sync(struct dr_vol *base);
int dr_lab_vol_size(struct dr_vol *base, uint64_t *ret_size);
ssize_t dr_lab_vol_read(struct dr_vol *base, void *buf, size_t len, uint64_t off);
int dr_lab_vol_attrs(struct dr_vol *base, struct dr_file *file);
int dr_lab_swap(
	struct dr_file *base, struct dr_vol *vol_base, const void *expect, size_t expect_len);

#endif
