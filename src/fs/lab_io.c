/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "fs/lab_priv.h"
#include "fs/local.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The bytes of a file, by its layout: striped over objects, in the stub (DoM), or in the archive. */

#define OPEN_MAX_OBJECTS 256u /* descriptors that one file may hold */

static bool is_dom(const struct dr_layout_comp *comp)
{
	return comp->pattern & DR_PATTERN_MDT;
}

static bool is_released(const struct dr_layout_comp *comp)
{
	return comp->pattern & DR_PATTERN_F_RELEASED;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint32_t count_objects(const struct dr_layout *layout)
{
	uint32_t n = 0;
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		n += layout->comps[c].n_objects;
	}
	return n;
}

void dr_lab_io_init(struct dr_lab_io *io, struct dr_lab *lab, const struct dr_fid *owner,
	struct dr_layout *layout, int stub_fd, bool writable)
{
	*io = (struct dr_lab_io){
		.lab = lab,
		.owner = *owner,
		.layout = layout,
		.n_objs = count_objects(layout),
		.writable = writable,
		.stub_fd = stub_fd,
		.archive_fd = -EBADF,
		.lease_fd = -1,
	};
	io->objs = dr_xcalloc(io->n_objs, sizeof(*io->objs));
	struct dr_lab_obj *obj = io->objs;
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		for (uint32_t i = 0; i < layout->comps[c].n_objects; i++, obj++) {
			obj->id = layout->comps[c].objects[i];
			obj->fd = -EBADF;
		}
	}
}

void dr_lab_io_fini(struct dr_lab_io *io)
{
	for (uint32_t i = 0; i < io->n_objs; i++) {
		dr_fd_closep(&io->objs[i].fd);
	}
	dr_fd_closep(&io->archive_fd);
	free(io->objs);
	dr_layout_free(io->layout);
	*io = (struct dr_lab_io){ .archive_fd = -EBADF };
}

/* The objects of a component follow one another in objs. */
static struct dr_lab_obj *objs_of(const struct dr_lab_io *io, const struct dr_layout_comp *comp)
{
	struct dr_lab_obj *obj = io->objs;
	for (const struct dr_layout_comp *c = io->layout->comps; c < comp; c++) {
		obj += c->n_objects;
	}
	return obj;
}

static void make_room(struct dr_lab_io *io)
{
	while (io->n_open >= OPEN_MAX_OBJECTS) {
		struct dr_lab_obj *obj = &io->objs[io->hand];
		io->hand = (io->hand + 1) % io->n_objs;
		if (obj->fd >= 0) {
			dr_fd_closep(&obj->fd);
			io->n_open--;
		}
	}
}

static int obj_open(struct dr_lab_io *io, struct dr_lab_obj *obj)
{
	if (obj->fd >= 0) {
		return obj->fd;
	}
	make_room(io);
	int fd =
		dr_lab_object_open(io->lab, &obj->id, &io->owner, io->writable ? O_RDWR : O_RDONLY);
	if (fd >= 0) {
		obj->fd = fd;
		io->n_open++;
	}
	return fd;
}

/* ---- creating and removing ---- */

void dr_lab_io_number(struct dr_lab_io *io)
{
	struct dr_lab_obj *obj = io->objs;
	for (uint32_t c = 0; c < io->layout->n_comps; c++) {
		struct dr_layout_comp *comp = &io->layout->comps[c];
		for (uint32_t i = 0; i < comp->n_objects; i++, obj++) {
			obj->id.fid = dr_lab_object_number(io->lab, obj->id.ost);
			obj->id.gen = 0;
			comp->objects[i] = obj->id;
		}
	}
}

int dr_lab_io_create(struct dr_lab_io *io, uint32_t *ret_ost)
{
	for (uint32_t i = 0; i < io->n_objs; i++) {
		struct dr_lab_obj *obj = &io->objs[i];
		int r = dr_lab_ost_wait(io->lab, obj->id.ost, 0, io->lease_fd);
		r = r == -EIO ? -ENODEV : r;
		if (r == 0) {
			make_room(io);
			r = dr_lab_object_create_named(io->lab, &obj->id, &io->owner);
		}
		if (r < 0) {
			*ret_ost = obj->id.ost;
			return r;
		}
		obj->fd = r;
		obj->made = true;
		io->n_open++;
	}
	return 0;
}

void dr_lab_io_destroy(struct dr_lab_io *io)
{
	for (uint32_t i = 0; i < io->n_objs; i++) {
		struct dr_lab_obj *obj = &io->objs[i];
		if (obj->fd >= 0) {
			dr_fd_closep(&obj->fd);
			io->n_open--;
		}
		if (obj->made) {
			/* A failure leaves garbage, which drover-lab check finds: nobody could do more here. */
			(void)!dr_lab_object_remove(io->lab, &obj->id, &io->owner, obj->charged);
			obj->made = false;
		}
	}
}

/* ---- reading ---- */

static bool is_readable(const struct dr_layout_comp *comp)
{
	return comp->flags & DR_COMP_INIT && !(comp->flags & (DR_COMP_STALE | DR_COMP_PARITY)) &&
	       (comp->n_objects > 0 || is_dom(comp) || is_released(comp));
}

/* The component that off is read from, NULL for none; the answer holds up to *ret_end. */
static const struct dr_layout_comp *find_comp(
	const struct dr_lab_io *io, uint64_t off, uint64_t *ret_end)
{
	uint64_t next = UINT64_MAX;
	for (uint32_t c = 0; c < io->layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &io->layout->comps[c];
		if (!is_readable(comp)) {
			continue;
		}
		if (off >= comp->start && off < comp->end) {
			*ret_end = comp->end;
			return comp;
		}
		if (comp->start > off) {
			next = min64(next, comp->start);
		}
	}
	*ret_end = next;
	return NULL;
}

static int archive_open(struct dr_lab_io *io)
{
	if (io->archive_fd < 0) {
		char name[DR_FID_TEXT_SIZE];
		int fd = openat(
			io->lab->archive_fd, dr_fid_format(&io->owner, name), O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			return errno == ENOENT ? -EIO : -errno;
		}
		io->archive_fd = fd;
	}
	return io->archive_fd;
}

/* What lies past the end of fd is a hole. */
static int read_padded(int fd, void *buf, size_t len, uint64_t off)
{
	ssize_t n = dr_pread_full(fd, buf, len, (off_t)off);
	if (n < 0) {
		return (int)n;
	}
	memset((uint8_t *)buf + n, 0, len - (size_t)n);
	return 0;
}

/* Reads up to *len bytes of a component, and says how many in *len. */
static int read_comp(struct dr_lab_io *io, const struct dr_layout_comp *comp, void *buf,
	size_t *len, uint64_t off)
{
	if (is_released(comp)) {
		int fd = archive_open(io);
		return fd < 0 ? fd : read_padded(fd, buf, *len, off);
	}
	if (is_dom(comp)) {
		return read_padded(io->stub_fd, buf, *len, off);
	}
	uint32_t stripe;
	uint64_t object_off, run;
	dr_layout_map(comp, comp->n_objects, off, &stripe, &object_off, &run);
	*len = (size_t)min64(*len, run);
	struct dr_lab_obj *obj = &objs_of(io, comp)[stripe];
	int r = dr_lab_ost_wait(io->lab, obj->id.ost, *len, io->lease_fd);
	int fd = r < 0 ? r : obj_open(io, obj);
	if (fd < 0) {
		return fd;
	}
	if (io->past_cache) {
		(void)posix_fadvise(fd, (off_t)object_off, (off_t)*len, POSIX_FADV_DONTNEED);
	}
	return read_padded(fd, buf, *len, object_off);
}

ssize_t dr_lab_io_read(struct dr_lab_io *io, void *buf, size_t len, uint64_t off, uint64_t size)
{
	uint8_t *to = buf;
	size_t done = 0;
	while (done < len && off < size) {
		uint64_t end;
		const struct dr_layout_comp *comp = find_comp(io, off, &end);
		size_t n = (size_t)min64(min64(end, size) - off, len - done);
		int r = 0;
		if (comp) {
			r = read_comp(io, comp, to + done, &n, off);
		} else {
			memset(to + done, 0, n);
		}
		if (r < 0) {
			return done ? (ssize_t)done : r;
		}
		done += n;
		off += n;
	}
	return (ssize_t)done;
}

/* ---- extents ---- */

/* Where a stripe's first byte at or after `off` of the file lies in its object. */
static uint64_t object_off_from(const struct dr_layout_comp *comp, uint32_t stripe, uint64_t off)
{
	uint64_t chunk = off / comp->stripe_size, n = comp->n_objects;
	uint64_t row = chunk / n, at = chunk % n;
	if (stripe == at) {
		return row * comp->stripe_size + off % comp->stripe_size;
	}
	return (stripe > at ? row : row + 1) * comp->stripe_size;
}

static uint64_t file_off_of(const struct dr_layout_comp *comp, uint32_t stripe, uint64_t object_off)
{
	uint64_t row = object_off / comp->stripe_size;
	return (row * comp->n_objects + stripe) * comp->stripe_size +
	       object_off % comp->stripe_size;
}

/* The first data (whence SEEK_DATA) or hole (SEEK_HOLE) of a component at or after off; end when there is none below. */
static int comp_seek(struct dr_lab_io *io, const struct dr_layout_comp *comp, uint64_t off,
	uint64_t end, int whence, uint64_t *ret_off)
{
	struct dr_lab_obj *objs = objs_of(io, comp);
	uint64_t found = end;
	for (uint32_t s = 0; s < comp->n_objects; s++) {
		uint64_t from = object_off_from(comp, s, off);
		if (file_off_of(comp, s, from) >= found) {
			continue;
		}
		if (atomic_load(&io->lab->state->ost[objs[s].id.ost].state) == DR_LAB_IS_DOWN) {
			return -EIO;
		}
		int fd = obj_open(io, &objs[s]);
		if (fd < 0) {
			return fd;
		}
		off_t at = lseek(fd, (off_t)from, whence);
		if (at < 0 && errno != ENXIO) {
			return -errno;
		}
		/* ENXIO: past the object's end: no data any more, and a hole just there. */
		if (at >= 0 || whence == SEEK_HOLE) {
			found = min64(found, file_off_of(comp, s, at >= 0 ? (uint64_t)at : from));
		}
	}
	*ret_off = found;
	return 0;
}

static int comp_next_data(struct dr_lab_io *io, const struct dr_layout_comp *comp, uint64_t off,
	uint64_t end, uint64_t *ret_start, uint64_t *ret_end)
{
	if (is_released(comp)) {
		int fd = archive_open(io);
		return fd < 0 ? fd : dr_local_next_data(fd, off, end, ret_start, ret_end);
	}
	if (is_dom(comp)) {
		return dr_local_next_data(io->stub_fd, off, end, ret_start, ret_end);
	}
	uint64_t start = end;
	int r = comp_seek(io, comp, off, end, SEEK_DATA, &start);
	if (r < 0) {
		return r;
	}
	if (start >= end) {
		return -ENXIO;
	}
	*ret_start = start;
	return comp_seek(io, comp, start, end, SEEK_HOLE, ret_end);
}

int dr_lab_io_next_data(
	struct dr_lab_io *io, uint64_t off, uint64_t size, uint64_t *ret_start, uint64_t *ret_end)
{
	while (off < size) {
		uint64_t end;
		const struct dr_layout_comp *comp = find_comp(io, off, &end);
		end = min64(end, size);
		int r = comp ? comp_next_data(io, comp, off, end, ret_start, ret_end) : -ENXIO;
		if (r != -ENXIO) {
			return r;
		}
		off = end;
	}
	return -ENXIO;
}

/* ---- writing ---- */

static int blocks_without_data(int fd, uint64_t first, uint64_t last, uint64_t *ret_blocks)
{
	uint64_t holes = last - first, counted = first;
	uint64_t off = first * DR_LAB_BLOCK, end = last * DR_LAB_BLOCK;
	for (;;) {
		uint64_t from, to;
		int r = dr_local_next_data(fd, off, end, &from, &to);
		if (r < 0 && r != -ENXIO) {
			return r;
		}
		if (r < 0) {
			*ret_blocks = holes;
			return 0;
		}
		uint64_t a = from / DR_LAB_BLOCK, b = (to + DR_LAB_BLOCK - 1) / DR_LAB_BLOCK;
		a = a < counted ? counted : a;
		if (b > a) {
			holes -= b - a;
			counted = b;
		}
		off = to;
	}
}

/* How many bytes of blocks a write will be the first to touch. */
static int new_charge(
	const struct dr_lab_obj *obj, int fd, uint64_t first, uint64_t last, uint64_t *ret_bytes)
{
	uint64_t blocks = 0;
	uint64_t fresh = first > obj->next ? first : obj->next;
	if (last > fresh) {
		blocks = last - fresh;
	}
	/* Below what was written before: only where that has holes. */
	uint64_t seen = last < obj->next ? last : obj->next;
	bool dense = obj->charged == (obj->next - obj->first) * DR_LAB_BLOCK && first >= obj->first;
	if (first < seen && !dense) {
		uint64_t holes;
		int r = blocks_without_data(fd, first, seen, &holes);
		if (r < 0) {
			return r;
		}
		blocks += holes;
	}
	*ret_bytes = blocks * DR_LAB_BLOCK;
	return 0;
}

/* After a write that failed, or a truncate: only the object knows what it holds. */
static int measure(struct dr_lab_io *io, struct dr_lab_obj *obj, int fd)
{
	uint64_t bytes;
	int r = dr_lab_object_charge(fd, &bytes);
	if (r < 0) {
		return r;
	}
	struct dr_lab_ost *ost = &io->lab->state->ost[obj->id.ost];
	atomic_fetch_add(&ost->used_bytes, (int64_t)bytes - (int64_t)obj->charged);
	obj->charged = bytes;
	return 0;
}

static int write_object(
	struct dr_lab_io *io, struct dr_lab_obj *obj, const void *buf, size_t len, uint64_t off)
{
	int r = dr_lab_ost_wait(io->lab, obj->id.ost, len, io->lease_fd);
	int fd = r < 0 ? r : obj_open(io, obj);
	if (fd < 0) {
		return fd == -ENOENT ? -EIO : fd;
	}
	uint64_t first = off / DR_LAB_BLOCK, last = (off + len + DR_LAB_BLOCK - 1) / DR_LAB_BLOCK,
		 more;
	r = new_charge(obj, fd, first, last, &more);
	if (r == 0 && more) {
		r = dr_lab_charge(io->lab, obj->id.ost, (int64_t)more);
	}
	if (r < 0) {
		return r;
	}
	dr_lab_fault(io->lab, "charged");
	obj->first = obj->next ? min64(obj->first, first) : first;
	obj->next = last > obj->next ? last : obj->next;
	obj->charged += more;
	obj->dirty = true;
	r = dr_pwrite_full(fd, buf, len, (off_t)off);
	if (r < 0) {
		(void)!measure(io, obj, fd);
		return r;
	}
	obj->len = off + len > obj->len ? off + len : obj->len;
	return 0;
}

static int write_comp(struct dr_lab_io *io, const struct dr_layout_comp *comp, const uint8_t *buf,
	uint64_t off, uint64_t end, uint32_t *ret_ost)
{
	struct dr_lab_obj *objs = objs_of(io, comp);
	while (off < end) {
		uint32_t stripe;
		uint64_t object_off, run;
		dr_layout_map(comp, comp->n_objects, off, &stripe, &object_off, &run);
		run = min64(run, end - off);
		int r = write_object(io, &objs[stripe], buf, (size_t)run, object_off);
		if (r < 0) {
			*ret_ost = objs[stripe].id.ost;
			return r;
		}
		buf += run;
		off += run;
	}
	return 0;
}

static bool is_writable(const struct dr_layout_comp *comp)
{
	return comp->flags & DR_COMP_INIT && !is_released(comp) &&
	       (comp->n_objects > 0 || is_dom(comp));
}

static bool is_covered(const struct dr_lab_io *io, uint64_t off, uint64_t end)
{
	while (off < end) {
		uint64_t reached = off;
		for (uint32_t c = 0; c < io->layout->n_comps; c++) {
			const struct dr_layout_comp *comp = &io->layout->comps[c];
			if (is_writable(comp) && off >= comp->start && off < comp->end &&
				comp->end > reached) {
				reached = comp->end;
			}
		}
		if (reached == off) {
			return false;
		}
		off = reached;
	}
	return true;
}

int dr_lab_io_write(
	struct dr_lab_io *io, const void *buf, size_t len, uint64_t off, uint32_t *ret_ost)
{
	uint64_t end;
	if (__builtin_add_overflow(off, len, &end) || end > INT64_MAX) {
		return -EFBIG;
	}
	if (!is_covered(io, off, end)) {
		return -ENODATA;
	}
	for (uint32_t c = 0; c < io->layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &io->layout->comps[c];
		uint64_t from = off > comp->start ? off : comp->start;
		uint64_t to = min64(end, comp->end);
		/* The DoM part lies in the stub, and stays there. */
		if (from >= to || !is_writable(comp) || is_dom(comp)) {
			continue;
		}
		int r = write_comp(
			io, comp, (const uint8_t *)buf + (from - off), from, to, ret_ost);
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

static int truncate_object(struct dr_lab_io *io, struct dr_lab_obj *obj, uint64_t len)
{
	if (obj->len == len) {
		return 0;
	}
	int fd = obj_open(io, obj);
	if (fd < 0) {
		return fd == -ENOENT ? -EIO : fd;
	}
	if (ftruncate(fd, (off_t)len) < 0) {
		return -errno;
	}
	bool shorter = len < obj->len;
	obj->len = len;
	obj->dirty = true;
	if (!shorter) {
		return 0;
	}
	int r = measure(io, obj, fd);
	/* What is cut off will be charged again when it is written again. */
	obj->next = min64(obj->next, (len + DR_LAB_BLOCK - 1) / DR_LAB_BLOCK);
	obj->first = min64(obj->first, obj->next);
	return r;
}

int dr_lab_io_truncate(struct dr_lab_io *io, uint64_t size)
{
	struct dr_lab_obj *obj = io->objs;
	for (uint32_t c = 0; c < io->layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &io->layout->comps[c];
		for (uint32_t i = 0; i < comp->n_objects; i++, obj++) {
			int r = truncate_object(
				io, obj, dr_layout_object_size(comp, comp->n_objects, i, size));
			if (r < 0) {
				return r;
			}
		}
	}
	return 0;
}

int dr_lab_io_flush(struct dr_lab_io *io)
{
	for (uint32_t i = 0; i < io->n_objs; i++) {
		/* Only a beginning: the sync tells what went wrong. */
		if (io->objs[i].dirty && io->objs[i].fd >= 0) {
			(void)sync_file_range(io->objs[i].fd, 0, 0, SYNC_FILE_RANGE_WRITE);
		}
	}
	return 0;
}

int dr_lab_io_sync(struct dr_lab_io *io)
{
	for (uint32_t i = 0; i < io->n_objs; i++) {
		struct dr_lab_obj *obj = &io->objs[i];
		if (!obj->dirty) {
			continue;
		}
		int r = dr_lab_ost_wait(io->lab, obj->id.ost, 0, io->lease_fd);
		if (r == -ECANCELED) {
			return r;
		}
		int fd = r < 0 ? r : obj_open(io, obj);
		r = fd < 0 ? (fd == -ENOENT ? -EIO : fd) : fsync(fd) < 0 ? -errno : 0;
		if (r == 0) {
			obj->dirty = false;
		} else if (io->lost == 0) {
			io->lost = r;
		}
	}
	return io->lost;
}

/* Where a component's data ends, in the file. */
static int comp_size(struct dr_lab_io *io, const struct dr_layout_comp *comp, uint64_t *ret_size)
{
	struct dr_lab_obj *objs = objs_of(io, comp);
	uint64_t size = 0;
	for (uint32_t s = 0; s < comp->n_objects; s++) {
		struct stat st;
		int fd = obj_open(io, &objs[s]);
		if (fd < 0) {
			return fd == -ENOENT ? -EIO : fd;
		}
		if (fstat(fd, &st) < 0) {
			return -errno;
		}
		if (st.st_size > 0) {
			uint64_t end = file_off_of(comp, s, (uint64_t)st.st_size - 1) + 1;
			size = end > size ? end : size;
		}
	}
	*ret_size = size;
	return 0;
}

int dr_lab_io_size(struct dr_lab_io *io, uint64_t size, uint64_t *ret_size)
{
	uint64_t smallest = UINT64_MAX, last = size ? size - 1 : 0;
	for (uint32_t c = 0; c < io->layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &io->layout->comps[c];
		if (!comp->n_objects || last < comp->start || last >= comp->end) {
			continue;
		}
		uint64_t end = 0;
		int r = comp_size(io, comp, &end);
		if (r < 0) {
			return r;
		}
		smallest = min64(smallest, end > comp->start ? end : comp->start);
	}
	/* No object there: it ends in the DoM part, or in a hole behind all objects. */
	*ret_size = smallest == UINT64_MAX ? size : smallest;
	return 0;
}
