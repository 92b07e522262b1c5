/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "fs/lustre_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/*
 * Volatile files, and the swap. A volatile is an orphan from its first moment: the servers drop it with its objects when its last
 * descriptor is closed, be it by a kill.
 */

#define DIRECT_BYTES (4u << 20) /* from this size on data passes the page cache by */
#define NAME_TRIES 100

/* ---- making one ---- */

static int mdt_of(int fd, int *ret_mdt)
{
	int mdt = 0;
	int r = dr_lustre_ioctl(fd, DR_LUSTRE_GET_MDTIDX, &mdt);

	if (r < 0) {
		return r;
	}
	*ret_mdt = mdt;
	return 0;
}

int dr_lustre_volatile_open(struct dr_lustre_file *file)
{
	int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | DR_LUSTRE_O_DELAY_CREATE;
	int mdt = 0;
	int r = mdt_of(file->fd, &mdt);

	for (int tries = 0; r == 0 && tries < NAME_TRIES; tries++) {
		char name[64];
		uint16_t random = 0;

		if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
			return -EAGAIN;
		}
		(void)snprintf(name, sizeof(name), "%s:%.4X:%.4X:fd=%.2d", DR_LUSTRE_VOLATILE,
			(unsigned)mdt, (unsigned)random, file->fd);
		int fd = openat(file->dir->local.fd, name, flags, 0600);

		if (fd >= 0 || errno != EEXIST) {
			return fd >= 0 ? fd : -errno;
		}
	}
	return r < 0 ? r : -EEXIST;
}

static int set_layout(int fd, const struct dr_buf *request)
{
	return fsetxattr(fd, DR_LUSTRE_LAYOUT_XATTR, request->data, request->len, 0) < 0 ? -errno
											 : 0;
}

/* Whether this OST alone refuses an object. @return as set_layout */
static int try_ost(struct dr_lustre_file *file, uint32_t n_osts, uint32_t ost)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = dr_layout_new(DR_LAYOUT_PLAIN, 1);
	struct dr_buf request dr_cleanup(dr_buf_fini) = { 0 };
	int fd dr_cleanup(dr_fd_closep) = dr_lustre_volatile_open(file);

	layout->comps[0].end = DR_EOF;
	layout->comps[0].flags = DR_COMP_INIT;
	layout->comps[0].pattern = DR_PATTERN_RAID0;
	layout->comps[0].stripe_size = 1u << 20;
	dr_layout_set_objects(layout, 0, 1);
	layout->comps[0].objects[0].ost = ost;
	int r = fd < 0 ? fd : dr_lustre_request(layout, n_osts, &request);

	return r < 0 ? r : set_layout(fd, &request);
}

/*
 * The servers say that some OST takes no object, and not which. A closed one may show no state at all, so each is asked.
 */
static void find_refusing(
	struct dr_lustre_file *file, const struct dr_layout *layout, uint32_t *ret_ost)
{
	struct dr_rangeset seen = { 0 };
	uint32_t n_osts;

	if (dr_lustre_count_osts(file->fs, &n_osts) < 0) {
		return;
	}

	for (uint32_t c = 0; c < layout->n_comps; c++) {
		for (uint32_t i = 0; i < layout->comps[c].n_objects; i++) {
			uint32_t ost = layout->comps[c].objects[i].ost;

			if (dr_rangeset_has(&seen, ost)) {
				continue;
			}
			dr_rangeset_add(&seen, ost);
			int r = try_ost(file, n_osts, ost);

			if (r == -ENOBUFS || r == -ENOSPC || r == -ENODEV) {
				*ret_ost = ost;
				dr_rangeset_fini(&seen);
				return;
			}
		}
	}
	dr_rangeset_fini(&seen);
}

/* The OST of the volatile that has the least room: the one that most likely said ENOSPC. */
static void find_fullest(struct dr_lustre_vol *vol, uint32_t *ret_ost)
{
	const struct dr_layout *layout = vol->asked;
	uint64_t least = UINT64_MAX;

	for (uint32_t c = 0; c < layout->n_comps; c++) {
		for (uint32_t i = 0; i < layout->comps[c].n_objects; i++) {
			struct dr_ost ost;
			uint32_t index = layout->comps[c].objects[i].ost;

			if (dr_lustre_ost(vol->file->fs, index, &ost) == 0 &&
				ost.avail_bytes < least) {
				least = ost.avail_bytes;
				*ret_ost = index;
			}
		}
	}
}

int dr_lustre_vol_check(struct dr_lustre_vol *vol, uint64_t size)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout *made dr_cleanup(dr_layout_freep) = NULL;
	int r = dr_lustre_layout(vol->fd, &bytes);

	r = r < 0 ? r : dr_layout_decode(bytes.data, bytes.len, &made);
	if (r < 0) {
		return r;
	}
	if (dr_lustre_is_as_asked(vol->asked, made, size)) {
		return 0;
	}
	struct dr_buf asked dr_cleanup(dr_buf_fini) = { 0 }, got dr_cleanup(dr_buf_fini) = { 0 };

	dr_layout_describe(vol->asked, &asked);
	dr_layout_describe(made, &got);
	dr_log_limited(10, DR_LOG_WARNING, "other-layout",
		"asked=\"%s\" got=\"%s\" next=\"the file is not moved\"", dr_buf_cstr(&asked),
		dr_buf_cstr(&got));
	return -EOPNOTSUPP;
}

/* Sets the layout, and reads it back: several requests succeed with something else. */
static int give_layout(struct dr_lustre_vol *vol, uint32_t *ret_ost)
{
	struct dr_buf request dr_cleanup(dr_buf_fini) = { 0 };
	uint32_t n_osts = 0;
	int r = dr_lustre_count_osts(vol->file->fs, &n_osts);

	r = r < 0 ? r : dr_lustre_request(vol->asked, n_osts, &request);
	r = r < 0 ? r : set_layout(vol->fd, &request);
	if (r == -ENOBUFS || r == -ENOSPC || r == -ENODEV) {
		find_refusing(vol->file, vol->asked, ret_ost);
	}
	return r < 0 ? r : dr_lustre_vol_check(vol, 0);
}

/* The project that a new file of the directory has: its own, where that is inherited, else none. Asked once. */
static int64_t new_files_project(struct dr_lustre_dir *dir)
{
	struct dr_lustre_fsxattr attr = { 0 };

	if (!dir->project_known) {
		dir->project_known = true;
		dir->project = -1; /* it cannot be told: each file is asked */
		if (dr_lustre_ioctl(dir->local.fd, DR_LUSTRE_FSGETXATTR, &attr) == 0) {
			dir->project = attr.xflags & DR_LUSTRE_XFLAG_INHERIT ? attr.project : 0;
		}
	}
	return dir->project;
}

/* The swap refuses a volatile of another owner; the new objects carry the volatile's project, for quota. */
static int give_owner(int fd, const struct dr_lustre_file *file)
{
	struct dr_lustre_fsxattr ours = { 0 }, theirs = { 0 };
	struct statx sx;

	/* What the client knows is new: the file was made a moment ago, the source looked at under its lease. */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_UID | STATX_GID, &sx) < 0) {
		return -errno;
	}
	if ((sx.stx_uid != file->st.uid || sx.stx_gid != file->st.gid) &&
		fchown(fd, file->st.uid, file->st.gid) < 0) {
		return -errno;
	}
	int r = dr_lustre_ioctl(file->fd, DR_LUSTRE_FSGETXATTR, &theirs);

	if (r == -ENOTTY || r == -EOPNOTSUPP) {
		return 0; /* no projects here */
	}
	if (r < 0 || theirs.project == new_files_project(file->dir)) {
		return r;
	}
	r = dr_lustre_ioctl(fd, DR_LUSTRE_FSGETXATTR, &ours);
	if (r < 0) {
		return r;
	}
	ours.project = theirs.project;
	return dr_lustre_ioctl(fd, DR_LUSTRE_FSSETXATTR, &ours);
}

static int set_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0 ? -errno : 0;
}

/* Large files pass the page cache by, on both sides. */
static int go_direct(struct dr_lustre_vol *vol)
{
	struct dr_lustre_file *file = vol->file;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (file->st.size < DIRECT_BYTES) {
		return 0;
	}
	if (posix_memalign((void **)&vol->page, page, page) != 0) {
		return -ENOMEM;
	}
	int r = set_direct(file->fd);

	r = r < 0 ? r : set_direct(vol->fd);
	if (r < 0) {
		return r;
	}
	file->direct = true;
	vol->direct = true;
	return 0;
}

int dr_lustre_vol_create(struct dr_file *base, const struct dr_layout *layout,
	struct dr_vol **ret_vol, uint32_t *ret_ost)
{
	struct dr_lustre_file *file = dr_lustre_file_of(base);
	struct dr_lustre_vol *vol = dr_xcalloc(1, sizeof(*vol));

	vol->base.fs = base->fs;
	vol->file = file;
	vol->asked = dr_layout_copy(layout);
	vol->fd = dr_lustre_volatile_open(file);
	int r = vol->fd < 0 ? vol->fd : give_layout(vol, ret_ost);

	r = r < 0 ? r : give_owner(vol->fd, file);
	r = r < 0 ? r : go_direct(vol);
	if (r < 0) {
		dr_lustre_vol_close(&vol->base);
		return r;
	}
	*ret_vol = &vol->base;
	return 0;
}

void dr_lustre_vol_close(struct dr_vol *base)
{
	if (base) {
		struct dr_lustre_vol *vol = dr_lustre_vol_of(base);

		dr_fd_closep(&vol->fd);
		dr_layout_free(vol->asked);
		free(vol->page);
		free(vol);
	}
}

int dr_lustre_vol_layout(struct dr_vol *base, struct dr_buf *out)
{
	return dr_lustre_layout(dr_lustre_vol_of(base)->fd, out);
}

/* ---- its data ---- */

static int write_all(int fd, const uint8_t *bytes, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, bytes, len, (off_t)off);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return n < 0 ? -errno : -EIO;
		}
		bytes += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* The part of a page that a file ends with, as a whole page: the end is cut off again by vol_truncate. */
static int write_last_page(
	struct dr_lustre_vol *vol, const uint8_t *bytes, size_t len, uint64_t off, size_t page)
{
	memcpy(vol->page, bytes, len);
	memset(vol->page + len, 0, page - len);
	return write_all(vol->fd, vol->page, page, off);
}

/* How far writes have reached; several threads write. */
static void note_end(struct dr_lustre_vol *vol, uint64_t end)
{
	uint64_t now = atomic_load(&vol->end);

	while (now < end && !atomic_compare_exchange_weak(&vol->end, &now, end)) {
	}
}

int dr_lustre_vol_write(
	struct dr_vol *base, const void *buf, size_t len, uint64_t off, uint32_t *ret_ost)
{
	struct dr_lustre_vol *vol = dr_lustre_vol_of(base);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t whole = vol->direct ? len - len % page : len;
	int r = write_all(vol->fd, buf, whole, off);

	note_end(vol, off + whole);
	if (r == 0 && whole < len) {
		r = write_last_page(
			vol, (const uint8_t *)buf + whole, len - whole, off + whole, page);
		note_end(vol, off + whole + page);
	}
	if (r == -ENOSPC) {
		find_fullest(vol, ret_ost);
	} else if (r == -ENOBUFS) {
		find_refusing(vol->file, vol->asked,
			ret_ost); /* a component was written for the first time */
	}
	return r;
}

int dr_lustre_vol_truncate(struct dr_vol *base, uint64_t size)
{
	struct dr_lustre_vol *vol = dr_lustre_vol_of(base);

	if (size > INT64_MAX) {
		return -EFBIG;
	}
	/* What was written to just this end is spared a round trip to the OSTs. */
	if (atomic_load(&vol->end) == size) {
		return 0;
	}
	if (ftruncate(vol->fd, (off_t)size) < 0) {
		return -errno;
	}
	atomic_store(&vol->end, size);
	return 0;
}

int dr_lustre_vol_flush(struct dr_vol *base)
{
	return sync_file_range(dr_lustre_vol_of(base)->fd, 0, 0, SYNC_FILE_RANGE_WRITE) < 0 ? -errno
											    : 0;
}

int dr_lustre_vol_sync(struct dr_vol *base)
{
	return fsync(dr_lustre_vol_of(base)->fd) < 0 ? -errno : 0;
}

int dr_lustre_vol_size(struct dr_vol *base, uint64_t *ret_size)
{
	struct stat st;

	if (fstat(dr_lustre_vol_of(base)->fd, &st) < 0) {
		return -errno;
	}
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

ssize_t dr_lustre_vol_read(struct dr_vol *base, void *buf, size_t len, uint64_t off)
{
	struct dr_lustre_vol *vol = dr_lustre_vol_of(base);
	size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = len - len % page;
	ssize_t n;

	if (!vol->direct) {
		/* What this client still has of it is dropped, so that it comes from the OSTs. */
		(void)posix_fadvise(vol->fd, (off_t)off, (off_t)len, POSIX_FADV_DONTNEED);
		n = pread(vol->fd, buf, len, (off_t)off);
	} else if (whole > 0) {
		n = pread(vol->fd, buf, whole, (off_t)off);
	} else {
		n = pread(vol->fd, vol->page, page, (off_t)off);
		if (n > 0) {
			n = (size_t)n < len ? n : (ssize_t)len;
			memcpy(buf, vol->page, (size_t)n);
		}
	}
	return n < 0 ? -errno : n;
}

int dr_lustre_vol_attrs(struct dr_vol *base, struct dr_file *source)
{
	struct dr_lustre_vol *vol = dr_lustre_vol_of(base);
	struct statx sx;

	/* Read now, not when the move began: somebody may have set them since. The larger mtime wins at the swap. */
	if (statx(dr_lustre_file_of(source)->fd, "", AT_EMPTY_PATH, STATX_ATIME | STATX_MTIME,
		    &sx) < 0) {
		return -errno;
	}
	const struct timespec times[2] = {
		{ .tv_sec = sx.stx_atime.tv_sec, .tv_nsec = (long)sx.stx_atime.tv_nsec },
		{ .tv_sec = sx.stx_mtime.tv_sec, .tv_nsec = (long)sx.stx_mtime.tv_nsec },
	};

	return futimens(vol->fd, times) < 0 ? -errno : 0;
}

/* ---- the swap ---- */

int dr_lustre_expect(struct dr_lustre_file *file, const void *expect, size_t expect_len)
{
	struct dr_buf now dr_cleanup(dr_buf_fini) = { 0 };
	int r = dr_lustre_layout(file->fd, &now);

	if (r < 0) {
		return r == -ENODATA ? -ESTALE : r;
	}
	return now.len == expect_len && memcmp(now.data, expect, expect_len) == 0 ? 0 : -ESTALE;
}

int dr_lustre_swap(
	struct dr_file *base, struct dr_vol *vol_base, const void *expect, size_t expect_len)
{
	struct dr_lustre_file *file = dr_lustre_file_of(base);
	struct dr_lustre_vol *vol = dr_lustre_vol_of(vol_base);
	/* Of an archived file HSM keeps the version; the volatile's is read after its times were set, which change it. */
	struct dr_lustre_data_version version = { 0 };
	int r = file->leased ? dr_lustre_expect(file, expect, expect_len) : -ESTALE;

	r = r < 0 ? r : dr_lustre_vol_check(vol, file->st.size);
	r = r < 0 ? r : dr_lustre_ioctl(vol->fd, DR_LUSTRE_DATA_VERSION, &version);
	if (r == 0) {
		struct dr_lustre_swap call = {
			.flags = DR_LUSTRE_SWAP_CLOSE,
			.fd = (uint32_t)vol->fd,
			.version_file = file->version,
			.version_vol = version.version,
		};
		r = dr_lustre_ioctl(file->fd, DR_LUSTRE_SWAP, &call);
		file->leased = false; /* consumed, whatever the result */
		r = r == -ENOLCK ? -ESTALE : r;
	}
	dr_lustre_lease_release(base);
	return r < 0 ? r : 0;
}
