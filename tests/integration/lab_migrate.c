/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"
#include "work/evacuate.h"

#include <libgen.h>
#include <stdio.h>

/*
 * lab-migrate [-o OSTS] FILE: what `lfs migrate -n` is to Lustre, for a lab. Moves the file to the OSTs given, or away from
 * those that it is on. Exits with the errno, and says it, as lfs does.
 */

static int add_osts(void *ctx, struct dr_dir *dir, const struct dr_entry *entry)
{
	struct dr_layout *layout = NULL;

	(void)dir;
	if (!entry->layout || dr_layout_decode(entry->layout, entry->layout_len, &layout) < 0) {
		return -EINVAL;
	}
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		for (uint32_t i = 0; i < layout->comps[c].n_objects; i++) {
			dr_rangeset_add(ctx, layout->comps[c].objects[i].ost);
		}
	}
	dr_layout_free(layout);
	return 0;
}

/* The OSTs that the file has to leave. */
static int sources_of(struct dr_fs *fs, const struct dr_chunk_file *file, const char *targets,
	struct dr_rangeset *sources)
{
	struct dr_dir *dir dr_cleanup(dr_dir_closep) = NULL;
	struct dr_rangeset wanted dr_cleanup(dr_rangeset_fini) = { 0 };
	struct dr_ost *osts dr_cleanup(dr_freep) = NULL;
	size_t n = 0;
	int r = fs->ops->dir_open(fs, file->dir, file->dir_len, &dir);

	if (r < 0 || !targets) {
		return r < 0 ? r : fs->ops->entry_look(dir, file->name, add_osts, sources);
	}
	r = dr_rangeset_parse(targets, &wanted);
	r = r < 0 ? r : fs->ops->osts(fs, &osts, &n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!dr_rangeset_has(&wanted, osts[i].index)) {
			dr_rangeset_add(sources, osts[i].index);
		}
	}
	return r;
}

static int migrate(const char *path, const char *targets)
{
	static _Alignas(4096) uint8_t buffer[1 << 20];
	char *above dr_cleanup(dr_freep) = dr_xstrdup(path);
	char *base dr_cleanup(dr_freep) = dr_xstrdup(path);
	char *dir dr_cleanup(dr_freep) = NULL;
	struct dr_rangeset sources dr_cleanup(dr_rangeset_fini) = { 0 }, none = { 0 };
	struct dr_outcome outcome;
	struct dr_fs *fs;
	int r = dr_fs_open(dirname(above), &fs, &dir); // NOLINT(concurrency-mt-unsafe)

	if (r < 0) {
		return r;
	}
	const char *name = basename(base);
	const struct dr_chunk_file file = {
		.dir = dir, .dir_len = strlen(dir), .name = name, .name_len = strlen(name)
	};
	r = sources_of(fs, &file, targets, &sources);
	if (r == 0) {
		struct dr_targets *to = dr_targets_new(fs, &sources, 0);
		struct dr_evacuation evacuation = {
			.fs = fs,
			.targets = to,
			.sources = &sources,
			.aside = &none,
			.buffer = buffer,
			.buffer_bytes = sizeof(buffer),
			.fsync = true,
		};
		(void)dr_evacuate_some(&evacuation, &file, 1, &outcome);
		r = outcome.error;
		dr_evacuation_fini(&evacuation);
		dr_targets_free(to);
	}
	dr_fs_close(fs);
	return r;
}

int main(int argc, char **argv)
{
	const char *targets = NULL;
	int c;

	while ((c = getopt(argc, argv, "o:")) != -1) { // NOLINT(concurrency-mt-unsafe)
		if (c != 'o') {
			return EINVAL;
		}
		targets = optarg;
	}
	if (optind != argc - 1) {
		return EINVAL;
	}
	int r = migrate(argv[optind], targets);

	if (r < 0) {
		(void)fprintf(stderr, "lab-migrate: %s: %s (%d)\n", argv[optind],
			strerrordesc_np(-r), -r);
	}
	return -r;
}
