/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "daemon/daemon.h"

#include <inttypes.h>
#include <string.h>

/*
 * GET /metrics: JSON of the shape that users of lustre-migrator scrape, or Prometheus text when the Accept header asks for
 * it. GET /status: what `drover status --json` prints. Answers come from the last snapshot: a request costs the
 * queue nothing. A leader takes one every second, a follower every ten, and every second while somebody asks.
 */

static json_int_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

/* Under status_lock. */
static json_t *global_metrics(const struct dr_daemon *daemon)
{
	const json_t *status = daemon->status, *progress = json_object_get(status, "progress");
	const char *state = json_string_value(json_object_get(status, "state"));
	const char *leader = json_string_value(json_object_get(status, "leader"));

	return json_pack("{s:I,s:s,s:s,s:s,s:s,s:{s:I,s:I,s:I,s:I,s:I},s:{s:I,s:I}}",
		"active_workers", (json_int_t)json_array_size(json_object_get(status, "workers")),
		"campaign_name", daemon->spec->name, "campaign_status", state ? state : "unknown",
		"leader_hostname", leader ? leader : "", "target_osts", daemon->spec->osts_text,
		"progress", "files_discovered", number(progress, "discovered"), "files_succeeded",
		number(progress, "succeeded"), "files_failed", number(progress, "failed"),
		"files_skipped", number(progress, "skipped"), "files_in_progress",
		number(progress, "in_progress"), "queues", "scan_jobs_pending",
		number(json_object_get(status, "scan"), "pending"), "migrate_jobs_pending",
		number(progress, "pending"));
}

static uint64_t counted(const struct dr_daemon *daemon, enum dr_counter which)
{
	return daemon->work ? dr_work_counted(daemon->work, which) : 0;
}

/* Under status_lock. */
static json_t *local_metrics(const struct dr_daemon *daemon)
{
	return json_pack("{s:s,s:s,s:{s:I,s:I,s:I,s:I},s:{s:f,s:f}}", "hostname", daemon->host,
		"status", daemon->work ? "migrating" : "starting", "counters", "scans_completed",
		(json_int_t)counted(daemon, DR_COUNT_SCANS), "files_migrated_succeeded",
		(json_int_t)counted(daemon, DR_COUNT_SUCCEEDED), "files_migrated_failed",
		(json_int_t)counted(daemon, DR_COUNT_FAILED), "files_migrated_skipped",
		(json_int_t)counted(daemon, DR_COUNT_SKIPPED), "rates",
		"migrate_rate_files_per_sec", daemon->own_files.per_sec, "found_files_rate_per_sec",
		daemon->own_found.per_sec);
}

static void put_metric(struct dr_buf *out, const char *name, const char *help, const char *type,
	const char *labels, uint64_t value)
{
	dr_buf_printf(out, "# HELP drover_%s %s\n# TYPE drover_%s %s\ndrover_%s{%s} %" PRIu64 "\n",
		name, help, name, type, name, labels, value);
}

/* Under status_lock. */
static void prometheus(const struct dr_daemon *daemon, struct dr_buf *out)
{
	char *local dr_cleanup(dr_freep) =
		dr_xasprintf("campaign=\"%s\",host=\"%s\"", daemon->spec->name, daemon->host);
	const json_t *progress = json_object_get(daemon->status, "progress");
	static const char *const classes[] = { "succeeded", "unneeded", "busy", "changed",
		"refused", "no_space", "failed_other", "gone", "pending", "in_progress" };

	put_metric(out, "entries_scanned_total", "Directory entries read by this process.",
		"counter", local, counted(daemon, DR_COUNT_ENTRIES));
	put_metric(out, "files_found_total", "Files found on sources by this process.", "counter",
		local, counted(daemon, DR_COUNT_FOUND));
	put_metric(out, "files_moved_total", "Files moved by this process.", "counter", local,
		counted(daemon, DR_COUNT_SUCCEEDED));
	put_metric(out, "bytes_moved_total", "Bytes moved by this process.", "counter", local,
		counted(daemon, DR_COUNT_BYTES));
	put_metric(out, "files_skipped_total", "Files skipped by this process (busy, changed).",
		"counter", local, counted(daemon, DR_COUNT_SKIPPED));
	put_metric(out, "files_failed_total", "Files that this process could not move.", "counter",
		local, counted(daemon, DR_COUNT_FAILED));
	if (!progress) {
		return;
	}
	dr_buf_printf(out,
		"# HELP drover_campaign_files Files of the campaign by what became of them.\n"
		"# TYPE drover_campaign_files gauge\n");
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		bool other = strcmp(classes[i], "failed_other") == 0;

		dr_buf_printf(out,
			"drover_campaign_files{campaign=\"%s\",class=\"%s\"} %" JSON_INTEGER_FORMAT
			"\n",
			daemon->spec->name, other ? "failed" : classes[i],
			number(progress, classes[i]));
	}
	char *campaign dr_cleanup(dr_freep) = dr_xasprintf("campaign=\"%s\"", daemon->spec->name);

	put_metric(out, "campaign_files_discovered", "Files found on sources.", "gauge", campaign,
		(uint64_t)number(progress, "discovered"));
	put_metric(out, "campaign_bytes_moved", "Bytes moved.", "gauge", campaign,
		(uint64_t)number(progress, "bytes_succeeded"));
}

static unsigned serve(
	void *ctx, const char *path, const char *accept, char **ret_body, const char **ret_type)
{
	struct dr_daemon *daemon = ctx;
	bool text = strstr(accept, "text/plain") || strstr(accept, "openmetrics");
	unsigned status = 200;

	atomic_store(&daemon->asked_ns, dr_now_ns());
	(void)pthread_mutex_lock(&daemon->status_lock);
	if (strcmp(path, "/metrics") == 0 && text) {
		struct dr_buf out = { 0 };

		prometheus(daemon, &out);
		*ret_body = dr_xstrdup(dr_buf_cstr(&out));
		*ret_type = "text/plain; version=0.0.4; charset=utf-8";
		dr_buf_fini(&out);
	} else if (strcmp(path, "/metrics") == 0) {
		json_t *metrics = json_pack("{s:o,s:o}", "global_metrics", global_metrics(daemon),
			"local_metrics", local_metrics(daemon));

		*ret_body = json_dumps(metrics, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		*ret_type = "application/json";
		json_decref(metrics);
	} else if (strcmp(path, "/status") == 0 && daemon->status) {
		*ret_body = json_dumps(daemon->status, JSON_COMPACT | JSON_PRESERVE_ORDER);
		*ret_type = "application/json";
	} else if (strcmp(path, "/") == 0) {
		*ret_body = dr_xstrdup("drover " DR_VERSION
				       "\n/metrics  JSON, or Prometheus text by Accept\n/status\n");
	} else {
		*ret_body = dr_xstrdup("not found\n");
		status = 404;
	}
	(void)pthread_mutex_unlock(&daemon->status_lock);
	return status;
}

int dr_metrics_start(struct dr_daemon *daemon)
{
	const struct dr_options *options = &daemon->options;

	if (options->metrics_port == 0) {
		return 0;
	}
	for (int i = 0; i < 10; i++) {
		uint16_t port;
		int r = dr_port_find(options->metrics_bind_address, options->metrics_port,
			daemon->metrics_port_is_fatal, &port);

		if (r == 0) {
			r = dr_http_start(
				options->metrics_bind_address, port, serve, daemon, &daemon->http);
		}
		if (r == 0) {
			daemon->metrics_port = port;
			return 0;
		}
		/* Another daemon may have taken the port a moment ago. */
		if (r != -EADDRINUSE || daemon->metrics_port_is_fatal) {
			return r;
		}
	}
	return -EADDRINUSE;
}
