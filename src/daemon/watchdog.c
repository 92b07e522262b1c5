/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/watchdog.h"

#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#define LOOK_MS 1000 /* between two writes */
#define CLOCK_MS 100 /* between two looks at the clock */
#define LEAVE_MS 500 /* that stop waits for a thread that may hang */
#define SECOND_NS 1000000000ull

struct dr_watchdog {
	struct dr_folder folder; /* descriptors of its own */
	int alive_fd, pidfd;
	uint64_t epoch, generation;
	unsigned limit_s;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	uint64_t written_ns; /* when the last write was complete */
	bool stop;           /* nobody is killed from now on */
	unsigned threads;    /* the last one to go frees all */
};

static void watchdog_free(struct dr_watchdog *dog)
{
	dr_fd_closep(&dog->folder.fd);
	dr_fd_closep(&dog->alive_fd);
	dr_fd_closep(&dog->pidfd);
	(void)pthread_cond_destroy(&dog->changed);
	(void)pthread_mutex_destroy(&dog->lock);
	free(dog);
}

static void leave(struct dr_watchdog *dog)
{
	(void)pthread_mutex_lock(&dog->lock);
	bool last = --dog->threads == 0;
	(void)pthread_cond_broadcast(&dog->changed);
	(void)pthread_mutex_unlock(&dog->lock);
	if (last) {
		watchdog_free(dog);
	}
}

/* @return false when the watchdog is to stop */
static bool wait_ms(struct dr_watchdog *dog, unsigned ms)
{
	uint64_t until = dr_now_ns() + ms * 1000000ull;
	const struct timespec at = { (time_t)(until / SECOND_NS), (long)(until % SECOND_NS) };

	(void)pthread_mutex_lock(&dog->lock);
	while (!dog->stop && pthread_cond_timedwait(&dog->changed, &dog->lock, &at) != ETIMEDOUT) {
	}
	bool go_on = !dog->stop;
	(void)pthread_mutex_unlock(&dog->lock);
	return go_on;
}

static void kill_server(struct dr_watchdog *dog, const char *why)
{
	(void)pthread_mutex_lock(&dog->lock);
	if (!dog->stop) {
		dog->stop = true;
		(void)syscall(SYS_pidfd_send_signal, dog->pidfd, SIGKILL, NULL, 0);
		dr_log(DR_LOG_ERROR, "server-killed", "epoch=%" PRIu64 " why=\"%s\"", dog->epoch,
			why);
	}
	(void)pthread_cond_broadcast(&dog->changed);
	(void)pthread_mutex_unlock(&dog->lock);
}

/* A number that changes: whoever looks at the file twice sees that we live. */
static int write_alive(struct dr_watchdog *dog, uint64_t count)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%020" PRIu64 "\n", count);
	int r = dr_pwrite_full(dog->alive_fd, text, (size_t)len, 0);

	return r < 0 ? r : fdatasync(dog->alive_fd) < 0 ? -errno : 0;
}

/* @return why another leads; NULL: nobody is seen */
static const char *another_leads(struct dr_watchdog *dog)
{
	struct dr_epochs epochs;
	uint64_t generation;

	if (dr_folder_epochs(&dog->folder, &epochs) == 0 && epochs.highest > dog->epoch) {
		return "a higher epoch is there: another leads";
	}
	if (dr_folder_lock_generation(&dog->folder, &generation) == 0 &&
		generation > dog->generation) {
		return "the leadership was taken over";
	}
	return NULL;
}

static void *writer_main(void *arg)
{
	struct dr_watchdog *dog = arg;
	uint64_t count = 0;

	do {
		int r = write_alive(dog, ++count);
		const char *why = another_leads(dog);

		if (why) {
			kill_server(dog, why);
			break;
		}
		if (r < 0) {
			dr_log_limited(10, DR_LOG_WARNING, "folder-not-written",
				"errno=%d error=\"%s\" limit_s=%u", -r, strerrordesc_np(-r),
				dog->limit_s);
			continue;
		}
		(void)pthread_mutex_lock(&dog->lock);
		dog->written_ns = dr_now_ns();
		(void)pthread_mutex_unlock(&dog->lock);
	} while (wait_ms(dog, LOOK_MS));
	leave(dog);
	return NULL;
}

static void *clock_main(void *arg)
{
	struct dr_watchdog *dog = arg;
	uint64_t looked_ns = dr_now_ns(), held_up_ns = 0;

	while (wait_ms(dog, CLOCK_MS)) {
		uint64_t now = dr_now_ns();

		(void)pthread_mutex_lock(&dog->lock);
		uint64_t written = dog->written_ns;
		(void)pthread_mutex_unlock(&dog->lock);
		/* A process that was stopped did not write either; that says nothing of the folder. The writer gets its time. */
		held_up_ns = now - looked_ns > SECOND_NS ? now : held_up_ns;
		looked_ns = now;
		if (now - (written > held_up_ns ? written : held_up_ns) >
			dog->limit_s * SECOND_NS) {
			kill_server(dog, "the campaign's folder takes no writes");
			break;
		}
	}
	leave(dog);
	return NULL;
}

static int start_thread(struct dr_watchdog *dog, void *(*fn)(void *))
{
	pthread_t thread;

	(void)pthread_mutex_lock(&dog->lock);
	dog->threads++;
	(void)pthread_mutex_unlock(&dog->lock);
	int r = -pthread_create(&thread, NULL, fn, dog);

	if (r == 0) {
		(void)pthread_detach(thread);
		return 0;
	}
	(void)pthread_mutex_lock(&dog->lock);
	dog->threads--; /* the caller's is left */
	(void)pthread_mutex_unlock(&dog->lock);
	return r;
}

static int open_files(struct dr_watchdog *dog, const struct dr_watchdog_config *config)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "epoch-%" PRIu64 "/alive", config->epoch);
	dog->folder.fd = fcntl(config->folder->fd, F_DUPFD_CLOEXEC, 0);
	dog->pidfd = fcntl(config->server_pidfd, F_DUPFD_CLOEXEC, 0);
	dog->alive_fd = openat(config->folder->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return dog->folder.fd < 0 || dog->pidfd < 0 || dog->alive_fd < 0 ? -errno : 0;
}

int dr_watchdog_start(const struct dr_watchdog_config *config, struct dr_watchdog **ret_watchdog)
{
	struct dr_watchdog *dog = dr_xcalloc(1, sizeof(*dog));
	pthread_condattr_t attr;

	dog->alive_fd = dog->pidfd = dog->folder.fd = -EBADF;
	dog->epoch = config->epoch;
	dog->generation = config->generation;
	dog->limit_s = config->limit_s;
	dog->written_ns = dr_now_ns();
	dog->threads = 1; /* the caller, until it stops or fails */
	(void)pthread_mutex_init(&dog->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&dog->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	int r = open_files(dog, config);

	if (r == 0) {
		r = start_thread(dog, writer_main);
	}
	if (r == 0) {
		r = start_thread(dog, clock_main);
	}
	if (r < 0) {
		dr_watchdog_stop(dog);
		return r;
	}
	*ret_watchdog = dog;
	return 0;
}

void dr_watchdog_stop(struct dr_watchdog *dog)
{
	if (!dog) {
		return;
	}
	uint64_t until = dr_now_ns() + LEAVE_MS * 1000000ull;
	const struct timespec at = { (time_t)(until / SECOND_NS), (long)(until % SECOND_NS) };

	(void)pthread_mutex_lock(&dog->lock);
	dog->stop = true;
	(void)pthread_cond_broadcast(&dog->changed);
	while (dog->threads > 1 &&
		pthread_cond_timedwait(&dog->changed, &dog->lock, &at) != ETIMEDOUT) {
	}
	(void)pthread_mutex_unlock(&dog->lock);
	leave(dog);
}
