/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "fs/local.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* Any other file system: names, attributes and bytes; no OSTs, no leases, no layouts. */

struct posix_fs {
	struct dr_fs base;
	int root_fd;
	uint64_t dev;
};

struct posix_dir {
	struct dr_dir base;
	struct dr_local_dir local;
};

struct posix_file {
	struct dr_file base;
	int fd;
};

static struct posix_fs *fs_of(struct dr_fs *fs)
{
	return dr_container_of(fs, struct posix_fs, base);
}

static struct posix_dir *dir_of(struct dr_dir *dir)
{
	return dr_container_of(dir, struct posix_dir, base);
}

static struct posix_file *file_of(struct dr_file *file)
{
	return dr_container_of(file, struct posix_file, base);
}

static int posix_probe(const char *path, char **ret_root)
{
	int r = dr_local_mount_root(path, ret_root);
	return r < 0 ? r : 1;
}

static int posix_open(const char *root, struct dr_fs **ret_fs)
{
	/* A file may be a mount point too, but it has no directories to read. */
	int fd dr_cleanup(dr_fd_closep) = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0) {
		return -errno;
	}
	struct posix_fs *fs = dr_xcalloc(1, sizeof(*fs));
	fs->base.ops = &dr_fs_posix;
	fs->base.root = dr_xstrdup(root);
	fs->root_fd = dr_steal_fd(&fd);
	fs->dev = (uint64_t)st.st_dev;
	*ret_fs = &fs->base;
	return 0;
}

static void posix_close(struct dr_fs *base)
{
	struct posix_fs *fs = fs_of(base);
	dr_fd_closep(&fs->root_fd);
	free(fs->base.root);
	free(fs);
}

static int posix_identity(struct dr_fs *base, char *buf, size_t size)
{
	struct posix_fs *fs = fs_of(base);
	struct statfs st;
	if (fstatfs(fs->root_fd, &st) < 0) {
		return -errno;
	}
	uint32_t word[2];
	memcpy(word, &st.f_fsid, sizeof(word));
	/* The id comes from the file system's UUID where it has one; the root tells mounts without one apart. */
	int len =
		word[0] || word[1]
			? snprintf(buf, size, "posix:%08" PRIx32 "%08" PRIx32, word[0], word[1])
			: snprintf(buf, size, "posix:%lx:%s", (unsigned long)st.f_type, base->root);
	return len < 0 || (size_t)len >= size ? -ERANGE : 0;
}

static int posix_dir_open(struct dr_fs *base, const void *path, size_t len, struct dr_dir **ret_dir)
{
	struct posix_fs *fs = fs_of(base);
	struct dr_local_dir local;
	int r = dr_local_dir_open(fs->root_fd, fs->dev, path, len, &local);
	if (r < 0) {
		return r;
	}
	struct posix_dir *dir = dr_xcalloc(1, sizeof(*dir));
	dir->base.fs = base;
	dir->local = local;
	*ret_dir = &dir->base;
	return 0;
}

static void posix_dir_close(struct dr_dir *base)
{
	if (base) {
		struct posix_dir *dir = dir_of(base);
		dr_local_dir_fini(&dir->local);
		free(dir);
	}
}

static int posix_dir_read(struct dr_dir *base, uint64_t position, dr_entry_fn *fn, void *ctx)
{
	struct posix_dir *dir = dir_of(base);
	int r = dr_local_dir_seek(&dir->local, position);
	if (r < 0) {
		return r;
	}
	for (int given = 0; given < DR_LOCAL_BATCH; given++) {
		struct dr_entry entry;
		r = dr_local_dir_next(&dir->local, &entry);
		if (r <= 0) {
			return r;
		}
		r = fn(ctx, base, &entry);
		if (r != 0) {
			return r;
		}
	}
	return DR_DIR_MORE;
}

static int posix_entry_stat(struct dr_dir *dir, const char *name, struct dr_stat *ret_stat)
{
	return dr_local_stat(dir_of(dir)->local.fd, name, AT_SYMLINK_NOFOLLOW, ret_stat);
}

static int posix_file_open(struct dr_dir *base, const char *name, const struct dr_fid *fid,
	enum dr_open_how how, struct dr_file **ret_file)
{
	(void)how; /* it is never moved */
	if (fid && !dr_fid_is_zero(fid)) {
		return -ENOENT; /* no file here has a FID */
	}
	struct dr_stat st;
	int fd = dr_local_file_open(dir_of(base)->local.fd, name, &st);
	if (fd < 0) {
		return fd;
	}
	struct posix_file *file = dr_xcalloc(1, sizeof(*file));
	file->base.fs = base->fs;
	file->fd = fd;
	*ret_file = &file->base;
	return 0;
}

static void posix_file_close(struct dr_file *base)
{
	if (base) {
		struct posix_file *file = file_of(base);
		dr_fd_closep(&file->fd);
		free(file);
	}
}

static int posix_file_stat(struct dr_file *file, struct dr_stat *ret_stat)
{
	return dr_local_stat(file_of(file)->fd, "", AT_EMPTY_PATH, ret_stat);
}

static ssize_t posix_read(struct dr_file *file, void *buf, size_t len, uint64_t off)
{
	if (off > INT64_MAX) {
		return 0;
	}
	ssize_t n;
	do {
		n = pread(file_of(file)->fd, buf, len, (off_t)off);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int posix_next_data(
	struct dr_file *file, uint64_t off, uint64_t *ret_start, uint64_t *ret_end)
{
	return dr_local_next_data(file_of(file)->fd, off, INT64_MAX, ret_start, ret_end);
}

const struct dr_fs_driver dr_fs_posix = {
	.name = "posix",
	.kind = DR_FS_POSIX,
	.probe = posix_probe,
	.open = posix_open,
	.close = posix_close,
	.identity = posix_identity,
	.dir_open = posix_dir_open,
	.dir_close = posix_dir_close,
	.dir_read = posix_dir_read,
	.entry_stat = posix_entry_stat,
	.file_open = posix_file_open,
	.file_close = posix_file_close,
	.file_stat = posix_file_stat,
	.read = posix_read,
	.next_data = posix_next_data,
};
