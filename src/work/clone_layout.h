/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_WORK_CLONE_LAYOUT_H
#define DR_WORK_CLONE_LAYOUT_H

#include "fs/tree.h"

/*
 * Which layout a new file of the target gets (--layout). Elsewhere than on Lustre all of it means nothing.
 *   keep     that of the source, where that is Lustre too, else as default: its components, stripe sizes and counts, and pools that the target has; of
 *            mirrors one. A released or foreign file gets the default.
 *   default  the target directory's
 *   a file   rules by size, one a line: "SIZE OPTIONS", the first whose SIZE (64K, 1G, "-" for all) is not smaller than the file's; OPTIONS as lfs setstripe
 *            takes them: -c COUNT, -S SIZE, -p POOL. '#' begins a comment. A file that no rule fits gets the default.
 */
struct dr_clone_layouts;

/*
 * @param text NULL: keep; else the text of a file of rules
 * On an error *ret_message (malloc'ed) is "LINE: what".
 * @error EINVAL
 */
dr_nodiscard int dr_clone_layouts_new(
	const char *text, size_t len, struct dr_clone_layouts **ret_layouts, char **ret_message);
void dr_clone_layouts_free(struct dr_clone_layouts *layouts);
/* The layout for a file of that size, appended to out (nothing: the default). layouts NULL: nothing. from_fd: the source's file, open. */
dr_nodiscard int dr_clone_layout_for(
	const struct dr_clone_layouts *layouts, int from_fd, uint64_t size, struct dr_buf *out);
/*
 * The rule of `keep` alone, on the bytes of the source's layout: nothing is appended for a released or foreign one, and for one that is not understood.
 * @error ENOMEM
 */
dr_nodiscard int dr_clone_layout_keep(const void *bytes, size_t len, struct dr_buf *out);

#endif
