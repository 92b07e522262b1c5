/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/stats.h"

#include "base/text.h"
#include "hsm/action.h"

#include <jansson.h>

/* 0 for what lies in the future by this machine's clock. */
static uint64_t age_s(const struct dr_stats *stats, int64_t since_s)
{
	int64_t now_s = (int64_t)(stats->now_ms / 1000);

	return since_s > 0 && since_s < now_s ? (uint64_t)(now_s - since_s) : 0;
}

static bool has_entries(const struct dr_stream_info *info)
{
	return info->first.ms || info->first.seq;
}

/* From the first entry to the last. */
static uint64_t span_s(const struct dr_stream_info *info)
{
	return has_entries(info) && info->last.ms > info->first.ms
		       ? (info->last.ms - info->first.ms) / 1000
		       : 0;
}

static uint64_t newest_age_s(const struct dr_stats *stats, const struct dr_stream_info *info)
{
	return has_entries(info) && stats->now_ms > info->last.ms
		       ? (stats->now_ms - info->last.ms) / 1000
		       : 0;
}

static uint64_t total_entries(const struct dr_stats *stats)
{
	uint64_t n = 0;

	for (size_t i = 0; i < stats->n_streams; i++) {
		n += stats->streams[i].length;
	}
	return n;
}

/* The text as it is, or escaped where it is not UTF-8. The caller frees it. */
static char *valid(const char *text)
{
	struct dr_buf out = { 0 };

	if (dr_utf8_is_valid(text, strlen(text))) {
		return dr_xstrdup(text);
	}
	dr_text_escape(&out, text, strlen(text));
	return dr_buf_cstr(&out);
}

/* --- JSON --- */

static void set_number(json_t *object, const char *key, uint64_t n)
{
	(void)json_object_set_new(object, key, json_integer((json_int_t)n));
}

static void set_text(json_t *object, const char *key, const char *text)
{
	char *fit dr_cleanup(dr_freep) = valid(text);

	(void)json_object_set_new(object, key, json_string(fit));
}

static json_t *streams_json(const struct dr_stats *stats)
{
	json_t *streams = json_array();

	for (size_t i = 0; i < stats->n_streams; i++) {
		const struct dr_stream_info *info = &stats->streams[i];
		json_t *stream = json_object();

		set_text(stream, "mdt", info->mdt);
		set_number(stream, "length", info->length);
		set_number(stream, "age_seconds", span_s(info));
		set_number(stream, "newest_entry_age_seconds", newest_age_s(stats, info));
		(void)json_array_append_new(streams, stream);
	}
	return streams;
}

static json_t *breakdown_json(const struct dr_stats *stats)
{
	json_t *breakdown = json_array();

	for (size_t i = 0; i < stats->n_groups; i++) {
		const struct dr_live_group *group = &stats->groups[i];
		json_t *one = json_object();

		set_text(one, "mdt", group->mdt);
		set_text(one, "action", group->action);
		set_text(one, "status", group->status);
		set_number(one, "count", group->count);
		(void)json_array_append_new(breakdown, one);
	}
	return breakdown;
}

static int put_json(const char *bytes, size_t len, void *out)
{
	dr_buf_put(out, bytes, len);
	return 0;
}

void dr_stats_json(const struct dr_stats *stats, struct dr_buf *out)
{
	json_t *all = json_object(), *summary = json_object();

	set_number(summary, "total_live_actions", stats->totals.live);
	set_number(summary, "oldest_live_action_age_seconds", age_s(stats, stats->totals.oldest_s));
	set_number(summary, "total_events_replayed", stats->totals.events);
	set_number(summary, "total_stream_entries", total_entries(stats));
	(void)json_object_set_new(all, "summary", summary);
	(void)json_object_set_new(all, "streams", streams_json(stats));
	(void)json_object_set_new(all, "breakdown", breakdown_json(stats));
	(void)json_dump_callback(all, put_json, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	dr_buf_put_str(out, "\n");
	json_decref(all);
}

/* --- Prometheus --- */

static void put_label(struct dr_buf *out, const char *before, const char *name, const char *text)
{
	char *fit dr_cleanup(dr_freep) = valid(text);

	dr_buf_printf(out, "%s%s=\"", before, name);
	for (const char *p = fit; *p; p++) {
		if (*p == '\n') {
			dr_buf_put_str(out, "\\n");
			continue;
		}
		if (*p == '\\' || *p == '"') {
			dr_buf_put_u8(out, '\\');
		}
		dr_buf_put_u8(out, (uint8_t)*p);
	}
	dr_buf_put_u8(out, '"');
}

static void put_head(struct dr_buf *out, const char *name, const char *help)
{
	dr_buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

static void put_one(struct dr_buf *out, const char *name, const char *help, uint64_t value)
{
	put_head(out, name, help);
	dr_buf_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void put_group(
	struct dr_buf *out, const char *name, const struct dr_live_group *group, uint64_t value)
{
	dr_buf_put_str(out, name);
	put_label(out, "{", "mdt", group->mdt);
	put_label(out, ",", "action", group->action);
	put_label(out, ",", "status", group->status);
	dr_buf_printf(out, "} %llu\n", (unsigned long long)value);
}

static void put_groups(const struct dr_stats *stats, struct dr_buf *out)
{
	static const char live[] = "drover_hsm_live_actions";
	static const char oldest[] = "drover_hsm_oldest_age_seconds";

	put_head(out, live, "HSM actions that are in the MDT's list.");
	for (size_t i = 0; i < stats->n_groups; i++) {
		put_group(out, live, &stats->groups[i], stats->groups[i].count);
	}
	put_head(out, oldest, "Age of the oldest of these actions.");
	for (size_t i = 0; i < stats->n_groups; i++) {
		put_group(out, oldest, &stats->groups[i], age_s(stats, stats->groups[i].oldest_s));
	}
}

static void put_stream(
	struct dr_buf *out, const char *name, const struct dr_stream_info *info, uint64_t value)
{
	dr_buf_put_str(out, name);
	put_label(out, "{", "mdt", info->mdt);
	dr_buf_printf(out, "} %llu\n", (unsigned long long)value);
}

static void put_streams(const struct dr_stats *stats, struct dr_buf *out)
{
	static const char length[] = "drover_hsm_stream_length";
	static const char age[] = "drover_hsm_stream_age_seconds";
	static const char newest[] = "drover_hsm_stream_newest_entry_age_seconds";

	put_head(out, length, "Entries of the MDT's stream.");
	for (size_t i = 0; i < stats->n_streams; i++) {
		put_stream(out, length, &stats->streams[i], stats->streams[i].length);
	}
	put_head(out, age, "Time from the first entry of the stream to the last.");
	for (size_t i = 0; i < stats->n_streams; i++) {
		put_stream(out, age, &stats->streams[i], span_s(&stats->streams[i]));
	}
	put_head(out, newest, "Age of the last entry of the stream.");
	for (size_t i = 0; i < stats->n_streams; i++) {
		put_stream(
			out, newest, &stats->streams[i], newest_age_s(stats, &stats->streams[i]));
	}
}

void dr_stats_prometheus(const struct dr_stats *stats, struct dr_buf *out)
{
	put_one(out, "drover_hsm_all_live_actions", "All HSM actions in the MDTs' lists.",
		stats->totals.live);
	put_one(out, "drover_hsm_oldest_live_action_age_seconds",
		"Age of the oldest action in the MDTs' lists.",
		age_s(stats, stats->totals.oldest_s));
	put_one(out, "drover_hsm_events_replayed", "Events that the streams held.",
		stats->totals.events);
	put_one(out, "drover_hsm_stream_entries", "Entries of all streams.", total_entries(stats));
	put_one(out, "drover_hsm_bad_entries", "Entries of streams that are no events.",
		stats->n_bad);
	put_groups(stats, out);
	put_streams(stats, out);
}
