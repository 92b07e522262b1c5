/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/conf.h"

#include "base/fdio.h"
#include "base/text.h"

#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <strings.h>

#define CONF_FILE_MAX (1u << 20) /* bytes */
#define SECTION "main"

static int parse_bool(const char *value, bool *ret)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(value, words[i]) == 0) {
			*ret = i % 2;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_number(const struct dr_conf_option *option, const char *value, uint64_t *ret)
{
	if (option->type == DR_CONF_U64) {
		return dr_text_parse_u64(value, option->min, option->max, ret);
	}
	uint64_t n;
	int r = option->type == DR_CONF_SIZE ? dr_text_parse_size(value, &n)
					     : dr_text_parse_seconds(value, &n);
	if (r < 0) {
		return r;
	}
	if (n < option->min || (option->max && n > option->max)) {
		return -ERANGE;
	}
	*ret = n;
	return 0;
}

/* "key: 'value' is not a size of at least 4096 bytes", and the like. */
static char *refusal(const struct dr_conf_option *option, const char *value)
{
	static const char *const kinds[] = {
		[DR_CONF_STRING] = "text",
		[DR_CONF_COMMAND] = "a command",
		[DR_CONF_U64] = "a number",
		[DR_CONF_SIZE] = "a size (such as 64K or 1.5G)",
		[DR_CONF_SECONDS] = "a time (such as 90s, 5m, 2h or 1d)",
		[DR_CONF_BOOL] = "yes or no",
	};
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	dr_buf_printf(&text, "%s: '", option->key);
	dr_text_escape(&text, value, strlen(value));
	dr_buf_printf(&text, "' is not %s", kinds[option->type]);
	const char *unit = option->type == DR_CONF_SIZE      ? " bytes"
			   : option->type == DR_CONF_SECONDS ? " seconds"
							     : "";
	if (option->type == DR_CONF_U64 || (option->type != DR_CONF_BOOL && option->max)) {
		dr_buf_printf(&text, " from %llu to %llu%s", (unsigned long long)option->min,
			(unsigned long long)option->max, unit);
	} else if (option->type != DR_CONF_BOOL && option->min) {
		dr_buf_printf(&text, " of at least %llu%s", (unsigned long long)option->min, unit);
	}
	return dr_xstrdup(dr_buf_cstr(&text));
}

static int set_option(
	const struct dr_conf_option *option, void *target, const char *value, char **ret_message)
{
	const char *why = "is refused";
	uint64_t number = 0;
	bool yes = false;
	int r = 0;
	if (option->type == DR_CONF_BOOL) {
		r = parse_bool(value, &yes);
	} else if (option->type != DR_CONF_STRING && option->type != DR_CONF_COMMAND) {
		r = parse_number(option, value, &number);
	}
	if (r < 0) {
		*ret_message = refusal(option, value);
		return -EINVAL;
	}
	if (option->check && option->check(value, &why) < 0) {
		*ret_message = dr_xasprintf("%s: the value %s", option->key, why);
		return -EINVAL;
	}
	void *field = (char *)target + option->offset;
	if (option->type == DR_CONF_STRING || option->type == DR_CONF_COMMAND) {
		char **text = field;
		free(*text);
		*text = dr_xstrdup(value);
	} else if (option->type == DR_CONF_BOOL) {
		*(bool *)field = yes;
	} else {
		*(uint64_t *)field = number;
	}
	return 0;
}

int dr_conf_set(const struct dr_conf_option *table, size_t n_options, void *target, const char *key,
	const char *value, char **ret_message)
{
	for (size_t i = 0; i < n_options; i++) {
		if (strcmp(table[i].key, key) == 0) {
			return set_option(&table[i], target, value, ret_message);
		}
	}
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	dr_buf_put_str(&text, "unknown key '");
	dr_text_escape(&text, key, strlen(key));
	dr_buf_put_str(&text, "'");
	*ret_message = dr_xstrdup(dr_buf_cstr(&text));
	return -EINVAL;
}

/*
 * What inih's callbacks share. inih goes on after an error, and its handler is not told the line;
 * so lines are counted here as they are handed over, and the reader ends the file at the first error.
 */
struct conf_read {
	const struct dr_conf_option *table;
	size_t n_options;
	void *target;
	struct dr_cur cur; /* what is left of the file */
	int line;          /* number of the line handed over last */
	int bad_line;      /* of the first error; 0: none */
	char *message;     /* its text */
};

static void conf_read_fini(struct conf_read *read)
{
	free(read->message);
}

/* Takes the text over. */
static void fail(struct conf_read *read, char *message)
{
	if (read->message) {
		free(message);
		return;
	}
	read->message = message;
	read->bad_line = read->line;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static void check_section(struct conf_read *read, const char *line, size_t len)
{
	const char *end = memchr(line, ']', len);
	size_t name_len = end ? (size_t)(end - line) - 1 : 0;
	if (!end || (name_len == strlen(SECTION) && memcmp(line + 1, SECTION, name_len) == 0)) {
		return; /* inih complains about a missing bracket */
	}
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	dr_buf_put_str(&text, "unknown section [");
	dr_text_escape(&text, line + 1, name_len);
	dr_buf_put_str(&text, "]; only [" SECTION "] is known");
	fail(read, dr_xstrdup(dr_buf_cstr(&text)));
}

/* inih would cut the line there, and half a command is another one. */
static void check_command(struct conf_read *read, const uint8_t *line, size_t len)
{
	size_t key_len = 0, at = 0;

	while (key_len < len && line[key_len] != '=' && line[key_len] != ':') {
		key_len++;
	}
	at = key_len;
	while (key_len > 0 && is_blank(line[key_len - 1])) {
		key_len--;
	}
	for (size_t i = 0; i < read->n_options; i++) {
		const struct dr_conf_option *option = &read->table[i];

		if (option->type != DR_CONF_COMMAND || strlen(option->key) != key_len ||
			memcmp(option->key, line, key_len) != 0) {
			continue;
		}
		for (; at + 1 < len; at++) {
			if (is_blank(line[at]) && line[at + 1] == ';') {
				fail(read, dr_xasprintf("%s: a ';' after a blank begins a comment",
						   option->key));
				return;
			}
		}
	}
}

/*
 * inih's reader: one whole line a call, without the blanks at both ends. inih would take an
 * indented line for more of the value before it.
 */
static char *next_line(char *line, int size, void *stream)
{
	struct conf_read *read = stream;
	size_t left = dr_cur_left(&read->cur);
	if (left == 0 || read->message || size < 3) {
		return NULL;
	}
	const uint8_t *p = read->cur.p;
	const uint8_t *newline = memchr(p, '\n', left);
	size_t len = newline ? (size_t)(newline - p) : left;
	read->cur.p += newline ? len + 1 : len;
	read->line++;
	if (read->line == 1 && len >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) {
		p += 3; /* a byte-order mark */
		len -= 3;
	}
	while (len && is_blank(p[0])) {
		p++;
		len--;
	}
	while (len && is_blank(p[len - 1])) {
		len--;
	}
	if (len && (*p == '#' || *p == ';')) {
		len = 0; /* a comment, of any length */
	}
	if (memchr(p, 0, len)) {
		fail(read, dr_xstrdup("a NUL byte"));
		return NULL;
	}
	if (len > (size_t)size - 3) {
		fail(read, dr_xasprintf("a line longer than %d bytes", size - 3));
		return NULL;
	}
	if (len && *p == '[') {
		check_section(read, (const char *)p, len);
	}
	check_command(read, p, len);
	if (read->message) {
		return NULL;
	}
	memcpy(line, p, len);
	memcpy(line + len, "\n", 2);
	return line;
}

static int handle_option(void *user, const char *section, const char *key, const char *value)
{
	struct conf_read *read = user;
	char *message = NULL;
	if (strcmp(section, SECTION) != 0) {
		fail(read, dr_xstrdup("an option before the section [" SECTION "]"));
		return 0;
	}
	if (dr_conf_set(read->table, read->n_options, read->target, key, value ? value : "",
		    &message) < 0) {
		fail(read, message);
		return 0;
	}
	return 1;
}

int dr_conf_read(const char *path, const struct dr_conf_option *table, size_t n_options,
	void *target, char **ret_message)
{
	struct dr_buf file dr_cleanup(dr_buf_fini) = { 0 };
	int r = dr_read_file(AT_FDCWD, path, CONF_FILE_MAX, &file);
	if (r < 0) {
		*ret_message = dr_xasprintf("%s: %s", path, strerrordesc_np(-r));
		return r;
	}
	struct conf_read read dr_cleanup(conf_read_fini) = {
		.table = table,
		.n_options = n_options,
		.target = target,
		.cur = dr_cur_of(file.data, file.len),
	};
	int bad_line = ini_parse_stream(next_line, &read, handle_option, &read);
	if (bad_line < 0) {
		*ret_message = dr_xasprintf("%s: %s", path, strerrordesc_np(ENOMEM));
		return -ENOMEM;
	}
	if (read.message && (bad_line == 0 || read.bad_line <= bad_line)) {
		*ret_message = dr_xasprintf("%s:%d: %s", path, read.bad_line, read.message);
		return -EINVAL;
	}
	if (bad_line > 0) {
		*ret_message = dr_xasprintf(
			"%s:%d: neither [section], key = value nor a comment", path, bad_line);
		return -EINVAL;
	}
	return 0;
}
