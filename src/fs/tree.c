/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/tree.h"

#include "base/fdio.h"
#include "fs/local.h"
#include "fs/lustre_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define ENTRIES_BYTES (64u << 10) /* of one getdents64 */
#define SECOND_NS 1000000000u

/* lustre_fid.h: FID_SEQ_DOT_LUSTRE, of the folder in a root where everything stands a second time, by its FID */
#define DOT_LUSTRE ".lustre"
#define SEQ_DOT_LUSTRE 0x200000002ull

/* ---- opening one ---- */

static int say(char **ret_message, int r, const char *path, const char *what)
{
	*ret_message = dr_xasprintf("%s: %s", path, what ? what : strerrordesc_np(-r));
	return r;
}

/* Lustre has whole seconds; ext2, ext3 and small inodes of ext4 too, and those keep no time of birth either. FAT counts two by two. */
static uint32_t time_resolution(enum dr_fs_kind kind, const struct statfs *fs, bool has_btime)
{
	if (kind == DR_FS_LUSTRE) {
		return SECOND_NS;
	}
	switch ((uint32_t)fs->f_type) {
	case EXT4_SUPER_MAGIC:
		return has_btime ? 1 : SECOND_NS;
	case MSDOS_SUPER_MAGIC:
		return 2 * SECOND_NS;
	default:
		return 1;
	}
}

/* What the driver calls the file system, if that is the one whose directory is held. */
static int ask_driver(struct dr_tree *tree, char **ret_message)
{
	char identity[PATH_MAX + 64];
	struct dr_fs *fs = NULL;
	char *rest dr_cleanup(dr_freep) = NULL;
	/* Before it is opened: a lab of another version is a lab too. */
	int r = dr_fs_lab.probe(tree->path, &rest);
	if (r > 0) {
		return say(ret_message, -EOPNOTSUPP, tree->path,
			"is in a lab of drover-lab, whose files are stubs");
	}
	r = r < 0 ? r : dr_fs_open(tree->path, &fs, &rest);
	if (r < 0) {
		return say(ret_message, r, tree->path, NULL);
	}
	tree->kind = fs->ops->kind;
	struct stat st;
	if (stat(fs->root, &st) < 0) {
		r = say(ret_message, -errno, fs->root, NULL);
	} else if ((uint64_t)st.st_dev != tree->dev) {
		r = say(ret_message, -ESTALE, tree->path, "was mounted or unmounted just now");
	} else {
		r = fs->ops->identity(fs, identity, sizeof(identity));
		r = r < 0 ? say(ret_message, r, fs->root, NULL) : 0;
	}
	dr_fs_close(fs);
	if (r == 0) {
		tree->fs_identity = dr_xstrdup(identity);
	}
	return r;
}

int dr_tree_open(const char *path, struct dr_tree **ret_tree, char **ret_message)
{
	struct dr_tree *tree dr_cleanup(dr_tree_freep) = dr_xcalloc(1, sizeof(*tree));
	tree->fd = -EBADF;
	tree->path = realpath(path, NULL);
	if (!tree->path) {
		return say(ret_message, -errno, path, NULL);
	}
	tree->fd = open(tree->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct statfs fs;
	struct dr_stat st = { 0 };
	if (tree->fd < 0 || fstatfs(tree->fd, &fs) < 0) {
		return say(ret_message, -errno, tree->path, NULL);
	}
	int r = dr_local_stat(tree->fd, "", AT_EMPTY_PATH, &st);
	if (r < 0) {
		return say(ret_message, r, tree->path, NULL);
	}
	tree->dev = st.dev;
	tree->ino = st.ino;
	r = ask_driver(tree, ret_message);
	if (r < 0) {
		return r;
	}
	tree->time_ns = time_resolution(tree->kind, &fs, st.btime.tv_sec || st.btime.tv_nsec);
	*ret_tree = tree;
	tree = NULL;
	return 0;
}

void dr_tree_free(struct dr_tree *tree)
{
	if (tree) {
		dr_fd_closep(&tree->fd);
		free(tree->path);
		free(tree->fs_identity);
		free(tree);
	}
}

int dr_tree_identity(const struct dr_tree *tree, char text[DR_TREE_IDENTITY_SIZE])
{
	int len;
	if (tree->kind == DR_FS_LUSTRE) {
		struct dr_lustre_fid fid = { 0 };
		int r = dr_lustre_ioctl(tree->fd, DR_LUSTRE_PATH2FID, &fid);
		if (r < 0) {
			return r;
		}
		len = snprintf(text, DR_TREE_IDENTITY_SIZE,
			"%s dir 0x%" PRIx64 ":0x%" PRIx32 ":0x%" PRIx32, tree->fs_identity, fid.seq,
			fid.oid, fid.ver);
	} else {
		struct dr_stat st = { 0 };
		int r = dr_local_stat(tree->fd, "", AT_EMPTY_PATH, &st);
		if (r < 0) {
			return r;
		}
		len = snprintf(text, DR_TREE_IDENTITY_SIZE, "%s dir %" PRIu64 " born %lld.%09ld",
			tree->fs_identity, st.ino, (long long)st.btime.tv_sec, st.btime.tv_nsec);
	}
	return len < 0 || len >= DR_TREE_IDENTITY_SIZE ? -ENAMETOOLONG : 0;
}

int dr_tree_is_there(const struct dr_tree *tree)
{
	struct stat st;
	/* The path was resolved: a symlink in it is new, but may lead there all the same. */
	if (stat(tree->path, &st) < 0) {
		bool is_gone = errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
		return is_gone ? 0 : -errno;
	}
	return (uint64_t)st.st_dev == tree->dev && (uint64_t)st.st_ino == tree->ino;
}

/* ---- directories below it ---- */

/* Where an open directory lies. A mount of the same file system has the same device, but another mount id; 0: the kernel tells none. */
struct place {
	uint64_t dev, mount;
};

static int place_of(int fd, struct place *ret_place)
{
	struct file_handle handle = { .handle_bytes = 0 };
	struct stat st;
	int mount = 0;
	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	/* Without room for a handle it fails, and gives the mount id all the same. */
	if (name_to_handle_at(fd, "", &handle, &mount, AT_EMPTY_PATH) < 0 && errno != EOVERFLOW) {
		mount = 0;
	}
	*ret_place = (struct place){ .dev = (uint64_t)st.st_dev, .mount = (uint64_t)mount };
	return 0;
}

/* A component of a path, or as many as one system call takes. */
static size_t next_piece(const char *p, size_t left, bool one)
{
	size_t end = 0;
	for (size_t i = 0; i < left && i < PATH_MAX - 1; i++) {
		if (p[i] == '/') {
			end = i;
			if (one && i > 0) {
				return i;
			}
		}
	}
	return left < PATH_MAX ? left : end;
}

/* @return the descriptor; -ENOSYS this kernel or sandbox has no openat2 */
static int open_beneath(int dir_fd, const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	long fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	if (fd >= 0) {
		return (int)fd;
	}
	return errno == EPERM || errno == E2BIG || errno == EAGAIN ? -ENOSYS : -errno;
}

/* One component where there is no openat2. */
static int open_step(int dir_fd, const char *name, const struct place *tree)
{
	struct place place = { 0 };
	int fd dr_cleanup(dr_fd_closep) = dr_open_dir_beneath(dir_fd, name, strlen(name));
	int r = fd < 0 ? fd : place_of(fd, &place);
	if (r < 0) {
		return r;
	}
	if (place.dev != tree->dev || place.mount != tree->mount) {
		return -EXDEV;
	}
	return dr_steal_fd(&fd);
}

static int open_pieces(const struct dr_tree *tree, const char *path, size_t len, bool one)
{
	int at dr_cleanup(dr_fd_closep) = -EBADF;
	struct place place = { 0 };
	int r = one ? place_of(tree->fd, &place) : 0;
	if (r < 0) {
		return r;
	}
	for (size_t done = 0; done < len;) {
		char piece[PATH_MAX];
		size_t n = next_piece(path + done, len - done, one);
		if (n == 0) {
			return -ENAMETOOLONG; /* no slash in so many bytes */
		}
		memcpy(piece, path + done, n);
		piece[n] = 0;
		int from = at >= 0 ? at : tree->fd;
		int next = one ? open_step(from, piece, &place) : open_beneath(from, piece);
		if (next < 0) {
			return next;
		}
		dr_fd_closep(&at);
		at = next;
		for (done += n; done < len && path[done] == '/'; done++) {
		}
	}
	return dr_steal_fd(&at);
}

static int check_path(const char *path, size_t len)
{
	if (*path == '/' || memchr(path, 0, len)) {
		return -EINVAL;
	}
	for (const char *p = path, *end = path + len; p < end;) {
		const char *slash = memchr(p, '/', (size_t)(end - p));
		size_t n = (size_t)((slash ? slash : end) - p);
		if (n == 2 && memcmp(p, "..", 2) == 0) {
			return -EINVAL;
		}
		p += slash ? n + 1 : n;
	}
	return 0;
}

/* Whether the path begins with the folder in Lustre's root that holds all files again. */
static bool is_dot_lustre(const struct dr_tree *tree, const char *path, size_t len)
{
	const size_t n = sizeof(DOT_LUSTRE) - 1;
	struct dr_lustre_fid fid = { 0 };
	if (tree->kind != DR_FS_LUSTRE || len < n || memcmp(path, DOT_LUSTRE, n) != 0 ||
		(len > n && path[n] != '/')) {
		return false;
	}
	int fd dr_cleanup(dr_fd_closep) =
		openat(tree->fd, DOT_LUSTRE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && dr_lustre_ioctl(fd, DR_LUSTRE_PATH2FID, &fid) == 0 &&
	       fid.seq == SEQ_DOT_LUSTRE;
}

int dr_tree_dir(const struct dr_tree *tree, const void *path, size_t len)
{
	const char *text = len ? path : ".";
	len = len ? len : 1;
	int r = check_path(text, len);
	if (r < 0) {
		return r;
	}
	int fd dr_cleanup(dr_fd_closep) = open_pieces(tree, text, len, false);
	if (fd == -ENOSYS) {
		fd = open_pieces(tree, text, len, true);
	}
	struct stat st;
	if (fd < 0) {
		return fd;
	}
	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	/* Also a subvolume that is no mount: its inode numbers are others' too. */
	if ((uint64_t)st.st_dev != tree->dev || is_dot_lustre(tree, text, len)) {
		return -EXDEV;
	}
	/* For the owner and root: reading leaves the directory's atime as it is. */
	(void)fcntl(fd, F_SETFL, O_NOATIME);
	return dr_steal_fd(&fd);
}

/* ---- their entries ---- */

/* @return false the entry is gone */
static bool type_of(int dir_fd, const struct dirent64 *d, enum dr_type *ret_type)
{
	struct stat st;
	switch (d->d_type) {
	case DT_REG:
		*ret_type = DR_TYPE_FILE;
		return true;
	case DT_DIR:
		*ret_type = DR_TYPE_DIR;
		return true;
	case DT_LNK:
		*ret_type = DR_TYPE_LINK;
		return true;
	case DT_UNKNOWN: /* the file system does not say */
		break;
	default:
		*ret_type = DR_TYPE_OTHER;
		return true;
	}
	if (fstatat(dir_fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		*ret_type = DR_TYPE_UNKNOWN;
		return errno != ENOENT;
	}
	*ret_type = dr_local_type(st.st_mode);
	return true;
}

int dr_tree_read(int dir_fd, dr_tree_entry_fn *fn, void *arg)
{
	uint8_t *entries dr_cleanup(dr_freep) = dr_xrealloc(NULL, ENTRIES_BYTES);
	if (lseek(dir_fd, 0, SEEK_SET) < 0) {
		return -errno;
	}
	for (;;) {
		/* ENOENT (the directory was removed) is an error here like all others: what it held is not known. */
		long n = syscall(SYS_getdents64, dir_fd, entries, ENTRIES_BYTES);
		if (n <= 0) {
			return n < 0 ? -errno : 0;
		}
		for (long at = 0; at < n;) {
			const struct dirent64 *d = (const void *)(entries + at);
			const char *name = d->d_name;
			enum dr_type type = DR_TYPE_UNKNOWN;
			at += d->d_reclen;
			if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))) {
				continue;
			}
			if (!type_of(dir_fd, d, &type)) {
				continue;
			}
			int r = fn(arg, name, strlen(name), type, d->d_ino);
			if (r != 0) {
				return r;
			}
		}
	}
}
