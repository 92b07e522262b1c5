/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_TESTS_UNIT_TOP_H
#define DR_TESTS_UNIT_TOP_H

#include "tui/model.h"

#include "unit.h"

#define SECOND_NS 1000000000u

/* A look at these groups, whose times are told from 1,000,000 s on. */
static inline struct top_look look_at(unsigned second, const struct dr_live_group *groups, size_t n)
{
	struct top_look look = {
		.n_groups = n,
		.now_ms = (1000000 + (uint64_t)second) * 1000,
		.now_ns = second * (uint64_t)SECOND_NS,
		.is_connected = true,
		.was_connected = true,
		.is_replayed = true,
	};
	look.groups = dr_xcalloc(n + 1, sizeof(*groups));
	if (n) {
		memcpy(look.groups, groups, n * sizeof(*groups));
	}
	for (size_t i = 0; i < n; i++) {
		look.totals.live += groups[i].count;
	}
	return look;
}

static inline void take(
	struct top_model *model, unsigned second, const struct dr_live_group *groups, size_t n)
{
	struct top_look look = look_at(second, groups, n);

	top_model_take(model, &look);
}

/* "MDT ACTION STATUS count diff", a line each. */
static inline const char *rows_of(const struct top_model *model)
{
	static struct dr_buf out;

	dr_buf_clear(&out);
	for (size_t i = 0; i < model->n_rows; i++) {
		const struct top_row *row = &model->rows[i];

		dr_buf_printf(&out, "%s %s %s %d %d\n", row->mdt, row->action, row->status,
			(int)row->count, (int)row->diff);
	}
	return dr_buf_cstr(&out);
}

#endif
