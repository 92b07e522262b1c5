/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_filter.h"

#include "base/text.h"

#include <sys/stat.h>

/* ---- by attributes ---- */

/* How long ago that was, in seconds; negative: in the future. */
static __int128 age_s(const struct dr_clone_filter *filter, const struct timespec *time)
{
	return (__int128)filter->now_s - time->tv_sec;
}

static bool owners_take(const struct dr_clone_filter *filter, const struct dr_meta *meta)
{
	uint32_t project = meta->has_project ? meta->project : 0;

	return (filter->uids.n == 0 || dr_idset_has(&filter->uids, meta->uid)) &&
	       (filter->gids.n == 0 || dr_idset_has(&filter->gids, meta->gid)) &&
	       (filter->projects.n == 0 || dr_idset_has(&filter->projects, project));
}

bool dr_clone_filter_takes(const struct dr_clone_filter *filter, const struct dr_meta *meta)
{
	if (S_ISDIR(meta->mode)) {
		return true;
	}
	if (filter->oldest_s > 0 && age_s(filter, &meta->atime) > (__int128)filter->oldest_s) {
		return false;
	}
	if (filter->newest_s > 0 && age_s(filter, &meta->mtime) < (__int128)filter->newest_s) {
		return false;
	}
	if (S_ISREG(meta->mode) &&
		(meta->size < filter->min_size ||
			(filter->max_size > 0 && meta->size > filter->max_size))) {
		return false;
	}
	return owners_take(filter, meta);
}

/* ---- by path ---- */

/*
 * The exceptions are a hash table of whole paths. A path is hashed once from its beginning to its end; at the end of each component the hash is that
 * of the path so far, which the table is asked for: one pass, however many exceptions there are.
 */
struct exception {
	uint64_t hash;
	size_t at;  /* in the bytes */
	size_t len; /* 0: this slot is free */
};

struct dr_clone_exceptions {
	struct dr_buf bytes;
	struct exception *slots;
	size_t n, cap; /* cap: a power of two */
};

#define HASH_BEGIN UINT64_C(0xcbf29ce484222325) /* FNV-1a, 64 bits */

static uint64_t hash_byte(uint64_t hash, uint8_t byte)
{
	return (hash ^ byte) * UINT64_C(0x100000001b3);
}

static size_t slot_of(const struct dr_clone_exceptions *exceptions, uint64_t hash)
{
	return (size_t)(hash ^ hash >> 32) & (exceptions->cap - 1);
}

/* Where the path is, or would be. */
static struct exception *find(
	const struct dr_clone_exceptions *exceptions, uint64_t hash, const void *path, size_t len)
{
	size_t i = slot_of(exceptions, hash);

	for (;; i = (i + 1) & (exceptions->cap - 1)) {
		struct exception *slot = &exceptions->slots[i];

		if (slot->len == 0 ||
			(slot->hash == hash && slot->len == len &&
				memcmp(exceptions->bytes.data + slot->at, path, len) == 0)) {
			return slot;
		}
	}
}

static void grow(struct dr_clone_exceptions *exceptions)
{
	struct exception *old = exceptions->slots;
	size_t old_cap = exceptions->cap;

	exceptions->cap = old_cap ? old_cap * 2 : 16;
	exceptions->slots = dr_xcalloc(exceptions->cap, sizeof(*exceptions->slots));
	for (size_t i = 0; i < old_cap; i++) {
		if (old[i].len > 0) {
			*find(exceptions, old[i].hash, exceptions->bytes.data + old[i].at,
				old[i].len) = old[i];
		}
	}
	free(old);
}

static void add(struct dr_clone_exceptions *exceptions, const uint8_t *path, size_t len)
{
	uint64_t hash = HASH_BEGIN;

	if (exceptions->n >= exceptions->cap / 2) {
		grow(exceptions);
	}
	for (size_t i = 0; i < len; i++) {
		hash = hash_byte(hash, path[i]);
	}
	struct exception *slot = find(exceptions, hash, path, len);

	if (slot->len == 0) {
		*slot = (struct exception){ .hash = hash, .at = exceptions->bytes.len, .len = len };
		dr_buf_put(&exceptions->bytes, path, len);
		exceptions->n++;
	}
}

bool dr_clone_is_excepted(
	const struct dr_clone_exceptions *exceptions, const char *path, size_t len)
{
	uint64_t hash = HASH_BEGIN;

	if (!exceptions || exceptions->n == 0) {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		hash = hash_byte(hash, (uint8_t)path[i]);
		if ((i + 1 == len || path[i + 1] == '/') &&
			find(exceptions, hash, path, i + 1)->len > 0) {
			return true;
		}
	}
	return false;
}

size_t dr_clone_n_exceptions(const struct dr_clone_exceptions *exceptions)
{
	return exceptions ? exceptions->n : 0;
}

void dr_clone_exceptions_free(struct dr_clone_exceptions *exceptions)
{
	if (exceptions) {
		dr_buf_fini(&exceptions->bytes);
		free(exceptions->slots);
		free(exceptions);
	}
}

/* ---- their file ---- */

/* The components of a path, joined by single slashes; "." and empty ones are left out. @return NULL; what is wrong */
static const char *put_normal(struct dr_buf *out, const uint8_t *path, size_t len)
{
	for (size_t at = 0; at < len;) {
		const uint8_t *slash = memchr(path + at, '/', len - at);
		size_t n = slash ? (size_t)(slash - (path + at)) : len - at;

		if (n == 2 && memcmp(path + at, "..", 2) == 0) {
			return "a path with \"..\"";
		}
		if (n > 0 && !(n == 1 && path[at] == '.')) {
			if (out->len > 0) {
				dr_buf_put(out, "/", 1);
			}
			dr_buf_put(out, path + at, n);
		}
		at += n + 1;
	}
	return NULL;
}

/* Takes the root away from an absolute path. @return false the path is not below it */
static bool strip_root(struct dr_buf *path, const struct dr_buf *root)
{
	if (root->len == 0) {
		return true;
	}
	if (path->len < root->len || memcmp(path->data, root->data, root->len) != 0) {
		return false;
	}
	if (path->len == root->len) {
		dr_buf_clear(path);
		return true;
	}
	if (path->data[root->len] != '/') {
		return false;
	}
	path->len -= root->len + 1;
	memmove(path->data, path->data + root->len + 1, path->len);
	return true;
}

static bool is_blank(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (line[i] != ' ' && line[i] != '\t') {
			return false;
		}
	}
	return true;
}

/* @param root without a slash at either end. @return NULL; what is wrong */
static const char *add_line(struct dr_clone_exceptions *exceptions, const struct dr_buf *root,
	const char *line, size_t len)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_buf path dr_cleanup(dr_buf_fini) = { 0 };

	if (line[len - 1] == '\r') {
		return "ends with a carriage return; \"\\r\" means one";
	}
	if (dr_text_unescape(&bytes, line, len) < 0) {
		return "a backslash that escapes nothing: \\\\, \\n, \\t, \\r or \\xHH";
	}
	if (memchr(bytes.data, '\0', bytes.len)) {
		return "a NUL byte";
	}
	const char *wrong = put_normal(&path, bytes.data, bytes.len);

	if (wrong) {
		return wrong;
	}
	if (bytes.data[0] == '/' && !strip_root(&path, root)) {
		return "not below the source's root";
	}
	if (path.len == 0) {
		return "the source's root itself";
	}
	add(exceptions, path.data, path.len);
	return NULL;
}

static void dr_clone_exceptions_freep(struct dr_clone_exceptions **exceptions)
{
	dr_clone_exceptions_free(*exceptions);
}

int dr_clone_exceptions_new(const char *root, const char *text, size_t len,
	struct dr_clone_exceptions **ret_exceptions, char **ret_message)
{
	struct dr_clone_exceptions *exceptions dr_cleanup(dr_clone_exceptions_freep) =
		dr_xcalloc(1, sizeof(*exceptions));
	struct dr_buf normal dr_cleanup(dr_buf_fini) = { 0 };
	size_t number = 1;

	if (put_normal(&normal, (const uint8_t *)root, strlen(root))) {
		*ret_message = dr_xasprintf("0: the root is a path with \"..\"");
		return -EINVAL;
	}
	for (size_t at = 0; at < len; number++) {
		const char *line = text + at, *end = memchr(line, '\n', len - at);
		size_t n = end ? (size_t)(end - line) : len - at;

		at += n + 1;
		if (is_blank(line, n) || line[0] == '#') {
			continue;
		}
		const char *wrong = add_line(exceptions, &normal, line, n);

		if (wrong) {
			*ret_message = dr_xasprintf("%zu: %s", number, wrong);
			return -EINVAL;
		}
	}
	*ret_exceptions = exceptions;
	exceptions = NULL;
	return 0;
}
