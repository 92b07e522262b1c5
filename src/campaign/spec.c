/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/spec.h"

#include "base/text.h"

#include <string.h>

#define SPEC_FORMAT 1
#define NAME_MAX_LEN 64

static void paths_free(struct dr_path *paths, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(paths[i].bytes);
	}
	free(paths);
}

void dr_spec_free(struct dr_spec *spec)
{
	if (!spec) {
		return;
	}
	free(spec->name);
	free(spec->id);
	free(spec->fs_root);
	free(spec->fs_identity);
	free(spec->fs_kind);
	free(spec->osts_text);
	dr_rangeset_fini(&spec->osts);
	paths_free(spec->scan_paths, spec->n_scan_paths);
	paths_free(spec->excludes, spec->n_excludes);
	paths_free(spec->exclude_names, spec->n_exclude_names);
	free(spec->clone.from);
	free(spec->clone.to);
	free(spec->clone.from_identity);
	free(spec->clone.to_identity);
	free(spec->clone.uids);
	free(spec->clone.gids);
	free(spec->clone.projects);
	free(spec);
}

const char *dr_spec_kind_name(enum dr_campaign_kind kind)
{
	return kind == DR_CLONE ? "clone" : "evacuate";
}

static const struct {
	unsigned pass;
	const char *name;
} passes[] = {
	{ DR_PASS_COPY, "copy" },
	{ DR_PASS_DELETE, "delete" },
	{ DR_PASS_DIRTIMES, "dirtimes" },
	{ DR_PASS_VERIFY, "verify" },
};
#define N_PASSES (sizeof(passes) / sizeof(passes[0]))

const char *dr_pass_name(unsigned pass)
{
	for (size_t i = 0; i < N_PASSES; i++) {
		if (passes[i].pass == pass) {
			return passes[i].name;
		}
	}
	return NULL;
}

unsigned dr_pass_of(const char *name, size_t len)
{
	for (size_t i = 0; i < N_PASSES; i++) {
		if (strlen(passes[i].name) == len && memcmp(passes[i].name, name, len) == 0) {
			return passes[i].pass;
		}
	}
	return 0;
}

static const char *const layout_names[] = {
	[DR_LAYOUT_KEEP] = "keep",
	[DR_LAYOUT_DEFAULT] = "default",
	[DR_LAYOUT_RULES] = "rules",
};
static const char *const released_names[] = {
	[DR_CLONE_SKIP] = "skip",
	[DR_CLONE_STUB] = "stub",
	[DR_CLONE_COPY] = "copy",
};

bool dr_spec_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && len <= NAME_MAX_LEN && name[0] != '.' && name[0] != '-' &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			    "0123456789._-") == len;
}

static json_t *bytes_to_json(const char *bytes, size_t len)
{
	struct dr_buf text = { 0 };

	dr_text_escape(&text, bytes, len);
	json_t *json = json_string(dr_buf_cstr(&text));
	dr_buf_fini(&text);
	return json;
}

static json_t *paths_to_json(const struct dr_path *paths, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++) {
		json_array_append_new(array, bytes_to_json(paths[i].bytes, paths[i].len));
	}
	return array;
}

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *clone_to_json(const struct dr_spec_clone *clone)
{
	json_t *list = json_array();
	json_t *bound = json_null();

	for (size_t i = 0; i < N_PASSES; i++) {
		if (clone->passes & passes[i].pass) {
			json_array_append_new(list, json_string(passes[i].name));
		}
	}
	if (clone->max_delete != UINT64_MAX) {
		bound = json_pack("{s:I}", clone->max_delete_is_percent ? "percent" : "entries",
			(json_int_t)clone->max_delete);
	}
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:s, s:s, s:o, "
		"s:b, s:b, s:b}",
		"from", bytes_to_json(clone->from, strlen(clone->from)), "to",
		bytes_to_json(clone->to, strlen(clone->to)), "from_identity",
		bytes_to_json(clone->from_identity, strlen(clone->from_identity)), "to_identity",
		bytes_to_json(clone->to_identity, strlen(clone->to_identity)), "passes", list,
		"oldest_s", (json_int_t)clone->oldest_s, "newest_s", (json_int_t)clone->newest_s,
		"min_size", (json_int_t)clone->min_size, "max_size", (json_int_t)clone->max_size,
		"uids", text_or_null(clone->uids), "gids", text_or_null(clone->gids), "projects",
		text_or_null(clone->projects), "exceptions", (json_int_t)clone->n_exceptions,
		"layout", layout_names[clone->layout], "released", released_names[clone->released],
		"max_delete", bound, "checksum", (int)clone->checksum, "merge", (int)clone->merge,
		"manifest", (int)clone->manifest);
}

json_t *dr_spec_to_json(const struct dr_spec *spec)
{
	json_t *json = json_object();

	json_object_set_new(json, "format", json_integer(SPEC_FORMAT));
	json_object_set_new(json, "name", json_string(spec->name));
	json_object_set_new(json, "kind", json_string(dr_spec_kind_name(spec->kind)));
	json_object_set_new(json, "id", json_string(spec->id));
	json_object_set_new(json, "fs_root", bytes_to_json(spec->fs_root, strlen(spec->fs_root)));
	json_object_set_new(
		json, "fs_identity", bytes_to_json(spec->fs_identity, strlen(spec->fs_identity)));
	json_object_set_new(json, "fs_kind", json_string(spec->fs_kind));
	json_object_set_new(json, "osts", json_string(spec->osts_text));
	json_object_set_new(
		json, "scan_paths", paths_to_json(spec->scan_paths, spec->n_scan_paths));
	if (spec->n_candidates > 0) {
		json_object_set_new(json, "from_list",
			json_pack("{s:I, s:I}", "candidates", (json_int_t)spec->n_candidates,
				"bytes", (json_int_t)spec->candidates_bytes));
	}
	json_object_set_new(json, "exclude_paths", paths_to_json(spec->excludes, spec->n_excludes));
	json_object_set_new(
		json, "exclude_names", paths_to_json(spec->exclude_names, spec->n_exclude_names));
	if (spec->kind == DR_CLONE) {
		json_object_set_new(json, "clone", clone_to_json(&spec->clone));
	}
	json_object_set_new(json, "dry_run", json_boolean(spec->dry_run));
	if (spec->external) {
		json_object_set_new(json, "engine", json_string("external"));
	}
	json_object_set_new(json, "created_ms", json_integer((json_int_t)spec->created_ms));
	return json;
}

/* The bytes behind an escaped text; a path holds no NUL, so neither may they. */
static int bytes_from_json(const json_t *json, char **ret_bytes, size_t *ret_len)
{
	const char *text = json_string_value(json);
	struct dr_buf bytes = { 0 };

	if (!text) {
		return -EBADMSG;
	}
	if (dr_text_unescape(&bytes, text, json_string_length(json)) < 0 ||
		(bytes.len > 0 && memchr(bytes.data, '\0', bytes.len))) {
		dr_buf_fini(&bytes);
		return -EBADMSG;
	}
	*ret_len = bytes.len;
	*ret_bytes = dr_xstrdup(dr_buf_cstr(&bytes));
	dr_buf_fini(&bytes);
	return 0;
}

bool dr_path_is_normal(const char *path)
{
	if (!*path) {
		return true;
	}
	for (const char *p = path;; p++) {
		size_t len = strcspn(p, "/");
		if (len == 0 || (len == 1 && p[0] == '.') ||
			(len == 2 && p[0] == '.' && p[1] == '.')) {
			return false;
		}
		p += len;
		if (!*p) {
			return true;
		}
	}
}

/* On failure *ret_paths and *ret_n hold what was read so far; the owner frees it. */
static int paths_from_json(const json_t *json, struct dr_path **ret_paths, size_t *ret_n)
{
	size_t n = json_array_size(json);

	if (!json_is_array(json)) {
		return -EBADMSG;
	}
	*ret_paths = dr_xcalloc(n ? n : 1, sizeof **ret_paths);
	for (size_t i = 0; i < n; i++) {
		struct dr_path *path = *ret_paths + i;
		int r = bytes_from_json(json_array_get(json, i), &path->bytes, &path->len);
		if (r < 0) {
			return r;
		}
		*ret_n = i + 1;
		if (!dr_path_is_normal(path->bytes)) {
			return -EBADMSG;
		}
	}
	return 0;
}

static int text_from_json(const json_t *json, char **ret_text)
{
	const char *text = json_string_value(json);

	if (!text || strlen(text) != json_string_length(json)) {
		return -EBADMSG;
	}
	*ret_text = dr_xstrdup(text);
	return 0;
}

/* A campaign without a list has no such key. */
static int list_from_json(const json_t *json, struct dr_spec *spec)
{
	const json_t *candidates = json_object_get(json, "candidates");
	const json_t *bytes = json_object_get(json, "bytes");

	if (!json) {
		return 0;
	}
	if (!json_is_integer(candidates) || json_integer_value(candidates) <= 0 ||
		!json_is_integer(bytes) ||
		json_integer_value(bytes) < json_integer_value(candidates)) {
		return -EBADMSG;
	}
	spec->n_candidates = (uint64_t)json_integer_value(candidates);
	spec->candidates_bytes = (uint64_t)json_integer_value(bytes);
	return 0;
}

/* Reads numbers and texts of an object one after the other; the first that is wrong spoils all, so that it is asked for once. */
struct reader {
	const json_t *json;
	bool bad;
};

static uint64_t take_number(struct reader *reader, const char *key)
{
	const json_t *value = json_object_get(reader->json, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0) {
		reader->bad = true;
		return 0;
	}
	return (uint64_t)json_integer_value(value);
}

static bool take_flag(struct reader *reader, const char *key)
{
	const json_t *value = json_object_get(reader->json, key);

	reader->bad = reader->bad || !json_is_boolean(value);
	return json_is_true(value);
}

static char *take_bytes(struct reader *reader, const char *key)
{
	char *bytes = NULL;
	size_t len;

	if (bytes_from_json(json_object_get(reader->json, key), &bytes, &len) < 0) {
		reader->bad = true;
	}
	return bytes;
}

/* null stands for none */
static char *take_ids(struct reader *reader, const char *key)
{
	const json_t *value = json_object_get(reader->json, key);
	char *text = NULL;

	if (!json_is_null(value) && (text_from_json(value, &text) < 0 || !*text)) {
		reader->bad = true;
	}
	return text;
}

static int take_word(
	struct reader *reader, const char *key, const char *const words[], size_t n_words)
{
	const char *word = json_string_value(json_object_get(reader->json, key));

	for (size_t i = 0; word && i < n_words; i++) {
		if (strcmp(word, words[i]) == 0) {
			return (int)i;
		}
	}
	reader->bad = true;
	return 0;
}

static unsigned take_passes(struct reader *reader)
{
	const json_t *list = json_object_get(reader->json, "passes");
	unsigned sum = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *name = json_array_get(list, i);
		unsigned pass = json_is_string(name) ? dr_pass_of(json_string_value(name),
							       json_string_length(name))
						     : 0;
		reader->bad = reader->bad || pass == 0;
		sum |= pass;
	}
	reader->bad = reader->bad || sum == 0 || (sum & DR_PASS_VERIFY && sum != DR_PASS_VERIFY);
	return sum;
}

static void take_bound(struct reader *reader, struct dr_spec_clone *clone)
{
	struct reader bound = { .json = json_object_get(reader->json, "max_delete") };

	clone->max_delete = UINT64_MAX;
	if (json_is_null(bound.json)) {
		return;
	}
	clone->max_delete_is_percent = json_object_get(bound.json, "percent") != NULL;
	clone->max_delete =
		take_number(&bound, clone->max_delete_is_percent ? "percent" : "entries");
	reader->bad = reader->bad || bound.bad ||
		      (clone->max_delete_is_percent && clone->max_delete > 100);
}

static int clone_from_json(const json_t *json, struct dr_spec_clone *clone)
{
	struct reader reader = { .json = json };

	clone->from = take_bytes(&reader, "from");
	clone->to = take_bytes(&reader, "to");
	clone->from_identity = take_bytes(&reader, "from_identity");
	clone->to_identity = take_bytes(&reader, "to_identity");
	clone->passes = take_passes(&reader);
	clone->oldest_s = take_number(&reader, "oldest_s");
	clone->newest_s = take_number(&reader, "newest_s");
	clone->min_size = take_number(&reader, "min_size");
	clone->max_size = take_number(&reader, "max_size");
	clone->uids = take_ids(&reader, "uids");
	clone->gids = take_ids(&reader, "gids");
	clone->projects = take_ids(&reader, "projects");
	clone->n_exceptions = take_number(&reader, "exceptions");
	clone->layout = (enum dr_clone_layout_kind)take_word(
		&reader, "layout", layout_names, sizeof(layout_names) / sizeof(layout_names[0]));
	clone->released = (enum dr_clone_released)take_word(&reader, "released", released_names,
		sizeof(released_names) / sizeof(released_names[0]));
	take_bound(&reader, clone);
	clone->checksum = take_flag(&reader, "checksum");
	clone->merge = take_flag(&reader, "merge");
	clone->manifest = take_flag(&reader, "manifest");
	return reader.bad || clone->from[0] != '/' || clone->to[0] != '/' ? -EBADMSG : 0;
}

/* What belongs to the kind: OSTs, or what a clone copies. */
static int kind_from_json(const json_t *json, struct dr_spec *spec)
{
	if (spec->kind == DR_CLONE) {
		return *spec->osts_text || spec->n_candidates > 0
			       ? -EBADMSG
			       : clone_from_json(json_object_get(json, "clone"), &spec->clone);
	}
	return dr_rangeset_parse(spec->osts_text, &spec->osts) < 0 ? -EBADMSG : 0;
}

int dr_spec_from_json(const json_t *json, struct dr_spec **ret_spec)
{
	dr_cleanup(dr_spec_freep) struct dr_spec *spec = dr_xcalloc(1, sizeof *spec);
	const char *kind = json_string_value(json_object_get(json, "kind"));
	const json_t *dry_run = json_object_get(json, "dry_run");
	const json_t *created = json_object_get(json, "created_ms");
	const json_t *engine = json_object_get(json, "engine");
	size_t len;

	if (json_integer_value(json_object_get(json, "format")) != SPEC_FORMAT || !kind ||
		(strcmp(kind, "evacuate") != 0 && strcmp(kind, "clone") != 0) ||
		!json_is_boolean(dry_run) || !json_is_integer(created) ||
		json_integer_value(created) < 0 ||
		(engine && (!json_is_string(engine) ||
				   strcmp(json_string_value(engine), "external") != 0))) {
		return -EBADMSG;
	}
	spec->external = engine != NULL;
	spec->kind = strcmp(kind, "clone") == 0 ? DR_CLONE : DR_EVACUATE;
	spec->dry_run = json_is_true(dry_run);
	spec->created_ms = (uint64_t)json_integer_value(created);
	if (text_from_json(json_object_get(json, "name"), &spec->name) < 0 ||
		text_from_json(json_object_get(json, "id"), &spec->id) < 0 ||
		text_from_json(json_object_get(json, "fs_kind"), &spec->fs_kind) < 0 ||
		text_from_json(json_object_get(json, "osts"), &spec->osts_text) < 0 ||
		bytes_from_json(json_object_get(json, "fs_root"), &spec->fs_root, &len) < 0 ||
		bytes_from_json(json_object_get(json, "fs_identity"), &spec->fs_identity, &len) <
			0) {
		return -EBADMSG;
	}
	if (paths_from_json(json_object_get(json, "scan_paths"), &spec->scan_paths,
		    &spec->n_scan_paths) < 0 ||
		list_from_json(json_object_get(json, "from_list"), spec) < 0 ||
		paths_from_json(json_object_get(json, "exclude_paths"), &spec->excludes,
			&spec->n_excludes) < 0 ||
		paths_from_json(json_object_get(json, "exclude_names"), &spec->exclude_names,
			&spec->n_exclude_names) < 0) {
		return -EBADMSG;
	}
	if (!dr_spec_name_ok(spec->name) || !*spec->id || spec->fs_root[0] != '/' ||
		(spec->n_scan_paths == 0 && spec->n_candidates == 0) ||
		kind_from_json(json, spec) < 0) {
		return -EBADMSG;
	}
	*ret_spec = spec;
	spec = NULL;
	return 0;
}
