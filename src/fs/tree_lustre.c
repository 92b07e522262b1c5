/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/tree_lustre.h"

#include "fs/lustre_priv.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#define MDTS_MAX 65536   /* an index has 16 bits */
#define LIST_BYTES 65536 /* names of attributes: no list is longer */

static int check_lustre(int fd)
{
	struct statfs st;
	if (fstatfs(fd, &st) < 0) {
		return -errno;
	}
	return (uint32_t)st.f_type == DR_LUSTRE_MAGIC ? 0 : -EOPNOTSUPP;
}

bool dr_tree_is_released(int fd)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout_look look = { 0 };
	return dr_lustre_layout(fd, &bytes) == 0 &&
	       dr_layout_look(bytes.data, bytes.len, NULL, &look) == 0 &&
	       look.flags & DR_LAYOUT_RELEASED;
}

/*
 * Whether a default layout is the directory's own: of one that has none the server tells the file system's. Only the list of its attributes knows, and only
 * root's: for others, who see no trusted ones, what is told counts.
 */
static bool owns_default(int dir_fd)
{
	char list[LIST_BYTES];
	ssize_t n = flistxattr(dir_fd, list, sizeof(list));
	bool sees_trusted = false;
	for (const char *name = list; n > 0 && name < list + n; name += strlen(name) + 1) {
		if (strcmp(name, "trusted.lov") == 0) {
			return true;
		}
		sees_trusted = sees_trusted || strncmp(name, "trusted.", strlen("trusted.")) == 0;
	}
	return !sees_trusted;
}

int dr_tree_layout(int fd, struct dr_buf *out)
{
	struct stat st;
	int r = check_lustre(fd);
	if (r < 0) {
		return r;
	}
	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	if (!S_ISDIR(st.st_mode)) {
		return dr_lustre_layout(fd, out);
	}
	return owns_default(fd) ? dr_lustre_dir_layout(fd, out) : -ENODATA;
}

/* Whether the file system has a pool, as its client lists them; what cannot be told is taken for true. */
static bool has_pool(int fd, const char *pool)
{
	/* The first is of releases before debugfs was used, and of those that keep both. */
	static const char *const places[] = { "/proc/fs/lustre/lov",
		"/sys/kernel/debug/lustre/lov" };
	char device[DR_LUSTRE_DTNAME_SIZE + 1] = { 0 };
	bool listed = false;
	if (dr_lustre_ioctl(fd, DR_LUSTRE_GETDTNAME, device) < 0) {
		return true;
	}
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char *all dr_cleanup(dr_freep) = dr_xasprintf("%s/%s/pools", places[i], device);
		char *one dr_cleanup(dr_freep) = dr_xasprintf("%s/%s", all, pool);
		if (access(one, F_OK) == 0) {
			return true;
		}
		listed = listed || access(all, F_OK) == 0;
	}
	return !listed;
}

/* A server takes the name of a pool that it does not have, and keeps it: the next reader of the layout stumbles over it. */
static void drop_unknown_pools(int fd, struct dr_layout *layout)
{
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		struct dr_layout_comp *comp = &layout->comps[c];
		if (comp->pool[0] && (strchr(comp->pool, '/') || !has_pool(fd, comp->pool))) {
			memset(comp->pool, 0, sizeof(comp->pool));
			comp->magic = DR_LOV_MAGIC_V1;
		}
	}
}

/* The request for a layout. fd: anything of the file system. @error EINVAL it cannot be asked for */
static int ask_for(int fd, const void *layout, size_t len, bool mirrors, struct dr_buf *out)
{
	struct dr_layout *whole dr_cleanup(dr_layout_freep) = NULL;
	int r = dr_layout_decode(layout, len, &whole);
	if (r < 0) {
		return r;
	}
	struct dr_layout *template dr_cleanup(dr_layout_freep) = dr_layout_template(whole, mirrors);
	if (!template) {
		return -EINVAL;
	}
	drop_unknown_pools(fd, template);
	dr_layout_encode(template, out);
	return 0;
}

int dr_tree_create(int dir_fd, const char *name, mode_t mode, const void *layout, size_t len)
{
	int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	struct dr_buf request dr_cleanup(dr_buf_fini) = { 0 };
	if (len > 0) {
		int r = check_lustre(dir_fd);
		r = r < 0 ? r : ask_for(dir_fd, layout, len, false, &request);
		if (r < 0) {
			return r;
		}
		flags |= DR_LUSTRE_O_DELAY_CREATE;
	}
	int fd dr_cleanup(dr_fd_closep) = openat(dir_fd, name, flags, mode);
	if (fd < 0) {
		return -errno;
	}
	if (len > 0 && fsetxattr(fd, DR_LUSTRE_LAYOUT_XATTR, request.data, request.len, 0) < 0) {
		int r = errno == ERANGE || errno == EOPNOTSUPP ? -EINVAL : -errno;
		(void)unlinkat(dir_fd, name, 0);
		return r;
	}
	return dr_steal_fd(&fd);
}

static int take_default(int dir_fd)
{
	int r = fremovexattr(dir_fd, DR_LUSTRE_LAYOUT_XATTR);
	return r < 0 && errno != ENODATA ? -errno : 0;
}

int dr_tree_set_default(int dir_fd, const void *layout, size_t len)
{
	struct dr_buf request dr_cleanup(dr_buf_fini) = { 0 }, now dr_cleanup(dr_buf_fini) = { 0 };
	int r = check_lustre(dir_fd);
	if (r < 0 || len == 0) {
		return r < 0 ? r : take_default(dir_fd);
	}
	r = ask_for(dir_fd, layout, len, true, &request);
	/* A request without a pool would get that of the default which is there. */
	if (r == 0 && dr_lustre_dir_layout(dir_fd, &now) == 0) {
		r = take_default(dir_fd);
	}
	if (r < 0) {
		return r;
	}
	r = fsetxattr(dir_fd, DR_LUSTRE_LAYOUT_XATTR, request.data, request.len, 0);
	return r < 0 ? -errno : 0;
}

static size_t round_up(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

int dr_tree_mkdir(int dir_fd, const char *name, mode_t mode, int mdt)
{
	if (mdt < 0) {
		return mkdirat(dir_fd, name, mode) < 0 ? -errno : 0;
	}
	/* What the kernel looks up as it is, mkdirat() would refuse. */
	if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		return *name ? -EINVAL : -ENOENT;
	}
	size_t name_len = strlen(name) + 1;
	if (name_len > NAME_MAX + 1) {
		return -ENAMETOOLONG;
	}
	int r = check_lustre(dir_fd);
	if (r < 0) {
		return r;
	}
	struct dr_lustre_dir_stripe stripe = {
		.magic = DR_LUSTRE_DIR_MAGIC,
		.count = 1,
		.mdt = (uint32_t)mdt,
	};
	struct dr_lustre_mkdir_call head = {
		.version = DR_LUSTRE_IOCTL_VERSION,
		.flags = DR_LUSTRE_MKDIR_CREATE_ONLY,
		.mode = mode,
		.name_len = (uint32_t)name_len,
		.stripe_len = sizeof(stripe),
	};
	head.len = (uint32_t)(sizeof(head) + round_up(name_len) + sizeof(stripe));
	uint8_t *call dr_cleanup(dr_freep) = dr_xcalloc(1, head.len);
	memcpy(call, &head, sizeof(head));
	memcpy(call + sizeof(head), name, name_len);
	memcpy(call + sizeof(head) + round_up(name_len), &stripe, sizeof(stripe));
	r = dr_lustre_ioctl(dir_fd, DR_LUSTRE_MKDIR, call);
	return r < 0 ? r : 0;
}

int dr_tree_mdts(const struct dr_tree *tree, uint32_t **ret_mdts, size_t *ret_n)
{
	const uint32_t shut = DR_OST_READONLY | DR_OST_NOCREATE | DR_OST_ENOSPC | DR_OST_ENOINO;
	uint32_t count = 1; /* in: MDTs, please */
	if (tree->kind != DR_FS_LUSTRE) {
		return -EOPNOTSUPP;
	}
	int r = dr_lustre_ioctl(tree->fd, DR_LUSTRE_GETOBDCOUNT, &count);
	if (r < 0 || count > MDTS_MAX) {
		return r < 0 ? r : -EPROTO;
	}
	uint32_t *mdts = dr_xcalloc(count ? count : 1, sizeof(*mdts));
	size_t n = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct dr_lustre_statfs st = { 0 };
		struct dr_lustre_uuid uuid = { 0 };
		/* One that is down or closed gets no directories now. */
		if (dr_lustre_statfs(tree->fd, DR_LUSTRE_STATFS_MDT, i, &st, &uuid) == 0 &&
			!(st.state & shut)) {
			mdts[n++] = i;
		}
	}
	*ret_mdts = mdts;
	*ret_n = n;
	return 0;
}
