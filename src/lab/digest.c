/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab/args.h"
#include "lab/commands.h"
#include "lab/content.h"
#include "lab/tree.h"
#include "lab/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define N_THREADS 2
#define RING 64 /* files under way at most */
#define CHUNK (1u << 20)
#define SUM_BYTES 32

struct job {
	char *path;
	size_t path_len;
	int fd;
	bool done;
	int error; /* negative errno */
	uint8_t sum[SUM_BYTES];
};

/*
 * The main thread walks the tree and puts jobs into a ring, workers take them in that order, and the main thread
 * prints them in that order: ring[n % RING] with tail <= n < head. A worker owns a job from the moment it moves
 * `taken` beyond it until it sets `done`; all else is guarded by the lock.
 */
struct digest {
	struct dr_lab *lab;
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	uint64_t head, taken, tail;
	bool closed; /* no more jobs will come */
	bool failed; /* main thread */
	struct job ring[RING];
};

static int hash_content(struct dr_content *content, EVP_MD_CTX *md, uint8_t *buf, uint8_t *ret_sum)
{
	uint64_t off = 0;
	ssize_t n;

	if (!EVP_DigestInit_ex(md, EVP_sha256(), NULL)) {
		return -ENOMEM;
	}
	while ((n = dr_content_read(content, buf, CHUNK, off)) > 0) {
		if (!EVP_DigestUpdate(md, buf, (size_t)n)) {
			return -EIO;
		}
		off += (uint64_t)n;
	}
	if (n < 0) {
		return (int)n;
	}
	return EVP_DigestFinal_ex(md, ret_sum, NULL) ? 0 : -EIO;
}

static int hash_file(struct dr_lab *lab, int fd, EVP_MD_CTX *md, uint8_t *buf, uint8_t *ret_sum)
{
	struct dr_content content;
	int r = dr_content_open(lab, fd, &content);

	if (r < 0) {
		return r;
	}
	r = hash_content(&content, md, buf, ret_sum);
	dr_content_close(&content);
	return r;
}

static void *worker_main(void *arg)
{
	struct digest *digest = arg;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t *buf = dr_xcalloc(1, CHUNK);

	(void)pthread_mutex_lock(&digest->lock);
	for (;;) {
		struct job *job;

		while (digest->taken == digest->head && !digest->closed) {
			(void)pthread_cond_wait(&digest->work, &digest->lock);
		}
		if (digest->taken == digest->head) {
			break;
		}
		job = &digest->ring[digest->taken++ % RING];
		(void)pthread_mutex_unlock(&digest->lock);
		if (job->error == 0) {
			job->error =
				md ? hash_file(digest->lab, job->fd, md, buf, job->sum) : -ENOMEM;
		}
		(void)pthread_mutex_lock(&digest->lock);
		job->done = true;
		(void)pthread_cond_signal(&digest->done);
	}
	(void)pthread_mutex_unlock(&digest->lock);
	free(buf);
	EVP_MD_CTX_free(md);
	return NULL;
}

/* As sha256sum does it: a name that would break the line is escaped, and a backslash before the sum says so. */
static void print_sum(const struct job *job)
{
	static const char hex[] = "0123456789abcdef";
	struct dr_buf line = { 0 };
	bool escape = false;

	for (size_t i = 0; i < job->path_len && !escape; i++) {
		escape = strchr("\\\n\r", job->path[i]) != NULL;
	}
	if (escape) {
		dr_buf_put(&line, "\\", 1);
	}
	for (size_t i = 0; i < SUM_BYTES; i++) {
		const char two[2] = { hex[job->sum[i] >> 4], hex[job->sum[i] & 15] };
		dr_buf_put(&line, two, 2);
	}
	dr_buf_put(&line, "  ", 2);
	for (size_t i = 0; i < job->path_len; i++) {
		char c = job->path[i];

		if (c == '\\' || c == '\n' || c == '\r') {
			dr_buf_put(&line, c == '\\' ? "\\\\" : c == '\n' ? "\\n" : "\\r", 2);
		} else {
			dr_buf_put(&line, &c, 1);
		}
	}
	dr_buf_put(&line, "\n", 1);
	(void)fwrite(line.data, 1, line.len, stdout);
	dr_buf_fini(&line);
}

/* Prints the oldest job when it is done. The lock is held, and let go while printing. */
static void finish_oldest(struct digest *digest)
{
	struct job *job = &digest->ring[digest->tail % RING];

	while (!job->done) {
		(void)pthread_cond_wait(&digest->done, &digest->lock);
	}
	(void)pthread_mutex_unlock(&digest->lock);
	if (job->error < 0) {
		dr_say_path(job->error, "read", job->path, job->path_len);
		digest->failed = true;
	} else {
		print_sum(job);
	}
	dr_fd_closep(&job->fd);
	free(job->path);
	*job = (struct job){ .fd = -EBADF };
	(void)pthread_mutex_lock(&digest->lock);
	digest->tail++;
}

static void add_job(struct digest *digest, const struct dr_walk *walk)
{
	int fd = dr_tree_open_file(walk->fd, walk->name);
	struct job job = { .path = dr_xmemdup(walk->path, walk->path_len + 1),
		.path_len = walk->path_len,
		.fd = fd,
		.error = fd < 0 ? fd : 0 };

	(void)pthread_mutex_lock(&digest->lock);
	if (digest->head - digest->tail == RING) {
		finish_oldest(digest);
	}
	digest->ring[digest->head++ % RING] = job;
	(void)pthread_cond_signal(&digest->work);
	(void)pthread_mutex_unlock(&digest->lock);
}

static void walk_all(struct digest *digest, struct dr_walk *walk)
{
	int event;

	while ((event = dr_walk_next(walk)) > DR_WALK_END) {
		if (event == DR_WALK_ENTRY && walk->type == DT_REG) {
			add_job(digest, walk);
		}
		if (event == DR_WALK_ERROR) {
			dr_say_path(walk->error, "read", walk->path, walk->path_len);
			digest->failed = true;
		}
	}
	if (event < 0) {
		dr_say_path(event, "go on behind", walk->path, walk->path_len);
		digest->failed = true;
	}
}

static int run_digest(struct digest *digest, struct dr_walk *walk)
{
	pthread_t threads[N_THREADS];
	int n = 0;

	while (n < N_THREADS && pthread_create(&threads[n], NULL, worker_main, digest) == 0) {
		n++;
	}
	if (n == 0) {
		dr_say("cannot start a thread");
		return DR_EXIT_FAILED;
	}
	walk_all(digest, walk);
	(void)pthread_mutex_lock(&digest->lock);
	digest->closed = true;
	(void)pthread_cond_broadcast(&digest->work);
	while (digest->tail < digest->head) {
		finish_oldest(digest);
	}
	(void)pthread_mutex_unlock(&digest->lock);
	for (int i = 0; i < n; i++) {
		(void)pthread_join(threads[i], NULL);
	}
	return digest->failed ? DR_EXIT_FAILED : DR_EXIT_OK;
}

struct digest_args {
	struct dr_args args;
	const char *dir;
};

static error_t digest_parse(int key, char *arg, struct argp_state *state)
{
	struct digest_args *args = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		return dr_args_take(state, arg, &args->dir, 1);
	case ARGP_KEY_END:
		return args->dir ? 0 : dr_args_fail(state, "digest: which lab?");
	default:
		return dr_args_other(key, arg, state);
	}
}

int dr_cmd_digest(int argc, char **argv)
{
	static const struct argp_option options[] = { { "help", 'h', NULL, 0, "Print this", -1 },
		{ 0 } };
	static const struct argp argp = { options, digest_parse, "DIR",
		"Prints the SHA-256 of every regular file by its path in the name space, as sha256sum does, "
		"sorted by path.",
		NULL, NULL, NULL };
	struct digest_args args = { 0 };
	struct digest digest = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.work = PTHREAD_COND_INITIALIZER,
		.done = PTHREAD_COND_INITIALIZER };
	dr_cleanup(dr_lab_closep) struct dr_lab *lab = NULL;
	struct dr_walk walk;
	int fd, r = dr_args_parse(&argp, argc, argv, &args.args);

	if (r != DR_EXIT_OK) {
		return r;
	}
	r = dr_args_open_lab(args.dir, &lab);
	if (r != DR_EXIT_OK) {
		return r;
	}
	digest.lab = lab;
	fd = openat(lab->ns_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? -errno : dr_walk_init(&walk, fd);
	if (r < 0) {
		dr_say_path(r, "read the name space of", args.dir, strlen(args.dir));
		return DR_EXIT_FAILED;
	}
	r = run_digest(&digest, &walk);
	dr_walk_fini(&walk);
	return r;
}
