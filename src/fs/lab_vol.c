/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/lab_priv.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/*
 * Volatile files, and the swap. A volatile is a layout in memory, objects on the OSTs under the name of the file that it
 * was made for, and a slot of the journal: no name and no inode of its own. The swap is one fsetxattr on the stub: before it the file
 * has its old objects, after it the new ones, and the slot lists both for who comes after a crash. The file system beneath
 * keeps the order of its own changes, so a stub never comes back from a power failure with the layout
 * of before and its old objects gone.
 */
struct vol {
	struct dr_vol base;
	struct dr_lab *lab;
	struct dr_lab_file *file; /* lent: what it was made for */
	struct dr_lab_io io;
	struct dr_lab_slot *slot;
	uint64_t size; /* bytes: how far writes and truncates reached */
	/* After the swap: what the file had, and is now ours to remove. */
	bool swapped;
	struct dr_layout *old;
	uint64_t old_generation;
};

static struct vol *vol_of(struct dr_vol *vol)
{
	return dr_container_of(vol, struct vol, base);
}

static struct dr_lab_file *file_of(struct dr_file *file)
{
	return dr_container_of(file, struct dr_lab_file, base);
}

static const struct dr_layout_comp *next_dom(const struct dr_layout *layout, uint32_t *c)
{
	while (*c < layout->n_comps) {
		const struct dr_layout_comp *comp = &layout->comps[(*c)++];
		if (comp->pattern & DR_PATTERN_MDT) {
			return comp;
		}
	}
	return NULL;
}

/* The bytes in the stub stay where they are, so the new layout must find them where the old one does. */
static bool same_dom(const struct dr_layout *a, const struct dr_layout *b)
{
	uint32_t i = 0, j = 0;
	for (;;) {
		const struct dr_layout_comp *x = next_dom(a, &i), *y = next_dom(b, &j);
		if (!x || !y) {
			return !x && !y;
		}
		if (x->start != y->start || x->end != y->end) {
			return false;
		}
	}
}

static int check_dom(struct dr_lab_file *file, const struct dr_layout *layout)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout *now dr_cleanup(dr_layout_freep) = NULL;
	int r = dr_lab_layout_of(file->lab, file->fd, &file->fid, &bytes);
	r = r < 0 ? r : dr_layout_decode(bytes.data, bytes.len, &now);
	if (r < 0) {
		return r;
	}
	return same_dom(layout, now) ? 0 : -EOPNOTSUPP;
}

static int create_objects(struct vol *vol, uint32_t *ret_ost)
{
	int r = dr_lab_slot_take(vol->lab, &vol->file->fid, vol->io.n_objs, &vol->slot);
	if (r < 0) {
		return r;
	}
	dr_lab_io_number(&vol->io);
	for (uint32_t i = 0; i < vol->io.n_objs; i++) {
		vol->slot->objects[i] = vol->io.objs[i].id;
	}
	vol->slot->n_new = vol->io.n_objs;
	dr_lab_slot_state(vol->slot, DR_LAB_SLOT_VOLATILE);
	dr_lab_fault(vol->lab, "slot");
	r = dr_lab_io_create(&vol->io, ret_ost);
	dr_lab_fault(vol->lab, "created");
	return r;
}

int dr_lab_vol_create(struct dr_file *base, const struct dr_layout *layout, struct dr_vol **ret_vol,
	uint32_t *ret_ost)
{
	struct dr_lab_file *file = file_of(base);
	int r = dr_lab_file_verify(file);
	if (r < 0) {
		return r;
	}
	struct dr_layout *own dr_cleanup(dr_layout_freep) = dr_layout_copy(layout);
	r = dr_lab_layout_finish(file->lab, own, &file->fid, ret_ost);
	r = r < 0 ? r : dr_lab_pool_check(file->lab, own, ret_ost);
	r = r < 0 ? r : check_dom(file, own);
	if (r < 0) {
		return r;
	}
	struct vol *vol = dr_xcalloc(1, sizeof(*vol));
	vol->base.fs = base->fs;
	vol->lab = file->lab;
	vol->file = file;
	dr_lab_io_init(&vol->io, file->lab, &file->fid, own, file->fd, true);
	own = NULL;
	vol->io.lease_fd = file->leased ? file->fd : -1;
	vol->io.past_cache = true;
	r = create_objects(vol, ret_ost);
	if (r < 0) {
		dr_lab_vol_close(&vol->base);
		return r;
	}
	*ret_vol = &vol->base;
	return 0;
}

static void remove_old(struct vol *vol)
{
	for (uint32_t c = 0; c < vol->old->n_comps; c++) {
		const struct dr_layout_comp *comp = &vol->old->comps[c];
		for (uint32_t i = 0; i < comp->n_objects; i++) {
			/* A failure leaves garbage, which drover-lab check finds: nobody could do more here. */
			(void)!dr_lab_object_destroy(vol->lab, &comp->objects[i], &vol->io.owner);
		}
	}
	dr_lab_spill_remove(vol->lab, &vol->io.owner, vol->old_generation);
}

void dr_lab_vol_close(struct dr_vol *base)
{
	if (!base) {
		return;
	}
	struct vol *vol = vol_of(base);
	if (vol->swapped) {
		remove_old(vol);
	} else {
		dr_lab_io_destroy(&vol->io);
	}
	dr_lab_slot_give(vol->lab, vol->slot);
	dr_layout_free(vol->old);
	dr_lab_io_fini(&vol->io);
	free(vol);
}

int dr_lab_vol_layout(struct dr_vol *base, struct dr_buf *out)
{
	struct vol *vol = vol_of(base);
	dr_layout_encode(vol->swapped ? vol->old : vol->io.layout, out);
	return 0;
}

int dr_lab_vol_write(
	struct dr_vol *base, const void *buf, size_t len, uint64_t off, uint32_t *ret_ost)
{
	struct vol *vol = vol_of(base);
	if (vol->swapped) {
		return -EBADF;
	}
	int r = dr_lab_io_write(&vol->io, buf, len, off, ret_ost);
	if (r == 0 && off + len > vol->size) {
		vol->size = off + len;
	}
	return r;
}

int dr_lab_vol_truncate(struct dr_vol *base, uint64_t size)
{
	struct vol *vol = vol_of(base);
	if (vol->swapped) {
		return -EBADF;
	}
	if (size > INT64_MAX) {
		return -EFBIG;
	}
	int r = dr_lab_io_truncate(&vol->io, size);
	if (r == 0) {
		vol->size = size;
	}
	return r;
}

int dr_lab_vol_flush(struct dr_vol *base)
{
	return dr_lab_io_flush(&vol_of(base)->io);
}

int dr_lab_vol_sync(struct dr_vol *base)
{
	return dr_lab_io_sync(&vol_of(base)->io);
}

int dr_lab_vol_size(struct dr_vol *base, uint64_t *ret_size)
{
	struct vol *vol = vol_of(base);
	return dr_lab_io_size(&vol->io, vol->size, ret_size);
}

ssize_t dr_lab_vol_read(struct dr_vol *base, void *buf, size_t len, uint64_t off)
{
	struct vol *vol = vol_of(base);
	ssize_t n = dr_lab_io_read(&vol->io, buf, len, off, vol->size);
	return n == -ENOENT ? -EIO : n;
}

int dr_lab_vol_attrs(struct dr_vol *base, struct dr_file *file)
{
	/* The stub keeps its owner, project, mode and times: the swap touches its layout alone. */
	(void)base;
	(void)file;
	return 0;
}

/* ---- the swap ---- */

struct swap {
	struct dr_lab_value before, after;
	uint64_t generation; /* of the new layout in layouts/; 0: it fits the xattr */
	uint64_t version;
};

/* Is everything still as the caller saw it? Also decodes the layout that goes. */
static int swap_check(struct vol *vol, struct dr_lab_file *file, const void *expect,
	size_t expect_len, struct swap *swap)
{
	struct dr_buf now dr_cleanup(dr_buf_fini) = { 0 };
	int r = dr_lab_value_get(file->fd, &swap->before);
	r = r < 0 ? r : dr_lab_layout_of(file->lab, file->fd, &file->fid, &now);
	if (r < 0) {
		return r == -ENODATA ? -ESTALE : r;
	}
	if (now.len != expect_len || memcmp(now.data, expect, expect_len) != 0) {
		return -ESTALE;
	}
	(void)dr_lab_value_spilled(swap->before.bytes, swap->before.len, &vol->old_generation);
	struct dr_stat st;
	r = dr_layout_decode(now.data, now.len, &vol->old);
	r = r < 0 ? r : file->base.fs->ops->file_stat(&file->base, &st);
	if (r < 0) {
		return r;
	}
	swap->version = dr_lab_version(&st);
	return dr_lab_lease_held(file->fd) ? 0 : -ESTALE;
}

static int swap_prepare(struct vol *vol, struct dr_lab_file *file, struct swap *swap)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	dr_layout_encode(vol->io.layout, &bytes);
	swap->generation = dr_lab_generation(bytes.len);
	vol->slot->generation_new = swap->generation;
	vol->slot->generation_old = vol->old_generation;
	int r = dr_lab_slot_add_old(vol->lab, vol->slot, vol->old);
	r = r < 0 ? r : dr_lab_slot_name_path(vol->lab, vol->slot, file->fd);
	if (r < 0) {
		return r;
	}
	dr_lab_slot_state(vol->slot, DR_LAB_SLOT_SWAPPING);
	return dr_lab_value_make(
		vol->lab, &file->fid, bytes.data, bytes.len, swap->generation, &swap->after);
}

static bool stub_has(const struct dr_lab_file *file, const struct dr_lab_value *value)
{
	struct dr_lab_value now;
	return dr_lab_value_get(file->fd, &now) == 0 && now.len == value->len &&
	       memcmp(now.bytes, value->bytes, now.len) == 0;
}

static int set_value(const struct dr_lab_file *file, const struct dr_lab_value *value)
{
	return fsetxattr(file->fd, DR_LAB_XATTR, value->bytes, value->len, XATTR_REPLACE) < 0
		       ? -errno
		       : 0;
}

static int swap_commit(struct vol *vol, struct dr_lab_file *file, struct swap *swap)
{
	dr_lab_fault(vol->lab, "swap-before");
	int r = set_value(file, &swap->after);
	dr_lab_fault(vol->lab, "swap-after");
	vol->swapped = r == 0 || stub_has(file, &swap->after);
	if (!vol->swapped || dr_lab_lease_held(file->fd)) {
		return r;
	}
	/*
	 * Somebody came in between. He waits in his open until we give the lease up, unless the
	 * kernel took it from us after its lease-break-time: then he may have written.
	 */
	struct dr_stat st;
	r = file->base.fs->ops->file_stat(&file->base, &st);
	if (r == 0 && dr_lab_version(&st) == swap->version) {
		return 0;
	}
	vol->swapped = set_value(file, &swap->before) < 0;
	return -ESTALE;
}

int dr_lab_swap(
	struct dr_file *base, struct dr_vol *vol_base, const void *expect, size_t expect_len)
{
	struct dr_lab_file *file = file_of(base);
	struct vol *vol = vol_of(vol_base);
	struct swap swap = { 0 };
	int r = vol->file != file || vol->swapped ? -EINVAL
		: !file->locked || !file->leased  ? -ESTALE
						  : 0;
	r = r < 0 ? r : swap_check(vol, file, expect, expect_len, &swap);
	r = r < 0 ? r : swap_prepare(vol, file, &swap);
	r = r < 0 ? r : swap_commit(vol, file, &swap);
	if (!vol->swapped) {
		dr_lab_spill_remove(vol->lab, &file->fid, swap.generation);
		dr_layout_free(vol->old);
		vol->old = NULL;
	} else {
		dr_lab_reader_close(file->reader);
		file->reader = NULL;
	}
	file->base.fs->ops->lease_release(&file->base);
	return r;
}
