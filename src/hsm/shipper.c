/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/shipper.h"

#include "base/clock.h"
#include "base/log.h"
#include "hsm/source.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#define LOG_SECONDS 300
#define SAVE_EVENTS 20000 /* shipped since the last save, or a tenth of what is live */
#define SAVE_NS 60000000000ull

struct mdt {
	struct dr_known_mdt state; /* guarded by the shipper's lock */
	char *key;                 /* of its stream */
	char *path;                /* of its file; NULL: it is not here. Guarded too */
	uint64_t missing_ns;       /* since when it is not here; 0: it is */
};

struct dr_shipper {
	const struct dr_hsm_config *config;
	struct dr_url url;
	struct dr_feed *polling, *maintaining; /* one a thread */
	pthread_mutex_t
		lock; /* guards what the MDTs say they have guarded, their list, and the two below */
	struct mdt *mdts; /* sorted by name */
	size_t n_mdts;
	uint64_t n_unsaved; /* entries that came to the states since the last save */
	uint64_t saved_ns;
	_Atomic uint64_t beat_ns;
};

static void beat(void *arg)
{
	struct dr_shipper *shipper = arg;

	atomic_store_explicit(&shipper->beat_ns, dr_now_ns(), memory_order_relaxed);
}

uint64_t dr_shipper_beat(const struct dr_shipper *shipper)
{
	return atomic_load_explicit(&shipper->beat_ns, memory_order_relaxed);
}

/* ---- the list of MDTs ---- */

/* Where an MDT of that name is, or would be inserted. */
static size_t place_of(const struct dr_shipper *shipper, const char *name, bool *ret_is_there)
{
	size_t low = 0;
	size_t high = shipper->n_mdts;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(shipper->mdts[middle].state.name, name) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	*ret_is_there = low < shipper->n_mdts && strcmp(shipper->mdts[low].state.name, name) == 0;
	return low;
}

static void mdt_fini(struct mdt *mdt)
{
	free(mdt->state.name);
	free(mdt->key);
	free(mdt->path);
	dr_known_fini(&mdt->state.known);
}

/* Takes over what state owns. */
static struct mdt *insert(struct dr_shipper *shipper, struct dr_known_mdt state, size_t at)
{
	size_t behind = shipper->n_mdts - at;

	shipper->mdts = dr_xrealloc(shipper->mdts, (shipper->n_mdts + 1) * sizeof(*shipper->mdts));
	struct mdt *mdt = &shipper->mdts[at];

	memmove(mdt + 1, mdt, behind * sizeof(*mdt));
	shipper->n_mdts++;
	*mdt = (struct mdt){
		.state = state,
		.key = dr_xasprintf("%s:%s", shipper->config->redis_stream_prefix, state.name),
	};
	return mdt;
}

static void load_cache(struct dr_shipper *shipper)
{
	const char *path = shipper->config->cache_path;
	struct dr_known_mdt *mdts = NULL;
	size_t n = 0;
	int r = dr_known_load(path, &mdts, &n);

	if (r < 0) {
		dr_log(r == -ENOENT ? DR_LOG_INFO : DR_LOG_WARNING, "cache-unusable",
			"path=%s why=\"%s\" next=\"the streams are replayed\"", path,
			r == -EBADMSG           ? "torn, or no cache"
			: r == -EPROTONOSUPPORT ? "of another version"
						: strerrordesc_np(-r));
		return;
	}
	for (size_t i = 0; i < n; i++) {
		bool is_there = false;
		size_t at = place_of(shipper, mdts[i].name, &is_there);

		if (is_there) {
			free(mdts[i].name);
			dr_known_fini(&mdts[i].known);
		} else {
			(void)insert(shipper, mdts[i], at);
		}
	}
	free(mdts);
}

int dr_shipper_new(
	const struct dr_hsm_config *config, struct dr_shipper **ret_shipper, char **ret_message)
{
	struct dr_url url = { 0 };
	int r = dr_hsm_config_url(config, &url, ret_message);

	if (r < 0) {
		return r;
	}
	struct dr_shipper *shipper = dr_xcalloc(1, sizeof(*shipper));

	shipper->config = config;
	shipper->url = url;
	shipper->polling = dr_feed_new(&shipper->url, beat, shipper);
	shipper->maintaining = dr_feed_new(&shipper->url, NULL, NULL);
	(void)pthread_mutex_init(&shipper->lock, NULL);
	shipper->saved_ns = dr_now_ns();
	beat(shipper);
	load_cache(shipper);
	*ret_shipper = shipper;
	return 0;
}

void dr_shipper_free(struct dr_shipper *shipper)
{
	if (!shipper) {
		return;
	}
	for (size_t i = 0; i < shipper->n_mdts; i++) {
		mdt_fini(&shipper->mdts[i]);
	}
	free(shipper->mdts);
	dr_feed_free(shipper->polling);
	dr_feed_free(shipper->maintaining);
	dr_url_fini(&shipper->url);
	(void)pthread_mutex_destroy(&shipper->lock);
	free(shipper);
}

void dr_shipper_cancel(struct dr_shipper *shipper)
{
	dr_feed_cancel(shipper->polling);
	dr_feed_cancel(shipper->maintaining);
}

/* ---- polling ---- */

/* Brings the list up to what is here now. */
static int look_for_files(struct dr_shipper *shipper)
{
	struct dr_source *sources = NULL;
	size_t n = 0;
	int r = dr_sources_find(shipper->config->mdt_watch_glob, &sources, &n);

	if (r < 0) {
		dr_log_limited(LOG_SECONDS, DR_LOG_ERROR, "files-unreadable", "glob=%s why=\"%s\"",
			shipper->config->mdt_watch_glob, strerrordesc_np(-r));
		return r;
	}
	if (n == 0) {
		dr_log_limited(LOG_SECONDS, DR_LOG_WARNING, "no-files",
			"glob=%s next=\"looks again\"", shipper->config->mdt_watch_glob);
	}
	for (size_t i = 0; i < shipper->n_mdts; i++) {
		free(shipper->mdts[i].path);
		shipper->mdts[i].path = NULL;
	}
	for (size_t i = 0; i < n; i++) {
		bool is_there = false;
		size_t at = place_of(shipper, sources[i].mdt, &is_there);

		if (!is_there) {
			struct dr_known_mdt state = { .name = dr_xstrdup(sources[i].mdt) };

			dr_known_init(&state.known);
			(void)insert(shipper, state, at);
		}
		shipper->mdts[at].path = dr_xstrdup(sources[i].path);
	}
	dr_sources_free(sources, n);
	return 0;
}

static void note_presence(struct mdt *mdt, uint64_t now_ns)
{
	const char *name = mdt->state.name;

	if (!mdt->path && mdt->missing_ns == 0) {
		mdt->missing_ns = now_ns;
		dr_log(DR_LOG_INFO, "mdt-missing",
			"mdt=%s live=%" PRIu32 " next=\"nothing is purged\"", name,
			mdt->state.known.actions.n);
	} else if (mdt->path && mdt->missing_ns) {
		mdt->missing_ns = 0;
		dr_log(DR_LOG_INFO, "mdt-back", "mdt=%s", name);
	}
}

/* Whether it is gone for so long that its actions are to be purged: where the site chose such a time. */
static bool is_given_up(const struct dr_shipper *shipper, const struct mdt *mdt, uint64_t now_ns)
{
	uint64_t after_ms = shipper->config->missing_purge_ms;

	return after_ms && mdt->missing_ns && mdt->state.known.actions.n &&
	       now_ns - mdt->missing_ns >= after_ms * 1000000;
}

static void add_counts(struct dr_poll *poll, const struct dr_ship_counts *counts)
{
	poll->n_lines += counts->n_lines;
	poll->n_bad += counts->n_bad;
	poll->n_new += counts->n_new;
	poll->n_update += counts->n_update;
	poll->n_purged += counts->n_purged;
}

static void log_mdt(const struct mdt *mdt, const struct dr_ship_counts *counts)
{
	const char *name = mdt->state.name;

	if (counts->file_error) {
		dr_log_limited(LOG_SECONDS, DR_LOG_ERROR, "file-unreadable",
			"mdt=%s path=%s why=\"%s\" next=\"nothing is purged, it is read again\"",
			name, mdt->path, strerrordesc_np(-counts->file_error));
	} else if (!counts->is_stable) {
		dr_log_limited(LOG_SECONDS, DR_LOG_INFO, "file-changed",
			"mdt=%s next=\"nothing is purged this time\"", name);
	}
	if (counts->n_bad) {
		dr_log_limited(LOG_SECONDS, DR_LOG_WARNING, "bad-lines",
			"mdt=%s n=%" PRIu64 " of=%" PRIu64, name, counts->n_bad, counts->n_lines);
	}
	bool is_news = counts->n_new || counts->n_update || counts->n_purged;

	dr_log(is_news ? DR_LOG_INFO : DR_LOG_DEBUG, "polled",
		"mdt=%s live=%" PRIu32 " new=%" PRIu64 " update=%" PRIu64 " purged=%" PRIu64, name,
		mdt->state.known.actions.n, counts->n_new, counts->n_update, counts->n_purged);
}

static int poll_mdt(struct dr_shipper *shipper, struct mdt *mdt, struct dr_poll *poll)
{
	struct dr_ship_counts counts = { 0 };
	int64_t now_s = (int64_t)(dr_wall_ms() / 1000);
	int r = dr_ship_mdt(shipper->polling, mdt->key, mdt->state.name, mdt->path, now_s,
		&mdt->state.known, &counts);

	beat(shipper);
	add_counts(poll, &counts);
	shipper->n_unsaved += counts.n_new + counts.n_update + counts.n_purged + counts.n_read;
	log_mdt(mdt, &counts);
	if (r == -EMEDIUMTYPE || r == -EAGAIN) {
		dr_log_limited(LOG_SECONDS, DR_LOG_ERROR, "stream-unusable",
			"stream=%s why=\"%s\" next=\"this MDT is passed over\"", mdt->key,
			r == -EAGAIN ? "others keep writing to it" : "the key is no stream");
		return dr_feed_is_connected(shipper->polling) ? 0 : r;
	}
	return r;
}

static bool is_save_due(const struct dr_shipper *shipper, uint64_t n_live)
{
	return shipper->n_unsaved > SAVE_EVENTS || shipper->n_unsaved * 10 > n_live + 1000 ||
	       (shipper->n_unsaved && dr_now_ns() - shipper->saved_ns > SAVE_NS);
}

static int save_locked(struct dr_shipper *shipper)
{
	struct dr_known_mdt *states = dr_xcalloc(shipper->n_mdts, sizeof(*states));

	for (size_t i = 0; i < shipper->n_mdts; i++) {
		states[i] = shipper->mdts[i].state;
	}
	int r = dr_known_save(shipper->config->cache_path, states, shipper->n_mdts);

	free(states);
	shipper->saved_ns = dr_now_ns();
	if (r < 0) {
		dr_log_limited(LOG_SECONDS, DR_LOG_ERROR, "cache-unsaved",
			"path=%s why=\"%s\" next=\"a restart replays the streams\"",
			shipper->config->cache_path, strerrordesc_np(-r));
	} else {
		shipper->n_unsaved = 0;
	}
	return r;
}

/* One MDT after the other, each under the lock, so that maintenance may come in between. */
static int poll_all(struct dr_shipper *shipper, struct dr_poll *poll)
{
	uint64_t now_ns = dr_now_ns();
	int r = 0;

	for (size_t i = 0; r == 0 && i < shipper->n_mdts; i++) {
		struct mdt *mdt = &shipper->mdts[i];

		(void)pthread_mutex_lock(&shipper->lock);
		note_presence(mdt, now_ns);
		poll->n_mdts += mdt->path != NULL;
		poll->n_missing += mdt->path == NULL;
		if (mdt->path || is_given_up(shipper, mdt, now_ns)) {
			r = poll_mdt(shipper, mdt, poll);
		}
		poll->n_live += mdt->state.known.actions.n;
		(void)pthread_mutex_unlock(&shipper->lock);
	}
	return r;
}

int dr_shipper_poll(struct dr_shipper *shipper, struct dr_poll *ret_poll)
{
	*ret_poll = (struct dr_poll){ 0 };
	beat(shipper);
	(void)pthread_mutex_lock(&shipper->lock);
	int r = look_for_files(shipper);

	(void)pthread_mutex_unlock(&shipper->lock);
	if (r < 0) {
		return 0; /* nothing is known to have changed */
	}
	r = poll_all(shipper, ret_poll);
	(void)pthread_mutex_lock(&shipper->lock);
	if (is_save_due(shipper, ret_poll->n_live)) {
		(void)save_locked(shipper);
	}
	(void)pthread_mutex_unlock(&shipper->lock);
	return r;
}

int dr_shipper_save(struct dr_shipper *shipper, unsigned wait_ms)
{
	uint64_t until_ns = dr_now_ns() + (uint64_t)wait_ms * 1000000;

	while (pthread_mutex_trylock(&shipper->lock) != 0) {
		if (dr_now_ns() >= until_ns) {
			return -ETIMEDOUT;
		}
		dr_sleep_ms(5);
	}
	int r = shipper->n_unsaved ? save_locked(shipper) : 0;

	(void)pthread_mutex_unlock(&shipper->lock);
	return r;
}

/* ---- maintenance ---- */

static struct mdt *mdt_of(struct dr_shipper *shipper, const char *key)
{
	for (size_t i = 0; i < shipper->n_mdts; i++) {
		if (strcmp(shipper->mdts[i].key, key) == 0) {
			return &shipper->mdts[i];
		}
	}
	return NULL;
}

/* The keys of the MDTs that are here now; the caller frees each, and the list. */
static char **keys_here(struct dr_shipper *shipper, size_t *ret_n)
{
	size_t n = 0;

	(void)pthread_mutex_lock(&shipper->lock);
	char **keys = dr_xcalloc(shipper->n_mdts, sizeof(*keys));

	for (size_t i = 0; i < shipper->n_mdts; i++) {
		if (shipper->mdts[i].path) {
			keys[n++] = dr_xstrdup(shipper->mdts[i].key);
		}
	}
	(void)pthread_mutex_unlock(&shipper->lock);
	*ret_n = n;
	return keys;
}

/* @return the sum of what it does, for the MDTs that are here now; a key that is no stream is passed over. -errno of the first that failed */
static int64_t each_stream(
	struct dr_shipper *shipper, int64_t (*fn)(struct dr_shipper *shipper, const char *key))
{
	size_t n = 0;
	char **keys = keys_here(shipper, &n);
	int64_t total = 0;
	int64_t r = 0;

	for (size_t i = 0; i < n && r >= 0; i++) {
		r = fn(shipper, keys[i]);
		total += r > 0 ? r : 0;
		r = r == -EMEDIUMTYPE ? 0 : r;
	}
	while (n > 0) {
		free(keys[--n]);
	}
	free(keys);
	return r < 0 ? r : total;
}

/* What the stream says, without the lock but for its newest entries. */
static int64_t replay(struct dr_shipper *shipper, const char *key)
{
	struct dr_known fresh;
	int64_t n_differ = 0;

	dr_known_init(&fresh);
	int64_t r = dr_feed_catch_up(shipper->maintaining, key, &fresh);

	(void)pthread_mutex_lock(&shipper->lock);
	if (r >= 0) {
		r = dr_feed_catch_up(shipper->maintaining, key, &fresh);
	}
	struct mdt *mdt = mdt_of(shipper, key);

	if (r >= 0 && mdt) {
		struct dr_known old = mdt->state.known;

		n_differ = (int64_t)dr_known_adopt(&fresh, &old);
		fresh.pass = old.pass;
		mdt->state.known = fresh;
		fresh = old;
	}
	(void)pthread_mutex_unlock(&shipper->lock);
	dr_known_fini(&fresh);
	if (n_differ) {
		dr_log(DR_LOG_WARNING, "stream-differs",
			"stream=%s actions=%" PRId64 " next=\"it is put right\"", key, n_differ);
	}
	return r < 0 ? r : n_differ;
}

int64_t dr_shipper_replay(struct dr_shipper *shipper)
{
	return each_stream(shipper, replay);
}

/*
 * What is older than the oldest live action is not needed to tell which are live, now and later: an action that is not live now
 * becomes so only by a newer entry.
 */
static int64_t trim(struct dr_shipper *shipper, const char *key)
{
	struct dr_entry_id keep = { 0 };

	(void)pthread_mutex_lock(&shipper->lock);
	struct mdt *mdt = mdt_of(shipper, key);

	if (mdt && !dr_known_oldest(&mdt->state.known, &keep)) {
		keep = mdt->state.known.last;
		keep.seq++;
	}
	(void)pthread_mutex_unlock(&shipper->lock);
	if (keep.ms == 0) {
		return 0;
	}
	int64_t n = dr_feed_trim(shipper->maintaining, key, keep, shipper->config->trim_chunk_size,
		shipper->config->use_approximate_trimming);

	if (n > 0) {
		dr_log(DR_LOG_INFO, "stream-trimmed", "stream=%s entries=%" PRId64, key, n);
	}
	return n;
}

int64_t dr_shipper_trim(struct dr_shipper *shipper)
{
	return each_stream(shipper, trim);
}
