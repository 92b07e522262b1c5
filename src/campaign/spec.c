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
	free(spec);
}

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

json_t *dr_spec_to_json(const struct dr_spec *spec)
{
	json_t *json = json_object();

	json_object_set_new(json, "format", json_integer(SPEC_FORMAT));
	json_object_set_new(json, "name", json_string(spec->name));
	json_object_set_new(json, "kind", json_string("evacuate"));
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

int dr_spec_from_json(const json_t *json, struct dr_spec **ret_spec)
{
	dr_cleanup(dr_spec_freep) struct dr_spec *spec = dr_xcalloc(1, sizeof *spec);
	const char *kind = json_string_value(json_object_get(json, "kind"));
	const json_t *dry_run = json_object_get(json, "dry_run");
	const json_t *created = json_object_get(json, "created_ms");
	const json_t *engine = json_object_get(json, "engine");
	size_t len;

	if (json_integer_value(json_object_get(json, "format")) != SPEC_FORMAT || !kind ||
		strcmp(kind, "evacuate") != 0 || !json_is_boolean(dry_run) ||
		!json_is_integer(created) || json_integer_value(created) < 0 ||
		(engine && (!json_is_string(engine) ||
				   strcmp(json_string_value(engine), "external") != 0))) {
		return -EBADMSG;
	}
	spec->external = engine != NULL;
	spec->kind = DR_EVACUATE;
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
		dr_rangeset_parse(spec->osts_text, &spec->osts) < 0) {
		return -EBADMSG;
	}
	*ret_spec = spec;
	spec = NULL;
	return 0;
}
