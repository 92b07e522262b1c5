/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_LAB_CHECK_H
#define DR_LAB_CHECK_H

#include "fs/lab_image.h"

/*
 * What `check` knows. First the name space is read (check_files.c): each layout is looked at, and what it
 * names is remembered. Then the OSTs are read (check_osts.c): each object must be one of those.
 * One thread; faults are printed as they are found.
 */

/* Keys of two numbers, each with a value; open addressing. */
struct dr_index {
	struct dr_index_slot {
		uint64_t a, b;
		uint32_t value;
		bool used, seen;
	} * slots;
	size_t n, cap;
};

void dr_index_fini(struct dr_index *index);
/* The slot of a key, or NULL. */
struct dr_index_slot *dr_index_find(const struct dr_index *index, uint64_t a, uint64_t b);
/* The slot of a key; a new one gets the value. *ret_new says which. */
struct dr_index_slot *dr_index_put(
	struct dr_index *index, uint64_t a, uint64_t b, uint32_t value, bool *ret_new);

struct dr_check {
	struct dr_lab *lab;
	bool busy;             /* others have the lab open: what is unfinished is theirs */
	bool whole;            /* all of the name space could be read */
	struct dr_index files; /* FID -> number of the file */
	struct dr_index
		objects;     /* FID -> number of the file that names it; seen: it lies on its OST */
	struct dr_buf paths; /* of the files, each ended by a NUL */
	size_t *path_at;     /* offsets in paths, by number */
	size_t n_files, cap_files;

	uint64_t n_faults, n_objects, bytes;
	/* Notes. */
	uint64_t n_no_layout, n_copies, n_released, n_cut, n_freed, n_unfinished, n_open, n_unknown,
		n_leftovers;
};

/* Looks again whether others have the lab open, and keeps it in `busy` once they had. */
bool dr_check_busy(struct dr_check *check);
/* One line on stdout, "fault: ...". */
void dr_check_fault(struct dr_check *check, const char *fmt, ...) dr_printf(2, 3);
/* The path of a file by its number, quoted; malloc'ed. */
char *dr_check_path(const struct dr_check *check, uint32_t number);
/* Remembers a file. @return its number; *ret_new: it was not known by another name */
uint32_t dr_check_add_file(struct dr_check *check, const struct dr_fid *fid, const char *path,
	size_t len, bool *ret_new);

/* They tell what is wrong. @return 0, or negative errno: the check cannot go on */
dr_nodiscard int dr_check_files(struct dr_check *check);
dr_nodiscard int dr_check_osts(struct dr_check *check);
/* Frees what removed files had in layouts/ and archive/. */
dr_nodiscard int dr_check_leftovers(struct dr_check *check);

#endif
