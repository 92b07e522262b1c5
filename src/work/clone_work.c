/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/clone_work.h"

#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"
#include "base/text.h"
#include "campaign/control.h"
#include "fs/tree_lustre.h"
#include "work/filter.h"

#include <stdio.h>

#define MOST_TEXT ((size_t)256 << 20) /* bytes of the exceptions or the layout rules */
#define LOG_SECONDS 10

static int open_tree(const char *path, const char *identity, struct dr_tree **ret_tree)
{
	char *message dr_cleanup(dr_freep) = NULL;
	char text[DR_TREE_IDENTITY_SIZE];
	struct dr_tree *tree = NULL;
	int r = dr_tree_open(path, &tree, &message);

	if (r == 0) {
		r = dr_tree_identity(tree, text);
	}
	if (r == 0 && strcmp(text, identity) != 0) {
		r = -ESTALE;
	}
	if (r < 0) {
		struct dr_buf shown dr_cleanup(dr_buf_fini) = { 0 };

		dr_text_escape(&shown, path, strlen(path));
		dr_log(DR_LOG_ERROR, "tree-refused", "path=\"%s\" why=\"%s\"", dr_buf_cstr(&shown),
			r == -ESTALE ? "it is another directory than the campaign's"
			: message    ? message
				     : strerrordesc_np(-r));
		dr_tree_free(tree);
		return r;
	}
	*ret_tree = tree;
	return 0;
}

/* A text of the campaign's folder. */
static int read_text(const struct dr_work_config *config, const char *name, struct dr_buf *text)
{
	int r = dr_read_file(config->folder_fd, name, MOST_TEXT, text);

	if (r < 0) {
		dr_log(DR_LOG_ERROR, "folder-unreadable", "file=%s error=%s", name,
			strerrorname_np(-r));
	}
	return r;
}

static int read_exceptions(const struct dr_work_config *config, struct dr_clone_work *clone)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	char *message dr_cleanup(dr_freep) = NULL;
	int r = clone->spec->clone.n_exceptions ? read_text(config, "exceptions", &text) : 0;

	if (r == 0 && clone->spec->clone.n_exceptions) {
		r = dr_clone_exceptions_new(clone->from->path, (const char *)text.data, text.len,
			&clone->filter.exceptions, &message);
	}
	if (message) {
		dr_log(DR_LOG_ERROR, "exceptions-refused", "why=\"%s\"", message);
	}
	return r;
}

static int read_layouts(const struct dr_work_config *config, struct dr_clone_work *clone)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	char *message dr_cleanup(dr_freep) = NULL;
	enum dr_clone_layout_kind kind = clone->spec->clone.layout;
	int r = 0;

	if (kind == DR_LAYOUT_DEFAULT || clone->to->kind != DR_FS_LUSTRE) {
		return 0;
	}
	if (kind == DR_LAYOUT_RULES) {
		r = read_text(config, "layout", &text);
	}
	if (r == 0) {
		r = dr_clone_layouts_new(kind == DR_LAYOUT_RULES ? dr_buf_cstr(&text) : NULL,
			text.len, &clone->layouts, &message);
	}
	if (message) {
		dr_log(DR_LOG_ERROR, "layouts-refused", "why=\"%s\"", message);
	}
	return r;
}

static int read_filter(struct dr_clone_work *clone)
{
	const struct dr_spec_clone *spec = &clone->spec->clone;
	struct dr_clone_filter *filter = &clone->filter;
	const struct {
		const char *text;
		struct dr_idset *set;
	} sets[] = { { spec->uids, &filter->uids }, { spec->gids, &filter->gids },
		{ spec->projects, &filter->projects } };
	int r = 0;

	filter->now_s = (int64_t)(clone->spec->created_ms / 1000);
	filter->oldest_s = spec->oldest_s;
	filter->newest_s = spec->newest_s;
	filter->min_size = spec->min_size;
	filter->max_size = spec->max_size;
	for (size_t i = 0; r == 0 && i < sizeof(sets) / sizeof(sets[0]); i++) {
		r = sets[i].text && sets[i].text[0] ? dr_idset_parse(sets[i].text, sets[i].set) : 0;
	}
	return r < 0 ? r : 0;
}

int dr_clone_work_new(const struct dr_work_config *config, struct dr_clone_work **ret_clone)
{
	const struct dr_spec *spec = config->spec;
	struct dr_clone_work *clone = dr_xcalloc(1, sizeof(*clone));

	clone->spec = spec;
	(void)snprintf(clone->word, sizeof(clone->word), "%.16s", spec->id);
	clone->n_stages = dr_stages_of(spec, clone->stages);
	int r = open_tree(spec->clone.from, spec->clone.from_identity, &clone->from);

	r = r < 0 ? r : open_tree(spec->clone.to, spec->clone.to_identity, &clone->to);
	r = r < 0 ? r : read_filter(clone);
	r = r < 0 ? r : read_exceptions(config, clone);
	r = r < 0 ? r : read_layouts(config, clone);
	if (r < 0) {
		dr_clone_work_free(clone);
		return r;
	}
	if (clone->to->kind == DR_FS_LUSTRE &&
		dr_tree_mdts(clone->to, &clone->mdts, &clone->n_mdts) < 0) {
		clone->n_mdts = 0;
	}
	*ret_clone = clone;
	return 0;
}

void dr_clone_work_free(struct dr_clone_work *clone)
{
	if (!clone) {
		return;
	}
	dr_clone_sync_free(clone->sync);
	dr_tree_free(clone->from);
	dr_tree_free(clone->to);
	dr_idset_fini(&clone->filter.uids);
	dr_idset_fini(&clone->filter.gids);
	dr_idset_fini(&clone->filter.projects);
	dr_clone_exceptions_free(clone->filter.exceptions);
	dr_clone_layouts_free(clone->layouts);
	free(clone->mdts);
	free(clone);
}

bool dr_clone_roots_hold(const struct dr_clone_work *clone)
{
	const struct dr_tree *const trees[] = { clone->from, clone->to };

	for (size_t i = 0; i < 2; i++) {
		if (dr_tree_is_there(trees[i]) != 1) {
			dr_log_limited(LOG_SECONDS, DR_LOG_ERROR, "tree-away",
				"which=%s next=\"takes no job until it is back\"",
				i ? "target" : "source");
			return false;
		}
	}
	return true;
}

bool dr_clone_pauses_for_room(struct dr_store *store, int error)
{
	if (error != -ENOSPC && error != -EDQUOT) {
		return false;
	}
	char *why dr_cleanup(dr_freep) = dr_xasprintf(
		"the target has no room (%s): make some, then resume", strerrordesc_np(-error));
	int r = dr_control_pause(store, why);

	dr_log_limited(10, DR_LOG_WARNING, "paused", "reason=\"%s\" result=%d", why, r);
	return r == 0 || r == -EALREADY;
}

struct dr_cloner dr_clone_cloner(const struct dr_worker *worker)
{
	const struct dr_work *work = worker->work;
	const struct dr_clone_work *clone = work->clone;
	const struct dr_spec_clone *spec = &clone->spec->clone;

	return (struct dr_cloner){
		.from = clone->from,
		.to = clone->to,
		.word = clone->word,
		.checksum = spec->checksum,
		.dry_run = work->config.dry_run,
		.no_projects = clone->no_projects,
		.released = spec->released == DR_CLONE_STUB   ? DR_RELEASED_STUB
			    : spec->released == DR_CLONE_COPY ? DR_RELEASED_COPY
							      : DR_RELEASED_SKIP,
		.layouts = clone->layouts,
		.buffer = worker->buffer,
		.buffer_bytes = worker->buffer ? work->buffer_bytes : 0,
		.stop = &work->stopping,
	};
}

bool dr_clone_leaves_out(const struct dr_clone_work *clone, const char *path, size_t len)
{
	return dr_filter_excludes(clone->spec, path, len) ||
	       (clone->filter.exceptions &&
		       dr_clone_is_excepted(clone->filter.exceptions, path, len));
}
