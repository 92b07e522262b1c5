/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/template.h"

#include <string.h>

#include "unit.h"

static void expands(const char *template, const char *name, uint32_t index, const char *expected)
{
	char *command dr_cleanup(dr_freep) = NULL;

	ck_assert_int_eq(dr_template_expand(template, name, index, &command), 0);
	ck_assert_str_eq(command, expected);
}

static void refuses_name(const char *name)
{
	char untouched[] = "untouched", *command = untouched;

	ck_assert_int_eq(dr_template_expand("x {ost} {index}", name, 3, &command), -EINVAL);
	ck_assert_ptr_eq(command, untouched);
}

static void refuses(const char *template, const char *part)
{
	const char *why = "";

	ck_assert_int_eq(dr_template_check(template, &why), -EINVAL);
	ck_assert_msg(strstr(why, part), "%s: %s", template, why);
}

static void takes(const char *template)
{
	const char *why = "";

	ck_assert_msg(dr_template_check(template, &why) == 0, "%s: %s", template, why);
}

START_TEST(template__puts_the_words_in)
{
	expands("ssh mds1 lctl set_param osp.{ost}-osc-MDT*.max_create_count=0", "lustre-OST0003",
		3, "ssh mds1 lctl set_param osp.lustre-OST0003-osc-MDT*.max_create_count=0");
	expands("ssh oss{index} lctl set_param obdfilter.{ost}.no_create=1", "fs1-OST00ff", 255,
		"ssh oss255 lctl set_param obdfilter.fs1-OST00ff.no_create=1");
	expands("{fsname}{fsname} {index}", "a_b.c-d-OST0000", 0, "a_b.c-da_b.c-d 0");
	expands("{ost}{index}", "x-OST0001", 1, "x-OST00011");
	expands("", "x-OST0001", 1, "");
}
END_TEST

START_TEST(template__does_not_look_into_what_it_put_in_or_at_other_braces)
{
	expands("a{b c}d { x; } {} {{ost}} ${#} {,} {ost", "x-OST0001", 1,
		"a{b c}d { x; } {} {x-OST0001} ${#} {,} {ost");
	expands("'\"$(`\\ \xff;{index}", "x-OST0001", 65535, "'\"$(`\\ \xff;65535");
}
END_TEST

START_TEST(template__takes_the_file_systems_name_up_to_the_last_OST)
{
	expands("{fsname}", "my-OSTs-OST0003", 3, "my-OSTs");
	expands("{fsname}", "OST-OST0003", 3, "OST");
}
END_TEST

START_TEST(template__puts_nothing_in_that_a_shell_would_read)
{
	static const char *const bad[] = { "", "lustre", "-OST0003", "OST0003", "a b-OST0003",
		"a;b-OST0003", "a$b-OST0003", "a'-OST0003", "a/b-OST0003", "a\n-OST0003",
		"a-OST0003 ", "a*-OST0003", "\xff-OST0003", "a`b`-OST0003", "-x-OST0003",
		"{ost}-OST0003" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		refuses_name(bad[i]);
	}
}
END_TEST

START_TEST(template__is_refused_with_a_word_that_is_none)
{
	refuses("x {ost} {host}", "none of");
	refuses("x {OST}", "none of");
	refuses("x {index} ${HOME}", "none of");
	refuses("x {ost} {3}", "none of");
	refuses("x ${ost}", "'$'");
	refuses("x {index} ${fsname}", "'$'");
}
END_TEST

START_TEST(template__is_refused_when_it_is_the_same_for_every_OST)
{
	refuses("lctl set_param obdfilter.*.no_create=1", "same command");
	refuses("x {fsname}", "same command");
	refuses("x { ost }", "same command");
	refuses("", "same command");
}
END_TEST

START_TEST(template__is_taken_with_one_of_the_words)
{
	takes("{ost}");
	takes("{index}");
	takes("x {fsname} {index} {ost} {ost}");
	takes("awk '{ print }' {ost} { {index}; } $x {}");
}
END_TEST

DR_UNIT_MAIN("template", template__puts_the_words_in,
	template__does_not_look_into_what_it_put_in_or_at_other_braces,
	template__takes_the_file_systems_name_up_to_the_last_OST,
	template__puts_nothing_in_that_a_shell_would_read,
	template__is_refused_with_a_word_that_is_none,
	template__is_refused_when_it_is_the_same_for_every_OST,
	template__is_taken_with_one_of_the_words)
