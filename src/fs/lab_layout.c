/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "fs/lab_priv.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/xattr.h>

/* Where a stub's layout lies: in its xattr, or in layouts/ with the xattr naming the file. */

#define SPILL_MARK "DRLABLAY"
#define SPILL_MARK_LEN 8
#define SPILL_LEN 16
#define SPILL_NAME_SIZE 96

int dr_lab_fid_of_ino(struct dr_lab *lab, int fd, uint64_t ino, struct dr_fid *ret_fid)
{
	(void)lab;
	/* The kernel writes an int, whatever the name of the request says. */
	int generation = 0;
	if (ioctl(fd, FS_IOC_GETVERSION, &generation) < 0) {
		if (errno != ENOTTY && errno != EOPNOTSUPP && errno != EINVAL) {
			return -errno;
		}
		generation =
			0; /* a file system without: tmpfs, for one, does not use a number twice */
	}
	*ret_fid = (struct dr_fid){
		.seq = DR_LAB_SEQ + (ino >> 32),
		.oid = (uint32_t)ino,
		.ver = (uint32_t)generation,
	};
	return 0;
}

int dr_lab_value_get(int fd, struct dr_lab_value *ret_value)
{
	ssize_t n = fgetxattr(fd, DR_LAB_XATTR, ret_value->bytes, sizeof(ret_value->bytes));
	if (n < 0) {
		return errno == ERANGE ? -EBADMSG : -errno;
	}
	ret_value->len = (size_t)n;
	return 0;
}

int dr_lab_value_spilled(const void *value, size_t len, uint64_t *ret_generation)
{
	if (len != SPILL_LEN || memcmp(value, SPILL_MARK, SPILL_MARK_LEN) != 0) {
		return 0;
	}
	struct dr_cur cur = dr_cur_of((const uint8_t *)value + SPILL_MARK_LEN, 8);
	*ret_generation = dr_cur_u64(&cur);
	return 1;
}

static void spill_name(const struct dr_fid *fid, uint64_t generation, char *buf)
{
	(void)snprintf(buf, SPILL_NAME_SIZE, "%" PRIx64 ":%" PRIx32 ":%" PRIx32 ".%016" PRIx64,
		fid->seq, fid->oid, fid->ver, generation);
}

int dr_lab_spill_parse(const char *name, struct dr_fid *ret_fid, uint64_t *ret_generation)
{
	uint64_t seq, oid, ver;
	if (!dr_lab_get_hex(&name, ':', UINT64_MAX, &seq) ||
		!dr_lab_get_hex(&name, ':', UINT32_MAX, &oid) ||
		!dr_lab_get_hex(&name, '.', UINT32_MAX, &ver) ||
		!dr_lab_get_hex(&name, 0, UINT64_MAX, ret_generation)) {
		return -EINVAL;
	}
	*ret_fid = (struct dr_fid){ .seq = seq, .oid = (uint32_t)oid, .ver = (uint32_t)ver };
	return 0;
}

int dr_lab_spill_read(
	struct dr_lab *lab, const struct dr_fid *fid, uint64_t generation, struct dr_buf *out)
{
	char name[SPILL_NAME_SIZE];
	spill_name(fid, generation, name);
	return dr_read_file(lab->layouts_fd, name, DR_LAYOUT_MAX, out);
}

uint64_t dr_lab_generation(size_t layout_len)
{
	uint64_t word = 0;
	if (layout_len > DR_LAB_XATTR_MAX) {
		while (word == 0 && getrandom(&word, sizeof(word), 0) != (ssize_t)sizeof(word)) {
			word = 0;
		}
	}
	return word;
}

int dr_lab_value_make(struct dr_lab *lab, const struct dr_fid *fid, const void *bytes, size_t len,
	uint64_t generation, struct dr_lab_value *ret_value)
{
	if (!generation) {
		memcpy(ret_value->bytes, bytes, len);
		ret_value->len = len;
		return 0;
	}
	if (len > DR_LAYOUT_MAX) {
		return -E2BIG;
	}
	char name[SPILL_NAME_SIZE];
	spill_name(fid, generation, name);
	int r = dr_replace_file(lab->layouts_fd, name, 0644, bytes, len);
	if (r < 0) {
		return r;
	}
	memcpy(ret_value->bytes, SPILL_MARK, SPILL_MARK_LEN);
	for (int i = 0; i < 8; i++) {
		ret_value->bytes[SPILL_MARK_LEN + i] = (uint8_t)(generation >> 8 * i);
	}
	ret_value->len = SPILL_LEN;
	return 0;
}

void dr_lab_spill_remove(struct dr_lab *lab, const struct dr_fid *fid, uint64_t generation)
{
	if (generation) {
		char name[SPILL_NAME_SIZE];
		spill_name(fid, generation, name);
		(void)unlinkat(lab->layouts_fd, name, 0);
	}
}

/* Is this the layout of that file? Foreign layouts (of Lustre's kind) carry no FID. */
static int check_owner(const void *bytes, size_t len, const struct dr_fid *fid)
{
	static const struct dr_rangeset none;
	struct dr_layout_look look;
	if (dr_layout_look(bytes, len, &none, &look) < 0) {
		return -EBADMSG;
	}
	return look.flags & DR_LAYOUT_IS_FOREIGN || dr_fid_equal(&look.fid, fid) ? 0 : -EBADMSG;
}

int dr_lab_layout_of(struct dr_lab *lab, int fd, const struct dr_fid *fid, struct dr_buf *out)
{
	for (int tries = 0; tries < 10; tries++) {
		size_t before = out->len;
		dr_buf_reserve(out, DR_LAB_VALUE_USUAL);
		ssize_t n = fgetxattr(fd, DR_LAB_XATTR, out->data + before, DR_LAB_VALUE_USUAL);
		if (n < 0 && errno == ERANGE) {
			dr_buf_reserve(out, DR_LAB_VALUE_MAX);
			n = fgetxattr(fd, DR_LAB_XATTR, out->data + before, DR_LAB_VALUE_MAX);
		}
		if (n < 0) {
			return errno == ERANGE ? -EBADMSG : -errno;
		}
		uint64_t generation;
		int r = 0;
		if (!dr_lab_value_spilled(out->data + before, (size_t)n, &generation)) {
			out->len += (size_t)n;
		} else {
			r = dr_lab_spill_read(lab, fid, generation, out);
		}
		if (r == 0) {
			r = check_owner(out->data + before, out->len - before, fid);
		}
		if (r == 0) {
			return 0;
		}
		out->len = before;
		if (r != -ENOENT) {
			return r;
		}
		/* A swap may have replaced the one that the value named: look again. */
	}
	return -EBADMSG;
}

int dr_lab_layout_get(struct dr_lab *lab, int fd, struct dr_buf *out)
{
	struct dr_fid fid;
	int r = dr_lab_fid_of(lab, fd, &fid);
	return r < 0 ? r : dr_lab_layout_of(lab, fd, &fid, out);
}

int dr_lab_layout_set(
	struct dr_lab *lab, int fd, const struct dr_fid *fid, const struct dr_layout *layout)
{
	struct dr_layout *own dr_cleanup(dr_layout_freep) = dr_layout_copy(layout);
	for (uint32_t i = 0; i < own->n_comps; i++) {
		own->comps[i].oi = *fid;
	}
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	dr_layout_encode(own, &bytes);
	uint64_t old_generation = 0;
	struct dr_lab_value value;
	if (dr_lab_value_get(fd, &value) == 0) {
		(void)dr_lab_value_spilled(value.bytes, value.len, &old_generation);
	}
	uint64_t generation = dr_lab_generation(bytes.len);
	int r = dr_lab_value_make(lab, fid, bytes.data, bytes.len, generation, &value);
	if (r < 0) {
		return r;
	}
	if (fsetxattr(fd, DR_LAB_XATTR, value.bytes, value.len, 0) < 0) {
		r = -errno;
		dr_lab_spill_remove(lab, fid, generation);
		return r;
	}
	dr_lab_spill_remove(lab, fid, old_generation);
	return 0;
}
