/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/stages.h"

#include "base/log.h"
#include "campaign/frontier.h"
#include "store/scripts.h"

#include <inttypes.h>
#include <stdio.h>

const char *dr_stage_name(enum dr_stage stage)
{
	static const char *const names[] = { "copy", "links", "look", "delete", "again", "dirtimes",
		"verify" };

	return names[stage];
}

size_t dr_stages_of(const struct dr_spec *spec, enum dr_stage stages[DR_N_STAGES])
{
	unsigned passes = spec->clone.passes;
	size_t n = 0;

	if (passes & DR_PASS_COPY) {
		stages[n++] = DR_STAGE_COPY;
		stages[n++] = DR_STAGE_LINKS;
	}
	if (passes & DR_PASS_DELETE) {
		if (spec->clone.max_delete != UINT64_MAX) {
			stages[n++] = DR_STAGE_LOOK;
		}
		stages[n++] = DR_STAGE_DELETE;
		if (passes & DR_PASS_COPY) {
			stages[n++] = DR_STAGE_AGAIN;
		}
	}
	if (passes & DR_PASS_DIRTIMES) {
		stages[n++] = DR_STAGE_DIRTIMES;
	}
	if (passes & DR_PASS_VERIFY) {
		stages[n++] = DR_STAGE_VERIFY;
	}
	return n;
}

/* The job that a scanning stage begins with: the root. */
static void put_root(struct dr_buf *out, uint64_t stage)
{
	struct dr_frontier frontier = { .round = stage };

	dr_frontier_push(&frontier, "", 0, 0);
	dr_frontier_encode(&frontier, 0, 1, out);
	dr_frontier_fini(&frontier);
}

static void bound_of(const struct dr_spec_clone *clone, char *text, size_t size)
{
	if (clone->max_delete == UINT64_MAX) {
		text[0] = '\0';
	} else {
		(void)snprintf(text, size, "%" PRIu64 "%s", clone->max_delete,
			clone->max_delete_is_percent ? "%" : "");
	}
}

int dr_stage_advance(struct dr_store *store, const struct dr_spec *spec, uint64_t believed)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	enum dr_stage stages[DR_N_STAGES];
	struct dr_buf roots[DR_N_STAGES] = { 0 };
	size_t n = dr_stages_of(spec, stages);
	char bound[32];

	bound_of(&spec->clone, bound, sizeof(bound));
	dr_args_u64(&args, believed);
	dr_args_str(&args, bound);
	dr_args_u64(&args, n);
	for (size_t i = 0; i < n; i++) {
		dr_args_str(&args, dr_stage_name(stages[i]));
	}
	for (size_t i = 0; i < n; i++) {
		if (stages[i] != DR_STAGE_LINKS && stages[i] != DR_STAGE_AGAIN) {
			put_root(&roots[i], i);
		}
		dr_args_bytes(&args, roots[i].len ? (const void *)roots[i].data : "", roots[i].len);
	}
	int r = dr_store_run(store, &dr_script_stage, &args, false, &reply);

	for (size_t i = 0; i < n; i++) {
		dr_buf_fini(&roots[i]);
	}
	if (r < 0) {
		return r;
	}
	int64_t answer = dr_reply_int(reply, 0);

	if (answer == 1 && dr_reply_int(reply, 1) < (int64_t)n) {
		dr_log(DR_LOG_INFO, "stage-begun", "stage=%s",
			dr_stage_name(stages[dr_reply_int(reply, 1)]));
	}
	return (int)answer;
}
