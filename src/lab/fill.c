/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/text.h"
#include "lab/args.h"
#include "lab/commands.h"
#include "lab/mold.h"
#include "lab/pool.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define FILES_PER_DIR 1000u
#define FILES_PER_UNIT 250u /* what a thread takes at once */
#define FILES_MAX 1000000000u
#define DIRS_MAX 1000000u
#define N_THREADS 2
#define IN_MEMORY_MAX (64u << 20) /* bytes of a file whose content is made in memory */
#define CHUNK (1u << 20)

struct fill_args {
	struct dr_args args;
	const char *dir;
	bool has_size;
	uint64_t n_files, n_dirs, min, max, seed;
	const char *pool;
};

static const struct argp_option fill_options[] = {
	{ "files", 'f', "N", 0, "How many files", 0 },
	{ "size", 's', "MIN-MAX", 0,
		"Their sizes, by chance, such as 4K-64K; 4K alone is exactly that", 0 },
	{ "dirs", 'd', "N", 0, "Over how many directories (default: one for each 1000 files)", 0 },
	{ "pool", 'p', "NAME", 0, "A pool that all layouts name, and whose OSTs the objects lie on",
		0 },
	{ "seed", 'S', "N", 0, "Decides sizes, content and OSTs (default 0)", 0 },
	{ "help", 'h', NULL, 0, "Print this", -1 },
	{ 0 },
};

static error_t parse_size_range(struct argp_state *state, const char *arg, struct fill_args *args)
{
	dr_cleanup(dr_freep) char *low = dr_xstrdup(arg);
	char *high = strchr(low, '-');
	error_t e;

	if (high) {
		*high++ = 0;
	}
	e = dr_args_size(state, "--size", low, &args->min);
	if (e == 0) {
		e = dr_args_size(state, "--size", high ? high : low, &args->max);
	}
	if (e != 0) {
		return e;
	}
	if (args->min > args->max) {
		return dr_args_fail(state, "--size: '%s' is more than '%s'", low, high);
	}
	args->has_size = true;
	return 0;
}

static error_t fill_parse(int key, char *arg, struct argp_state *state)
{
	struct fill_args *args = state->input;

	switch (key) {
	case 'f':
		return dr_args_u64(state, "--files", arg, 1, FILES_MAX, &args->n_files);
	case 's':
		return parse_size_range(state, arg, args);
	case 'd':
		return dr_args_u64(state, "--dirs", arg, 1, DIRS_MAX, &args->n_dirs);
	case 'p':
		return dr_pool_parse(state, arg, &args->pool);
	case 'S':
		return dr_args_u64(state, "--seed", arg, 0, UINT64_MAX, &args->seed);
	case ARGP_KEY_ARG:
		return dr_args_take(state, arg, &args->dir, 1);
	case ARGP_KEY_END:
		if (!args->dir) {
			return dr_args_fail(state, "fill: which lab?");
		}
		if (args->n_files == 0 || !args->has_size) {
			return dr_args_fail(state, "fill: --files N and --size MIN-MAX are needed");
		}
		if (args->n_dirs == 0) {
			args->n_dirs = (args->n_files + FILES_PER_DIR - 1) / FILES_PER_DIR;
		}
		return 0;
	default:
		return dr_args_other(key, arg, state);
	}
}

/*
 * The files are dealt out to the threads in units: unit u is part u / dirs of directory u % dirs, so that
 * neighbours work in different directories. Size, content and OSTs of a file follow from its number
 * alone, whichever thread makes it.
 */
struct fill {
	struct dr_lab *lab;
	const struct fill_args *args;
	struct dr_mold mold;
	uint32_t first_dir;
	uint64_t units_per_dir;
	_Atomic uint64_t next_unit;
	_Atomic uint64_t bytes;
	_Atomic bool failed; /* set once, by who tells why */
};

struct filler {
	struct fill *fill;
	pthread_t thread;
	struct dr_mold_place place;
	int memory, disk; /* where content is made: a memfd; a nameless file, opened when needed */
	uint64_t memory_size;
	uint64_t *chunk; /* CHUNK bytes */
};

static void dir_name(char *buf, size_t size, uint64_t number)
{
	(void)snprintf(buf, size, "d%04ju", (uintmax_t)number);
}

static uint64_t first_file_of(const struct fill *fill, uint64_t dir)
{
	/* Both factors are bounded by FILES_MAX and DIRS_MAX. */
	return dir * fill->args->n_files / fill->args->n_dirs;
}

static int write_random(struct filler *filler, int fd, uint64_t size, uint64_t random)
{
	for (uint64_t off = 0; off < size; off += CHUNK) {
		size_t len = size - off < CHUNK ? (size_t)(size - off) : CHUNK;
		int r;

		for (size_t i = 0; i < (len + 7) / 8; i++) {
			filler->chunk[i] = dr_mold_random(&random);
		}
		r = dr_pwrite_full(fd, filler->chunk, len, (off_t)off);
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

/* The descriptor of a file with this content; -1 for none at all. */
static int make_content(struct filler *filler, uint64_t size, uint64_t random, int *ret_fd)
{
	int fd = filler->memory;

	if (size == 0) {
		*ret_fd = -1;
		return 0;
	}
	if (size > IN_MEMORY_MAX) {
		if (filler->disk < 0) {
			filler->disk = openat(filler->fill->lab->dir_fd, ".",
				O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		}
		if (filler->disk >= 0) {
			fd = filler->disk;
		} else if (errno != EOPNOTSUPP && errno != EISDIR) {
			return -errno;
		}
	}
	if ((fd != filler->memory || filler->memory_size != size) &&
		ftruncate(fd, (off_t)size) < 0) {
		return -errno;
	}
	if (fd == filler->memory) {
		filler->memory_size = size;
	}
	*ret_fd = fd;
	return write_random(filler, fd, size, random);
}

static int make_file(struct filler *filler, int dirfd, uint64_t number, uint64_t *ret_size)
{
	const struct fill_args *args = filler->fill->args;
	uint64_t random = dr_mold_hash(args->seed, &number, sizeof(number));
	uint64_t span = args->max - args->min + 1;
	char name[32];
	struct dr_mold_file file = { .dirfd = dirfd, .name = name, .mode = 0644, .random = random };
	dr_cleanup(dr_fd_closep) int fd = -EBADF;
	int r;

	(void)snprintf(name, sizeof(name), "f%07ju", (uintmax_t)number);
	file.size = args->min + (span > 1 ? dr_mold_random(&random) % span : 0);
	r = make_content(filler, file.size, random, &file.src_fd);
	if (r < 0) {
		return r;
	}
	filler->place.at = args->seed + number;
	*ret_size = file.size;
	return dr_mold_file_make(
		filler->fill->lab, &filler->fill->mold, &filler->place, &file, &fd);
}

static int make_unit(struct filler *filler, uint64_t unit)
{
	struct fill *fill = filler->fill;
	uint64_t dir = unit % fill->args->n_dirs, bytes = 0, size = 0;
	uint64_t at = first_file_of(fill, dir) + unit / fill->args->n_dirs * FILES_PER_UNIT;
	uint64_t end = first_file_of(fill, dir + 1);
	dr_cleanup(dr_fd_closep) int dirfd = -EBADF;
	char name[32], path[80];
	int r;

	if (at >= end) {
		return 0;
	}
	if (end - at > FILES_PER_UNIT) {
		end = at + FILES_PER_UNIT;
	}
	dir_name(name, sizeof(name), fill->first_dir + dir);
	dirfd = openat(fill->lab->ns_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = dirfd < 0 ? -errno : 0;
	(void)snprintf(path, sizeof(path), "%s", name);
	for (; r == 0 && at < end && !atomic_load(&fill->failed); at++) {
		r = make_file(filler, dirfd, at, &size);
		if (r == 0) {
			bytes += size;
		} else {
			(void)snprintf(path, sizeof(path), "%s/f%07ju", name, (uintmax_t)at);
		}
	}
	atomic_fetch_add(&fill->bytes, bytes);
	if (r < 0 && !atomic_exchange(&fill->failed, true)) {
		dr_say_path(r, "make", path, strlen(path));
	}
	return r;
}

static void *filler_main(void *arg)
{
	struct filler *filler = arg;
	struct fill *fill = filler->fill;
	uint64_t n_units = fill->args->n_dirs * fill->units_per_dir;
	uint64_t unit;

	while (!atomic_load(&fill->failed) &&
		(unit = atomic_fetch_add(&fill->next_unit, 1)) < n_units) {
		if (make_unit(filler, unit) < 0) {
			break;
		}
	}
	return NULL;
}

static int filler_init(struct filler *filler, struct fill *fill)
{
	*filler = (struct filler){ .fill = fill, .disk = -EBADF };
	filler->memory = memfd_create("drover-lab-fill", MFD_CLOEXEC);
	if (filler->memory < 0) {
		return -errno;
	}
	filler->chunk = dr_xcalloc(CHUNK / sizeof(uint64_t), sizeof(uint64_t));
	dr_mold_place_init(&filler->place, fill->lab, &fill->mold);
	return 0;
}

static void filler_fini(struct filler *filler)
{
	dr_mold_place_fini(&filler->place);
	free(filler->chunk);
	dr_fd_closep(&filler->memory);
	dr_fd_closep(&filler->disk);
}

/* The directories come behind those that an earlier fill made. */
static int make_dirs(struct fill *fill)
{
	char name[32];
	struct stat st;

	for (;; fill->first_dir++) {
		dir_name(name, sizeof(name), fill->first_dir);
		if (fstatat(fill->lab->ns_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			break;
		}
	}
	for (uint64_t i = 0; i < fill->args->n_dirs; i++) {
		dir_name(name, sizeof(name), fill->first_dir + i);
		if (mkdirat(fill->lab->ns_fd, name, 0755) < 0) {
			int r = -errno;
			dr_say_path(r, "make the directory", name, strlen(name));
			return r;
		}
	}
	return 0;
}

static int run_fill(struct fill *fill)
{
	struct filler fillers[N_THREADS];
	int n = 0, started = 0;

	for (; n < N_THREADS; n++) {
		int r = filler_init(&fillers[n], fill);
		if (r < 0) {
			errno = -r;
			dr_say("cannot get memory for content: %m");
			atomic_store(&fill->failed, true);
			break;
		}
	}
	for (; started < n; started++) {
		if (pthread_create(
			    &fillers[started].thread, NULL, filler_main, &fillers[started]) != 0) {
			break;
		}
	}
	if (n > 0 && started == 0) {
		(void)filler_main(&fillers[0]);
	}
	for (int i = 0; i < started; i++) {
		(void)pthread_join(fillers[i].thread, NULL);
	}
	for (int i = 0; i < n; i++) {
		filler_fini(&fillers[i]);
	}
	return atomic_load(&fill->failed) ? DR_EXIT_FAILED : DR_EXIT_OK;
}

int dr_cmd_fill(int argc, char **argv)
{
	static const struct argp argp = { fill_options, fill_parse, "DIR --files N --size MIN-MAX",
		"Makes files of random bytes in new directories d0000, d0001 and so on.", NULL,
		NULL, NULL };
	struct fill_args args = { 0 };
	struct fill fill = { .args = &args, .mold = { .kind = DR_MOLD_PLAIN } };
	dr_cleanup(dr_lab_closep) struct dr_lab *lab = NULL;
	char bytes[32];
	int r = dr_args_parse(&argp, argc, argv, &args.args);

	if (r != DR_EXIT_OK) {
		return r;
	}
	r = dr_args_open_lab(args.dir, &lab);
	if (r != DR_EXIT_OK) {
		return r;
	}
	fill.lab = lab;
	fill.mold.pool = args.pool;
	r = dr_pool_look_up(lab, &fill.mold);
	if (r != DR_EXIT_OK) {
		return r;
	}
	fill.units_per_dir = (args.n_files / args.n_dirs + 1 + FILES_PER_UNIT - 1) / FILES_PER_UNIT;
	r = make_dirs(&fill) < 0 ? DR_EXIT_FAILED : run_fill(&fill);
	dr_rangeset_fini(&fill.mold.pool_osts);
	if (r == DR_EXIT_OK) {
		(void)printf("made %ju files, %s, in %ju directories\n", (uintmax_t)args.n_files,
			dr_text_bytes(bytes, sizeof(bytes), atomic_load(&fill.bytes)),
			(uintmax_t)args.n_dirs);
	}
	return r;
}
