/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"
#include "campaign/control.h"
#include "cli/cli.h"
#include "cli/render.h"

#include <string.h>

/* Making the hard links is the end of the copy pass. */
static bool is_stage_of(const char *stage, const char *pass)
{
	return strcmp(stage, pass) == 0 ||
	       (strcmp(stage, "links") == 0 && strcmp(pass, "copy") == 0);
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
		bool is_now = before && is_stage_of(stage, pass);
		dr_buf_printf(out, "%s%s", i > 0 ? ", " : "", pass);
		if (is_now) {
			dr_buf_printf(out, " (running%s)",
				strcmp(stage, pass) == 0 ? "" : ": hard links");
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
