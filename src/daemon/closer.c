/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "campaign/closing.h"
#include "daemon/daemon.h"

#include <stdio.h>
#include <string.h>

/*
 * A thread beside a leader that closes the sources to new objects: close_command for each that the queue has no record of.
 * Commands may hang, and so may the file system when it is asked for its OSTs, and the control loop must wait for neither.
 * It also notes what the OSTs' states show. It lasts as long as the leadership, and what it runs dies with it.
 */

#define TURN_MS 1000
#define TICK_MS 100
#define LOOK_FIRST_NS 1000000000ull /* after the commands; servers may take a while to show it */
#define LOOK_MOST_NS 60000000000ull

struct dr_closer {
	/* Lent: */
	struct dr_fs *fs;
	const struct dr_rangeset *sources;
	const struct dr_options *options;

	char epoch[DR_EPOCH_SIZE]; /* of the leadership that it serves */
	pthread_t thread;
	_Atomic bool stop;  /* set by the control loop */
	_Atomic bool ended; /* the thread does nothing more */

	/* The thread's own: */
	struct dr_store *store;
	uint64_t look_ns, look_every_ns; /* the next look at the states; 0: none */
};

/* The commands of one turn. */
struct batch {
	struct dr_closer *closer;
	struct dr_command *commands;
	struct dr_closing_ost *osts; /* of each command */
	bool *recorded;
	size_t n;
};

/* Waits, unless it is to stop. @return whether to go on */
static bool pause_ms(const struct dr_closer *closer, unsigned ms)
{
	for (unsigned slept = 0; slept < ms && !atomic_load(&closer->stop); slept += TICK_MS) {
		dr_sleep_ms(TICK_MS);
	}
	return !atomic_load(&closer->stop);
}

static void record(struct batch *batch, size_t i)
{
	int r = dr_closing_ran(batch->closer->store, batch->osts[i].index, &batch->commands[i]);

	batch->recorded[i] = r >= 0;
}

static void ended(void *ctx, struct dr_command *command)
{
	struct batch *batch = ctx;
	size_t i = (size_t)(command - batch->commands);
	char *result dr_cleanup(dr_freep) = dr_closing_result(command);

	if (result[0]) {
		dr_log(DR_LOG_WARNING, "close-failed",
			"ost=%u name=%s result=\"%s\" output=\"%s\" next=\"goes on; the OST may get new objects\"",
			batch->osts[i].index, batch->osts[i].name, result, command->last_line);
	} else {
		dr_log(DR_LOG_INFO, "closed", "ost=%u name=%s", batch->osts[i].index,
			batch->osts[i].name);
	}
	record(batch, i);
}

/* What the server did not take at once is told again, until it does or the leadership is over. */
static void record_rest(struct batch *batch)
{
	for (size_t i = 0; i < batch->n; i++) {
		while (!batch->recorded[i] && pause_ms(batch->closer, TURN_MS)) {
			record(batch, i);
		}
	}
	while (!atomic_load(&batch->closer->stop) && dr_closing_end(batch->closer->store) < 0) {
		(void)pause_ms(batch->closer, TURN_MS);
	}
}

static void run_commands(struct dr_closer *closer, const struct dr_rangeset *todo)
{
	struct batch batch = { .closer = closer };
	int r = dr_closing_look(closer->fs, todo, &batch.osts, &batch.n);

	if (r < 0) {
		dr_log_limited(60, DR_LOG_WARNING, "cannot-close",
			"error=\"%s\" next=\"looks at the OSTs again\"", strerrordesc_np(-r));
		return;
	}
	batch.commands = dr_xcalloc(batch.n, sizeof(*batch.commands));
	batch.recorded = dr_xcalloc(batch.n, sizeof(*batch.recorded));
	for (size_t i = 0; i < batch.n; i++) {
		dr_closing_command(
			closer->options->close_command, &batch.osts[i], &batch.commands[i]);
	}
	r = dr_commands_run(batch.commands, batch.n, DR_CLOSING_AT_ONCE,
		closer->options->close_timeout, &closer->stop, ended, &batch);
	if (r == 0) {
		record_rest(&batch);
	}
	dr_commands_free(batch.commands, batch.n);
	free(batch.recorded);
	free(batch.osts);
	closer->look_ns = dr_now_ns();
	closer->look_every_ns = LOOK_FIRST_NS;
}

/* max_create_count never shows, no_create may take some seconds to. */
static void look(struct dr_closer *closer)
{
	struct dr_closing_ost *osts = NULL;
	size_t n = 0;

	if (dr_closing_look(closer->fs, closer->sources, &osts, &n) == 0 &&
		dr_closing_shows(closer->store, osts, n) == 0) {
		closer->look_every_ns *= 2;
		if (closer->look_every_ns > LOOK_MOST_NS) {
			closer->look_every_ns = LOOK_MOST_NS;
		}
	}
	free(osts);
	closer->look_ns = dr_now_ns() + closer->look_every_ns;
}

static void *closer_main(void *arg)
{
	struct dr_closer *closer = arg;

	do {
		struct dr_rangeset todo dr_cleanup(dr_rangeset_fini) = { 0 };
		int r = dr_closing_begin(closer->store, closer->epoch, closer->sources, &todo);

		if (r > 0 && todo.count > 0) {
			run_commands(closer, &todo);
		}
		if (r > 0 && dr_now_ns() >= closer->look_ns) {
			look(closer);
		}
	} while (pause_ms(closer, TURN_MS));
	atomic_store(&closer->ended, true);
	return NULL;
}

bool dr_closer_is_wanted(const struct dr_daemon *daemon)
{
	const char *command = daemon->options.close_command;

	return command && command[0] && !daemon->spec->dry_run && !daemon->wants_dry_run;
}

static void start(struct dr_daemon *daemon)
{
	struct dr_closer *closer = dr_xcalloc(1, sizeof(*closer));

	closer->fs = daemon->fs;
	closer->sources = &daemon->spec->osts;
	closer->options = &daemon->options;
	closer->store = dr_store_new(daemon->link);
	closer->look_every_ns = LOOK_FIRST_NS;
	dr_link_epoch(daemon->link, closer->epoch);
	int r = -pthread_create(&closer->thread, NULL, closer_main, closer);

	if (r < 0) {
		dr_log_limited(
			60, DR_LOG_ERROR, "cannot-close", "errno=%d next=\"tries again\"", -r);
		dr_store_free(closer->store);
		free(closer);
		return;
	}
	daemon->closer = closer;
}

void dr_closer_tend(struct dr_daemon *daemon)
{
	struct dr_closer *closer = daemon->closer;
	bool leads = daemon->role == DR_LEADER && daemon->work && dr_closer_is_wanted(daemon);
	char epoch[DR_EPOCH_SIZE];

	dr_link_epoch(daemon->link, epoch);
	if (!closer) {
		if (leads) {
			start(daemon);
		}
		return;
	}
	if (!leads || strcmp(epoch, closer->epoch) != 0) {
		atomic_store(&closer->stop, true);
	}
	/* Not waited for before: the file system may hold it. */
	if (atomic_load(&closer->ended)) {
		dr_closer_free(daemon);
	}
}

void dr_closer_stop(struct dr_daemon *daemon)
{
	if (daemon->closer) {
		atomic_store(&daemon->closer->stop, true);
	}
}

void dr_closer_free(struct dr_daemon *daemon)
{
	if (!daemon->closer) {
		return;
	}
	dr_closer_stop(daemon);
	(void)pthread_join(daemon->closer->thread, NULL);
	dr_store_free(daemon->closer->store);
	free(daemon->closer);
	daemon->closer = NULL;
}
