/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "fs/lustre_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

/*
 * A mirrored file moves one mirror at a time: its replacement is made, filled and synced as a volatile, merged into the file as one
 * more mirror, and then the mirror that it stands for is split off. A swap would leave all mirrors but one stale. Merging and
 * splitting each end a lease, so there is a moment between them in which a writer may come, or this process may die. What is to be
 * done then is noted with the file, in an attribute that is there for that moment only.
 *
 * The note: "1 OLD SEQ OID": the number of the mirror that goes, and the FID of an object of the one that comes. No other mirror has that
 * object, so a note that was forgotten, or copied to another file, does no harm.
 */

#define NOTE "trusted.drover.mirror"
#define NOTE_SIZE 256
#define RETAKE_NS 1000000000ull

struct note {
	uint32_t old;
	struct dr_fid object;
};

static int read_layout(struct dr_lustre_file *file, struct dr_layout **ret_layout)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	int r = dr_lustre_file_layout(&file->base, &bytes);

	return r < 0 ? r : dr_layout_decode(bytes.data, bytes.len, ret_layout);
}

static bool has_mirror(const struct dr_layout *layout, uint32_t mirror)
{
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		if (layout->comps[c].id >> 16 == mirror) {
			return true;
		}
	}
	return false;
}

/* An object of the layout; zero: there is none. */
static struct dr_fid some_object(const struct dr_layout *layout)
{
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		if (layout->comps[c].n_objects > 0) {
			return layout->comps[c].objects[0].fid;
		}
	}
	return (struct dr_fid){ 0 };
}

/* The mirror that came in, or 0. */
static uint32_t new_mirror(const struct dr_layout *layout, const struct note *note)
{
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &layout->comps[c];

		for (uint32_t i = 0; i < comp->n_objects; i++) {
			if (dr_fid_equal(&comp->objects[i].fid, &note->object)) {
				return comp->id >> 16;
			}
		}
	}
	return 0;
}

static bool is_stale(const struct dr_layout *layout, uint32_t mirror)
{
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		if (layout->comps[c].id >> 16 == mirror && layout->comps[c].flags & DR_COMP_STALE) {
			return true;
		}
	}
	return false;
}

/* ---- the note ---- */

static int write_note(
	struct dr_lustre_file *file, struct dr_lustre_vol *vol, uint32_t old, struct note *ret_note)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	int r = dr_lustre_layout(vol->fd, &bytes);

	r = r < 0 ? r : dr_layout_decode(bytes.data, bytes.len, &layout);
	if (r < 0) {
		return r;
	}
	const struct note note = { .old = old, .object = some_object(layout) };

	if (dr_fid_is_zero(&note.object)) {
		return -EOPNOTSUPP; /* a mirror of nothing */
	}
	dr_buf_printf(
		&text, "1 %" PRIu32 " %" PRIu64 " %" PRIu32, old, note.object.seq, note.object.oid);
	if (fsetxattr(file->fd, NOTE, text.data, text.len, 0) < 0) {
		return -errno;
	}
	*ret_note = note;
	return 0;
}

/* @error ENODATA none; EBADMSG it is not ours */
static int read_note(struct dr_lustre_file *file, struct note *ret_note)
{
	char text[NOTE_SIZE];
	ssize_t n = fgetxattr(file->fd, NOTE, text, sizeof(text) - 1);
	struct note note = { 0 };

	if (n < 0) {
		return -errno;
	}
	text[n] = '\0';
	char *at = text;
	unsigned long version = strtoul(at, &at, 10);

	note.old = (uint32_t)strtoul(at, &at, 10);
	note.object.seq = strtoull(at, &at, 10);
	note.object.oid = (uint32_t)strtoul(at, &at, 10);
	if (version != 1 || note.old == 0 || dr_fid_is_zero(&note.object) || *at) {
		return -EBADMSG;
	}
	*ret_note = note;
	return 0;
}

static void drop_note(struct dr_lustre_file *file)
{
	if (fremovexattr(file->fd, NOTE) < 0 && errno != ENODATA) {
		dr_log_limited(10, DR_LOG_WARNING, "note-stays",
			"fid=0x%" PRIx64 ":0x%" PRIx32
			" attribute=%s error=%s next=\"the next mover drops it\"",
			file->fid.seq, file->fid.oid, NOTE, strerrorname_np(errno));
	}
}

/* ---- merge and split ---- */

/* Ends the lease with what is to be done while it is still held. @error ESTALE it was lost; of the servers */
static int end_lease(struct dr_lustre_file *file, struct dr_lustre_lease *lease)
{
	int r = dr_lustre_ioctl(file->fd, DR_LUSTRE_SET_LEASE, lease);

	file->leased = false;
	return r == 0 ? -ESTALE : r < 0 ? r : 0;
}

static int merge(struct dr_lustre_file *file, struct dr_lustre_vol *vol)
{
	struct dr_lustre_lease lease = {
		.mode = DR_LUSTRE_LEASE_UNLOCK,
		.flags = DR_LUSTRE_LEASE_MERGE,
		.count = 1,
		.ids = { (uint32_t)vol->fd },
	};

	return end_lease(file, &lease);
}

static int split(struct dr_lustre_file *file, uint32_t mirror)
{
	int fd dr_cleanup(dr_fd_closep) =
		dr_lustre_volatile_open(file); /* takes the mirror along when it goes */

	if (fd < 0) {
		return fd;
	}
	struct dr_lustre_lease lease = {
		.mode = DR_LUSTRE_LEASE_UNLOCK,
		.flags = DR_LUSTRE_LEASE_SPLIT,
		.count = 2,
		.ids = { (uint32_t)fd, mirror },
	};

	return end_lease(file, &lease);
}

static void put_flag(struct dr_buf *entries, uint32_t id, uint32_t flag)
{
	static const uint8_t nothing[40] = { 0 };

	dr_buf_put_u32(entries, id);
	dr_buf_put_u32(entries, flag);
	dr_buf_put(entries, nothing, sizeof(nothing)); /* the rest of struct lov_comp_md_entry_v1 */
}

/*
 * Gives the components of a new mirror what somebody had set on those of the old one: which mirror is preferred, which is not
 * synced by itself. As `lfs setstripe --comp-set` does: the value of lustre.lov.set.flags is a struct lov_comp_md_v1 with one flag an entry.
 */
static void give_flags(
	struct dr_lustre_file *file, const struct dr_layout *layout, uint32_t old, uint32_t fresh)
{
	static const uint32_t flags[] = { DR_COMP_PREFER_READ, DR_COMP_PREFER_WRITE,
		DR_COMP_NOSYNC };
	struct dr_buf entries dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_buf value dr_cleanup(dr_buf_fini) = { 0 };
	uint16_t n = 0;

	for (uint32_t a = 0; a < layout->n_comps; a++) {
		for (uint32_t b = 0; b < layout->n_comps; b++) {
			const struct dr_layout_comp *from = &layout->comps[a],
						    *to = &layout->comps[b];

			if (from->id >> 16 != old || to->id >> 16 != fresh ||
				from->start != to->start) {
				continue;
			}
			for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
				if (from->flags & flags[i]) {
					put_flag(&entries, to->id, flags[i]);
					n++;
				}
			}
		}
	}
	if (n == 0) {
		return;
	}
	dr_buf_put_u32(&value, DR_LOV_MAGIC_COMP_V1);
	dr_buf_put_u32(&value, (uint32_t)(32 + entries.len));
	dr_buf_put_u32(&value, 0);
	dr_buf_put_u16(&value, 0);
	dr_buf_put_u16(&value, n);
	dr_buf_put_u64(&value, 0);
	dr_buf_put_u64(&value, 0);
	dr_buf_put(&value, entries.data, entries.len);
	if (fsetxattr(file->fd, DR_LUSTRE_LAYOUT_XATTR ".set.flags", value.data, value.len, 0) <
		0) {
		dr_log_limited(10, DR_LOG_WARNING, "mirror-flags-lost",
			"fid=0x%" PRIx64 ":0x%" PRIx32
			" error=%s next=\"the mirror moves without them\"",
			file->fid.seq, file->fid.oid, strerrorname_np(errno));
	}
}

/* The lease once more. Who opened the file for writing in between may be done soon. */
static int retake(struct dr_lustre_file *file)
{
	uint64_t until = dr_now_ns() + RETAKE_NS;
	int r;

	while ((r = dr_lustre_lease_take(&file->base)) == -EBUSY && dr_now_ns() < until) {
		dr_sleep_ms(10);
	}
	return r;
}

/*
 * Under a lease: drops the old mirror when the new one is there and in sync, or the new one when it is not. The note goes when
 * nothing is left to do. @return 1 the old one is gone; 0 all is as it was before the merge
 */
static int conclude(struct dr_lustre_file *file, const struct note *note)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	int r = read_layout(file, &layout);

	if (r < 0) {
		return r;
	}
	uint32_t fresh = new_mirror(layout, note);
	bool old_is_there = has_mirror(layout, note->old);
	uint32_t goes = !fresh || !old_is_there ? 0 : is_stale(layout, fresh) ? fresh : note->old;

	if (goes) {
		if (goes == note->old) {
			give_flags(file, layout, note->old, fresh);
		}
		r = split(file, goes);
		if (r < 0) {
			return r;
		}
	}
	drop_note(file);
	return (fresh && !old_is_there) || (goes && goes == note->old);
}

static int read_times(const struct dr_lustre_file *file, struct timespec times[2])
{
	struct statx sx;

	if (statx(file->fd, "", AT_EMPTY_PATH, STATX_ATIME | STATX_MTIME, &sx) < 0) {
		return -errno;
	}
	times[0] = (struct timespec){ sx.stx_atime.tv_sec, (long)sx.stx_atime.tv_nsec };
	times[1] = (struct timespec){ sx.stx_mtime.tv_sec, (long)sx.stx_mtime.tv_nsec };
	return 0;
}

/*
 * The file's time of modification is that of the objects of one mirror, and mirrors differ: a resync gives its own time to what it
 * writes. So the time may have jumped when the first mirror went. It is set back, unless somebody wrote since, which leaves a mirror
 * stale.
 */
static void restore_times(struct dr_lustre_file *file, const struct timespec times[2])
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	struct timespec now[2] = { 0 };
	bool written = false;

	if (dr_lustre_lease_take(&file->base) < 0 || read_layout(file, &layout) < 0 ||
		read_times(file, now) < 0 || now[1].tv_sec <= times[1].tv_sec) {
		return;
	}
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		written = written || layout->comps[c].flags & DR_COMP_STALE;
	}
	if (!written && futimens(file->fd, times) < 0) {
		dr_log_limited(10, DR_LOG_WARNING, "times-not-kept",
			"fid=0x%" PRIx64 ":0x%" PRIx32 " error=%s next=\"goes on\"", file->fid.seq,
			file->fid.oid, strerrorname_np(errno));
	}
}

int dr_lustre_mirror_replace(struct dr_file *base, struct dr_vol *vol_base, uint32_t mirror,
	const void *expect, size_t expect_len)
{
	struct dr_lustre_file *file = dr_lustre_file_of(base);
	struct dr_lustre_vol *vol = dr_lustre_vol_of(vol_base);
	struct timespec times[2] = { 0 };
	struct note note = { 0 };
	int r = file->leased ? dr_lustre_expect(file, expect, expect_len) : -ESTALE;

	r = r < 0 ? r : dr_lustre_vol_check(vol, file->st.size);
	r = r < 0 ? r : read_times(file, times);
	r = r < 0 ? r : write_note(file, vol, mirror, &note);
	if (r == 0) {
		r = merge(file, vol);
		int merged = r;

		r = retake(file);
		r = r < 0 ? r : conclude(file, &note);
		if (r > 0) {
			restore_times(file, times);
		}
		/* What the merge said counts only when nothing came of it. */
		r = r == 0 ? (merged < 0 ? merged : -EBUSY) : r;
	}
	dr_lustre_lease_release(base);
	return r < 0 ? r : 0;
}

int dr_lustre_mirror_mend(struct dr_file *base)
{
	struct dr_lustre_file *file = dr_lustre_file_of(base);
	struct note note = { 0 };
	int r = read_note(file, &note);

	if (r == -ENODATA || r == -EOPNOTSUPP) {
		return 0;
	}
	if (r < 0) {
		return r;
	}
	r = conclude(file, &note);
	if (r < 0) {
		return r;
	}
	return file->leased || dr_lustre_lease_take(base) == 0 ? 1 : -EBUSY;
}
