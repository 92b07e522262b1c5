/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/pool.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <pthread.h>

#define KEEP_NS 10000000000ull
#define POOLS_MAX 64u /* remembered at once */

struct dr_pool {
	unsigned refs; /* under the pools' lock */
	struct dr_rangeset osts;
};

struct entry {
	char name[DR_POOL_MAX + 1]; /* "": the entry is free */
	struct dr_pool *pool;       /* holds a reference */
	uint64_t looked_ns, asked_ns;
};

struct dr_pools {
	struct dr_fs *fs;
	pthread_mutex_t lock; /* guards all below, and every pool's count of references */
	struct entry entries[POOLS_MAX];
};

struct dr_pools *dr_pools_new(struct dr_fs *fs)
{
	struct dr_pools *pools = dr_xcalloc(1, sizeof(*pools));

	pools->fs = fs;
	(void)pthread_mutex_init(&pools->lock, NULL);
	return pools;
}

/* Under the lock. */
static void drop(struct dr_pool *pool)
{
	if (pool && --pool->refs == 0) {
		dr_rangeset_fini(&pool->osts);
		free(pool);
	}
}

void dr_pools_free(struct dr_pools *pools)
{
	if (!pools) {
		return;
	}
	for (size_t i = 0; i < POOLS_MAX; i++) {
		drop(pools->entries[i].pool);
	}
	(void)pthread_mutex_destroy(&pools->lock);
	free(pools);
}

void dr_pools_forget(struct dr_pools *pools)
{
	(void)pthread_mutex_lock(&pools->lock);
	for (size_t i = 0; i < POOLS_MAX; i++) {
		drop(pools->entries[i].pool);
		pools->entries[i] = (struct entry){ 0 };
	}
	(void)pthread_mutex_unlock(&pools->lock);
}

static bool is_of(const struct entry *entry, const char *name)
{
	return entry->pool && strcmp(entry->name, name) == 0;
}

/* Under the lock. The entry of that name; else the one to be used for it: a free one, or that of the pool longest not asked for. */
static struct entry *entry_of(struct dr_pools *pools, const char *name)
{
	struct entry *oldest = &pools->entries[0];

	for (size_t i = 0; i < POOLS_MAX; i++) {
		struct entry *entry = &pools->entries[i];

		if (is_of(entry, name)) {
			return entry;
		}
		if (entry->asked_ns < oldest->asked_ns) {
			oldest = entry;
		}
	}
	return oldest;
}

/* What is known of a pool, with a reference; NULL: the caller is to look. */
static struct dr_pool *known(struct dr_pools *pools, const char *name, uint64_t now)
{
	struct dr_pool *pool = NULL;

	(void)pthread_mutex_lock(&pools->lock);
	struct entry *entry = entry_of(pools, name);

	if (is_of(entry, name)) {
		entry->asked_ns = now;
		if (now - entry->looked_ns < KEEP_NS) {
			pool = entry->pool;
			pool->refs++;
		} else {
			entry->looked_ns = now; /* the others go on with what is known */
		}
	}
	(void)pthread_mutex_unlock(&pools->lock);
	return pool;
}

/* The look-up has no answer. @return what was known before, with a reference; NULL: nothing was */
static struct dr_pool *fall_back(struct dr_pools *pools, const char *name)
{
	struct dr_pool *pool = NULL;

	(void)pthread_mutex_lock(&pools->lock);
	struct entry *entry = entry_of(pools, name);

	if (is_of(entry, name)) {
		pool = entry->pool;
		pool->refs++;
	}
	(void)pthread_mutex_unlock(&pools->lock);
	return pool;
}

static void keep(struct dr_pools *pools, const char *name, struct dr_pool *pool, uint64_t now)
{
	(void)pthread_mutex_lock(&pools->lock);
	struct entry *entry = entry_of(pools, name);

	drop(entry->pool);
	*entry = (struct entry){ .pool = pool, .looked_ns = now, .asked_ns = now };
	memcpy(entry->name, name, strlen(name) + 1);
	pool->refs++;
	(void)pthread_mutex_unlock(&pools->lock);
}

int dr_pools_get(struct dr_pools *pools, const char *name, struct dr_pool **ret_pool)
{
	const struct dr_fs_driver *ops = pools->fs->ops;
	uint64_t now = dr_now_ns();
	struct dr_rangeset osts = { 0 };

	if (strlen(name) > DR_POOL_MAX) {
		return -ENAMETOOLONG;
	}
	struct dr_pool *pool = known(pools, name, now);

	if (pool) {
		*ret_pool = pool;
		return 0;
	}
	/* Outside the lock: the driver may have to wait for the kernel. */
	int r = ops->pool_osts ? ops->pool_osts(pools->fs, name, &osts) : -ENOENT;

	if (r < 0 && r != -ENOENT) {
		dr_rangeset_fini(&osts);
		pool = fall_back(pools, name);
		if (!pool) {
			return r;
		}
		struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

		dr_text_escape(&text, name, strlen(name));
		dr_log_limited(60, DR_LOG_WARNING, "pool-not-read",
			"pool=\"%s\" errno=%d next=\"goes on with its OSTs of before\"",
			dr_buf_cstr(&text), -r);
		*ret_pool = pool;
		return 0;
	}
	pool = dr_xcalloc(1, sizeof(*pool));
	pool->refs = 1;
	if (r == 0) {
		pool->osts = osts;
	} else {
		dr_rangeset_fini(&osts); /* no such pool: whatever is in it means nothing */
	}
	keep(pools, name, pool, now);
	*ret_pool = pool;
	return 0;
}

void dr_pool_put(struct dr_pools *pools, struct dr_pool *pool)
{
	(void)pthread_mutex_lock(&pools->lock);
	drop(pool);
	(void)pthread_mutex_unlock(&pools->lock);
}

bool dr_pool_allows(const struct dr_pool *pool, uint32_t ost)
{
	return pool->osts.count == 0 || dr_rangeset_has(&pool->osts, ost);
}
