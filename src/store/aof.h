/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_STORE_AOF_H
#define DR_STORE_AOF_H

#include "base/prelude.h"

/*
 * How many bytes of an append-only file are whole: up to the end of its last complete command, or, where a transaction was
 * begun and not finished, up to its MULTI. A tail of NULs counts as torn. What else is no command is the
 * server's to judge: then everything counts as whole.
 *
 * Servers cut a torn tail off by themselves (aof-load-truncated), but after the last complete command, also within
 * a transaction (seen with Redis 7.0.15). What they append then stands inside of that dangling MULTI, and the next
 * load executes both parts: half a settle of ours, which breaks the ledger. So it is cut before they see it.
 */
size_t dr_aof_whole(const void *bytes, size_t len);
/* Cuts the file to that. @return 1 something was cut; 0. @error of the file */
dr_nodiscard int dr_aof_mend(int fd);

#endif
