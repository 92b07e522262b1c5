/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/ledger.h"

#include "store/scripts.h"

#include <stdio.h>
#include <uthash.h>

static void put_fid(struct dr_buf *buf, const struct dr_fid *fid)
{
	dr_buf_put_u64(buf, fid->seq);
	dr_buf_put_u32(buf, fid->oid);
	dr_buf_put_u32(buf, fid->ver);
}

static void add_chunk(struct dr_buf *chunks, struct dr_chunk_builder *builder)
{
	dr_buf_put_u64(chunks, builder->n_files);
	dr_buf_put_u64(chunks, builder->bytes);
	size_t at = chunks->len;

	dr_buf_put_u64(chunks, 0);
	dr_chunk_finish(builder, chunks);
	uint64_t len = chunks->len - at - 8;

	/* dr_buf is little endian, and so is every machine that Lustre's client runs on. */
	memcpy(chunks->data + at, &len, sizeof(len));
}

void dr_scan_results_add_chunk(struct dr_scan_results *results, struct dr_chunk_builder *builder)
{
	add_chunk(&results->chunks, builder);
	results->n_chunks++;
}

void dr_scan_results_add_held(struct dr_scan_results *results, struct dr_chunk_builder *builder)
{
	add_chunk(&results->held, builder);
	results->n_held++;
}

/* What tells the parts of one version of a file from those of others. */
static void put_part_key(struct dr_buf *key, const struct dr_chunk_file *file)
{
	dr_buf_put_u64(key, file->fid.seq);
	dr_buf_put_u64(key, file->part.total);
	dr_buf_put_u64(key, (uint64_t)file->part.ctime.tv_sec);
	dr_buf_put_u64(key, (uint64_t)file->part.ctime.tv_nsec);
}

void dr_scan_results_add_parts(struct dr_scan_results *results, const struct dr_chunk_file *file,
	uint64_t n, struct dr_chunk_builder *end)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };

	put_part_key(&bytes, file);
	dr_buf_put_blob(&results->parts, bytes.data, bytes.len);
	dr_buf_put_u64(&results->parts, n);
	dr_buf_clear(&bytes);
	dr_chunk_finish(end, &bytes);
	dr_buf_put_blob(&results->parts, bytes.data, bytes.len);
	results->n_parts++;
}

const char *dr_clone_count_name(enum dr_clone_count count)
{
	static const char *const names[] = { "dirs_made", "unchanged", "filtered", "corrected",
		"deleted", "would_delete", "target_entries", "differences" };

	return names[count];
}

void dr_scan_results_add_frontier(struct dr_scan_results *results, const void *bytes, size_t len)
{
	dr_buf_put_u64(&results->frontiers, len);
	dr_buf_put(&results->frontiers, bytes, len);
	results->n_frontiers++;
}

void dr_scan_results_add_error(struct dr_scan_results *results, const char *text)
{
	size_t len = strlen(text);

	dr_buf_put_u64(&results->errors, len);
	dr_buf_put(&results->errors, text, len);
	results->n_errors++;
}

void dr_scan_results_add_residue(struct dr_scan_results *results, const char *text)
{
	size_t len = strlen(text);

	dr_buf_put_u64(&results->residue, len);
	dr_buf_put(&results->residue, text, len);
	results->n_residue++;
}

void dr_scan_results_add_appeared(
	struct dr_scan_results *results, const struct dr_fid *fid, const char *sources)
{
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };

	put_fid(&bytes, fid);
	dr_buf_put_blob(&results->appeared, bytes.data, bytes.len);
	dr_buf_put_blob(&results->appeared, sources, strlen(sources));
	results->n_appeared++;
}

static void results_clear(struct dr_scan_results *results)
{
	dr_buf_clear(&results->chunks);
	dr_buf_clear(&results->frontiers);
	dr_buf_clear(&results->errors);
	dr_buf_clear(&results->residue);
	results->n_residue = 0;
	dr_buf_clear(&results->appeared);
	dr_buf_clear(&results->held);
	dr_buf_clear(&results->parts);
	results->n_held = results->n_parts = 0;
	memset(results->counts, 0, sizeof(results->counts));
	results->n_chunks = results->n_frontiers = results->n_errors = results->n_appeared = 0;
	results->entries = results->directories = 0;
	results->listed = (struct dr_listed){ 0 };
}

void dr_scan_results_fini(struct dr_scan_results *results)
{
	dr_buf_fini(&results->chunks);
	dr_buf_fini(&results->frontiers);
	dr_buf_fini(&results->errors);
	dr_buf_fini(&results->residue);
	dr_buf_fini(&results->appeared);
	dr_buf_fini(&results->held);
	dr_buf_fini(&results->parts);
	*results = (struct dr_scan_results){ 0 };
}

static void put_list(struct dr_args *args, const struct dr_buf *list)
{
	struct dr_cur cur = dr_cur_of(list->data, list->len);

	while (dr_cur_left(&cur) > 0) {
		uint64_t len = dr_cur_u64(&cur);

		dr_args_bytes(args, dr_cur_bytes(&cur, (size_t)len), (size_t)len);
	}
}

/* Their number, then FID and sources of each. */
static void put_appeared(struct dr_args *args, const struct dr_scan_results *results)
{
	struct dr_cur cur = dr_cur_of(results->appeared.data, results->appeared.len);

	dr_args_u64(args, results->n_appeared);
	for (size_t i = 0; i < 2 * results->n_appeared; i++) {
		size_t len;
		const uint8_t *bytes = dr_cur_blob(&cur, &len);

		dr_args_bytes(args, bytes, len);
	}
}

/* Their number, then files, bytes and payload of each. */
static void put_chunks(struct dr_args *args, const struct dr_buf *chunks, size_t n)
{
	struct dr_cur cur = dr_cur_of(chunks->data, chunks->len);

	dr_args_u64(args, n);
	for (size_t i = 0; i < n; i++) {
		dr_args_u64(args, dr_cur_u64(&cur));
		dr_args_u64(args, dr_cur_u64(&cur));
		uint64_t len = dr_cur_u64(&cur);

		dr_args_bytes(args, dr_cur_bytes(&cur, (size_t)len), (size_t)len);
	}
}

/* Their number, then key, number of parts and the chunk that ends it of each. */
static void put_parts(struct dr_args *args, const struct dr_scan_results *results)
{
	struct dr_cur cur = dr_cur_of(results->parts.data, results->parts.len);

	dr_args_u64(args, results->n_parts);
	for (size_t i = 0; i < results->n_parts; i++) {
		size_t len = 0;
		const uint8_t *bytes = dr_cur_blob(&cur, &len);

		dr_args_bytes(args, bytes, len);
		dr_args_u64(args, dr_cur_u64(&cur));
		bytes = dr_cur_blob(&cur, &len);
		dr_args_bytes(args, bytes, len);
	}
}

/* Their number, then name and amount of those that are not 0. */
static void put_counts(struct dr_args *args, const uint64_t *counts)
{
	size_t n = 0;

	for (int i = 0; i < DR_N_CLONE_COUNTS; i++) {
		n += counts[i] > 0;
	}
	dr_args_u64(args, n);
	for (int i = 0; i < DR_N_CLONE_COUNTS; i++) {
		if (counts[i] > 0) {
			dr_args_str(args, dr_clone_count_name((enum dr_clone_count)i));
			dr_args_u64(args, counts[i]);
		}
	}
}

int dr_ledger_settle_scan(struct dr_store *store, struct dr_claim *claim, bool last,
	const struct dr_buf *progress, bool report_only, struct dr_scan_results *results,
	struct dr_queue_state *ret_state)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	dr_args_str(&args, claim->who);
	dr_args_str(&args, claim->id);
	dr_args_u64(&args, claim->deliveries);
	dr_args_u64(&args, claim->seq + 1);
	dr_args_str(&args, last ? "1" : "0");
	dr_args_bytes(&args, progress->data, progress->len);
	dr_args_u64(&args, results->entries);
	dr_args_u64(&args, results->directories);
	dr_args_str(&args, report_only ? "1" : "0");
	dr_args_u64(&args, results->listed.looked_at);
	dr_args_u64(&args, results->listed.on_sources);
	dr_args_u64(&args, results->listed.gone);
	dr_args_u64(&args, results->listed.excluded);
	dr_args_u64(&args, results->listed.below_paths);
	put_appeared(&args, results);
	dr_args_u64(&args, results->n_residue);
	put_list(&args, &results->residue);
	dr_args_u64(&args, results->n_errors);
	put_list(&args, &results->errors);
	put_chunks(&args, &results->chunks, results->n_chunks);
	put_counts(&args, results->counts);
	put_chunks(&args, &results->held, results->n_held);
	put_parts(&args, results);
	put_list(&args, &results->frontiers);
	int r = dr_store_run(store, &dr_script_settle_scan, &args, true, &reply);

	if (r < 0) {
		return r;
	}
	results_clear(results);
	if (dr_reply_int(reply, 0) != 1) {
		return 0;
	}
	claim->seq++;
	ret_state->scan_pending = (uint64_t)dr_reply_int(reply, 1);
	ret_state->files_pending = (uint64_t)dr_reply_int(reply, 2);
	ret_state->hungry = dr_reply_int(reply, 3) == 1;
	ret_state->running = strcmp(dr_reply_str(reply, 4, NULL), "running") == 0;
	ret_state->drained = dr_reply_int(reply, 5) == 1;
	return 1;
}

/* Sums by source OST, in the order of the files. */
struct ost_sum {
	uint32_t ost;
	uint64_t files, bytes;
	uint64_t row;     /* failures after the last success */
	bool any_success; /* a success broke the row */
	UT_hash_handle hh;
};

struct reason {
	char key[64]; /* class/step/errno */
	uint64_t files;
	UT_hash_handle hh;
};

struct leftover {
	uint64_t delay_ms; /* UINT64_MAX: not by itself */
	uint64_t attempt;
	enum dr_class class;
	struct dr_chunk_builder builder;
};

/* What one settle adds up. */
struct sums {
	uint64_t classes[DR_N_CLASSES];
	uint64_t bytes_moved, bytes_done;
	struct ost_sum *osts;
	struct reason *reasons;
	struct leftover left[DR_N_CLASSES];
	struct dr_buf left_fids, done_fids, gone_fids; /* 16 bytes each */
	struct dr_buf parts; /* keys of huge files of which a part is done, a blob each */
	size_t n_parts;
};

/*
 * A source's own fault: it cannot be read. Not: no room on a target, a target's error, a writer, a permission. A command does not
 * tell whose fault it was; but one that fails on a source without end need not be tried for ever.
 */
static bool is_source_failure(const struct dr_outcome *outcome)
{
	bool reads = outcome->step <= DR_STEP_COPY && outcome->step != DR_STEP_TARGET &&
		     outcome->step != DR_STEP_CREATE;

	return outcome->class == DR_FAILED && (reads || outcome->step == DR_STEP_COMMAND);
}

static void sum_osts(struct sums *sums, const struct dr_outcome *outcome)
{
	for (uint32_t i = 0; i < outcome->n_osts; i++) {
		struct ost_sum *sum = NULL;

		HASH_FIND(hh, sums->osts, &outcome->osts[i], sizeof(outcome->osts[i]), sum);
		if (!sum) {
			sum = dr_xcalloc(1, sizeof(*sum));
			sum->ost = outcome->osts[i];
			HASH_ADD(hh, sums->osts, ost, sizeof(sum->ost), sum);
		}
		if (outcome->class == DR_SUCCEEDED) {
			sum->files++;
			sum->bytes += outcome->bytes;
			sum->row = 0;
			sum->any_success = true;
		} else if (is_source_failure(outcome)) {
			sum->row++;
		}
	}
}

static void sum_reason(struct sums *sums, const struct dr_outcome *outcome)
{
	struct reason *reason = NULL;
	char key[sizeof(reason->key)];

	(void)snprintf(key, sizeof(key), "%s/%s/%d", dr_class_name(outcome->class),
		dr_step_name(outcome->step), -outcome->error);
	HASH_FIND_STR(sums->reasons, key, reason);
	if (!reason) {
		reason = dr_xcalloc(1, sizeof(*reason));
		memcpy(reason->key, key, sizeof(key));
		HASH_ADD_STR(sums->reasons, key, reason);
	}
	reason->files++;
}

static void sum_leftover(struct sums *sums, const struct dr_claim *claim, enum dr_chunk_kind kind,
	const struct dr_chunk_file *file, const struct dr_outcome *outcome,
	const struct dr_ledger_rules *rules)
{
	struct leftover *left = &sums->left[outcome->class];
	struct dr_chunk_file kept = *file;

	left->class = outcome->class;
	left->builder.kind = kind;
	left->builder.outcomes = true;
	left->delay_ms = UINT64_MAX;
	left->attempt = claim->attempt;
	if (dr_class_is_skipped(outcome->class) && claim->attempt < rules->n_retry_delays) {
		left->delay_ms = rules->retry_delays_s[claim->attempt] * 1000;
		left->attempt = claim->attempt + 1;
	}
	kept.outcome = *outcome;
	dr_chunk_add(&left->builder, &kept);
	put_fid(&sums->left_fids, &file->fid);
}

static void sum_up(struct sums *sums, const struct dr_claim *claim, const struct dr_chunk *chunk,
	const struct dr_outcome *outcomes, size_t to, const struct dr_ledger_rules *rules)
{
	for (size_t i = (size_t)claim->next; i < to; i++) {
		const struct dr_outcome *outcome = &outcomes[i - claim->next];

		sums->classes[outcome->class]++;
		sums->bytes_done += chunk->files[i].size;
		if (outcome->class == DR_SUCCEEDED) {
			sums->bytes_moved += outcome->bytes;
		}
		sum_osts(sums, outcome);
		if (chunk->kind == DR_CHUNK_PART && outcome->class == DR_SUCCEEDED) {
			struct dr_buf key dr_cleanup(dr_buf_fini) = { 0 };

			put_part_key(&key, &chunk->files[i]);
			dr_buf_put_blob(&sums->parts, key.data, key.len);
			sums->n_parts++;
		}
		if (dr_class_is_leftover(outcome->class)) {
			sum_reason(sums, outcome);
			sum_leftover(sums, claim, chunk->kind, &chunk->files[i], outcome, rules);
		} else if (chunk->outcomes) {
			put_fid(outcome->class == DR_GONE ? &sums->gone_fids : &sums->done_fids,
				&chunk->files[i].fid);
		}
	}
}

static void put_fids(struct dr_args *args, const struct dr_buf *fids)
{
	dr_args_u64(args, fids->len / 16);
	for (size_t at = 0; at < fids->len; at += 16) {
		dr_args_bytes(args, fids->data + at, 16);
	}
}

static void put_sums(struct dr_args *args, struct sums *sums, struct dr_buf *payloads,
	const struct dr_ledger_rules *rules)
{
	size_t at[DR_N_CLASSES], n_left = 0;

	for (int c = 0; c < DR_N_CLASSES; c++) {
		dr_args_u64(args, sums->classes[c]);
	}
	dr_args_u64(args, sums->bytes_moved);
	dr_args_u64(args, sums->bytes_done);
	dr_args_u64(args, rules->max_leftovers);
	dr_args_u64(args, HASH_COUNT(sums->osts));
	for (struct ost_sum *s = sums->osts; s; s = s->hh.next) {
		dr_args_u64(args, s->ost);
		dr_args_u64(args, s->files);
		dr_args_u64(args, s->bytes);
		dr_args_u64(args, s->row);
		dr_args_str(args, s->any_success ? "1" : "0");
	}
	dr_args_u64(args, HASH_COUNT(sums->reasons));
	for (struct reason *s = sums->reasons; s; s = s->hh.next) {
		dr_args_str(args, s->key);
		dr_args_u64(args, s->files);
	}
	/* All payloads first, since the arguments only lend the buffer's bytes. */
	uint64_t files[DR_N_CLASSES] = { 0 };

	for (int c = 0; c < DR_N_CLASSES; c++) {
		at[c] = payloads->len;
		files[c] = sums->left[c].builder.n_files;
		if (files[c]) {
			dr_chunk_finish(&sums->left[c].builder, payloads);
			n_left++;
		}
	}
	dr_args_u64(args, n_left);
	for (int c = 0; c < DR_N_CLASSES; c++) {
		size_t end = c + 1 < DR_N_CLASSES ? at[c + 1] : payloads->len;

		if (files[c]) {
			dr_args_str(args, dr_class_name((enum dr_class)c));
			dr_args_u64(args, files[c]);
			if (sums->left[c].delay_ms == UINT64_MAX) {
				dr_args_str(args, "-1");
			} else {
				dr_args_u64(args, sums->left[c].delay_ms);
			}
			dr_args_u64(args, sums->left[c].attempt);
			dr_args_bytes(args, payloads->data + at[c], end - at[c]);
		}
	}
	put_fids(args, &sums->left_fids);
	put_fids(args, &sums->done_fids);
	put_fids(args, &sums->gone_fids);
}

static void sums_fini(struct sums *sums)
{
	struct ost_sum *o, *o_next;
	struct reason *s, *s_next;

	/* The analyzer cannot follow uthash's way of removing what it iterates over. */
	// NOLINTBEGIN(clang-analyzer-unix.Malloc)
	HASH_ITER(hh, sums->osts, o, o_next)
	{
		HASH_DEL(sums->osts, o);
		free(o);
	}
	HASH_ITER(hh, sums->reasons, s, s_next)
	{
		HASH_DEL(sums->reasons, s);
		free(s);
	}
	// NOLINTEND(clang-analyzer-unix.Malloc)
	for (int c = 0; c < DR_N_CLASSES; c++) {
		dr_chunk_builder_fini(&sums->left[c].builder);
	}
	dr_buf_fini(&sums->left_fids);
	dr_buf_fini(&sums->done_fids);
	dr_buf_fini(&sums->gone_fids);
	dr_buf_fini(&sums->parts);
}

static void put_parts_done(struct dr_args *args, const struct sums *sums)
{
	struct dr_cur cur = dr_cur_of(sums->parts.data, sums->parts.len);

	dr_args_u64(args, sums->n_parts);
	for (size_t i = 0; i < sums->n_parts; i++) {
		size_t len = 0;
		const uint8_t *key = dr_cur_blob(&cur, &len);

		dr_args_bytes(args, key, len);
	}
}

/* The files from `from` on, as new chunks of about the same number of files. */
static void put_rest(struct dr_args *args, const struct dr_claim *claim,
	const struct dr_chunk *chunk, size_t from, unsigned parts, struct dr_scan_results *rest)
{
	struct dr_chunk_builder builder dr_cleanup(
		dr_chunk_builder_fini) = { .kind = chunk->kind, .outcomes = chunk->outcomes };
	size_t n = chunk->n_files - from;

	for (unsigned part = 0; part < parts; part++) {
		size_t end = from + n * (part + 1) / parts;

		for (size_t i = from + n * part / parts; i < end; i++) {
			dr_chunk_add(&builder, &chunk->files[i]);
		}
		if (builder.n_files > 0) {
			dr_scan_results_add_chunk(rest, &builder);
		}
	}
	dr_args_u64(args, claim->attempt);
	dr_args_str(args, claim->again ? "1" : "0");
	put_chunks(args, &rest->chunks, rest->n_chunks);
}

int dr_ledger_settle_move(struct dr_store *store, struct dr_claim *claim,
	const struct dr_chunk *chunk, const struct dr_outcome *outcomes, size_t to, unsigned parts,
	const struct dr_ledger_rules *rules, struct dr_queue_state *ret_state)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	struct dr_buf payloads dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_scan_results rest dr_cleanup(dr_scan_results_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	struct sums sums = { 0 };

	sum_up(&sums, claim, chunk, outcomes, to, rules);
	dr_args_str(&args, claim->who);
	dr_args_str(&args, claim->id);
	dr_args_u64(&args, claim->deliveries);
	dr_args_u64(&args, claim->next);
	dr_args_u64(&args, to);
	dr_args_str(&args, to == chunk->n_files || parts > 0 ? "1" : "0");
	put_sums(&args, &sums, &payloads, rules);
	put_rest(&args, claim, chunk, to, parts, &rest);
	put_parts_done(&args, &sums);
	int r = dr_store_run(store, &dr_script_settle_move, &args, true, &reply);

	sums_fini(&sums);
	if (r < 0) {
		return r;
	}
	if (dr_reply_int(reply, 0) != 1) {
		return 0;
	}
	claim->next = to;
	ret_state->running = strcmp(dr_reply_str(reply, 1, NULL), "running") == 0;
	ret_state->drained = dr_reply_int(reply, 2) == 1;
	ret_state->hungry = dr_reply_int(reply, 4) == 1;
	dr_rangeset_fini(&ret_state->aside);
	const char *aside = dr_reply_str(reply, 3, NULL);

	return aside[0] && dr_rangeset_parse(aside, &ret_state->aside) < 0 ? -EPROTO : 1;
}

int dr_ledger_known(struct dr_store *store, const struct dr_fid *fids, size_t n, uint8_t *flags)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	dr_buf_reserve(&bytes, n * 16);
	for (size_t i = 0; i < n; i++) {
		put_fid(&bytes, &fids[i]);
	}
	for (size_t i = 0; i < n; i++) {
		dr_args_bytes(&args, bytes.data + i * 16, 16);
	}
	int r = dr_store_run(store, &dr_script_known, &args, true, &reply);

	for (size_t i = 0; r == 0 && i < n; i++) {
		flags[i] = dr_reply_int(reply, i) == 1;
	}
	return r;
}

int dr_ledger_elect(struct dr_store *store, const uint64_t *inos, const struct dr_path *paths,
	size_t n, char **ret_elected)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	for (size_t i = 0; i < n; i++) {
		dr_args_u64(&args, inos[i]);
		dr_args_bytes(&args, paths[i].bytes, paths[i].len);
	}
	int r = dr_store_run(store, &dr_script_elect, &args, true, &reply);

	if (r < 0) {
		return r;
	}
	for (size_t i = 0; i < n; i++) {
		size_t len = 0;
		const char *path = dr_reply_str(reply, i, &len);
		bool is_own = len == paths[i].len && memcmp(path, paths[i].bytes, len) == 0;

		ret_elected[i] = is_own ? NULL : dr_xmemdup(path, len + 1);
	}
	return 0;
}
