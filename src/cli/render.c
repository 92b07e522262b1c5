/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/render.h"

#include "base/text.h"
#include "campaign/control.h"
#include "cli/cli.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#define BAR_CELLS 30u
#define FILES_SHOWN 10u
#define ESCAPES "\033["

const char *render_percent(char *buf, size_t size, uint64_t part, uint64_t whole)
{
	if (whole == 0) {
		(void)snprintf(buf, size, "-");
		return buf;
	}
	uint64_t hundredths = (uint64_t)((unsigned __int128)part * 10000u / whole);
	(void)snprintf(buf, size, "%llu.%02llu%%", (unsigned long long)(hundredths / 100),
		(unsigned long long)(hundredths % 100));
	return buf;
}

void render_state(const char *state, struct dr_buf *out)
{
	for (const char *p = *state ? state : "unknown"; *p; p++) {
		dr_buf_put_u8(out, *p == '_' ? ' ' : (uint8_t)toupper((unsigned char)*p));
	}
}

static const char *state_color(const char *state)
{
	if (strcmp(state, DR_STATE_COMPLETED) == 0 || strcmp(state, DR_STATE_DRY_RUN) == 0) {
		return "\033[32m";
	}
	if (strcmp(state, DR_STATE_FAILED) == 0) {
		return "\033[31m";
	}
	if (strcmp(state, DR_STATE_PAUSED) == 0 || strcmp(state, DR_STATE_LEFTOVERS) == 0) {
		return "\033[33m";
	}
	return "\033[1m";
}

/* Bytes of the UTF-8 sequence at s and the cells that it takes. */
static size_t next_char(const char *s, unsigned *ret_cells)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t len = u[0] < 0x80 ? 1 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
	uint32_t code = len == 1 ? u[0] : u[0] & (0x7fu >> len);

	for (size_t i = 1; i < len; i++) {
		if ((u[i] & 0xc0) != 0x80) {
			*ret_cells = 1;
			return 1;
		}
		code = code << 6 | (u[i] & 0x3fu);
	}
	int cells = wcwidth((wchar_t)code);
	*ret_cells = cells < 0 ? 1 : (unsigned)cells;
	return len;
}

static unsigned cells_of(const char *s)
{
	unsigned sum = 0, cells;

	while (*s) {
		s += next_char(s, &cells);
		sum += cells;
	}
	return sum;
}

/* Puts the line, cut to the view's width; colour codes take no cell. */
static void put_line(struct dr_buf *out, const struct render_view *view, const char *line)
{
	unsigned left = view->columns ? view->columns : (unsigned)-1;
	bool colored = false;

	for (const char *p = line; *p;) {
		unsigned cells;
		if (strncmp(p, ESCAPES, strlen(ESCAPES)) == 0) {
			size_t len = strcspn(p, "m") + 1;
			dr_buf_put(out, p, len);
			colored = true;
			p += len;
			continue;
		}
		size_t len = next_char(p, &cells);
		if (cells > left) {
			break;
		}
		left -= cells;
		dr_buf_put(out, p, len);
		p += len;
	}
	if (colored) {
		dr_buf_put_str(out, "\033[0m");
	}
	dr_buf_put_u8(out, '\n');
}

static void dr_printf(3, 4)
	put(struct dr_buf *out, const struct render_view *view, const char *fmt, ...)
{
	char *line = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&line, fmt, args) < 0) {
		abort();
	}
	va_end(args);
	put_line(out, view, line);
	free(line);
}

static void put_bar(struct dr_buf *out, const struct render_view *view, uint64_t done, uint64_t all,
	unsigned cells)
{
	uint64_t full =
		all ? (uint64_t)((unsigned __int128)(done < all ? done : all) * cells / all) : 0;

	dr_buf_put_u8(out, '[');
	for (unsigned i = 0; i < cells; i++) {
		if (view->utf8) {
			dr_buf_put_str(out, i < full ? "\u2588" : "\u2500");
		} else {
			dr_buf_put_u8(out, i < full ? '#' : '.');
		}
	}
	dr_buf_put_u8(out, ']');
}

/* Files whose fate is known. */
static uint64_t files_done(const json_t *progress)
{
	return cli_number(progress, "succeeded") + cli_number(progress, "unneeded") +
	       cli_number(progress, "skipped") + cli_number(progress, "failed") +
	       cli_number(progress, "gone");
}

static bool scanning(const json_t *status)
{
	const json_t *scan = json_object_get(status, "scan");
	const char *state = cli_text(status, "state");

	return !dr_state_is_final(state) &&
	       (cli_number(scan, "pending") > 0 || cli_number(scan, "active") > 0);
}

static bool is_live(const json_t *status)
{
	return !json_is_false(json_object_get(status, "live")) &&
	       strcmp(cli_text(status, "state"), DR_STATE_CREATED) != 0 &&
	       strcmp(cli_text(status, "state"), DR_STATE_REOPENED) != 0;
}

static bool dry_run(const json_t *status)
{
	return json_is_true(json_object_get(status, "dry_run"));
}

static bool is_clone(const json_t *status)
{
	return strcmp(cli_text(status, "kind"), "clone") == 0;
}

/* Lines that are whole: each is cut for itself. */
static void put_lines(struct dr_buf *out, const struct render_view *view, struct dr_buf *lines)
{
	char *rest = dr_buf_cstr(lines);

	for (char *line; (line = strsep(&rest, "\n")) && rest;) {
		put_line(out, view, line);
	}
	dr_buf_clear(lines);
}

static const char *done_word(const json_t *status)
{
	if (is_clone(status)) {
		return render_clone_word(status);
	}
	return dry_run(status) ? "would move" : "moved";
}

/* One line when close_command failed for some OSTs. */
static void put_not_closed(struct dr_buf *out, const struct render_view *view, const json_t *status)
{
	const json_t *sources = json_object_get(status, "sources");
	struct dr_rangeset failed = { 0 };
	struct dr_buf text = { 0 };

	for (size_t i = 0; i < json_array_size(sources); i++) {
		const json_t *source = json_array_get(sources, i);
		const json_t *closing = json_object_get(source, "closing");
		if (strcmp(cli_text(closing, "command"), "failed") == 0) {
			dr_rangeset_add(&failed, (uint32_t)cli_number(source, "ost"));
		}
	}
	if (failed.count > 0) {
		dr_rangeset_format(&failed, &text);
		put(out, view,
			"Not closed to new objects: close_command failed for OST %s; drover report %s tells why",
			dr_buf_cstr(&text), cli_text(status, "campaign"));
	}
	dr_buf_fini(&text);
	dr_rangeset_fini(&failed);
}

static void put_head(struct dr_buf *out, const struct render_view *view, const json_t *status)
{
	const char *name = cli_text(status, "campaign");
	const char *state = cli_text(status, "state");
	const char *reason = cli_text(status, "reason");
	const char *leader = cli_text(status, "leader");
	struct dr_buf word = { 0 }, lines = { 0 };

	render_state(state, &word);
	put(out, view, "--- Campaign Status: %s ---", name);
	put(out, view, "State: %s%s%s%s | Leader: %s", view->color ? state_color(state) : "",
		dr_buf_cstr(&word), view->color ? "\033[0m" : "",
		dry_run(status) ? " (dry run)" : "", is_live(status) && *leader ? leader : "none");
	dr_buf_fini(&word);
	if (*reason) {
		put(out, view, "Reason: %s", reason);
	}
	if (is_clone(status)) {
		render_clone_head(status, &lines);
		put_lines(out, view, &lines);
	}
	dr_buf_fini(&lines);
	put_not_closed(out, view, status);
	if (dry_run(status)) {
		put(out, view,
			"Dry run: files are found and looked at; nothing is copied or moved");
	}
	if (strcmp(state, DR_STATE_REOPENED) == 0) {
		put(out, view, "No daemon is running; the next one retries: droverd --campaign %s",
			name);
	} else if (!is_live(status) && !dr_state_is_final(state)) {
		put(out, view, "No daemon is running; start one: droverd --campaign %s", name);
	}
}

static void put_workers(struct dr_buf *out, const struct render_view *view, const json_t *status)
{
	const json_t *workers = json_object_get(status, "workers");
	size_t n = is_live(status) ? json_array_size(workers) : 0;
	const char **hosts = dr_xcalloc(n + 1, sizeof *hosts);
	struct dr_buf folded = { 0 };

	for (size_t i = 0; i < n; i++) {
		hosts[i] = cli_text(json_array_get(workers, i), "host");
	}
	if (n > 0) {
		dr_text_fold_hosts(&folded, hosts, n);
		put(out, view, "Active Workers: %zu (%s)", n, dr_buf_cstr(&folded));
	} else {
		put(out, view, "Active Workers: 0");
	}
	dr_buf_fini(&folded);
	free(hosts);
}

/* "ETA: 1:08:05 at 1.21 GiB/s"; once the campaign is over, how long it took. */
static void put_eta(struct dr_buf *out, const json_t *status)
{
	const json_t *rates = json_object_get(status, "rates");
	const json_t *eta = json_object_get(status, "eta_seconds");
	char text[32];

	if (dr_state_is_final(cli_text(status, "state"))) {
		dr_buf_printf(out, "took %s",
			dr_text_duration(text, sizeof text, cli_number(status, "elapsed_seconds")));
		return;
	}
	dr_buf_printf(out, "ETA: %s",
		json_is_number(eta) && is_live(status)
			? dr_text_duration(text, sizeof text, cli_number(status, "eta_seconds"))
			: "-");
	if (is_live(status) && !dry_run(status)) {
		dr_buf_printf(out, " at %s/s",
			dr_text_bytes(text, sizeof text, cli_number(rates, "bytes_per_sec")));
	}
}

static void put_progress(struct dr_buf *out, const struct render_view *view, const json_t *status)
{
	const json_t *progress = json_object_get(status, "progress");
	uint64_t moved = cli_number(progress, "succeeded");
	uint64_t all = cli_number(progress, "discovered");
	char a[32], b[32], percent[32], bytes[32];
	struct dr_buf line = { 0 };

	put(out, view, "Progress: %s / %s files %s (%s) (%s)%s", dr_text_count(a, sizeof a, moved),
		dr_text_count(b, sizeof b, all), done_word(status),
		render_percent(percent, sizeof percent, moved, all),
		dr_text_bytes(bytes, sizeof bytes, cli_number(progress, "bytes_succeeded")),
		scanning(status) ? ", still scanning" : "");
	put_bar(&line, view, files_done(progress), all, BAR_CELLS);
	dr_buf_put_str(&line, " | ");
	put_eta(&line, status);
	put_line(out, view, dr_buf_cstr(&line));
	dr_buf_fini(&line);
}

/* "busy 3, changed 1": the parts of a count that are not zero. */
static void put_parts(struct dr_buf *out, const json_t *progress, const char *const keys[],
	const char *const words[], size_t n)
{
	char text[32];
	bool first = true;

	for (size_t i = 0; i < n; i++) {
		uint64_t count = cli_number(progress, keys[i]);
		if (count > 0) {
			dr_buf_printf(out, "%s%s %s", first ? " (" : ", ", words[i],
				dr_text_count(text, sizeof text, count));
			first = false;
		}
	}
	if (!first) {
		dr_buf_put_u8(out, ')');
	}
}

static void put_counts(struct dr_buf *out, const struct render_view *view, const json_t *status)
{
	static const char *const skipped_keys[] = { "busy", "changed" };
	static const char *const failed_keys[] = { "refused", "no_space", "failed_other" };
	static const char *const failed_words[] = { "refused", "no space", "errors" };
	const json_t *progress = json_object_get(status, "progress");
	const json_t *retries = json_object_get(status, "retries");
	struct dr_buf line = { 0 };
	char n[32];

	put(out, view, "- Succeeded: %s",
		dr_text_count(n, sizeof n, cli_number(progress, "succeeded")));
	dr_buf_printf(&line, "- Skipped: %s",
		dr_text_count(n, sizeof n, cli_number(progress, "skipped")));
	put_parts(&line, progress, skipped_keys, skipped_keys, 2);
	if (is_live(status) && cli_number(retries, "scheduled") > 0) {
		dr_buf_printf(&line, ", retried in %s",
			dr_text_duration(n, sizeof n, cli_number(retries, "next_seconds")));
	}
	put_line(out, view, dr_buf_cstr(&line));
	dr_buf_clear(&line);
	dr_buf_printf(
		&line, "- Failed: %s", dr_text_count(n, sizeof n, cli_number(progress, "failed")));
	put_parts(&line, progress, failed_keys, failed_words, 3);
	put_line(out, view, dr_buf_cstr(&line));
	dr_buf_clear(&line);
	put(out, view, "- Gone: %s", dr_text_count(n, sizeof n, cli_number(progress, "gone")));
	put(out, view, "- Unneeded: %s (%s)",
		dr_text_count(n, sizeof n, cli_number(progress, "unneeded")),
		is_clone(status) ? "nothing was to be done" : "no longer on a source");
	if (is_clone(status)) {
		render_clone_counts(status, &line);
		put_lines(out, view, &line);
	}
	dr_buf_fini(&line);
}

/* "  - PATH (on HOST:WORKER)", where the path gives way when the line is too long. */
static void put_file(struct dr_buf *out, const struct render_view *view, const char *path,
	const char *host, const char *worker)
{
	dr_cleanup(dr_freep) char *tail = dr_xasprintf(" (on %s:%s)", host, worker);
	unsigned tail_cells = cells_of(tail) + 4;
	struct dr_buf line = { 0 };
	unsigned room = view->columns > tail_cells + 8 ? view->columns - tail_cells : 0;
	unsigned cells = cells_of(path);

	dr_buf_put_str(&line, "  - ");
	if (room > 0 && cells > room) {
		/* The end of a path says more than its beginning. */
		unsigned one;
		while (cells > room - 3) {
			path += next_char(path, &one);
			cells -= one;
		}
		dr_buf_put_str(&line, "...");
	}
	dr_buf_put_str(&line, path);
	dr_buf_put_str(&line, tail);
	put_line(out, view, dr_buf_cstr(&line));
	dr_buf_fini(&line);
}

static void put_files(
	struct dr_buf *out, const struct render_view *view, const json_t *status, unsigned max)
{
	const json_t *workers = json_object_get(status, "workers");
	unsigned shown = 0, all = 0;

	for (size_t i = 0; i < json_array_size(workers); i++) {
		all += (unsigned)json_array_size(
			json_object_get(json_array_get(workers, i), "current"));
	}
	if (all > max && max > 0) {
		max--; /* for the line with the dots */
	}
	for (size_t i = 0; i < json_array_size(workers); i++) {
		const json_t *worker = json_array_get(workers, i);
		const json_t *current = json_object_get(worker, "current");
		for (size_t j = 0; j < json_array_size(current) && shown < max; j++, shown++) {
			const json_t *file = json_array_get(current, j);
			put_file(out, view, cli_text(file, "path"), cli_text(worker, "host"),
				cli_text(file, "worker"));
		}
	}
	if (shown < all && max > 0) {
		put(out, view, "    ... and %u more", all - shown);
	}
}

static unsigned count_lines(const struct dr_buf *buf)
{
	unsigned n = 0;

	for (size_t i = 0; i < buf->len; i++) {
		n += buf->data[i] == '\n';
	}
	return n;
}

static void put_activity(struct dr_buf *out, const struct render_view *view, const json_t *status)
{
	const json_t *progress = json_object_get(status, "progress");
	const json_t *scan = json_object_get(status, "scan");
	const json_t *rates = json_object_get(status, "rates");
	bool over = dr_state_is_final(cli_text(status, "state"));
	bool live = is_live(status) && !over;
	const json_t *list = json_object_get(status, "list");
	unsigned max = FILES_SHOWN;
	char a[32], b[32], c[32], d[32];

	put(out, view, "Activity:");
	put(out, view,
		is_clone(status) ? "- Copies In Progress (%s) (Copy Rate: %s files/sec)%s"
				 : "- Migrations In Progress (%s) (Migration Rate: %s files/sec)%s",
		dr_text_count(a, sizeof a, cli_number(progress, "in_progress")),
		dr_text_count(b, sizeof b, live ? cli_number(rates, "files_per_sec") : 0),
		live && cli_number(progress, "in_progress") > 0 ? ":" : "");
	if (view->rows > 0) {
		/* Four lines follow, or five with a list, and the cursor wants one. */
		unsigned used = count_lines(out) + 5 + (json_is_object(list) ? 1 : 0);
		unsigned room = view->rows > used ? view->rows - used : 0;
		max = room < max ? room : max;
	}
	if (live) {
		put_files(out, view, status, max);
	}
	put(out, view, "- Scans In Progress: %s (%s entries seen)",
		dr_text_count(a, sizeof a, over ? 0 : cli_number(scan, "active")),
		dr_text_count(b, sizeof b, cli_number(scan, "entries")));
	if (json_is_object(list)) {
		put(out, view, "- List: %s / %s candidates looked at (%s on the OSTs, %s gone)",
			dr_text_count(a, sizeof a, cli_number(list, "looked_at")),
			dr_text_count(b, sizeof b, cli_number(list, "candidates")),
			dr_text_count(c, sizeof c, cli_number(list, "on_sources")),
			dr_text_count(d, sizeof d, cli_number(list, "gone")));
	}
	put(out, view, "Queues:");
	put(out, view, "- Scan Jobs Pending: %s",
		dr_text_count(a, sizeof a, cli_number(scan, "pending")));
	put(out, view, "- Files Pending: %s",
		dr_text_count(a, sizeof a, cli_number(progress, "pending")));
}

void render_status(const json_t *status, const struct render_view *view, struct dr_buf *out)
{
	put_head(out, view, status);
	put_workers(out, view, status);
	put_progress(out, view, status);
	put_counts(out, view, status);
	put_activity(out, view, status);
}

void render_line(const json_t *status, const struct render_view *view, struct dr_buf *out)
{
	const json_t *progress = json_object_get(status, "progress");
	const json_t *rates = json_object_get(status, "rates");
	const char *state = cli_text(status, "state");
	const char *reason = cli_text(status, "reason");
	uint64_t all = cli_number(progress, "discovered");
	uint64_t done = files_done(progress);
	struct dr_buf line = { 0 }, cut = { 0 };
	char a[32], b[32], percent[32], speed[32];

	put_bar(&line, view, done, all, view->columns && view->columns < 100 ? 10 : BAR_CELLS);
	dr_buf_printf(&line, " %s %s/%s files", render_percent(percent, sizeof percent, done, all),
		dr_text_count(a, sizeof a, done), dr_text_count(b, sizeof b, all));
	if (scanning(status)) {
		dr_buf_put_str(&line, ", scanning");
	}
	if (strcmp(state, DR_STATE_RUNNING) != 0) {
		dr_buf_put_str(&line, ", ");
		render_state(state, &line);
		dr_buf_printf(&line, "%s%s", *reason ? ": " : "", reason);
	} else {
		dr_buf_printf(&line, ", %s files/s, %s/s",
			dr_text_count(a, sizeof a, cli_number(rates, "files_per_sec")),
			dr_text_bytes(speed, sizeof speed, cli_number(rates, "bytes_per_sec")));
		if (json_is_number(json_object_get(status, "eta_seconds"))) {
			dr_buf_printf(&line, ", ETA %s",
				dr_text_duration(a, sizeof a, cli_number(status, "eta_seconds")));
		}
	}
	if (dry_run(status)) {
		dr_buf_put_str(&line, " (dry run)");
	}
	put_line(&cut, view, dr_buf_cstr(&line));
	dr_buf_put(out, cut.data, cut.len - 1);
	dr_buf_fini(&line);
	dr_buf_fini(&cut);
}
