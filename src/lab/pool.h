/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_LAB_POOL_H
#define DR_LAB_POOL_H

#include "lab/args.h"
#include "lab/mold.h"

/* For `--pool NAME`: refuses what is no name of a pool. */
error_t dr_pool_parse(struct argp_state *state, const char *arg, const char **ret_pool);
/* Looks up the OSTs of mold->pool, where one is set; tells. @return an exit code. The caller ends mold->pool_osts */
int dr_pool_look_up(struct dr_lab *lab, struct dr_mold *mold);

#endif
