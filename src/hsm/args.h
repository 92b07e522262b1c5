/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_ARGS_H
#define DR_HSM_ARGS_H

#include "hsm/config.h"

#include <argp.h>

#define DR_EXIT_USAGE 2

/*
 * The options that say where the streams are: -c, --host, --port, --db, --stream-prefix. A program takes dr_hsm_argp for a child of its
 * own parser, whose child_inputs[0] is a struct dr_hsm_args.
 */
struct dr_hsm_args {
	const char *config, *host, *prefix; /* NULL: not given */
	uint64_t port, db;
	bool has_port, has_db;
};
extern const struct argp dr_hsm_argp;

/*
 * To be called first by a program's parser: a usage error is one line on stderr and exit status 2. @return ARGP_ERR_UNKNOWN: the key is
 * the program's
 */
error_t dr_hsm_parse_common(int key, const char *arg, struct argp_state *state);

/*
 * Reads the configuration that was asked for, or `path`, which need not be there (NULL: none), and then takes the options, whose server
 * stands for redis_url too. @error those of dr_hsm_config_read()
 */
dr_nodiscard int dr_hsm_args_config(const struct dr_hsm_args *args, const char *path,
	struct dr_hsm_config *config, char **ret_message);

/* One line on stderr, after the program's name. */
void dr_hsm_complain(const char *fmt, ...) dr_printf(1, 2);

#endif
