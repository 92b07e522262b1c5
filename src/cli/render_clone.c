/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"
#include "campaign/control.h"
#include "cli/cli.h"
#include "cli/render.h"

#include <string.h>

/* Making the hard links is the end of the copy pass. */
/* The stages of a pass beside the one of its name. */
static const struct {
	const char *stage, *pass, *shown;
} parts[] = {
	{ "links", "copy", ": hard links" },
	{ "look", "delete", ": looking" },
	{ "again", "delete", ": files that waited for it" },
};

/* @return NULL the stage is of another pass; else what is to be said beside the pass */
static const char *stage_of(const char *stage, const char *pass)
{
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strcmp(stage, parts[i].stage) == 0 && strcmp(pass, parts[i].pass) == 0) {
			return parts[i].shown;
		}
	}
	return strcmp(stage, pass) == 0 ? "" : NULL;
}

static const char *pass_at(const json_t *status, size_t i)
{
	const char *pass = json_string_value(json_array_get(json_object_get(status, "passes"), i));

	return pass ? pass : "";
}

static size_t n_passes(const json_t *status)
{
	return json_array_size(json_object_get(status, "passes"));
}

static bool has_pass(const json_t *status, const char *pass)
{
	for (size_t i = 0; i < n_passes(status); i++) {
		if (strcmp(pass_at(status, i), pass) == 0) {
			return true;
		}
	}
	return false;
}

void render_clone_head(const json_t *status, struct dr_buf *out)
{
	const char *stage = cli_text(status, "stage");
	bool over = dr_state_is_final(cli_text(status, "state"));
	bool before = *stage && !over; /* the pass at hand is still to come */

	dr_buf_printf(
		out, "Clone: %s -> %s\nPasses: ", cli_text(status, "from"), cli_text(status, "to"));
	for (size_t i = 0; i < n_passes(status); i++) {
		const char *pass = pass_at(status, i);
		const char *shown = before ? stage_of(stage, pass) : NULL;

		dr_buf_printf(out, "%s%s", i > 0 ? ", " : "", pass);
		if (shown) {
			dr_buf_printf(out, " (running%s)", shown);
			before = false;
		} else if (before) {
			dr_buf_put_str(out, " (done)");
		}
	}
	dr_buf_put_u8(out, '\n');
}

void render_clone_counts(const json_t *status, struct dr_buf *out)
{
	const json_t *progress = json_object_get(status, "progress");
	char a[32], b[32], c[32], d[32];

	if (has_pass(status, "copy")) {
		dr_buf_printf(out,
			"- Unchanged: %s (corrected %s, linked %s, filtered out %s)\n"
			"- Directories Made: ",
			dr_text_count(a, sizeof a, cli_number(progress, "unchanged")),
			dr_text_count(b, sizeof b, cli_number(progress, "corrected")),
			dr_text_count(c, sizeof c, cli_number(progress, "linked")),
			dr_text_count(d, sizeof d, cli_number(progress, "filtered")));
		dr_buf_printf(
			out, "%s\n", dr_text_count(a, sizeof a, cli_number(progress, "dirs_made")));
	}
	if (has_pass(status, "delete")) {
		dr_buf_printf(out, "- Deleted: %s\n",
			dr_text_count(a, sizeof a, cli_number(progress, "deleted")));
	}
	if (has_pass(status, "verify")) {
		dr_buf_printf(out, "- Differences: %s\n",
			dr_text_count(a, sizeof a, cli_number(progress, "differences")));
	}
}

const char *render_clone_word(const json_t *status)
{
	if (has_pass(status, "verify")) {
		return "compared";
	}
	return json_is_true(json_object_get(status, "dry_run")) ? "would be copied" : "copied";
}
