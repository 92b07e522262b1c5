/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_STAGES_H
#define DR_CAMPAIGN_STAGES_H

#include "campaign/spec.h"
#include "store/store.h"

/*
 * The stages of a clone, one after the other, with a barrier between: a stage begins when nothing of the one before is queued or in hand.
 * A frontier's round is the number of its stage in this order.
 */
enum dr_stage {
	DR_STAGE_COPY,   /* scans the source; directories, and jobs to copy */
	DR_STAGE_LINKS,  /* no scan: the names that were held back become links */
	DR_STAGE_LOOK,   /* scans both; counts what would be deleted, where a bound is set */
	DR_STAGE_DELETE, /* scans both */
	DR_STAGE_AGAIN, /* no scan: files that changed, or had a directory in their place, are tried once more, their links after them */
	DR_STAGE_DIRTIMES, /* scans the source; times of directories */
	DR_STAGE_VERIFY,   /* scans both; jobs to compare */
	DR_N_STAGES,
};

/* "copy" */
const char *dr_stage_name(enum dr_stage stage);
/* The stages of a clone's passes, in order. @return how many */
size_t dr_stages_of(const struct dr_spec *spec, enum dr_stage stages[DR_N_STAGES]);
/*
 * The leader's question whether the stage is over; begins the next one, or ends the campaign. `believed` is the number of the stage as last heard.
 * @return 1 a stage began; 3 the campaign is over; 4 another stage goes on than believed; 0 work is left. @error as dr_store_run()
 */
dr_nodiscard int dr_stage_advance(
	struct dr_store *store, const struct dr_spec *spec, uint64_t believed);

#endif
