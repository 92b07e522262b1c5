/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tui/source.h"

#include "base/clock.h"
#include "hsm/replay.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#define WAIT_MS 250 /* for an event; after that it says how things are */
#define STOP_MS 330

/* The reader is the thread's alone, but for dr_reader_stop(). */
struct top_source {
	pthread_t thread;
	struct dr_reader *reader;
	int fd;
	_Atomic bool
		is_waiting; /* somebody wants the lock, which the thread else takes again at once */
	pthread_mutex_t lock; /* over what follows */
	struct dr_live *live;
	bool is_connected, was_connected, is_replayed;
	int error;        /* of the last attempt to connect, or of the table */
	uint64_t beat_ns; /* when the reader last said something */
	uint64_t n_bad;
};

static void tell(struct top_source *source)
{
	const uint64_t one = 1;

	(void)!write(source->fd, &one, sizeof(one)); /* when it is full it is readable too */
}

/* Takes what dr_reader_next() said. @return whether to go on */
static bool take(struct top_source *source, int r, const struct dr_reader_event *event)
{
	bool was_connected = source->is_connected, was_replayed = source->is_replayed;
	int before = source->error;

	source->error = r < 0 ? r : 0;
	if (r > 0) {
		source->error = dr_live_take(source->live, event);
	}
	/* A server that is gone shows when the time is over in which it might have come back. */
	source->is_connected = r >= 0;
	source->was_connected = source->was_connected || r >= 0;
	source->is_replayed = source->is_replayed || r == 0;
	source->n_bad = dr_reader_n_bad(source->reader);
	source->beat_ns = dr_now_ns();
	if (source->is_connected != was_connected || source->is_replayed != was_replayed ||
		source->error != before) {
		tell(source);
	}
	return source->error != -ENOMEM;
}

static void *run(void *arg)
{
	struct top_source *source = arg;
	bool goes_on = true;

	while (goes_on) {
		const struct dr_reader_event *event = NULL;
		int r = dr_reader_next(source->reader, WAIT_MS, &event);

		if (r == -ECANCELED) {
			break;
		}
		while (atomic_load(&source->is_waiting)) {
			dr_sleep_ms(1);
		}
		(void)pthread_mutex_lock(&source->lock);
		goes_on = take(source, r, event);
		(void)pthread_mutex_unlock(&source->lock);
	}
	return NULL;
}

static void source_free(struct top_source *source)
{
	dr_reader_free(source->reader);
	dr_live_free(source->live);
	dr_fd_closep(&source->fd);
	(void)pthread_mutex_destroy(&source->lock);
	free(source);
}

int top_source_start(const struct dr_reader_options *options, struct top_source **ret_source)
{
	struct top_source *source = dr_xcalloc(1, sizeof(*source));
	sigset_t all, before;
	int r;

	(void)pthread_mutex_init(&source->lock, NULL);
	source->live = dr_live_new();
	source->beat_ns = dr_now_ns();
	source->reader = dr_reader_new(options);
	source->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (source->fd < 0) {
		r = -errno;
		source_free(source);
		return r;
	}
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &before);
	r = -pthread_create(&source->thread, NULL, run, source);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0) {
		source_free(source);
		return r;
	}
	(void)pthread_setname_np(source->thread, "reader");
	*ret_source = source;
	return 0;
}

bool top_source_stop(struct top_source *source)
{
	struct timespec until;

	dr_reader_stop(source->reader);
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += STOP_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	if (pthread_timedjoin_np(source->thread, NULL, &until) != 0) {
		return false;
	}
	source_free(source);
	return true;
}

int top_source_fd(const struct top_source *source)
{
	return source->fd;
}

void top_look_at(struct dr_live *live, struct top_model *model, struct top_look *ret_look)
{
	uint64_t now_ms = dr_wall_ms();
	int64_t before_s = top_model_stalled_before(model, now_ms);
	struct top_look look = { .now_ms = now_ms, .now_ns = dr_now_ns() };

	look.stalled = dr_xcalloc(TOP_MAX_STALLED, sizeof(*look.stalled));
	look.all_stalled = dr_live_stalled(
		live, before_s, top_model_wants, model, look.stalled, TOP_MAX_STALLED);
	look.n_stalled = look.all_stalled < TOP_MAX_STALLED ? look.all_stalled : TOP_MAX_STALLED;
	dr_live_groups(live, before_s, &look.groups, &look.n_groups);
	dr_live_totals(live, &look.totals);
	*ret_look = look;
}

int top_source_look(struct top_source *source, struct top_model *model, struct top_look *ret_look)
{
	uint64_t told;
	int r;

	(void)!read(source->fd, &told, sizeof(told)); /* or nothing was told */
	atomic_store(&source->is_waiting, true);
	(void)pthread_mutex_lock(&source->lock);
	atomic_store(&source->is_waiting, false);
	top_look_at(source->live, model, ret_look);
	ret_look->is_connected = source->is_connected;
	ret_look->was_connected = source->was_connected;
	ret_look->is_replayed = source->is_replayed;
	ret_look->n_bad = source->n_bad;
	ret_look->silent_s = (unsigned)((ret_look->now_ns - source->beat_ns) / 1000000000u);
	ret_look->why = source->error < 0 ? dr_reader_why(source->error) : NULL;
	r = source->error == -ENOMEM ? -ENOMEM : 0;
	(void)pthread_mutex_unlock(&source->lock);
	return r;
}
