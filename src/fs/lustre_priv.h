/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_FS_LUSTRE_PRIV_H
#define DR_FS_LUSTRE_PRIV_H

/*
 * What the files of the Lustre driver share: lustre.c (roots, directories, OSTs), lustre_file.c (files and leases), lustre_vol.c
 * (volatiles and the swap), lustre_request.c (layouts as they are asked for), lustre_mirror.c (mirrors one by one).
 */

#include "fs/fs.h"
#include "fs/local.h"
#include "fs/lustre_abi.h"

#include <pthread.h>
#include <stdatomic.h>

#define DR_LUSTRE_LAYOUT_XATTR "lustre.lov"

struct dr_lustre_held;

struct dr_lustre {
	struct dr_fs base;
	int root_fd;
	uint64_t dev;
	int host_fd;                        /* of HOST_LOCKS, or -1 */
	char fsname[64];                    /* "lustre" */
	char dtname[DR_LUSTRE_DTNAME_SIZE]; /* of this mount's LOV device */
	bool by_xattr; /* the client has no GETFILEINFO_V2: layouts are read one by one the slow way */
	/*
	 * Until then every mover looks before it opens a file for writing, because an open for writing takes another
	 * mover's lease away: set when a lease was lost. CLOCK_MONOTONIC.
	 */
	_Atomic uint64_t polite_until_ns;
	pthread_mutex_t lock;        /* guards what follows */
	struct dr_lustre_held *held; /* FIDs that movers of this process have in hand */
};

/* Shared by the files that were opened in it; one thread's, like they. */
struct dr_lustre_dir {
	struct dr_dir base;
	struct dr_local_dir local;
	unsigned refs;
	struct dr_lustre_info *info; /* from the first look on */
	struct dr_stat stat;         /* of the entry last looked at */
	bool project_known;
	int64_t project; /* of new files; -1: not known */
};

struct dr_lustre_file {
	struct dr_file base;
	struct dr_lustre *fs;
	struct dr_lustre_dir *dir; /* a reference */
	int fd;
	enum dr_open_how how;
	struct dr_fid fid;
	bool held;   /* the FID stands in fs->held */
	bool leased; /* taken, and not given back; it may be lost */
	bool flushed; /* the data version was read with a flush once: dirty pages of before are on the OSTs */
	bool direct;       /* O_DIRECT is set */
	uint8_t *page;     /* for the last, partial page under O_DIRECT */
	uint64_t version;  /* as read last */
	struct dr_stat st; /* as read last */
	bool st_is_new;    /* it came with the layout a moment ago */
	/* For next_data: what lseek says is not believed of a file whose blocks it does not account for. */
	enum { DR_EXTENTS_UNKNOWN, DR_EXTENTS_WHOLE, DR_EXTENTS_SOUGHT } extents;
};

struct dr_lustre_vol {
	struct dr_vol base;
	struct dr_lustre_file *file; /* lent */
	int fd;
	bool direct;
	uint8_t *page;           /* for the last, partial page under O_DIRECT */
	struct dr_layout *asked; /* what it shall have */
	_Atomic uint64_t end;    /* bytes: how far writes and truncates reached */
};

static inline struct dr_lustre *dr_lustre_of(struct dr_fs *fs)
{
	return dr_container_of(fs, struct dr_lustre, base);
}

static inline struct dr_lustre_dir *dr_lustre_dir_of(struct dr_dir *dir)
{
	return dr_container_of(dir, struct dr_lustre_dir, base);
}

static inline struct dr_lustre_file *dr_lustre_file_of(struct dr_file *file)
{
	return dr_container_of(file, struct dr_lustre_file, base);
}

static inline struct dr_lustre_vol *dr_lustre_vol_of(struct dr_vol *vol)
{
	return dr_container_of(vol, struct dr_lustre_vol, base);
}

/* ioctl, again after EINTR. @return what it returned, or a negative errno */
dr_nodiscard int dr_lustre_ioctl(int fd, unsigned long request, void *arg);
/* Appends the value of lustre.lov. @error ENODATA none */
dr_nodiscard int dr_lustre_layout(int fd, struct dr_buf *out);

/* The default layout of an open directory, appended. @error ENODATA none */
dr_nodiscard int dr_lustre_dir_layout(int fd, struct dr_buf *out);
/* statfs of one target, DR_LUSTRE_STATFS_OST or _MDT, at once or not at all. @error EAGAIN no such index; ENODATA inactive */
dr_nodiscard int dr_lustre_statfs(int fd, uint32_t type, uint32_t index,
	struct dr_lustre_statfs *ret_st, struct dr_lustre_uuid *ret_uuid);

/* lustre.c */
void dr_lustre_dir_unref(struct dr_lustre_dir *dir);
/* FID, attributes and layout of a name, into dir->info and dir->stat. @error ENOENT */
dr_nodiscard int dr_lustre_look(struct dr_lustre_dir *dir, const char *name);
/* How many OSTs there are, gaps counted: no index is as large. Asked each time, for OSTs are added. */
dr_nodiscard int dr_lustre_count_osts(struct dr_lustre *fs, uint32_t *ret_n);
/* @error as the statfs call */
dr_nodiscard int dr_lustre_ost(struct dr_lustre *fs, uint32_t index, struct dr_ost *ret_ost);

/* lustre_file.c */
int dr_lustre_file_open(struct dr_dir *base, const char *name, const struct dr_fid *fid,
	enum dr_open_how how, struct dr_file **ret_file);
void dr_lustre_file_close(struct dr_file *base);
int dr_lustre_lease_take(struct dr_file *base);
int dr_lustre_lease_check(struct dr_file *base);
void dr_lustre_lease_release(struct dr_file *base);
int dr_lustre_file_stat(struct dr_file *base, struct dr_stat *ret_stat);
int dr_lustre_file_layout(struct dr_file *base, struct dr_buf *out);
int dr_lustre_data_version(struct dr_file *base, const struct dr_stat *now, uint64_t *ret_version);
ssize_t dr_lustre_read(struct dr_file *base, void *buf, size_t len, uint64_t off);
int dr_lustre_next_data(struct dr_file *base, uint64_t off, uint64_t *ret_start, uint64_t *ret_end);

/* lustre_vol.c */
int dr_lustre_vol_create(struct dr_file *base, const struct dr_layout *layout,
	struct dr_vol **ret_vol, uint32_t *ret_ost);
void dr_lustre_vol_close(struct dr_vol *base);
int dr_lustre_vol_layout(struct dr_vol *base, struct dr_buf *out);
int dr_lustre_vol_write(
	struct dr_vol *base, const void *buf, size_t len, uint64_t off, uint32_t *ret_ost);
int dr_lustre_vol_truncate(struct dr_vol *base, uint64_t size);
int dr_lustre_vol_flush(struct dr_vol *base);
int dr_lustre_vol_sync(struct dr_vol *base);
int dr_lustre_vol_size(struct dr_vol *base, uint64_t *ret_size);
ssize_t dr_lustre_vol_read(struct dr_vol *base, void *buf, size_t len, uint64_t off);
int dr_lustre_vol_attrs(struct dr_vol *base, struct dr_file *source);
int dr_lustre_swap(
	struct dr_file *base, struct dr_vol *vol_base, const void *expect, size_t expect_len);
/* An anonymous file on the file's own MDT, without a layout, open for reading and writing. */
dr_nodiscard int dr_lustre_volatile_open(struct dr_lustre_file *file);
/* Whether the volatile has the layout that was asked for, in all that a file of that size has. @error EOPNOTSUPP it has another */
dr_nodiscard int dr_lustre_vol_check(struct dr_lustre_vol *vol, uint64_t size);
/* Whether the layout of the open file is still those bytes. @error ESTALE it is not */
dr_nodiscard int dr_lustre_expect(
	struct dr_lustre_file *file, const void *expect, size_t expect_len);

/* lustre_request.c */
/*
 * The bytes that ask for a layout: components with objects name their OSTs one by one, the others are templates. Appended to out.
 * @error EINVAL an OST index of n_osts or above (it would crash the metadata server); EOPNOTSUPP what cannot be asked for: foreign, parity
 */
dr_nodiscard int dr_lustre_request(
	const struct dr_layout *layout, uint32_t n_osts, struct dr_buf *out);
/*
 * Whether what was made is what was asked for, object by object. A component gets its objects when it is first written, on the OSTs that were
 * named for it; one that begins at `size` (bytes) or after it may be without.
 */
bool dr_lustre_is_as_asked(
	const struct dr_layout *asked, const struct dr_layout *made, uint64_t size);

/* lustre_mirror.c */
int dr_lustre_mirror_replace(struct dr_file *base, struct dr_vol *vol_base, uint32_t mirror,
	const void *expect, size_t expect_len);
int dr_lustre_mirror_mend(struct dr_file *base);

#endif
