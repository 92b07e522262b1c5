/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "fs/lab_priv.h"
#include "fs/local.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define COPY_BYTES (1u << 20)

/* ---- reading a file by its stub ---- */

struct dr_lab_reader {
	struct dr_lab *lab;
	int stub_fd; /* lent */
	struct dr_fid fid;
	struct dr_buf layout; /* bytes that io was made of */
	struct dr_lab_io io;
	uint64_t size;
};

static int reader_load(struct dr_lab_reader *reader, struct dr_buf *bytes)
{
	struct dr_layout *layout;
	int r = dr_layout_decode(bytes->data, bytes->len, &layout);
	if (r < 0) {
		return -EBADMSG;
	}
	int lease_fd = reader->io.layout ? reader->io.lease_fd : -1;
	dr_lab_io_fini(&reader->io);
	dr_lab_io_init(&reader->io, reader->lab, &reader->fid, layout, reader->stub_fd, false);
	reader->io.lease_fd = lease_fd;
	struct dr_buf old = reader->layout;
	reader->layout = *bytes;
	*bytes = old;
	return layout->kind == DR_LAYOUT_FOREIGN ? -EOPNOTSUPP : 0;
}

static int reader_look(struct dr_lab_reader *reader)
{
	struct stat st;
	if (fstat(reader->stub_fd, &st) < 0) {
		return -errno;
	}
	reader->size = (uint64_t)st.st_size;
	return 0;
}

/* @return 1 the layout is another by now, and loaded; 0 it is still the same */
static int reader_reload(struct dr_lab_reader *reader)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	int r = dr_lab_layout_of(reader->lab, reader->stub_fd, &reader->fid, &bytes);
	if (r < 0) {
		return r;
	}
	if (bytes.len == reader->layout.len &&
		memcmp(bytes.data, reader->layout.data, bytes.len) == 0) {
		return 0;
	}
	r = reader_load(reader, &bytes);
	return r < 0 ? r : 1;
}

int dr_lab_reader_new(struct dr_lab *lab, int stub_fd, const struct dr_fid *fid,
	struct dr_lab_reader **ret_reader)
{
	struct dr_lab_reader *reader = dr_xcalloc(1, sizeof(*reader));
	reader->lab = lab;
	reader->stub_fd = stub_fd;
	reader->fid = *fid;
	reader->io.archive_fd = -EBADF;
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	int r = dr_lab_layout_of(lab, stub_fd, fid, &bytes);
	r = r < 0 ? r : reader_load(reader, &bytes);
	r = r < 0 ? r : reader_look(reader);
	if (r < 0) {
		dr_lab_reader_close(reader);
		return r;
	}
	*ret_reader = reader;
	return 0;
}

int dr_lab_reader_open(struct dr_lab *lab, int stub_fd, struct dr_lab_reader **ret_reader)
{
	struct dr_fid fid;
	int r = dr_lab_fid_of(lab, stub_fd, &fid);
	return r < 0 ? r : dr_lab_reader_new(lab, stub_fd, &fid, ret_reader);
}

void dr_lab_reader_watch(struct dr_lab_reader *reader, int lease_fd)
{
	reader->io.lease_fd = lease_fd;
}

/* An object that the layout promises and that is not there: moved meanwhile, or lost. @return 1 try again */
static int object_missing(struct dr_lab_reader *reader, int tries)
{
	int r = tries < 10 ? reader_reload(reader) : 0;
	return r == 0 ? -EIO : r;
}

ssize_t dr_lab_reader_read(struct dr_lab_reader *reader, void *buf, size_t len, uint64_t off)
{
	for (int tries = 0;; tries++) {
		int r = reader_look(reader);
		if (r < 0) {
			return r;
		}
		ssize_t n = dr_lab_io_read(&reader->io, buf, len, off, reader->size);
		if (n != -ENOENT) {
			return n;
		}
		r = object_missing(reader, tries);
		if (r < 0) {
			return r;
		}
	}
}

int dr_lab_reader_next_data(
	struct dr_lab_reader *reader, uint64_t off, uint64_t *ret_start, uint64_t *ret_end)
{
	for (int tries = 0;; tries++) {
		int r = reader_look(reader);
		if (r == 0) {
			r = dr_lab_io_next_data(&reader->io, off, reader->size, ret_start, ret_end);
		}
		if (r != -ENOENT) {
			return r;
		}
		r = object_missing(reader, tries);
		if (r < 0) {
			return r;
		}
	}
}

uint64_t dr_lab_reader_size(const struct dr_lab_reader *reader)
{
	return reader->size;
}

void dr_lab_reader_close(struct dr_lab_reader *reader)
{
	if (reader) {
		dr_lab_io_fini(&reader->io);
		dr_buf_fini(&reader->layout);
		free(reader);
	}
}

/* ---- layouts as a server would store them ---- */

static int finish_comp(
	const struct dr_lab *lab, struct dr_layout *layout, uint32_t index, uint32_t *ret_ost)
{
	struct dr_layout_comp *comp = &layout->comps[index];
	if (comp->end <= comp->start ||
		comp->pattern & (DR_PATTERN_F_RELEASED | DR_PATTERN_FOREIGN)) {
		return -EINVAL;
	}
	comp->magic = comp->pool[0] ? DR_LOV_MAGIC_V3 : DR_LOV_MAGIC_V1;
	bool wanted = comp->flags & DR_COMP_INIT && !(comp->pattern & DR_PATTERN_MDT);
	if (!wanted) {
		dr_layout_set_objects(layout, index, 0);
		return 0;
	}
	if (comp->n_objects == 0 || comp->n_objects > DR_STRIPE_MAX || comp->stripe_size == 0) {
		return -EINVAL;
	}
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		if (comp->objects[i].ost >= lab->n_osts) {
			*ret_ost = comp->objects[i].ost;
			return -EINVAL;
		}
	}
	comp->stripe_count = (uint16_t)comp->n_objects;
	comp->stripe_offset = 0; /* of a component with objects: its generation */
	return 0;
}

int dr_lab_layout_finish(const struct dr_lab *lab, struct dr_layout *layout,
	const struct dr_fid *fid, uint32_t *ret_ost)
{
	if (layout->kind == DR_LAYOUT_FOREIGN || layout->n_comps == 0) {
		return -EINVAL;
	}
	uint32_t mirror = 0;
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		struct dr_layout_comp *comp = &layout->comps[c];
		comp->oi = *fid;
		mirror += comp->start == 0;
		if (layout->kind == DR_LAYOUT_PLAIN) {
			comp->flags |= DR_COMP_INIT;
		} else if (comp->id == 0) {
			comp->id = (layout->mirror_count ? mirror << 16 : 0) | (c + 1);
		}
		int r = finish_comp(lab, layout, c, ret_ost);
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

/* ---- making a file ---- */

struct make {
	struct dr_lab *lab;
	struct dr_fid fid;
	int fd, src_fd;
	uint64_t size;
	struct dr_lab_io io;
	struct dr_lab_slot *slot;
	struct dr_lab_value value;
	uint64_t generation;
};

static int make_layout(struct make *make, const struct dr_layout *template, dr_lab_place_fn *place,
	void *ctx, struct dr_layout **ret_layout)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = dr_layout_copy(template);
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		struct dr_layout_comp *comp = &layout->comps[c];
		/* The first component and whatever the data reach: as a server does at the first write. */
		bool reached = comp->start == 0 || comp->start < make->size;
		if (layout->kind == DR_LAYOUT_PLAIN ||
			(reached && !(comp->flags & DR_COMP_EXTENSION))) {
			comp->flags |= DR_COMP_INIT;
		}
		if (!(comp->flags & DR_COMP_INIT) || comp->pattern & DR_PATTERN_MDT) {
			continue;
		}
		bool overstripe = comp->pattern & DR_PATTERN_OVERSTRIPING;
		uint32_t n = comp->n_objects ? comp->n_objects : comp->stripe_count;
		n = n == 0 ? 1 : n;
		n = n > make->lab->n_osts && !overstripe ? make->lab->n_osts : n;
		n = n > DR_STRIPE_MAX ? DR_STRIPE_MAX : n;
		dr_layout_set_objects(layout, c, n);
		place(ctx, comp->objects, n, overstripe);
	}
	uint32_t ost;
	int r = dr_lab_layout_finish(make->lab, layout, &make->fid, &ost);
	if (r < 0) {
		return r;
	}
	*ret_layout = layout;
	layout = NULL;
	return 0;
}

/* DoM bytes are the stub's own. */
static int write_dom(struct make *make, const uint8_t *buf, size_t len, uint64_t off)
{
	const struct dr_layout *layout = make->io.layout;
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &layout->comps[c];
		uint64_t from = off > comp->start ? off : comp->start;
		uint64_t to = off + len < comp->end ? off + len : comp->end;
		if (comp->pattern & DR_PATTERN_MDT && from < to) {
			int r = dr_pwrite_full(
				make->fd, buf + (from - off), (size_t)(to - from), (off_t)from);
			if (r < 0) {
				return r;
			}
		}
	}
	return 0;
}

static int copy_range(struct make *make, uint8_t *buf, uint64_t off, uint64_t end)
{
	while (off < end) {
		size_t want = end - off < COPY_BYTES ? (size_t)(end - off) : COPY_BYTES;
		ssize_t n = dr_pread_full(make->src_fd, buf, want, (off_t)off);
		if (n <= 0) {
			return n < 0 ? (int)n : -EIO; /* shorter than it was a moment ago */
		}
		uint32_t ost;
		int r = dr_lab_io_write(&make->io, buf, (size_t)n, off, &ost);
		r = r < 0 ? r : write_dom(make, buf, (size_t)n, off);
		if (r < 0) {
			return r;
		}
		off += (uint64_t)n;
	}
	return 0;
}

static int copy_data(struct make *make)
{
	uint8_t *buf dr_cleanup(dr_freep) =
		make->size ? dr_xrealloc(NULL,
				     (size_t)(make->size < COPY_BYTES ? make->size : COPY_BYTES))
			   : NULL;
	uint64_t off = 0, start, end;
	while (off < make->size) {
		int r = dr_local_next_data(make->src_fd, off, make->size, &start, &end);
		if (r == -ENXIO) {
			break;
		}
		r = r < 0 ? r : copy_range(make, buf, start, end);
		if (r < 0) {
			return r;
		}
		off = end;
	}
	return dr_lab_io_truncate(&make->io, make->size);
}

/* Objects, data, and last the layout that makes them the file's. */
static int make_body(struct make *make)
{
	struct dr_layout *layout = make->io.layout;
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	int r = dr_lab_slot_take(make->lab, &make->fid, make->io.n_objs, &make->slot);
	if (r < 0) {
		return r;
	}
	dr_lab_io_number(&make->io);
	dr_layout_encode(layout, &bytes);
	make->generation = dr_lab_generation(bytes.len);
	for (uint32_t i = 0; i < make->io.n_objs; i++) {
		make->slot->objects[i] = make->io.objs[i].id;
	}
	make->slot->n_new = make->io.n_objs;
	make->slot->generation_new = make->generation;
	r = dr_lab_slot_name_path(make->lab, make->slot, make->fd);
	if (r < 0) {
		return r;
	}
	/* A layout that is stored while the slot lives decides for the objects. */
	dr_lab_slot_state(make->slot, DR_LAB_SLOT_SWAPPING);
	uint32_t ost;
	r = dr_lab_io_create(&make->io, &ost);
	r = r < 0 ? r : copy_data(make);
	if (r == 0 && ftruncate(make->fd, (off_t)make->size) < 0) {
		r = -errno;
	}
	r = r < 0 ? r
		  : dr_lab_value_make(make->lab, &make->fid, bytes.data, bytes.len,
			    make->generation, &make->value);
	if (r == 0 &&
		fsetxattr(make->fd, DR_LAB_XATTR, make->value.bytes, make->value.len, 0) < 0) {
		r = -errno;
	}
	return r;
}

int dr_lab_file_make(struct dr_lab *lab, int dirfd, const char *name, mode_t mode,
	const struct dr_layout *template, dr_lab_place_fn *place, void *ctx, int src_fd,
	int *ret_fd)
{
	struct make make = { .lab = lab, .src_fd = src_fd, .io.archive_fd = -EBADF };
	struct stat st;
	if (src_fd >= 0) {
		if (fstat(src_fd, &st) < 0) {
			return -errno;
		}
		make.size = (uint64_t)st.st_size;
	}
	int fd dr_cleanup(dr_fd_closep) =
		openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0) {
		return -errno;
	}
	make.fd = fd;
	struct dr_layout *layout = NULL;
	int r = dr_lab_fid_of(lab, fd, &make.fid);
	r = r < 0 ? r : make_layout(&make, template, place, ctx, &layout);
	if (r == 0) {
		dr_lab_io_init(&make.io, lab, &make.fid, layout, fd, true);
		r = make_body(&make);
	}
	if (r < 0) {
		(void)unlinkat(dirfd, name, 0);
		dr_lab_io_destroy(&make.io);
		dr_lab_spill_remove(lab, &make.fid, make.generation);
	}
	dr_lab_slot_give(lab, make.slot);
	dr_lab_io_fini(&make.io);
	if (r == 0) {
		*ret_fd = dr_steal_fd(&fd);
	}
	return r;
}

/* ---- releasing ---- */

static int archive_copy(struct dr_lab *lab, int stub_fd, const struct dr_fid *fid)
{
	struct dr_lab_reader *reader;
	int r = dr_lab_reader_new(lab, stub_fd, fid, &reader);
	if (r < 0) {
		return r;
	}
	char name[DR_FID_TEXT_SIZE];
	int fd dr_cleanup(dr_fd_closep) = openat(lab->archive_fd, dr_fid_format(fid, name),
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : 0;
	uint8_t *buf dr_cleanup(dr_freep) = dr_xcalloc(1, COPY_BYTES);
	uint64_t off = 0;
	while (r == 0 && off < reader->size) {
		uint64_t start = off, end = off;
		r = dr_lab_reader_next_data(reader, off, &start, &end);
		if (r < 0) {
			break;
		}
		for (off = start; r == 0 && off < end;) {
			size_t want = end - off < COPY_BYTES ? (size_t)(end - off) : COPY_BYTES;
			ssize_t n = dr_lab_reader_read(reader, buf, want, off);
			r = n <= 0 ? (n < 0 ? (int)n : -EIO)
				   : dr_pwrite_full(fd, buf, (size_t)n, (off_t)off);
			off += n > 0 ? (uint64_t)n : 0;
		}
	}
	r = r == -ENXIO ? 0 : r; /* only a hole up to the end */
	if (r == 0 && (ftruncate(fd, (off_t)reader->size) < 0 || fsync(fd) < 0)) {
		r = -errno;
	}
	dr_lab_reader_close(reader);
	return r;
}

static int release_layout(
	struct dr_lab *lab, int stub_fd, const struct dr_fid *fid, const struct dr_layout *old)
{
	struct dr_layout *released dr_cleanup(dr_layout_freep) = dr_layout_copy(old);
	for (uint32_t c = 0; c < released->n_comps; c++) {
		released->comps[c].pattern |= DR_PATTERN_F_RELEASED;
		dr_layout_set_objects(released, c, 0);
	}
	struct dr_lab_slot *slot;
	int r = dr_lab_slot_take(lab, fid, 0, &slot);
	if (r < 0) {
		return r;
	}
	r = dr_lab_slot_add_old(lab, slot, old);
	r = r < 0 ? r : dr_lab_slot_name_path(lab, slot, stub_fd);
	if (r == 0) {
		dr_lab_slot_state(slot, DR_LAB_SLOT_SWAPPING);
		r = dr_lab_layout_set(lab, stub_fd, fid, released);
	}
	for (uint32_t c = 0; r == 0 && c < old->n_comps; c++) {
		for (uint32_t i = 0; r == 0 && i < old->comps[c].n_objects; i++) {
			r = dr_lab_object_destroy(lab, &old->comps[c].objects[i], fid);
		}
	}
	dr_lab_slot_give(lab, slot);
	return r;
}

int dr_lab_file_release(struct dr_lab *lab, int stub_fd)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	struct dr_fid fid;
	/* No mover may be at work on it. */
	if (flock(stub_fd, LOCK_EX | LOCK_NB) < 0) {
		return errno == EWOULDBLOCK ? -EALREADY : -errno;
	}
	int r = dr_lab_fid_of(lab, stub_fd, &fid);
	r = r < 0 ? r : dr_lab_layout_of(lab, stub_fd, &fid, &bytes);
	r = r < 0 ? r : dr_layout_decode(bytes.data, bytes.len, &layout);
	if (r == 0 && (layout->kind == DR_LAYOUT_FOREIGN || layout->n_comps == 0 ||
			      layout->comps[0].pattern & DR_PATTERN_F_RELEASED)) {
		r = layout->n_comps ? -EALREADY : -EOPNOTSUPP;
	}
	r = r < 0 ? r : archive_copy(lab, stub_fd, &fid);
	r = r < 0 ? r : release_layout(lab, stub_fd, &fid, layout);
	(void)flock(stub_fd, LOCK_UN);
	return r;
}
