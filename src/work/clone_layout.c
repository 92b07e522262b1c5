/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_layout.h"

#include "base/text.h"
#include "fs/tree_lustre.h"

#include <ctype.h>
#include <string.h>

#define WORDS_MAX 16

/* One line: files up to so many bytes get this layout. */
struct rule {
	uint64_t size;
	struct dr_buf layout; /* empty: the directory's default */
};

struct dr_clone_layouts {
	bool keep;
	struct rule *rules;
	size_t n;
};

/* ---- rules ---- */

static int parse_option(char option, const char *value, struct dr_layout_comp *comp)
{
	uint64_t n = 0;
	switch (option) {
	case 'c':
		if (strcmp(value, "-1") == 0) {
			comp->stripe_count = UINT16_MAX;
			return 0;
		}
		if (dr_text_parse_u64(value, 1, DR_STRIPE_MAX, &n) < 0) {
			return -EINVAL;
		}
		comp->stripe_count = (uint16_t)n;
		return 0;
	case 'S':
		if (dr_text_parse_size(value, &n) < 0 || n == 0 || n > UINT32_MAX ||
			n % DR_STRIPE_ALIGN != 0) {
			return -EINVAL;
		}
		comp->stripe_size = (uint32_t)n;
		return 0;
	case 'p':
		n = strlen(value);
		if (n == 0 || n > DR_POOL_MAX || strchr(value, '/') || *value == '.') {
			return -EINVAL;
		}
		memcpy(comp->pool, value, n + 1);
		comp->magic = DR_LOV_MAGIC_V3;
		return 0;
	default:
		return -EINVAL;
	}
}

static const char *option_needs(char option)
{
	switch (option) {
	case 'c':
		return "-c takes a number of stripes, from 1 to 2000, or -1 for all OSTs";
	case 'S':
		return "-S takes a stripe size, a multiple of 64K below 4G";
	case 'p':
		return "-p takes the name of a pool, of at most 15 bytes";
	default:
		return "only the options -c COUNT, -S SIZE and -p POOL are known";
	}
}

/* @return NULL; what is wrong */
static const char *parse_rule(char **words, size_t n, struct rule *rule)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = dr_layout_new(DR_LAYOUT_PLAIN, 1);
	struct dr_layout_comp *comp = &layout->comps[0];
	comp->pattern = DR_PATTERN_RAID0;
	comp->stripe_offset = UINT16_MAX;
	rule->size = UINT64_MAX;
	if (strcmp(words[0], "-") != 0 && dr_text_parse_size(words[0], &rule->size) < 0) {
		return "a rule begins with a size, as 64K or 1G, or with - for all";
	}
	if (n == 1) {
		return "a rule has options: -c COUNT, -S SIZE, -p POOL";
	}
	for (size_t i = 1; i < n; i++) {
		const char *word = words[i];
		char option = '\0';
		if (*word == '-') {
			option = word[1];
		}
		/* "-c4" as well as "-c 4" */
		const char *value = option && word[2] ? word + 2 : i + 1 < n ? words[++i] : "";
		if (!option || parse_option(option, value, comp) < 0) {
			return option_needs(option);
		}
	}
	dr_layout_encode(layout, &rule->layout);
	return NULL;
}

/* Cuts a line (NUL-terminated, changed) into its words, up to a '#'. @return their number; WORDS_MAX + 1: too many */
static size_t split(char *line, char **words)
{
	size_t n = 0;
	line[strcspn(line, "#")] = 0;
	for (char *p = line; *p;) {
		if (isspace((unsigned char)*p)) {
			*p++ = 0;
			continue;
		}
		if (n == WORDS_MAX) {
			return WORDS_MAX + 1;
		}
		words[n++] = p;
		while (*p && !isspace((unsigned char)*p)) {
			p++;
		}
	}
	return n;
}

static const char *parse_line(char *line, struct dr_clone_layouts *layouts)
{
	char *words[WORDS_MAX];
	size_t n = split(line, words);
	struct rule rule = { 0 };
	if (n == 0) {
		return NULL;
	}
	const char *wrong = n > WORDS_MAX ? "too many words" : parse_rule(words, n, &rule);
	if (wrong) {
		return wrong;
	}
	layouts->rules = dr_xrealloc(layouts->rules, (layouts->n + 1) * sizeof(*layouts->rules));
	layouts->rules[layouts->n++] = rule;
	return NULL;
}

/* @return 0; -EINVAL with *ret_message */
static int parse_text(
	const char *text, size_t len, struct dr_clone_layouts *layouts, char **ret_message)
{
	const char *end = text + len;
	size_t number = 0;
	for (const char *p = text; p < end;) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((newline ? newline : end) - p);
		char *line dr_cleanup(dr_freep) = dr_xrealloc(NULL, n + 1);
		memcpy(line, p, n);
		line[n] = 0;
		const char *wrong = memchr(p, 0, n) ? "a NUL byte" : parse_line(line, layouts);
		number++;
		if (wrong) {
			*ret_message = dr_xasprintf("%zu: %s", number, wrong);
			return -EINVAL;
		}
		p += newline ? n + 1 : n;
	}
	return 0;
}

int dr_clone_layouts_new(
	const char *text, size_t len, struct dr_clone_layouts **ret_layouts, char **ret_message)
{
	struct dr_clone_layouts *layouts = dr_xcalloc(1, sizeof(*layouts));
	layouts->keep = !text;
	int r = text ? parse_text(text, len, layouts, ret_message) : 0;
	if (r < 0) {
		dr_clone_layouts_free(layouts);
		return r;
	}
	*ret_layouts = layouts;
	return 0;
}

void dr_clone_layouts_free(struct dr_clone_layouts *layouts)
{
	if (layouts) {
		for (size_t i = 0; i < layouts->n; i++) {
			dr_buf_fini(&layouts->rules[i].layout);
		}
		free(layouts->rules);
		free(layouts);
	}
}

/* ---- one file ---- */

int dr_clone_layout_keep(const void *bytes, size_t len, struct dr_buf *out)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	int r = dr_layout_decode(bytes, len, &layout);
	if (r < 0) {
		return r == -ENOMEM ? r : 0; /* a later release's, which nobody here can ask for */
	}
	struct dr_layout *template dr_cleanup(dr_layout_freep) = dr_layout_template(layout, false);
	if (template) {
		dr_layout_encode(template, out);
	}
	return 0;
}

int dr_clone_layout_for(
	const struct dr_clone_layouts *layouts, int from_fd, uint64_t size, struct dr_buf *out)
{
	if (layouts && layouts->keep) {
		struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
		int r = dr_tree_layout(from_fd, &bytes);
		if (r < 0) {
			return r == -EOPNOTSUPP || r == -ENODATA ? 0 : r;
		}
		return dr_clone_layout_keep(bytes.data, bytes.len, out);
	}
	for (size_t i = 0; layouts && i < layouts->n; i++) {
		const struct rule *rule = &layouts->rules[i];
		if (rule->size >= size) {
			dr_buf_put(out, rule->layout.data, rule->layout.len);
			return 0;
		}
	}
	return 0;
}
