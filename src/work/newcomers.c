/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "work/newcomers.h"

#include <inttypes.h>

struct dr_newcomer {
	size_t file;
	struct dr_fid fid;
	char *sources; /* that it has objects on, "0,3" */
};

/* malloc'ed; "": none, or the layout cannot be read */
static char *sources_of(const struct dr_entry *entry, const struct dr_rangeset *sources)
{
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	struct dr_rangeset met = { 0 };
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };

	if (dr_layout_decode(entry->layout, entry->layout_len, &layout) < 0) {
		return dr_xstrdup("");
	}
	for (uint32_t c = 0; c < layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &layout->comps[c];

		for (uint32_t i = 0; comp->flags & DR_COMP_INIT && i < comp->n_objects; i++) {
			uint32_t ost = comp->objects[i].ost;

			if (dr_rangeset_has(sources, ost) && !dr_rangeset_has(&met, ost)) {
				dr_rangeset_add(&met, ost);
				dr_buf_printf(&text, "%s%" PRIu32, text.len ? "," : "", ost);
			}
		}
	}
	dr_rangeset_fini(&met);
	return dr_xstrdup(dr_buf_cstr(&text));
}

bool dr_newcomers_born_since(const struct dr_stat *stat, uint64_t ms)
{
	return (int64_t)stat->btime.tv_sec * 1000 + stat->btime.tv_nsec / 1000000 > (int64_t)ms;
}

void dr_newcomers_add(struct dr_newcomers *newcomers, const struct dr_entry *entry,
	const struct dr_rangeset *sources, size_t file)
{
	if (newcomers->n == newcomers->cap) {
		newcomers->cap = newcomers->cap ? newcomers->cap * 2 : 64;
		newcomers->v = dr_xrealloc(newcomers->v, newcomers->cap * sizeof(*newcomers->v));
	}
	newcomers->v[newcomers->n++] = (struct dr_newcomer){
		.file = file,
		.fid = entry->fid,
		.sources = sources_of(entry, sources),
	};
}

void dr_newcomers_tell(
	struct dr_newcomers *newcomers, const uint8_t *known, struct dr_scan_results *results)
{
	for (size_t i = 0; i < newcomers->n; i++) {
		struct dr_newcomer *newcomer = &newcomers->v[i];

		if (!known || !known[newcomer->file]) {
			dr_scan_results_add_appeared(results, &newcomer->fid, newcomer->sources);
		}
		free(newcomer->sources);
	}
	newcomers->n = 0;
}

void dr_newcomers_fini(struct dr_newcomers *newcomers)
{
	for (size_t i = 0; i < newcomers->n; i++) {
		free(newcomers->v[i].sources);
	}
	free(newcomers->v);
	*newcomers = (struct dr_newcomers){ 0 };
}
