/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/log.h"
#include "fs/lustre_priv.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

/*
 * Lustre, by its client's public kernel interface (lustre_abi.h): roots, directories, OSTs and pools. Everything that is asked
 * here is answered by the metadata server; no OST is asked but by the statfs call.
 */

#define DOT_LUSTRE ".lustre" /* in the root: every file by its FID, and the lost ones */
#define STATE_MASK                                                                                 \
	(DR_OST_DEGRADED | DR_OST_READONLY | DR_OST_NOCREATE | DR_OST_ENOSPC | DR_OST_ENOINO)
#define HOST_LOCKS "/run/drover-lustre.locks"
#define POOL_FILE_MAX (1u << 20)

int dr_lustre_ioctl(int fd, unsigned long request, void *arg)
{
	int r;
	do {
		r = ioctl(fd, request, arg);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

int dr_lustre_layout(int fd, struct dr_buf *out)
{
	for (size_t room = 512;; room = DR_LAYOUT_MAX) {
		dr_buf_reserve(out, room);
		ssize_t n = fgetxattr(fd, DR_LUSTRE_LAYOUT_XATTR, out->data + out->len, room);
		if (n >= 0) {
			out->len += (size_t)n;
			return n > 0 ? 0 : -ENODATA;
		}
		if (errno != ERANGE || room == DR_LAYOUT_MAX) {
			return -errno;
		}
	}
}

/* ---- roots ---- */

static int lustre_probe(const char *path, char **ret_root)
{
	struct statfs st;
	if (statfs(path, &st) < 0 || (uint32_t)st.f_type != DR_LUSTRE_MAGIC) {
		return 0;
	}
	int r = dr_local_mount_root(path, ret_root);
	return r < 0 ? r : 1;
}

/* The names of this mount's device and of the file system: "lustre-clilov-ffff9c7b4235a000", "lustre". */
static int read_names(struct dr_lustre *fs)
{
	int r = dr_lustre_ioctl(fs->root_fd, DR_LUSTRE_GETDTNAME, fs->dtname);
	if (r < 0) {
		return r;
	}
	fs->dtname[sizeof(fs->dtname) - 1] = '\0';
	const char *end = strstr(fs->dtname, "-clilov");
	if (!end || (size_t)(end - fs->dtname) >= sizeof(fs->fsname)) {
		return -EPROTO;
	}
	(void)snprintf(fs->fsname, sizeof(fs->fsname), "%.*s", (int)(end - fs->dtname), fs->dtname);
	return 0;
}

/* Whether the client has the call that the scan lives on; without it (before 2.12) layouts are read the slow way. */
static int try_look(struct dr_lustre *fs)
{
	struct dr_lustre_info *info dr_cleanup(dr_freep) = dr_xcalloc(1, sizeof(*info));
	(void)snprintf((char *)info, sizeof(*info), "%s", DOT_LUSTRE);
	int r = dr_lustre_ioctl(fs->root_fd, DR_LUSTRE_GETFILEINFO, info);
	fs->by_xattr = r == -ENOTTY || r == -EINVAL || r == -EOPNOTSUPP;
	if (fs->by_xattr) {
		dr_log(DR_LOG_WARNING, "old-client",
			"root=\"%s\" missing=IOC_MDC_GETFILEINFO_V2 next=\"scans slowly\"",
			fs->base.root);
	}
	return 0;
}

static void lustre_close(struct dr_fs *base)
{
	struct dr_lustre *fs = dr_lustre_of(base);
	dr_fd_closep(&fs->root_fd);
	dr_fd_closep(&fs->host_fd);
	(void)pthread_mutex_destroy(&fs->lock);
	free(fs->base.root);
	free(fs);
}

static int lustre_open(const char *root, struct dr_fs **ret_fs)
{
	int fd dr_cleanup(dr_fd_closep) = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0) {
		return -errno;
	}
	struct dr_lustre *fs = dr_xcalloc(1, sizeof(*fs));
	fs->base.ops = &dr_fs_lustre;
	fs->base.root = dr_xstrdup(root);
	fs->root_fd = dr_steal_fd(&fd);
	fs->dev = (uint64_t)st.st_dev;
	/* Without it two campaigns on one host disturb each other; nothing is lost by that. */
	fs->host_fd = open(HOST_LOCKS, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	(void)pthread_mutex_init(&fs->lock, NULL);
	int r = read_names(fs);
	r = r < 0 ? r : try_look(fs);
	if (r < 0) {
		lustre_close(&fs->base);
		return r;
	}
	*ret_fs = &fs->base;
	return 0;
}

/* The file system's name, and the directory that is mounted: another one below the root has other paths. */
static int lustre_identity(struct dr_fs *base, char *buf, size_t size)
{
	struct dr_lustre *fs = dr_lustre_of(base);
	struct dr_lustre_fid fid;
	struct statfs st;
	uint32_t id[2];
	int r = dr_lustre_ioctl(fs->root_fd, DR_LUSTRE_PATH2FID, &fid);
	if (r < 0) {
		return r;
	}
	if (fstatfs(fs->root_fd, &st) < 0) {
		return -errno;
	}
	memcpy(id, &st.f_fsid, sizeof(id));
	int len =
		snprintf(buf, size, "lustre:%s:%08" PRIx32 "%08" PRIx32 ":0x%" PRIx64 ":0x%" PRIx32,
			fs->fsname, id[0], id[1], fid.seq, fid.oid);
	return len < 0 || (size_t)len >= size ? -ERANGE : 0;
}

/* ---- OSTs ---- */

int dr_lustre_statfs(int fd, uint32_t type, uint32_t index, struct dr_lustre_statfs *ret_st,
	struct dr_lustre_uuid *ret_uuid)
{
	struct dr_lustre_statfs_call call = {
		.len = sizeof(call),
		.version = DR_LUSTRE_IOCTL_VERSION,
		.statfs_len = sizeof(*ret_st),
		.statfs = ret_st,
		.uuid_len = sizeof(*ret_uuid),
		.uuid = ret_uuid,
		.inline1_len = sizeof(call.type),
		.inline2_len = sizeof(call.index),
		.type = type | DR_LUSTRE_STATFS_NODELAY,
		.index = index,
	};
	return dr_lustre_ioctl(fd, DR_LUSTRE_STATFS, &call);
}

int dr_lustre_ost(struct dr_lustre *fs, uint32_t index, struct dr_ost *ret_ost)
{
	struct dr_lustre_statfs st = { 0 };
	struct dr_lustre_uuid uuid = { 0 };
	int r = dr_lustre_statfs(fs->root_fd, DR_LUSTRE_STATFS_OST, index, &st, &uuid);
	if (r < 0) {
		return r;
	}
	*ret_ost = (struct dr_ost){
		.index = index,
		.state = st.state & STATE_MASK,
		.total_bytes = st.blocks * st.bsize,
		.used_bytes = (st.blocks > st.bfree ? st.blocks - st.bfree : 0) * st.bsize,
		.avail_bytes = st.bavail * st.bsize,
		.objects = st.files > st.ffree ? st.files - st.ffree : 0,
	};
	const char *end = strstr(uuid.text, "_UUID");
	(void)snprintf(ret_ost->name, sizeof(ret_ost->name), "%.*s",
		(int)(end ? (size_t)(end - uuid.text) : strnlen(uuid.text, sizeof(uuid.text))),
		uuid.text);
	return 0;
}

int dr_lustre_count_osts(struct dr_lustre *fs, uint32_t *ret_n)
{
	uint32_t n = 0; /* in: OSTs, please */
	int r = dr_lustre_ioctl(fs->root_fd, DR_LUSTRE_GETOBDCOUNT, &n);
	if (r < 0) {
		return r;
	}
	if (n > DR_RANGESET_MAX) {
		return -EPROTO;
	}
	*ret_n = n;
	return 0;
}

static int lustre_osts(struct dr_fs *base, struct dr_ost **ret_osts, size_t *ret_n)
{
	struct dr_lustre *fs = dr_lustre_of(base);
	uint32_t count = 0;
	int r = dr_lustre_count_osts(fs, &count);
	if (r < 0) {
		return r;
	}
	struct dr_ost *osts = dr_xcalloc(count ? count : 1, sizeof(*osts));
	size_t n = 0;
	for (uint32_t i = 0; i < count; i++) {
		r = dr_lustre_ost(fs, i, &osts[n]);
		if (r == -EAGAIN) {
			continue; /* a gap: no OST has this index */
		}
		if (r < 0) {
			osts[n] = (struct dr_ost){ .index = i, .state = DR_OST_DOWN };
			(void)snprintf(osts[n].name, sizeof(osts[n].name), "%.40s-OST%04" PRIx32,
				fs->fsname, i);
		}
		n++;
	}
	*ret_osts = osts;
	*ret_n = n;
	return 0;
}

/* One line a member: "lustre-OST0002_UUID". */
static void parse_pool(const char *text, struct dr_rangeset *osts)
{
	for (const char *line = text; *line;) {
		const char *end = strchrnul(line, '\n');
		const char *mark = memmem(line, (size_t)(end - line), "-OST", 4);
		char *stop;
		if (mark) {
			unsigned long index = strtoul(mark + 4, &stop, 16);
			if (stop > mark + 4 && index < DR_RANGESET_MAX) {
				dr_rangeset_add(osts, (uint32_t)index);
			}
		}
		line = *end ? end + 1 : end;
	}
}

static int lustre_pool_osts(struct dr_fs *base, const char *pool, struct dr_rangeset *osts)
{
	/* The first is of releases before debugfs was used, and of those that keep both. */
	static const char *const places[] = { "/proc/fs/lustre/lov",
		"/sys/kernel/debug/lustre/lov" };
	struct dr_lustre *fs = dr_lustre_of(base);
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	int r = -ENOENT;
	if (!*pool || strchr(pool, '/') || *pool == '.') {
		return -EINVAL;
	}
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && r == -ENOENT; i++) {
		char *path dr_cleanup(dr_freep) =
			dr_xasprintf("%s/%s/pools/%s", places[i], fs->dtname, pool);
		r = dr_read_file(AT_FDCWD, path, POOL_FILE_MAX, &text);
	}
	if (r < 0) {
		return r;
	}
	dr_rangeset_fini(osts);
	parse_pool(dr_buf_cstr(&text), osts);
	return 0;
}

static int lustre_fid_path(struct dr_fs *base, const struct dr_fid *fid, struct dr_buf *out)
{
	struct dr_lustre *fs = dr_lustre_of(base);
	struct dr_lustre_fid2path *call dr_cleanup(dr_freep) = dr_xcalloc(1, sizeof(*call));
	call->fid = (struct dr_lustre_fid){ .seq = fid->seq, .oid = fid->oid, .ver = fid->ver };
	call->recno = UINT64_MAX;
	call->pathlen = sizeof(call->path);
	int r = dr_lustre_ioctl(fs->root_fd, DR_LUSTRE_FID2PATH, call);
	if (r < 0) {
		return r == -EINVAL ? -ENOENT : r; /* what is no file's FID */
	}
	const char *path = call->path + strspn(call->path, "/");
	dr_buf_put(out, path, strnlen(path, sizeof(call->path) - (size_t)(path - call->path)));
	return 0;
}

/* ---- directories ---- */

static int lustre_dir_open(
	struct dr_fs *base, const void *path, size_t len, struct dr_dir **ret_dir)
{
	struct dr_lustre *fs = dr_lustre_of(base);
	size_t dot = sizeof(DOT_LUSTRE) - 1;
	struct dr_local_dir local;
	if (len >= dot && memcmp(path, DOT_LUSTRE, dot) == 0 &&
		(len == dot || ((const char *)path)[dot] == '/')) {
		return -ENOENT; /* everything stands there a second time */
	}
	int r = dr_local_dir_open(fs->root_fd, fs->dev, path, len, &local);
	if (r < 0) {
		return r;
	}
	struct dr_lustre_dir *dir = dr_xcalloc(1, sizeof(*dir));
	dir->base.fs = base;
	dir->local = local;
	dir->refs = 1;
	*ret_dir = &dir->base;
	return 0;
}

void dr_lustre_dir_unref(struct dr_lustre_dir *dir)
{
	if (dir && --dir->refs == 0) {
		dr_local_dir_fini(&dir->local);
		free(dir->info);
		free(dir);
	}
}

static void lustre_dir_close(struct dr_dir *dir)
{
	if (dir) {
		dr_lustre_dir_unref(dr_lustre_dir_of(dir));
	}
}

/* FID, attributes and layout by three calls that every release has. */
static int look_by_xattr(struct dr_lustre_dir *dir, const char *name)
{
	union {
		struct file_handle handle;
		uint8_t bytes[sizeof(struct file_handle) + 32];
	} fid = { .handle = { .handle_bytes = 32 } };
	struct dr_lustre_info *info = dir->info;
	int mount;
	if (name_to_handle_at(dir->local.fd, name, &fid.handle, &mount, 0) < 0 ||
		statx(dir->local.fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &info->stx) <
			0) {
		return -errno;
	}
	if (fid.handle.handle_type != DR_LUSTRE_HANDLE) {
		return -EPROTO;
	}
	memcpy(&info->fid, fid.handle.f_handle, sizeof(info->fid));
	info->layout_size = 0;
	if (!S_ISREG(info->stx.stx_mode) && !S_ISDIR(info->stx.stx_mode)) {
		return 0;
	}
	char *path dr_cleanup(dr_freep) = dr_xasprintf("/proc/self/fd/%d/%s", dir->local.fd, name);
	ssize_t n = lgetxattr(path, DR_LUSTRE_LAYOUT_XATTR, info->layout, sizeof(info->layout));
	if (n < 0 && errno != ENODATA) {
		return -errno;
	}
	info->layout_size = n > 0 ? (uint32_t)n : 0;
	return 0;
}

int dr_lustre_look(struct dr_lustre_dir *dir, const char *name)
{
	size_t len = strlen(name);
	if (len > NAME_MAX) {
		return -ENAMETOOLONG;
	}
	if (!dir->info) {
		dir->info = dr_xcalloc(1, sizeof(*dir->info));
	}
	int r;
	if (dr_lustre_of(dir->base.fs)->by_xattr) {
		r = look_by_xattr(dir, name);
	} else {
		memcpy(dir->info, name, len + 1);
		r = dr_lustre_ioctl(dir->local.fd, DR_LUSTRE_GETFILEINFO, dir->info);
	}
	if (r < 0) {
		return r;
	}
	if (dir->info->layout_size > sizeof(dir->info->layout)) {
		return -EPROTO;
	}
	dir->stat = dr_local_stat_of(&dir->info->stx);
	return 0;
}

/* Completes an entry by what the metadata server says of it. @return false it is gone */
static bool entry_complete(struct dr_lustre_dir *dir, struct dr_entry *entry)
{
	int r = dr_lustre_look(dir, entry->name);
	if (r < 0) {
		entry->error = r;
		return r != -ENOENT;
	}
	const struct dr_lustre_info *info = dir->info;
	entry->type = dr_local_type(dir->stat.mode);
	entry->fid = (struct dr_fid){ info->fid.seq, info->fid.oid, info->fid.ver };
	entry->stat = &dir->stat;
	if (info->layout_size > 0 && entry->type == DR_TYPE_FILE) {
		entry->layout = info->layout;
		entry->layout_len = info->layout_size;
	}
	return true;
}

static int lustre_dir_read(struct dr_dir *base, uint64_t position, dr_entry_fn *fn, void *ctx)
{
	struct dr_lustre_dir *dir = dr_lustre_dir_of(base);
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
		if (entry.type == DR_TYPE_FILE && !entry_complete(dir, &entry)) {
			continue;
		}
		r = fn(ctx, base, &entry);
		if (r != 0) {
			return r;
		}
	}
	return DR_DIR_MORE;
}

int dr_lustre_dir_layout(int fd, struct dr_buf *out)
{
	struct dr_lustre_info *info dr_cleanup(dr_freep) = dr_xcalloc(1, sizeof(*info));
	int r = dr_lustre_ioctl(fd, DR_LUSTRE_GETINFO, info);

	if (r < 0) {
		return dr_lustre_layout(fd, out); /* all that an older client tells */
	}
	if (info->layout_size == 0 || info->layout_size > sizeof(info->layout)) {
		return info->layout_size == 0 ? -ENODATA : -EPROTO;
	}
	dr_buf_put(out, info->layout, info->layout_size);
	return 0;
}

static int lustre_dir_default(struct dr_dir *dir, struct dr_buf *out)
{
	return dr_lustre_dir_layout(dr_lustre_dir_of(dir)->local.fd, out);
}

static int lustre_entry_stat(struct dr_dir *dir, const char *name, struct dr_stat *ret_stat)
{
	return dr_local_stat(dr_lustre_dir_of(dir)->local.fd, name, AT_SYMLINK_NOFOLLOW, ret_stat);
}

static int lustre_entry_look(struct dr_dir *base, const char *name, dr_entry_fn *fn, void *ctx)
{
	struct dr_lustre_dir *dir = dr_lustre_dir_of(base);
	struct dr_entry entry = { .name = name, .name_len = strlen(name) };
	if (!entry_complete(dir, &entry)) {
		return -ENOENT;
	}
	if (entry.error < 0) {
		return entry.error;
	}
	entry.ino = dir->stat.ino;
	return fn(ctx, base, &entry);
}

const struct dr_fs_driver dr_fs_lustre = {
	.name = "lustre",
	.kind = DR_FS_LUSTRE,
	.parallel = true,
	.lease_yields = true,
	.probe = lustre_probe,
	.open = lustre_open,
	.close = lustre_close,
	.identity = lustre_identity,
	.osts = lustre_osts,
	.pool_osts = lustre_pool_osts,
	.fid_path = lustre_fid_path,
	.dir_open = lustre_dir_open,
	.dir_close = lustre_dir_close,
	.dir_read = lustre_dir_read,
	.dir_default = lustre_dir_default,
	.entry_stat = lustre_entry_stat,
	.entry_look = lustre_entry_look,
	.file_open = dr_lustre_file_open,
	.file_close = dr_lustre_file_close,
	.lease_take = dr_lustre_lease_take,
	.lease_check = dr_lustre_lease_check,
	.lease_release = dr_lustre_lease_release,
	.file_stat = dr_lustre_file_stat,
	.file_layout = dr_lustre_file_layout,
	.data_version = dr_lustre_data_version,
	.read = dr_lustre_read,
	.next_data = dr_lustre_next_data,
	.vol_create = dr_lustre_vol_create,
	.vol_close = dr_lustre_vol_close,
	.vol_layout = dr_lustre_vol_layout,
	.vol_write = dr_lustre_vol_write,
	.vol_truncate = dr_lustre_vol_truncate,
	.vol_flush = dr_lustre_vol_flush,
	.vol_sync = dr_lustre_vol_sync,
	.vol_size = dr_lustre_vol_size,
	.vol_read = dr_lustre_vol_read,
	.vol_attrs = dr_lustre_vol_attrs,
	.swap = dr_lustre_swap,
	.mirror_replace = dr_lustre_mirror_replace,
	.mirror_mend = dr_lustre_mirror_mend,
};
