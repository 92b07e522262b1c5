/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_LAB_ARGS_H
#define DR_LAB_ARGS_H

#include "fs/lab_image.h"

#include <argp.h>

enum { DR_EXIT_OK = 0, DR_EXIT_FAILED = 1, DR_EXIT_USAGE = 2 };

/* The first member of what a command's parser fills. */
struct dr_args {
	bool told; /* the one line about what is wrong was printed */
};

/* "drover-lab: ..." and a newline on stderr. May be called from every thread. */
void dr_say(const char *fmt, ...) dr_printf(1, 2);
/* "drover-lab: cannot DOING 'PATH': what errno -err means"; the path may hold any bytes. */
void dr_say_path(int err, const char *doing, const void *path, size_t len);
/* Any bytes made fit for one line of a terminal; malloc'ed. */
char *dr_quote(const void *bytes, size_t len);

/*
 * Runs a command's parser. What is wrong is told in one line; --help prints and exits.
 * @return DR_EXIT_OK or DR_EXIT_USAGE
 */
int dr_args_parse(const struct argp *argp, int argc, char **argv, struct dr_args *args);
/* What a parser returns for every key that is not its own. */
error_t dr_args_other(int key, char *arg, struct argp_state *state);
/* Tells what is wrong and gives the parser's return value. */
error_t dr_args_fail(struct argp_state *state, const char *fmt, ...) dr_printf(2, 3);
/* For ARGP_KEY_ARG: stores the n-th argument, refuses one too many. */
error_t dr_args_take(struct argp_state *state, char *arg, const char **slots, unsigned n_slots);
error_t dr_args_u64(struct argp_state *state, const char *what, const char *arg, uint64_t min,
	uint64_t max, uint64_t *ret);
error_t dr_args_size(struct argp_state *state, const char *what, const char *arg, uint64_t *ret);

/* Opens a lab; what is wrong is told. @return DR_EXIT_OK, DR_EXIT_USAGE (not a lab), DR_EXIT_FAILED */
int dr_args_open_lab(const char *dir, struct dr_lab **ret_lab);
void dr_lab_closep(struct dr_lab **lab);

#endif
