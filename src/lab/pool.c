/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab/pool.h"

#include "lab/commands.h"

#include <stdio.h>
#include <string.h>

error_t dr_pool_parse(struct argp_state *state, const char *arg, const char **ret_pool)
{
	if (!dr_lab_pool_name_ok(arg)) {
		dr_cleanup(dr_freep) char *quoted = dr_quote(arg, strlen(arg));

		return dr_args_fail(state,
			"'%s' is no name of a pool: up to %d letters, digits, '-', '_' and '.', which "
			"does not come first",
			quoted, DR_POOL_MAX);
	}
	*ret_pool = arg;
	return 0;
}

int dr_pool_look_up(struct dr_lab *lab, struct dr_mold *mold)
{
	int r = mold->pool ? dr_lab_pool_get(lab, mold->pool, &mold->pool_osts) : 0;

	switch (r) {
	case 0:
		return DR_EXIT_OK;
	case -ENOENT:
		dr_say("--pool: the lab has no pool '%s'; drover-lab pool makes one", mold->pool);
		return DR_EXIT_USAGE;
	case -EBADMSG:
		dr_say("--pool: the file of pool '%s' does not name OSTs as 0-3,7", mold->pool);
		return DR_EXIT_USAGE;
	default:
		errno = -r;
		dr_say("cannot read the pool '%s': %m", mold->pool);
		return DR_EXIT_FAILED;
	}
}

/* ---- pool ---- */

struct pool_args {
	struct dr_args args;
	const char *words[3]; /* lab, name, OSTs */
	struct dr_rangeset osts;
	bool remove;
};

static const struct argp_option pool_options[] = {
	{ "remove", 'r', NULL, 0, "Removes the pool; its OSTs and objects stay", 0 },
	{ "help", 'h', NULL, 0, "Print this", -1 },
	{ 0 },
};

static error_t pool_end(struct argp_state *state, struct pool_args *args)
{
	const char *name;

	if (!args->words[1] || (!args->words[2] && !args->remove)) {
		return dr_args_fail(
			state, "pool: a lab, a name, and OSTs (or --remove) are needed");
	}
	if (args->words[2] && args->remove) {
		return dr_args_fail(state, "pool: OSTs and --remove do not go together");
	}
	if (dr_pool_parse(state, args->words[1], &name) != 0) {
		return EINVAL;
	}
	if (args->words[2] && dr_rangeset_parse(args->words[2], &args->osts) < 0) {
		dr_cleanup(dr_freep) char *quoted =
			dr_quote(args->words[2], strlen(args->words[2]));

		return dr_args_fail(state,
			"pool: '%s' does not name OSTs: an index, or several as 0-3,7", quoted);
	}
	return 0;
}

static error_t pool_parse(int key, char *arg, struct argp_state *state)
{
	struct pool_args *args = state->input;

	switch (key) {
	case 'r':
		args->remove = true;
		return 0;
	case ARGP_KEY_ARG:
		return dr_args_take(state, arg, args->words, 3);
	case ARGP_KEY_END:
		return pool_end(state, args);
	default:
		return dr_args_other(key, arg, state);
	}
}

static int run_pool(const struct pool_args *args)
{
	dr_cleanup(dr_lab_closep) struct dr_lab *lab = NULL;
	const char *name = args->words[1];
	int r = dr_args_open_lab(args->words[0], &lab);

	if (r != DR_EXIT_OK) {
		return r;
	}
	int beyond = dr_rangeset_next(&args->osts, lab->n_osts);

	if (beyond >= 0) {
		dr_say("pool: there is no OST %d, the lab has %u (0 to %u)", beyond, lab->n_osts,
			lab->n_osts - 1);
		return DR_EXIT_USAGE;
	}
	r = args->remove ? dr_lab_pool_remove(lab, name) : dr_lab_pool_set(lab, name, &args->osts);
	if (r == -ENOENT) {
		dr_say("the lab has no pool '%s'", name);
		return DR_EXIT_USAGE;
	}
	if (r < 0) {
		errno = -r;
		dr_say("cannot %s the pool '%s': %m", args->remove ? "remove" : "write", name);
		return DR_EXIT_FAILED;
	}
	return DR_EXIT_OK;
}

int dr_cmd_pool(int argc, char **argv)
{
	static const struct argp argp = { pool_options, pool_parse, "DIR NAME OSTS",
		"Makes a pool of OSTs, or gives a pool other OSTs. New objects of a file whose layout names the "
		"pool may only lie on these.",
		NULL, NULL, NULL };
	struct pool_args args = { 0 };
	int r = dr_args_parse(&argp, argc, argv, &args.args);

	if (r == DR_EXIT_OK) {
		r = run_pool(&args);
	}
	dr_rangeset_fini(&args.osts);
	return r;
}
