/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/control.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "campaign/chunk.h"
#include "campaign/closing.h"
#include "campaign/ledger.h"
#include "campaign/stages.h"
#include "store/scripts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LEFTOVER_PAGE 64 /* packed chunks read at a time */

bool dr_state_is_final(const char *state)
{
	return strcmp(state, DR_STATE_COMPLETED) == 0 || strcmp(state, DR_STATE_LEFTOVERS) == 0 ||
	       strcmp(state, DR_STATE_DRY_RUN) == 0 || strcmp(state, DR_STATE_FAILED) == 0;
}

/* Redis hashes come as a flat list of names and values. */
static const char *hash_get(const redisReply *hash, const char *name)
{
	for (size_t i = 0; hash && i + 1 < hash->elements; i += 2) {
		if (strcmp(dr_reply_str(hash, i, NULL), name) == 0) {
			return dr_reply_str(hash, i + 1, NULL);
		}
	}
	return NULL;
}

static json_int_t hash_int(const redisReply *hash, const char *name)
{
	const char *value = hash_get(hash, name);

	return value ? (json_int_t)strtoll(value, NULL, 10) : 0;
}

static const redisReply *part(const redisReply *reply, size_t i)
{
	return i < reply->elements ? reply->element[i] : NULL;
}

static void set_int(json_t *object, const char *name, json_int_t value)
{
	(void)json_object_set_new(object, name, json_integer(value));
}

static void set_str(json_t *object, const char *name, const char *value)
{
	json_t *text = json_string(value ? value : "");

	(void)json_object_set_new(object, name, text ? text : json_string(""));
}

static json_t *progress_json(const redisReply *ledger)
{
	json_t *progress = json_object();
	json_int_t skipped = hash_int(ledger, "busy") + hash_int(ledger, "changed");
	json_int_t failed = hash_int(ledger, "refused") + hash_int(ledger, "no_space") +
			    hash_int(ledger, "failed");

	set_int(progress, "discovered", hash_int(ledger, "discovered"));
	set_int(progress, "succeeded", hash_int(ledger, "succeeded"));
	set_int(progress, "unneeded", hash_int(ledger, "unneeded"));
	set_int(progress, "skipped", skipped);
	set_int(progress, "failed", failed);
	set_int(progress, "gone", hash_int(ledger, "gone"));
	set_int(progress, "pending", hash_int(ledger, "pending"));
	set_int(progress, "in_progress", hash_int(ledger, "in_progress"));
	set_int(progress, "bytes_succeeded", hash_int(ledger, "bytes_succeeded"));
	set_int(progress, "bytes_discovered", hash_int(ledger, "bytes_discovered"));
	set_int(progress, "bytes_done", hash_int(ledger, "bytes_done"));
	set_int(progress, "busy", hash_int(ledger, "busy"));
	set_int(progress, "changed", hash_int(ledger, "changed"));
	set_int(progress, "refused", hash_int(ledger, "refused"));
	set_int(progress, "no_space", hash_int(ledger, "no_space"));
	set_int(progress, "failed_other", hash_int(ledger, "failed"));
	set_int(progress, "new", hash_int(ledger, "new"));
	return progress;
}

static json_t *texts_json(const redisReply *texts)
{
	json_t *list = json_array();

	for (size_t i = 0; texts && i < texts->elements; i++) {
		json_t *text = json_string(dr_reply_str(texts, i, NULL));

		if (text) {
			(void)json_array_append_new(list, text);
		}
	}
	return list;
}

static json_t *scan_json(
	const redisReply *ledger, const redisReply *errors, const redisReply *residue)
{
	json_t *scan = json_object();

	set_int(scan, "pending", hash_int(ledger, "scan_pending"));
	set_int(scan, "active", hash_int(ledger, "scan_active"));
	set_int(scan, "entries", hash_int(ledger, "entries"));
	set_int(scan, "directories", hash_int(ledger, "directories"));
	set_int(scan, "errors", hash_int(ledger, "scan_errors"));
	(void)json_object_set_new(scan, "error_list", texts_json(errors));
	set_int(scan, "residue", hash_int(ledger, "residue"));
	(void)json_object_set_new(scan, "residue_list", texts_json(residue));
	return scan;
}

/* How far the first scan of the list is; null without a list. */
static json_t *list_json(const redisReply *ledger, const struct dr_spec *spec)
{
	json_t *list = spec->n_candidates > 0 ? json_object() : json_null();

	if (spec->n_candidates > 0) {
		set_int(list, "candidates", (json_int_t)spec->n_candidates);
		set_int(list, "looked_at", hash_int(ledger, "listed"));
		set_int(list, "on_sources", hash_int(ledger, "listed_on_sources"));
		set_int(list, "gone", hash_int(ledger, "listed_gone"));
		set_int(list, "excluded", hash_int(ledger, "listed_excluded"));
		set_int(list, "below_paths", hash_int(ledger, "listed_below_paths"));
	}
	return list;
}

static json_t *workers_json(const redisReply *workers)
{
	json_t *list = json_array();

	for (size_t i = 0; workers && i + 1 < workers->elements; i += 2) {
		json_t *worker = json_loads(dr_reply_str(workers, i + 1, NULL), 0, NULL);

		if (worker) {
			(void)json_array_append_new(list, worker);
		}
	}
	return list;
}

static json_t *reasons_json(const redisReply *reasons)
{
	json_t *list = json_array();

	for (size_t i = 0; reasons && i + 1 < reasons->elements; i += 2) {
		/* class/step/errno */
		char *key dr_cleanup(dr_freep) = dr_xstrdup(dr_reply_str(reasons, i, NULL));
		char *step = strchr(key, '/'), *number = step ? strchr(step + 1, '/') : NULL;

		if (!number) {
			continue;
		}
		*step++ = *number++ = '\0';
		int error = (int)strtol(number, NULL, 10);
		json_t *reason = json_object();

		set_str(reason, "class", key);
		set_str(reason, "step", step);
		set_str(reason, "error", error ? strerrorname_np(error) : "");
		set_int(reason, "files", dr_reply_int(reasons, i + 1));
		(void)json_array_append_new(list, reason);
	}
	return list;
}

static void put_paths(json_t *status, const struct dr_spec *spec)
{
	json_t *paths = json_array();

	for (size_t i = 0; i < spec->n_scan_paths; i++) {
		struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

		dr_text_escape(&text, spec->fs_root, strlen(spec->fs_root));
		if (spec->scan_paths[i].len > 0) {
			dr_buf_put_u8(&text, '/');
			dr_text_escape(&text, spec->scan_paths[i].bytes, spec->scan_paths[i].len);
		}
		(void)json_array_append_new(paths, json_string(dr_buf_cstr(&text)));
	}
	(void)json_object_set_new(status, "paths", paths);
}

static void put_rates(json_t *status, const char *rates_text)
{
	json_t *rates = rates_text ? json_loads(rates_text, 0, NULL) : NULL;
	json_t *eta = rates ? json_incref(json_object_get(rates, "eta_seconds")) : NULL;
	static const char *const names[] = { "files_per_sec", "bytes_per_sec", "scanned_per_sec" };
	json_t *out = json_object();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		json_t *rate = rates ? json_object_get(rates, names[i]) : NULL;

		(void)json_object_set_new(
			out, names[i], rate ? json_incref(rate) : json_integer(0));
	}
	(void)json_object_set_new(status, "rates", out);
	(void)json_object_set_new(status, "eta_seconds", eta ? eta : json_null());
	json_decref(rates);
}

/* What a clone copies where to, and in which passes. */
static void put_clone(json_t *status, const struct dr_spec_clone *clone)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	json_t *passes = json_array();

	dr_text_escape(&text, clone->from, strlen(clone->from));
	set_str(status, "from", dr_buf_cstr(&text));
	dr_buf_clear(&text);
	dr_text_escape(&text, clone->to, strlen(clone->to));
	set_str(status, "to", dr_buf_cstr(&text));
	for (unsigned pass = DR_PASS_COPY; pass <= DR_PASS_VERIFY; pass <<= 1) {
		if (clone->passes & pass) {
			(void)json_array_append_new(passes, json_string(dr_pass_name(pass)));
		}
	}
	(void)json_object_set_new(status, "passes", passes);
}

/* What is true of a campaign before any daemon ran, and the skeleton of every status. */
static json_t *status_skeleton(const struct dr_spec *spec)
{
	json_t *status = json_object();

	set_str(status, "campaign", spec->name);
	set_str(status, "kind", dr_spec_kind_name(spec->kind));
	set_str(status, "state", DR_STATE_CREATED);
	set_str(status, "reason", "");
	set_str(status, "leader", "");
	set_int(status, "epoch", 0);
	(void)json_object_set_new(status, "dry_run", json_boolean(spec->dry_run));
	set_int(status, "round", 0);
	(void)json_object_set_new(status, "live", json_false());
	set_str(status, "osts", spec->osts_text);
	if (spec->kind == DR_CLONE) {
		put_clone(status, &spec->clone);
	}
	put_paths(status, spec);
	set_int(status, "created_ms", (json_int_t)spec->created_ms);
	return status;
}

/* What is a clone's alone. */
static void put_stages(json_t *status, const redisReply *meta, const redisReply *ledger,
	const struct dr_spec *spec)
{
	enum dr_stage stages[DR_N_STAGES];
	size_t n = dr_stages_of(spec, stages);
	size_t at = (size_t)hash_int(meta, "stage");
	json_t *progress = json_object_get(status, "progress");
	json_t *names = json_array();

	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(names, json_string(dr_stage_name(stages[i])));
	}
	(void)json_object_set_new(status, "stages", names);
	set_str(status, "stage", at < n ? dr_stage_name(stages[at]) : "");
	set_int(status, "stage_number", (json_int_t)at);
	set_int(progress, "linked", hash_int(ledger, "linked"));
	for (int i = 0; i < DR_N_CLONE_COUNTS; i++) {
		const char *name = dr_clone_count_name((enum dr_clone_count)i);

		set_int(progress, name, hash_int(ledger, name));
	}
}

static json_t *status_build(const redisReply *reply, const struct dr_spec *spec)
{
	const redisReply *meta = part(reply, 0), *ledger = part(reply, 1);
	json_t *status = status_skeleton(spec);
	json_int_t started = hash_int(meta, "started"), finished = hash_int(meta, "finished");
	const char *dry = hash_get(meta, "dry_run");

	set_str(status, "state", hash_get(meta, "state"));
	set_str(status, "reason", hash_get(meta, "reason"));
	set_str(status, "leader", hash_get(meta, "leader"));
	set_int(status, "epoch", hash_int(meta, "epoch"));
	if (dry) {
		(void)json_object_set_new(status, "dry_run", json_boolean(strcmp(dry, "1") == 0));
	}
	set_int(status, "round", hash_int(meta, "round"));
	(void)json_object_set_new(status, "live", json_true());
	set_int(status, "started_ms", started);
	set_int(status, "finished_ms", finished);
	json_int_t until = finished ? finished : (json_int_t)dr_reply_int(reply, 10);

	/* The clock of another leader's host may have been behind. */
	set_int(status, "elapsed_seconds",
		started && until > started ? (until - started) / 1000 : 0);
	(void)json_object_set_new(status, "workers", workers_json(part(reply, 4)));
	(void)json_object_set_new(status, "progress", progress_json(ledger));
	(void)json_object_set_new(
		status, "scan", scan_json(ledger, part(reply, 9), part(reply, 11)));
	(void)json_object_set_new(status, "list", list_json(ledger, spec));
	if (spec->kind == DR_CLONE) {
		put_stages(status, meta, ledger, spec);
	}
	put_rates(status, hash_get(meta, "rates"));
	if (dr_state_is_final(json_string_value(json_object_get(status, "state")))) {
		set_int(status, "eta_seconds", 0);
	}
	json_t *retries = json_object();

	set_int(retries, "scheduled", dr_reply_int(reply, 5));
	(void)json_object_set_new(retries, "next_seconds",
		dr_reply_int(reply, 6) < 0 ? json_null()
					   : json_integer((dr_reply_int(reply, 6) + 999) / 1000));
	(void)json_object_set_new(status, "retries", retries);
	json_t *memory = json_object();

	set_int(memory, "used_bytes", dr_reply_int(reply, 7));
	set_int(memory, "max_bytes", dr_reply_int(reply, 8));
	(void)json_object_set_new(status, "memory", memory);
	(void)json_object_set_new(status, "sources", dr_closing_sources_json(part(reply, 2), spec));
	(void)json_object_set_new(status, "reasons", reasons_json(part(reply, 3)));
	return status;
}

int dr_control_status(struct dr_store *store, const struct dr_spec *spec, json_t **ret_status)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	int r = dr_store_run(store, &dr_script_snapshot, &args, false, &reply);

	if (r < 0) {
		return r;
	}
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 12) {
		return -EPROTO;
	}
	*ret_status = status_build(reply, spec);
	return 0;
}

static int set_state(struct dr_store *store, const char *verb, const char *reason)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	dr_args_str(&args, verb);
	dr_args_str(&args, reason ? reason : "");
	int r = dr_store_run(store, &dr_script_state, &args, false, &reply);

	if (r < 0) {
		return r;
	}
	int64_t said = dr_reply_int(reply, 0);

	return said == 1 ? 0 : said == 0 ? -EALREADY : -EPERM;
}

int dr_control_pause(struct dr_store *store, const char *reason)
{
	return set_state(store, "pause", reason);
}

int dr_control_resume(struct dr_store *store)
{
	return set_state(store, "resume", NULL);
}

int dr_control_fail(struct dr_store *store, const char *reason)
{
	return set_state(store, "fail", reason);
}

int dr_control_retry(struct dr_store *store, const char *classes, bool reopen, uint64_t *ret_files)
{
	char *list dr_cleanup(dr_freep) = dr_xstrdup(classes);
	uint64_t files = 0;
	bool more = true;

	/* In pages, so that no single script holds the server for long. */
	while (more) {
		struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
		redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
		char *copy dr_cleanup(dr_freep) = dr_xstrdup(list), *save = NULL;

		dr_args_str(&args, "all");
		dr_args_str(&args, reopen ? "1" : "0");
		dr_args_u64(&args, LEFTOVER_PAGE);
		for (char *c = strtok_r(copy, ",", &save); c; c = strtok_r(NULL, ",", &save)) {
			dr_args_str(&args, c);
		}
		int r = dr_store_run(store, &dr_script_retry, &args, false, &reply);

		if (r < 0) {
			return r;
		}
		if (dr_reply_int(reply, 0) < 0) {
			return -EPERM;
		}
		files += (uint64_t)dr_reply_int(reply, 0);
		more = dr_reply_int(reply, 1) == 1;
	}
	*ret_files = files;
	return 0;
}

static json_t *leftover_json(
	const struct dr_spec *spec, const struct dr_chunk_file *file, const char *class)
{
	struct dr_buf path dr_cleanup(dr_buf_fini) = { 0 };
	char fid[DR_FID_TEXT_SIZE];
	json_t *leftover = json_object(), *osts = json_array();
	const struct dr_outcome *outcome = &file->outcome;
	bool is_new = strcmp(class, "new") == 0;

	dr_text_escape(&path, spec->fs_root, strlen(spec->fs_root));
	dr_buf_put_u8(&path, '/');
	dr_text_escape(&path, file->dir, file->dir_len);
	dr_buf_put(&path, "/", file->dir_len > 0);
	dr_text_escape(&path, file->name, file->name_len);
	set_str(leftover, "path", dr_buf_cstr(&path));
	set_str(leftover, "class", class);
	set_str(leftover, "step", is_new ? "" : dr_step_name(outcome->step));
	set_str(leftover, "error",
		!is_new && outcome->error ? strerrorname_np(-outcome->error) : "");
	set_int(leftover, "errno", is_new ? 0 : -outcome->error);
	set_int(leftover, "size", (json_int_t)file->size);
	set_str(leftover, "fid", dr_fid_format(&file->fid, fid));
	for (uint32_t i = 0; i < outcome->n_osts; i++) {
		(void)json_array_append_new(osts, json_integer(outcome->osts[i]));
	}
	(void)json_object_set_new(leftover, "osts", osts);
	return leftover;
}

static int leftover_page(const redisReply *reply, const struct dr_spec *spec, const char *class,
	uint64_t *left, dr_leftover_fn *fn, void *ctx)
{
	for (size_t i = 0; i < reply->elements; i++) {
		struct dr_chunk chunk dr_cleanup(dr_chunk_fini) = { 0 };
		size_t len;
		const char *bytes = dr_reply_str(reply, i, &len);
		int r = dr_chunk_decode(bytes, len, &chunk);

		for (size_t f = 0; r == 0 && f<chunk.n_files && * left> 0; f++, (*left)--) {
			json_t *leftover = leftover_json(spec, &chunk.files[f], class);

			r = fn(ctx, leftover);
			json_decref(leftover);
		}
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

int dr_control_leftovers(struct dr_store *store, const struct dr_spec *spec, uint64_t max,
	dr_leftover_fn *fn, void *ctx)
{
	static const char *const classes[] = { "busy", "changed", "refused", "no_space", "failed",
		"new" };

	for (size_t c = 0; c < sizeof(classes) / sizeof(classes[0]); c++) {
		for (uint64_t at = 0; max > 0; at += LEFTOVER_PAGE) {
			struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
			redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

			dr_args_str(&args, classes[c]);
			dr_args_u64(&args, at);
			dr_args_u64(&args, LEFTOVER_PAGE);
			int r = dr_store_run(store, &dr_script_leftovers, &args, false, &reply);

			if (r == 0) {
				r = leftover_page(reply, spec, classes[c], &max, fn, ctx);
			}
			if (r < 0) {
				return r;
			}
			if (reply->elements < LEFTOVER_PAGE) {
				break;
			}
		}
	}
	return 0;
}

char *dr_control_prefix(const struct dr_spec *spec)
{
	return dr_xasprintf("drover:%s:", spec->name);
}

/* A store with a link of its own, which lives as long as the process: for commands, which are short. */
int dr_control_connect(
	const struct dr_folder *folder, const struct dr_spec *spec, struct dr_store **ret_store)
{
	struct dr_leader_info info = { 0 };
	char *prefix dr_cleanup(dr_freep) = dr_control_prefix(spec);
	struct dr_endpoint endpoint = {
		.url = folder->engine,
		.prefix = prefix,
		.campaign = spec->id,
	};
	static struct dr_link *link;

	if (!folder->engine) {
		int r = dr_folder_leader(folder, &info);

		if (r < 0) {
			return r == -ENOENT ? -ENOTCONN : r;
		}
		endpoint.host = info.address;
		endpoint.port = info.port;
		endpoint.password = info.password;
		dr_epoch_text(info.epoch, NULL, endpoint.epoch);
	}
	if (!link) {
		link = dr_link_new();
	}
	dr_link_set(link, &endpoint);
	dr_leader_info_fini(&info);
	struct dr_store *store = dr_store_new(link);
	json_t *status = NULL;
	int r = dr_control_status(store, spec, &status);

	json_decref(status);
	if (r < 0) {
		dr_store_free(store);
		if (folder->engine) {
			return r == -ESTALE ? -ENOENT : r;
		}
		/* A port that another campaign's server has now refuses an old password. */
		return r == -ESTALE || r == -EAGAIN || r == -EACCES ? -ENOTCONN : r;
	}
	*ret_store = store;
	return 0;
}

static json_t *status_created(const struct dr_spec *spec)
{
	json_t *status = status_skeleton(spec);

	set_int(status, "started_ms", 0);
	set_int(status, "finished_ms", 0);
	set_int(status, "elapsed_seconds", 0);
	(void)json_object_set_new(status, "workers", json_array());
	(void)json_object_set_new(status, "progress", progress_json(NULL));
	(void)json_object_set_new(status, "scan", scan_json(NULL, NULL, NULL));
	(void)json_object_set_new(status, "list", list_json(NULL, spec));
	put_rates(status, NULL);
	(void)json_object_set_new(
		status, "retries", json_pack("{s:i,s:n}", "scheduled", 0, "next_seconds"));
	(void)json_object_set_new(
		status, "memory", json_pack("{s:i,s:i}", "used_bytes", 0, "max_bytes", 0));
	(void)json_object_set_new(status, "sources", dr_closing_sources_json(NULL, spec));
	(void)json_object_set_new(status, "reasons", json_array());
	return status;
}

int dr_control_status_any(const struct dr_folder *folder, json_t **ret_status)
{
	struct dr_spec *spec dr_cleanup(dr_spec_freep) = NULL;
	struct dr_store *store dr_cleanup(dr_store_freep) = NULL;
	json_t *status = NULL;
	/* Before the state is read: a daemon writes the new state before it removes the request. */
	bool retry_waits = dr_folder_retry_requested(folder);
	bool reopen_waits = dr_folder_requested(folder, DR_REQUEST_REOPENED);
	int r = dr_folder_spec(folder, &spec);

	if (r < 0) {
		return r;
	}
	r = dr_control_connect(folder, spec, &store);
	if (r == 0 && dr_control_status(store, spec, &status) == 0) {
		*ret_status = status;
		return 0;
	}
	if (folder->engine && (r == -ENOENT || r == -EACCES)) {
		return r; /* it does not have the campaign any more, or does not know us */
	}
	r = dr_folder_read_json(folder, "status.json", &status);
	if (r == -ENOENT && folder->engine) {
		return -ENOTCONN; /* only its server knows */
	}
	if (r == -ENOENT) {
		status = status_created(spec);
		r = 0;
	}
	if (r < 0) {
		return r;
	}
	(void)json_object_set_new(status, "live", json_false());
	(void)json_object_set_new(status, "workers", json_array());
	if (reopen_waits) {
		dr_closing_json_reopened(json_object_get(status, "sources"));
	}
	if (retry_waits && dr_state_is_final(json_string_value(json_object_get(status, "state")))) {
		set_str(status, "state", DR_STATE_REOPENED);
	}
	*ret_status = status;
	return 0;
}
