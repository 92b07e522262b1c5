/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_FS_TREE_LUSTRE_H
#define DR_FS_TREE_LUSTRE_H

#include "fs/tree.h"

/*
 * What a clone asks of Lustre beyond plain files. All of it by the client's kernel interface, as the driver does (lustre_abi.h).
 */

/* Whether the file's data is in an archive alone, from its layout; false elsewhere than on Lustre. */
bool dr_tree_is_released(int fd);
/* The layout's bytes of a file (open, no O_PATH), or the default layout that a directory has of its own, appended. @error ENODATA none; EOPNOTSUPP no Lustre */
dr_nodiscard int dr_tree_layout(int fd, struct dr_buf *out);
/*
 * Makes a file that is open for reading and writing, with the layout (bytes, as dr_tree_layout() gives them; its objects and OST indices are not asked for, its pools, those that
 * are there, and stripe counts are; of mirrors the first that is not stale), or with the directory's default when len is 0.
 * @error those of openat(O_CREAT | O_EXCL); EOPNOTSUPP no Lustre and len > 0; EINVAL the layout will not do here, or is foreign or released
 */
dr_nodiscard int dr_tree_create(
	int dir_fd, const char *name, mode_t mode, const void *layout, size_t len);
/* Gives a directory a default layout (len 0: takes it away). @error EOPNOTSUPP no Lustre */
dr_nodiscard int dr_tree_set_default(int dir_fd, const void *layout, size_t len);
/* mkdirat() on that MDT; -1: wherever. @error those of mkdirat; ENODEV no such MDT; EOPNOTSUPP no Lustre and mdt >= 0 */
dr_nodiscard int dr_tree_mkdir(int dir_fd, const char *name, mode_t mode, int mdt);
/* The number of MDTs that take new directories (up, and with room), and the index of each; the caller frees. @error EOPNOTSUPP no Lustre */
dr_nodiscard int dr_tree_mdts(const struct dr_tree *tree, uint32_t **ret_mdts, size_t *ret_n);

#endif
