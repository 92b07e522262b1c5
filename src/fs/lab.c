/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "fs/lab_priv.h"
#include "fs/local.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

/* The lab as a file system: directories and stubs here, volatiles and the swap in lab_vol.c. */

struct lab_fs {
	struct dr_fs base;
	struct dr_lab *lab;
};

struct lab_dir {
	struct dr_dir base;
	struct dr_lab *lab;
	struct dr_local_dir local;
	bool no_getxattrat;    /* the kernel is older than 6.13 */
	struct dr_buf spilled; /* a layout too large for an xattr, of the entry at hand */
	uint8_t value[DR_LAB_VALUE_MAX];
};

static struct dr_lab *lab_of(struct dr_fs *fs)
{
	return dr_container_of(fs, struct lab_fs, base)->lab;
}

static struct lab_dir *dir_of(struct dr_dir *dir)
{
	return dr_container_of(dir, struct lab_dir, base);
}

static struct dr_lab_file *file_of(struct dr_file *file)
{
	return dr_container_of(file, struct dr_lab_file, base);
}

/* ---- the file system ---- */

static int lab_probe(const char *path, char **ret_root)
{
	char *dir dr_cleanup(dr_freep) = NULL;
	int r = dr_lab_find(path, &dir);
	if (r == 0) {
		/* The lab's own folder stands for its name space. */
		char *json dr_cleanup(dr_freep) = dr_xasprintf("%s/lab.json", path);
		char *state dr_cleanup(dr_freep) = dr_xasprintf("%s/lab.state", path);
		if (access(json, F_OK) == 0 && access(state, F_OK) == 0) {
			dir = realpath(path, NULL);
			r = dir ? 1 : -errno;
		}
	}
	if (r > 0) {
		*ret_root = dr_xasprintf("%s/ns", dir);
	}
	return r;
}

/* A lease that is broken sends SIGIO, which by default ends the process; we look at the lease instead. */
static void ignore_sigio(void)
{
	struct sigaction now;
	if (sigaction(SIGIO, NULL, &now) == 0 && now.sa_handler == SIG_DFL) {
		struct sigaction ignore = { .sa_handler = SIG_IGN };
		(void)sigaction(SIGIO, &ignore, NULL);
	}
}

static int lab_open(const char *root, struct dr_fs **ret_fs)
{
	const char *slash = strrchr(root, '/');
	if (!slash || strcmp(slash, "/ns") != 0) {
		return -EINVAL;
	}
	char *dir dr_cleanup(dr_freep) = dr_xasprintf("%.*s", (int)(slash - root), root);
	struct dr_lab *lab;
	int r = dr_lab_open(dir, &lab);
	if (r < 0) {
		return r;
	}
	ignore_sigio();
	struct lab_fs *fs = dr_xcalloc(1, sizeof(*fs));
	fs->base.ops = &dr_fs_lab;
	fs->base.root = dr_xasprintf("%s/ns", lab->dir);
	fs->lab = lab;
	*ret_fs = &fs->base;
	return 0;
}

static void lab_close(struct dr_fs *base)
{
	struct lab_fs *fs = dr_container_of(base, struct lab_fs, base);
	dr_lab_close(fs->lab);
	free(fs->base.root);
	free(fs);
}

static int lab_identity(struct dr_fs *fs, char *buf, size_t size)
{
	const char *identity = lab_of(fs)->identity;
	size_t len = strlen(identity) + 1;
	if (len > size) {
		return -ERANGE;
	}
	memcpy(buf, identity, len);
	return 0;
}

static int lab_osts(struct dr_fs *fs, struct dr_ost **ret_osts, size_t *ret_n)
{
	struct dr_lab *lab = lab_of(fs);
	*ret_osts = dr_xcalloc(lab->n_osts, sizeof(**ret_osts));
	*ret_n = lab->n_osts;
	dr_lab_osts(lab, *ret_osts);
	return 0;
}

static int lab_ost_settle(struct dr_fs *fs, uint32_t ost, uint64_t *ret_objects)
{
	return dr_lab_settle(lab_of(fs), ost, ret_objects);
}

static int lab_pool_osts(struct dr_fs *fs, const char *pool, struct dr_rangeset *osts)
{
	return dr_lab_pool_get(lab_of(fs), pool, osts);
}

static int lab_fid_path(struct dr_fs *fs, const struct dr_fid *fid, struct dr_buf *out)
{
	return dr_lab_fid_path(lab_of(fs), fid, out);
}

/* ---- directories ---- */

static int lab_dir_open(struct dr_fs *fs, const void *path, size_t len, struct dr_dir **ret_dir)
{
	struct dr_lab *lab = lab_of(fs);
	struct dr_local_dir local;
	int r = dr_local_dir_open(lab->ns_fd, lab->ns_dev, path, len, &local);
	if (r < 0) {
		return r;
	}
	struct lab_dir *dir = dr_xcalloc(1, sizeof(*dir));
	dir->base.fs = fs;
	dir->lab = lab;
	dir->local = local;
	*ret_dir = &dir->base;
	return 0;
}

static void lab_dir_close(struct dr_dir *base)
{
	if (base) {
		struct lab_dir *dir = dir_of(base);
		dr_local_dir_fini(&dir->local);
		dr_buf_fini(&dir->spilled);
		free(dir);
	}
}

/* linux/xattr.h of 6.13 */
struct xattr_request {
	uint64_t value;
	uint32_t size;
	uint32_t flags;
};
#ifndef SYS_getxattrat
#define SYS_getxattrat 464
#endif

static ssize_t entry_value_sized(struct lab_dir *dir, const char *name, size_t size)
{
	if (!dir->no_getxattrat) {
		struct xattr_request request = {
			.value = (uintptr_t)dir->value,
			.size = (uint32_t)size,
		};
		long n = syscall(SYS_getxattrat, dir->local.fd, name, AT_SYMLINK_NOFOLLOW,
			DR_LAB_XATTR, &request, sizeof(request));
		if (n >= 0 || errno != ENOSYS) {
			return n < 0 ? -errno : n;
		}
		dir->no_getxattrat = true;
	}
	char path[32 + NAME_MAX + 1];
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir->local.fd, name);
	ssize_t n = lgetxattr(path, DR_LAB_XATTR, dir->value, size);
	return n < 0 ? -errno : n;
}

/* The stub's xattr into dir->value, without opening the stub. @return its length */
static ssize_t entry_value(struct lab_dir *dir, const char *name)
{
	ssize_t n = entry_value_sized(dir, name, DR_LAB_VALUE_USUAL);
	return n == -ERANGE ? entry_value_sized(dir, name, sizeof(dir->value)) : n;
}

/* A large layout: its place is named by the whole FID, which only the open file tells. */
static int entry_spilled(struct lab_dir *dir, struct dr_entry *entry)
{
	struct dr_stat st;
	int fd dr_cleanup(dr_fd_closep) = dr_local_file_open(dir->local.fd, entry->name, &st);
	struct dr_fid fid;
	int r = fd < 0 ? fd : dr_lab_fid_of_ino(dir->lab, fd, st.ino, &fid);
	dr_buf_clear(&dir->spilled);
	r = r < 0 ? r : dr_lab_layout_of(dir->lab, fd, &fid, &dir->spilled);
	if (r == 0) {
		entry->layout = dir->spilled.data;
		entry->layout_len = dir->spilled.len;
	}
	return r;
}

/* @return false the entry is gone */
static bool entry_layout(struct lab_dir *dir, struct dr_entry *entry)
{
	static const struct dr_rangeset none;
	ssize_t n = entry_value(dir, entry->name);
	int r = n < 0 ? (int)n : 0;
	uint64_t generation;
	if (n >= 0 && dr_lab_value_spilled(dir->value, (size_t)n, &generation)) {
		r = entry_spilled(dir, entry);
	} else if (n >= 0) {
		entry->layout = dir->value;
		entry->layout_len = (size_t)n;
	}
	struct dr_layout_look look;
	if (r == 0) {
		r = dr_layout_look(entry->layout, entry->layout_len, &none, &look);
		entry->fid = r == 0 ? look.fid : (struct dr_fid){ 0 };
	}
	bool ours = r == 0 &&
		    (look.flags & DR_LAYOUT_IS_FOREIGN || dr_lab_fid_is_ino(&look.fid, entry->ino));
	if (!ours) {
		/* Without a layout, or with that of another file: a foreign copy. */
		entry->layout = NULL;
		entry->layout_len = 0;
		entry->fid = (struct dr_fid){ 0 };
	}
	entry->error = r == -ENODATA || r == -EBADMSG ? 0 : r;
	return r != -ENOENT;
}

static int lab_dir_read(struct dr_dir *base, uint64_t position, dr_entry_fn *fn, void *ctx)
{
	struct lab_dir *dir = dir_of(base);
	int r = dr_local_dir_seek(&dir->local, position);
	if (r < 0) {
		return r;
	}
	for (int given = 0; given < DR_LOCAL_BATCH;) {
		struct dr_entry entry;
		r = dr_local_dir_next(&dir->local, &entry);
		if (r <= 0) {
			return r;
		}
		if (entry.type == DR_TYPE_FILE && !entry_layout(dir, &entry)) {
			continue;
		}
		r = fn(ctx, base, &entry);
		if (r != 0) {
			return r;
		}
		given++;
	}
	return DR_DIR_MORE;
}

static int lab_entry_stat(struct dr_dir *dir, const char *name, struct dr_stat *ret_stat)
{
	return dr_local_stat(dir_of(dir)->local.fd, name, AT_SYMLINK_NOFOLLOW, ret_stat);
}

static int lab_entry_look(struct dr_dir *base, const char *name, dr_entry_fn *fn, void *ctx)
{
	struct lab_dir *dir = dir_of(base);
	struct dr_entry entry = { .name = name, .name_len = strlen(name) };
	struct dr_stat st;
	int r = dr_local_stat(dir->local.fd, name, AT_SYMLINK_NOFOLLOW, &st);
	if (r < 0) {
		return r;
	}
	entry.ino = st.ino;
	entry.type = dr_local_type(st.mode);
	entry.stat = &st;
	if (entry.type == DR_TYPE_FILE && !entry_layout(dir, &entry)) {
		return -ENOENT;
	}
	return fn(ctx, base, &entry);
}

/* ---- files ---- */

/* Is it the file that the caller means? Once asked and found so, it stays so: the descriptor is open. */
int dr_lab_file_verify(struct dr_lab_file *file)
{
	if (file->verified) {
		return 0;
	}
	struct dr_stat st;
	struct dr_fid now;
	int r = dr_local_stat(file->fd, "", AT_EMPTY_PATH, &st);
	if (r == 0 && (!S_ISREG(st.mode) || st.dev != file->lab->ns_dev)) {
		return -ENOENT;
	}
	r = r < 0 ? r : dr_lab_fid_of_ino(file->lab, file->fd, st.ino, &now);
	if (r < 0) {
		return r;
	}
	if (dr_fid_is_zero(&file->fid)) {
		file->fid = now;
	}
	file->verified = dr_fid_equal(&file->fid, &now);
	return file->verified ? 0 : -ENOENT;
}

/*
 * With a FID the file is looked at no sooner than file_layout and file_stat do it anyway: a dry run lives on the
 * number of its system calls. Before anything is made for it, vol_create looks at all of the FID.
 */
static int lab_file_open(struct dr_dir *base, const char *name, const struct dr_fid *fid,
	enum dr_open_how how, struct dr_file **ret_file)
{
	(void)how; /* reading is enough for all of it */
	struct lab_dir *dir = dir_of(base);
	int fd = dr_local_open(dir->local.fd, name);
	if (fd < 0) {
		return fd;
	}
	struct dr_lab_file *file = dr_xcalloc(1, sizeof(*file));
	file->base.fs = base->fs;
	file->lab = dir->lab;
	file->fd = fd;
	file->fid = fid ? *fid : (struct dr_fid){ 0 };
	int r = dr_fid_is_zero(&file->fid) ? dr_lab_file_verify(file) : 0;
	if (r < 0) {
		dr_fd_closep(&file->fd);
		free(file);
		return r;
	}
	*ret_file = &file->base;
	return 0;
}

static void lab_file_close(struct dr_file *base)
{
	if (base) {
		struct dr_lab_file *file = file_of(base);
		dr_lab_reader_close(file->reader);
		/* Lease and lock go with the descriptor, which nobody else has. */
		dr_fd_closep(&file->fd);
		free(file);
	}
}

static int lab_lease_take(struct dr_file *base)
{
	struct dr_lab_file *file = file_of(base);
	/* Read leases are shared: the lock keeps other movers out. */
	if (!file->locked && flock(file->fd, LOCK_EX | LOCK_NB) < 0) {
		return errno == EWOULDBLOCK ? -EALREADY : -errno;
	}
	file->locked = true;
	if (fcntl(file->fd, F_SETLEASE, F_RDLCK) < 0) {
		int r = errno == EAGAIN ? -EBUSY : -errno;
		(void)flock(file->fd, LOCK_UN);
		file->locked = false;
		return r;
	}
	file->leased = true;
	return 0;
}

static int lab_lease_check(struct dr_file *base)
{
	struct dr_lab_file *file = file_of(base);
	return file->leased && dr_lab_lease_held(file->fd);
}

static void lab_lease_release(struct dr_file *base)
{
	struct dr_lab_file *file = file_of(base);
	if (file->leased) {
		(void)fcntl(file->fd, F_SETLEASE, F_UNLCK);
	}
	if (file->locked) {
		(void)flock(file->fd, LOCK_UN);
	}
	file->leased = file->locked = false;
}

static int lab_file_stat(struct dr_file *base, struct dr_stat *ret_stat)
{
	struct dr_lab_file *file = file_of(base);
	struct dr_stat st;
	int r = dr_local_stat(file->fd, "", AT_EMPTY_PATH, &st);
	if (r < 0) {
		return r;
	}
	if (!S_ISREG(st.mode) || !dr_lab_fid_is_ino(&file->fid, st.ino)) {
		return -ENOENT;
	}
	*ret_stat = st;
	return 0;
}

static int lab_file_layout(struct dr_file *base, struct dr_buf *out)
{
	struct dr_lab_file *file = file_of(base);
	int r = dr_lab_layout_of(file->lab, file->fd, &file->fid, out);
	if (r == -EBADMSG || r == -ENODATA) {
		/* Another file under the name, or this one with a strange layout? */
		int other = dr_lab_file_verify(file);
		r = other < 0 ? other : r;
	}
	return r;
}

static uint64_t mix(uint64_t hash, uint64_t v)
{
	hash = (hash ^ v) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 29;
}

uint64_t dr_lab_version(const struct dr_stat *st)
{
	uint64_t hash = mix(0x6472, st->size);
	hash = mix(hash, (uint64_t)st->mtime.tv_sec);
	hash = mix(hash, (uint64_t)st->mtime.tv_nsec);
	return mix(hash, st->ino);
}

static int lab_data_version(struct dr_file *base, const struct dr_stat *now, uint64_t *ret_version)
{
	struct dr_stat st;
	int r = now ? 0 : lab_file_stat(base, &st);
	if (r == 0) {
		*ret_version = dr_lab_version(now ? now : &st);
	}
	return r;
}

static int reader_of(struct dr_lab_file *file, struct dr_lab_reader **ret_reader)
{
	if (!file->reader) {
		int r = dr_lab_reader_new(file->lab, file->fd, &file->fid, &file->reader);
		if (r < 0) {
			return r;
		}
	}
	dr_lab_reader_watch(file->reader, file->leased ? file->fd : -1);
	*ret_reader = file->reader;
	return 0;
}

static ssize_t lab_read(struct dr_file *base, void *buf, size_t len, uint64_t off)
{
	struct dr_lab_reader *reader;
	int r = reader_of(file_of(base), &reader);
	return r < 0 ? r : dr_lab_reader_read(reader, buf, len, off);
}

static int lab_next_data(struct dr_file *base, uint64_t off, uint64_t *ret_start, uint64_t *ret_end)
{
	struct dr_lab_reader *reader;
	int r = reader_of(file_of(base), &reader);
	return r < 0 ? r : dr_lab_reader_next_data(reader, off, ret_start, ret_end);
}

const struct dr_fs_driver dr_fs_lab = {
	.name = "lab",
	.kind = DR_FS_LAB,
	.probe = lab_probe,
	.open = lab_open,
	.close = lab_close,
	.identity = lab_identity,
	.osts = lab_osts,
	.ost_settle = lab_ost_settle,
	.pool_osts = lab_pool_osts,
	.fid_path = lab_fid_path,
	.dir_open = lab_dir_open,
	.dir_close = lab_dir_close,
	.dir_read = lab_dir_read,
	.entry_stat = lab_entry_stat,
	.entry_look = lab_entry_look,
	.file_open = lab_file_open,
	.file_close = lab_file_close,
	.lease_take = lab_lease_take,
	.lease_check = lab_lease_check,
	.lease_release = lab_lease_release,
	.file_stat = lab_file_stat,
	.file_layout = lab_file_layout,
	.data_version = lab_data_version,
	.read = lab_read,
	.next_data = lab_next_data,
	.vol_create = dr_lab_vol_create,
	.vol_close = dr_lab_vol_close,
	.vol_layout = dr_lab_vol_layout,
	.vol_write = dr_lab_vol_write,
	.vol_truncate = dr_lab_vol_truncate,
	.vol_flush = dr_lab_vol_flush,
	.vol_sync = dr_lab_vol_sync,
	.vol_size = dr_lab_vol_size,
	.vol_read = dr_lab_vol_read,
	.vol_attrs = dr_lab_vol_attrs,
	.swap = dr_lab_swap,
};
