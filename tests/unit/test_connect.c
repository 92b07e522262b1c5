/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"
#include "store/connect.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "unit.h"

#define STEP_MS 2000
#define COMMAND_MS 3000

/* Names that no name server knows; each other name is an address. Takes the C library's place in all of this program. */
static const struct {
	const char *name;
	const char *addresses[2];
	unsigned delay_ms;
} names[] = {
	{ "redis.test", { "127.0.0.1" }, 0 },
	{ "other.test", { "127.0.0.1" }, 0 },
	{ "two.test", { "127.0.0.9", "127.0.0.1" }, 0 },
	{ "slow.test", { "127.0.0.1" }, 3000 },
};

/* As the C library allocates them, for its freeaddrinfo(). */
static struct addrinfo *make_address(const char *text, struct addrinfo *next)
{
	struct addrinfo *info = dr_xcalloc(1, sizeof(*info) + sizeof(struct sockaddr_in));
	struct sockaddr_in *address = (struct sockaddr_in *)(info + 1);
	*info = (struct addrinfo){ .ai_family = AF_INET,
		.ai_socktype = SOCK_STREAM,
		.ai_addrlen = sizeof(*address),
		.ai_addr = (struct sockaddr *)address,
		.ai_next = next };
	address->sin_family = AF_INET;
	ck_assert_int_eq(inet_pton(AF_INET, text, &address->sin_addr), 1);
	return info;
}

int getaddrinfo(
	const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
	struct in_addr literal;
	(void)hints;
	*ret = NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(node, names[i].name) == 0) {
			dr_sleep_ms(names[i].delay_ms);
			const char *second = names[i].addresses[1];
			*ret = make_address(
				names[i].addresses[0], second ? make_address(second, NULL) : NULL);
			return 0;
		}
	}
	if (inet_pton(AF_INET, node, &literal) != 1) {
		return EAI_NONAME;
	}
	*ret = make_address(node, NULL);
	if (service) {
		((struct sockaddr_in *)(*ret)->ai_addr)->sin_port =
			htons((uint16_t)strtoul(service, NULL, 10));
	}
	return 0;
}

/* Lines of the log go to a pipe. */
static int open_log(void)
{
	static int write_end = -EBADF;
	int pipes[2];
	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	dr_log_set_fd(pipes[1]);
	dr_fd_closep(&write_end);
	write_end = pipes[1];
	return pipes[0];
}

static char *take_log(int fd)
{
	static char text[4096];
	ssize_t n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	return text;
}

/* A line is rate-limited in its process, and only with CK_FORK=no is that not this test's own. */
static void check_logged(const char *line, const char *text)
{
	const char *fork = getenv("CK_FORK");
	if (line[0] || !fork || strcmp(fork, "no") != 0) {
		ck_assert_msg(strstr(line, text) != NULL, "%s", line);
		ck_assert_ptr_nonnull(strstr(line, " url="));
		ck_assert_ptr_null(strstr(line, "secret"));
	}
}

/* A process that ends with the test, whatever becomes of that. */
static pid_t fork_child(void)
{
	pid_t parent = getpid(), pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent) {
			_exit(1);
		}
	}
	return pid;
}

/* A server and its folder; for a fake one no folder. */
struct server {
	pid_t pid;
	uint16_t port;
	char dir[40];
};

static void server_fini(struct server *server)
{
	(void)kill(server->pid, SIGKILL);
	(void)waitpid(server->pid, NULL, 0);
	if (server->dir[0]) {
		ck_assert_int_eq(dr_remove_tree(AT_FDCWD, server->dir), 0);
	}
}
#define SERVER struct server dr_cleanup(server_fini)

static int listen_somewhere(uint16_t *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static uint16_t closed_port(void)
{
	uint16_t port;
	ck_assert_int_eq(close(listen_somewhere(&port)), 0);
	return port;
}

/* Whether the server serves: what it answers, or that it hangs up on what is not TLS, is the same here. */
static bool is_up(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd dr_cleanup(dr_fd_closep) = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		return false;
	}
	(void)!send(fd, "PING\r\n", 6, MSG_NOSIGNAL);
	(void)!recv(fd, &byte, 1, 0);
	return true;
}

/* Starts a real server with these lines in its configuration. mode: NULL, or --sentinel */
static struct server dr_printf(2, 3) start(const char *mode, const char *fmt, ...)
{
	struct server server = { .dir = "/tmp/drover-test-connect-XXXXXX" };
	struct dr_buf conf dr_cleanup(dr_buf_fini) = { 0 };
	char *own dr_cleanup(dr_freep) = NULL;
	va_list ap;
	va_start(ap, fmt);
	ck_assert_int_ge(vasprintf(&own, fmt, ap), 0);
	va_end(ap);
	ck_assert_ptr_nonnull(mkdtemp(server.dir));
	do {
		server.port = closed_port();
	} while (server.port > 55000); /* the bus of a cluster is 10000 farther up */
	dr_buf_printf(
		&conf, "bind 127.0.0.1\ndir %s\nlogfile %s/log\n%s", server.dir, server.dir, own);
	if (!mode) {
		dr_buf_printf(&conf, "save \"\"\nunixsocket %s/socket\n", server.dir);
	}
	if (!strstr(own, "tls-cert-file")) {
		dr_buf_printf(&conf, "port %u\n", server.port);
	} else {
		dr_buf_printf(&conf, "port 0\ntls-port %u\n", server.port);
	}
	char *path dr_cleanup(dr_freep) = dr_xasprintf("%s/conf", server.dir);
	ck_assert_int_eq(dr_replace_file_fast(AT_FDCWD, path, 0600, conf.data, conf.len), 0);
	server.pid = fork_child();
	if (server.pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		(void)dup2(null, 1);
		(void)dup2(null, 2);
		(void)execlp("redis-server", "redis-server", path, mode, (char *)NULL);
		_exit(127);
	}
	for (unsigned i = 0; !is_up(server.port); i++) {
		int status;
		ck_assert_msg(i < 2000, "redis-server does not start");
		ck_assert_msg(waitpid(server.pid, &status, WNOHANG) == 0, "redis-server ends");
		dr_sleep_ms(5);
	}
	return server;
}

/*
 * A server that says the same to everything; NULL: it says nothing, "": it hangs up. With a delay it says a byte at a
 * time.
 */
static struct server start_fake(const char *answer, unsigned delay_ms)
{
	struct server server = { 0 };
	int fd dr_cleanup(dr_fd_closep) = listen_somewhere(&server.port);
	server.pid = fork_child();
	while (server.pid == 0) {
		char command[4096];
		int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		while (!answer || *answer) {
			if (read(peer, command, sizeof(command)) <= 0) {
				break;
			}
			for (size_t i = 0; answer && i < strlen(answer) && delay_ms; i++) {
				(void)!send(peer, answer + i, 1, MSG_NOSIGNAL);
				dr_sleep_ms(delay_ms);
			}
			if (answer && !delay_ms) {
				(void)!send(peer, answer, strlen(answer), MSG_NOSIGNAL);
			}
		}
		(void)close(peer);
	}
	return server;
}

/* What such a sentinel says: the master is there. */
static struct server start_fake_sentinel(uint16_t port)
{
	char *answer dr_cleanup(dr_freep) = dr_xasprintf(
		"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%u\r\n", snprintf(NULL, 0, "%u", port), port);
	return start_fake(answer, 0);
}

static int connect_for(
	unsigned step_ms, unsigned command_ms, const char *text, redisContext **ret_redis)
{
	struct dr_url url dr_cleanup(dr_url_fini) = { 0 };
	char *message = NULL;
	ck_assert_msg(dr_url_parse(text, &url, &message) == 0, "%s", message);
	return dr_connect(&url, step_ms, command_ms, ret_redis);
}

static redisContext *dr_printf(1, 2) connected(const char *fmt, ...)
{
	char *text dr_cleanup(dr_freep) = NULL;
	redisContext *redis = NULL;
	va_list ap;
	va_start(ap, fmt);
	ck_assert_int_ge(vasprintf(&text, fmt, ap), 0);
	va_end(ap);
	int r = connect_for(STEP_MS, COMMAND_MS, text, &redis);
	ck_assert_msg(r == 0, "%s: %s", text, strerrorname_np(-r));
	ck_assert_int_eq(redis->err, 0);
	return redis;
}

/* That it fails so, and says that in the log, but no password. */
static void dr_printf(3, 4) check_fails(int error, const char *logged, const char *fmt, ...)
{
	char *text dr_cleanup(dr_freep) = NULL;
	redisContext *redis = (redisContext *)&redis;
	int log dr_cleanup(dr_fd_closep) = open_log();
	va_list ap;
	va_start(ap, fmt);
	ck_assert_int_ge(vasprintf(&text, fmt, ap), 0);
	va_end(ap);
	int r = connect_for(500, COMMAND_MS, text, &redis);
	ck_assert_msg(r == error, "%s: %d", text, r);
	ck_assert_ptr_eq(redis, (redisContext *)&redis);
	if (logged) {
		check_logged(take_log(log), logged);
	}
}

static void check_says(redisContext *redis, const char *command, const char *expected)
{
	redisReply *reply = redisCommand(redis, command);
	ck_assert_ptr_nonnull(reply);
	ck_assert_ptr_nonnull(reply->str);
	ck_assert_msg(strstr(reply->str, expected) != NULL, "%s: %s", command, reply->str);
	freeReplyObject(reply);
}

START_TEST(connect__gives_a_bounded_and_private_connection)
{
	SERVER server = start(NULL, "\n");
	redisContext *redis = connected("redis://127.0.0.1:%u", server.port);
	struct timeval time = { 0 };
	int on = 0;
	socklen_t len = sizeof(time);
	check_says(redis, "PING", "PONG");
	ck_assert_int_eq(fcntl(redis->fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(getsockopt(redis->fd, SOL_SOCKET, SO_RCVTIMEO, &time, &len), 0);
	ck_assert_int_eq(time.tv_sec, COMMAND_MS / 1000);
	len = sizeof(on);
	ck_assert_int_eq(getsockopt(redis->fd, SOL_SOCKET, SO_KEEPALIVE, &on, &len), 0);
	ck_assert_int_eq(on, 1);
	redisFree(redis);
}
END_TEST

START_TEST(connect__never_takes_0_ms_for_ever)
{
	SERVER server = start(NULL, "\n");
	char *url dr_cleanup(dr_freep) = dr_xasprintf("redis://127.0.0.1:%u", server.port);
	redisContext *redis = NULL;
	uint64_t began_ns = dr_now_ns();
	ck_assert_int_eq(connect_for(STEP_MS, 0, url, &redis), 0);
	ck_assert_ptr_null(redisCommand(redis, "BLPOP nothing 5"));
	redisFree(redis);
	SERVER silent = start_fake(NULL, 0);
	char *other dr_cleanup(dr_freep) = dr_xasprintf("redis://127.0.0.1:%u", silent.port);
	int log dr_cleanup(dr_fd_closep) = open_log();
	ck_assert_int_eq(connect_for(0, 0, other, &redis), -ENOTCONN);
	check_logged(take_log(log), "no answer within 1 ms");
	ck_assert_uint_lt(dr_now_ns() - began_ns, 2000000000u);
}
END_TEST

START_TEST(connect__goes_through_a_socket_file_and_selects_the_database)
{
	SERVER server = start(NULL, "\n");
	redisContext *redis = connected("unix://%s/socket?db=3", server.dir);
	check_says(redis, "CLIENT LIST", "db=3");
	ck_assert_int_eq(fcntl(redis->fd, F_GETFD), FD_CLOEXEC);
	redisFree(redis);
	redis = connected("redis://127.0.0.1:%u/15", server.port);
	check_says(redis, "CLIENT LIST", "db=15");
	redisFree(redis);
	check_fails(-EPROTO, "out of range", "redis://127.0.0.1:%u/16", server.port);
	check_fails(-ENOTCONN, "No such file", "unix://%s/nothing", server.dir);
	if (geteuid() != 0) {
		char *path dr_cleanup(dr_freep) = dr_xasprintf("%s/socket", server.dir);
		ck_assert_int_eq(chmod(path, 0), 0);
		check_fails(-EACCES, "Permission denied", "unix://%s/socket", server.dir);
	}
}
END_TEST

START_TEST(connect__logs_in_with_a_password_of_any_bytes)
{
	SERVER server = start(NULL, "requirepass \"p w\\x01\\xff\\\"'@:/?#%%\"\n");
	redisContext *redis = connected(
		"redis://:p%%20w%%01%%ff\"'%%40:%%2f%%3f%%23%%25@127.0.0.1:%u", server.port);
	check_says(redis, "PING", "PONG");
	redisFree(redis);
	check_fails(-EACCES, "WRONGPASS", "redis://:secret@127.0.0.1:%u", server.port);
}
END_TEST

START_TEST(connect__tells_that_a_password_is_wanted)
{
	SERVER server = start(NULL, "requirepass x\n");
	check_fails(-EACCES, "NOAUTH", "redis://127.0.0.1:%u/2", server.port);
}
END_TEST

START_TEST(connect__tells_that_no_password_is_wanted)
{
	SERVER server = start(NULL, "\n");
	check_fails(-EACCES, "without any password", "redis://:secret@127.0.0.1:%u", server.port);
}
END_TEST

START_TEST(connect__logs_in_as_a_user_who_may_do_little)
{
	SERVER server = start(NULL, "user default off\n"
				    "user alice on >secret ~* +@all\n"
				    "user bob on >b ~* +get +set +select\n"
				    "user carol on nopass ~* +@all\n"
				    "user dave on nopass ~* +@all -select\n");
	redisContext *redis = connected("redis://alice:secret@127.0.0.1:%u/1", server.port);
	check_says(redis, "ACL WHOAMI", "alice");
	redisFree(redis);
	redis = connected("redis://bob:b@127.0.0.1:%u/1", server.port);
	check_says(redis, "SET key value", "OK");
	redisFree(redis);
	redis = connected("redis://carol:@127.0.0.1:%u", server.port);
	check_says(redis, "ACL WHOAMI", "carol");
	redisFree(redis);
	check_fails(-EACCES, "NOPERM", "redis://dave:secret@127.0.0.1:%u/1", server.port);
	check_fails(-EACCES, NULL, "redis://alice:wrong@127.0.0.1:%u", server.port);
}
END_TEST

START_TEST(connect__refuses_a_cluster)
{
	SERVER server = start(NULL, "cluster-enabled yes\n");
	check_fails(
		-EPROTO, "Redis Cluster is not supported", "redis://127.0.0.1:%u/1", server.port);
}
END_TEST

START_TEST(connect__tries_every_address_of_a_name)
{
	SERVER server = start(NULL, "\n");
	redisContext *redis = connected("redis://two.test:%u", server.port);
	check_says(redis, "PING", "PONG");
	redisFree(redis);
	check_fails(-ENOTCONN, "looking up 'unknown.test'", "redis://unknown.test:%u", server.port);
}
END_TEST

START_TEST(connect__does_not_wait_for_a_slow_name_service)
{
	uint64_t began_ns = dr_now_ns();
	check_fails(-ENOTCONN, "takes longer than 500 ms", "redis://slow.test");
	ck_assert_uint_lt(dr_now_ns() - began_ns, 1500000000u);
}
END_TEST

START_TEST(connect__does_not_wait_for_a_silent_server)
{
	SERVER silent = start_fake(NULL, 0);
	uint64_t began_ns = dr_now_ns();
	check_fails(
		-ENOTCONN, "no answer within 500 ms", "redis://:secret@127.0.0.1:%u", silent.port);
	ck_assert_uint_lt(dr_now_ns() - began_ns, 1500000000u);
}
END_TEST

START_TEST(connect__does_not_wait_for_a_server_that_never_ends)
{
	SERVER drips = start_fake("$100\r\n0123456789012345678901234567890123456789", 30);
	uint64_t began_ns = dr_now_ns();
	check_fails(-ENOTCONN, "no answer within 500 ms", "redis://127.0.0.1:%u", drips.port);
	ck_assert_uint_lt(dr_now_ns() - began_ns, 1500000000u);
}
END_TEST

START_TEST(connect__tells_that_nobody_is_there)
{
	check_fails(-ENOTCONN, "Connection refused", "redis://:secret@127.0.0.1:%u", closed_port());
	SERVER deaf = start_fake("", 0);
	check_fails(-ENOTCONN, NULL, "redis://127.0.0.1:%u", deaf.port);
}
END_TEST

static void check_answer(int error, const char *logged, const char *answer)
{
	SERVER fake = start_fake(answer, 0);
	check_fails(error, logged, "redis://127.0.0.1:%u", fake.port);
}

START_TEST(connect__knows_what_is_no_redis)
{
	check_answer(-EPROTO, "no Redis protocol", "HTTP/1.1 400 Bad Request\r\n\r\n");
	check_answer(-EPROTO, NULL, "220 mail.example ESMTP\r\n");
	check_answer(-EPROTO, NULL, "SSH-2.0-OpenSSH_9.2\r\n");
	check_answer(-EPROTO, NULL, ":1\r\n");
	check_answer(-EPROTO, NULL, "$-1\r\n");
	check_answer(-EPROTO, NULL, "*0\r\n");
	check_answer(-EPROTO, NULL, "-ERR unknown command\r\n");
}
END_TEST

START_TEST(connect__waits_for_a_server_that_is_not_ready)
{
	check_answer(-ENOTCONN, "MASTERDOWN", "-MASTERDOWN Link with MASTER is down\r\n");
	check_answer(-ENOTCONN, NULL, "-BUSY Redis is busy running a script.\r\n");
	check_answer(-ENOTCONN, NULL, "-MISCONF Redis is configured to save RDB snapshots\r\n");
	check_answer(-ENOTCONN, NULL, "-ERR max number of clients reached\r\n");
}
END_TEST

#define LOADING "-LOADING Redis is loading the dataset in memory\r\n"

START_TEST(connect__tells_that_a_server_still_loads_its_data)
{
	SERVER loading = start_fake(LOADING, 0);
	int log dr_cleanup(dr_fd_closep) = open_log();
	char *url dr_cleanup(dr_freep) = dr_xasprintf("redis://:secret@127.0.0.1:%u", loading.port);
	redisContext *redis = NULL;
	ck_assert_int_eq(connect_for(STEP_MS, COMMAND_MS, url, &redis), -EAGAIN);
	ck_assert_str_eq(take_log(log), "");
	dr_log_level = DR_LOG_DEBUG;
	check_answer(-EAGAIN, " debug redis-loading ", LOADING);
	dr_log_level = DR_LOG_INFO;
}
END_TEST

START_TEST(connect__says_nothing_of_a_quiet_server_that_is_not_there)
{
	char *text dr_cleanup(dr_freep) = dr_xasprintf("redis://127.0.0.1:%u", closed_port());
	struct dr_url url dr_cleanup(dr_url_fini) = { 0 };
	char *message = NULL;
	ck_assert_int_eq(dr_url_parse(text, &url, &message), 0);
	ck_assert(!url.quiet);
	url.quiet = true;
	int log dr_cleanup(dr_fd_closep) = open_log();
	redisContext *redis = NULL;
	ck_assert_int_eq(dr_connect(&url, STEP_MS, COMMAND_MS, &redis), -ENOTCONN);
	ck_assert_str_eq(take_log(log), "");
	dr_log_level = DR_LOG_DEBUG;
	ck_assert_int_eq(dr_connect(&url, STEP_MS, COMMAND_MS, &redis), -ENOTCONN);
	dr_log_level = DR_LOG_INFO;
	check_logged(take_log(log), " debug redis-unreachable ");
	/* It is there, and that is news. */
	SERVER refuses = start_fake("-NOAUTH Authentication required.\r\n", 0);
	url.hosts[0].port = refuses.port;
	ck_assert_int_eq(dr_connect(&url, STEP_MS, COMMAND_MS, &redis), -EACCES);
	check_logged(take_log(log), "NOAUTH");
}
END_TEST

START_TEST(connect__tells_what_a_server_refuses)
{
	check_answer(-EACCES, "DENIED\\x1b[31m",
		"-DENIED\x1b[31m Redis is running in protected mode\r\n");
}
END_TEST

START_TEST(connect__never_repeats_a_password_that_the_server_repeats)
{
	SERVER fake = start_fake(
		"-ERR unknown command 'AUTH', with args beginning with: 'u' 'secret' \r\n", 0);
	check_fails(
		-EACCES, "unknown command 'AUTH'\"", "redis://u:secret@127.0.0.1:%u", fake.port);
}
END_TEST

START_TEST(connect__never_repeats_a_password_in_other_words)
{
	SERVER fake = start_fake("-ERR what is 'secret'?\r\n", 0);
	check_fails(-EACCES, "AUTH is refused", "redis://:secret@127.0.0.1:%u", fake.port);
}
END_TEST

START_TEST(sentinel__leads_to_the_master)
{
	SERVER master = start(NULL, "requirepass m\nmasterauth m\n");
	SERVER replica = start(NULL, "masterauth m\nreplicaof 127.0.0.1 %u\n", master.port);
	SERVER sentinel = start("--sentinel",
		"requirepass s\nsentinel monitor drover 127.0.0.1 %u 1\nsentinel auth-pass drover m\n",
		master.port);
	struct dr_url url dr_cleanup(dr_url_fini) = { 0 };
	char *message = NULL;
	redisContext *redis = NULL;
	char *text dr_cleanup(dr_freep) =
		dr_xasprintf("sentinel://:m@127.0.0.1:%u,127.0.0.1:%u/drover?db=2", closed_port(),
			sentinel.port);
	ck_assert_int_eq(dr_url_parse(text, &url, &message), 0);
	url.sentinel_password = dr_xstrdup("s");
	ck_assert_int_eq(dr_connect(&url, STEP_MS, COMMAND_MS, &redis), 0);
	ck_assert_int_eq(redis->tcp.port, master.port);
	ck_assert_int_ne(redis->tcp.port, replica.port);
	check_says(redis, "CLIENT LIST", "db=2");
	ck_assert_int_eq(fcntl(redis->fd, F_GETFD), FD_CLOEXEC);
	redisFree(redis);

	int log dr_cleanup(dr_fd_closep) = open_log();
	url.name[0] = 'p';
	ck_assert_int_eq(dr_connect(&url, STEP_MS, COMMAND_MS, &redis), -ENOTCONN);
	char *line = take_log(log);
	check_logged(line, "Connection refused");
	check_logged(line, "knows no master set 'prover'");
	check_logged(line, "/prover?db=2");
	url.name[0] = 'd';
	url.sentinel_password[0] = 'x';
	check_fails(-EACCES, "NOAUTH", "sentinel://:m@127.0.0.1:%u/drover", sentinel.port);
	ck_assert_int_eq(dr_connect(&url, STEP_MS, COMMAND_MS, &redis), -ENOTCONN);
}
END_TEST

START_TEST(sentinel__is_no_server_of_data)
{
	SERVER sentinel = start("--sentinel", "\n");
	SERVER server = start(NULL, "\n");
	check_fails(-EPROTO, "is a sentinel", "redis://127.0.0.1:%u", sentinel.port);
	check_fails(-EPROTO, NULL, "sentinel://127.0.0.1:%u/drover", server.port);
}
END_TEST

START_TEST(sentinel__may_be_wrong_about_the_master)
{
	SERVER master = start(NULL, "user eve on nopass ~* +@all -role\n");
	SERVER replica = start(
		NULL, "user eve on nopass ~* +@all -role\nreplicaof 127.0.0.1 %u\n", master.port);
	SERVER right = start_fake_sentinel(master.port);
	SERVER wrong = start_fake_sentinel(replica.port);
	SERVER dead = start_fake_sentinel(closed_port());
	SERVER loading = start_fake(LOADING, 0);
	SERVER early = start_fake_sentinel(loading.port);
	check_fails(-ENOTCONN, "is not a master", "sentinel://127.0.0.1:%u/drover", wrong.port);
	/* ROLE is not permitted: INFO tells. */
	check_fails(-ENOTCONN, NULL, "sentinel://eve:@127.0.0.1:%u/drover", wrong.port);
	check_fails(-ENOTCONN, NULL, "sentinel://127.0.0.1:%u,127.0.0.1:%u/drover", dead.port,
		dead.port);
	redisContext *redis = connected(
		"sentinel://eve:@127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/drover",
		dead.port, wrong.port, early.port, right.port);
	ck_assert_int_eq(redis->tcp.port, master.port);
	redisFree(redis);
}
END_TEST

START_TEST(sentinel__may_name_a_server_that_still_loads_its_data)
{
	SERVER loading = start_fake(LOADING, 0);
	SERVER early = start_fake_sentinel(loading.port);
	unsigned dead = closed_port();
	check_fails(-EAGAIN, NULL, "sentinel://127.0.0.1:%u/drover", early.port);
	check_fails(-EAGAIN, NULL, "sentinel://127.0.0.1:%u,127.0.0.1:%u/drover", early.port, dead);
	check_fails(-EAGAIN, NULL, "sentinel://127.0.0.1:%u,127.0.0.1:%u/drover", dead, early.port);
}
END_TEST

START_TEST(sentinel__answers_are_checked)
{
	static const struct {
		int error;
		const char *answer;
	} cases[] = {
		{ -ENOTCONN, "*-1\r\n" },
		{ -EPROTO, "*0\r\n" },
		{ -EPROTO, "*1\r\n$9\r\n127.0.0.1\r\n" },
		{ -EPROTO, "*2\r\n$0\r\n\r\n$4\r\n6379\r\n" },
		{ -EPROTO, "*2\r\n$1\r\na\r\n$5\r\n65536\r\n" },
		{ -EPROTO, "*2\r\n$1\r\na\r\n$1\r\n0\r\n" },
		{ -EPROTO, "*2\r\n:1\r\n:1\r\n" },
		{ -EPROTO, "+OK\r\n" },
		{ -EPROTO, "-ERR unknown command\r\n" },
		{ -EACCES, "-NOPERM this user has no permissions\r\n" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SERVER fake = start_fake(cases[i].answer, 0);
		check_fails(cases[i].error, NULL, "sentinel://127.0.0.1:%u/drover", fake.port);
	}
	/* One that may come back counts more than one that is wrong. */
	SERVER fake = start_fake("+OK\r\n", 0);
	check_fails(-ENOTCONN, NULL, "sentinel://127.0.0.1:%u,127.0.0.1:%u/drover", fake.port,
		closed_port());
}
END_TEST

#ifndef DR_HAVE_TLS

START_TEST(tls__is_told_to_be_missing)
{
	ck_assert(!dr_connect_has_tls());
	check_fails(-EPROTONOSUPPORT, NULL, "rediss://127.0.0.1:%u", closed_port());
}
END_TEST

#else

/* Two CAs that are nothing to each other, a server's certificate, and a client's with an encrypted and a plain key. */
static const char make_certificates[] =
	"exec >log 2>&1 && set -e\n"
	"new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $1.key"
	" -subj /CN=$1 $2 -out $1.$3; }\n"
	"new ca '-x509 -days 2' crt\n"
	"new stranger '-x509 -days 2' crt\n"
	"new server '' csr\n"
	"new client '' csr\n"
	"echo subjectAltName=DNS:redis.test,IP:127.0.0.1 >ext\n"
	"for who in server client; do openssl x509 -req -in $who.csr -CA ca.crt -CAkey ca.key"
	" -CAcreateserial -days 2 -extfile ext -out $who.crt; done\n"
	"cat client.crt client.key >both.pem\n"
	"openssl ec -in client.key -aes128 -passout pass:x -out locked.key\n"
	"echo no certificate >rubbish\n";

struct tls {
	char dir[40];
	struct server server;
};

static void tls_fini(struct tls *tls)
{
	server_fini(&tls->server);
	ck_assert_int_eq(dr_remove_tree(AT_FDCWD, tls->dir), 0);
}
#define TLS struct tls dr_cleanup(tls_fini)

static struct tls start_tls(const char *auth_clients)
{
	struct tls tls = { .dir = "/tmp/drover-test-connect-XXXXXX" };
	ck_assert_ptr_nonnull(mkdtemp(tls.dir));
	char *command dr_cleanup(dr_freep) =
		dr_xasprintf("cd %s && %s", tls.dir, make_certificates);
	ck_assert_msg(system(command) == 0, "no certificates: see %s/log", tls.dir);
	tls.server = start(NULL,
		"tls-cert-file %s/server.crt\ntls-key-file %s/server.key\n"
		"tls-ca-cert-file %s/ca.crt\ntls-auth-clients %s\n",
		tls.dir, tls.dir, tls.dir, auth_clients);
	return tls;
}

/* @return what dr_connect() does; *ret_log is its line of the log */
static int connect_tls(const struct tls *tls, const char *host, const char *ca, const char *cert,
	const char *key, char **ret_log)
{
	char *text dr_cleanup(dr_freep) = dr_xasprintf("rediss://%s:%u/1", host, tls->server.port);
	int log dr_cleanup(dr_fd_closep) = open_log();
	struct dr_url url dr_cleanup(dr_url_fini) = { 0 };
	char *message = NULL;
	redisContext *redis = NULL;
	ck_assert_int_eq(dr_url_parse(text, &url, &message), 0);
	url.tls_ca = ca ? dr_xasprintf("%s/%s", tls->dir, ca) : NULL;
	url.tls_cert = cert ? dr_xasprintf("%s/%s", tls->dir, cert) : NULL;
	url.tls_key = key ? dr_xasprintf("%s/%s", tls->dir, key) : NULL;
	int r = dr_connect(&url, STEP_MS, COMMAND_MS, &redis);
	if (r == 0) {
		check_says(redis, "CLIENT LIST", "db=1");
		ck_assert_int_eq(fcntl(redis->fd, F_GETFD), FD_CLOEXEC);
		redisFree(redis);
	} else {
		ck_assert_ptr_null(redis);
	}
	*ret_log = take_log(log);
	return r;
}

START_TEST(tls__trusts_the_ca_it_is_given)
{
	TLS tls = start_tls("no");
	char *log;
	ck_assert(dr_connect_has_tls());
	ck_assert_int_eq(connect_tls(&tls, "redis.test", "ca.crt", NULL, NULL, &log), 0);
	ck_assert_int_eq(connect_tls(&tls, "127.0.0.1", "ca.crt", NULL, NULL, &log), 0);
	ck_assert_str_eq(log, "");
	check_fails(-EPROTO, "the server's certificate: ", "rediss://redis.test:%u",
		tls.server.port); /* by the system's CAs */
	ck_assert_int_eq(
		connect_tls(&tls, "redis.test", "stranger.crt", NULL, NULL, &log), -EPROTO);
}
END_TEST

START_TEST(tls__refuses_a_certificate_for_another_host)
{
	TLS tls = start_tls("no");
	char *log;
	ck_assert_int_eq(connect_tls(&tls, "other.test", "ca.crt", NULL, NULL, &log), -EPROTO);
	check_logged(log, "ostname mismatch");
	ck_assert_int_eq(connect_tls(&tls, "two.test", "ca.crt", NULL, NULL, &log), -EPROTO);
}
END_TEST

START_TEST(tls__refuses_a_certificate_for_another_address)
{
	TLS tls = start_tls("no\nbind 127.0.0.3 127.0.0.1");
	char *log;
	ck_assert_int_eq(connect_tls(&tls, "127.0.0.3", "ca.crt", NULL, NULL, &log), -EPROTO);
	check_logged(log, "IP address mismatch");
}
END_TEST

START_TEST(tls__shows_a_certificate_of_its_own)
{
	TLS tls = start_tls("yes");
	char *log;
	ck_assert_int_eq(
		connect_tls(&tls, "redis.test", "ca.crt", "client.crt", "client.key", &log), 0);
	ck_assert_int_eq(connect_tls(&tls, "redis.test", "ca.crt", "both.pem", NULL, &log), 0);
	/* The server hangs up after it said why, which may therefore be lost. */
	int r = connect_tls(&tls, "redis.test", "ca.crt", NULL, NULL, &log);
	ck_assert_msg(r == -EACCES || r == -ENOTCONN, "%d", r);
	check_logged(log, "certificate");
	r = connect_tls(&tls, "redis.test", "ca.crt", "stranger.crt", "stranger.key", &log);
	ck_assert_msg(r == -EACCES || r == -ENOTCONN, "%d", r);
}
END_TEST

START_TEST(tls__files_must_be_fit_for_use)
{
	static const char *const cases[][3] = {
		{ "nothing", NULL, NULL },
		{ "rubbish", NULL, NULL },
		{ "ca.crt", "nothing", "client.key" },
		{ "ca.crt", "rubbish", "client.key" },
		{ "ca.crt", "client.crt", "nothing" },
		{ "ca.crt", "client.crt", "server.key" },
		{ "ca.crt", "client.crt", "locked.key" },
		{ "ca.crt", "client.crt", NULL },
	};
	TLS tls = start_tls("no");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *log;
		int r = connect_tls(
			&tls, "redis.test", cases[i][0], cases[i][1], cases[i][2], &log);
		ck_assert_msg(r == -ENOENT, "case %zu: %d", i, r);
		if (i == 0) {
			check_logged(log, "/nothing: No such file");
		}
	}
}
END_TEST

START_TEST(tls__is_not_what_every_server_speaks)
{
	SERVER plain = start(NULL, "\n");
	SERVER silent = start_fake(NULL, 0);
	SERVER deaf = start_fake("", 0);
	SERVER rubbish = start_fake("220 mail.example ESMTP\r\n", 0);
	/* A record that would take 5 s to come. */
	SERVER drips = start_fake("\x16\x03\x03\x3f\xff 0123456789012345678901234567890123456789"
				  "0123456789012345678901234567890123456789",
		60);
	uint64_t began_ns = dr_now_ns();
	check_fails(-EPROTO, "TLS: ", "rediss://127.0.0.1:%u", rubbish.port);
	check_fails(-ENOTCONN, "no TLS within 500 ms", "rediss://127.0.0.1:%u", silent.port);
	check_fails(-ENOTCONN, NULL, "rediss://127.0.0.1:%u", drips.port);
	check_fails(-ENOTCONN, NULL, "rediss://127.0.0.1:%u", deaf.port);
	ck_assert_uint_lt(dr_now_ns() - began_ns, 5000000000u);
	redisContext *redis = NULL;
	char *url dr_cleanup(dr_freep) = dr_xasprintf("rediss://127.0.0.1:%u", plain.port);
	int r = connect_for(500, COMMAND_MS, url, &redis);
	ck_assert_msg(r == -EPROTO || r == -ENOTCONN, "%d", r);
	TLS tls = start_tls("no");
	check_fails(-ENOTCONN, NULL, "redis://127.0.0.1:%u", tls.server.port);
}
END_TEST

#endif

static bool has_program(const char *name)
{
	char *path dr_cleanup(dr_freep) = dr_xstrdup(getenv("PATH") ? getenv("PATH") : "");
	char *state = NULL;
	for (char *dir = strtok_r(path, ":", &state); dir; dir = strtok_r(NULL, ":", &state)) {
		char *file dr_cleanup(dr_freep) = dr_xasprintf("%s/%s", dir, name);
		if (access(file, X_OK) == 0) {
			return true;
		}
	}
	return false;
}

int main(void)
{
	/* The first ones need no real server. */
	const TTest *const tests[] = {
		connect__does_not_wait_for_a_slow_name_service,
		connect__does_not_wait_for_a_silent_server,
		connect__does_not_wait_for_a_server_that_never_ends,
		connect__tells_that_nobody_is_there,
		connect__knows_what_is_no_redis,
		connect__waits_for_a_server_that_is_not_ready,
		connect__tells_that_a_server_still_loads_its_data,
		connect__says_nothing_of_a_quiet_server_that_is_not_there,
		connect__tells_what_a_server_refuses,
		connect__never_repeats_a_password_that_the_server_repeats,
		connect__never_repeats_a_password_in_other_words,
		sentinel__may_name_a_server_that_still_loads_its_data,
		sentinel__answers_are_checked,
#ifndef DR_HAVE_TLS
		tls__is_told_to_be_missing,
#endif
		connect__gives_a_bounded_and_private_connection,
		connect__never_takes_0_ms_for_ever,
		connect__goes_through_a_socket_file_and_selects_the_database,
		connect__logs_in_with_a_password_of_any_bytes,
		connect__tells_that_a_password_is_wanted,
		connect__tells_that_no_password_is_wanted,
		connect__logs_in_as_a_user_who_may_do_little,
		connect__refuses_a_cluster,
		connect__tries_every_address_of_a_name,
		sentinel__leads_to_the_master,
		sentinel__is_no_server_of_data,
		sentinel__may_be_wrong_about_the_master,
#ifdef DR_HAVE_TLS
		tls__trusts_the_ca_it_is_given,
		tls__refuses_a_certificate_for_another_host,
		tls__refuses_a_certificate_for_another_address,
		tls__shows_a_certificate_of_its_own,
		tls__files_must_be_fit_for_use,
		tls__is_not_what_every_server_speaks,
#endif
	};
	size_t n = sizeof(tests) / sizeof(tests[0]), n_without = 0;
	while (tests[n_without] != connect__gives_a_bounded_and_private_connection) {
		n_without++;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	if (!has_program("redis-server")) {
		(void)printf(
			"# redis-server is not in PATH: %zu tests are left out\n", n - n_without);
		(void)fflush(stdout);
		n = n_without;
	}
	return dr_unit_run("connect", tests, n);
}
