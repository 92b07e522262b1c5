/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"

#include <ctype.h>
#include <fcntl.h>

#include "unit.h"

/* What was logged since the last call: each read gives one write, so the lines stay apart. */
static char *take(int fd, char *text, size_t size)
{
	ssize_t n = read(fd, text, size - 1);
	text[n > 0 ? n : 0] = 0;
	return text;
}

/* Lines go to a pipe of packets; returns the end to read from. */
static int open_log(void)
{
	int pipes[2];
	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC | O_DIRECT | O_NONBLOCK), 0);
	dr_log_set_fd(pipes[1]);
	dr_log_level = DR_LOG_INFO;
	return pipes[0];
}

START_TEST(log__a_line_is_time_level_event_values)
{
	int fd dr_cleanup(dr_fd_closep) = open_log();
	char text[4096];
	dr_log(DR_LOG_WARNING, "file-moved", "path=%s bytes=%d", "a/b", 7);
	take(fd, text, sizeof(text));
	const char *shape = "9999-99-99T99:99:99.999Z ";
	for (size_t i = 0; shape[i]; i++) {
		bool digit = isdigit((unsigned char)text[i]);
		ck_assert_msg(shape[i] == '9' ? digit : text[i] == shape[i], "%s", text);
	}
	ck_assert_str_eq(text + strlen(shape), "warning file-moved path=a/b bytes=7\n");
}
END_TEST

START_TEST(log__keeps_below_the_level)
{
	int fd dr_cleanup(dr_fd_closep) = open_log();
	char text[4096];
	dr_log(DR_LOG_DEBUG, "detail", "n=%d", 1);
	ck_assert_str_eq(take(fd, text, sizeof(text)), "");
	ck_assert_int_eq(dr_log_parse_level("DEBUG", &dr_log_level), 0);
	dr_log(DR_LOG_DEBUG, "detail", "n=%d", 2);
	ck_assert_ptr_nonnull(strstr(take(fd, text, sizeof(text)), "debug detail n=2\n"));
	ck_assert_int_eq(dr_log_parse_level("loud", &dr_log_level), -EINVAL);
	ck_assert_int_eq(dr_log_level, DR_LOG_DEBUG);
}
END_TEST

START_TEST(log__one_call_is_one_line_of_any_length)
{
	int fd dr_cleanup(dr_fd_closep) = open_log();
	char text[4096];
	for (int width = 900; width < 1100; width++) {
		dr_log(DR_LOG_INFO, "long", "n=%0*d", width, 1);
		size_t len = strlen(take(fd, text, sizeof(text)));
		ck_assert_uint_eq(
			len, strlen("9999-99-99T99:99:99.999Z info long n=") + (size_t)width + 1);
		ck_assert_str_eq(text + len - 3, "01\n");
	}
	dr_log(DR_LOG_INFO, "broken", "text=%s", "a\nb");
	ck_assert_ptr_nonnull(strstr(take(fd, text, sizeof(text)), "text=a b\n"));
}
END_TEST

START_TEST(log__repeats_are_left_out_and_counted)
{
	int fd dr_cleanup(dr_fd_closep) = open_log();
	char text[4096];
	struct dr_log_limit limit = { 0 };
	ck_assert(dr_log_may(&limit, 3600));
	ck_assert(!dr_log_may(&limit, 3600));
	ck_assert(!dr_log_may(&limit, 3600));
	ck_assert_uint_eq(dr_log_left_out(&limit), 2);
	ck_assert_uint_eq(dr_log_left_out(&limit), 0);
	ck_assert(dr_log_may(&(struct dr_log_limit){ .next_ns = 1 }, 1));
	for (int i = 0; i < 5; i++) {
		dr_log_limited(3600, DR_LOG_INFO, "often", "i=%d", i);
	}
	ck_assert_ptr_nonnull(strstr(take(fd, text, sizeof(text)), "info often i=0\n"));
	ck_assert_str_eq(take(fd, text, sizeof(text)), "");
	for (int i = 0; i < 3; i++) {
		dr_log_limited(0, DR_LOG_INFO, "always", "i=%d", i);
		ck_assert_ptr_nonnull(strstr(take(fd, text, sizeof(text)), "info always i="));
	}
}
END_TEST

static void keep(void *arg, enum dr_log_level level, const char *line)
{
	dr_buf_printf(arg, "%d:%s;", level, line);
}

START_TEST(log__a_sink_gets_lines_without_time)
{
	int fd dr_cleanup(dr_fd_closep) = open_log();
	struct dr_buf kept dr_cleanup(dr_buf_fini) = { 0 };
	char text[4096];
	dr_log_set_sink(keep, &kept);
	dr_log(DR_LOG_WARNING, "file-moved", "path=%s", "a\nb");
	dr_log(DR_LOG_ERROR, "bare", "%s", "");
	dr_unit_text(&kept, "2:file-moved path=a b;1:bare;");
	dr_buf_clear(&kept);
	dr_log(DR_LOG_INFO, "long", "n=%0*d", 2000, 1);
	ck_assert_uint_eq(kept.len, strlen("3:long n=;") + 2000);
	ck_assert_str_eq(take(fd, text, sizeof(text)), "");
	dr_log_set_sink(NULL, NULL);
	dr_log(DR_LOG_INFO, "again", "n=%d", 1);
	ck_assert_ptr_nonnull(strstr(take(fd, text, sizeof(text)), "info again n=1\n"));
}
END_TEST

DR_UNIT_MAIN("log", log__a_sink_gets_lines_without_time, log__a_line_is_time_level_event_values,
	log__keeps_below_the_level, log__one_call_is_one_line_of_any_length,
	log__repeats_are_left_out_and_counted)
