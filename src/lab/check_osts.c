/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab/args.h"
#include "lab/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One OST while it is read. */
struct ost {
	struct dr_check *check;
	uint32_t index;
	uint64_t used, objects; /* as found */
};

static struct dr_index_slot *file_of(const struct dr_check *check, const struct dr_fid *fid)
{
	return dr_index_find(&check->files, fid->seq, (uint64_t)fid->oid << 32 | fid->ver);
}

/* @return 1 freed, 0 it stays */
static int free_object(struct ost *ost, const char *where, const struct dr_layout_object *obj,
	const struct dr_fid *owner)
{
	int r = dr_lab_object_destroy(ost->check->lab, obj, owner);

	if (r < 0) {
		errno = -r;
		dr_check_fault(
			ost->check, "%s: its file was removed, and it cannot be freed: %m", where);
		return 0;
	}
	ost->check->n_freed++;
	return 1;
}

/* An object that no layout names. @return 1 freed, 0 it stays */
static int judge_unnamed(struct ost *ost, const char *where, const struct dr_layout_object *obj,
	const struct dr_fid *owner)
{
	struct dr_check *check = ost->check;
	const struct dr_index_slot *file = file_of(check, owner);
	int exists = file ? 1 : dr_lab_fid_exists(check->lab, owner);

	if (exists == 0) {
		return free_object(ost, where, obj, owner);
	}
	if (exists < 0) {
		/* Whether the file is there, only the walk could tell; it can, if nothing moved meanwhile. */
		if (check->whole && !dr_check_busy(check)) {
			return free_object(ost, where, obj, owner);
		}
		check->n_unknown++;
	} else if (dr_check_busy(check)) {
		check->n_unfinished++;
	} else if (!file) {
		check->n_open++;
	} else {
		dr_cleanup(dr_freep) char *path = dr_check_path(check, file->value);
		dr_check_fault(
			check, "%s: %s, which it was made for, does not name it", where, path);
	}
	return 0;
}

/* @return 1 it is no longer there, 0 it stays */
static int judge_named(
	struct ost *ost, const char *where, struct dr_index_slot *named, const struct dr_fid *owner)
{
	const struct dr_index_slot *file = file_of(ost->check, owner);

	if (named->seen) {
		dr_check_fault(ost->check, "%s: there are two of this object", where);
	} else if (!file || file->value != named->value) {
		dr_cleanup(dr_freep) char *path = dr_check_path(ost->check, named->value);
		dr_check_fault(ost->check, "%s: it is named by %s, but was made for another file",
			where, path);
	}
	named->seen = true;
	return 0;
}

static int look_at(struct ost *ost, int dirfd, const char *bucket, const char *name)
{
	struct dr_layout_object obj = { .ost = ost->index };
	char where[DR_LAB_NAME_SIZE + 32], right[16];
	dr_cleanup(dr_fd_closep) int fd = -EBADF;
	struct dr_index_slot *named;
	struct dr_fid owner;
	uint64_t charge = 0;
	int r;

	if (dr_lab_object_parse(name, &obj.fid, &owner) < 0 ||
		strcmp(dr_lab_bucket_path(ost->index, obj.fid.oid % DR_LAB_BUCKETS, right),
			bucket) != 0) {
		dr_cleanup(dr_freep) char *quoted = dr_quote(name, strlen(name));
		dr_check_fault(ost->check, "%s/%s: no object has that name there", bucket, quoted);
		return 0;
	}
	(void)snprintf(where, sizeof(where), "%s/%s", bucket, name);
	named = dr_index_find(&ost->check->objects, obj.fid.seq, obj.fid.oid);
	if (named ? judge_named(ost, where, named, &owner)
		  : judge_unnamed(ost, where, &obj, &owner)) {
		return 0;
	}
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	r = fd < 0 ? -errno : dr_lab_object_charge(fd, &charge);
	if (r == -ENOENT) {
		return 0; /* a move has ended meanwhile */
	}
	if (r < 0) {
		errno = -r;
		dr_check_fault(ost->check, "%s: it cannot be read: %m", where);
		return 0;
	}
	ost->used += charge;
	ost->objects++;
	return 0;
}

/* Calls fn for each name in a folder of the lab. */
static int each_name(
	struct ost *ost, const char *path, int (*fn)(struct ost *, int, const char *, const char *))
{
	int fd = openat(
		ost->check->lab->dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	int r = 0;

	if (!dir) {
		dr_check_fault(ost->check, "%s cannot be read: %m", path);
		dr_fd_closep(&fd);
		return 0;
	}
	/* The stream belongs to this call: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (r == 0 && (errno = 0, e = readdir(dir))) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
			r = fn(ost, dirfd(dir), path, e->d_name);
		}
	}
	if (r == 0) {
		r = -errno;
	}
	(void)closedir(dir);
	return r;
}

static int look_at_bucket(struct ost *ost, int dirfd, const char *path, const char *name)
{
	char bucket[16];

	(void)dirfd;
	for (uint32_t i = 0; i < DR_LAB_BUCKETS; i++) {
		dr_lab_bucket_path(ost->index, i, bucket);
		if (strcmp(bucket + strlen(path) + 1, name) == 0) {
			return each_name(ost, bucket, look_at);
		}
	}
	dr_check_fault(ost->check, "%s holds something else than objects: %s", path, name);
	return 0;
}

static void compare_usage(struct ost *ost)
{
	struct dr_lab_ost *state = &ost->check->lab->state->ost[ost->index];
	int64_t used = atomic_load(&state->used_bytes), objects = atomic_load(&state->objects);

	if (dr_check_busy(ost->check)) {
		return;
	}
	if (used != (int64_t)ost->used) {
		dr_check_fault(ost->check,
			"OST %u: %jd bytes are accounted for, its objects hold %ju", ost->index,
			(intmax_t)used, (uintmax_t)ost->used);
	}
	if (objects != (int64_t)ost->objects) {
		dr_check_fault(ost->check, "OST %u: %jd objects are accounted for, it holds %ju",
			ost->index, (intmax_t)objects, (uintmax_t)ost->objects);
	}
}

/* "0x200000400:0x4:0x0" or "200000400:4:0.GENERATION": both begin with a FID. */
static bool parse_fid(const char *name, struct dr_fid *ret_fid)
{
	uint64_t parts[3];
	char *end;

	for (int i = 0; i < 3; i++) {
		errno = 0;
		parts[i] = strtoull(name, &end, 16);
		if (errno != 0 || end == name || *end != (i < 2 ? ':' : *end) ||
			(i && parts[i] >> 32)) {
			return false;
		}
		name = end + 1;
	}
	*ret_fid = (struct dr_fid){
		.seq = parts[0], .oid = (uint32_t)parts[1], .ver = (uint32_t)parts[2]
	};
	return *end == 0 || *end == '.';
}

/* What a removed file had in layouts/ or archive/. */
static int judge_leftover(struct ost *none, int dirfd, const char *folder, const char *name)
{
	struct dr_check *check = none->check;
	struct dr_fid fid;
	int exists;

	if (!parse_fid(name, &fid)) {
		/* A temporary file of somebody at work has another name. */
		if (!dr_check_busy(check) && name[0] != '.') {
			dr_cleanup(dr_freep) char *quoted = dr_quote(name, strlen(name));
			dr_check_fault(check, "%s/%s is not named by a FID", folder, quoted);
		}
		return 0;
	}
	exists = file_of(check, &fid) ? 1 : dr_lab_fid_exists(check->lab, &fid);
	if (exists == 0 || (exists < 0 && check->whole && !dr_check_busy(check))) {
		check->n_leftovers += unlinkat(dirfd, name, 0) == 0;
	}
	return 0;
}

int dr_check_leftovers(struct dr_check *check)
{
	struct ost none = { .check = check };
	int r = each_name(&none, "layouts", judge_leftover);

	return r < 0 ? r : each_name(&none, "archive", judge_leftover);
}

int dr_check_osts(struct dr_check *check)
{
	for (uint32_t i = 0; i < check->lab->n_osts; i++) {
		struct ost ost = { .check = check, .index = i };
		char path[16];
		int r;

		*strchr(dr_lab_bucket_path(i, 0, path), '/') = 0;
		r = each_name(&ost, path, look_at_bucket);
		if (r < 0) {
			return r;
		}
		compare_usage(&ost);
		check->n_objects += ost.objects;
		check->bytes += ost.used;
	}
	return 0;
}
