/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* layout_json PATH: the layout of a file as the driver reads it, by name and by descriptor, as JSON {"name": ..., "file": ...}. */
#include "fs/fs.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

static json_t *to_json(const void *bytes, size_t len)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	json_t *comps = json_array();

	if (dr_layout_decode(bytes, len, &layout) < 0) {
		return json_string("not decoded");
	}
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &layout->comps[c];
		json_t *osts = json_array();

		for (uint32_t i = 0; i < comp->n_objects; i++) {
			char fid[DR_FID_TEXT_SIZE];

			json_array_append_new(
				osts, json_pack("{s:i,s:s}", "ost", (int)comp->objects[i].ost,
					      "fid", dr_fid_format(&comp->objects[i].fid, fid)));
		}
		json_array_append_new(comps,
			json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:o}", "id", (json_int_t)comp->id,
				"flags", (json_int_t)comp->flags, "start", (json_int_t)comp->start,
				"end", (json_int_t)comp->end, "pattern", (json_int_t)comp->pattern,
				"stripe_size", (json_int_t)comp->stripe_size, "pool", comp->pool,
				"objects", osts));
	}
	return json_pack("{s:i,s:i,s:i,s:o}", "kind", (int)layout->kind, "gen", (int)layout->gen,
		"mirrors", (int)layout->mirror_count + 1, "comps", comps);
}

static int take(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	(void)dir;
	*(json_t **)ctx = entry->layout ? to_json(entry->layout, entry->layout_len) : json_null();
	return 0;
}

int main(int argc, char **argv)
{
	struct dr_fs *fs;
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = NULL;
	struct dr_file *file dr_cleanup(dr_file_closep) = NULL;
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	char *rest dr_cleanup(dr_freep) = NULL;
	json_t *by_name = NULL;

	if (argc != 2) {
		return 2;
	}
	char *copy dr_cleanup(dr_freep) = dr_xstrdup(argv[1]);
	char *second dr_cleanup(dr_freep) = dr_xstrdup(argv[1]);
	const char *name = basename(second);
	int r = dr_fs_open(dirname(copy), &fs, &rest);

	r = r < 0 ? r : fs->ops->dir_open(fs, rest, strlen(rest), &dir);
	r = r < 0 ? r : fs->ops->entry_look(dir, name, take, &by_name);
	r = r < 0 ? r : fs->ops->file_open(dir, name, NULL, DR_OPEN_LOOK, &file);
	r = r < 0 ? r : fs->ops->file_layout(file, &bytes);
	if (r < 0) {
		(void)fprintf(stderr, "%s: %s\n", argv[1], strerrorname_np(-r));
		return 1;
	}
	json_t *all =
		json_pack("{s:o,s:o}", "name", by_name, "file", to_json(bytes.data, bytes.len));
	char *text dr_cleanup(dr_freep) = json_dumps(all, JSON_COMPACT);

	(void)puts(text);
	json_decref(all);
	return 0;
}
