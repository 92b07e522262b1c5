/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TESTS_CONTRACT_RIG_H
#define DR_TESTS_CONTRACT_RIG_H

#include "fs/lab_image.h"

#include <check.h>

/*
 * A file system for a test: a fresh folder, served by the driver under test. What cannot be made through
 * the contract (files, faults) is made here. Failures end the test.
 */
#define RIG_OSTS 8

enum { RIG_LAB, RIG_POSIX, RIG_DRIVERS };

struct rig {
	int driver;
	char dir[64]; /* all that the test makes lies below it */
	int ns;       /* where its files lie */
	char *prefix; /* of ns below the root of fs; "" or "some/where" */
	struct dr_fs *fs;
	const struct dr_fs_driver *ops;
	struct dr_lab *lab; /* opened a second time; NULL for posix */
};

void rig_init(struct rig *rig, int driver);
void rig_fini(struct rig *rig);

/* The directory at a path below ns. @return as dir_open */
int rig_dir_open(struct rig *rig, const char *path, struct dr_dir **ret_dir);
struct dr_dir *rig_dir(struct rig *rig, const char *path);
/* Opens ns/name. */
struct dr_file *rig_file(struct rig *rig, const char *name);
/* An empty file without a layout. */
void rig_touch(int dirfd, const char *name);

enum rig_kind {
	RIG_PLAIN,
	RIG_STRIPED,
	RIG_PFL,
	RIG_DOM,
	RIG_DOM_ONLY,
	RIG_MIRROR,
	RIG_OVERSTRIPED,
	RIG_LARGE, /* 200 stripes: does not fit an xattr */
	RIG_KINDS,
};
/* Makes ns/name of size bytes, by rig_byte(), with a hole in [hole, hole_end), and objects on the first half of the OSTs. */
void rig_make(struct rig *rig, const char *name, enum rig_kind kind, uint64_t size, uint64_t hole,
	uint64_t hole_end);
uint8_t rig_byte(uint64_t off);
/* Fails unless ns/name has that content. */
void rig_check_content(
	struct rig *rig, const char *name, uint64_t size, uint64_t hole, uint64_t hole_end);

/* The layout of a file with every object moved to the other half of the OSTs. The caller frees. */
struct dr_layout *rig_other_half(const struct dr_buf *layout);
/* Fails unless all of the file's objects are on OSTs from..to-1. */
void rig_check_osts(struct rig *rig, const char *name, uint32_t from, uint32_t to);
uint64_t rig_count_objects(struct rig *rig);
/* Fails unless usage equals what a recount finds, and the objects are those that layouts in ns name. */
void rig_check_books(struct rig *rig);
/* The first half of that. */
void rig_check_usage(struct rig *rig);
/* Fails unless so many layouts lie outside of xattrs. */
void rig_check_layouts(struct rig *rig, int n);
void rig_ost(struct rig *rig, uint32_t ost, enum dr_lab_ost_state state);

/*
 * Moves ns/name to the other half, as the real mover does. @return 0 or the first error
 */
int rig_move(struct rig *rig, const char *name);
/* The parts of it. copy: all data from file into vol, holes kept. */
int rig_copy(struct rig *rig, struct dr_file *file, struct dr_vol *vol);

/* A file under lease, with its layout, and a volatile on the other half. */
struct rig_hand {
	struct dr_file *file;
	struct dr_vol *vol;
	struct dr_buf expect;
	struct dr_layout *layout; /* what the volatile shall have */
};
void rig_hand_init(struct rig *rig, const char *name, struct rig_hand *hand);
int rig_hand_create(struct rig *rig, struct rig_hand *hand, uint32_t *ret_ost);
int rig_hand_swap(struct rig *rig, struct rig_hand *hand);
void rig_hand_fini(struct rig_hand *hand);

/* Runs fn in a child process; fails unless it ends as expected: signal (or 0 for exit status 0). */
void rig_in_child(void (*fn)(void *), void *ctx, int signal);

/* A Check main where each test is run once for each of n loops (_i). */
struct rig_test {
	const TTest *test;
	int loops;
};
int rig_main(const char *name, const struct rig_test *tests, size_t n);
#define RIG_MAIN(name, ...)                                                                        \
	int main(void)                                                                             \
	{                                                                                          \
		const struct rig_test tests[] = { __VA_ARGS__ };                                   \
		return rig_main(name, tests, sizeof(tests) / sizeof(tests[0]));                    \
	}

#endif
