/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_priv.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define MAKE_TRIES 4 /* of a name that somebody else may have made meanwhile */

/* One entry that is looked at or made. */
struct entry {
	struct dr_cloner *cloner;
	int from_fd, to_fd;
	const char *name;
	uint64_t ino, delivery;
	bool again;
	enum dr_step step;
	struct dr_meta want, have;
	bool is_there; /* the target's entry, in `have` */
	enum dr_clone_verdict verdict;
	unsigned parts; /* that differ, when it is DR_CLONE_META */
	uint64_t bytes;
};

static void entry_fini(struct entry *entry)
{
	dr_meta_fini(&entry->want);
	dr_meta_fini(&entry->have);
}

static uint32_t resolution(const struct dr_cloner *cloner)
{
	return cloner->from->time_ns > cloner->to->time_ns ? cloner->from->time_ns
							   : cloner->to->time_ns;
}

static void set_projects(struct entry *entry)
{
	entry->want.no_projects = entry->have.no_projects = entry->cloner->no_projects;
}

static struct dr_clone_stamp stamp_of(const struct dr_meta *meta)
{
	return (struct dr_clone_stamp){
		.ino = meta->ino, .size = meta->size, .mtime = meta->mtime, .ctime = meta->ctime
	};
}

/* ---- comparing ---- */

/* @return 1 the contents agree; 0 not */
static int same_content(const struct entry *entry)
{
	int from dr_cleanup(dr_fd_closep) = dr_clone_open(entry->from_fd, entry->name);

	if (from < 0) {
		return from;
	}
	int to dr_cleanup(dr_fd_closep) = openat(entry->to_fd, entry->name,
		O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_CLOEXEC);
	struct dr_clone_stamp stamp = stamp_of(&entry->want);
	struct stat st;
	int r = dr_clone_stub(entry->cloner, from);

	if (r != 0 || to < 0) {
		return r == 1; /* a stub's data is nowhere to be compared */
	}
	(void)dr_clone_let_tick(entry->cloner, &stamp.ctime);
	r = dr_clone_same_data(entry->cloner, from, to, stamp.size);
	if (r == 1 && (fstat(from, &st) < 0 || !dr_clone_stamp_is(&stamp, &st))) {
		r = 0;
	}
	return r;
}

/* @return 1 the symlinks lead to the same; 0 not */
static int same_link(const struct entry *entry)
{
	char a[PATH_MAX], b[PATH_MAX];
	ssize_t n = readlinkat(entry->from_fd, entry->name, a, sizeof(a));

	if (n < 0) {
		return -errno;
	}
	return readlinkat(entry->to_fd, entry->name, b, sizeof(b)) == n &&
	       memcmp(a, b, (size_t)n) == 0;
}

/* @return 1 type and data agree; 0 not */
static int same_data(const struct entry *entry, unsigned parts)
{
	const struct dr_meta *want = &entry->want, *have = &entry->have;

	if ((want->mode & S_IFMT) != (have->mode & S_IFMT)) {
		return 0;
	}
	switch (want->mode & S_IFMT) {
	case S_IFREG:
		if (want->size != have->size) {
			return 0;
		}
		return entry->cloner->checksum ? same_content(entry) : !(parts & DR_META_TIMES);
	case S_IFLNK:
		return want->size == have->size ? same_link(entry) : 0;
	case S_IFCHR:
	case S_IFBLK:
		return want->rdev == have->rdev;
	default:
		return 1;
	}
}

static int judge(struct entry *entry)
{
	const struct dr_meta *want = &entry->want, *have = &entry->have;
	unsigned parts = dr_meta_compare(want, have, resolution(entry->cloner));

	entry->step = DR_STEP_COPY;
	entry->verdict = DR_CLONE_DATA;
	entry->parts = parts;
	if (!S_ISDIR(want->mode) && want->nlink == 1 && have->nlink > 1) {
		return 0;
	}
	/* More names than it should have: correcting it in place might correct another file of the source, wrongly. */
	if (parts && !S_ISDIR(want->mode) && have->nlink > 1 && have->nlink > want->nlink) {
		return 0;
	}
	int r = same_data(entry, parts);

	if (r > 0) {
		entry->verdict = parts ? DR_CLONE_META : DR_CLONE_SAME;
	}
	return r < 0 ? r : 0;
}

/* Reads the target's entry. In a dry run its directory may be missing: nothing was made. */
static int look_at_target(struct entry *entry)
{
	entry->step = DR_STEP_TARGET;
	int r = entry->cloner->dry_run && entry->to_fd < 0
			? -ENOENT
			: dr_meta_read(entry->to_fd, entry->name, -1, &entry->have);

	entry->is_there = r == 0;
	return r == -ENOENT ? 0 : r;
}

static int look_at_source(struct entry *entry)
{
	entry->step = DR_STEP_OPEN;
	return dr_meta_read(entry->from_fd, entry->name, -1, &entry->want);
}

int dr_clone_compare(const struct dr_cloner *cloner, int from_fd, int to_fd, const char *name,
	struct dr_meta *ret_meta, enum dr_clone_verdict *ret_verdict)
{
	struct dr_cloner own = *cloner;
	struct entry entry dr_cleanup(
		entry_fini) = { .cloner = &own, .from_fd = from_fd, .to_fd = to_fd, .name = name };
	set_projects(&entry);
	int r = look_at_source(&entry);

	if (r == 0) {
		r = look_at_target(&entry);
	}
	entry.verdict = DR_CLONE_DATA;
	if (r == 0 && entry.is_there) {
		r = judge(&entry);
	}
	if (r < 0) {
		return r;
	}
	dr_meta_fini(ret_meta);
	*ret_meta = entry.want;
	entry.want = (struct dr_meta){ 0 };
	*ret_verdict = entry.verdict;
	return 0;
}

/* ---- making ---- */

/* Whether the source's name still is what it was. */
static int check_name(struct entry *entry, const struct dr_clone_stamp *stamp)
{
	struct stat st;

	if (fstatat(entry->from_fd, entry->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		entry->step = DR_STEP_OPEN;
		return -errno;
	}
	if (!dr_clone_stamp_is(stamp, &st)) {
		entry->step = DR_STEP_VERSION;
		return -ESTALE;
	}
	return 0;
}

/*
 * A new file needs no temporary name. One that may be there already does, also what an earlier holder of the job may still be making: the successor's is to stand.
 */
static bool may_be_nameless(const struct entry *entry)
{
	const struct dr_cloner *cloner = entry->cloner;

	return !entry->is_there && entry->delivery == 1 && !entry->again && !cloner->no_nameless &&
	       cloner->to->kind != DR_FS_LUSTRE && dr_clone_is_bare(cloner, entry->to_fd);
}

/* Some file systems tell of a failed write no sooner. */
static int close_written(int fd)
{
	return fd < 0 || (close(fd) < 0 && errno != EINTR) ? -errno : 0;
}

/* All of a regular file but its name. */
static int fill(
	struct entry *entry, int from, struct dr_clone_temp *temp, bool is_stub, bool is_nameless)
{
	struct dr_cloner *cloner = entry->cloner;
	struct dr_clone_stamp stamp = stamp_of(&entry->want);
	struct stat after;

	entry->step = DR_STEP_CREATE;
	int to = is_nameless ? dr_clone_create_nameless(cloner, temp, entry->want.mode)
			     : dr_clone_create(cloner, temp, from, stamp.size, false);

	if (to < 0) {
		return to;
	}
	int r = dr_clone_temp_made(temp, to);
	bool is_sparse = dr_clone_is_sparse(stamp.size, entry->want.blocks);

	if (r == 0 && !is_stub) {
		r = dr_clone_copy_data(cloner, from, to, 0, stamp.size, is_sparse, &entry->step);
		entry->bytes = stamp.size;
	}
	if (r == 0 && (is_sparse || is_stub)) {
		entry->step = DR_STEP_WRITE;
		r = ftruncate(to, (off_t)stamp.size) < 0 ? -errno : 0;
	}
	if (r == 0) {
		entry->step = DR_STEP_ATTRS;
		r = dr_clone_dress(cloner, temp, to, &entry->want);
	}
	if (r == 0 && fstat(from, &after) < 0) {
		entry->step = DR_STEP_COPY;
		r = -errno;
	}
	if (r == 0 && !dr_clone_stamp_is(&stamp, &after)) {
		entry->step = DR_STEP_VERSION;
		r = -ESTALE;
	}
	temp->fd = is_nameless ? to : -EBADF;
	int closed = close_written(is_nameless ? fcntl(to, F_DUPFD_CLOEXEC, 0) : to);

	if (r == 0 && closed < 0) {
		entry->step = DR_STEP_WRITE;
		r = closed;
	}
	return r;
}

/* Writes the file and gives it its name. */
static int write_file(struct entry *entry, int from, bool is_stub, bool is_nameless)
{
	struct dr_clone_temp temp;

	dr_clone_temp_init(&temp, entry->cloner, entry->to_fd, entry->want.ino, entry->delivery);
	int r = fill(entry, from, &temp, is_stub, is_nameless);

	if (r == 0) {
		entry->step = DR_STEP_SWAP;
		r = is_nameless ? dr_clone_place_nameless(entry->cloner, &temp, entry->name)
				: dr_clone_place(&temp, entry->name);
	}
	if (r < 0 || is_nameless) {
		dr_clone_temp_drop(&temp);
	}
	return r;
}

/* Reads what is at the open source. @return 1 its data is to be left out */
static int take(struct entry *entry, int from)
{
	const struct dr_meta *want = &entry->want;
	int stub = dr_clone_stub(entry->cloner, from);

	entry->step = DR_STEP_LAYOUT;
	if (stub < 0) {
		return stub;
	}
	entry->step = DR_STEP_OPEN;
	int r = dr_meta_read(entry->from_fd, entry->name, from, &entry->want);

	if (r == 0 && !entry->cloner->dry_run && dr_clone_let_tick(entry->cloner, &want->ctime)) {
		r = dr_meta_read(entry->from_fd, entry->name, from, &entry->want);
	}
	if (r < 0) {
		return r;
	}
	if (!S_ISREG(want->mode)) {
		entry->step = DR_STEP_VERSION;
		return -ESTALE;
	}
	return entry->ino && want->ino != entry->ino ? -ENOENT : stub;
}

static int make_file(struct entry *entry)
{
	int from dr_cleanup(dr_fd_closep) = dr_clone_open(entry->from_fd, entry->name);

	if (from < 0) {
		entry->step = from == -ESTALE ? DR_STEP_VERSION : DR_STEP_OPEN;
		return from;
	}
	int stub = take(entry, from);

	if (stub < 0) {
		return stub;
	}
	if (entry->cloner->dry_run) {
		entry->bytes = stub ? 0 : entry->want.size;
		return 0;
	}
	bool is_nameless = may_be_nameless(entry);
	int r = write_file(entry, from, stub, is_nameless);

	if (r < 0 && is_nameless && entry->cloner->no_nameless) {
		r = write_file(entry, from, stub, false);
	}
	if (r < 0) {
		return r;
	}
	entry->step = DR_STEP_ATTRS;
	return dr_clone_placed(entry->cloner, entry->to_fd, entry->name, &entry->want);
}

/* A symlink, fifo, socket or device under the temporary name. */
static int make_node(const struct entry *entry, const struct dr_clone_temp *temp)
{
	char target[PATH_MAX + 1];
	bool is_link = S_ISLNK(entry->want.mode);

	if (is_link) {
		ssize_t n = readlinkat(entry->from_fd, entry->name, target, sizeof(target));

		if (n < 0 || n >= (ssize_t)sizeof(target)) {
			return n < 0 ? -errno : -ENAMETOOLONG;
		}
		target[n] = 0;
	}
	for (int tries = 0; tries < MAKE_TRIES; tries++) {
		int r = is_link ? symlinkat(target, temp->dir_fd, temp->name)
				: mknodat(temp->dir_fd, temp->name,
					  (entry->want.mode & S_IFMT) | 0600,
					  (dev_t)entry->want.rdev);
		if (r == 0) {
			return 0;
		}
		if (errno != EEXIST) {
			return -errno;
		}
		(void)unlinkat(temp->dir_fd, temp->name, 0);
	}
	return -EEXIST;
}

static int make_other(struct entry *entry)
{
	struct dr_clone_temp temp;
	int r = entry->cloner->dry_run ? 0 : look_at_source(entry);

	if (r < 0 || entry->cloner->dry_run) {
		return r;
	}
	struct dr_clone_stamp stamp = stamp_of(&entry->want);

	dr_clone_temp_init(&temp, entry->cloner, entry->to_fd, stamp.ino, entry->delivery);
	entry->step = DR_STEP_CREATE;
	r = make_node(entry, &temp);
	if (r == 0) {
		r = dr_clone_temp_made(&temp, -1);
	}
	if (r == 0) {
		entry->step = DR_STEP_ATTRS;
		r = dr_clone_dress(entry->cloner, &temp, -1, &entry->want);
	}
	if (r == 0) {
		r = check_name(entry, &stamp);
	}
	if (r == 0) {
		entry->step = DR_STEP_SWAP;
		r = dr_clone_place(&temp, entry->name);
	}
	if (r < 0) {
		dr_clone_temp_drop(&temp);
	}
	return r;
}

static int make(struct entry *entry)
{
	struct stat st;

	/* A device or a fifo is not to be opened: what it is comes first. */
	entry->step = DR_STEP_OPEN;
	entry->bytes = 0;
	if (fstatat(entry->from_fd, entry->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return -errno;
	}
	if (S_ISDIR(st.st_mode) || (entry->ino && st.st_ino != entry->ino)) {
		return -ENOENT; /* another one */
	}
	if (!entry->ino && !entry->cloner->dry_run) {
		dr_clone_sweep(entry->cloner, entry->to_fd, st.st_ino, entry->delivery);
	}
	/* Found at the rename too, but the copying would be in vain, and a dry run has no rename. */
	if (entry->is_there && S_ISDIR(entry->have.mode)) {
		int r = dr_clone_is_full_dir(entry->to_fd, entry->name);

		if (r != 0) {
			entry->step = DR_STEP_SWAP;
			return r < 0 ? r : -EISDIR;
		}
	}
	return S_ISREG(st.st_mode) ? make_file(entry) : make_other(entry);
}

static int correct(struct entry *entry)
{
	enum dr_meta_part part = 0;

	entry->step = DR_STEP_ATTRS;
	if (entry->cloner->dry_run) {
		return 0;
	}
	int r = dr_meta_apply(
		entry->to_fd, entry->name, -1, &entry->want, &entry->have, entry->parts, &part);

	return dr_clone_attrs_error(entry->to_fd, r, part);
}

static int look(struct entry *entry)
{
	int r = look_at_target(entry);

	entry->verdict = DR_CLONE_DATA;
	if (r < 0 || !entry->is_there) {
		return r;
	}
	r = look_at_source(entry);
	if (r == 0 && entry->ino && entry->want.ino != entry->ino) {
		r = -ENOENT;
	}
	return r < 0 ? r : judge(entry);
}

void dr_clone_entry(struct dr_cloner *cloner, int from_fd, int to_fd, const char *name,
	uint64_t ino, uint64_t delivery, bool again, struct dr_outcome *ret_outcome)
{
	struct entry entry dr_cleanup(entry_fini) = { .cloner = cloner,
		.from_fd = from_fd,
		.to_fd = to_fd,
		.name = name,
		.ino = ino,
		.delivery = delivery,
		.again = again };

	*ret_outcome = (struct dr_outcome){ 0 };
	if (!cloner->dry_run && ino) {
		dr_clone_sweep(cloner, to_fd, ino, delivery);
	}
	set_projects(&entry);
	int r = look(&entry);

	if (r == 0 && again && !cloner->dry_run) {
		entry.verdict = DR_CLONE_DATA;
	}
	if (r == 0 && entry.verdict == DR_CLONE_SAME) {
		dr_clone_conclude(ret_outcome, DR_UNNEEDED, DR_STEP_DONE, 0);
		return;
	}
	if (r == 0 && entry.verdict == DR_CLONE_META) {
		r = correct(&entry);
	} else if (r == 0) {
		r = make(&entry);
		if (r == -ESTALE && entry.step == DR_STEP_VERSION) {
			r = make(&entry);
		}
	}
	if (r < 0) {
		dr_clone_conclude_error(ret_outcome, entry.step, r);
		return;
	}
	ret_outcome->bytes = entry.bytes;
	dr_clone_conclude(ret_outcome, DR_SUCCEEDED, DR_STEP_DONE, 0);
}
