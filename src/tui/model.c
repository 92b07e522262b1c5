/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tui/model.h"

#include "base/buf.h"

#define N_SAMPLES (TOP_RATE_SECONDS + 1)
#define SAMPLE_NS 900000000u /* between two samples, at least */

void top_look_fini(struct top_look *look)
{
	free(look->groups);
	free(look->stalled);
	*look = (struct top_look){ 0 };
}

void top_model_init(struct top_model *model)
{
	*model = (struct top_model){ .server = "", .stalled_s = 3600, .interval_ms = 2000 };
}

void top_model_fini(struct top_model *model)
{
	top_look_fini(&model->look);
	free(model->rows);
	free(model->stalled);
	free(model->before);
	*model = (struct top_model){ 0 };
}

/* --- filters --- */

bool top_model_is_filtered(const struct top_model *model)
{
	return model->filters[TOP_FILTER_MDT][0] || model->filters[TOP_FILTER_ACTION][0] ||
	       model->filters[TOP_FILTER_STATUS][0];
}

bool top_model_wants(void *ctx, const char *mdt, const char *action, const char *status)
{
	const struct top_model *model = ctx;

	return strcasestr(mdt, model->filters[TOP_FILTER_MDT]) &&
	       strcasestr(action, model->filters[TOP_FILTER_ACTION]) &&
	       strcasestr(status, model->filters[TOP_FILTER_STATUS]);
}

/* --- order --- */

static int compare_names(const struct top_row *a, const struct top_row *b)
{
	int r = strcmp(a->mdt, b->mdt);

	r = r ? r : strcmp(a->action, b->action);
	return r ? r : strcmp(a->status, b->status);
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static uint64_t size_of(int64_t diff)
{
	return diff < 0 ? 0 - (uint64_t)diff : (uint64_t)diff;
}

/* The largest number first, the oldest first, names from A to Z. */
static int compare_rows(const void *x, const void *y, void *ctx)
{
	const struct top_row *a = x, *b = y;
	const struct top_model *model = ctx;
	int r = 0;

	switch (model->sort) {
	case TOP_BY_ACTION:
		r = strcmp(a->action, b->action);
		break;
	case TOP_BY_STATUS:
		r = strcmp(a->status, b->status);
		break;
	case TOP_BY_COUNT:
		r = compare_u64(b->count, a->count);
		break;
	case TOP_BY_DIFF:
		r = compare_u64(size_of(b->diff), size_of(a->diff));
		break;
	case TOP_BY_OLDEST:
		/* 0 is none, and comes last. */
		r = compare_u64((uint64_t)a->oldest_s - 1, (uint64_t)b->oldest_s - 1);
		break;
	case TOP_BY_STALLED:
		r = compare_u64(b->stalled, a->stalled);
		break;
	default:
		r = compare_names(a, b);
	}
	if (r) {
		return model->is_reversed ? -r : r;
	}
	return compare_names(a, b);
}

static int compare_with_before(const struct dr_live_group *now, const struct dr_live_group *before)
{
	const struct top_row a = { .mdt = now->mdt, .action = now->action, .status = now->status };
	const struct top_row b = {
		.mdt = before->mdt, .action = before->action, .status = before->status
	};

	return compare_names(&a, &b);
}

static void add_row(
	struct top_model *model, const struct dr_live_group *group, uint64_t count, int64_t diff)
{
	model->n_all_rows++;
	if (!top_model_wants(model, group->mdt, group->action, group->status)) {
		return;
	}
	model->rows[model->n_rows++] = (struct top_row){
		.mdt = group->mdt,
		.action = group->action,
		.status = group->status,
		.count = count,
		.diff = diff,
		.oldest_s = count ? group->oldest_s : 0,
		.stalled = count ? group->stalled : 0,
	};
}

/* What is and what was, both sorted by names, in one pass. */
static void make_rows(struct top_model *model)
{
	const struct top_look *look = &model->look;
	size_t i = 0, j = 0;

	free(model->rows);
	model->rows = dr_xcalloc(look->n_groups + model->n_before + 1, sizeof(*model->rows));
	model->n_rows = 0;
	model->n_all_rows = 0;
	while (i < look->n_groups || j < model->n_before) {
		const struct dr_live_group *now = i < look->n_groups ? &look->groups[i] : NULL;
		const struct dr_live_group *before = j < model->n_before ? &model->before[j] : NULL;
		int r = !now ? 1 : !before ? -1 : compare_with_before(now, before);

		if (r > 0) {
			add_row(model, before, 0, -(int64_t)before->count);
		} else {
			int64_t base = r == 0 ? (int64_t)before->count : 0;

			/* Without a look before, nothing is a difference. */
			add_row(model, now, now->count,
				model->before ? (int64_t)now->count - base : 0);
		}
		i += r <= 0;
		j += r >= 0;
	}
}

void top_model_arrange(struct top_model *model)
{
	const struct top_look *look = &model->look;

	make_rows(model);
	qsort_r(model->rows, model->n_rows, sizeof(*model->rows), compare_rows, model);
	free(model->stalled);
	model->stalled = dr_xcalloc(look->n_stalled + 1, sizeof(*model->stalled));
	model->n_stalled = 0;
	for (size_t i = 0; i < look->n_stalled; i++) {
		const struct dr_live_action *action = &look->stalled[i];

		if (top_model_wants(model, action->mdt, action->action, action->status)) {
			model->stalled[model->n_stalled++] = *action;
		}
	}
}

/* --- rates --- */

static void add_sample(struct top_model *model)
{
	const struct top_look *look = &model->look;
	struct top_sample *last;

	if (model->n_samples) {
		last = &model->samples[(model->first_sample + model->n_samples - 1) % N_SAMPLES];
		if (look->now_ns - last->ns < SAMPLE_NS) {
			return;
		}
	}
	if (model->n_samples == N_SAMPLES) {
		model->first_sample = (model->first_sample + 1) % N_SAMPLES;
		model->n_samples--;
	}
	model->samples[(model->first_sample + model->n_samples++) % N_SAMPLES] =
		(struct top_sample){
			.ns = look->now_ns,
			.begun = look->totals.begun,
			.succeeded = look->totals.succeeded,
			.failed = look->totals.failed,
			.canceled = look->totals.canceled,
		};
}

static void make_rates(struct top_model *model)
{
	const uint64_t window_ns = (uint64_t)TOP_RATE_SECONDS * 1000000000u;
	const struct top_look *look = &model->look;
	const struct top_sample *first;
	double seconds;

	/* One older than the window is kept when the next one is too young: looks may be further apart than that. */
	while (model->n_samples > 1 &&
		look->now_ns - model->samples[(model->first_sample + 1) % N_SAMPLES].ns >=
			window_ns) {
		model->first_sample = (model->first_sample + 1) % N_SAMPLES;
		model->n_samples--;
	}
	first = &model->samples[model->first_sample];
	model->rates = (struct top_rates){ 0 };
	if (!model->n_samples || look->now_ns - first->ns < SAMPLE_NS) {
		return;
	}
	seconds = (double)(look->now_ns - first->ns) / 1e9;
	model->rates = (struct top_rates){
		.is_known = true,
		.seconds = (unsigned)(seconds + 0.5),
		.begun = (double)(look->totals.begun - first->begun) / seconds,
		.succeeded = (double)(look->totals.succeeded - first->succeeded) / seconds,
		.failed = (double)(look->totals.failed - first->failed) / seconds,
		.canceled = (double)(look->totals.canceled - first->canceled) / seconds,
	};
}

void top_model_take(struct top_model *model, struct top_look *look)
{
	/* History is no difference and no rate. */
	bool goes_on = model->look.is_replayed;

	free(model->before);
	model->before = goes_on ? model->look.groups : NULL;
	model->n_before = goes_on ? model->look.n_groups : 0;
	if (goes_on) {
		model->look.groups = NULL;
	}
	if (goes_on && !model->before) {
		model->before = dr_xcalloc(1, sizeof(*model->before));
	}
	top_look_fini(&model->look);
	model->look = *look;
	*look = (struct top_look){ 0 };
	if (model->look.is_replayed) {
		make_rates(model);
		add_sample(model);
	}
	top_model_arrange(model);
}

/* --- what else is asked --- */

int64_t top_model_stalled_before(const struct top_model *model, uint64_t now_ms)
{
	return (int64_t)(now_ms / 1000) - (int64_t)model->stalled_s;
}

uint64_t top_model_age(const struct top_model *model, int64_t since_s)
{
	int64_t now_s = (int64_t)(model->look.now_ms / 1000);

	return since_s > 0 && since_s < now_s ? (uint64_t)(now_s - since_s) : 0;
}

size_t top_model_lines(const struct top_model *model)
{
	return model->page == TOP_PAGE_STALLED ? model->n_stalled : model->n_rows;
}
