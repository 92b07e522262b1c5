/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tui/loop.h"

#include "base/clock.h"
#include "tui/frame.h"
#include "tui/keys.h"
#include "tui/screen.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>

#define REPLAY_MS 250 /* between two looks while history is read */
#define HURRY_MS 100  /* the least time between two looks, whatever happens */

struct loop {
	struct top_source *source;
	struct top_model *model;
	int signal_fd;
	uint64_t look_ns; /* when the last look was */
	bool is_over;
};

int top_loop_signals(void)
{
	sigset_t set;
	int fd;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGQUIT);
	(void)sigaddset(&set, SIGTSTP);
	(void)sigaddset(&set, SIGWINCH);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) {
		return -EINVAL;
	}
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static void draw(struct loop *loop, bool all)
{
	dr_cleanup(top_grid_fini) struct top_grid grid;

	top_screen_grid(&grid);
	top_frame_draw(loop->model, &grid);
	top_screen_draw(&grid, all);
}

static int look(struct loop *loop)
{
	struct top_look found;
	int r = top_source_look(loop->source, loop->model, &found);

	loop->look_ns = dr_now_ns();
	if (r < 0) {
		top_look_fini(&found);
		return r;
	}
	top_model_take(loop->model, &found);
	draw(loop, false);
	return 0;
}

static int press(struct loop *loop)
{
	uint32_t key;
	int r = 0;

	while (r == 0 && !loop->is_over && top_screen_key(&key)) {
		dr_cleanup(top_grid_fini) struct top_grid grid;

		top_screen_grid(&grid);
		switch (top_press(loop->model, key, top_frame_page(loop->model, grid.h),
			top_frame_lines(loop->model))) {
		case TOP_EFFECT_QUIT:
			loop->is_over = true;
			break;
		case TOP_EFFECT_LOOK:
			r = look(loop);
			break;
		case TOP_EFFECT_REDRAW:
			draw(loop, true);
			break;
		case TOP_EFFECT_DRAW:
			draw(loop, false);
			break;
		default:
			break;
		}
	}
	return r;
}

static void stop_process(struct loop *loop)
{
	top_screen_suspend();
	(void)raise(SIGSTOP);
	top_screen_resume();
	draw(loop, true);
}

static void take_signals(struct loop *loop)
{
	struct signalfd_siginfo info;

	while (read(loop->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGWINCH:
			top_screen_resize();
			draw(loop, false);
			break;
		case SIGTSTP:
			stop_process(loop);
			break;
		default:
			loop->is_over = true;
		}
	}
}

/* When the next look is due, by the choice of the user; while paused, never. */
static int timeout_ms(const struct loop *loop, bool is_told)
{
	const struct top_model *model = loop->model;
	uint64_t every_ms = model->interval_ms, passed_ms;

	if (model->is_paused) {
		return -1;
	}
	if (!model->look.is_replayed && every_ms > REPLAY_MS) {
		every_ms = REPLAY_MS;
	}
	if (is_told && every_ms > HURRY_MS) {
		every_ms = HURRY_MS;
	}
	passed_ms = (dr_now_ns() - loop->look_ns) / 1000000u;
	return passed_ms < every_ms ? (int)(every_ms - passed_ms) : 0;
}

int top_loop(struct top_source *source, struct top_model *model, int signal_fd)
{
	struct loop loop = { .source = source, .model = model, .signal_fd = signal_fd };
	bool is_told = false;
	int r = look(&loop);

	while (r == 0 && !loop.is_over) {
		/* What the source told is read by the next look; until then it is not polled for. */
		struct pollfd fds[] = {
			{ .fd = STDIN_FILENO, .events = POLLIN },
			{ .fd = signal_fd, .events = POLLIN },
			{ .fd = is_told || model->is_paused ? -1 : top_source_fd(source),
				.events = POLLIN },
		};
		int wait_ms = timeout_ms(&loop, is_told);

		if (poll(fds, 3, wait_ms) < 0 && errno != EINTR) {
			return -errno;
		}
		is_told = is_told || fds[2].revents;
		if (fds[1].revents) {
			take_signals(&loop);
		}
		if (fds[0].revents & ~POLLIN) {
			loop.is_over = true; /* the terminal is gone */
		} else if (fds[0].revents) {
			r = press(&loop);
		}
		if (r == 0 && !loop.is_over && timeout_ms(&loop, is_told) == 0) {
			r = look(&loop);
			is_told = false;
		}
	}
	return r;
}
