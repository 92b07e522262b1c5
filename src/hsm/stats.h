/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_STATS_H
#define DR_HSM_STATS_H

#include "hsm/live.h"

/* What hsm-stream-stats tells: the state after a replay. Pure: the same report gives the same bytes. All of it is lent. */
struct dr_stats {
	struct dr_live_totals totals;
	const struct dr_live_group *groups;
	size_t n_groups;
	const struct dr_stream_info *streams;
	size_t n_streams;
	uint64_t n_bad;  /* entries that were no events */
	uint64_t now_ms; /* since 1970 */
};

/*
 * As the documented tool's JSON, indented by 2: summary, streams, breakdown, each with its keys in their order. Bytes of an MDT's name
 * that are not UTF-8 are escaped.
 */
void dr_stats_json(const struct dr_stats *stats, struct dr_buf *out);

/* As a text for Prometheus (version 0.0.4). */
void dr_stats_prometheus(const struct dr_stats *stats, struct dr_buf *out);

#endif
