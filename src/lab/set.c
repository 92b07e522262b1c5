/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab/set.h"

#include "base/fdio.h"
#include "lab/args.h"
#include "lab/commands.h"
#include "lab/tree.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LATENCY_DEFAULT_MS 20u
#define LATENCY_MAX_MS 3600000u

static const char *const state_names[] = {
	[DR_LAB_UP] = "up",
	[DR_LAB_IS_DOWN] = "down",
	[DR_LAB_FULL] = "full",
	[DR_LAB_CLOSED] = "closed",
	[DR_LAB_SLOW] = "slow",
};
#define N_STATES (sizeof(state_names) / sizeof(state_names[0]))

const char *dr_set_state_name(uint32_t state)
{
	return state < N_STATES ? state_names[state] : "unknown";
}

/* ---- set ---- */

struct set_args {
	struct dr_args args;
	const char *dir;
	struct dr_rangeset osts;
	int state; /* -1: not given */
	bool has_latency, has_bandwidth;
	uint64_t latency_ms, bandwidth;
};

static const struct argp_option set_options[] = {
	{ "ost", 'o', "I", 0, "Which OST; several as 0-3,7", 0 },
	{ "state", 's', "STATE", 0, "up, down, full, closed or slow", 0 },
	{ "latency-ms", 'l', "N", 0,
		"slow: what each object operation takes (default 20 without a bandwidth)", 0 },
	{ "bandwidth", 'b', "B", 0, "slow: bytes per second, such as 10M (default: no limit)", 0 },
	{ "help", 'h', NULL, 0, "Print this", -1 },
	{ 0 },
};

static error_t parse_state(struct argp_state *state, const char *arg, int *ret)
{
	for (size_t i = 0; i < N_STATES; i++) {
		if (strcmp(arg, state_names[i]) == 0) {
			*ret = (int)i;
			return 0;
		}
	}
	return dr_args_fail(state, "--state: it is one of up, down, full, closed, slow");
}

static error_t set_end(struct argp_state *state, struct set_args *args)
{
	if (!args->dir) {
		return dr_args_fail(state, "set: which lab?");
	}
	if (args->osts.count == 0 || args->state < 0) {
		return dr_args_fail(state, "set: --ost I and --state STATE are needed");
	}
	if ((args->has_latency || args->has_bandwidth) && args->state != DR_LAB_SLOW) {
		return dr_args_fail(
			state, "set: --latency-ms and --bandwidth go with --state slow only");
	}
	if (!args->has_latency && !args->has_bandwidth && args->state == DR_LAB_SLOW) {
		args->latency_ms = LATENCY_DEFAULT_MS;
	}
	return 0;
}

static error_t set_parse(int key, char *arg, struct argp_state *state)
{
	struct set_args *args = state->input;
	error_t e;

	switch (key) {
	case 'o':
		if (dr_rangeset_parse(arg, &args->osts) < 0) {
			return dr_args_fail(state, "--ost: it is an index, or several as 0-3,7");
		}
		return 0;
	case 's':
		return parse_state(state, arg, &args->state);
	case 'l':
		args->has_latency = true;
		return dr_args_u64(
			state, "--latency-ms", arg, 0, LATENCY_MAX_MS, &args->latency_ms);
	case 'b':
		args->has_bandwidth = true;
		e = dr_args_size(state, "--bandwidth", arg, &args->bandwidth);
		if (e == 0 && args->bandwidth == 0) {
			return dr_args_fail(state, "--bandwidth: at least 1 byte per second");
		}
		return e;
	case ARGP_KEY_ARG:
		return dr_args_take(state, arg, &args->dir, 1);
	case ARGP_KEY_END:
		return set_end(state, args);
	default:
		return dr_args_other(key, arg, state);
	}
}

static void set_ost(struct dr_lab_ost *ost, const struct set_args *args)
{
	atomic_store(&ost->latency_ms, (uint32_t)args->latency_ms);
	atomic_store(&ost->bandwidth, args->bandwidth);
	atomic_store(&ost->busy_until_ns, 0);
	/* Last: whoever sees the state sees what belongs to it. */
	atomic_store(&ost->state, (uint32_t)args->state);
}

static int run_set(const struct set_args *args)
{
	dr_cleanup(dr_lab_closep) struct dr_lab *lab = NULL;
	int beyond, r = dr_args_open_lab(args->dir, &lab);

	if (r != DR_EXIT_OK) {
		return r;
	}
	beyond = dr_rangeset_next(&args->osts, lab->n_osts);
	if (beyond >= 0) {
		dr_say("--ost: there is no OST %d, the lab has %u (0 to %u)", beyond, lab->n_osts,
			lab->n_osts - 1);
		return DR_EXIT_USAGE;
	}
	for (int i = dr_rangeset_next(&args->osts, 0); i >= 0;
		i = dr_rangeset_next(&args->osts, (uint32_t)i + 1)) {
		set_ost(&lab->state->ost[i], args);
	}
	return DR_EXIT_OK;
}

int dr_cmd_set(int argc, char **argv)
{
	static const struct argp argp = { set_options, set_parse, "DIR --ost I --state STATE",
		"Changes how an OST behaves, at once, for all who use the lab.", NULL, NULL, NULL };
	struct set_args args = { .state = -1 };
	int r = dr_args_parse(&argp, argc, argv, &args.args);

	if (r == DR_EXIT_OK) {
		r = run_set(&args);
	}
	dr_rangeset_fini(&args.osts);
	return r;
}

/* ---- release ---- */

struct release_args {
	struct dr_args args;
	const char *dir;
	char **paths; /* lent from argv */
	size_t n;
};

static error_t release_parse(int key, char *arg, struct argp_state *state)
{
	struct release_args *args = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (!args->dir) {
			args->dir = arg;
		} else {
			args->paths[args->n++] = arg;
		}
		return 0;
	case ARGP_KEY_END:
		if (args->n == 0) {
			return dr_args_fail(
				state, "release: a lab and at least one file are needed");
		}
		return 0;
	default:
		return dr_args_other(key, arg, state);
	}
}

/* Opens a file by its path relative to the name space. No symlink is followed. */
static int open_below(const struct dr_lab *lab, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	dr_cleanup(dr_fd_closep) int dir =
		dr_open_dir_beneath(lab->ns_fd, path, slash ? (size_t)(slash - path) : 0);
	dr_cleanup(dr_fd_closep) int fd = -EBADF;
	struct stat st;

	if (dir < 0) {
		return dir;
	}
	fd = dr_tree_open_file(dir, base);
	if (fd < 0) {
		return fd;
	}
	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	if (!S_ISREG(st.st_mode)) {
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	}
	return dr_steal_fd(&fd);
}

/* The same for a path as the shell sees it: its directory must lie in the name space. */
static int open_outside(const struct dr_lab *lab, const char *path)
{
	dr_cleanup(dr_freep) char *dir = dr_xstrdup(path);
	dr_cleanup(dr_freep) char *real = NULL;
	dr_cleanup(dr_freep) char *ns = NULL;
	dr_cleanup(dr_freep) char *below = NULL;
	char *slash = strrchr(dir, '/');
	size_t len;

	if (!slash || !slash[1]) {
		return -ENOENT;
	}
	*slash = 0;
	real = realpath(slash == dir ? "/" : dir, NULL);
	if (!real) {
		return -errno;
	}
	ns = dr_xasprintf("%s/ns", lab->dir);
	len = strlen(ns);
	if (strncmp(real, ns, len) != 0 || (real[len] != 0 && real[len] != '/')) {
		return -EXDEV;
	}
	below = real[len] ? dr_xasprintf("%s/%s", real + len + 1, slash + 1)
			  : dr_xstrdup(slash + 1);
	return open_below(lab, below);
}

static int open_file(const struct dr_lab *lab, const char *path)
{
	int fd = path[0] == '/' ? -ENOENT : open_below(lab, path);

	return fd == -ENOENT ? open_outside(lab, path) : fd;
}

static int run_release(struct dr_lab *lab, const struct release_args *args)
{
	/* All names are looked at before the first file changes. */
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < args->n; i++) {
			const char *path = args->paths[i];
			dr_cleanup(dr_fd_closep) int fd = open_file(lab, path);
			int r = fd < 0 || pass == 0 ? fd : dr_lab_file_release(lab, fd);

			if (r == -EXDEV && pass == 0) {
				dr_cleanup(dr_freep) char *quoted = dr_quote(path, strlen(path));
				dr_say("'%s' does not lie in the name space %s/ns", quoted,
					lab->dir);
				return DR_EXIT_USAGE;
			}
			if (r < 0) {
				dr_say_path(r, "release", path, strlen(path));
				return pass == 0 ? DR_EXIT_USAGE : DR_EXIT_FAILED;
			}
		}
	}
	return DR_EXIT_OK;
}

int dr_cmd_release(int argc, char **argv)
{
	static const struct argp_option options[] = { { "help", 'h', NULL, 0, "Print this", -1 },
		{ 0 } };
	static const struct argp argp = { options, release_parse, "DIR PATH...",
		"Moves the data of files into the archive and marks their layouts released, as an HSM does. "
		"A PATH is relative to DIR/ns, or one that leads there.",
		NULL, NULL, NULL };
	dr_cleanup(dr_freep) char **paths = dr_xcalloc((size_t)argc, sizeof(*paths));
	struct release_args args = { .paths = paths };
	dr_cleanup(dr_lab_closep) struct dr_lab *lab = NULL;
	int r = dr_args_parse(&argp, argc, argv, &args.args);

	if (r == DR_EXIT_OK) {
		r = dr_args_open_lab(args.dir, &lab);
	}
	return r == DR_EXIT_OK ? run_release(lab, &args) : r;
}
