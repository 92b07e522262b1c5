/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/copy_pool.h"

#include <pthread.h>
#include <stdatomic.h>

/*
 * A job is a range of one file that its mover wants copied. It stands in the pool's list while it has segments that nobody took.
 * Threads take the next segment of any job; the mover takes segments of its own job. A job lives on its mover's stack: the mover
 * leaves only when no thread works on it (workers == 0) and it is off the list.
 *
 * Everything but a segment's bytes happens under the pool's lock.
 */

#define SEGMENT_BYTES (16u << 20)

struct job {
	const struct dr_copy *copy;
	dr_copy_segment_fn *fn;
	uint64_t next, end; /* what nobody took yet */
	unsigned workers;   /* threads of the pool that have a segment of it */
	_Atomic bool stop;
	struct dr_copy_result result; /* the first error */
	struct job *following;
};

struct pool_thread {
	struct dr_copy_pool *pool;
	pthread_t thread;
	bool started;
	uint8_t *buffer;
};

struct dr_copy_pool {
	pthread_mutex_t lock;
	pthread_cond_t work; /* a job came, or the end */
	pthread_cond_t done; /* a thread left a job */
	struct job *jobs;
	bool ending;
	struct pool_thread *threads;
	unsigned n_threads;
};

/* The next segment of a job; false: none is left. Under the lock. */
static bool take(struct job *job, uint64_t *ret_start, uint64_t *ret_end)
{
	if (job->next >= job->end || atomic_load(&job->stop)) {
		return false;
	}
	/* Segments end at multiples of their size, so that no two threads write one page. */
	uint64_t end = job->next - job->next % SEGMENT_BYTES + SEGMENT_BYTES;

	*ret_start = job->next;
	*ret_end = end < job->end ? end : job->end;
	job->next = *ret_end;
	return true;
}

/* Under the lock. */
static void note(struct job *job, const struct dr_copy_result *result)
{
	if (result->error < 0) {
		atomic_store(&job->stop, true);
		if (job->result.error == 0) {
			job->result = *result;
		}
	}
}

static struct job *find_job(struct dr_copy_pool *pool, uint64_t *ret_start, uint64_t *ret_end)
{
	for (struct job *job = pool->jobs; job; job = job->following) {
		if (take(job, ret_start, ret_end)) {
			return job;
		}
	}
	return NULL;
}

static void *thread_main(void *arg)
{
	struct pool_thread *self = arg;
	struct dr_copy_pool *pool = self->pool;
	uint64_t start, end;

	(void)pthread_mutex_lock(&pool->lock);
	while (!pool->ending) {
		struct job *job = find_job(pool, &start, &end);

		if (!job) {
			(void)pthread_cond_wait(&pool->work, &pool->lock);
			continue;
		}
		struct dr_copy_result result = { .ost = UINT32_MAX };

		job->workers++;
		(void)pthread_mutex_unlock(&pool->lock);
		job->fn(job->copy, self->buffer, start, end, false, &job->stop, &result);
		(void)pthread_mutex_lock(&pool->lock);
		note(job, &result);
		job->workers--;
		(void)pthread_cond_broadcast(&pool->done);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static void unlist(struct dr_copy_pool *pool, const struct job *job)
{
	for (struct job **at = &pool->jobs; *at; at = &(*at)->following) {
		if (*at == job) {
			*at = job->following;
			return;
		}
	}
}

void dr_copy_pool_run(struct dr_copy_pool *pool, const struct dr_copy *copy, uint64_t start,
	uint64_t end, dr_copy_segment_fn *fn, struct dr_copy_result *result)
{
	struct job job = { .copy = copy, .fn = fn, .next = start, .end = end };
	uint64_t from, to;

	(void)pthread_mutex_lock(&pool->lock);
	job.following = pool->jobs;
	pool->jobs = &job;
	(void)pthread_cond_broadcast(&pool->work);
	while (take(&job, &from, &to)) {
		struct dr_copy_result own = { .ost = UINT32_MAX };

		(void)pthread_mutex_unlock(&pool->lock);
		fn(copy, copy->buffer, from, to, true, &job.stop, &own);
		(void)pthread_mutex_lock(&pool->lock);
		note(&job, &own);
	}
	unlist(pool, &job);
	while (job.workers > 0) {
		(void)pthread_cond_wait(&pool->done, &pool->lock);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	*result = job.result;
}

int dr_copy_pool_new(unsigned threads, size_t buffer_bytes, struct dr_copy_pool **ret_pool)
{
	struct dr_copy_pool *pool = dr_xcalloc(1, sizeof(*pool));
	int r = 0;

	(void)pthread_mutex_init(&pool->lock, NULL);
	(void)pthread_cond_init(&pool->work, NULL);
	(void)pthread_cond_init(&pool->done, NULL);
	pool->threads = dr_xcalloc(threads ? threads : 1, sizeof(*pool->threads));
	pool->n_threads = threads;
	for (unsigned i = 0; i < threads && r == 0; i++) {
		struct pool_thread *thread = &pool->threads[i];

		thread->pool = pool;
		r = -posix_memalign(
			(void **)&thread->buffer, (size_t)sysconf(_SC_PAGESIZE), buffer_bytes);
		r = r < 0 ? r : -pthread_create(&thread->thread, NULL, thread_main, thread);
		thread->started = r == 0;
	}
	if (r < 0) {
		dr_copy_pool_free(pool);
		return r;
	}
	*ret_pool = pool;
	return 0;
}

void dr_copy_pool_free(struct dr_copy_pool *pool)
{
	if (!pool) {
		return;
	}
	(void)pthread_mutex_lock(&pool->lock);
	pool->ending = true;
	(void)pthread_cond_broadcast(&pool->work);
	(void)pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++) {
		if (pool->threads[i].started) {
			(void)pthread_join(pool->threads[i].thread, NULL);
		}
		free(pool->threads[i].buffer);
	}
	free(pool->threads);
	(void)pthread_cond_destroy(&pool->work);
	(void)pthread_cond_destroy(&pool->done);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool);
}
