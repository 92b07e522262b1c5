/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/tree_lustre.h"
#include "work/clone_priv.h"

#include <fcntl.h>
#include <string.h>

/* What a directory is given when it is made. Its times, and flags that would keep entries out, come after its entries. */
#define DIR_PARTS (DR_META_OWNER | DR_META_MODE | DR_META_XATTRS | DR_META_PROJECT)
#define MAKE_TRIES 4

static int open_dir(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* @return 1 made; 0 there is one */
static int make_dir(const struct dr_cloner *cloner, int to_fd, const char *name, int mdt)
{
	for (int tries = 0; tries < MAKE_TRIES; tries++) {
		int r = dr_tree_mkdir(
			to_fd, name, 0700, cloner->to->kind == DR_FS_LUSTRE ? mdt : -1);

		if (r != -EEXIST) {
			return r < 0 ? r : 1;
		}
		struct stat st;

		if (fstatat(to_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno != ENOENT) {
				return -errno;
			}
			continue;
		}
		if (S_ISDIR(st.st_mode)) {
			return 0;
		}
		if (unlinkat(to_fd, name, 0) < 0 && errno != ENOENT) {
			r = errno == EPERM ? dr_clone_unlock(to_fd, name) : -errno;
			if (r < 0) {
				return r;
			}
		}
	}
	return -EEXIST;
}

/* The default layout, where both sides have such a thing. One that only the target has is left: its administrator's. */
static int carry_default(const struct dr_cloner *cloner, int from_fd, int to_fd, const char *name)
{
	struct dr_buf want dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_buf have dr_cleanup(dr_buf_fini) = { 0 };

	if (!cloner->layouts || cloner->from->kind != DR_FS_LUSTRE ||
		cloner->to->kind != DR_FS_LUSTRE) {
		return 0;
	}
	int from dr_cleanup(dr_fd_closep) = open_dir(from_fd, name);
	int r = from < 0 ? from : dr_tree_layout(from, &want);

	if (r < 0) {
		return r == -ENODATA ? 0 : r;
	}
	int to dr_cleanup(dr_fd_closep) = open_dir(to_fd, name);

	if (to < 0) {
		return to;
	}
	r = dr_tree_layout(to, &have);
	if (r < 0 && r != -ENODATA) {
		return r;
	}
	if (want.len == have.len && (!want.len || memcmp(want.data, have.data, want.len) == 0)) {
		return 0;
	}
	r = dr_tree_set_default(to, want.data, want.len);
	return r == -EINVAL
		       ? 0
		       : r; /* it names a pool that this one has not: its own default will do */
}

static int unlock_dir(int to_fd, const char *name, struct dr_meta *have)
{
	int r = have->is_immutable || have->is_append ? dr_clone_unlock(to_fd, name) : 0;

	if (r == 0) {
		have->is_immutable = have->is_append = false;
	}
	return r;
}

/* In a dry run: whether it would be made. */
static int would_make(int to_fd, const char *name)
{
	struct stat st;

	if (to_fd < 0) {
		return 1;
	}
	if (fstatat(to_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return errno == ENOENT ? 1 : -errno;
	}
	return !S_ISDIR(st.st_mode);
}

int dr_clone_dir(struct dr_cloner *cloner, int from_fd, int to_fd, const char *name, int mdt)
{
	struct dr_meta want dr_cleanup(dr_meta_fini) = { .no_projects = cloner->no_projects };
	struct dr_meta have dr_cleanup(dr_meta_fini) = { .no_projects = cloner->no_projects };
	enum dr_meta_part part = 0;
	int r = dr_meta_read(from_fd, name, -1, &want);

	if (r == 0 && !S_ISDIR(want.mode)) {
		r = -ENOTDIR;
	}
	if (r < 0) {
		return r;
	}
	if (cloner->dry_run) {
		return would_make(to_fd, name);
	}
	r = dr_meta_read(to_fd, name, -1, &have);
	if (r < 0 && r != -ENOENT) {
		return r;
	}
	int made = 0;

	if (r == -ENOENT || !S_ISDIR(have.mode)) {
		made = make_dir(cloner, to_fd, name, mdt);
		/* What is new has what its parent hands down: ACLs, project, the group's bit. */
		r = made < 0 ? made : dr_meta_read(to_fd, name, -1, &have);
	}
	if (r == 0) {
		r = unlock_dir(to_fd, name, &have);
	}
	unsigned parts = r == 0 ? dr_meta_compare(&want, &have, 1) & DIR_PARTS : 0;

	if (parts) {
		r = dr_meta_apply(to_fd, name, -1, &want, &have, parts, &part);
		r = dr_clone_attrs_error(to_fd, r, part);
	}
	if (r == 0) {
		r = carry_default(cloner, from_fd, to_fd, name);
	}
	return r < 0 ? r : made;
}

int dr_clone_dir_times(struct dr_cloner *cloner, int from_dir_fd, int to_dir_fd)
{
	struct dr_meta want dr_cleanup(dr_meta_fini) = { .no_projects = cloner->no_projects };
	struct dr_meta have dr_cleanup(dr_meta_fini) = { .no_projects = cloner->no_projects };
	enum dr_meta_part part = 0;
	uint32_t ns = cloner->from->time_ns > cloner->to->time_ns ? cloner->from->time_ns
								  : cloner->to->time_ns;
	int r = dr_meta_read(from_dir_fd, "", from_dir_fd, &want);

	r = r < 0 ? r : dr_meta_read(to_dir_fd, "", to_dir_fd, &have);
	if (r < 0) {
		return r;
	}
	unsigned parts = dr_meta_compare(&want, &have, ns);

	if (!parts || cloner->dry_run) {
		return parts != 0;
	}
	r = dr_meta_apply(to_dir_fd, "", to_dir_fd, &want, &have, parts, &part);
	r = dr_clone_attrs_error(to_dir_fd, r, part);
	return r < 0 ? r : 1;
}
