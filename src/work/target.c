/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/target.h"

#include "base/clock.h"
#include "base/log.h"
#include "work/flight.h"
#include "work/pool.h"

#include <pthread.h>

#define LOOK_NS 1000000000ull
#define LOOK_MOST_NS 10000000000ull
#define LOOK_SHARE 20 /* a look is followed by a pause of so many times its length */
#define AVOID_NS 10000000000ull
#define HEARD_NS 30000000000ull
#define NO_NUMBER UINT64_MAX

struct target {
	struct dr_ost ost;
	uint64_t room;      /* bytes above the reserve, as of the last look; 0: not usable */
	uint64_t in_flight; /* bytes, from this process */
	uint64_t others;    /* bytes, from other processes, as of heard_ns */
	uint64_t told,
		told_before; /* bytes of ours in the last text that was told, and in the one before */
	uint64_t avoid_until_ns;
	uint64_t used;      /* the component (by its number in `placing`) that has an object here */
	uint64_t elsewhere; /* the component whose other mirrors have one here */
};

struct dr_targets {
	struct dr_fs *fs;
	struct dr_rangeset sources; /* never changes: read without the lock */
	unsigned reserve_percent;
	struct dr_pools *pools;
	pthread_mutex_t lock; /* guards all below */
	struct target *v;     /* by position; indices may have gaps */
	size_t n;
	bool looking;       /* a thread is at it */
	bool look_soon;     /* an OST was to be avoided since the last look began */
	uint64_t looked_ns; /* when the last look ended */
	uint64_t next_look_ns;
	uint64_t
		sum_number; /* of the sum that was heard last; NO_NUMBER: what it holds of ours is not known */
	bool answered;     /* what was told last */
	uint64_t heard_ns; /* when `others` was; 0: never */
	uint64_t random;
	uint64_t placing; /* counts the components ever placed */
};

struct dr_targets *dr_targets_new(
	struct dr_fs *fs, const struct dr_rangeset *sources, unsigned reserve_percent)
{
	struct dr_targets *targets = dr_xcalloc(1, sizeof(*targets));

	targets->fs = fs;
	dr_rangeset_copy(&targets->sources, sources);
	targets->reserve_percent = reserve_percent;
	targets->pools = dr_pools_new(fs);
	targets->sum_number = NO_NUMBER;
	targets->random = dr_now_ns() | 1;
	(void)pthread_mutex_init(&targets->lock, NULL);
	return targets;
}

void dr_targets_free(struct dr_targets *targets)
{
	if (!targets) {
		return;
	}
	dr_rangeset_fini(&targets->sources);
	dr_pools_free(targets->pools);
	free(targets->v);
	(void)pthread_mutex_destroy(&targets->lock);
	free(targets);
}

bool dr_targets_is_source(const struct dr_targets *targets, uint32_t ost)
{
	return dr_rangeset_has(&targets->sources, ost);
}

static uint64_t room_of(const struct dr_targets *targets, const struct dr_ost *ost)
{
	uint64_t reserve = ost->total_bytes / 100 * targets->reserve_percent;

	if (ost->state || dr_targets_is_source(targets, ost->index) ||
		ost->avail_bytes <= reserve) {
		return 0;
	}
	return ost->avail_bytes - reserve;
}

static struct target *find(struct dr_targets *targets, uint32_t index)
{
	if (index < targets->n && targets->v[index].ost.index == index) {
		return &targets->v[index];
	}
	for (size_t i = 0; i < targets->n; i++) {
		if (targets->v[i].ost.index == index) {
			return &targets->v[i];
		}
	}
	return NULL;
}

/* Whether the caller is to look now; then it must, and call keep_look(). */
static bool look_is_due(struct dr_targets *targets, uint64_t now)
{
	(void)pthread_mutex_lock(&targets->lock);
	bool soon = targets->look_soon && now - targets->looked_ns >= LOOK_NS;
	bool due = targets->n == 0 || (!targets->looking && (soon || now >= targets->next_look_ns));

	if (due) {
		targets->looking = true; /* the others go on with what is known */
		targets->look_soon = false;
	}
	(void)pthread_mutex_unlock(&targets->lock);
	return due;
}

/* A look that began at began_ns has ended, and found these OSTs; NULL: it failed. @return whether anything is known */
static bool keep_look(
	struct dr_targets *targets, const struct dr_ost *osts, size_t n, uint64_t began_ns)
{
	struct target *v = osts ? dr_xcalloc(n ? n : 1, sizeof(*v)) : NULL;

	(void)pthread_mutex_lock(&targets->lock);
	uint64_t now = dr_now_ns(), pause = (now - began_ns) * LOOK_SHARE;

	pause = pause < LOOK_NS ? LOOK_NS : pause > LOOK_MOST_NS ? LOOK_MOST_NS : pause;
	targets->looking = false;
	targets->looked_ns = now;
	targets->next_look_ns = now + pause;
	for (size_t i = 0; v && i < n; i++) {
		const struct target *old = find(targets, osts[i].index);

		if (old) {
			v[i] = *old;
		}
		v[i].ost = osts[i];
		v[i].room = room_of(targets, &osts[i]);
	}
	if (v) {
		free(targets->v);
		targets->v = v;
		targets->n = n;
	}
	bool known = targets->n > 0;
	(void)pthread_mutex_unlock(&targets->lock);
	return known;
}

int dr_targets_refresh(struct dr_targets *targets)
{
	uint64_t now = dr_now_ns();
	struct dr_ost *osts = NULL;
	size_t n = 0;

	if (!look_is_due(targets, now)) {
		return 0;
	}
	int r = targets->fs->ops->osts(targets->fs, &osts, &n);

	bool known = keep_look(targets, r < 0 ? NULL : osts, n, now);

	if (r < 0 && known) {
		dr_log_limited(60, DR_LOG_WARNING, "osts-not-seen",
			"errno=%d next=\"goes on with what was seen before\"", -r);
	} else if (r == 0) {
		free(osts);
	}
	return known ? 0 : r;
}

void dr_targets_avoid(struct dr_targets *targets, uint32_t ost)
{
	(void)pthread_mutex_lock(&targets->lock);
	struct target *t = find(targets, ost);

	if (t) {
		t->avoid_until_ns = dr_now_ns() + AVOID_NS;
	}
	targets->look_soon = true;
	(void)pthread_mutex_unlock(&targets->lock);
}

void dr_targets_forget_pools(struct dr_targets *targets)
{
	dr_pools_forget(targets->pools);
}

/* xorshift64*; only spreads load. Under the lock. */
static uint64_t random_next(struct dr_targets *targets)
{
	uint64_t x = targets->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	targets->random = x;
	return x * 0x2545F4914F6CDD1Dull;
}

/* Bytes that are on their way to a target. */
static uint64_t busy_of(const struct dr_targets *targets, const struct target *t, uint64_t now)
{
	bool heard = targets->heard_ns && now - targets->heard_ns < HEARD_NS;

	return t->in_flight + (heard ? t->others : 0);
}

static uint64_t weight_of(
	const struct dr_targets *targets, const struct target *t, uint64_t need, uint64_t now)
{
	uint64_t busy = busy_of(targets, t, now);

	if (t->room <= busy || t->room - busy < need || t->avoid_until_ns > now) {
		return 0;
	}
	/* In MiB, so that a sum over thousands of OSTs of petabytes stays far from overflow. */
	return ((t->room - busy) >> 20) + 1;
}

enum strictness {
	APART,     /* not where the component, or another mirror of the file, has an object */
	OWN_APART, /* not where the component has one */
	ANYWHERE,
};

/* What an object is chosen a target for. */
struct want {
	const struct dr_pool *pool; /* NULL: any */
	uint64_t bytes;
	uint64_t now;
};

static bool allows(const struct want *want, uint32_t ost)
{
	return !want->pool || dr_pool_allows(want->pool, ost);
}

static uint64_t weight_for(const struct dr_targets *targets, const struct target *t,
	enum strictness strictness, const struct want *want)
{
	if ((strictness <= OWN_APART && t->used == targets->placing) ||
		(strictness == APART && t->elsewhere == targets->placing) ||
		!allows(want, t->ost.index)) {
		return 0;
	}
	return weight_of(targets, t, want->bytes, want->now);
}

/* A target with room, with a probability by its room; NULL: none. */
static struct target *pick(
	struct dr_targets *targets, enum strictness strictness, const struct want *want)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < targets->n; i++) {
		sum += weight_for(targets, &targets->v[i], strictness, want);
	}
	if (sum == 0) {
		return NULL;
	}
	uint64_t at = random_next(targets) % sum;

	for (size_t i = 0; i < targets->n; i++) {
		uint64_t weight = weight_for(targets, &targets->v[i], strictness, want);

		if (at < weight) {
			return &targets->v[i];
		}
		at -= weight;
	}
	return NULL;
}

static uint64_t bytes_of_object(const struct dr_layout_comp *comp, uint32_t stripe, uint64_t size)
{
	/* What is not initialised only names OSTs for objects to come. */
	if (comp->start >= size || !(comp->flags & DR_COMP_INIT)) {
		return 0;
	}
	/* Objects are addressed by file offset; what lies before the component is a hole. */
	uint64_t all = dr_layout_object_size(comp, comp->n_objects, stripe, size);
	uint64_t before = comp->start / comp->n_objects;

	return all > before ? all - before : 0;
}

/* Marks the OSTs of the other mirrors' objects: a mirror is to be lost with none of them. */
static void mark_other_mirrors(
	struct dr_targets *targets, const struct dr_layout *layout, uint32_t comp)
{
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		const struct dr_layout_comp *other = &layout->comps[c];

		if (other->id >> 16 == layout->comps[comp].id >> 16) {
			continue;
		}
		for (uint32_t i = 0; i < other->n_objects; i++) {
			struct target *t = find(targets, other->objects[i].ost);

			if (t) {
				t->elsewhere = targets->placing;
			}
		}
	}
}

/* The target of an object that may stay where it is; NULL: it must go. */
static struct target *stays(
	struct dr_targets *targets, const struct dr_layout_object *object, const struct want *want)
{
	struct target *t = find(targets, object->ost);

	return t && allows(want, object->ost) && weight_of(targets, t, want->bytes, want->now) > 0
		       ? t
		       : NULL;
}

static int place_comp(struct dr_targets *targets, const struct dr_layout *layout, uint32_t c,
	uint64_t size, const struct dr_pool *pool)
{
	struct dr_layout_comp *comp = &layout->comps[c];
	struct want want = { .pool = pool, .now = dr_now_ns() };

	targets->placing++;
	if (layout->mirror_count > 0) {
		mark_other_mirrors(targets, layout, c);
	}
	/* What may stay is marked before anything is chosen, or the choice could land beside it. */
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		want.bytes = bytes_of_object(comp, i, size);
		struct target *t = stays(targets, &comp->objects[i], &want);

		if (t) {
			t->used = targets->placing;
		}
	}
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		want.bytes = bytes_of_object(comp, i, size);
		if (stays(targets, &comp->objects[i], &want)) {
			continue;
		}
		struct target *t = pick(targets, APART, &want);

		if (!t) { /* better two mirrors' parts on one OST than no move */
			t = pick(targets, OWN_APART, &want);
		}
		if (!t) { /* fewer targets than stripes: overstriped */
			t = pick(targets, ANYWHERE, &want);
			comp->pattern |= DR_PATTERN_OVERSTRIPING;
		}
		if (!t) {
			return -ENOSPC;
		}
		t->used = targets->placing;
		comp->objects[i].ost = t->ost.index;
	}
	return 0;
}

/* Under the lock. */
static void add_in_flight(
	struct dr_targets *targets, const struct dr_layout *layout, uint64_t size, bool arrives)
{
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &layout->comps[c];

		for (uint32_t i = 0; i < comp->n_objects; i++) {
			struct target *t = find(targets, comp->objects[i].ost);
			uint64_t bytes = bytes_of_object(comp, i, size);

			if (t && arrives) {
				t->in_flight -= bytes < t->in_flight ? bytes : t->in_flight;
			} else if (t) {
				t->in_flight += bytes;
			}
		}
	}
}

static bool is_placed(const struct dr_layout_comp *comp, uint32_t mirror)
{
	return comp->n_objects > 0 && (mirror == 0 || comp->id >> 16 == mirror);
}

/* The pools of the components that are to be placed, one for each component (NULL: any OST), malloc'ed. */
static int get_pools(struct dr_targets *targets, const struct dr_layout *layout, uint32_t mirror,
	struct dr_pool ***ret_pools)
{
	struct dr_pool **pools = NULL;
	int r = 0;

	for (uint32_t c = 0; r == 0 && c < layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &layout->comps[c];

		if (!comp->pool[0] || !is_placed(comp, mirror) || !targets->fs->ops->pool_osts) {
			continue;
		}
		pools = pools ? pools : dr_xcalloc(layout->n_comps, sizeof(struct dr_pool *));
		r = dr_pools_get(targets->pools, comp->pool, &pools[c]);
	}
	*ret_pools = pools; /* on an error, too: the caller puts back what was taken */
	return r;
}

static void put_pools(struct dr_targets *targets, struct dr_pool **pools, uint32_t n)
{
	for (uint32_t c = 0; pools && c < n; c++) {
		dr_pool_put(targets->pools, pools[c]);
	}
	free((void *)pools);
}

int dr_targets_place(struct dr_targets *targets, const struct dr_layout *file, uint32_t mirror,
	uint64_t size, struct dr_layout **ret_layout)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = dr_layout_copy(file);
	struct dr_layout *only dr_cleanup(dr_layout_freep) = NULL;
	struct dr_pool **pools = NULL;
	int r = dr_targets_refresh(targets);

	r = r < 0 ? r : get_pools(targets, layout, mirror, &pools);
	(void)pthread_mutex_lock(&targets->lock);
	for (uint32_t c = 0; r == 0 && c < layout->n_comps; c++) {
		if (is_placed(&layout->comps[c], mirror)) {
			r = place_comp(targets, layout, c, size, pools ? pools[c] : NULL);
		}
	}
	if (r == 0 && mirror != 0) {
		only = dr_layout_mirror(layout, mirror);
		r = only ? 0 : -EINVAL;
	}
	struct dr_layout **chosen = mirror != 0 ? &only : &layout;

	if (r == 0) {
		add_in_flight(targets, *chosen, size, false);
	}
	(void)pthread_mutex_unlock(&targets->lock);
	put_pools(targets, pools, file->n_comps);
	if (r == 0) {
		*ret_layout = *chosen;
		*chosen = NULL;
	}
	return r;
}

void dr_targets_done(struct dr_targets *targets, const struct dr_layout *placed, uint64_t size)
{
	(void)pthread_mutex_lock(&targets->lock);
	add_in_flight(targets, placed, size, true);
	(void)pthread_mutex_unlock(&targets->lock);
}

void dr_targets_tell_flight(struct dr_targets *targets, struct dr_buf *out)
{
	size_t n = 0;

	(void)pthread_mutex_lock(&targets->lock);
	struct dr_flight *v = dr_xcalloc(targets->n ? targets->n : 1, sizeof(*v));

	for (size_t i = 0; i < targets->n; i++) {
		struct target *t = &targets->v[i];

		t->told_before = t->told;
		t->told = 0;
		if (t->in_flight > 0) {
			v[n++] = (struct dr_flight){ t->ost.index, t->in_flight };
		}
	}
	dr_flight_put(out, v, n, DR_FLIGHT_OWN_MAX);
	/* Sorted now: the first of them were told. */
	for (size_t i = 0; i < n && i < DR_FLIGHT_OWN_MAX; i++) {
		find(targets, v[i].ost)->told = v[i].bytes;
	}
	if (!targets->answered) {
		targets->sum_number = NO_NUMBER;
	}
	targets->answered = false;
	(void)pthread_mutex_unlock(&targets->lock);
	free(v);
}

int dr_targets_hear_flight(struct dr_targets *targets, const char *sum, size_t len, uint64_t number)
{
	struct dr_flight *v = NULL;
	size_t n = 0;
	int r = dr_flight_parse(sum, len, &v, &n);

	(void)pthread_mutex_lock(&targets->lock);
	bool ours_is_known = targets->sum_number != NO_NUMBER && targets->sum_number != number;

	if (r == 0 && ours_is_known) {
		for (size_t i = 0; i < targets->n; i++) {
			targets->v[i].others = 0;
		}
		for (size_t i = 0; i < n; i++) {
			struct target *t = find(targets, v[i].ost);

			if (t) {
				t->others = v[i].bytes > t->told_before
						    ? v[i].bytes - t->told_before
						    : 0;
			}
		}
		targets->heard_ns = dr_now_ns();
	}
	targets->sum_number = number;
	targets->answered = true;
	(void)pthread_mutex_unlock(&targets->lock);
	free(v);
	return r;
}

void dr_targets_flight_bytes(
	struct dr_targets *targets, uint64_t *ret_own_bytes, uint64_t *ret_others_bytes)
{
	uint64_t now = dr_now_ns(), own = 0, all = 0;

	(void)pthread_mutex_lock(&targets->lock);
	for (size_t i = 0; i < targets->n; i++) {
		own += targets->v[i].in_flight;
		all += busy_of(targets, &targets->v[i], now);
	}
	(void)pthread_mutex_unlock(&targets->lock);
	*ret_own_bytes = own;
	*ret_others_bytes = all - own;
}
