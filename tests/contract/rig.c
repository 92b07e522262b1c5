/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rig.h"

#include "base/fdio.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

void rig_init(struct rig *rig, int driver)
{
	*rig = (struct rig){ .driver = driver };
	(void)snprintf(rig->dir, sizeof(rig->dir), "/tmp/drover-contract-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(rig->dir));
	char ns[96];
	(void)snprintf(ns, sizeof(ns), "%s/ns", rig->dir);
	if (driver == RIG_LAB) {
		ck_assert_int_eq(dr_lab_create(rig->dir, RIG_OSTS, 1, 0), 0);
		ck_assert_int_eq(dr_lab_open(rig->dir, &rig->lab), 0);
	} else {
		ck_assert_int_eq(mkdir(ns, 0755), 0);
	}
	ck_assert_int_eq(dr_fs_open(ns, &rig->fs, &rig->prefix), 0);
	rig->ops = rig->fs->ops;
	ck_assert_int_eq(rig->ops->kind, driver == RIG_LAB ? DR_FS_LAB : DR_FS_POSIX);
	rig->ns = open(ns, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(rig->ns, 0);
}

void rig_fini(struct rig *rig)
{
	dr_fd_closep(&rig->ns);
	free(rig->prefix);
	dr_fs_close(rig->fs);
	dr_lab_close(rig->lab);
	ck_assert_int_eq(dr_remove_tree(AT_FDCWD, rig->dir), 0);
}

int rig_dir_open(struct rig *rig, const char *path, struct dr_dir **ret_dir)
{
	struct dr_buf whole dr_cleanup(dr_buf_fini) = { 0 };
	dr_buf_put(&whole, rig->prefix, strlen(rig->prefix));
	if (whole.len && *path) {
		dr_buf_put_u8(&whole, '/');
	}
	dr_buf_put(&whole, path, strlen(path));
	return rig->ops->dir_open(rig->fs, whole.data, whole.len, ret_dir);
}

struct dr_dir *rig_dir(struct rig *rig, const char *path)
{
	struct dr_dir *dir;
	ck_assert_int_eq(rig_dir_open(rig, path, &dir), 0);
	return dir;
}

struct dr_file *rig_file(struct rig *rig, const char *name)
{
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = rig_dir(rig, "");
	struct dr_file *file;
	ck_assert_int_eq(rig->ops->file_open(dir, name, NULL, DR_OPEN_MOVE, &file), 0);
	return file;
}

void rig_touch(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(close(fd), 0);
}

/* ---- layouts and files ---- */

static void comp_set(struct dr_layout *layout, uint32_t c, uint64_t start, uint64_t end,
	uint32_t pattern, uint16_t stripes)
{
	struct dr_layout_comp *comp = &layout->comps[c];
	comp->start = start;
	comp->end = end;
	comp->magic = DR_LOV_MAGIC_V1;
	comp->pattern = pattern;
	comp->stripe_size = DR_STRIPE_ALIGN;
	comp->stripe_count = stripes;
}

static struct dr_layout *template_of(enum rig_kind kind)
{
	static const uint32_t comps[RIG_KINDS] = { 1, 1, 3, 3, 2, 2, 1, 1 };
	bool plain = comps[kind] == 1;
	struct dr_layout *layout =
		dr_layout_new(plain ? DR_LAYOUT_PLAIN : DR_LAYOUT_COMPOSITE, comps[kind]);
	const uint64_t first = 2 * DR_STRIPE_ALIGN, second = 8 * DR_STRIPE_ALIGN;
	switch (kind) {
	case RIG_PLAIN:
		comp_set(layout, 0, 0, DR_EOF, DR_PATTERN_RAID0, 1);
		break;
	case RIG_STRIPED:
		comp_set(layout, 0, 0, DR_EOF, DR_PATTERN_RAID0, 3);
		break;
	case RIG_PFL:
		comp_set(layout, 0, 0, first, DR_PATTERN_RAID0, 1);
		comp_set(layout, 1, first, second, DR_PATTERN_RAID0, 2);
		comp_set(layout, 2, second, DR_EOF, DR_PATTERN_RAID0, 4);
		break;
	case RIG_DOM:
		comp_set(layout, 0, 0, first, DR_PATTERN_MDT, 0);
		comp_set(layout, 1, first, second, DR_PATTERN_RAID0, 2);
		comp_set(layout, 2, second, DR_EOF, DR_PATTERN_RAID0, 1);
		break;
	case RIG_DOM_ONLY:
		comp_set(layout, 0, 0, 256 * DR_STRIPE_ALIGN, DR_PATTERN_MDT, 0);
		comp_set(layout, 1, 256 * DR_STRIPE_ALIGN, DR_EOF, DR_PATTERN_RAID0, 1);
		break;
	case RIG_MIRROR:
		layout->mirror_count = 1;
		layout->flags = DR_LCM_RDONLY;
		comp_set(layout, 0, 0, DR_EOF, DR_PATTERN_RAID0, 1);
		comp_set(layout, 1, 0, DR_EOF, DR_PATTERN_RAID0, 2);
		break;
	case RIG_OVERSTRIPED:
		comp_set(layout, 0, 0, DR_EOF, DR_PATTERN_RAID0 | DR_PATTERN_OVERSTRIPING, 6);
		break;
	case RIG_LARGE:
	default:
		comp_set(layout, 0, 0, DR_EOF, DR_PATTERN_RAID0 | DR_PATTERN_OVERSTRIPING, 200);
		break;
	}
	return layout;
}

static void place_first_half(
	void *ctx, struct dr_layout_object *objects, uint32_t n, bool overstripe)
{
	(void)overstripe;
	uint32_t *next = ctx;
	for (uint32_t i = 0; i < n; i++) {
		objects[i].ost = (*next)++ % (RIG_OSTS / 2);
	}
}

uint8_t rig_byte(uint64_t off)
{
	return (uint8_t)(1 + (off * 2654435761u >> 7) % 255);
}

/* A plain file with that content, without a name. */
static int content(struct rig *rig, uint64_t size, uint64_t hole, uint64_t hole_end)
{
	int fd = openat(rig->ns, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	uint8_t *bytes dr_cleanup(dr_freep) = dr_xcalloc(1, size);
	for (uint64_t i = 0; i < size; i++) {
		bytes[i] = rig_byte(i);
	}
	uint64_t before = hole < size ? hole : size;
	ck_assert_int_eq(dr_pwrite_full(fd, bytes, before, 0), 0);
	if (hole_end < size && hole_end > hole) {
		ck_assert_int_eq(
			dr_pwrite_full(fd, bytes + hole_end, size - hole_end, (off_t)hole_end), 0);
	}
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

void rig_make(struct rig *rig, const char *name, enum rig_kind kind, uint64_t size, uint64_t hole,
	uint64_t hole_end)
{
	int src dr_cleanup(dr_fd_closep) = content(rig, size, hole, hole_end);
	int fd dr_cleanup(dr_fd_closep) = -EBADF;
	if (rig->driver == RIG_LAB) {
		struct dr_layout *layout dr_cleanup(dr_layout_freep) = template_of(kind);
		uint32_t next = 0;
		ck_assert_int_eq(dr_lab_file_make(rig->lab, rig->ns, name, 0640, layout,
					 place_first_half, &next, src, &fd),
			0);
		return;
	}
	char link[64];
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", src);
	ck_assert_int_eq(linkat(AT_FDCWD, link, rig->ns, name, AT_SYMLINK_FOLLOW), 0);
}

void rig_check_content(
	struct rig *rig, const char *name, uint64_t size, uint64_t hole, uint64_t hole_end)
{
	struct dr_file *file dr_cleanup(dr_file_closep) = rig_file(rig, name);
	struct dr_stat st;
	ck_assert_int_eq(rig->ops->file_stat(file, &st), 0);
	ck_assert_uint_eq(st.size, size);
	uint8_t *bytes dr_cleanup(dr_freep) = dr_xcalloc(1, size + 100);
	uint64_t off = 0;
	for (;;) {
		ssize_t n = rig->ops->read(file, bytes + off, size + 100 - off, off);
		ck_assert_int_ge(n, 0);
		if (n == 0) {
			break;
		}
		off += (uint64_t)n;
	}
	ck_assert_uint_eq(off, size);
	for (uint64_t i = 0; i < size; i++) {
		uint8_t expected = i >= hole && i < hole_end ? 0 : rig_byte(i);
		if (bytes[i] != expected) {
			ck_abort_msg("%s: byte %llu is %u, not %u", name, (unsigned long long)i,
				bytes[i], expected);
		}
	}
}

/* ---- looking at the lab ---- */

struct dr_layout *rig_other_half(const struct dr_buf *bytes)
{
	struct dr_layout *layout;
	ck_assert_int_eq(dr_layout_decode(bytes->data, bytes->len, &layout), 0);
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		for (uint32_t i = 0; i < layout->comps[c].n_objects; i++) {
			uint32_t *ost = &layout->comps[c].objects[i].ost;
			*ost = (*ost + RIG_OSTS / 2) % RIG_OSTS;
		}
	}
	return layout;
}

void rig_check_osts(struct rig *rig, const char *name, uint32_t from, uint32_t to)
{
	struct dr_file *file dr_cleanup(dr_file_closep) = rig_file(rig, name);
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	ck_assert_int_eq(rig->ops->file_layout(file, &bytes), 0);
	ck_assert_int_eq(dr_layout_decode(bytes.data, bytes.len, &layout), 0);
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		for (uint32_t i = 0; i < layout->comps[c].n_objects; i++) {
			ck_assert_uint_ge(layout->comps[c].objects[i].ost, from);
			ck_assert_uint_lt(layout->comps[c].objects[i].ost, to);
		}
	}
}

static int count_one(void *ctx, int dirfd, const char *name, const struct dr_layout_object *obj,
	const struct dr_fid *owner)
{
	(void)dirfd;
	(void)name;
	(void)obj;
	(void)owner;
	++*(uint64_t *)ctx;
	return 0;
}

uint64_t rig_count_objects(struct rig *rig)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < RIG_OSTS; i++) {
		ck_assert_int_eq(dr_lab_each_object(rig->lab, i, count_one, &n), 0);
	}
	return n;
}

static int count_entry(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	(void)dir;
	if (entry->layout) {
		struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
		ck_assert_int_eq(dr_layout_decode(entry->layout, entry->layout_len, &layout), 0);
		for (uint32_t c = 0; c < layout->n_comps; c++) {
			*(uint64_t *)ctx += layout->comps[c].n_objects;
		}
	}
	return 0;
}

void rig_check_books(struct rig *rig)
{
	uint64_t named = 0;
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = rig_dir(rig, "");
	ck_assert_int_eq(rig->ops->dir_read(dir, 0, count_entry, &named), 0);
	ck_assert_uint_eq(rig_count_objects(rig), named);
	rig_check_usage(rig);
}

void rig_check_usage(struct rig *rig)
{
	struct dr_ost before[RIG_OSTS], after[RIG_OSTS];
	dr_lab_osts(rig->lab, before);
	ck_assert_int_eq(dr_lab_recount(rig->lab), 0);
	dr_lab_osts(rig->lab, after);
	for (int i = 0; i < RIG_OSTS; i++) {
		ck_assert_uint_eq(before[i].used_bytes, after[i].used_bytes);
		ck_assert_uint_eq(before[i].objects, after[i].objects);
	}
}

void rig_check_layouts(struct rig *rig, int n)
{
	int fd = openat(rig->lab->layouts_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(fd);
	ck_assert_ptr_nonnull(dir);
	int found = 0;
	const struct dirent *entry;
	/* One thread: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while ((entry = readdir(dir))) {
		found += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
	}
	(void)closedir(dir);
	ck_assert_int_eq(found, n);
}

void rig_ost(struct rig *rig, uint32_t ost, enum dr_lab_ost_state state)
{
	atomic_store(&rig->lab->state->ost[ost].state, state);
}

/* ---- moving ---- */

int rig_copy(struct rig *rig, struct dr_file *file, struct dr_vol *vol)
{
	static uint8_t buf[100000]; /* no multiple of anything */
	struct dr_stat st;
	uint64_t off = 0, start, end;
	int r = rig->ops->file_stat(file, &st);
	while (r == 0 && off < st.size) {
		r = rig->ops->next_data(file, off, &start, &end);
		if (r == -ENXIO) {
			r = 0;
			break;
		}
		for (off = start; r == 0 && off < end;) {
			size_t want = end - off < sizeof(buf) ? (size_t)(end - off) : sizeof(buf);
			ssize_t n = rig->ops->read(file, buf, want, off);
			uint32_t ost;
			r = n <= 0 ? (n < 0 ? (int)n : -EIO)
				   : rig->ops->vol_write(vol, buf, (size_t)n, off, &ost);
			off += n > 0 ? (uint64_t)n : 0;
		}
	}
	return r < 0 ? r : rig->ops->vol_truncate(vol, st.size);
}

int rig_move(struct rig *rig, const char *name)
{
	struct dr_file *file dr_cleanup(dr_file_closep) = rig_file(rig, name);
	struct dr_vol *vol dr_cleanup(dr_vol_closep) = NULL;
	struct dr_buf expect dr_cleanup(dr_buf_fini) = { 0 };
	uint64_t before, after, size;
	struct dr_stat st;
	uint32_t ost;
	int r = rig->ops->lease_take(file);
	r = r < 0 ? r : rig->ops->data_version(file, NULL, &before);
	r = r < 0 ? r : rig->ops->file_layout(file, &expect);
	if (r < 0) {
		return r;
	}
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = rig_other_half(&expect);
	r = rig->ops->vol_create(file, layout, &vol, &ost);
	r = r < 0 ? r : rig_copy(rig, file, vol);
	r = r < 0 ? r : rig->ops->vol_flush(vol);
	r = r < 0 ? r : rig->ops->vol_sync(vol);
	r = r < 0 ? r : rig->ops->vol_size(vol, &size);
	r = r < 0 ? r : rig->ops->file_stat(file, &st);
	r = r < 0 ? r : rig->ops->data_version(file, &st, &after);
	if (r == 0) {
		ck_assert_uint_eq(size, st.size);
		ck_assert_uint_eq(before, after);
	}
	r = r < 0 ? r : rig->ops->vol_attrs(vol, file);
	return r < 0 ? r : rig->ops->swap(file, vol, expect.data, expect.len);
}

void rig_hand_init(struct rig *rig, const char *name, struct rig_hand *hand)
{
	*hand = (struct rig_hand){ .file = rig_file(rig, name) };
	ck_assert_int_eq(rig->ops->lease_take(hand->file), 0);
	ck_assert_int_eq(rig->ops->file_layout(hand->file, &hand->expect), 0);
	hand->layout = rig_other_half(&hand->expect);
}

int rig_hand_create(struct rig *rig, struct rig_hand *hand, uint32_t *ret_ost)
{
	return rig->ops->vol_create(hand->file, hand->layout, &hand->vol, ret_ost);
}

int rig_hand_swap(struct rig *rig, struct rig_hand *hand)
{
	return rig->ops->swap(hand->file, hand->vol, hand->expect.data, hand->expect.len);
}

void rig_hand_fini(struct rig_hand *hand)
{
	dr_vol_closep(&hand->vol);
	dr_file_closep(&hand->file);
	dr_layout_free(hand->layout);
	dr_buf_fini(&hand->expect);
}

void rig_in_child(void (*fn)(void *), void *ctx, int signal)
{
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		fn(ctx);
		_exit(0);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (signal) {
		ck_assert(WIFSIGNALED(status));
		ck_assert_int_eq(WTERMSIG(status), signal);
	} else {
		ck_assert(WIFEXITED(status));
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	}
}

int rig_main(const char *name, const struct rig_test *tests, size_t n)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < n; i++) {
		tcase_add_loop_test(tcase, tests[i].test, 0, tests[i].loops);
	}
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
