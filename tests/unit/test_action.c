/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hsm/action.h"

#include <stdio.h>

#include "unit.h"

#define LINE                                                                                         \
	"lrh=[type=10680000 len=136 idx=1/8] fid=[0x200000402:0x52:0x0] dfid=[0x200000403:0x1:0x0] " \
	"compound/cookie=0x0/0x6b02b26e action=RESTORE archive#=1 flags=0x0 "                        \
	"extent=0x0-0xffffffffffffffff gid=0x0 datalen=0 status=SUCCEED data=[]"

static int parse(const char *line, struct dr_action *action)
{
	return dr_action_parse(line, strlen(line), action);
}

static void is_text(struct dr_span span, const char *expected)
{
	if (!expected) {
		ck_assert_ptr_null(span.p);
		return;
	}
	ck_assert_ptr_nonnull(span.p);
	ck_assert_msg(
		dr_span_is(span, expected), "'%.*s' is not '%s'", (int)span.len, span.p, expected);
}

START_TEST(action__reads_every_field_of_a_real_line)
{
	struct dr_action action = { 0 };

	ck_assert_int_eq(parse(LINE, &action), 0);
	ck_assert_uint_eq(action.cat, 1);
	ck_assert_uint_eq(action.rec, 8);
	is_text(action.fid, "0x200000402:0x52:0x0");
	is_text(action.dfid, "0x200000403:0x1:0x0");
	is_text(action.cookie, "0x6b02b26e");
	is_text(action.action, "RESTORE");
	is_text(action.status, "SUCCEED");
	ck_assert(dr_action_is_whole(LINE, strlen(LINE), &action));
}
END_TEST

START_TEST(action__takes_other_shapes_of_idx_and_fid)
{
	static const struct {
		const char *line, *fid, *cookie;
		uint64_t cat, rec;
	} cases[] = {
		{ "idx=[1/2] action=RESTORE fid=[0xabc] status=STARTED", "0xabc", NULL, 1, 2 },
		{ "idx=1/2 fid=0xabc", "0xabc", NULL, 1, 2 },
		{ "fid=[any text] idx=0/0", "any text", NULL, 0, 0 },
		{ "fid=x lrh=[idx=7/9223372036854775807 len=1]", "x", NULL, 7, INT64_MAX },
		{ "lrh=[type=1 idx=5/6] fid=[a] cookie=0x17", "a", "0x17", 5, 6 },
		{ "new=[a=b fid=inner] lrh=[idx=5/6] fid=[outer]", "outer", NULL, 5, 6 },
		{ "idx=x idx=5/6 fid=[] fid=[b] fid=[c]", "b", NULL, 5, 6 },
		{ "a== b = fid=[b] idx=5/6=", NULL, NULL, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dr_action action = { 0 };
		int r = parse(cases[i].line, &action);

		ck_assert_msg(r == (cases[i].fid ? 0 : -ENOMSG), "%s: %d", cases[i].line, r);
		if (cases[i].fid) {
			is_text(action.fid, cases[i].fid);
			is_text(action.cookie, cases[i].cookie);
			ck_assert_uint_eq(action.cat, cases[i].cat);
			ck_assert_uint_eq(action.rec, cases[i].rec);
		}
	}
}
END_TEST

START_TEST(action__says_why_a_line_is_no_action)
{
	static const struct {
		const char *line;
		int error;
	} cases[] = {
		{ "", ENOMSG },
		{ "some other kernel message", ENOMSG },
		{ "idx=[1] action=ARCHIVE fid=[0x1] status=STARTED", ENOMSG },
		{ "idx=1/-2 fid=[0x1]", ENOMSG },
		{ "idx=1/9223372036854775808 fid=[0x1]", ENOMSG },
		{ "idx=1/2x fid=[0x1]", ENOMSG },
		{ "lrh=[type=10680000 len=136 idx=1/1] action=ARCHIVE", ENODATA },
		{ "idx=1/2 fid=[]", ENODATA },
		{ "idx=1/2 fid=", ENODATA },
		{ "*b=", ENOMSG },
		{ "lrh=[type=10680000 len=136 idx=1/", EBADMSG },
		{ "lrh=[type=10680000 len=136 idx=1/1] fid=[0x2000", EBADMSG },
		{ "idx=1/2 fid=[\xff]", EILSEQ },
		{ "idx=1/2 fid=[\xed\xa0\x80]", EILSEQ },
		{ "idx=1/2 fid=[\xf4\x90\x80\x80]", EILSEQ },
		{ "idx=1/2 fid=[\xc0\xaf]", EILSEQ },
		{ "idx=1/2 fid=[a\xe2\x82", EILSEQ },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dr_action action = { .cat = 77 };
		int r = parse(cases[i].line, &action);

		ck_assert_msg(r == -cases[i].error, "%s: %d", cases[i].line, r);
		ck_assert_uint_eq(action.cat, 77);
	}
	struct dr_action action = { 0 };

	ck_assert_int_eq(dr_action_parse("idx=1/2 fid=[a\0b]", 17, &action), -EILSEQ);
	ck_assert_int_eq(parse("idx=1/2 fid=[\xe2\x82\xac \xf0\x9f\x90\x91]", &action), 0);
}
END_TEST

START_TEST(action__refuses_a_line_of_a_mebibyte)
{
	size_t len = 1 << 20;
	char *line = dr_xcalloc(1, len);
	struct dr_action action = { 0 };

	memset(line, 'x', len);
	memcpy(line, "idx=1/2 fid=[0x1] ", 18);
	ck_assert_int_eq(dr_action_parse(line, len, &action), -EMSGSIZE);
	ck_assert_int_eq(dr_action_parse(line, DR_ACTION_MAX_LINE, &action), 0);
	free(line);
}
END_TEST

START_TEST(action__tells_a_cut_last_line_from_a_whole_one)
{
	for (size_t len = 0; len < strlen(LINE); len++) {
		struct dr_action action = { 0 };
		bool counts = dr_action_parse(LINE, len, &action) == 0 &&
			      dr_action_is_whole(LINE, len, &action);
		/* Cut behind a closed bracket it looks whole; only one more word would tell. */
		bool looks_whole = len && LINE[len - 1] == ']' && len > strlen("lrh=[...]") + 50;
		bool ends_in_status = len >= 7 && memcmp(LINE + len - 7, "SUCCEED", 7) == 0;

		ck_assert_msg(counts == (looks_whole || ends_in_status), "cut at %zu", len);
	}
}
END_TEST

/* All lines of the snapshots were printed by Lustre 2.17. */
START_TEST(action__reads_all_lines_of_a_real_mdt)
{
	FILE *file = fopen(DR_TEST_DATA "/hsm-actions.txt", "re");
	char *line = NULL;
	size_t cap = 0;
	ssize_t len = 0;
	int n = 0;

	ck_assert_ptr_nonnull(file);
	while ((len = getline(&line, &cap, file)) > 0) {
		struct dr_span text = dr_action_strip(line, (size_t)len);
		struct dr_action action = { 0 };
		int r = dr_action_parse(text.p, text.len, &action);

		if (line[0] == '#') {
			ck_assert_int_eq(r, -ENOMSG);
			continue;
		}
		n++;
		ck_assert_int_eq(r, 0);
		ck_assert_uint_eq(action.cat, 1);
		ck_assert(dr_action_is_whole(text.p, text.len, &action));
		ck_assert_int_eq(memcmp(action.fid.p, "0x200000402:0x5", 15), 0);
		ck_assert_int_eq(memcmp(action.cookie.p, "0x6b02b2", 8), 0);
	}
	ck_assert_int_eq(n, 72);
	free(line);
	(void)fclose(file);
}
END_TEST

START_TEST(action__strips_blanks_of_every_kind)
{
	struct dr_span text = dr_action_strip(" \t\r\na b\v\f\n", 10);

	is_text(text, "a b");
	ck_assert_uint_eq(dr_action_strip(" \n ", 3).len, 0);
	/* Known answers of XXH3: it is kept in files and streams. */
	ck_assert_uint_eq(dr_action_hash("", 0), 0x2d06800538d394c2u);
}
END_TEST

DR_UNIT_MAIN("action", action__reads_every_field_of_a_real_line,
	action__takes_other_shapes_of_idx_and_fid, action__says_why_a_line_is_no_action,
	action__refuses_a_line_of_a_mebibyte, action__tells_a_cut_last_line_from_a_whole_one,
	action__reads_all_lines_of_a_real_mdt, action__strips_blanks_of_every_kind)
