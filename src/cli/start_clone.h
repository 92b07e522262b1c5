/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CLI_START_CLONE_H
#define DR_CLI_START_CLONE_H

#include "base/idset.h"
#include "campaign/clone_record.h"
#include "cli/start.h"
#include "fs/tree.h"

/* The parts of `drover start clone`. What is wrong is printed where it is found; then CLI_BAD_INPUT is returned, else CLI_OK. */

cli_fn cli_start_clone;

/* ---- start_clone_args.c: its words ---- */

/* A file that comes along in the campaign's folder. */
struct clone_file {
	const char *path; /* NULL: there is none */
	struct dr_buf text;
};

struct clone_args {
	const char *name, *from, *to, *layout; /* lent by argv, as all words are */
	struct clone_file exceptions, rules;
	struct dr_idset uids, gids, projects;
	const char **excludes;
	size_t n_excludes;
	bool dry_run;
	struct dr_spec_clone *clone; /* of the spec: what needs no file system to be known */
};
/* Leaves the program when a word is wrong. */
void clone_args_parse(int argc, char **argv, struct clone_args *args);
void clone_args_fini(struct clone_args *args);
/* What is known without looking at any file system; fills in what was not said. */
int clone_args_check(struct clone_args *args);

/* ---- start_clone_place.c: source and target of a clone, and whether the one may be copied into the other. They print like the above. ---- */
struct places {
	struct dr_tree *from, *to;
	char from_identity[DR_TREE_IDENTITY_SIZE], to_identity[DR_TREE_IDENTITY_SIZE];
	bool to_is_empty;
	struct dr_clone_record *record; /* what filled the target; NULL: nothing is known */
};
int places_open(const char *from, const char *to, struct places *places);
void places_fini(struct places *places);
/* Neither may hold the other, be it by another name, through links or by bind mounts. */
int places_check_apart(const struct places *places);
/* The campaigns' folder may lie in neither, but below an excluded path of the source (relative to it). */
int places_check_base(
	const struct places *places, const char *base_path, const struct paths *excludes);
/* What the passes of the clone ask of the target: that it can be written to, and what filled it. Sets to_is_empty and record. */
int places_check_target(struct places *places, const char *base_path,
	const struct dr_spec_clone *clone, bool dry_run);
/*
 * Whether what is copied has room, as far as that can be told: the rest is a warning.
 * takes_all: nothing of the source is left out
 */
int places_check_room(const struct places *places, bool takes_all, uint64_t reserve_percent);

#endif
