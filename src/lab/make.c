/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/text.h"
#include "lab/args.h"
#include "lab/commands.h"
#include "lab/mold.h"
#include "lab/pool.h"
#include "lab/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define MDT_MAX 64

/* ---- create ---- */

struct create_args {
	struct dr_args args;
	const char *dir;
	uint64_t n_osts, n_mdts, ost_size;
};

static const struct argp_option create_options[] = {
	{ "osts", 'o', "N", 0, "How many OSTs (1 to 4096)", 0 },
	{ "mdts", 'm', "N", 0, "How many MDTs (1 to 64, default 1)", 0 },
	{ "ost-size", 's', "SIZE", 0,
		"Size of each OST; default: as big as the disk beneath allows", 0 },
	{ "help", 'h', NULL, 0, "Print this", -1 },
	{ 0 },
};

static error_t create_parse(int key, char *arg, struct argp_state *state)
{
	struct create_args *args = state->input;
	error_t e;

	switch (key) {
	case 'o':
		return dr_args_u64(state, "--osts", arg, 1, DR_LAB_OST_MAX, &args->n_osts);
	case 'm':
		return dr_args_u64(state, "--mdts", arg, 1, MDT_MAX, &args->n_mdts);
	case 's':
		e = dr_args_size(state, "--ost-size", arg, &args->ost_size);
		if (e == 0 && args->ost_size < DR_LAB_BLOCK) {
			return dr_args_fail(state, "--ost-size: at least %u bytes", DR_LAB_BLOCK);
		}
		return e;
	case ARGP_KEY_ARG:
		return dr_args_take(state, arg, &args->dir, 1);
	case ARGP_KEY_END:
		if (!args->dir) {
			return dr_args_fail(
				state, "create: which folder is the lab to be made in?");
		}
		if (args->n_osts == 0) {
			return dr_args_fail(state, "create: --osts N is needed");
		}
		return 0;
	default:
		return dr_args_other(key, arg, state);
	}
}

int dr_cmd_create(int argc, char **argv)
{
	static const struct argp argp = { create_options, create_parse, "DIR --osts N",
		"Makes an empty lab: a simulated Lustre in a folder that is new or empty.", NULL,
		NULL, NULL };
	struct create_args args = { .n_mdts = 1 };
	dr_cleanup(dr_freep) char *quoted = NULL;
	int r = dr_args_parse(&argp, argc, argv, &args.args);

	if (r != DR_EXIT_OK) {
		return r;
	}
	quoted = dr_quote(args.dir, strlen(args.dir));
	r = dr_lab_create(args.dir, (uint32_t)args.n_osts, (uint32_t)args.n_mdts, args.ost_size);
	if (r == -EEXIST || r == -ENOTEMPTY) {
		dr_say("'%s' exists and is not an empty folder", quoted);
		return DR_EXIT_USAGE;
	}
	if (r < 0) {
		dr_say_path(r, "create the lab", args.dir, strlen(args.dir));
		return DR_EXIT_FAILED;
	}
	(void)printf("created lab %s: %ju OSTs, %ju MDTs, name space %s/ns\n", quoted,
		(uintmax_t)args.n_osts, (uintmax_t)args.n_mdts, quoted);
	return DR_EXIT_OK;
}

/* ---- import ---- */

struct import_args {
	struct dr_args args;
	const char *paths[2]; /* lab, tree */
	struct dr_mold mold;
};

static const struct argp_option import_options[] = {
	{ "stripe-count", 'c', "C", 0,
		"Stripes of a file; -1: on all OSTs; more than there are OSTs: overstriped (default 1)",
		0 },
	{ "stripe-size", 'S', "SIZE", 0, "A multiple of 64K (default 4M)", 0 },
	{ "layout", 'l', "KIND", 0, "plain (default), pfl, or mixed: kinds by chance", 0 },
	{ "pool", 'p', "NAME", 0, "A pool that all layouts name, and whose OSTs the objects lie on",
		0 },
	{ "seed", 's', "N", 0, "Decides what is left to chance (default 0)", 0 },
	{ "help", 'h', NULL, 0, "Print this", -1 },
	{ 0 },
};

static error_t parse_stripe_count(struct argp_state *state, const char *arg, int *ret)
{
	uint64_t n;
	error_t e;

	if (strcmp(arg, "-1") == 0) {
		*ret = DR_MOLD_ALL_STRIPES;
		return 0;
	}
	e = dr_args_u64(state, "--stripe-count (or -1)", arg, 1, DR_STRIPE_MAX, &n);
	if (e == 0) {
		*ret = (int)n;
	}
	return e;
}

static error_t parse_stripe_size(struct argp_state *state, const char *arg, uint32_t *ret)
{
	uint64_t size;
	error_t e = dr_args_size(state, "--stripe-size", arg, &size);

	if (e != 0) {
		return e;
	}
	if (size == 0 || size % DR_STRIPE_ALIGN != 0 || size > UINT32_MAX) {
		return dr_args_fail(
			state, "--stripe-size: '%s' is not a multiple of 64K below 4G", arg);
	}
	*ret = (uint32_t)size;
	return 0;
}

static error_t parse_kind(struct argp_state *state, const char *arg, enum dr_mold_kind *ret)
{
	static const char *const names[] = {
		[DR_MOLD_PLAIN] = "plain", [DR_MOLD_PFL] = "pfl", [DR_MOLD_MIXED] = "mixed"
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(arg, names[i]) == 0) {
			*ret = (enum dr_mold_kind)i;
			return 0;
		}
	}
	return dr_args_fail(state, "--layout: it is one of plain, pfl, mixed");
}

static error_t import_parse(int key, char *arg, struct argp_state *state)
{
	struct import_args *args = state->input;

	switch (key) {
	case 'c':
		return parse_stripe_count(state, arg, &args->mold.stripe_count);
	case 'S':
		return parse_stripe_size(state, arg, &args->mold.stripe_size);
	case 'l':
		return parse_kind(state, arg, &args->mold.kind);
	case 'p':
		return dr_pool_parse(state, arg, &args->mold.pool);
	case 's':
		return dr_args_u64(state, "--seed", arg, 0, UINT64_MAX, &args->mold.seed);
	case ARGP_KEY_ARG:
		return dr_args_take(state, arg, args->paths, 2);
	case ARGP_KEY_END:
		if (!args->paths[1]) {
			return dr_args_fail(state, "import: two folders are needed, DIR and TREE");
		}
		return 0;
	default:
		return dr_args_other(key, arg, state);
	}
}

struct import {
	struct dr_lab *lab;
	struct dr_mold mold;
	struct dr_mold_place place;
};

static int import_file(void *ctx, const struct dr_tree_file *file, int *ret_fd)
{
	struct import *import = ctx;
	const struct dr_mold_file new_file = {
		.dirfd = file->dst_dir_fd,
		.name = file->name,
		.mode = 0600,
		.size = (uint64_t)file->st.st_size,
		.random = dr_mold_hash(import->mold.seed, file->path, file->path_len),
		.src_fd = file->src_fd,
	};

	return dr_mold_file_make(import->lab, &import->mold, &import->place, &new_file, ret_fd);
}

/* Import adds to a name space, and never merges with what is there. Tells. @return an exit code */
static int check_names_free(const struct dr_lab *lab, int tree_fd)
{
	int fd = openat(tree_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int code = DR_EXIT_OK;
	struct dirent *e;

	if (!dir) {
		dr_say("cannot read the tree: %m");
		dr_fd_closep(&fd);
		return DR_EXIT_FAILED;
	}
	/* The stream belongs to this call: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (code == DR_EXIT_OK && (e = readdir(dir))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
			continue;
		}
		if (faccessat(lab->ns_fd, e->d_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
			dr_cleanup(dr_freep) char *quoted = dr_quote(e->d_name, strlen(e->d_name));
			dr_say("'%s' exists in the name space already; if it is what an interrupted "
			       "import left, remove it first (rm -r %s/ns/...)",
				quoted, lab->dir);
			code = DR_EXIT_FAILED;
		}
	}
	(void)closedir(dir);
	return code;
}

static void print_import(const struct dr_tree_counts *counts, const char *tree)
{
	dr_cleanup(dr_freep) char *quoted = dr_quote(tree, strlen(tree));
	char bytes[32];

	(void)printf(
		"imported %s: %ju files, %s, %ju directories, %ju symlinks, %ju more hard links, "
		"%ju others\n",
		quoted, (uintmax_t)counts->files,
		dr_text_bytes(bytes, sizeof(bytes), counts->bytes), (uintmax_t)counts->dirs,
		(uintmax_t)counts->links, (uintmax_t)counts->hard_links, (uintmax_t)counts->others);
	if (counts->unreadable > 0) {
		dr_say("%ju entries of the tree could not be read and are missing",
			(uintmax_t)counts->unreadable);
	}
}

static int run_import(
	struct dr_lab *lab, const struct dr_mold *mold, const char *tree, int *tree_fd)
{
	struct import import = { .lab = lab, .mold = *mold };
	struct dr_tree_counts counts;
	int code, r, ns;

	code = check_names_free(lab, *tree_fd);
	if (code != DR_EXIT_OK) {
		return code;
	}
	ns = openat(lab->ns_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ns < 0) {
		dr_say("cannot open the name space: %m");
		return DR_EXIT_FAILED;
	}
	dr_mold_place_init(&import.place, lab, mold);
	if (import.place.n > 0) {
		import.place.at = mold->seed % import.place.n;
	}
	r = dr_tree_copy(dr_steal_fd(tree_fd), ns, import_file, &import, &counts);
	dr_mold_place_fini(&import.place);
	if (r == 0) {
		print_import(&counts, tree);
	}
	return r < 0 || counts.unreadable > 0 ? DR_EXIT_FAILED : DR_EXIT_OK;
}

int dr_cmd_import(int argc, char **argv)
{
	static const struct argp argp = { import_options, import_parse, "DIR TREE",
		"Copies what is in TREE into the lab's name space, as cp -a TREE/. DIR/ns would, with a "
		"layout and objects for each file.",
		NULL, NULL, NULL };
	struct import_args args = { 0 };
	dr_cleanup(dr_lab_closep) struct dr_lab *lab = NULL;
	dr_cleanup(dr_fd_closep) int tree_fd = -EBADF;
	dr_cleanup(dr_freep) char *real_tree = NULL;
	dr_cleanup(dr_freep) char *real_lab = NULL;
	const char *tree;
	int r = dr_args_parse(&argp, argc, argv, &args.args);

	if (r != DR_EXIT_OK) {
		return r;
	}
	tree = args.paths[1];
	tree_fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree_fd < 0) {
		dr_say_path(-errno, "open the tree", tree, strlen(tree));
		return DR_EXIT_USAGE;
	}
	r = dr_args_open_lab(args.paths[0], &lab);
	if (r != DR_EXIT_OK) {
		return r;
	}
	real_tree = realpath(tree, NULL);
	real_lab = realpath(lab->dir, NULL);
	if (real_tree && real_lab && dr_tree_overlap(real_tree, real_lab)) {
		dr_say("the tree and the lab lie one in the other; nothing was imported");
		return DR_EXIT_USAGE;
	}
	r = dr_pool_look_up(lab, &args.mold);
	r = r == DR_EXIT_OK ? run_import(lab, &args.mold, tree, &tree_fd) : r;
	dr_rangeset_fini(&args.mold.pool_osts);
	return r;
}
