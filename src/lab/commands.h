/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_LAB_COMMANDS_H
#define DR_LAB_COMMANDS_H

/*
 * The commands of drover-lab; main.c holds their table. Each gets its own name as argv[0], has
 * said on stderr what went wrong when it returns, and returns the program's exit code.
 *
 *   make.c    create, import     fill.c    fill
 *   show.c    df, export         digest.c  digest
 *   check.c   check              set.c     set, release
 *   pool.c    pool
 *
 * Beneath them: args.c (command lines and messages), walk.c (a tree, of any depth), tree.c (copies
 * one into another), mold.c (layouts and placing of new files).
 */
typedef int dr_cmd_fn(int argc, char **argv);

dr_cmd_fn dr_cmd_create, dr_cmd_import, dr_cmd_fill, dr_cmd_df, dr_cmd_digest, dr_cmd_export,
	dr_cmd_check, dr_cmd_set, dr_cmd_pool, dr_cmd_release;

#endif
