/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/target.h"

#include "base/clock.h"

#include <pthread.h>

#define REFRESH_NS 1000000000ull
#define AVOID_NS 10000000000ull

struct target {
	struct dr_ost ost;
	uint64_t room; /* bytes above the reserve, as of the last look; 0: not usable */
	uint64_t in_flight;
	uint64_t avoid_until_ns;
	uint64_t used;      /* the component (by its number in `placing`) that has an object here */
	uint64_t elsewhere; /* the component whose other mirrors have one here */
};

struct dr_targets {
	struct dr_fs *fs;
	struct dr_rangeset sources; /* never changes: read without the lock */
	unsigned reserve_percent;
	pthread_mutex_t lock; /* guards all below */
	struct target *v;     /* by position; indices may have gaps */
	size_t n;
	uint64_t looked_ns;
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

int dr_targets_refresh(struct dr_targets *targets)
{
	uint64_t now = dr_now_ns();
	struct dr_ost *osts = NULL;
	size_t n;

	(void)pthread_mutex_lock(&targets->lock);
	bool due = targets->n == 0 || now - targets->looked_ns > REFRESH_NS;
	if (due) {
		targets->looked_ns = now; /* the others go on with what is known */
	}
	(void)pthread_mutex_unlock(&targets->lock);
	if (!due) {
		return 0;
	}
	int r = targets->fs->ops->osts(targets->fs, &osts, &n);

	if (r < 0) {
		return r;
	}
	struct target *v = dr_xcalloc(n ? n : 1, sizeof(*v));

	(void)pthread_mutex_lock(&targets->lock);
	for (size_t i = 0; i < n; i++) {
		const struct target *old = find(targets, osts[i].index);

		v[i].ost = osts[i];
		v[i].room = room_of(targets, &osts[i]);
		if (old) {
			v[i].in_flight = old->in_flight;
			v[i].avoid_until_ns = old->avoid_until_ns;
		}
	}
	free(targets->v);
	targets->v = v;
	targets->n = n;
	(void)pthread_mutex_unlock(&targets->lock);
	free(osts);
	return 0;
}

void dr_targets_avoid(struct dr_targets *targets, uint32_t ost)
{
	(void)pthread_mutex_lock(&targets->lock);
	struct target *t = find(targets, ost);

	if (t) {
		t->avoid_until_ns = dr_now_ns() + AVOID_NS;
	}
	targets->looked_ns = 0;
	(void)pthread_mutex_unlock(&targets->lock);
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

static uint64_t weight_of(const struct target *t, uint64_t need, uint64_t now)
{
	if (t->room <= t->in_flight || t->room - t->in_flight < need || t->avoid_until_ns > now) {
		return 0;
	}
	/* In MiB, so that a sum over thousands of OSTs of petabytes stays far from overflow. */
	return ((t->room - t->in_flight) >> 20) + 1;
}

enum strictness {
	APART,     /* not where the component, or another mirror of the file, has an object */
	OWN_APART, /* not where the component has one */
	ANYWHERE,
};

static uint64_t weight_for(const struct dr_targets *targets, const struct target *t,
	enum strictness strictness, uint64_t need, uint64_t now)
{
	if ((strictness <= OWN_APART && t->used == targets->placing) ||
		(strictness == APART && t->elsewhere == targets->placing)) {
		return 0;
	}
	return weight_of(t, need, now);
}

/* A target with room for `need` bytes, with a probability by its room; NULL: none. */
static struct target *pick(struct dr_targets *targets, uint64_t need, enum strictness strictness)
{
	uint64_t now = dr_now_ns(), sum = 0;

	for (size_t i = 0; i < targets->n; i++) {
		sum += weight_for(targets, &targets->v[i], strictness, need, now);
	}
	if (sum == 0) {
		return NULL;
	}
	uint64_t at = random_next(targets) % sum;

	for (size_t i = 0; i < targets->n; i++) {
		uint64_t weight = weight_for(targets, &targets->v[i], strictness, need, now);

		if (at < weight) {
			return &targets->v[i];
		}
		at -= weight;
	}
	return NULL;
}

static uint64_t bytes_of_object(const struct dr_layout_comp *comp, uint32_t stripe, uint64_t size)
{
	if (comp->start >= size) {
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

static int place_comp(
	struct dr_targets *targets, const struct dr_layout *layout, uint32_t c, uint64_t size)
{
	struct dr_layout_comp *comp = &layout->comps[c];
	uint64_t now = dr_now_ns();

	targets->placing++;
	if (layout->mirror_count > 0) {
		mark_other_mirrors(targets, layout, c);
	}
	/* What may stay is marked before anything is chosen, or the choice could land beside it. */
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		struct target *t = find(targets, comp->objects[i].ost);

		if (t && weight_of(t, bytes_of_object(comp, i, size), now) > 0) {
			t->used = targets->placing;
		}
	}
	for (uint32_t i = 0; i < comp->n_objects; i++) {
		uint64_t need = bytes_of_object(comp, i, size);
		struct target *t = find(targets, comp->objects[i].ost);

		if (t && weight_of(t, need, now) > 0) {
			continue;
		}
		t = pick(targets, need, APART);
		if (!t) { /* better two mirrors' parts on one OST than no move */
			t = pick(targets, need, OWN_APART);
		}
		if (!t) { /* fewer targets than stripes: overstriped */
			t = pick(targets, need, ANYWHERE);
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

int dr_targets_place(struct dr_targets *targets, const struct dr_layout *file, uint32_t mirror,
	uint64_t size, struct dr_layout **ret_layout)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) =
		mirror ? dr_layout_mirror(file, mirror) : dr_layout_copy(file);
	int r = dr_targets_refresh(targets);

	(void)pthread_mutex_lock(&targets->lock);
	for (uint32_t c = 0; r == 0 && c < layout->n_comps; c++) {
		if (layout->comps[c].n_objects > 0) {
			r = place_comp(targets, layout, c, size);
		}
	}
	if (r == 0) {
		add_in_flight(targets, layout, size, false);
	}
	(void)pthread_mutex_unlock(&targets->lock);
	if (r == 0) {
		*ret_layout = layout;
		layout = NULL;
	}
	return r;
}

void dr_targets_done(struct dr_targets *targets, const struct dr_layout *placed, uint64_t size)
{
	(void)pthread_mutex_lock(&targets->lock);
	add_in_flight(targets, placed, size, true);
	(void)pthread_mutex_unlock(&targets->lock);
}
