/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"
#include "campaign/clone_record.h"
#include "campaign/closing.h"
#include "campaign/frontier.h"
#include "campaign/stages.h"
#include "daemon/daemon.h"
#include "store/scripts.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SAMPLE_NS 1000000000ull
#define ADVANCE_NS 500000000ull
#define RETRY_NS 500000000ull

/* Work that is left in bytes where bytes are known, else in files. JSON null: nobody can tell. */
static json_t *eta(const json_t *status, double files_per_sec, double bytes_per_sec)
{
	const json_t *progress = json_object_get(status, "progress");
	const json_t *scan = json_object_get(status, "scan");
	double files = (double)(json_integer_value(json_object_get(progress, "pending")) +
				json_integer_value(json_object_get(progress, "in_progress")));
	double bytes = (double)(json_integer_value(json_object_get(progress, "bytes_discovered")) -
				json_integer_value(json_object_get(progress, "bytes_done")));
	bool scanning = json_integer_value(json_object_get(scan, "pending")) +
				json_integer_value(json_object_get(scan, "active")) >
			0;
	double by_files = files_per_sec > 0.01 ? files / files_per_sec : -1;
	double by_bytes = bytes_per_sec > 1 && bytes > 0 ? bytes / bytes_per_sec : -1;
	double seconds = by_bytes > by_files ? by_bytes : by_files;

	if (files == 0) {
		return scanning ? json_null() : json_integer(0);
	}
	return seconds < 0 ? json_null() : json_integer((json_int_t)(seconds + 0.5));
}

/*
 * Scanners rest well before the server's memory is full. When what fills it is leftovers, nothing drains it by itself: then
 * the campaign pauses and says why.
 */
static void decide_hold(struct dr_daemon *daemon, const json_t *status)
{
	const json_t *memory = json_object_get(status, "memory");
	const json_t *progress = json_object_get(status, "progress");
	double used = (double)json_integer_value(json_object_get(memory, "used_bytes"));
	double bound = (double)json_integer_value(json_object_get(memory, "max_bytes"));
	bool full = bound > 0 && used > 0.7 * bound, roomy = bound <= 0 || used < 0.6 * bound;
	bool queued = json_integer_value(json_object_get(progress, "pending")) +
			      json_integer_value(json_object_get(progress, "in_progress")) >
		      0;
	const char *state = json_string_value(json_object_get(status, "state"));

	if (full != daemon->holding && (full || roomy)) {
		daemon->holding = full;
		dr_log(DR_LOG_INFO, full ? "scanners-rest" : "scanners-go-on", "memory_bytes=%.0f",
			used);
	}
	if (full && !queued && state && strcmp(state, DR_STATE_RUNNING) == 0 &&
		json_integer_value(json_object_get(json_object_get(status, "scan"), "pending")) >
			0) {
		const char *why =
			"leftovers fill the queue's memory (redis_maxmemory): nothing can be queued";
		int r = dr_control_pause(daemon->store, why);

		dr_log(DR_LOG_WARNING, "paused", "reason=\"%s\" result=%d", why, r);
	}
}

static void publish_rates(struct dr_daemon *daemon, json_t *status, uint64_t now)
{
	const json_t *progress = json_object_get(status, "progress");
	uint64_t settled = 0;
	static const char *const done[] = { "succeeded", "unneeded", "gone", "skipped", "failed" };

	for (size_t i = 0; i < sizeof(done) / sizeof(done[0]); i++) {
		settled += (uint64_t)json_integer_value(json_object_get(progress, done[i]));
	}
	dr_rate_update(&daemon->files, now, settled, 5);
	dr_rate_update(&daemon->bytes, now,
		(uint64_t)json_integer_value(json_object_get(progress, "bytes_succeeded")), 5);
	dr_rate_update(&daemon->scanned, now,
		(uint64_t)json_integer_value(
			json_object_get(json_object_get(status, "scan"), "entries")),
		5);
	json_t *rates = json_pack("{s:f,s:f,s:f,s:o}", "files_per_sec", daemon->files.per_sec,
		"bytes_per_sec", daemon->bytes.per_sec, "scanned_per_sec", daemon->scanned.per_sec,
		"eta_seconds", eta(status, daemon->files.per_sec, daemon->bytes.per_sec));
	char *text dr_cleanup(dr_freep) = json_dumps(rates, JSON_COMPACT | JSON_REAL_PRECISION(6));
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	dr_args_str(&args, text);
	decide_hold(daemon, status);
	dr_args_str(&args, daemon->holding ? "1" : "0");
	if (dr_store_run(daemon->store, &dr_script_rates, &args, false, &reply) < 0) {
		dr_log_limited(60, DR_LOG_WARNING, "rates-not-published",
			"next=\"tried again in a second\"");
	}
	json_decref(rates);
}

static int write_status(struct dr_daemon *daemon, const json_t *status)
{
	int r = dr_folder_write_json(&daemon->folder, "status.json", status);

	if (r < 0) {
		dr_log_limited(60, DR_LOG_ERROR, "status-not-written",
			"errno=%d next=\"tried again in a second\"", -r);
	}
	return r;
}

/* For the status server. */
static void keep_status(struct dr_daemon *daemon, json_t *status)
{
	(void)pthread_mutex_lock(&daemon->status_lock);
	json_decref(daemon->status);
	daemon->status = status;
	(void)pthread_mutex_unlock(&daemon->status_lock);
}

int dr_daemon_sample(struct dr_daemon *daemon, uint64_t now)
{
	json_t *status = NULL;
	int r = dr_control_status(daemon->store, daemon->spec, &status);

	if (r < 0) {
		return r;
	}
	if (daemon->role != DR_FOLLOWER) {
		publish_rates(daemon, status, now);
		r = write_status(daemon, status);
	}
	keep_status(daemon, status);
	return r;
}

void dr_lead_requests(struct dr_daemon *daemon)
{
	for (int i = 0; i < 100; i++) {
		char *verb dr_cleanup(dr_freep) = NULL;
		char *file dr_cleanup(dr_freep) = NULL;
		uint64_t files = 0;
		int r = dr_folder_next_request(&daemon->folder, &verb, &file);

		if (r <= 0) {
			return;
		}
		if (strcmp(verb, "pause") == 0) {
			r = dr_control_pause(daemon->store, "by command");
		} else if (strcmp(verb, "resume") == 0) {
			r = dr_control_resume(daemon->store);
		} else if (strcmp(verb, "retry-skipped") == 0) {
			r = dr_control_retry(daemon->store, "busy,changed", true, &files);
		} else if (strcmp(verb, "retry-failed") == 0) {
			r = dr_control_retry(
				daemon->store, "refused,no_space,failed", true, &files);
		} else if (strcmp(verb, DR_REQUEST_REOPENED) == 0) {
			r = dr_closing_forget(daemon->store, &daemon->spec->osts);
		} else if (strncmp(verb, "retry-class-", 12) == 0) {
			r = dr_control_retry(daemon->store, verb + 12, true, &files);
		}
		if (r < 0 && r != -EALREADY && r != -EPERM) {
			dr_log(DR_LOG_ERROR, "request-failed",
				"request=%s errno=%d next=\"tried again at the next start\"", verb,
				-r);
			return;
		}
		dr_log(DR_LOG_INFO, "request-applied", "request=%s files=%" PRIu64, verb, files);
		/* First the new state, then the request goes: who looks at both sees one of them. */
		if (dr_daemon_sample(daemon, dr_now_ns()) < 0) {
			return;
		}
		dr_folder_request_done(&daemon->folder, file);
		if (daemon->work) {
			dr_work_wake(daemon->work);
		}
	}
}

/* What came of asking whether the round or the stage is over. */
static void hear(struct dr_daemon *daemon, int64_t answer)
{
	switch (answer) {
	case 1:
		(void)!dr_daemon_sample(daemon, dr_now_ns());
		dr_work_wake(daemon->work);
		break;
	case 3:
		daemon->over = true;
		break;
	case 4: /* our idea of the round was old */
		(void)!dr_daemon_sample(daemon, dr_now_ns());
		daemon->drained = true;
		break;
	default:
		break;
	}
}

/* Before anything is deleted: whether the target is still this source's alone. */
static bool may_go_on(struct dr_daemon *daemon, size_t stage)
{
	enum dr_stage stages[DR_N_STAGES];
	size_t n = dr_stages_of(daemon->spec, stages);
	bool is_next = stage + 1 < n &&
		       (stages[stage + 1] == DR_STAGE_LOOK || stages[stage + 1] == DR_STAGE_DELETE);
	int r = is_next ? dr_clone_record_allows_delete(daemon->options.base_path, daemon->spec)
			: 0;

	/* No record is what other hosts have, where a server of the site's own has the queue. */
	if (r == 0 || r == -ENOENT) {
		return true;
	}
	const char *why =
		"something else was copied into the target since the start: nothing was deleted";

	r = dr_control_fail(daemon->store, why);
	dr_log(DR_LOG_ERROR, "failed", "reason=\"%s\" result=%d", why, r);
	return false;
}

static void advance_clone(struct dr_daemon *daemon)
{
	uint64_t stage = 0;

	(void)pthread_mutex_lock(&daemon->status_lock);
	stage = (uint64_t)json_integer_value(json_object_get(daemon->status, "stage_number"));
	(void)pthread_mutex_unlock(&daemon->status_lock);
	if (!may_go_on(daemon, (size_t)stage)) {
		return;
	}
	int r = dr_stage_advance(daemon->store, daemon->spec, stage);

	if (r >= 0) {
		hear(daemon, r);
	}
}

static void advance(struct dr_daemon *daemon)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	struct dr_buf *bufs;
	static const char *const round_key = "round";
	char *sources dr_cleanup(dr_freep) =
		dr_closer_is_wanted(daemon) ? dr_closing_list(&daemon->spec->osts) : dr_xstrdup("");
	uint64_t round = 0;

	(void)pthread_mutex_lock(&daemon->status_lock);
	round = (uint64_t)json_integer_value(json_object_get(daemon->status, round_key));
	(void)pthread_mutex_unlock(&daemon->status_lock);
	dr_args_u64(&args, DR_ROUNDS);
	dr_args_u64(&args, round);
	dr_args_str(&args, sources);
	dr_control_put_frontiers(daemon->spec, round + 1, &args, &bufs);
	int r = dr_store_run(daemon->store, &dr_script_advance, &args, false, &reply);

	dr_control_free_frontiers(daemon->spec, bufs);
	if (r < 0) {
		return;
	}
	if (dr_reply_int(reply, 0) == 1) {
		dr_log(DR_LOG_INFO, "round-begins",
			"round=%" PRId64 " next=\"the sources are scanned again\"",
			dr_reply_int(reply, 1));
	}
	hear(daemon, dr_reply_int(reply, 0));
}

static void retry_due(struct dr_daemon *daemon)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	dr_args_str(&args, "due");
	dr_args_str(&args, "0");
	dr_args_u64(&args, 64);
	dr_args_str(&args, "busy");
	dr_args_str(&args, "changed");
	if (dr_store_run(daemon->store, &dr_script_retry, &args, false, &reply) == 0 &&
		dr_reply_int(reply, 0) > 0) {
		dr_log(DR_LOG_INFO, "retries-due", "files=%" PRId64, dr_reply_int(reply, 0));
		dr_work_wake(daemon->work);
	}
}

void dr_lead_tick(struct dr_daemon *daemon, uint64_t now)
{
	if (now - daemon->sample_ns >= SAMPLE_NS) {
		daemon->sample_ns = now;
		(void)!dr_daemon_sample(daemon, now); /* tried again in a second */
		dr_lead_requests(daemon);
		if (!daemon->folder.engine) {
			dr_embedded_announce(daemon);
		}
	}
	if (now - daemon->retry_ns >= RETRY_NS) {
		daemon->retry_ns = now;
		retry_due(daemon);
	}
	if (daemon->drained || now - daemon->advance_ns >= ADVANCE_NS) {
		daemon->drained = false;
		daemon->advance_ns = now;
		if (daemon->spec->kind == DR_CLONE) {
			advance_clone(daemon);
		} else {
			advance(daemon);
		}
	}
}

struct leftover_file {
	int fd;
	struct dr_buf lines;
};

static int put_leftover(void *ctx, const json_t *leftover)
{
	struct leftover_file *file = ctx;
	char *text dr_cleanup(dr_freep) = json_dumps(leftover, JSON_COMPACT);
	int r = 0;

	dr_buf_put(&file->lines, text, strlen(text));
	dr_buf_put(&file->lines, "\n", 1);
	if (file->lines.len > 1 << 20) {
		r = dr_write_full(file->fd, file->lines.data, file->lines.len);
		dr_buf_clear(&file->lines);
	}
	return r;
}

/* There may be a million of them, so they pass through in pieces. */
static int write_leftovers(struct dr_daemon *daemon)
{
	static const char tmp[] = "leftovers.jsonl.new";
	struct leftover_file file = { .fd = openat(daemon->folder.fd, tmp,
					      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640) };

	if (file.fd < 0) {
		return -errno;
	}
	int r = dr_control_leftovers(daemon->store, daemon->spec, UINT64_MAX, put_leftover, &file);

	if (r == 0) {
		r = dr_write_full(file.fd, file.lines.data, file.lines.len);
	}
	if (r == 0 && (fsync(file.fd) < 0 || renameat(daemon->folder.fd, tmp, daemon->folder.fd,
						     "leftovers.jsonl") < 0)) {
		r = -errno;
	}
	dr_buf_fini(&file.lines);
	dr_fd_closep(&file.fd);
	return r;
}

int dr_lead_finish(struct dr_daemon *daemon)
{
	json_t *status = NULL;
	int r = write_leftovers(daemon);

	if (r == 0) {
		r = dr_control_status(daemon->store, daemon->spec, &status);
	}
	if (r == 0) {
		r = write_status(daemon, status);
	}
	if (r < 0) {
		dr_log(DR_LOG_ERROR, "end-not-written", "errno=%d next=\"tried again\"", -r);
		json_decref(status);
		return r;
	}
	dr_log(DR_LOG_INFO, "campaign-over", "campaign=%s state=%s", daemon->spec->name,
		json_string_value(json_object_get(status, "state")));
	keep_status(daemon, status);
	return 0;
}
