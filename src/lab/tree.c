/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab/tree.h"

#include "base/fdio.h"
#include "lab/args.h"
#include "lab/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

/* A file of several names, by its inode; the first name is the one that the others are linked to. */
struct link {
	dev_t dev;
	ino_t ino;
	char *path; /* NULL: a free slot */
	size_t len;
};

struct copy {
	struct dr_walk walk;
	dr_tree_file_fn *fn;
	void *ctx;
	int dst_root, dst; /* the root; the directory that stands for the walk's current one */
	struct dev_ino {
		dev_t dev;
		ino_t ino;
	} * up; /* of each directory from dst_root down to dst */
	size_t n_up, cap_up;
	struct link *links;        /* open addressing */
	size_t n_links, cap_links; /* cap: 0 or a power of two */
	struct dr_tree_counts counts;
};

static size_t link_slot(const struct copy *copy, dev_t dev, ino_t ino)
{
	size_t i = (size_t)((uint64_t)ino * 0x9e3779b97f4a7c15u >> 20 ^ (uint64_t)dev);

	for (i &= copy->cap_links - 1; copy->links[i].path; i = (i + 1) & (copy->cap_links - 1)) {
		if (copy->links[i].ino == ino && copy->links[i].dev == dev) {
			break;
		}
	}
	return i;
}

static void links_grow(struct copy *copy)
{
	struct link *old = copy->links;
	size_t old_cap = copy->cap_links;

	copy->cap_links = old_cap ? old_cap * 2 : 64;
	copy->links = dr_xcalloc(copy->cap_links, sizeof(*copy->links));
	for (size_t i = 0; i < old_cap; i++) {
		if (old[i].path) {
			copy->links[link_slot(copy, old[i].dev, old[i].ino)] = old[i];
		}
	}
	free(old);
}

/* Remembers a copied file's first name. */
static void link_remember(struct copy *copy, const struct stat *st)
{
	size_t i;

	if (st->st_nlink < 2) {
		return;
	}
	if (copy->n_links * 2 >= copy->cap_links) {
		links_grow(copy);
	}
	i = link_slot(copy, st->st_dev, st->st_ino);
	copy->links[i] = (struct link){ .dev = st->st_dev,
		.ino = st->st_ino,
		.path = dr_xmemdup(copy->walk.path, copy->walk.path_len + 1),
		.len = copy->walk.path_len };
	copy->n_links++;
}

/* @return 1 linked, 0 this is the file's first name */
static int link_again(struct copy *copy, const struct stat *st)
{
	dr_cleanup(dr_fd_closep) int dir = -EBADF;
	const struct link *link;
	const char *base;

	if (st->st_nlink < 2 || copy->cap_links == 0) {
		return 0;
	}
	link = &copy->links[link_slot(copy, st->st_dev, st->st_ino)];
	if (!link->path) {
		return 0;
	}
	base = memrchr(link->path, '/', link->len);
	dir = dr_open_dir_beneath(
		copy->dst_root, link->path, base ? (size_t)(base - link->path) : 0);
	if (dir < 0) {
		return dir;
	}
	if (linkat(dir, base ? base + 1 : link->path, copy->dst, copy->walk.name, 0) < 0) {
		return -errno;
	}
	copy->counts.hard_links++;
	return 1;
}

static int copy_xattr(int src, int dst, const char *name)
{
	dr_cleanup(dr_freep) char *value = NULL;
	ssize_t len = fgetxattr(src, name, NULL, 0);

	if (len >= 0) {
		value = dr_xcalloc(1, (size_t)len + 1);
		len = fgetxattr(src, name, value, (size_t)len);
	}
	if (len < 0) {
		return errno == ENODATA ? 0 : -errno;
	}
	if (fsetxattr(dst, name, value, (size_t)len, 0) < 0) {
		return -errno;
	}
	return 0;
}

/* Copies the xattrs whose name begins with "user.", or all the others. */
static int copy_xattrs(int src, int dst, bool user)
{
	dr_cleanup(dr_freep) char *names = NULL;
	ssize_t len = flistxattr(src, NULL, 0);

	if (len <= 0) {
		return len == 0 || errno == ENOTSUP ? 0 : -errno;
	}
	names = dr_xcalloc(1, (size_t)len);
	len = flistxattr(src, names, (size_t)len);
	if (len < 0) {
		return -errno;
	}
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		int r;

		if ((strncmp(name, "user.", 5) == 0) != user ||
			strcmp(name, DR_TREE_SKIP_XATTR) == 0) {
			continue;
		}
		r = copy_xattr(src, dst, name);
		/* What only root may set, or only some file systems hold, is copied where it can be. */
		if (r < 0 && !(!user && (r == -EPERM || r == -ENOTSUP))) {
			return r;
		}
	}
	return 0;
}

static int may_ignore_owner(int err)
{
	return err == EPERM && geteuid() != 0;
}

/* User xattrs before the mode, which may forbid them; the others behind the owner, whose change drops some. */
static int copy_attrs(int src, int dst, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	int r;

	if (fchown(dst, st->st_uid, st->st_gid) < 0 && !may_ignore_owner(errno)) {
		return -errno;
	}
	r = copy_xattrs(src, dst, true);
	if (r < 0) {
		return r;
	}
	if (fchmod(dst, st->st_mode & 07777) < 0) {
		return -errno;
	}
	r = copy_xattrs(src, dst, false);
	if (r < 0) {
		return r;
	}
	return futimens(dst, times) < 0 ? -errno : 0;
}

static int copy_link_or_node(struct copy *copy, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	const char *name = copy->walk.name;
	char target[PATH_MAX + 1];
	ssize_t len;

	if (S_ISLNK(st->st_mode)) {
		len = readlinkat(copy->walk.fd, name, target, sizeof(target) - 1);
		if (len < 0) {
			return -errno;
		}
		target[len] = 0;
		if (symlinkat(target, copy->dst, name) < 0) {
			return -errno;
		}
		copy->counts.links++;
	} else {
		if (mknodat(copy->dst, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) < 0) {
			return -errno;
		}
		copy->counts.others++;
	}
	if (fchownat(copy->dst, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 &&
		!may_ignore_owner(errno)) {
		return -errno;
	}
	if (!S_ISLNK(st->st_mode) && fchmodat(copy->dst, name, st->st_mode & 07777, 0) < 0) {
		return -errno;
	}
	return utimensat(copy->dst, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static bool lies_in(const char *inner, const char *outer)
{
	size_t n = strlen(outer);

	while (n > 0 && outer[n - 1] == '/') {
		n--;
	}
	return strncmp(inner, outer, n) == 0 && (inner[n] == 0 || inner[n] == '/');
}

bool dr_tree_overlap(const char *a, const char *b)
{
	return lies_in(a, b) || lies_in(b, a);
}

int dr_tree_open_file(int dirfd, const char *name)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd = openat(dirfd, name, flags | O_NOATIME);

	if (fd < 0 && errno == EPERM) {
		fd = openat(dirfd, name, flags);
	}
	return fd < 0 ? -errno : fd;
}

static void tell_unreadable(struct copy *copy, int err)
{
	dr_say_path(err, "read", copy->walk.path, copy->walk.path_len);
	copy->counts.unreadable++;
}

static int copy_file(struct copy *copy, const struct stat *st)
{
	dr_cleanup(dr_fd_closep) int src = dr_tree_open_file(copy->walk.fd, copy->walk.name);
	dr_cleanup(dr_fd_closep) int dst = -EBADF;
	struct dr_tree_file file = { .src_fd = src,
		.st = *st,
		.dst_dir_fd = copy->dst,
		.name = copy->walk.name,
		.path = copy->walk.path,
		.path_len = copy->walk.path_len };
	int r;

	if (src < 0) {
		tell_unreadable(copy, src);
		return 1;
	}
	/* What is open counts: the size may have changed since the name was looked up. */
	if (fstat(src, &file.st) < 0) {
		return -errno;
	}
	r = copy->fn(copy->ctx, &file, &dst);
	if (r != 0) {
		copy->counts.unreadable += r > 0;
		return r;
	}
	r = copy_attrs(src, dst, &file.st);
	if (r < 0) {
		return r;
	}
	copy->counts.files++;
	copy->counts.bytes += (uint64_t)file.st.st_size;
	return 0;
}

static int copy_entry(struct copy *copy)
{
	struct stat st;
	int r;

	if (fstatat(copy->walk.fd, copy->walk.name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		tell_unreadable(copy, -errno);
		return 0;
	}
	r = link_again(copy, &st);
	if (r != 0) {
		return r < 0 ? r : 0;
	}
	r = S_ISREG(st.st_mode) ? copy_file(copy, &st) : copy_link_or_node(copy, &st);
	if (r == 0) {
		link_remember(copy, &st);
	}
	return r < 0 ? r : 0;
}

static int push_dst(struct copy *copy, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	if (copy->n_up == copy->cap_up) {
		copy->cap_up = copy->cap_up ? copy->cap_up * 2 : 16;
		copy->up = dr_xrealloc(copy->up, copy->cap_up * sizeof(*copy->up));
	}
	copy->up[copy->n_up++] = (struct dev_ino){ .dev = st.st_dev, .ino = st.st_ino };
	if (fd != copy->dst) {
		dr_fd_closep(&copy->dst);
	}
	copy->dst = fd;
	return 0;
}

static int enter_dir(struct copy *copy)
{
	dr_cleanup(dr_fd_closep) int fd = -EBADF;
	int r;

	if (mkdirat(copy->dst, copy->walk.name, 0700) < 0) {
		return -errno;
	}
	fd = openat(copy->dst, copy->walk.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		return -errno;
	}
	r = push_dst(copy, fd);
	if (r < 0) {
		return r;
	}
	(void)dr_steal_fd(&fd);
	copy->counts.dirs++;
	return 0;
}

static int leave_dir(struct copy *copy)
{
	const struct dev_ino *parent;
	struct stat st;
	int r, up = -EBADF;

	if (fstat(copy->walk.fd, &st) < 0) {
		return -errno;
	}
	/* The way up is opened first: the mode may forbid it afterwards. */
	if (copy->n_up > 1) {
		up = openat(copy->dst, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (up < 0) {
			return -errno;
		}
	}
	r = copy_attrs(copy->walk.fd, copy->dst, &st);
	if (r < 0 || --copy->n_up == 0) {
		dr_fd_closep(&up);
		return r;
	}
	(void)close(copy->dst);
	copy->dst = up;
	parent = &copy->up[copy->n_up - 1];
	if (fstat(up, &st) < 0) {
		return -errno;
	}
	return st.st_dev == parent->dev && st.st_ino == parent->ino ? 0 : -ESTALE;
}

static int copy_all(struct copy *copy)
{
	int r = 0;

	for (;;) {
		int event = dr_walk_next(&copy->walk);

		switch (event) {
		case DR_WALK_END:
			return 0;
		case DR_WALK_ENTRY:
			r = copy_entry(copy);
			break;
		case DR_WALK_ENTER:
			r = enter_dir(copy);
			break;
		case DR_WALK_LEAVE:
			r = leave_dir(copy);
			break;
		case DR_WALK_ERROR:
			tell_unreadable(copy, copy->walk.error);
			r = 0;
			break;
		default:
			r = event;
			break;
		}
		if (r < 0) {
			return r;
		}
	}
}

static void copy_fini(struct copy *copy)
{
	for (size_t i = 0; i < copy->cap_links; i++) {
		free(copy->links[i].path);
	}
	free(copy->links);
	free(copy->up);
	dr_fd_closep(&copy->dst);
	dr_fd_closep(&copy->dst_root);
	dr_walk_fini(&copy->walk);
}

int dr_tree_copy(
	int src_fd, int dst_fd, dr_tree_file_fn *fn, void *ctx, struct dr_tree_counts *ret_counts)
{
	struct copy copy = { .fn = fn, .ctx = ctx, .dst_root = dst_fd, .dst = -EBADF };
	int fd, r;

	r = dr_walk_init(&copy.walk, src_fd);
	if (r < 0) {
		dr_say_path(r, "read", ".", 1);
		goto out;
	}
	fd = openat(dst_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? -errno : push_dst(&copy, fd);
	if (r == 0) {
		r = copy_all(&copy);
	} else {
		dr_fd_closep(&fd);
	}
	if (r < 0) {
		const char *path = copy.walk.path && copy.walk.path_len > 0 ? copy.walk.path : ".";
		dr_say_path(r, "copy", path, strlen(path));
	}
out:
	*ret_counts = copy.counts;
	copy_fini(&copy);
	return r;
}
