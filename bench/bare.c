/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The limit that the pipeline is measured against: threads that make the scanner's and the mover's system calls for each
 * file on the given OSTs, and nothing else: no queue, no books, no other process.
 *
 *   bare PATH OSTS THREADS      prints "FILES SECONDS"
 */
#include "base/clock.h"
#include "base/rangeset.h"
#include "base/text.h"
#include "fs/fs.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct bare {
	struct dr_fs *fs;
	struct dr_rangeset sources;
	pthread_mutex_t lock; /* guards dirs */
	char **dirs;
	size_t n_dirs, cap_dirs;
	unsigned busy; /* threads that may still find directories */
	_Atomic uint64_t files;
	_Atomic int error;
};

struct thread {
	struct bare *bare;
	char *path; /* of the directory in hand */
	uint64_t position, files;
};

static void push(struct bare *bare, const char *parent, const char *name)
{
	(void)pthread_mutex_lock(&bare->lock);
	if (bare->n_dirs == bare->cap_dirs) {
		bare->cap_dirs = bare->cap_dirs ? bare->cap_dirs * 2 : 64;
		bare->dirs = dr_xrealloc(bare->dirs, bare->cap_dirs * sizeof(*bare->dirs));
	}
	bare->dirs[bare->n_dirs++] =
		parent[0] ? dr_xasprintf("%s/%s", parent, name) : dr_xstrdup(name);
	(void)pthread_mutex_unlock(&bare->lock);
}

/* The calls of a dry move, in its order. */
static int touch(struct dr_dir *dir, const struct dr_entry *entry)
{
	const struct dr_fs_driver *ops = dir->fs->ops;
	struct dr_file *file dr_cleanup(dr_file_closep) = NULL;
	struct dr_buf layout dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_stat st;
	uint64_t version;
	int r = ops->entry_stat(dir, entry->name, &st);

	if (r == 0) {
		r = ops->file_open(dir, entry->name, &entry->fid, DR_OPEN_MOVE, &file);
	}
	if (r == 0) {
		r = ops->lease_take(file);
	}
	if (r == 0) {
		r = ops->file_layout(file, &layout);
	}
	if (r == 0) {
		r = ops->file_stat(file, &st);
	}
	return r < 0 ? r : ops->data_version(file, &st, &version);
}

static int visit(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	struct thread *thread = ctx;
	struct dr_layout_look look;
	int r;

	thread->position = entry->position;
	if (entry->type == DR_TYPE_DIR) {
		push(thread->bare, thread->path, entry->name);
		return 0;
	}
	if (entry->type != DR_TYPE_FILE || !entry->layout) {
		return 0;
	}
	r = dr_layout_look(entry->layout, entry->layout_len, &thread->bare->sources, &look);
	if (r < 0 || !(look.flags & DR_LAYOUT_ON_SET)) {
		return r;
	}
	thread->files++;
	return touch(dir, entry);
}

static int read_dir(struct thread *thread)
{
	struct dr_fs *fs = thread->bare->fs;
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = NULL;
	int r = fs->ops->dir_open(fs, thread->path, strlen(thread->path), &dir);

	thread->position = 0;
	while (r >= 0) {
		r = fs->ops->dir_read(dir, thread->position, visit, thread);
		if (r != DR_DIR_MORE) {
			break;
		}
	}
	return r;
}

static void *thread_main(void *arg)
{
	struct thread thread = { .bare = arg };
	struct bare *bare = arg;
	bool counted = true;

	for (;;) {
		(void)pthread_mutex_lock(&bare->lock);
		if (!counted && bare->n_dirs > 0) {
			bare->busy++;
			counted = true;
		} else if (counted && bare->n_dirs == 0) {
			bare->busy--;
			counted = false;
		}
		bool over = bare->n_dirs == 0 && bare->busy == 0;
		thread.path = bare->n_dirs > 0 ? bare->dirs[--bare->n_dirs] : NULL;
		(void)pthread_mutex_unlock(&bare->lock);
		if (over || atomic_load(&bare->error)) {
			free(thread.path);
			break;
		}
		if (!thread.path) {
			dr_sleep_ms(1);
			continue;
		}
		int r = read_dir(&thread);

		if (r < 0) {
			atomic_store(&bare->error, r);
		}
		free(thread.path);
	}
	(void)atomic_fetch_add(&bare->files, thread.files);
	return NULL;
}

int main(int argc, char **argv)
{
	struct bare bare = { .lock = PTHREAD_MUTEX_INITIALIZER };
	uint64_t n_threads = 0;
	char *rest = NULL;

	(void)signal(SIGIO, SIG_IGN);
	if (argc != 4 || dr_rangeset_parse(argv[2], &bare.sources) < 0 ||
		dr_text_parse_u64(argv[3], 1, 64, &n_threads) < 0 ||
		dr_fs_open(argv[1], &bare.fs, &rest) < 0) {
		(void)fprintf(stderr, "usage: bare PATH OSTS THREADS\n");
		return 2;
	}
	pthread_t threads[64];
	uint64_t began = dr_now_ns();

	push(&bare, "", rest);
	bare.busy = (unsigned)n_threads;
	for (uint64_t i = 0; i < n_threads; i++) {
		if (pthread_create(&threads[i], NULL, thread_main, &bare) != 0) {
			return 1;
		}
	}
	for (uint64_t i = 0; i < n_threads; i++) {
		(void)pthread_join(threads[i], NULL);
	}
	(void)printf("%" PRIu64 " %.4f\n", atomic_load(&bare.files),
		(double)(dr_now_ns() - began) / 1e9);
	dr_fs_close(bare.fs);
	free(rest);
	free(bare.dirs);
	dr_rangeset_fini(&bare.sources);
	return atomic_load(&bare.error) < 0;
}
