/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "fs/lab_priv.h"
#include "fs/local.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define OBJECT_PATH_SIZE (16 + DR_LAB_NAME_SIZE)
#define BLOCKS_OF(bytes) (((bytes) + DR_LAB_BLOCK - 1) / DR_LAB_BLOCK)

static char *put_hex(char *p, uint64_t v)
{
	int shift = 60;
	while (shift && !(v >> shift)) {
		shift -= 4;
	}
	for (; shift >= 0; shift -= 4) {
		*p++ = "0123456789abcdef"[v >> shift & 0xf];
	}
	return p;
}

char *dr_lab_bucket_path(uint32_t ost, uint32_t bucket, char *buf)
{
	memcpy(buf, "OST", 3);
	for (int i = 0; i < 4; i++) {
		buf[3 + i] = "0123456789abcdef"[ost >> (12 - 4 * i) & 0xf];
	}
	buf[7] = '/';
	buf[8] = 'd';
	buf[9] = (char)('0' + bucket / 10);
	buf[10] = (char)('0' + bucket % 10);
	buf[11] = 0;
	return buf;
}

char *dr_lab_object_name(const struct dr_fid *fid, const struct dr_fid *owner, char *buf)
{
	char *p = put_hex(buf, fid->seq);
	*p++ = '.';
	p = put_hex(p, fid->oid);
	*p++ = ':';
	p = put_hex(p, owner->seq);
	*p++ = '.';
	p = put_hex(p, owner->oid);
	*p++ = '.';
	p = put_hex(p, owner->ver);
	*p = 0;
	return buf;
}

bool dr_lab_get_hex(const char **p, char end, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	const char *s = *p;
	for (int digits = 0;; digits++, s++) {
		unsigned digit;
		if (*s >= '0' && *s <= '9') {
			digit = (unsigned)(*s - '0');
		} else if (*s >= 'a' && *s <= 'f') {
			digit = (unsigned)(*s - 'a' + 10);
		} else if (*s == end && digits > 0) {
			break;
		} else {
			return false;
		}
		if (digits == 16) {
			return false;
		}
		v = v << 4 | digit;
	}
	if (v > max) {
		return false;
	}
	*p = end ? s + 1 : s;
	*ret = v;
	return true;
}

int dr_lab_object_parse(const char *name, struct dr_fid *ret_fid, struct dr_fid *ret_owner)
{
	uint64_t seq, oid, owner_seq, owner_oid, owner_ver;
	if (!dr_lab_get_hex(&name, '.', UINT64_MAX, &seq) ||
		!dr_lab_get_hex(&name, ':', UINT32_MAX, &oid) ||
		!dr_lab_get_hex(&name, '.', UINT64_MAX, &owner_seq) ||
		!dr_lab_get_hex(&name, '.', UINT32_MAX, &owner_oid) ||
		!dr_lab_get_hex(&name, 0, UINT32_MAX, &owner_ver)) {
		return -EINVAL;
	}
	*ret_fid = (struct dr_fid){ .seq = seq, .oid = (uint32_t)oid };
	*ret_owner = (struct dr_fid){
		.seq = owner_seq,
		.oid = (uint32_t)owner_oid,
		.ver = (uint32_t)owner_ver,
	};
	return 0;
}

static void object_path(const struct dr_layout_object *obj, const struct dr_fid *owner, char *buf)
{
	dr_lab_bucket_path(obj->ost, obj->fid.oid % DR_LAB_BUCKETS, buf);
	buf[11] = '/';
	dr_lab_object_name(&obj->fid, owner, buf + 12);
}

struct dr_fid dr_lab_object_number(struct dr_lab *lab, uint32_t ost)
{
	uint64_t number = atomic_fetch_add_explicit(
		&lab->state->ost[ost].next_number, 1, memory_order_relaxed);
	return (struct dr_fid){
		.seq = DR_LAB_OST_SEQ + ((uint64_t)ost << 30) + (number >> 32),
		.oid = (uint32_t)number,
	};
}

int dr_lab_lease_held(int fd)
{
	/* A lease that somebody waits to be given up reads as F_UNLCK already. */
	int type = fcntl(fd, F_GETLEASE);
	return type == F_RDLCK || type == F_WRLCK;
}

static int wait_until(uint64_t deadline_ns, int lease_fd)
{
	for (;;) {
		uint64_t now = dr_now_ns();
		if (now >= deadline_ns) {
			return 0;
		}
		uint64_t left_ms = (deadline_ns - now) / 1000000 + 1;
		if (dr_fs_wait.fn) {
			dr_fs_wait.fn(dr_fs_wait.ctx);
		}
		dr_sleep_ms(left_ms < 50 ? (unsigned)left_ms : 50);
		if (lease_fd >= 0 && !dr_lab_lease_held(lease_fd)) {
			return -ECANCELED;
		}
	}
}

int dr_lab_ost_wait(struct dr_lab *lab, uint32_t index, uint64_t bytes, int lease_fd)
{
	struct dr_lab_ost *ost = &lab->state->ost[index];
	uint32_t state = atomic_load_explicit(&ost->state, memory_order_relaxed);
	if (state == DR_LAB_IS_DOWN) {
		return -EIO;
	}
	if (state != DR_LAB_SLOW) {
		return 0;
	}
	uint64_t now = dr_now_ns();
	uint64_t until = now + (uint64_t)atomic_load(&ost->latency_ms) * 1000000;
	uint64_t bandwidth = atomic_load(&ost->bandwidth);
	if (bandwidth && bytes) {
		/* One queue for all processes: each takes its turn behind the one before. */
		uint64_t cost = (uint64_t)((double)bytes * 1e9 / (double)bandwidth);
		uint64_t busy = atomic_load(&ost->busy_until_ns), turn;
		do {
			turn = (busy > now ? busy : now) + cost;
		} while (!atomic_compare_exchange_weak(&ost->busy_until_ns, &busy, turn));
		until = turn > until ? turn : until;
	}
	return wait_until(until, lease_fd);
}

int dr_lab_charge(struct dr_lab *lab, uint32_t index, int64_t bytes)
{
	struct dr_lab_ost *ost = &lab->state->ost[index];
	if (bytes > 0 && atomic_load_explicit(&ost->state, memory_order_relaxed) == DR_LAB_FULL) {
		return -ENOSPC;
	}
	int64_t used = atomic_fetch_add(&ost->used_bytes, bytes) + bytes;
	uint64_t size = atomic_load_explicit(&ost->size_bytes, memory_order_relaxed);
	if (bytes > 0 && size && used > (int64_t)size) {
		atomic_fetch_sub(&ost->used_bytes, bytes);
		return -ENOSPC;
	}
	return 0;
}

int dr_lab_object_charge(int fd, uint64_t *ret_bytes)
{
	struct stat st;
	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	uint64_t size = (uint64_t)st.st_size, blocks = 0, off = 0;
	if (size == 0 || (uint64_t)st.st_blocks * 512 == BLOCKS_OF(size) * DR_LAB_BLOCK) {
		/* Without holes: as many blocks as bytes. */
		*ret_bytes = BLOCKS_OF(size) * DR_LAB_BLOCK;
		return 0;
	}
	uint64_t counted = 0; /* blocks below this one are */
	while (off < size) {
		uint64_t start, end;
		int r = dr_local_next_data(fd, off, size, &start, &end);
		if (r == -ENXIO) {
			break;
		}
		if (r < 0) {
			return r;
		}
		uint64_t first = start / DR_LAB_BLOCK, last = BLOCKS_OF(end);
		first = first < counted ? counted : first;
		blocks += last > first ? last - first : 0;
		counted = last > counted ? last : counted;
		off = end;
	}
	*ret_bytes = blocks * DR_LAB_BLOCK;
	return 0;
}

int dr_lab_object_open(struct dr_lab *lab, const struct dr_layout_object *obj,
	const struct dr_fid *owner, int flags)
{
	if (obj->ost >= lab->n_osts) {
		return -EINVAL;
	}
	char path[OBJECT_PATH_SIZE];
	object_path(obj, owner, path);
	int fd = openat(lab->dir_fd, path, flags | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int dr_lab_object_create_named(
	struct dr_lab *lab, const struct dr_layout_object *obj, const struct dr_fid *owner)
{
	struct dr_lab_ost *ost = &lab->state->ost[obj->ost];
	switch (atomic_load_explicit(&ost->state, memory_order_relaxed)) {
	case DR_LAB_IS_DOWN:
		return -ENODEV;
	case DR_LAB_CLOSED:
		return -ENOBUFS;
	case DR_LAB_FULL:
		return -ENOSPC;
	default:
		break;
	}
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	char path[OBJECT_PATH_SIZE];
	object_path(obj, owner, path);
	int fd = openat(lab->dir_fd, path, flags, 0600);
	if (fd < 0 && errno == ENOENT) {
		/* The first object in this folder: a lab is made without them. */
		char bucket[16];
		dr_lab_bucket_path(obj->ost, obj->fid.oid % DR_LAB_BUCKETS, bucket);
		if (mkdirat(lab->dir_fd, bucket, 0755) < 0 && errno != EEXIST) {
			return -errno;
		}
		fd = openat(lab->dir_fd, path, flags, 0600);
	}
	if (fd < 0) {
		return -errno;
	}
	atomic_fetch_add(&ost->objects, 1);
	return fd;
}

int dr_lab_object_create(
	struct dr_lab *lab, struct dr_layout_object *obj, const struct dr_fid *owner)
{
	if (obj->ost >= lab->n_osts) {
		return -EINVAL;
	}
	struct dr_layout_object named = *obj;
	named.fid = dr_lab_object_number(lab, obj->ost);
	int fd = dr_lab_object_create_named(lab, &named, owner);
	if (fd >= 0) {
		*obj = named;
	}
	return fd;
}

/* The charge of an object that nobody writes to, by its path. */
static int charge_of(struct dr_lab *lab, const char *path, uint64_t *ret_charge)
{
	struct stat st;
	if (fstatat(lab->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return -errno;
	}
	uint64_t dense = BLOCKS_OF((uint64_t)st.st_size) * DR_LAB_BLOCK;
	if (st.st_size == 0 || (uint64_t)st.st_blocks * 512 == dense) {
		*ret_charge = dense;
		return 0;
	}
	int fd dr_cleanup(dr_fd_closep) =
		openat(lab->dir_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : dr_lab_object_charge(fd, ret_charge);
}

int dr_lab_object_remove(struct dr_lab *lab, const struct dr_layout_object *obj,
	const struct dr_fid *owner, uint64_t charge)
{
	if (obj->ost >= lab->n_osts) {
		return -EINVAL;
	}
	char path[OBJECT_PATH_SIZE];
	object_path(obj, owner, path);
	if (charge == DR_LAB_CHARGE_UNKNOWN) {
		int r = charge_of(lab, path, &charge);
		if (r < 0) {
			return r == -ENOENT ? 0 : r;
		}
	}
	/* Only who unlinks it gives the charge back: two may try. */
	if (unlinkat(lab->dir_fd, path, 0) < 0) {
		return errno == ENOENT ? 0 : -errno;
	}
	dr_lab_fault(lab, "unlinked");
	struct dr_lab_ost *ost = &lab->state->ost[obj->ost];
	atomic_fetch_sub(&ost->objects, 1);
	atomic_fetch_sub(&ost->used_bytes, (int64_t)charge);
	return 0;
}

int dr_lab_object_destroy(
	struct dr_lab *lab, const struct dr_layout_object *obj, const struct dr_fid *owner)
{
	return dr_lab_object_remove(lab, obj, owner, DR_LAB_CHARGE_UNKNOWN);
}

static int each_in_bucket(
	struct dr_lab *lab, uint32_t ost, uint32_t bucket, dr_lab_object_fn *fn, void *ctx)
{
	char path[16];
	struct dr_local_dir dir dr_cleanup(dr_local_dir_fini) = {
		.fd = openat(lab->dir_fd, dr_lab_bucket_path(ost, bucket, path),
			O_RDONLY | O_DIRECTORY | O_CLOEXEC),
	};
	if (dir.fd < 0) {
		return errno == ENOENT ? 0 : -errno; /* it never had an object */
	}
	for (;;) {
		struct dr_entry entry;
		int r = dr_local_dir_next(&dir, &entry);
		if (r <= 0) {
			return r;
		}
		struct dr_layout_object obj = { .ost = ost };
		struct dr_fid owner;
		if (dr_lab_object_parse(entry.name, &obj.fid, &owner) < 0) {
			continue; /* not an object of ours */
		}
		r = fn(ctx, dir.fd, entry.name, &obj, &owner);
		if (r != 0) {
			return r;
		}
	}
}

int dr_lab_each_object(struct dr_lab *lab, uint32_t ost, dr_lab_object_fn *fn, void *ctx)
{
	for (uint32_t bucket = 0; bucket < DR_LAB_BUCKETS; bucket++) {
		int r = each_in_bucket(lab, ost, bucket, fn, ctx);
		if (r != 0) {
			return r;
		}
	}
	return 0;
}

struct count {
	uint64_t used, objects, highest;
};

static int count_object(void *ctx, int dirfd, const char *name, const struct dr_layout_object *obj,
	const struct dr_fid *owner)
{
	(void)owner;
	struct count *count = ctx;
	int fd dr_cleanup(dr_fd_closep) = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		return errno == ENOENT ? 0 : -errno;
	}
	uint64_t bytes = 0;
	int r = dr_lab_object_charge(fd, &bytes);
	if (r < 0) {
		return r;
	}
	uint64_t base = DR_LAB_OST_SEQ + ((uint64_t)obj->ost << 30);
	uint64_t number = (obj->fid.seq - base) << 32 | obj->fid.oid;
	count->used += bytes;
	count->objects++;
	count->highest = number > count->highest ? number : count->highest;
	return 0;
}

int dr_lab_recount(struct dr_lab *lab)
{
	for (uint32_t i = 0; i < lab->n_osts; i++) {
		struct count count = { 0 };
		int r = dr_lab_each_object(lab, i, count_object, &count);
		if (r < 0) {
			return r;
		}
		struct dr_lab_ost *ost = &lab->state->ost[i];
		atomic_store(&ost->used_bytes, (int64_t)count.used);
		atomic_store(&ost->objects, (int64_t)count.objects);
		/* After a crash of the machine the counter may be older than the objects. */
		if (atomic_load(&ost->next_number) <= count.highest) {
			atomic_store(&ost->next_number, count.highest + 1);
		}
	}
	atomic_store(&lab->state->recount, 0);
	return 0;
}
