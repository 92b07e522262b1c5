/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/server.h"

#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PORTS_TRIED 200
#define STOP_MS 10000

int dr_server_find(char **ret_path)
{
	const char *path = getenv("PATH"); // NOLINT(concurrency-mt-unsafe)
	char *list dr_cleanup(dr_freep) = dr_xstrdup(path ? path : "/usr/local/bin:/usr/bin:/bin");
	char *save = NULL;

	for (char *dir = strtok_r(list, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		static const char *const names[] = { "redis-server", "valkey-server" };

		for (size_t i = 0; i < 2; i++) {
			char *file = dr_xasprintf("%s/%s", dir, names[i]);

			if (access(file, X_OK) == 0) {
				*ret_path = file;
				return 0;
			}
			free(file);
		}
	}
	return -ENOENT;
}

static int resolve(
	const char *address, uint16_t port, struct sockaddr_storage *ret_sa, socklen_t *ret_len)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM };
	struct addrinfo *info = NULL;
	char service[8];

	(void)snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(address, service, &hints, &info) != 0) {
		return -EINVAL;
	}
	memcpy(ret_sa, info->ai_addr, info->ai_addrlen);
	*ret_len = info->ai_addrlen;
	freeaddrinfo(info);
	return 0;
}

int dr_port_find(const char *address, uint64_t first, bool only_first, uint16_t *ret_port)
{
	for (uint64_t port = first;
		port < first + (only_first ? 1 : PORTS_TRIED) && port <= UINT16_MAX; port++) {
		struct sockaddr_storage sa = { 0 };
		socklen_t len = 0;
		int r = resolve(address, (uint16_t)port, &sa, &len);

		if (r < 0) {
			return r;
		}
		int fd dr_cleanup(dr_fd_closep) =
			socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int yes = 1;

		if (fd < 0) {
			return -errno;
		}
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
		if (bind(fd, (struct sockaddr *)&sa, len) == 0 && listen(fd, 1) == 0) {
			*ret_port = (uint16_t)port;
			return 0;
		}
		if (errno != EADDRINUSE && errno != EACCES) {
			return -errno;
		}
	}
	return -EADDRINUSE;
}

/* Whether the first `bits` of two addresses are equal. */
static bool same_net(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole) != 0) {
		return false;
	}
	return rest == 0 || (uint8_t)((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static const uint8_t *address_bytes(const struct sockaddr *sa)
{
	return sa->sa_family == AF_INET
		       ? (const uint8_t *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr
		       : (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)sa)
				 ->sin6_addr;
}

int dr_subnet_address(const char *subnet, char **ret_address)
{
	if (!subnet || !subnet[0]) {
		*ret_address = dr_xstrdup("127.0.0.1");
		return 0;
	}
	char *text dr_cleanup(dr_freep) = dr_xstrdup(subnet);
	char *slash = strchr(text, '/');
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;
	unsigned most = family == AF_INET ? 32 : 128, bits = most;
	uint8_t net[16];
	struct ifaddrs *all = NULL;
	int r = -ENOENT;

	if (slash) {
		char *end;

		*slash = '\0';
		bits = (unsigned)strtoul(slash + 1, &end, 10);
		if (end == slash + 1 || *end || bits > most) {
			return -EINVAL;
		}
	}
	if (inet_pton(family, text, net) != 1) {
		return -EINVAL;
	}
	if (getifaddrs(&all) < 0) {
		return -errno;
	}
	for (struct ifaddrs *i = all; i && r < 0; i = i->ifa_next) {
		char found[INET6_ADDRSTRLEN];

		if (i->ifa_addr && i->ifa_addr->sa_family == family &&
			same_net(address_bytes(i->ifa_addr), net, bits) &&
			inet_ntop(family, address_bytes(i->ifa_addr), found, sizeof(found))) {
			*ret_address = dr_xstrdup(found);
			r = 0;
		}
	}
	freeifaddrs(all);
	return r;
}

static int make_password(char **ret_password)
{
	uint8_t random[24];
	char text[sizeof(random) * 2 + 1];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		return -EIO;
	}
	for (size_t i = 0; i < sizeof(random); i++) {
		(void)snprintf(text + 2 * i, 3, "%02x", random[i]);
	}
	*ret_password = dr_xstrdup(text);
	return 0;
}

/* A value in double quotes, as redis.conf takes it. */
static void put_quoted(struct dr_buf *conf, const char *key, const char *value)
{
	dr_buf_printf(conf, "%s \"", key);
	for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
		dr_buf_printf(conf,
			*p < 32 || *p > 126 || *p == '"' || *p == '\\' ? "\\x%02x" : "%c", *p);
	}
	dr_buf_printf(conf, "\"\n");
}

static void make_conf(
	struct dr_buf *conf, const struct dr_server *server, const struct dr_options *options)
{
	dr_buf_printf(conf, "bind %s\nport %u\n", server->address, server->port);
	put_quoted(conf, "dir", server->epoch_path);
	dr_buf_printf(conf,
		"requirepass %s\n"
		"protected-mode no\n"
		"daemonize no\n"
		"save \"\"\n"
		"appendonly yes\n"
		"appendfsync %s\n"
		"aof-use-rdb-preamble yes\n"
		"aof-load-truncated yes\n"
		"auto-aof-rewrite-percentage 100\n"
		"auto-aof-rewrite-min-size 256mb\n"
		"maxmemory %" PRIu64 "\n"
		"maxmemory-policy noeviction\n"
		"stream-node-max-entries 100\n"
		"tcp-keepalive 15\n"
		"loglevel notice\n",
		server->password, options->fsync ? "always" : "everysec", options->redis_maxmemory);
}

/* In the child, between fork and exec: only what is safe there. */
static void child(const char *redis_path, int conf_fd, int log_fd, int lock_fd, pid_t parent)
{
	sigset_t none;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) {
		_exit(126);
	}
	(void)sigemptyset(&none);
	(void)pthread_sigmask(SIG_SETMASK, &none, NULL);
	(void)setpgid(0, 0); /* a Ctrl-C in the daemon's terminal is for the daemon */
	(void)dup2(conf_fd, 0);
	(void)dup2(log_fd, 1);
	(void)dup2(log_fd, 2);
	(void)fcntl(lock_fd, F_SETFD, 0);
	(void)execl(redis_path, "redis-server", "-", (char *)NULL);
	_exit(127);
}

static int spawn(struct dr_server *server, const char *redis_path, const struct dr_options *options,
	int lock_fd)
{
	struct dr_buf conf dr_cleanup(dr_buf_fini) = { 0 };
	char *log_path dr_cleanup(dr_freep) = dr_xasprintf("%s/redis.log", server->epoch_path);
	int pipes[2];
	int log_fd dr_cleanup(dr_fd_closep) =
		open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (log_fd < 0 || pipe2(pipes, O_CLOEXEC) < 0) {
		return -errno;
	}
	int read_end dr_cleanup(dr_fd_closep) = pipes[0];
	int write_end dr_cleanup(dr_fd_closep) = pipes[1];
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0) {
		return -errno;
	}
	if (pid == 0) {
		child(redis_path, read_end, log_fd, lock_fd, parent);
	}
	server->pid = pid;
	/* Not waited for yet, so the number is still its own. */
	server->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (server->pidfd < 0) {
		return -errno;
	}
	/* By a pipe, because a command line can be read by everybody. It fits into the pipe's buffer. */
	make_conf(&conf, server, options);
	return dr_write_full(write_end, conf.data, conf.len);
}

int dr_server_start(struct dr_server *server, const char *redis_path,
	const struct dr_folder *folder, const struct dr_options *options, uint64_t epoch,
	int lock_fd, bool fatal_port)
{
	int r = dr_subnet_address(options->communication_subnet, &server->address);

	if (r == -ENOENT) {
		r = -EADDRNOTAVAIL; /* the interface is down, for a while */
	}
	if (r == 0) {
		r = dr_port_find(server->address, options->redis_port, fatal_port, &server->port);
	}
	if (r == 0) {
		r = make_password(&server->password);
	}
	if (r == 0) {
		server->epoch = epoch;
		server->epoch_path = dr_xasprintf("%s/epoch-%" PRIu64, folder->path, epoch);
		r = spawn(server, redis_path, options, lock_fd);
	}
	if (r < 0) {
		dr_server_stop(server, true);
	}
	return r;
}

/* @return whether it still runs */
static bool bury(struct dr_server *server)
{
	if (server->pid > 0 && waitpid(server->pid, &server->status, WNOHANG) != 0) {
		server->pid = 0;
		dr_fd_closep(&server->pidfd);
	}
	return server->pid > 0;
}

bool dr_server_alive(struct dr_server *server)
{
	int pid = (int)server->pid;

	if (pid > 0 && !bury(server)) {
		dr_log(DR_LOG_ERROR, "server-ended", "pid=%d status=0x%x", pid,
			(unsigned)server->status);
	}
	return server->pid > 0;
}

void dr_server_stop(struct dr_server *server, bool kill_it)
{
	if (server->pid > 0) {
		(void)kill(server->pid, kill_it ? SIGKILL : SIGTERM);
		for (unsigned ms = 0; bury(server); ms += 5) {
			if (ms == STOP_MS) {
				(void)kill(server->pid, SIGKILL);
			}
			dr_sleep_ms(5);
		}
	}
	int status = server->status;

	free(server->address);
	free(server->password);
	free(server->epoch_path);
	*server = (struct dr_server){ .status = status, .pidfd = -1 };
}
