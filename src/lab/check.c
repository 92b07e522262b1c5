/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab/check.h"

#include "base/text.h"
#include "lab/args.h"
#include "lab/commands.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void dr_index_fini(struct dr_index *index)
{
	free(index->slots);
	*index = (struct dr_index){ 0 };
}

static struct dr_index_slot *slot_of(const struct dr_index *index, uint64_t a, uint64_t b)
{
	uint64_t hash = (a * 0x9e3779b97f4a7c15u ^ b) * 0xbf58476d1ce4e5b9u;
	size_t i = (size_t)(hash >> 24) & (index->cap - 1);

	while (index->slots[i].used && (index->slots[i].a != a || index->slots[i].b != b)) {
		i = (i + 1) & (index->cap - 1);
	}
	return &index->slots[i];
}

struct dr_index_slot *dr_index_find(const struct dr_index *index, uint64_t a, uint64_t b)
{
	struct dr_index_slot *slot = index->cap ? slot_of(index, a, b) : NULL;

	return slot && slot->used ? slot : NULL;
}

struct dr_index_slot *dr_index_put(
	struct dr_index *index, uint64_t a, uint64_t b, uint32_t value, bool *ret_new)
{
	struct dr_index_slot *slot;

	if (index->n * 2 >= index->cap) {
		struct dr_index bigger = { .n = index->n,
			.cap = index->cap ? index->cap * 2 : 1024 };

		bigger.slots = dr_xcalloc(bigger.cap, sizeof(*bigger.slots));
		for (size_t i = 0; i < index->cap; i++) {
			if (index->slots[i].used) {
				*slot_of(&bigger, index->slots[i].a, index->slots[i].b) =
					index->slots[i];
			}
		}
		free(index->slots);
		*index = bigger;
	}
	slot = slot_of(index, a, b);
	*ret_new = !slot->used;
	if (!slot->used) {
		*slot = (struct dr_index_slot){ .a = a, .b = b, .value = value, .used = true };
		index->n++;
	}
	return slot;
}

void dr_check_fault(struct dr_check *check, const char *fmt, ...)
{
	int saved = errno; /* for %m */
	va_list ap;

	check->n_faults++;
	(void)fputs("fault: ", stdout);
	errno = saved;
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	(void)putchar('\n');
}

char *dr_check_path(const struct dr_check *check, uint32_t number)
{
	const char *path = (const char *)check->paths.data + check->path_at[number];

	return dr_quote(path, strlen(path));
}

uint32_t dr_check_add_file(struct dr_check *check, const struct dr_fid *fid, const char *path,
	size_t len, bool *ret_new)
{
	uint64_t low = (uint64_t)fid->oid << 32 | fid->ver;
	uint32_t number =
		dr_index_put(&check->files, fid->seq, low, (uint32_t)check->n_files, ret_new)
			->value;

	if (!*ret_new) {
		return number;
	}
	if (check->n_files == check->cap_files) {
		check->cap_files = check->cap_files ? check->cap_files * 2 : 1024;
		check->path_at =
			dr_xrealloc(check->path_at, check->cap_files * sizeof(*check->path_at));
	}
	check->path_at[check->n_files++] = check->paths.len;
	dr_buf_put(&check->paths, path, len);
	dr_buf_put_u8(&check->paths, 0);
	return number;
}

/* How many processes' journals lie in the lab; called before it is opened, for that cleans up. */
static uint64_t count_journals(const char *dir)
{
	dr_cleanup(dr_freep) char *path = dr_xasprintf("%s/journal", dir);
	DIR *journals = opendir(path);
	uint64_t n = 0;
	const struct dirent *e;

	if (!journals) {
		return 0;
	}
	/* The stream belongs to this call: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while ((e = readdir(journals))) {
		n += e->d_name[0] != '.';
	}
	(void)closedir(journals);
	return n;
}

/* A journal that nobody holds a lock on is a dead process's, and should have been cleaned up. */
static uint64_t check_journals(struct dr_check *check)
{
	int fd = openat(check->lab->journal_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *journals = fd < 0 ? NULL : fdopendir(fd);
	uint64_t n_held = 0;
	const struct dirent *e;

	if (!journals) {
		dr_check_fault(check, "the journal cannot be read: %m");
		dr_fd_closep(&fd);
		return 0;
	}
	/* The stream belongs to this call: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while ((e = readdir(journals))) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		dr_cleanup(dr_fd_closep) int one = -EBADF;

		if (e->d_name[0] == '.') {
			continue;
		}
		one = openat(dirfd(journals), e->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (one < 0 || fcntl(one, F_OFD_GETLK, &lock) < 0) {
			continue; /* gone with its process */
		}
		if (lock.l_type == F_UNLCK) {
			dr_check_fault(check, "journal/%s is left from a dead process", e->d_name);
		} else {
			n_held++;
		}
	}
	(void)closedir(journals);
	return n_held;
}

bool dr_check_busy(struct dr_check *check)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	/* Others hold a read lock on the state while they have the lab open. */
	if (fcntl(check->lab->state_fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
		check->busy = true;
	}
	return check->busy;
}

static void note(uint64_t n, const char *what)
{
	char count[32];

	if (n > 0) {
		dr_say("note: %s %s", dr_text_count(count, sizeof(count), n), what);
	}
}

static int run_check(struct dr_check *check, uint64_t n_journals_before)
{
	uint64_t n_held = check_journals(check);
	char files[32], objects[32], bytes[32];
	int r;

	if (n_journals_before > n_held) {
		note(n_journals_before - n_held, "killed or ended processes were cleaned up after");
	}
	r = dr_check_files(check);
	if (r == 0) {
		r = dr_check_osts(check);
	}
	if (r == 0) {
		r = dr_check_leftovers(check);
	}
	if (r < 0) {
		errno = -r;
		dr_say("cannot go on with the check: %m");
		return DR_EXIT_FAILED;
	}
	note(check->n_freed, "objects of removed files were freed");
	note(check->n_leftovers, "layouts and archived data of removed files were freed");
	note(check->n_open, "objects of removed files that are still open stay for now");
	note(check->n_unknown,
		"objects of files that were not found stay: without root it cannot be told "
		"whether they are gone");
	note(check->n_unfinished, "objects belong to work in progress of others");
	note(check->n_cut, "objects are longer than their file, which was cut from outside");
	note(check->n_no_layout, "files have no layout: they are no files of the lab");
	note(check->n_copies, "files carry the layout of the file that they were copied from");
	if (check->n_faults > 0) {
		dr_say("%ju faults in %s", (uintmax_t)check->n_faults, check->lab->dir);
		return DR_EXIT_FAILED;
	}
	(void)printf("ok: %s files, %ju of them released, %s objects, %s on %u OSTs%s\n",
		dr_text_count(files, sizeof(files), check->n_files), (uintmax_t)check->n_released,
		dr_text_count(objects, sizeof(objects), check->n_objects),
		dr_text_bytes(bytes, sizeof(bytes), check->bytes), check->lab->n_osts,
		check->busy ? "; the lab is in use, usage was not compared" : "");
	return DR_EXIT_OK;
}

struct check_args {
	struct dr_args args;
	const char *dir;
};

static error_t check_parse(int key, char *arg, struct argp_state *state)
{
	struct check_args *args = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		return dr_args_take(state, arg, &args->dir, 1);
	case ARGP_KEY_END:
		return args->dir ? 0 : dr_args_fail(state, "check: which lab?");
	default:
		return dr_args_other(key, arg, state);
	}
}

int dr_cmd_check(int argc, char **argv)
{
	static const struct argp_option options[] = { { "help", 'h', NULL, 0, "Print this", -1 },
		{ 0 } };
	static const struct argp argp = { options, check_parse, "DIR",
		"Proves that every layout has its objects, that every object is named by exactly one layout and "
		"no longer than its part of the file, and that the usage adds up. First cleans up "
		"after killed processes and removed files.",
		NULL, NULL, NULL };
	struct check_args args = { 0 };
	dr_cleanup(dr_lab_closep) struct dr_lab *lab = NULL;
	struct dr_check check = { .whole = true };
	uint64_t n_journals;
	int r = dr_args_parse(&argp, argc, argv, &args.args);

	if (r != DR_EXIT_OK) {
		return r;
	}
	n_journals = count_journals(args.dir);
	r = dr_args_open_lab(args.dir, &lab);
	if (r != DR_EXIT_OK) {
		return r;
	}
	check.lab = lab;
	(void)dr_check_busy(&check);
	r = run_check(&check, n_journals);
	dr_index_fini(&check.files);
	dr_index_fini(&check.objects);
	dr_buf_fini(&check.paths);
	free(check.path_at);
	return r;
}
