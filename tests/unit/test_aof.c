/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/aof.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#define SELECT "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
#define SET "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nb\n\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nEXEC\r\n"

#define WHOLE(text) dr_aof_whole(text, sizeof(text) - 1)

START_TEST(aof__whole_files_stay)
{
	ck_assert_uint_eq(WHOLE(""), 0);
	ck_assert_uint_eq(WHOLE(SELECT SET), sizeof(SELECT SET) - 1);
	ck_assert_uint_eq(
		WHOLE(SELECT MULTI SET SET EXEC SET), sizeof(SELECT MULTI SET SET EXEC SET) - 1);
	ck_assert_uint_eq(WHOLE(SELECT "\0\0\0\0"), sizeof(SELECT) - 1);
	ck_assert_uint_eq(WHOLE(SELECT "*3\r\n$3\r\nSE\0\0\0"), sizeof(SELECT) - 1);
	ck_assert_uint_eq(WHOLE("#TS:1\r\n" SELECT), sizeof("#TS:1\r\n" SELECT) - 1);
}
END_TEST

/* Wherever a file is torn, what stays ends with a command outside of any transaction. */
START_TEST(aof__a_torn_tail_goes_with_its_transaction)
{
	static const char text[] = SELECT SET MULTI SET SET EXEC SET MULTI SET EXEC;
	static const size_t ends[] = {
		0,
		sizeof(SELECT) - 1,
		sizeof(SELECT SET) - 1,
		sizeof(SELECT SET MULTI SET SET EXEC) - 1,
		sizeof(SELECT SET MULTI SET SET EXEC SET) - 1,
		sizeof(SELECT SET MULTI SET SET EXEC SET MULTI SET EXEC) - 1,
	};

	for (size_t len = 0; len < sizeof(text); len++) {
		size_t expected = 0;

		for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
			expected = ends[i] <= len ? ends[i] : expected;
		}
		ck_assert_uint_eq(dr_aof_whole(text, len), expected);
	}
}
END_TEST

START_TEST(aof__what_is_no_command_is_left_to_the_server)
{
	static const char *const texts[] = { SELECT "hello", SELECT "*x\r\n",
		SELECT "*1\r\n$-1\r\n", SELECT "*1\r\n$3\r\nSETxx", SELECT "*1\n",
		SELECT "*99999999999999999999999\r\n", SELECT MULTI "junk" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		ck_assert_uint_eq(dr_aof_whole(texts[i], strlen(texts[i])), strlen(texts[i]));
	}
}
END_TEST

START_TEST(aof__mend_cuts_the_file)
{
	static const char text[] = SELECT SET MULTI SET;
	char path[] = "/tmp/drover-test-aof-XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(dr_aof_mend(fd), 0); /* empty */
	ck_assert_int_eq(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	ck_assert_int_eq(dr_aof_mend(fd), 1);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), sizeof(SELECT SET) - 1);
	ck_assert_int_eq(dr_aof_mend(fd), 0);
	(void)close(fd);
}
END_TEST

DR_UNIT_MAIN("aof", aof__whole_files_stay, aof__a_torn_tail_goes_with_its_transaction,
	aof__what_is_no_command_is_left_to_the_server, aof__mend_cuts_the_file)
