/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/claim.h"

#include "base/log.h"
#include "store/scripts.h"

#include <stdio.h>

static const char *job_name(enum dr_job job)
{
	return job == DR_JOB_SCAN ? "scan" : "move";
}

void dr_claim_table_init(struct dr_claim_table *table)
{
	*table = (struct dr_claim_table){ 0 };
	(void)pthread_mutex_init(&table->lock, NULL);
}

void dr_claim_table_fini(struct dr_claim_table *table)
{
	(void)pthread_mutex_destroy(&table->lock);
}

static void table_add(struct dr_claim_table *table, struct dr_claim *claim)
{
	(void)pthread_mutex_lock(&table->lock);
	claim->older = table->first;
	claim->newer = NULL;
	if (table->first) {
		table->first->newer = claim;
	}
	table->first = claim;
	(void)pthread_mutex_unlock(&table->lock);
}

void dr_claim_drop(struct dr_claim_table *table, struct dr_claim *claim)
{
	(void)pthread_mutex_lock(&table->lock);
	if (claim->newer) {
		claim->newer->older = claim->older;
	} else {
		table->first = claim->older;
	}
	if (claim->older) {
		claim->older->newer = claim->newer;
	}
	(void)pthread_mutex_unlock(&table->lock);
	dr_buf_fini(&claim->payload);
	dr_buf_fini(&claim->progress);
	*claim = (struct dr_claim){ 0 };
}

static enum dr_claim_none none_of(const char *why)
{
	if (strcmp(why, "empty") == 0) {
		return DR_NONE_EMPTY;
	}
	if (strcmp(why, "hold") == 0) {
		return DR_NONE_HOLD;
	}
	return strcmp(why, "paused") == 0 || strcmp(why, "created") == 0 ? DR_NONE_PAUSED
									 : DR_NONE_OVER;
}

int dr_claim_take(struct dr_store *store, struct dr_claim_table *table, enum dr_job job,
	uint64_t max_pending, const char *who, struct dr_claim *claim, struct dr_rangeset *aside,
	enum dr_claim_none *ret_none)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	size_t len;
	int r;

	dr_args_str(&args, job_name(job));
	dr_args_str(&args, who);
	dr_args_u64(&args, max_pending);
	r = dr_store_run(store, &dr_script_claim, &args, true, &reply);
	if (r < 0) {
		return r;
	}
	if (dr_reply_int(reply, 0) != 1) {
		*ret_none = none_of(dr_reply_str(reply, 1, NULL));
		return 0;
	}
	*claim = (struct dr_claim){ .job = job };
	(void)snprintf(claim->who, sizeof(claim->who), "%s", who);
	(void)snprintf(claim->id, sizeof(claim->id), "%s", dr_reply_str(reply, 1, NULL));
	claim->deliveries = (uint64_t)dr_reply_int(reply, 2);
	const char *bytes = dr_reply_str(reply, 3, &len);
	dr_buf_put(&claim->payload, bytes, len);
	bytes = dr_reply_str(reply, 4, &len);
	if (job == DR_JOB_SCAN) {
		dr_buf_put(&claim->progress, bytes, len);
	} else {
		claim->next = strtoull(bytes, NULL, 10);
	}
	claim->n_files = (uint64_t)dr_reply_int(reply, 5);
	claim->attempt = (uint64_t)dr_reply_int(reply, 6);
	claim->seq = (uint64_t)dr_reply_int(reply, 8);
	claim->again = dr_reply_int(reply, 9) == 1;
	if (aside) {
		dr_rangeset_fini(aside);
		const char *list = dr_reply_str(reply, 7, NULL);

		if (list[0] && dr_rangeset_parse(list, aside) < 0) {
			dr_log(DR_LOG_ERROR, "aside-unreadable", "list=\"%s\"", list);
		}
	}
	table_add(table, claim);
	return 1;
}

void dr_claim_give_back(struct dr_store *store, struct dr_claim *claim)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	dr_args_str(&args, job_name(claim->job));
	dr_args_str(&args, claim->id);
	dr_args_str(&args, claim->who);
	dr_args_u64(&args, claim->deliveries);
	int r = dr_store_run(store, &dr_script_giveback, &args, false, &reply);

	if (r < 0) {
		dr_log(DR_LOG_WARNING, "claim-not-given-back",
			"job=%s id=%s errno=%d next=\"it returns when it is stale\"",
			job_name(claim->job), claim->id, -r);
	}
}

bool dr_claim_is_lost(struct dr_claim_table *table, const struct dr_claim *claim)
{
	(void)pthread_mutex_lock(&table->lock);
	bool lost = claim->lost;
	(void)pthread_mutex_unlock(&table->lock);
	return lost;
}

int dr_claim_refresh(struct dr_claim_table *table, struct dr_store *store)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;
	struct {
		char id[sizeof(((struct dr_claim *)0)->id)], who[DR_WHO_SIZE];
	} *held = NULL;
	size_t n = 0;

	/* Copied, because the claims go on changing hands while the server answers. */
	(void)pthread_mutex_lock(&table->lock);
	for (struct dr_claim *c = table->first; c; c = c->older) {
		n++;
	}
	held = dr_xcalloc(n + 1, sizeof(*held));
	n = 0;
	for (struct dr_claim *c = table->first; c; c = c->older, n++) {
		memcpy(held[n].id, c->id, sizeof(held[n].id));
		memcpy(held[n].who, c->who, sizeof(held[n].who));
		dr_args_str(&args, job_name(c->job));
		dr_args_str(&args, held[n].id);
		dr_args_str(&args, held[n].who);
		dr_args_u64(&args, c->deliveries);
	}
	(void)pthread_mutex_unlock(&table->lock);
	int r = n == 0 ? 0 : dr_store_run(store, &dr_script_refresh, &args, false, &reply);

	if (r == 0 && n > 0) {
		(void)pthread_mutex_lock(&table->lock);
		for (size_t i = 0; i < n; i++) {
			if (dr_reply_int(reply, i) == 1) {
				continue;
			}
			for (struct dr_claim *c = table->first; c; c = c->older) {
				if (strcmp(c->id, held[i].id) == 0 &&
					strcmp(c->who, held[i].who) == 0) {
					c->lost = true;
				}
			}
		}
		(void)pthread_mutex_unlock(&table->lock);
	}
	free(held);
	return r;
}

int dr_claim_reap(struct dr_store *store, uint64_t timeout_ms, char *const *dead, size_t n_dead,
	char ***ret_holders, size_t *ret_n_holders)
{
	struct dr_args args dr_cleanup(dr_args_fini) = { 0 };
	redisReply *reply dr_cleanup(dr_reply_freep) = NULL;

	dr_args_u64(&args, timeout_ms);
	for (size_t i = 0; i < n_dead; i++) {
		dr_args_str(&args, dead[i]);
	}
	int r = dr_store_run(store, &dr_script_reap, &args, false, &reply);

	if (r < 0) {
		return r;
	}
	size_t n = reply->elements > 0 ? reply->elements - 1 : 0;
	char **holders = dr_xcalloc(n + 1, sizeof(*holders));

	for (size_t i = 0; i < n; i++) {
		holders[i] = dr_xstrdup(dr_reply_str(reply, i + 1, NULL));
	}
	*ret_holders = holders;
	*ret_n_holders = n;
	return (int)dr_reply_int(reply, 0);
}
