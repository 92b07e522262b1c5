/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "hsm/paths.h"
#include "hsm/tail_args.h"

#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

/*
 * hsm-stream-tail: events are put into a buffer, which is written when it is full, when it has waited for long, and whenever nothing more
 * is there to be read.
 */
#define FULL_BYTES (64u << 10)
#define FLUSH_NS UINT64_C(200000000)
#define WAIT_MS 1000     /* until it looks whether anybody still reads what it prints */
#define PATIENCE_MS 5000 /* of --run-once, for a server */
#define PATH_LOG_SECONDS 3600

struct tail {
	const struct tail_args *args;
	struct dr_reader *reader;
	struct dr_paths *paths; /* NULL: no mount */
	struct dr_tail_line line;
	struct dr_buf out;
	uint64_t flushed_ns;
	bool is_stopped; /* by a signal; atomic */
	int error;       /* of stdout */
};

static struct tail *stopping; /* what the signals' handler stops */

static void on_signal(int number)
{
	(void)number;
	__atomic_store_n(&stopping->is_stopped, true, __ATOMIC_RELAXED);
	dr_reader_stop(stopping->reader);
}

static bool is_stopped(const struct tail *tail)
{
	return __atomic_load_n(&tail->is_stopped, __ATOMIC_RELAXED);
}

/* The first signal ends it in good order, the second one wherever it hangs. */
static void catch_signals(struct tail *tail)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

	stopping = tail;
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

/* --- what is printed --- */

/* @return whether there is anybody left to print to */
static bool flush(struct tail *tail)
{
	size_t at = 0;

	while (at < tail->out.len && !tail->error) {
		ssize_t n = write(STDOUT_FILENO, tail->out.data + at, tail->out.len - at);

		if (n >= 0) {
			at += (size_t)n;
		} else if (errno != EINTR || is_stopped(tail)) {
			tail->error = errno;
		}
	}
	dr_buf_clear(&tail->out);
	tail->flushed_ns = dr_now_ns();
	return !tail->error;
}

/* Whether the reader of our pipe has left, which a write would tell too late where nothing is to be written. */
static bool is_alone(void)
{
	struct pollfd fd = { .fd = STDOUT_FILENO };

	return poll(&fd, 1, 0) == 1 && (fd.revents & POLLERR);
}

static enum dr_tail_path find_path(
	struct tail *tail, struct dr_span text, uint64_t now_ns, const char **ret_path)
{
	struct dr_fid fid;

	if (!tail->paths) {
		return DR_TAIL_NO_MOUNT;
	}
	if (!text.p || dr_fid_parse(text.p, text.len, &fid) < 0) {
		return DR_TAIL_NOT_FOUND;
	}
	int r = dr_paths_find(tail->paths, &fid, now_ns, ret_path);

	if (r < 0 && r != -ENOENT) {
		dr_log_limited(PATH_LOG_SECONDS, DR_LOG_WARNING, "hsm-fid-path",
			"fid=%.*s error=\"%s\" next=\"prints no path\"", (int)text.len, text.p,
			strerrordesc_np(-r));
	}
	return r < 0 ? DR_TAIL_NOT_FOUND : DR_TAIL_FOUND;
}

/* @return whether to go on */
static bool print(struct tail *tail, const struct dr_reader_event *event)
{
	const struct tail_args *args = tail->args;
	const char *path = NULL;

	if (event->is_reset) {
		dr_log(DR_LOG_INFO, "hsm-stream-reset", "mdt=%s", event->mdt);
		return true;
	}
	if (dr_tail_is_hidden(&event->event, &args->show, &args->hide)) {
		return true;
	}
	uint64_t now_ns = dr_now_ns();
	enum dr_tail_path kind = find_path(tail, event->event.fid, now_ns, &path);

	if (args->is_json) {
		dr_tail_put_json(event, path, &tail->out);
	} else {
		dr_tail_put_text(&tail->line, event, kind, path, &tail->out);
	}
	if (tail->out.len >= FULL_BYTES || now_ns - tail->flushed_ns >= FLUSH_NS) {
		return flush(tail);
	}
	return true;
}

/* --- what is read --- */

static int leave(struct tail *tail, int code)
{
	(void)flush(tail);
	if (tail->error && tail->error != EPIPE && tail->error != EINTR) {
		tail_say("cannot write: %s", strerrordesc_np(tail->error));
		return TAIL_FAILED;
	}
	return code;
}

static const char *why_of(int error)
{
	switch (error) {
	case -ENOTCONN:
		return "it is not there";
	case -EAGAIN:
		return "it still loads its data";
	case -EACCES:
		return "it refuses user, password or permission";
	default:
		return "it is none that will do";
	}
}

static int follow(struct tail *tail)
{
	bool is_once = tail->args->is_once;

	for (;;) {
		const struct dr_reader_event *event = NULL;
		int r = dr_reader_next(tail->reader, 0, &event);

		if (r <= 0 && r != -ECANCELED) {
			if (!flush(tail) || is_alone() || (is_once && r == 0)) {
				return leave(tail, TAIL_OK);
			}
			r = dr_reader_next(tail->reader, is_once ? PATIENCE_MS : WAIT_MS, &event);
		}
		if (r == -ECANCELED || (r > 0 && !print(tail, event))) {
			return leave(tail, TAIL_OK);
		}
		if (r < 0 && is_once) {
			char *url dr_cleanup(dr_freep) = dr_url_show(&tail->args->url);

			tail_say("cannot read from the Redis server %s: %s", url, why_of(r));
			return leave(tail, TAIL_FAILED);
		}
		if (r == 0 && is_once) {
			return leave(tail, TAIL_OK);
		}
	}
}

/* --- all of it --- */

static enum dr_reader_from from_of(const struct tail_args *args)
{
	if (args->is_once) {
		return args->is_from_beginning ? DR_READER_ONCE : DR_READER_NOTHING;
	}
	return args->is_from_beginning ? DR_READER_FROM_BEGINNING : DR_READER_FROM_NOW;
}

static void open_paths(struct tail *tail)
{
	const char *mountpoint = tail->args->config.mountpoint;

	if (!mountpoint || !*mountpoint) {
		return;
	}
	int r = dr_paths_open(mountpoint, 0, &tail->paths);

	if (r < 0) {
		struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

		dr_text_escape(&text, mountpoint, strlen(mountpoint));
		dr_log(DR_LOG_WARNING, "hsm-mountpoint",
			"path=\"%s\" error=\"%s\" next=\"prints FIDs\"", dr_buf_cstr(&text),
			r == -EOPNOTSUPP ? "no Lustre is mounted there" : strerrordesc_np(-r));
	}
}

static void greet(const struct tail_args *args)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	const char *prefix = args->config.redis_stream_prefix;

	dr_text_escape(&text, prefix, strlen(prefix));
	(void)fprintf(stderr, "Tailing streams with prefix '%s:*'. Press Ctrl+C to exit.\n",
		dr_buf_cstr(&text));
}

static int run(const struct tail_args *args)
{
	struct tail tail = { .args = args };
	int log_fd = -1;
	int r = dr_hsm_log_open(args->config.log_level, args->config.log_file, &log_fd);

	if (r < 0) {
		tail_say("cannot open %s: %s", args->config.log_file, strerrordesc_np(-r));
		return TAIL_FAILED;
	}
	/* Only the main thread is there yet: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	tail.line.has_color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	tail.reader = dr_reader_new(&(struct dr_reader_options){
		.url = &args->url,
		.prefix = args->config.redis_stream_prefix,
		.from = from_of(args),
	});
	catch_signals(&tail);
	open_paths(&tail);
	greet(args);
	int code = follow(&tail);

	dr_reader_free(tail.reader);
	dr_paths_close(tail.paths);
	dr_buf_fini(&tail.out);
	return code;
}

int main(int argc, char **argv)
{
	struct tail_args args;

	/* Only the main thread is there yet: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	(void)setlocale(LC_ALL, "");
	int code = tail_args_read(&args, argc, argv);

	if (code == TAIL_OK) {
		code = run(&args);
	}
	tail_args_fini(&args);
	return code;
}
