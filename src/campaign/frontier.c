/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/frontier.h"

#define FRONTIER_VERSION 1

void dr_frontier_fini(struct dr_frontier *frontier)
{
	for (size_t i = 0; i < frontier->n; i++) {
		free(frontier->dirs[i].path);
	}
	free(frontier->dirs);
	*frontier = (struct dr_frontier){ 0 };
}

static char *copy_path(const void *path, size_t len)
{
	char *copy = dr_xcalloc(1, len + 1);

	if (len > 0) {
		memcpy(copy, path, len);
	}
	return copy;
}

void dr_frontier_push(struct dr_frontier *frontier, const void *path, size_t len, uint64_t position)
{
	if (frontier->n == frontier->cap) {
		frontier->cap = frontier->cap ? frontier->cap * 2 : 16;
		frontier->dirs =
			dr_xrealloc(frontier->dirs, frontier->cap * sizeof(*frontier->dirs));
	}
	frontier->dirs[frontier->n++] = (struct dr_frontier_dir){
		.path = copy_path(path, len),
		.len = len,
		.position = position,
	};
}

void dr_frontier_push_list(struct dr_frontier *frontier, uint64_t position, uint64_t to)
{
	dr_frontier_push(frontier, "", 0, position);
	frontier->dirs[frontier->n - 1].list_to = to;
}

void dr_frontier_pop(struct dr_frontier *frontier)
{
	free(frontier->dirs[--frontier->n].path);
}

void dr_frontier_drop(struct dr_frontier *frontier, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(frontier->dirs[i].path);
	}
	frontier->n -= n;
	memmove(frontier->dirs, frontier->dirs + n, frontier->n * sizeof(*frontier->dirs));
}

static void encode_list(const struct dr_frontier_dir *dir, struct dr_buf *out)
{
	struct dr_buf mark dr_cleanup(dr_buf_fini) = { 0 };

	dr_buf_put_u8(&mark, '\0');
	dr_buf_put_varint(&mark, dir->list_to);
	dr_buf_put_varint(out, 0);
	dr_buf_put_blob(out, mark.data, mark.len);
	dr_buf_put_varint(out, dir->position);
}

/* @return whether the bytes are a range of the list */
static bool decode_list(
	const uint8_t *mark, size_t len, uint64_t position, struct dr_frontier *frontier)
{
	struct dr_cur cur = dr_cur_of(mark, len);
	uint8_t nul = dr_cur_u8(&cur);
	uint64_t to = dr_cur_varint(&cur);

	if (cur.bad || nul != '\0' || dr_cur_left(&cur) > 0 || to == 0 || position > to) {
		return false;
	}
	dr_frontier_push_list(frontier, position, to);
	return true;
}

void dr_frontier_encode(
	const struct dr_frontier *frontier, size_t from, size_t to, struct dr_buf *out)
{
	const struct dr_frontier_dir *last = NULL;

	dr_buf_put_u8(out, FRONTIER_VERSION);
	dr_buf_put_varint(out, frontier->round);
	dr_buf_put_varint(out, to - from);
	for (size_t i = from; i < to; i++) {
		const struct dr_frontier_dir *dir = &frontier->dirs[i];
		size_t shared = 0;

		if (dir->list_to > 0) {
			encode_list(dir, out);
			last = NULL;
			continue;
		}
		while (last && shared < last->len && shared < dir->len &&
			last->path[shared] == dir->path[shared]) {
			shared++;
		}
		dr_buf_put_varint(out, shared);
		dr_buf_put_blob(out, dir->path + shared, dir->len - shared);
		dr_buf_put_varint(out, dir->position);
		last = dir;
	}
}

int dr_frontier_decode(const void *bytes, size_t len, struct dr_frontier *frontier)
{
	struct dr_cur cur = dr_cur_of(bytes, len);
	struct dr_frontier made = { 0 };
	struct dr_buf path dr_cleanup(dr_buf_fini) = { 0 };
	uint8_t version = dr_cur_u8(&cur);

	made.round = dr_cur_varint(&cur);
	uint64_t n = dr_cur_varint(&cur);

	if (cur.bad || version != FRONTIER_VERSION || n > DR_FRONTIER_DIRS_MAX ||
		n * 3 > dr_cur_left(&cur)) {
		return -EBADMSG;
	}
	for (uint64_t i = 0; i < n; i++) {
		uint64_t shared = dr_cur_varint(&cur);
		size_t rest_len;
		const uint8_t *rest = dr_cur_blob(&cur, &rest_len);
		uint64_t position = dr_cur_varint(&cur);

		if (!cur.bad && shared == 0 && decode_list(rest, rest_len, position, &made)) {
			path.len = 0;
			continue;
		}
		if (cur.bad || shared > path.len || memchr(rest, '\0', rest_len)) {
			cur.bad = true;
			break;
		}
		path.len = (size_t)shared;
		dr_buf_put(&path, rest, rest_len);
		dr_frontier_push(&made, path.data, path.len, position);
	}
	if (cur.bad || dr_cur_left(&cur) > 0) {
		dr_frontier_fini(&made);
		return -EBADMSG;
	}
	dr_frontier_fini(frontier);
	*frontier = made;
	return 0;
}
