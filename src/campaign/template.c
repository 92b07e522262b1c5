/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/template.h"

#include <ctype.h>
#include <string.h>

enum word { WORD_NONE, WORD_UNKNOWN, WORD_FSNAME, WORD_OST, WORD_INDEX };

/* What stands at s, which may be a "{". *ret_len: its bytes, braces and all. */
static enum word word_at(const char *s, size_t *ret_len)
{
	static const struct {
		const char *text;
		enum word word;
	} words[] = {
		{ "{fsname}", WORD_FSNAME },
		{ "{ost}", WORD_OST },
		{ "{index}", WORD_INDEX },
	};
	size_t len = 1;

	if (*s != '{') {
		return WORD_NONE;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		*ret_len = strlen(words[i].text);
		if (strncmp(s, words[i].text, *ret_len) == 0) {
			return words[i].word;
		}
	}
	while (isalnum((unsigned char)s[len]) || s[len] == '_') {
		len++;
	}
	*ret_len = len + 1;
	return len > 1 && s[len] == '}' ? WORD_UNKNOWN : WORD_NONE;
}

int dr_template_check(const char *template, const char **ret_why)
{
	bool names_ost = false;
	size_t len;

	for (const char *s = template; *s; s++) {
		enum word word = word_at(s, &len);

		if (word == WORD_NONE) {
			continue;
		}
		if (word == WORD_UNKNOWN) {
			*ret_why =
				"has a word in braces that is none of {fsname}, {ost} and {index}";
			return -EINVAL;
		}
		if (s > template && s[-1] == '$') {
			*ret_why =
				"has a '$' before {fsname}, {ost} or {index}: the shell would take that for a variable";
			return -EINVAL;
		}
		names_ost = names_ost || word != WORD_FSNAME;
		s += len - 1;
	}
	if (!names_ost) {
		*ret_why =
			"has neither {ost} nor {index}: it would be the same command for every OST";
		return -EINVAL;
	}
	return 0;
}

static bool value_ok(const char *value)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	return strspn(value, good) == strlen(value);
}

int dr_template_expand(const char *template, const char *name, uint32_t index, char **ret_command)
{
	struct dr_buf command dr_cleanup(dr_buf_fini) = { 0 };
	const char *end = strstr(name, "-OST");

	/* The last one: "my-OSTs-OST0003" is of the file system "my-OSTs". */
	for (const char *next = end; next; next = strstr(next + 1, "-OST")) {
		end = next;
	}
	/* A value that begins with a dash would be an option of the command. */
	if (!end || end == name || name[0] == '-' || !value_ok(name)) {
		return -EINVAL;
	}
	for (const char *s = template; *s;) {
		size_t len = 1;

		switch (word_at(s, &len)) {
		case WORD_FSNAME:
			dr_buf_put(&command, name, (size_t)(end - name));
			break;
		case WORD_OST:
			dr_buf_put_str(&command, name);
			break;
		case WORD_INDEX:
			dr_buf_printf(&command, "%u", index);
			break;
		case WORD_NONE:
		case WORD_UNKNOWN:
			len = 1;
			dr_buf_put_u8(&command, (uint8_t)*s);
			break;
		}
		s += len;
	}
	*ret_command = dr_xstrdup(dr_buf_cstr(&command));
	return 0;
}
