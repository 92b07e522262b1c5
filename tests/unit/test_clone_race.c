/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_priv.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "clone_trees.h"

static void temporary(const struct trees *t, uint64_t delivery, char *name, size_t size)
{
	(void)snprintf(name, size, ".drover-" TREES_WORD "-%llu.%llu",
		(unsigned long long)trees_stat(t->from, "f").st_ino, (unsigned long long)delivery);
}

/* A writer that does not stop until it is told. */
struct writer {
	int fd;
	_Atomic bool stop, wrote;
};

static void *write_on(void *arg)
{
	struct writer *writer = arg;

	while (!atomic_load(&writer->stop)) {
		if (write(writer->fd, "more", 4) != 4) {
			break;
		}
		atomic_store(&writer->wrote, true);
	}
	return NULL;
}

START_TEST(clone__says_changed_of_a_file_that_grows)
{
	struct trees t dr_cleanup(trees_fini);
	struct writer writer = { 0 };
	pthread_t thread;

	trees_init(&t);
	uint8_t *bytes = dr_xcalloc(1, 1u << 20);
	memset(bytes, 'x', 1u << 20);
	trees_write(t.from, "f", bytes, 1u << 20);
	trees_text(t.to, "f", "old");
	writer.fd = openat(t.from, "f", O_WRONLY | O_APPEND);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_on, &writer), 0);
	while (!atomic_load(&writer.wrote)) {
		(void)sched_yield();
	}
	t.cloner.no_range_copy = true;
	t.cloner.buffer_bytes = 4096;
	struct stat old = trees_stat(t.to, "f");
	/* The writer may not have had its turn while it was copied: then there is nothing to be noticed. */
	for (;;) {
		trees_clone(&t, "f");
		if (t.outcome.class == DR_CHANGED) {
			break;
		}
		old = trees_stat(t.to, "f");
		ck_assert(
			t.outcome.class == DR_UNNEEDED || t.outcome.bytes == (uint64_t)old.st_size);
	}
	trees_is(&t, DR_CHANGED, DR_STEP_VERSION, -ESTALE);
	atomic_store(&writer.stop, true);
	(void)pthread_join(thread, NULL);
	(void)close(writer.fd);
	ck_assert_uint_eq(trees_stat(t.to, "f").st_ino, old.st_ino);
	ck_assert_int_eq(trees_count(t.to), 1);
	trees_cloned(&t, "f");
	free(bytes);
}
END_TEST

START_TEST(clone__removes_what_a_killed_worker_left)
{
	struct trees t dr_cleanup(trees_fini);
	char old[96], older[96], newer[96];

	trees_init(&t);
	trees_text(t.from, "f", "x");
	temporary(&t, 4, old, sizeof(old));
	temporary(&t, 1, older, sizeof(older));
	temporary(&t, 6, newer, sizeof(newer));
	trees_text(t.to, old, "half");
	trees_text(t.to, older, "half");
	trees_text(t.to, newer, "another's");
	uint64_t ino = trees_stat(t.from, "f").st_ino;
	dr_clone_entry(&t.cloner, t.from, t.to, "f", ino, 5, false, &t.outcome);
	trees_is(&t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	ck_assert(!trees_has(t.to, old) && !trees_has(t.to, older) && trees_has(t.to, newer));
	/* Its own, of an earlier job, is no obstacle. */
	temporary(&t, 1, old, sizeof(old));
	trees_text(t.to, old, "half");
	trees_text(t.from, "f", "longer");
	trees_cloned(&t, "f");
	ck_assert_int_eq(trees_count(t.to), 2);
}
END_TEST

/* A worker that is slow: its buffer is small. */
struct late {
	struct trees *t;
	struct dr_cloner cloner;
	struct dr_outcome outcome;
	_Alignas(4096) uint8_t buffer[4096];
};

static void *work_late(void *arg)
{
	struct late *late = arg;
	struct trees *t = late->t;

	dr_clone_entry(&late->cloner, t->from, t->to, "f", 0, 1, false, &late->outcome);
	return NULL;
}

START_TEST(clone__does_not_rename_over_newer_work)
{
	struct trees t dr_cleanup(trees_fini);
	struct late late = { .t = &t };
	pthread_t thread;
	char name[96];

	trees_init(&t);
	int fd = openat(t.from, "f", O_WRONLY | O_CREAT, 0600);
	uint8_t *bytes = dr_xcalloc(1, 16u << 20);
	memset(bytes, 'x', 16u << 20);
	ck_assert_int_eq(dr_write_full(fd, bytes, 16u << 20), 0);
	(void)close(fd);
	late.cloner = t.cloner;
	late.cloner.no_range_copy = true;
	late.cloner.buffer = late.buffer;
	late.cloner.buffer_bytes = sizeof(late.buffer);
	ck_assert_int_eq(pthread_create(&thread, NULL, work_late, &late), 0);
	temporary(&t, 1, name, sizeof(name));
	while (!trees_has(t.to, name) && !trees_has(t.to, "f")) {
		(void)sched_yield();
	}
	uint64_t ino = trees_stat(t.from, "f").st_ino;
	dr_clone_entry(&t.cloner, t.from, t.to, "f", ino, 2, true, &t.outcome);
	uint64_t made = trees_stat(t.to, "f").st_ino;
	(void)pthread_join(thread, NULL);
	trees_is(&t, DR_SUCCEEDED, DR_STEP_DONE, 0);
	if (late.outcome.class != DR_SUCCEEDED) { /* it may have been done before the other began */
		ck_assert_int_eq(late.outcome.class, DR_CHANGED);
		ck_assert_int_eq(late.outcome.step, DR_STEP_SWAP);
		ck_assert_uint_eq(trees_stat(t.to, "f").st_ino, made);
	}
	trees_holds(t.to, "f", bytes, 16u << 20);
	ck_assert_int_eq(trees_count(t.to), 1);
	free(bytes);
}
END_TEST

START_TEST(place__renames_only_what_was_made)
{
	struct trees t dr_cleanup(trees_fini);
	struct dr_clone_temp temp;

	trees_init(&t);
	trees_text(t.to, "f", "newer");
	dr_clone_temp_init(&temp, &t.cloner, t.to, 12, 1);
	trees_text(t.to, temp.name, "late");
	ck_assert_int_eq(dr_clone_temp_made(&temp, -1), 0);
	dr_clone_sweep(&t.cloner, t.to, 12, 2);
	ck_assert_int_eq(dr_clone_place(&temp, "f"), -ESTALE);
	/* Its name has come to another worker meanwhile, of a later job. */
	ck_assert_int_eq(symlinkat("x", t.to, temp.name), 0);
	ck_assert_int_eq(unlinkat(t.to, "f", 0), 0);
	trees_text(t.to, "f", "newer");
	if (trees_stat(t.to, temp.name).st_ino != temp.ino) {
		ck_assert_int_eq(dr_clone_place(&temp, "f"), -ESTALE);
		dr_clone_temp_drop(&temp);
		ck_assert(trees_has(t.to, temp.name));
	}
	trees_holds(t.to, "f", "newer", 5);
}
END_TEST

START_TEST(clone__ends_busy_when_it_is_to_stop)
{
	struct trees t dr_cleanup(trees_fini);
	_Atomic bool stop = true;

	trees_init(&t);
	trees_text(t.from, "f", "x");
	t.cloner.stop = &stop;
	trees_clone(&t, "f");
	trees_is(&t, DR_BUSY, DR_STEP_COPY, -ECANCELED);
	ck_assert_int_eq(trees_count(t.to), 0);
}
END_TEST

START_TEST(clone__leaves_nothing_of_a_failed_write)
{
	struct trees t dr_cleanup(trees_fini);
	static uint8_t bytes[2u << 20];
	const struct rlimit limit = { 1u << 20, 1u << 20 };

	trees_init(&t);
	trees_write(t.from, "f", bytes, sizeof(bytes));
	trees_text(t.to, "f", "old");
	(void)signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (int i = 0; i < 2; i++) {
		t.cloner.no_range_copy = i;
		trees_clone(&t, "f");
		trees_is(&t, DR_REFUSED, DR_STEP_WRITE, -EFBIG);
		ck_assert_uint_eq(t.outcome.bytes, 0);
	}
	trees_holds(t.to, "f", "old", 3);
	ck_assert_int_eq(trees_count(t.to), 1);
}
END_TEST

START_TEST(clone__knows_temporary_names)
{
	static const char *const none[] = { ".drover-", ".drover-0123456789abcdef-.1",
		".drover-0123456789abcdeg-1.1", ".drover-0123456789abcdef-1.", ".drover",
		".drover-0123456789abcdef-1.1x", ".drover-0123456789abcdef-1.0-12",
		"x.drover-0123456789abcdef-1.1", "",
		".drover-0123456789abcdef-111111111111111111111.1" };
	struct dr_cloner cloner = { .word = TREES_WORD };
	bool ours = false;

	ck_assert(dr_clone_is_temporary(&cloner, ".drover-0123456789abcdef-12.3", &ours) && ours);
	ck_assert(dr_clone_is_temporary(&cloner, ".drover-0123456789abcdee-12.3", &ours) && !ours);
	ck_assert(dr_clone_is_temporary(
			  &cloner, ".drover-0123456789abcdef-12.0-fedcba9876543210", &ours) &&
		  ours);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		ck_assert(!dr_clone_is_temporary(&cloner, none[i], &ours));
	}
}
END_TEST

DR_UNIT_MAIN("clone_race", clone__says_changed_of_a_file_that_grows,
	clone__removes_what_a_killed_worker_left, clone__does_not_rename_over_newer_work,
	place__renames_only_what_was_made, clone__ends_busy_when_it_is_to_stop,
	clone__leaves_nothing_of_a_failed_write, clone__knows_temporary_names)
