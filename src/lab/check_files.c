/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab/args.h"
#include "lab/check.h"
#include "lab/content.h"
#include "lab/tree.h"
#include "lab/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* One file of the name space while it is looked at. */
struct file {
	struct dr_check *check;
	const char *quoted; /* its path, for messages */
	uint32_t number;
	int fd;
	struct dr_fid fid;
	struct stat st;
	struct dr_layout *layout;
};

#define file_fault(file, fmt, ...)                                                                 \
	dr_check_fault((file)->check, "%s: " fmt, (file)->quoted, ##__VA_ARGS__)

/* Where an object lies, relative to the lab's folder. */
static void object_path(
	const struct dr_layout_object *obj, const struct dr_fid *owner, char *buf, size_t size)
{
	char bucket[16], name[DR_LAB_NAME_SIZE];

	(void)snprintf(buf, size, "%s/%s",
		dr_lab_bucket_path(obj->ost, obj->fid.oid % DR_LAB_BUCKETS, bucket),
		dr_lab_object_name(&obj->fid, owner, name));
}

#define OBJECT_PATH_SIZE (DR_LAB_NAME_SIZE + 32)

static bool has_objects(const struct dr_layout_comp *comp)
{
	return (comp->flags & DR_COMP_INIT) && comp->n_objects > 0;
}

/* @return 1 with the number of the first one that is missing, 0 all are there */
static int find_missing(const struct file *file, const struct dr_layout_object **ret_missing)
{
	const struct dr_layout *layout = file->layout;
	char path[OBJECT_PATH_SIZE];

	for (uint32_t i = 0; i < layout->n_comps; i++) {
		const struct dr_layout_comp *comp = &layout->comps[i];

		for (uint32_t j = 0; has_objects(comp) && j < comp->n_objects; j++) {
			*ret_missing = &comp->objects[j];
			if (comp->objects[j].ost >= file->check->lab->n_osts) {
				continue; /* told later */
			}
			object_path(&comp->objects[j], &file->fid, path, sizeof(path));
			if (faccessat(file->check->lab->dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) <
				0) {
				return 1;
			}
		}
	}
	return 0;
}

/* In a lab at work a layout may be replaced, and its objects go, between two looks. */
static bool layout_changed(const struct file *file, const struct dr_buf *before)
{
	struct dr_buf now = { 0 };
	bool changed;

	if (dr_lab_layout_get(file->check->lab, file->fd, &now) < 0) {
		dr_buf_clear(&now);
	}
	changed = now.len != before->len || memcmp(now.data, before->data, now.len) != 0;
	dr_buf_fini(&now);
	return changed;
}

/* Reads the layout and looks for its objects. @return 1 go on, 0 what was wrong is told */
static int get_layout(struct file *file)
{
	const struct dr_layout_object *missing = NULL;
	struct dr_buf bytes = { 0 };
	int tries, r = 0;

	for (tries = 0; tries < 5; tries++) {
		dr_buf_clear(&bytes);
		dr_layout_free(file->layout);
		file->layout = NULL;
		r = dr_lab_layout_get(file->check->lab, file->fd, &bytes);
		if (r == 0) {
			r = dr_layout_decode(bytes.data, bytes.len, &file->layout);
		}
		if (r < 0 || !file->layout || !find_missing(file, &missing)) {
			break;
		}
		r = 1;
		if (!layout_changed(file, &bytes)) {
			break;
		}
	}
	dr_buf_fini(&bytes);
	if (r == -ENODATA) {
		file->check->n_no_layout++;
		return 0;
	}
	if (r == -EBADMSG && dr_content_is_foreign_copy(file->check->lab, file->fd) == 1) {
		file->check->n_copies++;
		return 0;
	}
	if (r < 0) {
		errno = -r;
		file_fault(file, "its layout cannot be read: %m");
		return 0;
	}
	if (r > 0 && missing) {
		char path[OBJECT_PATH_SIZE];

		object_path(missing, &file->fid, path, sizeof(path));
		file_fault(file, "its object %s is missing", path);
	}
	return 1;
}

static void check_size(struct file *file, const struct dr_layout_comp *comp, uint32_t stripe)
{
	uint64_t most =
		dr_layout_object_size(comp, comp->n_objects, stripe, (uint64_t)file->st.st_size);
	char path[OBJECT_PATH_SIZE];
	struct stat st;

	object_path(&comp->objects[stripe], &file->fid, path, sizeof(path));
	if (fstatat(file->check->lab->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return; /* told already */
	}
	if ((uint64_t)st.st_size <= most) {
		return;
	}
	/*
	 * Whoever cuts a stub short from outside leaves its objects as they are, and stamps the stub with
	 * a time after theirs. A move that made an object too long would have kept the file's own time.
	 */
	if (file->st.st_mtim.tv_sec > st.st_mtim.tv_sec ||
		(file->st.st_mtim.tv_sec == st.st_mtim.tv_sec &&
			file->st.st_mtim.tv_nsec >= st.st_mtim.tv_nsec)) {
		file->check->n_cut++;
		return;
	}
	file_fault(file,
		"its object %s holds %jd bytes, but at most %ju of the file's %jd are its part",
		path, (intmax_t)st.st_size, (uintmax_t)most, (intmax_t)file->st.st_size);
}

static bool shares_ost(const struct dr_layout_comp *comp, uint32_t stripe)
{
	for (uint32_t i = 0; i < stripe; i++) {
		if (comp->objects[i].ost == comp->objects[stripe].ost) {
			return true;
		}
	}
	return false;
}

static void check_object(
	struct file *file, uint32_t number, const struct dr_layout_comp *comp, uint32_t stripe)
{
	const struct dr_layout_object *obj = &comp->objects[stripe];
	struct dr_index_slot *slot;
	bool is_new;

	if (obj->ost >= file->check->lab->n_osts) {
		file_fault(
			file, "component %u names OST %u, which does not exist", number, obj->ost);
		return;
	}
	if (obj->fid.seq < DR_LAB_OST_SEQ || (obj->fid.seq - DR_LAB_OST_SEQ) >> 30 != obj->ost) {
		file_fault(file,
			"component %u names object %" PRIx64 ".%" PRIx32
			" on OST %u, which is not that object's",
			number, obj->fid.seq, obj->fid.oid, obj->ost);
	}
	slot = dr_index_put(
		&file->check->objects, obj->fid.seq, obj->fid.oid, file->number, &is_new);
	if (!is_new) {
		dr_cleanup(dr_freep) char *other = dr_check_path(file->check, slot->value);
		file_fault(file, "its object %" PRIx64 ".%" PRIx32 " on OST %u is named by %s too",
			obj->fid.seq, obj->fid.oid, obj->ost, other);
	}
	if (!(comp->pattern & DR_PATTERN_OVERSTRIPING) && shares_ost(comp, stripe)) {
		file_fault(file, "component %u has two objects on OST %u and is not overstriped",
			number, obj->ost);
	}
	check_size(file, comp, stripe);
}

static void check_comp(struct file *file, uint32_t number)
{
	const struct dr_layout_comp *comp = &file->layout->comps[number];

	if (!dr_fid_equal(&comp->oi, &file->fid)) {
		file_fault(file, "component %u carries the FID of another file", number);
	}
	if (!(comp->flags & DR_COMP_INIT) ||
		(comp->pattern & (DR_PATTERN_MDT | DR_PATTERN_F_RELEASED))) {
		return;
	}
	if (comp->n_objects == 0 || comp->n_objects != comp->stripe_count) {
		file_fault(file, "component %u has %u objects for %u stripes", number,
			comp->n_objects, comp->stripe_count);
	}
	if (comp->stripe_size == 0 || comp->stripe_size % DR_STRIPE_ALIGN != 0) {
		file_fault(file, "component %u has the stripe size %u", number, comp->stripe_size);
		return;
	}
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		check_object(file, number, comp, i);
	}
}

/* A released file is what the archive holds of it. */
static void check_released(struct file *file)
{
	struct dr_content content;
	char byte;
	ssize_t n;

	file->check->n_released++;
	n = dr_content_open(file->check->lab, file->fd, &content);
	if (n == 0) {
		n = content.size > 0 ? dr_content_read(&content, &byte, 1, content.size - 1) : 1;
		dr_content_close(&content);
	}
	if (n == 1) {
		return;
	}
	errno = n < 0 ? (int)-n : ENODATA;
	file_fault(file, "it is released, and its archived data cannot be read: %m");
}

static bool is_released(const struct dr_layout *layout)
{
	bool released = false;

	for (uint32_t i = 0; i < layout->n_comps; i++) {
		released |= (layout->comps[i].pattern & DR_PATTERN_F_RELEASED) != 0;
	}
	return released;
}

static void check_file(struct dr_check *check, const struct dr_walk *walk)
{
	dr_cleanup(dr_freep) char *quoted = dr_quote(walk->path, walk->path_len);
	dr_cleanup(dr_fd_closep) int fd = dr_tree_open_file(walk->fd, walk->name);
	struct file file = { .check = check, .quoted = quoted, .fd = fd };
	bool is_new;
	int r = fd;

	if (r == -ENOENT) {
		return; /* removed meanwhile */
	}
	if (r >= 0) {
		r = fstat(fd, &file.st) < 0 ? -errno : dr_lab_fid_of(check->lab, fd, &file.fid);
	}
	if (r < 0) {
		errno = -r;
		file_fault(&file, "it cannot be opened: %m");
		check->whole = false;
		return;
	}
	file.number = dr_check_add_file(check, &file.fid, walk->path, walk->path_len, &is_new);
	if (!is_new) {
		return; /* another name of a file that was looked at */
	}
	if (get_layout(&file) && file.layout) {
		if (is_released(file.layout)) {
			check_released(&file);
		}
		for (uint32_t i = 0; i < file.layout->n_comps; i++) {
			check_comp(&file, i);
		}
	}
	dr_layout_free(file.layout);
}

int dr_check_files(struct dr_check *check)
{
	int fd = openat(check->lab->ns_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dr_walk walk;
	int event, r = fd < 0 ? -errno : dr_walk_init(&walk, fd);

	if (r < 0) {
		return r;
	}
	while ((event = dr_walk_next(&walk)) > DR_WALK_END) {
		if (event == DR_WALK_ENTRY && walk.type == DT_REG) {
			check_file(check, &walk);
		}
		if (event == DR_WALK_ERROR && walk.error != -ENOENT) {
			dr_cleanup(dr_freep) char *quoted = dr_quote(walk.path, walk.path_len);

			errno = -walk.error;
			dr_check_fault(check, "%s: the directory cannot be read: %m", quoted);
			check->whole = false;
		}
	}
	dr_walk_fini(&walk);
	return event;
}
