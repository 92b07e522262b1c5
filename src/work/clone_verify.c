/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_verify.h"

#include "base/fdio.h"
#include "fs/tree_lustre.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <xxhash.h>

#define PAGE 4096u
#define SHA256_BYTES 32
#define XXH3_BYTES 16

/* ---- digests ---- */

struct hash {
	EVP_MD_CTX *sha; /* one of the two */
	XXH3_state_t *xxh;
};

static void hash_fini(struct hash *hash)
{
	EVP_MD_CTX_free(hash->sha);
	if (hash->xxh) {
		(void)XXH3_freeState(hash->xxh);
	}
}

static int hash_init(struct hash *hash, bool wants_sha256)
{
	if (wants_sha256) {
		hash->sha = EVP_MD_CTX_new();
		return hash->sha && EVP_DigestInit_ex(hash->sha, EVP_sha256(), NULL) ? 0 : -ENOMEM;
	}
	hash->xxh = XXH3_createState();
	return hash->xxh && XXH3_128bits_reset(hash->xxh) == XXH_OK ? 0 : -ENOMEM;
}

static int hash_update(struct hash *hash, const void *bytes, size_t len)
{
	bool ok = hash->sha ? EVP_DigestUpdate(hash->sha, bytes, len)
			    : XXH3_128bits_update(hash->xxh, bytes, len) == XXH_OK;

	return ok ? 0 : -EIO;
}

static int hash_end(struct hash *hash, struct dr_verify_digest *ret_digest)
{
	struct dr_verify_digest digest = { .is_sha256 = hash->sha != NULL };

	if (hash->sha) {
		if (!EVP_DigestFinal_ex(hash->sha, digest.bytes, NULL)) {
			return -EIO;
		}
	} else {
		XXH128_canonical_t canonical;

		XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(hash->xxh));
		memcpy(digest.bytes, canonical.digest, XXH3_BYTES);
	}
	*ret_digest = digest;
	return 0;
}

/* ---- the two sides ---- */

struct side {
	int dir_fd;
	const char *name;
	int fd; /* of a regular file, else -1 */
	struct dr_meta meta;
};

static void side_fini(struct side *side)
{
	dr_fd_closep(&side->fd);
	dr_meta_fini(&side->meta);
}

/* Of a file that is open for writing elsewhere, or leased, nothing is waited for; its atime stays, where we may say so. */
static int open_file(int dir_fd, const char *name)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = openat(dir_fd, name, flags | O_NOATIME);

	if (fd < 0 && errno == EPERM) {
		fd = openat(dir_fd, name, flags);
	}
	return fd < 0 ? -errno : fd;
}

static int side_open(struct side *side)
{
	struct stat st;

	if (fstatat(side->dir_fd, side->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return -errno;
	}
	if (S_ISREG(st.st_mode)) {
		int fd = open_file(side->dir_fd, side->name);

		if (fd < 0) {
			return fd == -ELOOP ? -ESTALE : fd; /* a symlink by now */
		}
		side->fd = fd;
	}
	int r = dr_meta_read(side->dir_fd, side->name, side->fd, &side->meta);

	if (r < 0) {
		return r;
	}
	return S_ISREG(side->meta.mode) == (side->fd >= 0) ? 0 : -ESTALE;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Whether the name still leads to what was opened, as it was then. @error ENOENT; ESTALE */
static int side_check(const struct side *side)
{
	const struct dr_meta *meta = &side->meta;
	struct stat st;

	if (fstatat(side->dir_fd, side->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return -errno;
	}
	bool same = (uint64_t)st.st_ino == meta->ino && st.st_mode == meta->mode &&
		    same_time(&st.st_ctim, &meta->ctime) && same_time(&st.st_mtim, &meta->mtime) &&
		    (S_ISDIR(st.st_mode) || (uint64_t)st.st_size == meta->size);

	return same ? 0 : -ESTALE;
}

/* ---- content ---- */

struct content {
	struct dr_cloner *cloner;
	const struct side *from;
	int to_fd; /* -1: there is nothing to compare with */
	struct hash hash;
	uint8_t *a, *b;
	size_t half;    /* bytes of each */
	bool has_holes; /* perhaps */
	bool differs;
	uint64_t off;
};

static bool is_stopping(const struct dr_cloner *cloner)
{
	return cloner->stop && atomic_load_explicit(cloner->stop, memory_order_relaxed);
}

/* Where the next data begins; the size, when there is none; off itself, when nobody says. */
static uint64_t next_data(int fd, uint64_t off, uint64_t size)
{
	off_t at = lseek(fd, (off_t)off, SEEK_DATA);

	if (at < 0) {
		return errno == ENXIO && off < size ? size : off;
	}
	return (uint64_t)at;
}

/* Goes over what is a hole in both: equal, but the digest takes its zeros. */
static int skip_holes(struct content *content)
{
	uint64_t size = content->from->meta.size;
	uint64_t to = next_data(content->from->fd, content->off, size);

	if (to > content->off && content->to_fd >= 0 && !content->differs) {
		uint64_t other = next_data(content->to_fd, content->off, size);

		to = other < to ? other : to;
	}
	if (to <= content->off) {
		return 0;
	}
	memset(content->a, 0, content->half);
	while (content->off < to) {
		uint64_t left = to - content->off;
		size_t n = left < content->half ? (size_t)left : content->half;
		int r = hash_update(&content->hash, content->a, n);

		if (r < 0) {
			return r;
		}
		content->off += n;
		if (is_stopping(content->cloner)) {
			return -ECANCELED;
		}
	}
	return 0;
}

/* @return 1 the source goes on; 0 its end */
static int compare_some(struct content *content)
{
	int r = content->has_holes ? skip_holes(content) : 0;

	if (r < 0) {
		return r;
	}
	ssize_t n =
		dr_pread_full(content->from->fd, content->a, content->half, (off_t)content->off);

	if (n < 0) {
		return (int)n;
	}
	/* At the source's end too: the target may go on. */
	if (content->to_fd >= 0 && !content->differs) {
		ssize_t m = dr_pread_full(
			content->to_fd, content->b, content->half, (off_t)content->off);

		if (m < 0) {
			return (int)m;
		}
		content->differs = m != n || memcmp(content->a, content->b, (size_t)n) != 0;
	}
	r = hash_update(&content->hash, content->a, (size_t)n);
	if (r < 0) {
		return r;
	}
	content->off += (uint64_t)n;
	return (size_t)n == content->half ? 1 : 0;
}

static int compare_all(struct content *content, struct dr_verify_digest *ret_digest)
{
	int r;

	(void)posix_fadvise(content->from->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	if (content->to_fd >= 0) {
		(void)posix_fadvise(content->to_fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	}
	do {
		r = is_stopping(content->cloner) ? -ECANCELED : compare_some(content);
	} while (r > 0);
	return r < 0 ? r : hash_end(&content->hash, ret_digest);
}

static bool is_sparse(const struct dr_meta *meta)
{
	return meta->blocks < meta->size / 512;
}

/*
 * Whether the source's data may be read: that of an archive comes back by it.
 * @return 1 yes; 0 what the target has is a stub, of no data
 * @error ENODATA
 */
static int may_read(const struct dr_cloner *cloner, int fd)
{
	if (cloner->from->kind != DR_FS_LUSTRE || !dr_tree_is_released(fd)) {
		return 1;
	}
	if (cloner->released != DR_RELEASED_COPY) {
		return cloner->released == DR_RELEASED_STUB ? 0 : -ENODATA;
	}
	/* It is waited for. */
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ? -errno : 1;
}

/* @param to NULL: there is no such file */
static int compare_files(struct dr_cloner *cloner, const struct side *from, const struct side *to,
	bool wants_sha256, unsigned *differences, struct dr_verify_digest *ret_digest,
	uint64_t *ret_bytes)
{
	size_t half = cloner->buffer_bytes / 2 / PAGE * PAGE;
	bool same_size = to && to->meta.size == from->meta.size;
	struct content content = {
		.cloner = cloner,
		.from = from,
		.to_fd = same_size ? to->fd : -1,
		.a = cloner->buffer,
		.b = cloner->buffer + half,
		.half = half,
		.has_holes = is_sparse(&from->meta) && (!same_size || is_sparse(&to->meta)),
	};

	if (to && !same_size) {
		*differences |= DR_VERIFY_DATA;
	}
	int r = may_read(cloner, from->fd);

	if (r <= 0) {
		return r;
	}
	r = hash_init(&content.hash, wants_sha256);
	if (r == 0) {
		r = compare_all(&content, ret_digest);
	}
	hash_fini(&content.hash);
	if (r < 0) {
		return r;
	}
	*differences |= content.differs ? DR_VERIFY_DATA : 0;
	*ret_bytes = content.off;
	return 0;
}

/* @return 1 other targets; 0 the same */
static int compare_links(
	const struct dr_cloner *cloner, const struct side *from, const struct side *to)
{
	size_t half = cloner->buffer_bytes / 2 / PAGE * PAGE;
	char *a = (char *)cloner->buffer, *b = a + half;
	ssize_t n = readlinkat(from->dir_fd, from->name, a, half);

	if (n < 0) {
		return errno == EINVAL ? -ESTALE : -errno; /* no symlink any more */
	}
	ssize_t m = readlinkat(to->dir_fd, to->name, b, half);

	if (m < 0) {
		return -errno;
	}
	return n != m || memcmp(a, b, (size_t)n) != 0 ? 1 : 0;
}

/* ---- all of it ---- */

static unsigned compare_meta(
	const struct dr_cloner *cloner, const struct dr_meta *from, const struct dr_meta *to)
{
	static const struct {
		unsigned part, difference;
	} parts[] = {
		{ DR_META_OWNER, DR_VERIFY_OWNER },
		{ DR_META_MODE, DR_VERIFY_MODE },
		{ DR_META_XATTRS, DR_VERIFY_XATTRS },
		{ DR_META_PROJECT, DR_VERIFY_PROJECT },
		{ DR_META_FLAGS, DR_VERIFY_FLAGS },
		{ DR_META_TIMES, DR_VERIFY_TIMES },
	};
	uint32_t a_ns = cloner->from->time_ns, b_ns = cloner->to->time_ns;
	unsigned differing = dr_meta_compare(from, to, a_ns > b_ns ? a_ns : b_ns);
	unsigned differences = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		differences |= differing & parts[i].part ? parts[i].difference : 0;
	}
	/* A directory's number of names is its file system's own affair. */
	if (!S_ISDIR(from->mode) && from->nlink != to->nlink) {
		differences |= DR_VERIFY_LINKS;
	}
	return differences;
}

/* What both have, of one type, but a file's content. */
static int compare_entries(const struct dr_cloner *cloner, const struct side *from,
	const struct side *to, unsigned *differences)
{
	*differences |= compare_meta(cloner, &from->meta, &to->meta);
	if (S_ISLNK(from->meta.mode)) {
		int r = compare_links(cloner, from, to);

		if (r < 0) {
			return r;
		}
		*differences |= r > 0 ? DR_VERIFY_DATA : 0;
	}
	if ((S_ISCHR(from->meta.mode) || S_ISBLK(from->meta.mode)) &&
		from->meta.rdev != to->meta.rdev) {
		*differences |= DR_VERIFY_DATA;
	}
	return 0;
}

int dr_clone_verify(struct dr_cloner *cloner, int from_fd, int to_fd, const char *name,
	bool wants_sha256, unsigned *ret_differences, struct dr_verify_digest *ret_digest,
	uint64_t *ret_bytes)
{
	struct side from dr_cleanup(side_fini) = { .dir_fd = from_fd, .name = name, .fd = -1 };
	struct side to dr_cleanup(side_fini) = { .dir_fd = to_fd, .name = name, .fd = -1 };
	struct dr_verify_digest digest = { 0 };
	unsigned differences = 0;
	uint64_t bytes = 0;

	if (cloner->buffer_bytes < (size_t)2 * PAGE) {
		return -EINVAL;
	}
	int r = side_open(&from);

	if (r < 0) {
		return r;
	}
	r = side_open(&to);
	if (r < 0 && r != -ENOENT) {
		return r;
	}
	bool is_there = r == 0;
	bool same_type = is_there && (from.meta.mode & S_IFMT) == (to.meta.mode & S_IFMT);

	if (!is_there) {
		differences = DR_VERIFY_MISSING;
	} else if (!same_type) {
		differences = DR_VERIFY_TYPE;
	} else {
		r = compare_entries(cloner, &from, &to, &differences);
		if (r < 0) {
			return r;
		}
	}
	if (S_ISREG(from.meta.mode)) {
		r = compare_files(cloner, &from, same_type ? &to : NULL, wants_sha256, &differences,
			&digest, &bytes);
		if (r < 0) {
			return r;
		}
	}
	r = side_check(&from);
	if (r < 0) {
		return r;
	}
	*ret_differences = differences;
	*ret_digest = digest;
	*ret_bytes = bytes;
	return 0;
}

/* ---- as text ---- */

const char *dr_verify_words(unsigned differences, char *buf, size_t size)
{
	static const struct {
		unsigned difference;
		const char *word;
	} words[] = {
		{ DR_VERIFY_MISSING, "missing" },
		{ DR_VERIFY_EXTRA, "extra" },
		{ DR_VERIFY_TYPE, "type" },
		{ DR_VERIFY_DATA, "data" },
		{ DR_VERIFY_OWNER, "owner" },
		{ DR_VERIFY_MODE, "mode" },
		{ DR_VERIFY_XATTRS, "xattrs" },
		{ DR_VERIFY_PROJECT, "project" },
		{ DR_VERIFY_FLAGS, "flags" },
		{ DR_VERIFY_TIMES, "times" },
		{ DR_VERIFY_LINKS, "links" },
	};
	size_t len = 0;

	if (size > 0) {
		buf[0] = 0;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (differences & words[i].difference && len < size) {
			int n = snprintf(
				buf + len, size - len, "%s%s", len > 0 ? " " : "", words[i].word);

			len += n > 0 ? (size_t)n : 0;
		}
	}
	return buf;
}

void dr_verify_manifest_line(
	struct dr_buf *out, const struct dr_verify_digest *digest, const char *path, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = digest->is_sha256 ? SHA256_BYTES : XXH3_BYTES;

	if (memchr(path, '\\', len) || memchr(path, '\n', len) || memchr(path, '\r', len)) {
		dr_buf_put(out, "\\", 1);
	}
	for (size_t i = 0; i < n; i++) {
		const char two[2] = { hex[digest->bytes[i] >> 4], hex[digest->bytes[i] & 15] };

		dr_buf_put(out, two, 2);
	}
	dr_buf_put(out, "  ", 2);
	for (size_t i = 0; i < len; i++) {
		char c = path[i];

		if (c == '\\' || c == '\n' || c == '\r') {
			dr_buf_put(out, c == '\\' ? "\\\\" : c == '\n' ? "\\n" : "\\r", 2);
		} else {
			dr_buf_put(out, &c, 1);
		}
	}
	dr_buf_put(out, "\n", 1);
}
