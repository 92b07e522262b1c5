/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/text.h"
#include "lab/args.h"
#include "lab/commands.h"
#include "lab/content.h"
#include "lab/set.h"
#include "lab/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#define CHUNK (1u << 20)

/* ---- df ---- */

struct df_args {
	struct dr_args args;
	const char *dir;
	bool json;
};

static error_t df_parse(int key, char *arg, struct argp_state *state)
{
	struct df_args *args = state->input;

	switch (key) {
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARG:
		return dr_args_take(state, arg, &args->dir, 1);
	case ARGP_KEY_END:
		return args->dir ? 0 : dr_args_fail(state, "df: which lab?");
	default:
		return dr_args_other(key, arg, state);
	}
}

static const char *state_of(const struct dr_lab *lab, uint32_t ost)
{
	return dr_set_state_name(atomic_load(&lab->state->ost[ost].state));
}

static json_t *json_space(const struct dr_ost *ost)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "total_bytes", (json_int_t)ost->total_bytes,
		"used_bytes", (json_int_t)ost->used_bytes, "avail_bytes",
		(json_int_t)ost->avail_bytes, "objects", (json_int_t)ost->objects);
}

static int print_json(
	const struct dr_lab *lab, const struct dr_ost *osts, const struct dr_ost *total)
{
	json_t *list = json_array();
	json_t *root;
	int r;

	for (uint32_t i = 0; i < lab->n_osts; i++) {
		json_t *one = json_pack("{s:i, s:s, s:s}", "index", (int)osts[i].index, "name",
			osts[i].name, "state", state_of(lab, i));

		(void)json_object_update_new(one, json_space(&osts[i]));
		(void)json_array_append_new(list, one);
	}
	root = json_pack("{s:o, s:o}", "osts", list, "total", json_space(total));
	r = root ? json_dumpf(root, stdout, JSON_COMPACT) : -1;
	json_decref(root);
	(void)putchar('\n');
	return r == 0 ? DR_EXIT_OK : DR_EXIT_FAILED;
}

static void print_row(const char *name, const struct dr_ost *ost, const char *state)
{
	char total[32], used[32], avail[32], objects[32];
	uint64_t in_use = ost->used_bytes, of = ost->used_bytes + ost->avail_bytes;

	if (of < ost->total_bytes) {
		of = ost->total_bytes;
	}
	(void)printf("%-20s %11s %11s %11s %3.0f%% %-7s %12s\n", name,
		dr_text_bytes(total, sizeof(total), ost->total_bytes),
		dr_text_bytes(used, sizeof(used), in_use),
		dr_text_bytes(avail, sizeof(avail), ost->avail_bytes),
		of > 0 ? 100.0 * (double)in_use / (double)of : 0.0, state,
		dr_text_count(objects, sizeof(objects), ost->objects));
}

static void print_text(
	const struct dr_lab *lab, const struct dr_ost *osts, const struct dr_ost *total)
{
	(void)printf("%-20s %11s %11s %11s %4s %-7s %12s\n", "UUID", "bytes", "Used", "Available",
		"Use%", "State", "Objects");
	for (uint32_t i = 0; i < lab->n_osts; i++) {
		char name[sizeof(osts[i].name) + 8];

		(void)snprintf(name, sizeof(name), "%s_UUID", osts[i].name);
		print_row(name, &osts[i], state_of(lab, i));
	}
	(void)putchar('\n');
	print_row("filesystem_summary:", total, "");
}

int dr_cmd_df(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", 'j', NULL, 0, "One JSON object on one line", 0 },
		{ "help", 'h', NULL, 0, "Print this", -1 },
		{ 0 },
	};
	static const struct argp argp = { options, df_parse, "DIR",
		"Shows the space, the state and the objects of every OST.", NULL, NULL, NULL };
	struct df_args args = { 0 };
	dr_cleanup(dr_lab_closep) struct dr_lab *lab = NULL;
	dr_cleanup(dr_freep) struct dr_ost *osts = NULL;
	struct dr_ost total = { 0 };
	bool shared = false;
	int r = dr_args_parse(&argp, argc, argv, &args.args);

	if (r != DR_EXIT_OK) {
		return r;
	}
	r = dr_args_open_lab(args.dir, &lab);
	if (r != DR_EXIT_OK) {
		return r;
	}
	osts = dr_xcalloc(lab->n_osts, sizeof(*osts));
	dr_lab_osts(lab, osts);
	for (uint32_t i = 0; i < lab->n_osts; i++) {
		/* OSTs without a size share what the disk has left: it counts once. */
		bool own = atomic_load(&lab->state->ost[i].size_bytes) != 0;
		uint64_t avail = own || !shared ? osts[i].avail_bytes : 0;

		shared |= !own && avail > 0;
		total.avail_bytes += avail;
		total.used_bytes += osts[i].used_bytes;
		total.total_bytes += own ? osts[i].total_bytes : osts[i].used_bytes + avail;
		total.objects += osts[i].objects;
	}
	if (args.json) {
		return print_json(lab, osts, &total);
	}
	print_text(lab, osts, &total);
	return DR_EXIT_OK;
}

/* ---- export ---- */

struct export_args {
	struct dr_args args;
	const char *paths[2]; /* lab, out */
};

static error_t export_parse(int key, char *arg, struct argp_state *state)
{
	struct export_args *args = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		return dr_args_take(state, arg, args->paths, 2);
	case ARGP_KEY_END:
		if (!args->paths[1]) {
			return dr_args_fail(state, "export: two folders are needed, DIR and OUT");
		}
		return 0;
	default:
		return dr_args_other(key, arg, state);
	}
}

struct export
{
	struct dr_lab *lab;
	uint8_t *buf; /* CHUNK bytes */
};

/* @return 0; 1 the lab's side failed, *ret_err says how; or negative errno of the other side */
static int copy_extent(struct export *export, struct dr_content *content, int fd, uint64_t off,
	uint64_t end, int *ret_err)
{
	while (off < end) {
		size_t want = end - off < CHUNK ? (size_t)(end - off) : CHUNK;
		ssize_t n = dr_content_read(content, export->buf, want, off);
		int r;

		if (n <= 0) {
			*ret_err = n < 0 ? (int)n : -EIO;
			return 1;
		}
		r = dr_pwrite_full(fd, export->buf, (size_t)n, (off_t)off);
		if (r < 0) {
			return r;
		}
		off += (uint64_t)n;
	}
	return 0;
}

static int copy_content(struct export *export, struct dr_content *content, int fd, int *ret_err)
{
	uint64_t off = 0, start, end;
	int r;

	while (off < content->size) {
		r = dr_content_next_data(content, off, &start, &end);
		if (r == -ENXIO) {
			break;
		}
		if (r < 0) {
			*ret_err = r;
			return 1;
		}
		r = copy_extent(export, content, fd, start, end, ret_err);
		if (r != 0) {
			return r;
		}
		off = end;
	}
	return ftruncate(fd, (off_t)content->size) < 0 ? -errno : 0;
}

static int export_file(void *ctx, const struct dr_tree_file *file, int *ret_fd)
{
	struct export *export = ctx;
	dr_cleanup(dr_fd_closep) int fd = -EBADF;
	struct dr_content content;
	int err = 0, r;

	r = dr_content_open(export->lab, file->src_fd, &content);
	if (r < 0) {
		dr_say_path(r, "read", file->path, file->path_len);
		return 1;
	}
	fd = openat(file->dst_dir_fd, file->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : copy_content(export, &content, fd, &err);
	dr_content_close(&content);
	if (r == 0) {
		*ret_fd = dr_steal_fd(&fd);
		return 0;
	}
	if (fd >= 0) {
		(void)unlinkat(file->dst_dir_fd, file->name, 0);
	}
	if (r > 0) {
		dr_say_path(err, "read", file->path, file->path_len);
	}
	return r;
}

static bool is_empty_dir(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *e = NULL;

	if (!dir) {
		dr_fd_closep(&copy);
		return false;
	}
	/* The stream belongs to this call: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while ((e = readdir(dir)) &&
		(strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)) {
		;
	}
	(void)closedir(dir);
	return e == NULL;
}

/* Makes or opens OUT; tells. @return an exit code */
static int open_out(const struct dr_lab *lab, const char *out, int *ret_fd)
{
	bool made = mkdir(out, 0777) == 0;
	dr_cleanup(dr_fd_closep) int fd = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dr_cleanup(dr_freep) char *real_out = NULL;
	dr_cleanup(dr_freep) char *real_lab = NULL;

	if (fd < 0) {
		dr_say_path(-errno, "open", out, strlen(out));
		return DR_EXIT_USAGE;
	}
	if (!made && !is_empty_dir(fd)) {
		dr_say_path(-ENOTEMPTY, "export into", out, strlen(out));
		return DR_EXIT_USAGE;
	}
	real_out = realpath(out, NULL);
	real_lab = realpath(lab->dir, NULL);
	if (real_out && real_lab && dr_tree_overlap(real_out, real_lab)) {
		if (made) {
			(void)rmdir(out);
		}
		dr_say("the lab cannot be exported into itself");
		return DR_EXIT_USAGE;
	}
	*ret_fd = dr_steal_fd(&fd);
	return DR_EXIT_OK;
}

int dr_cmd_export(int argc, char **argv)
{
	static const struct argp_option options[] = { { "help", 'h', NULL, 0, "Print this", -1 },
		{ 0 } };
	static const struct argp argp = { options, export_parse, "DIR OUT",
		"Copies the name space into OUT, a folder that is new or empty, as plain files.",
		NULL, NULL, NULL };
	struct export_args args = { 0 };
	struct export export;
	struct dr_tree_counts counts;
	dr_cleanup(dr_lab_closep) struct dr_lab *lab = NULL;
	int out, ns, r = dr_args_parse(&argp, argc, argv, &args.args);
	char bytes[32];

	if (r != DR_EXIT_OK) {
		return r;
	}
	r = dr_args_open_lab(args.paths[0], &lab);
	if (r == DR_EXIT_OK) {
		r = open_out(lab, args.paths[1], &out);
	}
	if (r != DR_EXIT_OK) {
		return r;
	}
	ns = openat(lab->ns_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ns < 0) {
		dr_say("cannot open the name space: %m");
		(void)close(out);
		return DR_EXIT_FAILED;
	}
	export = (struct export){ .lab = lab, .buf = dr_xcalloc(1, CHUNK) };
	r = dr_tree_copy(ns, out, export_file, &export, &counts);
	free(export.buf);
	if (r == 0) {
		(void)printf("exported %ju files, %s\n", (uintmax_t)counts.files,
			dr_text_bytes(bytes, sizeof(bytes), counts.bytes));
	}
	if (counts.unreadable > 0) {
		dr_say("%ju entries could not be read and are missing",
			(uintmax_t)counts.unreadable);
	}
	return r < 0 || counts.unreadable > 0 ? DR_EXIT_FAILED : DR_EXIT_OK;
}
