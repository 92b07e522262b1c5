/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_TAIL_ARGS_H
#define DR_HSM_TAIL_ARGS_H

#include "hsm/config.h"
#include "hsm/tail_line.h"

enum { TAIL_OK = 0, TAIL_FAILED = 1, TAIL_USAGE = 2 };

/* The command line of hsm-stream-tail, over its configuration. */
struct tail_args {
	struct dr_hsm_config config;
	struct dr_url url;
	struct dr_tail_words show, hide;
	bool is_from_beginning, is_once, is_json;
};

/*
 * Reads both. What is wrong with the command line is printed, and the process leaves; with the configuration, it is printed.
 * @return TAIL_OK, or TAIL_USAGE
 */
int tail_args_read(struct tail_args *args, int argc, char **argv);
void tail_args_fini(struct tail_args *args);

/* "hsm-stream-tail: ..." as one line on stderr. */
void tail_say(const char *fmt, ...) dr_printf(1, 2);

#endif
