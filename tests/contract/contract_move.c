/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fdio.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "rig.h"

/* Leases, volatiles and swaps: drivers with OSTs. */

/* ---- leases ---- */

START_TEST(lease__is_refused_while_somebody_writes)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_PLAIN, 100, 100, 100);
	struct dr_file *file dr_cleanup(dr_file_closep) = rig_file(&rig, "file");
	int writer = openat(rig.ns, "file", O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(writer, 0);
	ck_assert_int_eq(rig.ops->lease_take(file), -EBUSY);
	ck_assert_int_eq(rig.ops->lease_check(file), 0);
	(void)close(writer);
	ck_assert_int_eq(rig.ops->lease_take(file), 0);
	ck_assert_int_eq(rig.ops->lease_check(file), 1);
	rig.ops->lease_release(file);
	ck_assert_int_eq(rig.ops->lease_check(file), 0);
	dr_file_closep(&file);
	rig_fini(&rig);
}
END_TEST

START_TEST(lease__belongs_to_one_mover_and_readers_pass)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_PLAIN, 100, 100, 100);
	struct dr_file *one dr_cleanup(dr_file_closep) = rig_file(&rig, "file");
	struct dr_file *two dr_cleanup(dr_file_closep) = rig_file(&rig, "file");
	ck_assert_int_eq(rig.ops->lease_take(one), 0);
	ck_assert_int_eq(rig.ops->lease_take(two), -EALREADY);
	int reader = openat(rig.ns, "file", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(reader, 0);
	(void)close(reader);
	ck_assert_int_eq(rig.ops->lease_check(one), 1);
	rig.ops->lease_release(one);
	ck_assert_int_eq(rig.ops->lease_take(two), 0);
	/* Closing gives it back too. */
	dr_file_closep(&two);
	ck_assert_int_eq(rig.ops->lease_take(one), 0);
	dr_file_closep(&one);
	rig_fini(&rig);
}
END_TEST

enum breaker { BREAK_OPEN, BREAK_TRUNCATE, BREAKERS };

/* A process that opens for writing, or truncates, and waits for the lease in that. */
static pid_t start_breaker(struct rig *rig, const char *name, enum breaker how)
{
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		char path[96];
		(void)snprintf(path, sizeof(path), "%s/ns/%s", rig->dir, name);
		int r = how == BREAK_OPEN ? open(path, O_WRONLY | O_CLOEXEC) : truncate(path, 1);
		_exit(r < 0);
	}
	return pid;
}

static void wait_broken(struct rig *rig, struct dr_file *file)
{
	uint64_t until = dr_now_ns() + 1000000000u;
	while (rig->ops->lease_check(file) && dr_now_ns() < until) {
		dr_sleep_ms(1);
	}
	ck_assert_int_eq(rig->ops->lease_check(file), 0);
}

START_TEST(lease__is_broken_at_once_and_keeps_nobody_waiting)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_PLAIN, 100, 100, 100);
	struct dr_file *file dr_cleanup(dr_file_closep) = rig_file(&rig, "file");
	ck_assert_int_eq(rig.ops->lease_take(file), 0);
	pid_t pid = start_breaker(&rig, "file", (enum breaker)_i);
	wait_broken(&rig, file);
	uint64_t before = dr_now_ns();
	rig.ops->lease_release(file);
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_lt(dr_now_ns() - before, 1000000000u);
	dr_file_closep(&file);
	rig_fini(&rig);
}
END_TEST

/* ---- moving ---- */

static void check_moved(
	struct rig *rig, enum rig_kind kind, uint64_t size, uint64_t hole, uint64_t hole_end)
{
	rig_make(rig, "file", kind, size, hole, hole_end);
	struct stat before, after;
	struct dr_fid fid_before, fid_after;
	struct timespec times[2] = { { .tv_sec = 1000000, .tv_nsec = 1 },
		{ .tv_sec = 1000000007, .tv_nsec = 9 } };
	int fd dr_cleanup(dr_fd_closep) = openat(rig->ns, "file", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fsetxattr(fd, "user.mine", "kept", 4, 0), 0);
	ck_assert_int_eq(futimens(fd, times), 0);
	ck_assert_int_eq(fstat(fd, &before), 0);
	ck_assert_int_eq(dr_lab_fid_of(rig->lab, fd, &fid_before), 0);
	uint64_t objects = rig_count_objects(rig);
	ck_assert_int_eq(rig_move(rig, "file"), 0);
	ck_assert_int_eq(fstat(fd, &after), 0);
	ck_assert_int_eq(dr_lab_fid_of(rig->lab, fd, &fid_after), 0);
	ck_assert(dr_fid_equal(&fid_before, &fid_after));
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_uint_eq(before.st_mode, after.st_mode);
	ck_assert_int_eq(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
	ck_assert_int_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	char value[8];
	ck_assert_int_eq(fgetxattr(fd, "user.mine", value, sizeof(value)), 4);
	ck_assert_uint_eq(rig_count_objects(rig), objects);
	rig_check_osts(rig, "file", RIG_OSTS / 2, RIG_OSTS);
	rig_check_content(rig, "file", size, hole, hole_end);
	rig_check_books(rig);
}

START_TEST(move__keeps_content_and_attributes)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	check_moved(&rig, (enum rig_kind)_i, 1234567, 300000, 900000);
	rig_fini(&rig);
}
END_TEST

START_TEST(move__takes_files_of_every_size)
{
	static const uint64_t sizes[] = { 0, 1, 4096, 65536, 131072, 524288, 524289 };
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		check_moved(&rig, (enum rig_kind)_i, sizes[i], sizes[i], sizes[i]);
		ck_assert_int_eq(unlinkat(rig.ns, "file", 0), 0);
		uint64_t left = 1;
		for (uint32_t ost = 0; ost < RIG_OSTS; ost++) {
			ck_assert_int_eq(rig.ops->ost_settle(rig.fs, ost, &left), 0);
			ck_assert_uint_eq(left, 0);
		}
		ck_assert_uint_eq(rig_count_objects(&rig), 0);
	}
	rig_fini(&rig);
}
END_TEST

START_TEST(move__keeps_files_that_are_only_a_hole)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	check_moved(&rig, (enum rig_kind)_i, 1000001, 0, 1000001);
	struct dr_ost osts[RIG_OSTS];
	dr_lab_osts(rig.lab, osts);
	for (int i = 0; i < RIG_OSTS; i++) {
		ck_assert_uint_eq(osts[i].used_bytes, 0);
	}
	rig_fini(&rig);
}
END_TEST

START_TEST(volatile__reads_back_what_was_written_and_vanishes)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", (enum rig_kind)_i, 700000, 100000, 200000);
	uint64_t objects = rig_count_objects(&rig);
	struct rig_hand hand;
	uint32_t ost = 99;
	rig_hand_init(&rig, "file", &hand);
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), 0);
	ck_assert_uint_eq(ost, 99);
	struct dr_buf got dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	ck_assert_int_eq(rig.ops->vol_layout(hand.vol, &got), 0);
	ck_assert_int_eq(dr_layout_decode(got.data, got.len, &layout), 0);
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		ck_assert_uint_eq(layout->comps[c].n_objects, hand.layout->comps[c].n_objects);
		for (uint32_t i = 0; i < layout->comps[c].n_objects; i++) {
			ck_assert_uint_eq(layout->comps[c].objects[i].ost,
				hand.layout->comps[c].objects[i].ost);
		}
	}
	ck_assert_int_eq(rig_copy(&rig, hand.file, hand.vol), 0);
	ck_assert_int_eq(rig.ops->vol_flush(hand.vol), 0);
	ck_assert_int_eq(rig.ops->vol_sync(hand.vol), 0);
	uint64_t size;
	ck_assert_int_eq(rig.ops->vol_size(hand.vol, &size), 0);
	ck_assert_uint_eq(size, 700000);
	static uint8_t bytes[700001];
	ck_assert_int_eq(rig.ops->vol_read(hand.vol, bytes, sizeof(bytes), 0), 700000);
	for (uint64_t i = 0; i < size; i++) {
		ck_assert_uint_eq(bytes[i], i >= 100000 && i < 200000 ? 0 : rig_byte(i));
	}
	ck_assert_int_eq(rig.ops->vol_read(hand.vol, bytes, 10, 700000), 0);
	rig_hand_fini(&hand);
	ck_assert_uint_eq(rig_count_objects(&rig), objects);
	rig_check_books(&rig);
	rig_check_content(&rig, "file", 700000, 100000, 200000);
	rig_fini(&rig);
}
END_TEST

START_TEST(volatile__charges_each_block_once_in_any_order)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", (enum rig_kind)_i, 10, 10, 10);
	struct rig_hand hand;
	uint32_t ost;
	rig_hand_init(&rig, "file", &hand);
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), 0);
	static const uint32_t writes[][2] = { { 100000, 5000 }, { 5, 10 }, { 99000, 2000 },
		{ 50000, 60000 }, { 3000, 2000 }, { 4096, 4096 }, { 0, 125000 }, { 12, 1 } };
	static uint8_t bytes[125000];
	memset(bytes, 7, sizeof(bytes));
	for (size_t i = 0; i < sizeof(writes) / sizeof(*writes); i++) {
		/* A PFL file of 10 bytes has but its first component. */
		ck_assert_int_eq(
			rig.ops->vol_write(hand.vol, bytes, writes[i][1], writes[i][0], &ost), 0);
		rig_check_usage(&rig);
	}
	ck_assert_int_eq(rig.ops->vol_truncate(hand.vol, 70000), 0);
	ck_assert_int_eq(rig.ops->vol_truncate(hand.vol, 110000), 0);
	ck_assert_int_eq(rig.ops->vol_write(hand.vol, bytes, 100, 100000, &ost), 0);
	ck_assert_int_eq(rig.ops->vol_write(hand.vol, bytes, 100, 80000, &ost), 0);
	rig_hand_fini(&hand);
	rig_check_books(&rig);
	rig_fini(&rig);
}
END_TEST

START_TEST(volatile__refuses_layouts_that_cannot_be)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "dom", RIG_DOM, 1000, 1000, 1000);
	rig_make(&rig, "plain", RIG_PLAIN, 1000, 1000, 1000);
	struct rig_hand hand;
	uint32_t ost = 99;
	rig_hand_init(&rig, "plain", &hand);
	hand.layout->comps[0].objects[0].ost = RIG_OSTS;
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), -EINVAL);
	ck_assert_uint_eq(ost, RIG_OSTS);
	dr_layout_set_objects(hand.layout, 0, 0);
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), -EINVAL);
	rig_hand_fini(&hand);
	/* The DoM bytes stay in the stub: the layouts must agree about them. */
	rig_hand_init(&rig, "dom", &hand);
	hand.layout->comps[0].end += DR_STRIPE_ALIGN;
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), -EOPNOTSUPP);
	rig_hand_fini(&hand);
	/* Where there is no component, nothing can be written. */
	rig_make(&rig, "pfl", RIG_PFL, 1000, 1000, 1000);
	rig_hand_init(&rig, "pfl", &hand);
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), 0);
	ck_assert_int_eq(rig.ops->vol_write(hand.vol, "x", 1, 2 * DR_STRIPE_ALIGN, &ost), -ENODATA);
	rig_hand_fini(&hand);
	rig_check_books(&rig);
	rig_fini(&rig);
}
END_TEST

START_TEST(swap__is_refused_after_the_layout_changed)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_STRIPED, 1000, 1000, 1000);
	struct rig_hand hand;
	uint32_t ost;
	rig_hand_init(&rig, "file", &hand);
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), 0);
	hand.expect.data[hand.expect.len - 1] ^= 1;
	ck_assert_int_eq(rig_hand_swap(&rig, &hand), -ESTALE);
	ck_assert_int_eq(rig.ops->lease_check(hand.file), 0);
	rig_hand_fini(&hand);
	rig_check_osts(&rig, "file", 0, RIG_OSTS / 2);
	rig_check_content(&rig, "file", 1000, 1000, 1000);
	rig_check_books(&rig);
	rig_fini(&rig);
}
END_TEST

START_TEST(swap__is_refused_after_the_lease_was_lost)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", (enum rig_kind)_i, 1000, 1000, 1000);
	struct rig_hand hand;
	uint32_t ost;
	rig_hand_init(&rig, "file", &hand);
	ck_assert_int_eq(rig_hand_create(&rig, &hand, &ost), 0);
	ck_assert_int_eq(rig_copy(&rig, hand.file, hand.vol), 0);
	pid_t pid = start_breaker(&rig, "file", BREAK_OPEN);
	wait_broken(&rig, hand.file);
	ck_assert_int_eq(rig_hand_swap(&rig, &hand), -ESTALE);
	/* The lease went with the call: the writer goes on, before the file is closed. */
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	rig_hand_fini(&hand);
	rig_check_osts(&rig, "file", 0, RIG_OSTS / 2);
	rig_check_content(&rig, "file", 1000, 1000, 1000);
	rig_check_books(&rig);
	rig_fini(&rig);
}
END_TEST

START_TEST(data_version__changes_when_the_stub_is_written)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_PLAIN, 1000, 1000, 1000);
	struct dr_file *file dr_cleanup(dr_file_closep) = rig_file(&rig, "file");
	uint64_t one, two, three;
	ck_assert_int_eq(rig.ops->data_version(file, NULL, &one), 0);
	ck_assert_int_eq(fchmodat(rig.ns, "file", 0600, 0), 0);
	ck_assert_int_eq(rig.ops->data_version(file, NULL, &two), 0);
	ck_assert_uint_eq(one, two);
	dr_sleep_ms(12); /* past the clock tick of older kernels' times */
	int fd dr_cleanup(dr_fd_closep) = openat(rig.ns, "file", O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(dr_pwrite_full(fd, "x", 1, 0), 0);
	struct dr_stat st;
	ck_assert_int_eq(rig.ops->file_stat(file, &st), 0);
	ck_assert_int_eq(rig.ops->data_version(file, NULL, &three), 0);
	ck_assert_uint_ne(one, three);
	/* With attributes at hand it is the version that belongs to them. */
	ck_assert_int_eq(ftruncate(fd, 2000), 0);
	uint64_t then, now;
	ck_assert_int_eq(rig.ops->data_version(file, &st, &then), 0);
	ck_assert_uint_eq(then, three);
	ck_assert_int_eq(rig.ops->data_version(file, NULL, &now), 0);
	ck_assert_uint_ne(now, three);
	dr_file_closep(&file);
	rig_fini(&rig);
}
END_TEST

START_TEST(reader__follows_a_file_that_is_moved_under_it)
{
	struct rig rig;
	rig_init(&rig, RIG_LAB);
	rig_make(&rig, "file", RIG_STRIPED, 500000, 500000, 500000);
	struct dr_file *file dr_cleanup(dr_file_closep) = rig_file(&rig, "file");
	uint8_t byte;
	ck_assert_int_eq(rig.ops->read(file, &byte, 1, 0), 1);
	ck_assert_int_eq(rig_move(&rig, "file"), 0);
	for (uint64_t off = 0; off < 500000; off += 4999) {
		ck_assert_int_eq(rig.ops->read(file, &byte, 1, off), 1);
		ck_assert_uint_eq(byte, rig_byte(off));
	}
	dr_file_closep(&file);
	rig_fini(&rig);
}
END_TEST

RIG_MAIN("contract-move", { lease__is_refused_while_somebody_writes, 1 },
	{ lease__belongs_to_one_mover_and_readers_pass, 1 },
	{ lease__is_broken_at_once_and_keeps_nobody_waiting, BREAKERS },
	{ move__keeps_content_and_attributes, RIG_KINDS },
	{ move__takes_files_of_every_size, RIG_KINDS - 1 },
	{ move__keeps_files_that_are_only_a_hole, RIG_KINDS },
	{ volatile__reads_back_what_was_written_and_vanishes, RIG_KINDS },
	{ volatile__charges_each_block_once_in_any_order, RIG_KINDS },
	{ volatile__refuses_layouts_that_cannot_be, 1 },
	{ swap__is_refused_after_the_layout_changed, 1 },
	{ swap__is_refused_after_the_lease_was_lost, RIG_KINDS },
	{ data_version__changes_when_the_stub_is_written, 1 },
	{ reader__follows_a_file_that_is_moved_under_it, 1 })
