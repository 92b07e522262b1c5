/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CLI_START_H
#define DR_CLI_START_H

#include "cli/cli.h"
#include "fs/fs.h"

#include <signal.h>

/* A growing list of paths. */
struct paths {
	struct dr_path *v;
	size_t n;
};

/* ---- start_common.c: of every kind. They print what is wrong, and return CLI_OK, CLI_BAD_INPUT or CLI_ERROR. ---- */

/* Whether the name is free. */
int start_check_new(const struct cli *cli, const char *name);
/*
 * What will hold the queue must do before anything is made.
 * what_lies: what the campaign's folder has to hold besides, as "--from-list: the list lies"; NULL: nothing
 */
int start_check_engine(const struct cli *cli, const char *what_lies);
/* Name, id, time and the like. */
int start_fill(const char *name, bool dry_run, bool external, struct dr_spec *spec);

/* What a campaign brings along besides its spec. */
struct baggage {
	struct dr_new_folder folder; /* base_path NULL: nothing */
	int signal_fd;
	sigset_t signals; /* as they were blocked before */
};
/* A start that is interrupted takes back what it has written by then, which may be much: so signals wait until that is done. */
int baggage_hold_signals(struct baggage *baggage);
/* After this a signal that came meanwhile does what it does. */
void baggage_drop(struct baggage *baggage);
/* The folder, whole or not at all, and the entry in the site's own server. */
int start_create(const struct cli *cli, const struct dr_spec *spec, struct baggage *baggage);
/* Takes the folder of a campaign that is none after all back. */
void start_take_back(const struct cli *cli, const struct dr_spec *spec);

/*
 * The paths of `drover start`, brought into the form that a spec holds. Messages about what is wrong are printed
 * here; then CLI_BAD_INPUT is returned, else CLI_OK.
 */

void paths_add(struct paths *paths, const char *bytes);
void paths_fini(struct paths *paths);

/* Whether path is the other one, or lies below it; by components, both normal. "" is above all. */
bool path_is_within(const char *path, const char *above);
/* Whether the components of name ("a" or "a/b") stand somewhere in the path, side by side. */
bool path_has_components(const char *path, const char *name);
/*
 * Brings a/./b//c/ into the form a/b/c; malloc'ed.
 * @error EINVAL a component is ".."; an empty path gives ""
 */
dr_nodiscard int path_normalize(const char *path, char **ret_path);

/*
 * The part of an absolute path that lies below the root, "" for the root itself; NULL when it does not. The root may be "/".
 */
const char *path_below_root(const char *path, const char *root);

/*
 * Opens the file system of a path that exists, or compares it with the one that is open. what: which option, for messages; word: the
 * path as they show it. *ret_rest (malloc'ed) is the path relative to the root.
 */
int path_open(
	const char *what, const char *path, const char *word, struct dr_fs **fs, char **ret_rest);
/* --root: the file system alone. */
int paths_root(const char *path, struct dr_fs **fs);
/* Opens every path that the pattern stands for; *fs is opened by the first, and the same for all. */
int paths_scan(const char *pattern, struct dr_fs **fs, struct paths *paths);
/*
 * One --exclude-path: into excludes when it is absolute, relative to the root then, else into names.
 * outside: what a path that does not lie there is told, before the root
 */
int paths_exclude(const char *path, const char *root, const char *outside, struct paths *excludes,
	struct paths *names);
/*
 * --from-list: reads the candidates of a file, or of the standard input for "-", checks each, and writes them into the folder in the
 * making, as campaign/candidates.h says; the spec gets their number. With *fs NULL the first path opens it. Memory is bounded.
 * signal_fd: a signalfd; a signal ends the reading, with CLI_ERROR and no message.
 */
int list_take(const char *file, bool nul, struct dr_fs **fs, int folder_fd, int signal_fd,
	struct dr_spec *spec);
/* Drops paths that stand twice or below another one, and those that are excluded as a whole. */
void paths_reduce(struct paths *paths, const struct paths *excludes, const struct paths *names);

#endif
