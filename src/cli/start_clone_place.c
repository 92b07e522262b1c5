/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/mount_table.h"
#include "base/text.h"
#include "cli/start_clone.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* start clone: source and target. */

/* The FID of a Lustre file system's root, lustre_fid.h, as an identity ends with it. */
#define LUSTRE_ROOT " dir 0x200000007:0x1:0x0"

static void dr_printf(1, 2) warn(const char *fmt, ...)
{
	va_list args;

	(void)fputs("drover: warning: ", stderr);
	va_start(args, fmt);
	(void)vfprintf(stderr, fmt, args);
	va_end(args);
	(void)fputc('\n', stderr);
}

static int open_one(
	const char *option, const char *path, struct dr_tree **ret_tree, char *ret_identity)
{
	dr_cleanup(dr_freep) char *message = NULL;
	int r = dr_tree_open(path, ret_tree, &message);

	if (r < 0) {
		dr_cleanup(dr_freep) char *text = cli_escape(message ? message : "");
		return cli_refuse("%s: %s", option, text);
	}
	r = dr_tree_identity(*ret_tree, ret_identity);
	if (r < 0) {
		dr_cleanup(dr_freep) char *word = cli_escape(path);
		return cli_refuse("%s: cannot tell which file system '%s' is on: %s", option, word,
			cli_strerror(r));
	}
	return CLI_OK;
}

int places_open(const char *from, const char *to, struct places *places)
{
	int r = open_one("--from", from, &places->from, places->from_identity);

	return r == CLI_OK ? open_one("--to", to, &places->to, places->to_identity) : r;
}

void places_fini(struct places *places)
{
	dr_tree_free(places->from);
	dr_tree_free(places->to);
	dr_clone_record_free(places->record);
	*places = (struct places){ 0 };
}

/* ---- apart from each other ---- */

/*
 * Two mounts of one Lustre file system have different device numbers; the identity tells all the same. Only where the directory is on
 * the tree's own mount: elsewhere the tree's file system is not its own.
 */
static bool has_identity(int path_fd, const struct dr_tree *tree, const char *identity)
{
	dr_cleanup(dr_fd_closep) int fd =
		openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
	struct dr_tree there = *tree;
	char text[DR_TREE_IDENTITY_SIZE];

	there.fd = fd;
	return fd >= 0 && dr_tree_identity(&there, text) == 0 && strcmp(text, identity) == 0;
}

/*
 * Whether the open directory is `above`, or lies below it: all directories above it are looked at, as the kernel has them.
 * tree: whose directory it is, so that identities can be compared too; NULL: device and inode alone
 * @return 1 it does; 0
 */
static int lies_within(int dir_fd, const struct dr_tree *tree, const struct dr_tree *above,
	const char *above_identity)
{
	dr_cleanup(dr_fd_closep) int fd = openat(dir_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st, parent;

	if (fd < 0 || fstat(fd, &st) < 0) {
		return -errno;
	}
	for (;;) {
		if ((uint64_t)st.st_dev == above->dev && (uint64_t)st.st_ino == above->ino) {
			return 1;
		}
		if (tree && (uint64_t)st.st_dev == tree->dev &&
			has_identity(fd, tree, above_identity)) {
			return 1;
		}
		int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (up < 0) {
			return -errno;
		}
		(void)close(fd);
		fd = up;
		if (fstat(fd, &parent) < 0) {
			return -errno;
		}
		if (parent.st_dev == st.st_dev && parent.st_ino == st.st_ino) {
			return 0;
		}
		st = parent;
	}
}

/* A mount below the tree of what the other one is, holds or lies in; NULL: there is none. Lent by the table. */
static const char *mount_that_leads_to(const struct dr_mount_table *table,
	const struct dr_tree *tree, const struct dr_mount *other, const char *other_inner)
{
	for (size_t i = 0; i < table->n; i++) {
		const struct dr_mount *mount = &table->mounts[i];
		if (strcmp(mount->point, tree->path) != 0 &&
			dr_mount_covers(tree->path, mount->point) &&
			strcmp(mount->dev, other->dev) == 0 &&
			(dr_mount_covers(mount->root, other_inner) ||
				dr_mount_covers(other_inner, mount->root))) {
			return mount->point;
		}
	}
	return NULL;
}

/* What only the table of mounts tells. */
static int check_mounts(const struct places *places, const char *from, const char *to)
{
	dr_cleanup(dr_mount_table_fini) struct dr_mount_table table = { 0 };

	if (dr_mount_table_read(&table) < 0) {
		return CLI_OK;
	}
	const struct dr_mount *from_mount = dr_mount_table_of(&table, places->from->fd);
	const struct dr_mount *to_mount = dr_mount_table_of(&table, places->to->fd);
	if (!from_mount || !to_mount) {
		return CLI_OK;
	}
	dr_cleanup(dr_freep) char *from_inner = dr_mount_inner_path(from_mount, places->from->path);
	dr_cleanup(dr_freep) char *to_inner = dr_mount_inner_path(to_mount, places->to->path);
	if (!from_inner || !to_inner) {
		return CLI_OK;
	}
	if (strcmp(from_mount->dev, to_mount->dev) == 0 &&
		(dr_mount_covers(from_inner, to_inner) || dr_mount_covers(to_inner, from_inner))) {
		bool to_is_inside = dr_mount_covers(from_inner, to_inner);
		return cli_refuse("%s lies inside of %s, by a bind mount: a tree cannot be copied "
				  "into itself",
			to_is_inside ? to : from, to_is_inside ? from : to);
	}
	const char *point = mount_that_leads_to(&table, places->from, to_mount, to_inner);
	const char *loop = to;
	if (!point) {
		point = mount_that_leads_to(&table, places->to, from_mount, from_inner);
		loop = from;
	}
	if (point) {
		dr_cleanup(dr_freep) char *where = cli_escape(point);
		return cli_refuse(
			"%s is a mount that leads to %s: the two make a loop", where, loop);
	}
	return CLI_OK;
}

int places_check_apart(const struct places *places)
{
	dr_cleanup(dr_freep) char *from = cli_escape(places->from->path);
	dr_cleanup(dr_freep) char *to = cli_escape(places->to->path);

	if ((places->from->dev == places->to->dev && places->from->ino == places->to->ino) ||
		strcmp(places->from_identity, places->to_identity) == 0) {
		return cli_refuse("--from %s and --to %s are the same directory", from, to);
	}
	int r = lies_within(places->to->fd, places->to, places->from, places->from_identity);
	if (r > 0) {
		return cli_refuse(
			"--to %s lies inside of --from %s: a tree cannot be copied into itself", to,
			from);
	}
	r = r < 0 ? r
		  : lies_within(places->from->fd, places->from, places->to, places->to_identity);
	if (r > 0) {
		return cli_refuse(
			"--from %s lies inside of --to %s: a tree cannot be copied over itself",
			from, to);
	}
	if (r < 0) {
		return cli_refuse("cannot tell whether one of %s and %s holds the other: %s", from,
			to, cli_strerror(r));
	}
	return check_mounts(places, from, to);
}

int places_check_base(
	const struct places *places, const char *base_path, const struct paths *excludes)
{
	dr_cleanup(dr_freep) char *base = cli_escape(base_path);
	dr_cleanup(dr_freep) char *part = dr_xstrdup(base_path);
	dr_cleanup(dr_fd_closep) int fd = -EBADF;

	/* What is there of it. */
	while ((fd = open(part, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) {
		char *slash = strrchr(part, '/');
		if ((errno != ENOENT && errno != ENOTDIR) || !slash || !part[1]) {
			return cli_refuse("base_path: %s: %s", base, cli_strerror(-errno));
		}
		slash[slash == part] = '\0';
	}
	int r = lies_within(fd, NULL, places->to, NULL);
	if (r > 0) {
		return cli_refuse("base_path %s lies inside of --to: the campaign's own files "
				  "would be among the copies",
			base);
	}
	r = r < 0 ? r : lies_within(fd, NULL, places->from, NULL);
	if (r < 0) {
		return cli_refuse("base_path: %s: %s", base, cli_strerror(r));
	}
	if (r > 0) {
		dr_cleanup(dr_freep) char *real = realpath(part, NULL);
		const char *rest = real ? path_below_root(real, places->from->path) : NULL;
		for (size_t i = 0; rest && i < excludes->n; i++) {
			if (path_is_within(rest, excludes->v[i].bytes)) {
				return CLI_OK;
			}
		}
		return cli_refuse("base_path %s lies inside of --from: --exclude-path must leave "
				  "it out, or the campaign's own files would be copied",
			base);
	}
	return CLI_OK;
}

/* ---- what fills the target ---- */

static int is_content(void *arg, const char *name, size_t len, enum dr_type type, uint64_t ino)
{
	(void)arg;
	(void)len;
	(void)ino;
	/* A new file system has it. */
	return type != DR_TYPE_DIR || strcmp(name, "lost+found") != 0;
}

static int look_whether_empty(struct places *places, const char *to)
{
	dr_cleanup(dr_fd_closep) int fd = dr_tree_dir(places->to, "", 0);
	int r = fd < 0 ? fd : dr_tree_read(fd, is_content, NULL);

	if (r < 0) {
		return cli_refuse("--to: cannot read %s: %s", to, cli_strerror(r));
	}
	places->to_is_empty = r == 0;
	return CLI_OK;
}

/* "/a (campaign 'x')"; malloc'ed */
static char *source_words(const struct dr_clone_source *source)
{
	dr_cleanup(dr_freep) char *from = cli_escape(source->from);
	dr_cleanup(dr_freep) char *campaign = cli_escape(source->campaign);

	return dr_xasprintf("%s (campaign '%s')", from, campaign);
}

/* The latest source that is not ours; NULL: there is none. */
static const struct dr_clone_source *other_source(const struct places *places)
{
	for (size_t i = places->record ? places->record->n_sources : 0; i > 0; i--) {
		const struct dr_clone_source *source = &places->record->sources[i - 1];
		if (strcmp(source->from_identity, places->from_identity) != 0) {
			return source;
		}
	}
	return NULL;
}

/* A target that another source filled. more: what can be done about it */
static int refuse_other(const struct places *places, const char *from, const char *to,
	const struct dr_clone_source *other, const char *more)
{
	dr_cleanup(dr_freep) char *words = source_words(other);
	bool is_same_path = strcmp(other->from, places->from->path) == 0;

	return cli_refuse("--to: %s was filled from %s, %s %s%s%s", to, words,
		dr_clone_record_has(places->record, places->from_identity) ? "not only from"
									   : "not from",
		from, is_same_path ? ", where another directory or file system is now" : "", more);
}

/* Whether a delete pass may bring the target to the likeness of this source. */
static int check_delete(const struct places *places, const struct dr_spec_clone *clone,
	const char *from, const char *to)
{
	const struct dr_clone_source *other = other_source(places);
	bool copies = clone->passes & DR_PASS_COPY;

	if (places->to_is_empty && copies) {
		return CLI_OK;
	}
	if (other) {
		return refuse_other(
			places, from, to, other, ": a delete pass would remove what that one has");
	}
	if (!places->record && !copies) {
		return cli_refuse("--pass delete: no campaign known here filled %s from %s; what "
				  "no copy pass has filled is not pruned",
			to, from);
	}
	if (places->record ? !places->record->merged : !clone->merge) {
		return CLI_OK; /* or check_fill() refuses it */
	}
	if (!clone->merge) {
		return cli_refuse("--pass delete: %s holds what it had before it was first copied "
				  "into; a delete pass removes that too, and --merge says that "
				  "this is meant",
			to);
	}
	warn("the delete pass removes from %s all that %s does not have, also what never came from "
	     "there",
		to, from);
	return CLI_OK;
}

/* Whether the target may be written to, as far as what is in it says. */
static int check_fill(const struct places *places, const struct dr_spec_clone *clone,
	const char *from, const char *to)
{
	if (places->to_is_empty || clone->merge ||
		(places->record && dr_clone_record_has(places->record, places->from_identity))) {
		return CLI_OK;
	}
	if (places->record) {
		return refuse_other(places, from, to, other_source(places),
			"; --merge copies into it all the same");
	}
	return cli_refuse("--to: %s is not empty, and no campaign known here filled it from %s; "
			  "--merge copies into it all the same",
		to, from);
}

int places_check_target(struct places *places, const char *base_path,
	const struct dr_spec_clone *clone, bool dry_run)
{
	dr_cleanup(dr_freep) char *from = cli_escape(places->from->path);
	dr_cleanup(dr_freep) char *to = cli_escape(places->to->path);
	struct statvfs vfs;

	if (clone->passes & DR_PASS_VERIFY) {
		return CLI_OK;
	}
	if (fstatvfs(places->to->fd, &vfs) < 0) {
		return cli_refuse("--to: %s: %s", to, cli_strerror(-errno));
	}
	if (!dry_run && vfs.f_flag & ST_RDONLY) {
		return cli_refuse("--to: %s is mounted read-only", to);
	}
	int r = dr_clone_record_read(base_path, places->to_identity, &places->record);
	if (r < 0 && r != -ENOENT) {
		dr_cleanup(dr_freep) char *base = cli_escape(base_path);
		return cli_refuse("cannot read what filled %s, in %s/.clones: %s", to, base,
			r == -EBADMSG ? "the record is damaged" : cli_strerror(r));
	}
	r = look_whether_empty(places, to);
	if (r == CLI_OK && clone->passes & DR_PASS_DELETE) {
		r = check_delete(places, clone, from, to);
	}
	return r == CLI_OK ? check_fill(places, clone, from, to) : r;
}

/* ---- room ---- */

static bool is_one_of(const char *word, const char *const words[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(word, words[i]) == 0) {
			return true;
		}
	}
	return false;
}

/*
 * Whether what statfs says of the source is what it takes up on the target: a whole file system on a disk, in memory, or of Lustre. What a
 * file server tells may be of more than it exports, a subvolume's is that of its pool, and a target that compresses holds more.
 */
static bool is_comparable(const struct places *places)
{
	static const char *const pools[] = { "btrfs", "zfs", "bcachefs", "overlay" };
	const size_t n_pools = sizeof(pools) / sizeof(pools[0]);
	dr_cleanup(dr_mount_table_fini) struct dr_mount_table table = { 0 };

	if (dr_mount_table_read(&table) < 0) {
		return false;
	}
	const struct dr_mount *from = dr_mount_table_of(&table, places->from->fd);
	const struct dr_mount *to = dr_mount_table_of(&table, places->to->fd);
	if (!from || !to || strcmp(from->point, places->from->path) != 0 ||
		strcmp(from->root, "/") != 0 || is_one_of(from->type, pools, n_pools) ||
		is_one_of(to->type, pools, n_pools)) {
		return false;
	}
	if (places->from->kind == DR_FS_LUSTRE) {
		return strstr(places->from_identity, LUSTRE_ROOT) != NULL;
	}
	return strncmp(from->source, "/dev/", 5) == 0 || strcmp(from->type, "tmpfs") == 0;
}

static int check_fit(const char *from, const char *to, const struct statvfs *source,
	const struct statvfs *target)
{
	uint64_t used = (source->f_blocks - source->f_bfree) * source->f_frsize;
	uint64_t room = target->f_bfree * target->f_frsize;
	uint64_t inodes = source->f_files - source->f_ffree;
	char a[32], b[32];

	if (used > room) {
		return cli_refuse("--to: %s has room for %s, and %s holds %s", to,
			dr_text_bytes(a, sizeof a, room), from, dr_text_bytes(b, sizeof b, used));
	}
	/* Where inodes come as they are needed there is no number of them. */
	if (source->f_files > 0 && target->f_files > 0 && inodes > target->f_ffree) {
		return cli_refuse("--to: %s has %s free inodes, and %s holds %s", to,
			dr_text_count(a, sizeof a, target->f_ffree), from,
			dr_text_count(b, sizeof b, inodes));
	}
	return CLI_OK;
}

int places_check_room(const struct places *places, bool takes_all, uint64_t reserve_percent)
{
	dr_cleanup(dr_freep) char *from = cli_escape(places->from->path);
	dr_cleanup(dr_freep) char *to = cli_escape(places->to->path);
	struct statvfs source, target;

	if (fstatvfs(places->from->fd, &source) < 0 || fstatvfs(places->to->fd, &target) < 0) {
		return cli_refuse(
			"cannot ask for the room of %s and %s: %s", from, to, cli_strerror(-errno));
	}
	bool is_full = target.f_blocks > 0 && target.f_bfree == 0;
	bool has_no_inode = target.f_files > 0 && target.f_ffree == 0;
	/* A target that is filled already need not take all of the source once more. */
	if (places->to_is_empty && (is_full || has_no_inode)) {
		return cli_refuse("--to: %s has no free %s", to, is_full ? "space" : "inode");
	}
	if (places->to_is_empty && takes_all && is_comparable(places)) {
		int r = check_fit(from, to, &source, &target);
		if (r != CLI_OK) {
			return r;
		}
	}
	if ((unsigned __int128)target.f_bfree * 100 <
		(unsigned __int128)target.f_blocks * reserve_percent) {
		warn("%s is nearly full: less than %llu%% of it is free", to,
			(unsigned long long)reserve_percent);
	}
	if ((unsigned __int128)target.f_ffree * 100 <
		(unsigned __int128)target.f_files * reserve_percent) {
		warn("%s has few free inodes left: less than %llu%%", to,
			(unsigned long long)reserve_percent);
	}
	return CLI_OK;
}
