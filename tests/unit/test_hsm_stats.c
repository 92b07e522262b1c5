/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/stats.h"

#include "unit.h"

static const struct dr_live_group groups[] = {
	{ .mdt = "fs-MDT0000",
		.action = "ARCHIVE",
		.status = "STARTED",
		.count = 5,
		.oldest_s = 900 },
	{ .mdt = "we\"i\\rd\n\xff",
		.action = "N/A",
		.status = "\xc3\xa4",
		.count = 1,
		.oldest_s = 2000 },
};
static const struct dr_stream_info streams[] = {
	{ .stream = "hsm:actions:fs-MDT0000",
		.mdt = "fs-MDT0000",
		.length = 7,
		.first = { 400000, 0 },
		.last = { 990000, 3 } },
	{ .stream = "hsm:actions:fs-MDT0001",
		.mdt = "fs-MDT0001",
		.last = { 5000, 0 } }, /* emptied */
};
static const struct dr_stats full = {
	.totals = { .live = 6, .events = 9, .oldest_s = 900 },
	.groups = groups,
	.n_groups = 2,
	.streams = streams,
	.n_streams = 2,
	.n_bad = 3,
	.now_ms = 1000999,
};

START_TEST(stats__prints_the_json_of_the_document)
{
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };

	dr_stats_json(&full, &out);
	dr_unit_text(&out, "{\n"
			   "  \"summary\": {\n"
			   "    \"total_live_actions\": 6,\n"
			   "    \"oldest_live_action_age_seconds\": 100,\n"
			   "    \"total_events_replayed\": 9,\n"
			   "    \"total_stream_entries\": 7\n"
			   "  },\n"
			   "  \"streams\": [\n"
			   "    {\n"
			   "      \"mdt\": \"fs-MDT0000\",\n"
			   "      \"length\": 7,\n"
			   "      \"age_seconds\": 590,\n"
			   "      \"newest_entry_age_seconds\": 10\n"
			   "    },\n"
			   "    {\n"
			   "      \"mdt\": \"fs-MDT0001\",\n"
			   "      \"length\": 0,\n"
			   "      \"age_seconds\": 0,\n"
			   "      \"newest_entry_age_seconds\": 0\n"
			   "    }\n"
			   "  ],\n"
			   "  \"breakdown\": [\n"
			   "    {\n"
			   "      \"mdt\": \"fs-MDT0000\",\n"
			   "      \"action\": \"ARCHIVE\",\n"
			   "      \"status\": \"STARTED\",\n"
			   "      \"count\": 5\n"
			   "    },\n"
			   "    {\n"
			   "      \"mdt\": \"we\\\"i\\\\\\\\rd\\\\n\\\\xff\",\n"
			   "      \"action\": \"N/A\",\n"
			   "      \"status\": \"\xc3\xa4\",\n"
			   "      \"count\": 1\n"
			   "    }\n"
			   "  ]\n"
			   "}\n");
}
END_TEST

START_TEST(stats__prints_empty_lists_of_nothing)
{
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	const struct dr_stats nothing = { .now_ms = 1000 };

	dr_stats_json(&nothing, &out);
	ck_assert_ptr_nonnull(
		strstr(dr_buf_cstr(&out), "\"streams\": [],\n  \"breakdown\": []\n}\n"));
}
END_TEST

START_TEST(stats__prints_a_text_for_prometheus)
{
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };

	dr_stats_prometheus(&full, &out);

	const char *text = dr_buf_cstr(&out);
	static const char *const lines[] = {
		"# TYPE drover_hsm_live_actions gauge\n"
		"drover_hsm_live_actions{mdt=\"fs-MDT0000\",action=\"ARCHIVE\",status=\"STARTED\"} 5\n",
		"{mdt=\"we\\\"i\\\\\\\\rd\\\\n\\\\xff\",action=\"N/A\",status=\"\xc3\xa4\"} 1\n",
		"drover_hsm_oldest_age_seconds{mdt=\"fs-MDT0000\",action=\"ARCHIVE\",status=\"STARTED\"} 100\n",
		"\ndrover_hsm_all_live_actions 6\n",
		"\ndrover_hsm_oldest_live_action_age_seconds 100\n",
		"\ndrover_hsm_events_replayed 9\n",
		"\ndrover_hsm_stream_entries 7\n",
		"\ndrover_hsm_bad_entries 3\n",
		"\ndrover_hsm_stream_length{mdt=\"fs-MDT0000\"} 7\n",
		"\ndrover_hsm_stream_age_seconds{mdt=\"fs-MDT0000\"} 590\n",
		"\ndrover_hsm_stream_newest_entry_age_seconds{mdt=\"fs-MDT0001\"} 0\n",
	};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		ck_assert_msg(strstr(text, lines[i]), "no %s in %s", lines[i], text);
	}
}
END_TEST

DR_UNIT_MAIN("hsm_stats", stats__prints_the_json_of_the_document,
	stats__prints_empty_lists_of_nothing, stats__prints_a_text_for_prometheus)
