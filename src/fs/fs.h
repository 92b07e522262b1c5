/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_FS_FS_H
#define DR_FS_FS_H

#include "base/buf.h"
#include "base/rangeset.h"
#include "fs/layout.h"

#include <time.h>

/*
 * The file-system contract: what drover asks of Lustre, of the lab and of any other file system.
 *
 * A driver is one const struct dr_fs_driver; dr_fs_open() finds the one that serves a path. Names
 * and paths are raw bytes. Paths are relative to the root of the file system (a mount point, or
 * the ns folder of a lab), without a slash at either end; "" is the root; no component of one is
 * ever followed when it is a symlink.
 *
 * Threads: a struct dr_fs is shared by all of them; a dir, a file and a volatile belong to one
 * thread at a time. A lease is held by the file it was taken on, whichever thread asks.
 *
 * All functions return 0 or more, or a negative errno. @error lines name those that have a meaning of their
 * own; any other errno of the system calls behind may come too. An operation that a driver cannot serve is
 * NULL in its table, and calling it through the wrappers gives ENOTSUP.
 */

enum dr_fs_kind { DR_FS_LAB, DR_FS_LUSTRE, DR_FS_POSIX };

/* State of an OST; lustre_user.h, OS_STATFS_*; DOWN is ours: it does not answer. */
#define DR_OST_DEGRADED 0x1u
#define DR_OST_READONLY 0x2u
#define DR_OST_NOCREATE 0x4u /* closed to new objects */
#define DR_OST_ENOSPC 0x20u
#define DR_OST_ENOINO 0x40u
#define DR_OST_DOWN 0x10000u

struct dr_ost {
	uint32_t index;
	uint32_t state; /* DR_OST_*, 0: up */
	uint64_t total_bytes;
	uint64_t used_bytes;
	uint64_t avail_bytes;
	uint64_t objects;   /* in use, as far as the file system tells */
	bool objects_exact; /* false: some of them are the server's own, and belong to no file */
	char name[64];      /* "fs-OST0003" */
};

enum dr_type { DR_TYPE_UNKNOWN, DR_TYPE_FILE, DR_TYPE_DIR, DR_TYPE_LINK, DR_TYPE_OTHER };

struct dr_stat {
	uint64_t size;   /* bytes */
	uint64_t blocks; /* of 512 bytes; what the metadata server knows */
	uint32_t mode, nlink, uid, gid;
	uint64_t ino, dev;
	struct timespec atime, mtime, ctime;
	struct timespec btime; /* zero: not known */
	bool immutable, append;
	/* Fewer blocks than bytes: zeros that a copy meets are to become holes. A driver whose next_data is exact never says so. */
	bool sparse;
};

/* An entry of a directory; everything in it is lent until the callback returns. */
struct dr_entry {
	const char *name; /* NUL-terminated */
	size_t name_len;
	enum dr_type type;
	uint64_t ino;
	uint64_t position;  /* reading from here gives what follows this entry */
	const void *layout; /* bytes; NULL without one (or not a file) */
	size_t layout_len;
	struct dr_fid fid; /* of a file with a layout; else zero */
	const struct dr_stat *
		stat; /* of a file, when it came with the layout; its size may be a little old. NULL: ask entry_stat */
	int error; /* negative errno when the layout, or what it is, could not be read; else 0 */
};

struct dr_fs;
struct dr_dir;
struct dr_file;
struct dr_vol;

/*
 * Called for each entry but "." and "..". @return 0 to go on; above 0 to stop after this entry
 * (dir_read returns that value); below 0 to stop with that error.
 */
typedef int dr_entry_fn(void *ctx, struct dr_dir *dir, const struct dr_entry *entry);

/* What a file is opened for. */
enum dr_open_how {
	DR_OPEN_MOVE, /* all that a move needs; on Lustre that is an open for writing, which others notice */
	DR_OPEN_LOOK, /* all but the swap */
};

struct dr_fs_driver {
	const char *name;
	enum dr_fs_kind kind;
	bool parallel; /* several threads may read and vol_write one file and one volatile at once, at different offsets */

	bool lease_yields; /* who opens a leased file for writing does not wait for the lease's holder */

	/*
	 * Whether the path (absolute, existing) is served, and if so the path of the root, malloc'ed.
	 * @return 1 with *ret_root set, 0 not ours
	 */
	int (*probe)(const char *path, char **ret_root);
	/* Opens a root as probe returned it. @error ESTALE its format is of another version */
	int (*open)(const char *root, struct dr_fs **ret_fs);
	void (*close)(struct dr_fs *fs);
	/* A text that stays the same for the life of the file system, no other has it, into buf. */
	int (*identity)(struct dr_fs *fs, char *buf, size_t size);
	/*
	 * All OSTs, by index; the caller frees *ret_osts. Cheap enough to be called once a second.
	 */
	int (*osts)(struct dr_fs *fs, struct dr_ost **ret_osts, size_t *ret_n);
	/*
	 * Frees what unlinked files and killed movers left on an OST, and waits for it, as Lustre's
	 * servers do by themselves; then *ret_objects is how many objects the OST still holds.
	 */
	int (*ost_settle)(struct dr_fs *fs, uint32_t ost, uint64_t *ret_objects);
	/* The OSTs of a pool, into *osts (replaced). @error ENOENT no such pool; NULL where there are no pools */
	int (*pool_osts)(struct dr_fs *fs, const char *pool, struct dr_rangeset *osts);
	/* The path of a file by its FID, relative to the root, appended. @error ENOENT no such file, or none below the root */
	int (*fid_path)(struct dr_fs *fs, const struct dr_fid *fid, struct dr_buf *out);

	/* Opens a directory. @error ENOENT; ENOTDIR; ELOOP a component is a symlink */
	int (*dir_open)(struct dr_fs *fs, const void *path, size_t len, struct dr_dir **ret_dir);
	void (*dir_close)(struct dr_dir *dir);
	/*
	 * Reads entries from a position (0: the start; else one that an entry gave, also in another
	 * process, also after the directory changed: what was there all the time and not yet seen
	 * is seen) until fn stops it or some thousands were given.
	 * @return 0 the end was reached; DR_DIR_MORE more is there, go on from the last position seen;
	 * what fn returned, when it stopped
	 */
	int (*dir_read)(struct dr_dir *dir, uint64_t position, dr_entry_fn *fn, void *ctx);
	/* The layout that new files of the directory get unless they ask for another, appended. NULL: there is no such thing. @error ENODATA none */
	int (*dir_default)(struct dr_dir *dir, struct dr_buf *out);
	/* Attributes of an entry, a symlink not followed. Cheap: no OST is asked. */
	int (*entry_stat)(struct dr_dir *dir, const char *name, struct dr_stat *ret_stat);
	/* One entry by its name, as dir_read gives it (its position is 0), to fn. @return what fn returned. @error ENOENT */
	int (*entry_look)(struct dr_dir *dir, const char *name, dr_entry_fn *fn, void *ctx);

	/*
	 * Opens a regular file of the directory to move it, never following a symlink. fid may be
	 * NULL: whatever file has the name.
	 * @error ENOENT gone, or the name is of another FID or type now (a driver may find that out only in
	 *        file_layout or file_stat, with the same error); EPERM, EACCES, EROFS; ETXTBSY it is being executed;
	 *        EALREADY another mover of this process has it
	 */
	int (*file_open)(struct dr_dir *dir, const char *name, const struct dr_fid *fid,
		enum dr_open_how how, struct dr_file **ret_file);
	void (*file_close)(struct dr_file *file); /* gives the lease back too */
	/*
	 * A read lease: others may open for reading; an open for writing, or a truncate, breaks it.
	 * @error EBUSY somebody has the file open for writing; EALREADY another mover has it
	 */
	int (*lease_take)(struct dr_file *file);
	/* @return 1 held, 0 lost */
	int (*lease_check)(struct dr_file *file);
	void (*lease_release)(struct dr_file *file);
	int (*file_stat)(struct dr_file *file, struct dr_stat *ret_stat);
	/* Appends the layout's bytes. @error ENODATA none; EBADMSG the file is a foreign copy of another's stub */
	int (*file_layout)(struct dr_file *file, struct dr_buf *out);
	/*
	 * A number that changes whenever the file's data does. now: what file_stat just gave, or NULL; a driver whose
	 * version is made of attributes is spared a call by it.
	 */
	int (*data_version)(struct dr_file *file, const struct dr_stat *now, uint64_t *ret_version);
	/*
	 * @return bytes read, 0 at the end of the file only; may be short
	 * @error ECANCELED the lease was lost while waiting; EIO, ENODEV the OST does not give the data
	 */
	ssize_t (*read)(struct dr_file *file, void *buf, size_t len, uint64_t off);
	/* The next extent of data at or after off. @error ENXIO only a hole up to the end of the file */
	int (*next_data)(
		struct dr_file *file, uint64_t off, uint64_t *ret_start, uint64_t *ret_end);

	/*
	 * A volatile file, owned like the file, with this layout: each object of an initialised
	 * component on the OST that the layout names (object FIDs are ignored). It vanishes with its
	 * objects when it is closed, or its process dies, unless it was swapped.
	 * @error ENOBUFS an OST is closed to new objects; ENOSPC an OST is full; ENODEV an OST is
	 *        down; EINVAL an index that does not exist or is not in the component's pool, a
	 *        layout that is not one;
	 *        EOPNOTSUPP the file system made another layout than this one.
	 *        *ret_ost then names the OST (or stays untouched).
	 */
	int (*vol_create)(struct dr_file *file, const struct dr_layout *layout,
		struct dr_vol **ret_vol, uint32_t *ret_ost);
	void (*vol_close)(struct dr_vol *vol);
	/* What layout it really got. */
	int (*vol_layout)(struct dr_vol *vol, struct dr_buf *out);
	/*
	 * Writes all of len, into every mirror that has off.
	 * @error ENOSPC with *ret_ost the full one; ECANCELED the lease was lost while waiting
	 */
	int (*vol_write)(
		struct dr_vol *vol, const void *buf, size_t len, uint64_t off, uint32_t *ret_ost);
	/* Makes the volatile exactly so long; what was not written is a hole. */
	int (*vol_truncate)(struct dr_vol *vol, uint64_t size);
	/* Sends what was written on its way to the disks, and does not wait. May do nothing. */
	int (*vol_flush)(struct dr_vol *vol);
	/* Returns when all is on the disks. @error EIO, ENOSPC bytes were lost */
	int (*vol_sync)(struct dr_vol *vol);
	/* The size that the OSTs know. */
	int (*vol_size)(struct dr_vol *vol, uint64_t *ret_size);
	/* Reads back, past the cache where the driver can. */
	ssize_t (*vol_read)(struct dr_vol *vol, void *buf, size_t len, uint64_t off);
	/* Copies what the swap does not carry: owner, project, times. */
	int (*vol_attrs)(struct dr_vol *vol, struct dr_file *file);
	/*
	 * Gives the file the volatile's objects and the volatile the file's, in one step, if the
	 * lease is held and the layout is still `expect` (bytes of file_layout). The lease is gone
	 * afterwards, whatever the result. After an error the layout alone tells what happened.
	 * @error ESTALE the lease was lost, or the layout is another
	 */
	int (*swap)(
		struct dr_file *file, struct dr_vol *vol, const void *expect, size_t expect_len);

	/*
	 * A driver with these two moves a mirrored file one mirror at a time: the layout that vol_create gets is then that of one mirror.
	 * One without them (NULL) takes mirrored layouts as they are.
	 *
	 * Adds the volatile to the file as a mirror, then drops the mirror numbered so; at every moment the file has all the
	 * mirrors in sync that it had in sync before. The lease is gone afterwards, whatever the result. A process that dies in between
	 * leaves a mirror too many, and a note of it with the file.
	 * @error as swap; EBUSY somebody opened the file for writing in between: undone, or left to mirror_mend
	 */
	int (*mirror_replace)(struct dr_file *file, struct dr_vol *vol, uint32_t mirror,
		const void *expect, size_t expect_len);
	/*
	 * Ends what a mirror_replace that was cut short has left. The lease is held before and after, or lost.
	 * @return 1 the layout is another now; 0 nothing was left. @error EBUSY the lease was lost
	 */
	int (*mirror_mend)(struct dr_file *file);
};

#define DR_DIR_MORE 0x10000

/*
 * What a thread wants to be called for while a driver keeps it waiting (the lab's slow OSTs; a server that does not answer):
 * at least every 50 ms, from inside read, vol_create, vol_write and vol_sync. fn NULL: nothing.
 */
struct dr_fs_wait {
	void (*fn)(void *ctx);
	void *ctx;
};
extern _Thread_local struct dr_fs_wait dr_fs_wait;

extern const struct dr_fs_driver dr_fs_lab;
extern const struct dr_fs_driver dr_fs_lustre;
extern const struct dr_fs_driver dr_fs_posix;

struct dr_fs {
	const struct dr_fs_driver *ops;
	char *root; /* absolute */
};

/*
 * Finds the driver for a path and opens the file system's root.
 * ret_rest gets the path relative to the root (malloc'ed, may be ""). Symlinks in the path that the
 * user gave are followed here, once.
 * @error ENOENT, ENOTDIR no such path; EOPNOTSUPP no driver serves it
 */
dr_nodiscard int dr_fs_open(const char *path, struct dr_fs **ret_fs, char **ret_rest);
/* The same for a known root. */
dr_nodiscard int dr_fs_open_root(const char *root, struct dr_fs **ret_fs);
void dr_fs_close(struct dr_fs *fs);

/* Cleanup attributes; each takes NULL. */
void dr_dir_closep(struct dr_dir **dir);
void dr_file_closep(struct dr_file **file);
void dr_vol_closep(struct dr_vol **vol);

/* The first member of every driver's structures. */
struct dr_dir {
	struct dr_fs *fs;
};
struct dr_file {
	struct dr_fs *fs;
};
struct dr_vol {
	struct dr_fs *fs;
};

#endif
