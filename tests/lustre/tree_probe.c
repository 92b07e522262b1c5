/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tree_probe COMMAND PATH...: what a clone asks of trees, one call each; prints the answer, or the error's name with exit status 1.
 *   identity DIR | mdts DIR | released FILE | dir TREE PATH | mkdir DIR NAME MDT
 *   create DIR NAME [FROM]   a file with the layout of FROM
 *   default DIR [FROM]       the default layout of FROM, or none
 *   meta FROM TO             gives TO all that FROM has; prints the parts that differed, and those that still do
 */
#include "fs/tree_lustre.h"
#include "work/meta.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct dr_tree *tree_of(const char *path)
{
	struct dr_tree *tree = NULL;
	char *message = NULL;
	int r = dr_tree_open(path, &tree, &message);

	if (r < 0) {
		(void)fprintf(stderr, "%s\n", message);
		(void)printf("%s\n", strerrorname_np(-r));
		exit(1);
	}
	return tree;
}

static int on_tree(const char *command, const char *path, char **argv)
{
	struct dr_tree *tree dr_cleanup(dr_tree_freep) = tree_of(path);
	char text[DR_TREE_IDENTITY_SIZE];
	uint32_t *mdts dr_cleanup(dr_freep) = NULL;
	size_t n = 0;
	int r;

	if (strcmp(command, "identity") == 0) {
		r = dr_tree_identity(tree, text);
		if (r == 0) {
			(void)printf("%s kind=%d time_ns=%" PRIu32 " there=%d\n", text,
				(int)tree->kind, tree->time_ns, dr_tree_is_there(tree));
		}
		return r;
	}
	if (strcmp(command, "dir") == 0) {
		r = dr_tree_dir(tree, argv[0], strlen(argv[0]));
		return r < 0 ? r : 0;
	}
	r = dr_tree_mdts(tree, &mdts, &n);
	for (size_t i = 0; i < n; i++) {
		(void)printf("%" PRIu32 "\n", mdts[i]);
	}
	return r;
}

static int on_open(const char *command, int fd, char **argv)
{
	struct dr_buf layout dr_cleanup(dr_buf_fini) = { 0 };
	char **from = strcmp(command, "create") == 0 ? argv + 1 : argv;

	if (strcmp(command, "released") == 0) {
		(void)printf("%d\n", dr_tree_is_released(fd));
		return 0;
	}
	if (strcmp(command, "mkdir") == 0) {
		return dr_tree_mkdir(fd, argv[0], 0751, (int)strtol(argv[1], NULL, 10));
	}
	if (*from) {
		int other dr_cleanup(dr_fd_closep) = open(*from, O_RDONLY | O_CLOEXEC);
		int r = dr_tree_layout(other, &layout);

		if (r < 0) {
			return r;
		}
	}
	return strcmp(command, "create") == 0
		       ? dr_tree_create(fd, argv[0], 0640, layout.data, layout.len)
		       : dr_tree_set_default(fd, layout.data, layout.len);
}

static int on_meta(const char *from, const char *to)
{
	struct dr_meta want dr_cleanup(dr_meta_fini) = { 0 }, have dr_cleanup(dr_meta_fini) = { 0 };
	enum dr_meta_part part = 0;
	int r = dr_meta_read(AT_FDCWD, from, open(from, O_RDONLY | O_CLOEXEC), &want);
	int fd = open(to, O_RDONLY | O_CLOEXEC);

	r = r < 0 ? r : dr_meta_read(AT_FDCWD, to, fd, &have);
	unsigned before = dr_meta_compare(&want, &have, 1000000000);

	r = r < 0 ? r : dr_meta_apply(AT_FDCWD, to, fd, &want, NULL, DR_META_ALL, &part);
	r = r < 0 ? r : dr_meta_read(AT_FDCWD, to, fd, &have);
	(void)printf("differed=%u differs=%u failed=%u project=%" PRIu32 "\n", before,
		dr_meta_compare(&want, &have, 1000000000), (unsigned)part, have.project);
	return r;
}

int main(int argc, char **argv)
{
	int r;

	if (argc < 3) {
		return 2;
	}
	const char *command = argv[1], *path = argv[2];

	if (strcmp(command, "identity") == 0 || strcmp(command, "mdts") == 0 ||
		strcmp(command, "dir") == 0) {
		r = on_tree(command, path, argv + 3);
	} else if (strcmp(command, "meta") == 0) {
		r = on_meta(path, argv[3]);
	} else {
		r = open(path, O_RDONLY | O_CLOEXEC);
		r = r < 0 ? -errno : on_open(command, r, argv + 3);
	}
	if (r < 0) {
		(void)printf("%s\n", strerrorname_np(-r));
	}
	return r < 0;
}
