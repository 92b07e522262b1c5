/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_POOL_H
#define DR_WORK_POOL_H

#include "fs/fs.h"

/*
 * Which OSTs a pool has, remembered: a look-up reads a file of the kernel. What was looked up counts for ten seconds; then one
 * thread looks again, and the others go on with what is known. Of many pools those that were asked for last are
 * remembered. Threads: any.
 */
struct dr_pools;

/* Lends the file system, for the life of the pools. */
struct dr_pools *dr_pools_new(struct dr_fs *fs);
void dr_pools_free(struct dr_pools *pools); /* takes NULL; after every dr_pool_put() */
/* Every pool is looked up anew when it is asked for again: the file system knows more than we do. */
void dr_pools_forget(struct dr_pools *pools);

/* What a pool was at one moment. Never changes; stays until dr_pool_put(). */
struct dr_pool;

/*
 * The pool of that name; its file system is asked where nothing is known of it, or nothing recent. Where the second look
 * fails, the first one's answer stays.
 * @error of the driver, but for ENOENT: a pool that does not exist binds nothing
 */
dr_nodiscard int dr_pools_get(struct dr_pools *pools, const char *name, struct dr_pool **ret_pool);
void dr_pool_put(struct dr_pools *pools, struct dr_pool *pool); /* takes NULL */
/*
 * Whether new objects of the pool may lie on the OST. A pool that does not exist, or has no OST, allows all of them, as
 * Lustre ignores it (lustre/lod/lod_pool.c, lod_find_pool).
 */
bool dr_pool_allows(const struct dr_pool *pool, uint32_t ost);

#endif
