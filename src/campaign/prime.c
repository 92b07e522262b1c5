/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/control.h"
#include "campaign/frontier.h"
#include "store/scripts.h"

/* Where scans begin: the scan paths and the list, as jobs of the queue. */

/* The scan paths, and the list. */
static size_t count_frontiers(const struct dr_spec *spec)
{
	return spec->n_scan_paths + (spec->n_candidates > 0 ? 1 : 0);
}

void dr_control_put_frontiers(
	const struct dr_spec *spec, uint64_t round, struct dr_args *args, struct dr_buf **ret_bufs)
{
	size_t n = count_frontiers(spec);
	struct dr_buf *bufs = dr_xcalloc(n ? n : 1, sizeof(*bufs));

	for (size_t i = 0; i < n; i++) {
		struct dr_frontier frontier = { .round = round };

		if (i < spec->n_scan_paths) {
			dr_frontier_push(
				&frontier, spec->scan_paths[i].bytes, spec->scan_paths[i].len, 0);
		} else {
			dr_frontier_push_list(&frontier, 0, spec->candidates_bytes);
		}
		dr_frontier_encode(&frontier, 0, 1, &bufs[i]);
		dr_frontier_fini(&frontier);
		dr_args_bytes(args, bufs[i].data, bufs[i].len);
	}
	*ret_bufs = bufs;
}

void dr_control_free_frontiers(const struct dr_spec *spec, struct dr_buf *bufs)
{
	for (size_t i = 0; i < count_frontiers(spec); i++) {
		dr_buf_fini(&bufs[i]);
	}
	free(bufs);
}

/* A script that takes one word and the scan paths. */
static int begin(struct dr_store *store, const struct dr_spec *spec, struct dr_script *script,
	const char *word)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	struct dr_buf *bufs;

	dr_args_str(&args, word);
	dr_control_put_frontiers(spec, 0, &args, &bufs);
	int r = dr_store_run(store, script, &args, false, &reply);

	dr_control_free_frontiers(spec, bufs);
	return r;
}

int dr_control_prime(struct dr_store *store, const struct dr_spec *spec, bool dry_run)
{
	return begin(store, spec, &dr_script_prime, dry_run ? "1" : "0");
}

int dr_control_reprime(struct dr_store *store, const struct dr_spec *spec)
{
	return begin(store, spec, &dr_script_reprime, spec->id);
}
