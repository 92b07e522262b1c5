/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fdio.h"
#include "fs/lustre_priv.h"

#include <string.h>
#include <uthash.h>

/*
 * Files and their leases.
 *
 * An open for writing takes the lease of whoever has one, and a move needs an open for writing. So two movers of one file would
 * take each other's leases away for ever. Within this process a table of FIDs keeps a second mover out (a file with two
 * names in two chunks). Against other processes of this host (another campaign) there is a lock for each FID, a byte of a file that all of them
 * open: on one mount even the attempt at a lease takes the other's away. Against other hosts each mover is polite for a while once it lost
 * a lease: it then looks first with a lease on a descriptor for reading, which disturbs no other client and is refused while another mover is there.
 */

#define POLITE_NS 60000000000ull
#define SEEK_BYTES (1u << 20) /* a smaller sparse file is read whole: that is cheaper than asking */

struct dr_lustre_held {
	struct dr_fid fid;
	UT_hash_handle hh;
};

/* The byte that stands for a FID. Two FIDs on one byte only make one of them wait. */
static struct flock byte_of(const struct dr_fid *fid, short type)
{
	uint64_t byte = (fid->seq * 0x9E3779B97F4A7C15ull ^ fid->oid * 0xC2B2AE3D27D4EB4Full) >> 1;

	return (struct flock){
		.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)(byte >> 1), .l_len = 1
	};
}

static bool hold_on_host(const struct dr_lustre *fs, const struct dr_fid *fid)
{
	struct flock lock = byte_of(fid, F_WRLCK);

	return fs->host_fd < 0 || fcntl(fs->host_fd, F_OFD_SETLK, &lock) == 0 ||
	       (errno != EAGAIN && errno != EACCES);
}

static void let_go_on_host(const struct dr_lustre *fs, const struct dr_fid *fid)
{
	struct flock lock = byte_of(fid, F_UNLCK);

	if (fs->host_fd >= 0) {
		(void)fcntl(fs->host_fd, F_OFD_SETLK, &lock);
	}
}

static bool hold(struct dr_lustre *fs, const struct dr_fid *fid)
{
	struct dr_lustre_held *entry;

	(void)pthread_mutex_lock(&fs->lock);
	HASH_FIND(hh, fs->held, fid, sizeof(*fid), entry);
	bool is_free = !entry && hold_on_host(fs, fid);

	if (is_free) {
		entry = dr_xcalloc(1, sizeof(*entry));
		entry->fid = *fid;
		HASH_ADD(hh, fs->held, fid, sizeof(entry->fid), entry);
	}
	(void)pthread_mutex_unlock(&fs->lock);
	return is_free;
}

static void let_go(struct dr_lustre *fs, const struct dr_fid *fid)
{
	struct dr_lustre_held *entry;

	(void)pthread_mutex_lock(&fs->lock);
	HASH_FIND(hh, fs->held, fid, sizeof(*fid), entry);
	if (entry) {
		HASH_DEL(fs->held, entry);
		let_go_on_host(fs, fid);
	}
	(void)pthread_mutex_unlock(&fs->lock);
	free(entry);
}

static bool is_polite(struct dr_lustre *fs)
{
	return dr_now_ns() < atomic_load_explicit(&fs->polite_until_ns, memory_order_relaxed);
}

static void lease_was_lost(struct dr_lustre *fs)
{
	atomic_store_explicit(&fs->polite_until_ns, dr_now_ns() + POLITE_NS, memory_order_relaxed);
}

/* ---- opening ---- */

static int error_of_open(int error)
{
	switch (error) {
	case ELOOP:  /* a symlink by now */
	case ENXIO:  /* a socket */
	case ENODEV: /* a device that nobody serves */
	case EISDIR:
		return -ENOENT;
	case EWOULDBLOCK:
		return -EBUSY;
	default:
		return -error;
	}
}

/* O_NONBLOCK: a fifo that has the name now must not hold us up. */
static int open_as(struct dr_lustre_file *file, const char *name, int access)
{
	int flags = access | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = openat(file->dir->local.fd, name, flags | O_NOATIME);

	if (fd < 0 && errno == EPERM && access == O_RDONLY) {
		fd = openat(
			file->dir->local.fd, name, flags); /* O_NOATIME is for the owner and root */
	}
	if (fd < 0) {
		return error_of_open(errno);
	}
	/* A mirrored file would be read without waiting for OSTs, otherwise. */
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}

/* Is it the file that was meant? @return 0, or ENOENT */
static int check_identity(struct dr_lustre_file *file)
{
	struct dr_lustre_fid now;
	int r = dr_lustre_ioctl(file->fd, DR_LUSTRE_PATH2FID, &now);

	if (r < 0) {
		return r == -ENOTTY ? -ENOENT : r; /* a fifo, a device */
	}
	const struct dr_fid fid = { now.seq, now.oid, now.ver };

	if (!dr_fid_is_zero(&file->fid)) {
		return dr_fid_equal(&fid, &file->fid) ? 0 : -ENOENT;
	}
	struct dr_stat st;

	r = dr_local_stat(file->fd, "", AT_EMPTY_PATH, &st);
	if (r < 0 || !S_ISREG(st.mode)) {
		return r < 0 ? r : -ENOENT;
	}
	file->fid = fid;
	return 0;
}

static int reopen(struct dr_lustre_file *file, const char *name, int access)
{
	dr_fd_closep(&file->fd);
	file->fd = open_as(file, name, access);
	return file->fd < 0 ? file->fd : check_identity(file);
}

int dr_lustre_file_open(struct dr_dir *base, const char *name, const struct dr_fid *fid,
	enum dr_open_how how, struct dr_file **ret_file)
{
	struct dr_lustre_file *file = dr_xcalloc(1, sizeof(*file));
	struct dr_lustre *fs = dr_lustre_of(base->fs);
	int r = 0;

	file->base.fs = base->fs;
	file->fs = fs;
	file->dir = dr_lustre_dir_of(base);
	file->dir->refs++;
	file->fd = -EBADF;
	file->how = how;
	if (fid) {
		file->fid = *fid;
		file->held = hold(fs, fid);
		r = file->held ? 0 : -EALREADY;
	}
	bool for_writing = how == DR_OPEN_MOVE && !is_polite(fs);

	r = r < 0 ? r : reopen(file, name, for_writing ? O_RDWR : O_RDONLY);
	if (r == 0 && !file->held) {
		file->held = hold(fs, &file->fid);
		r = file->held ? 0 : -EALREADY;
	}
	if (r == 0 && how == DR_OPEN_MOVE && !for_writing) {
		/* Nobody else moves it, and nobody writes: only then it is opened for writing. */
		r = dr_lustre_lease_take(&file->base);
		dr_lustre_lease_release(&file->base);
		r = r < 0 ? r : reopen(file, name, O_RDWR);
	}
	if (r < 0) {
		dr_lustre_file_close(&file->base);
		return r;
	}
	*ret_file = &file->base;
	return 0;
}

void dr_lustre_file_close(struct dr_file *base)
{
	if (!base) {
		return;
	}
	struct dr_lustre_file *file = dr_lustre_file_of(base);

	dr_lustre_lease_release(base);
	dr_fd_closep(&file->fd);
	if (file->held) {
		let_go(file->fs, &file->fid);
	}
	dr_lustre_dir_unref(file->dir);
	free(file->page);
	free(file);
}

/* ---- leases ---- */

int dr_lustre_lease_take(struct dr_file *base)
{
	struct dr_lustre_file *file = dr_lustre_file_of(base);
	struct dr_lustre_lease lease = { .mode = DR_LUSTRE_LEASE_READ };
	int r = dr_lustre_ioctl(file->fd, DR_LUSTRE_SET_LEASE, &lease);

	file->leased = r >= 0;
	file->flushed = false; /* who wrote before now may have dirty pages */
	return r < 0 ? r : 0;
}

int dr_lustre_lease_check(struct dr_file *base)
{
	struct dr_lustre_file *file = dr_lustre_file_of(base);

	if (!file->leased) {
		return 0;
	}
	if (dr_lustre_ioctl(file->fd, DR_LUSTRE_GET_LEASE, NULL) > 0) {
		return 1;
	}
	lease_was_lost(file->fs);
	return 0;
}

void dr_lustre_lease_release(struct dr_file *base)
{
	struct dr_lustre_file *file = dr_lustre_file_of(base);
	struct dr_lustre_lease lease = { .mode = DR_LUSTRE_LEASE_UNLOCK };

	if (file->leased && dr_lustre_ioctl(file->fd, DR_LUSTRE_SET_LEASE, &lease) == 0) {
		lease_was_lost(file->fs);
	}
	file->leased = false;
}

/* ---- what a file is ---- */

static int ask_stat(struct dr_lustre_file *file)
{
	int r = dr_local_stat(file->fd, "", AT_EMPTY_PATH, &file->st);

	file->st.sparse = r == 0 && file->st.blocks < file->st.size / 512;
	return r;
}

int dr_lustre_file_stat(struct dr_file *base, struct dr_stat *ret_stat)
{
	struct dr_lustre_file *file = dr_lustre_file_of(base);
	int r = file->st_is_new ? 0 : ask_stat(file);

	file->st_is_new = false;
	if (r < 0) {
		return r;
	}
	*ret_stat = file->st;
	return 0;
}

/*
 * The client gives the layout that it used last, even after a swap took it away. Asking for the size makes it look for a newer
 * one; what comes with that is kept for the file_stat that follows.
 */
int dr_lustre_file_layout(struct dr_file *base, struct dr_buf *out)
{
	struct dr_lustre_file *file = dr_lustre_file_of(base);

	file->st_is_new = ask_stat(file) == 0;
	return dr_lustre_layout(file->fd, out);
}

int dr_lustre_data_version(struct dr_file *base, const struct dr_stat *now, uint64_t *ret_version)
{
	struct dr_lustre_file *file = dr_lustre_file_of(base);
	/*
	 * Pages that any client still holds dirty have no version yet, and would get one later: the first time they are flushed.
	 * After that the lease keeps writers away, or tells of them.
	 */
	struct dr_lustre_data_version call = {
		.flags = file->flushed ? 0 : DR_LUSTRE_DV_RD_FLUSH,
	};
	int r = dr_lustre_ioctl(file->fd, DR_LUSTRE_DATA_VERSION, &call);

	(void)now;
	if (r < 0) {
		return r;
	}
	file->flushed = true;
	file->version = call.version;
	*ret_version = call.version;
	return 0;
}

/* ---- its data ---- */

static ssize_t read_some(int fd, void *buf, size_t len, uint64_t off)
{
	ssize_t n;

	do {
		n = pread(fd, buf, len, (off_t)off);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t dr_lustre_read(struct dr_file *base, void *buf, size_t len, uint64_t off)
{
	struct dr_lustre_file *file = dr_lustre_file_of(base);
	size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = len - len % page;

	if (off > INT64_MAX) {
		return 0;
	}
	if (!file->direct || whole == len) {
		return read_some(file->fd, buf, len, off);
	}
	if (whole > 0) {
		return read_some(file->fd, buf, whole, off);
	}
	/* Under O_DIRECT older clients take whole pages only; the end of the file lies within one, and one thread reads it. */
	if (!file->page && posix_memalign((void **)&file->page, page, page) != 0) {
		return -ENOMEM;
	}
	ssize_t n = read_some(file->fd, file->page, page, off);

	if (n > 0) {
		n = (size_t)n < len ? n : (ssize_t)len;
		memcpy(buf, file->page, (size_t)n);
	}
	return n;
}

/* The bytes of all extents that lseek tells of. @error of lseek */
static int sum_extents(const struct dr_lustre_file *file, uint64_t *ret_bytes)
{
	uint64_t sum = 0, start, end = 0;
	int r;

	while ((r = dr_local_next_data(file->fd, end, file->st.size, &start, &end)) == 0) {
		sum += end - start;
	}
	if (r != -ENXIO) {
		return r;
	}
	*ret_bytes = sum;
	return 0;
}

/*
 * SEEK_DATA has been wrong on Lustre: about data that an OST had not committed yet, and at the ends of components. So what is on
 * the OSTs is committed first, and the extents are believed only if they account for every allocated block.
 */
static int decide_extents(struct dr_lustre_file *file)
{
	uint64_t bytes = 0;

	file->extents = DR_EXTENTS_WHOLE;
	if (!file->st.sparse || file->st.size <= SEEK_BYTES || file->how != DR_OPEN_MOVE) {
		return 0;
	}
	if (fsync(file->fd) < 0) {
		return -errno;
	}
	int r = ask_stat(file);

	if (r < 0) {
		return r;
	}
	if (sum_extents(file, &bytes) == 0 && bytes / 512 >= file->st.blocks) {
		file->extents = DR_EXTENTS_SOUGHT;
	}
	return 0;
}

int dr_lustre_next_data(struct dr_file *base, uint64_t off, uint64_t *ret_start, uint64_t *ret_end)
{
	struct dr_lustre_file *file = dr_lustre_file_of(base);
	int r = file->extents == DR_EXTENTS_UNKNOWN ? decide_extents(file) : 0;

	if (r < 0) {
		return r;
	}
	if (file->extents == DR_EXTENTS_SOUGHT) {
		uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start, end;

		r = dr_local_next_data(file->fd, off, file->st.size, &start, &end);
		if (r < 0) {
			return r;
		}
		/* Whole pages, for O_DIRECT; never back to before off. */
		start -= start % page;
		end += end % page ? page - end % page : 0;
		*ret_start = start > off ? start : off;
		*ret_end = end < file->st.size ? end : file->st.size;
		return 0;
	}
	if (off >= file->st.size) {
		return -ENXIO;
	}
	*ret_start = off;
	*ret_end = file->st.size;
	return 0;
}
