/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/chunk.h"

#define CHUNK_VERSION 1
#define FLAG_OUTCOMES 0x1u
#define FLAG_KIND 0x2u /* a kind other than MOVE follows */

#define TAG_DIR 0x1u /* the directory is another one */
#define TAG_SEQ 0x2u /* the FID's seq is another one */
#define TAG_VER 0x4u /* the FID's ver is not 0 */
#define TAG_ALL 0x7u

static uint64_t zigzag(int64_t v)
{
	return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static void put_outcome(struct dr_buf *body, const struct dr_outcome *outcome)
{
	dr_buf_put_u8(body, (uint8_t)outcome->class);
	dr_buf_put_u8(body, (uint8_t)outcome->step);
	dr_buf_put_varint(body, (uint64_t)-outcome->error);
	dr_buf_put_varint(body, outcome->n_osts);
	for (uint32_t i = 0; i < outcome->n_osts; i++) {
		dr_buf_put_varint(body, outcome->osts[i]);
	}
}

static bool has_parts(enum dr_chunk_kind kind)
{
	return kind == DR_CHUNK_PART || kind == DR_CHUNK_END;
}

static void put_time(struct dr_buf *body, const struct timespec *time)
{
	dr_buf_put_varint(body, zigzag(time->tv_sec));
	dr_buf_put_varint(body, (uint64_t)time->tv_nsec);
}

static void put_part(struct dr_buf *body, const struct dr_chunk_part *part)
{
	dr_buf_put_varint(body, part->offset);
	dr_buf_put_varint(body, part->total);
	put_time(body, &part->mtime);
	put_time(body, &part->ctime);
}

void dr_chunk_add(struct dr_chunk_builder *builder, const struct dr_chunk_file *file)
{
	struct dr_buf *body = &builder->body;
	bool same_dir =
		builder->n_files > 0 && builder->dir.len == file->dir_len &&
		(file->dir_len == 0 || memcmp(builder->dir.data, file->dir, file->dir_len) == 0);
	size_t shared = 0;
	uint8_t tag = 0;

	if (!same_dir) {
		tag |= TAG_DIR;
		dr_buf_clear(&builder->name);
	}
	if (builder->n_files == 0 || builder->fid.seq != file->fid.seq) {
		tag |= TAG_SEQ;
	}
	if (file->fid.ver) {
		tag |= TAG_VER;
	}
	dr_buf_put_u8(body, tag);
	if (!same_dir) {
		dr_buf_put_blob(body, file->dir, file->dir_len);
		dr_buf_clear(&builder->dir);
		dr_buf_put(&builder->dir, file->dir, file->dir_len);
	}
	while (shared < builder->name.len && shared < file->name_len &&
		builder->name.data[shared] == (uint8_t)file->name[shared]) {
		shared++;
	}
	dr_buf_put_varint(body, shared);
	dr_buf_put_blob(body, file->name + shared, file->name_len - shared);
	dr_buf_clear(&builder->name);
	dr_buf_put(&builder->name, file->name, file->name_len);
	if (tag & TAG_SEQ) {
		dr_buf_put_varint(body, zigzag((int64_t)(file->fid.seq - builder->fid.seq)));
	}
	dr_buf_put_varint(body, zigzag((int64_t)file->fid.oid - (int64_t)builder->fid.oid));
	if (tag & TAG_VER) {
		dr_buf_put_u32(body, file->fid.ver);
	}
	dr_buf_put_varint(body, file->size);
	if (has_parts(builder->kind)) {
		put_part(body, &file->part);
	}
	if (builder->outcomes) {
		put_outcome(body, &file->outcome);
	}
	builder->fid = file->fid;
	builder->n_files++;
	builder->bytes += file->size;
}

void dr_chunk_finish(struct dr_chunk_builder *builder, struct dr_buf *out)
{
	dr_buf_put_u8(out, CHUNK_VERSION);
	dr_buf_put_u8(out, (builder->outcomes ? FLAG_OUTCOMES : 0) |
				   (builder->kind != DR_CHUNK_MOVE ? FLAG_KIND : 0));
	if (builder->kind != DR_CHUNK_MOVE) {
		dr_buf_put_u8(out, (uint8_t)builder->kind);
	}
	dr_buf_put_varint(out, builder->n_files);
	dr_buf_put_varint(out, builder->bytes);
	dr_buf_put(out, builder->body.data, builder->body.len);
	dr_buf_clear(&builder->body);
	dr_buf_clear(&builder->dir);
	dr_buf_clear(&builder->name);
	builder->fid = (struct dr_fid){ 0 };
	builder->n_files = 0;
	builder->bytes = 0;
}

void dr_chunk_builder_fini(struct dr_chunk_builder *builder)
{
	dr_buf_fini(&builder->body);
	dr_buf_fini(&builder->dir);
	dr_buf_fini(&builder->name);
	*builder = (struct dr_chunk_builder){ 0 };
}

static void get_outcome(struct dr_cur *cur, struct dr_outcome *outcome)
{
	uint8_t class = dr_cur_u8(cur), step = dr_cur_u8(cur);
	uint64_t error = dr_cur_varint(cur), n_osts = dr_cur_varint(cur);

	if (class >= DR_N_CLASSES || step >= DR_N_STEPS || error > 4095 ||
		n_osts > DR_OUTCOME_OSTS) {
		cur->bad = true;
		return;
	}
	outcome->class = class;
	outcome->step = step;
	outcome->error = -(int)error;
	outcome->n_osts = (uint32_t)n_osts;
	for (uint32_t i = 0; i < outcome->n_osts; i++) {
		outcome->osts[i] = (uint32_t)dr_cur_varint(cur);
	}
}

/* Names grow in a buffer that moves: where they are in it is kept beside the files until the end. */
struct place {
	size_t dir, name;
};

struct decoder {
	struct dr_cur cur;
	struct dr_buf names;
	size_t dir_at, dir_len, name_at, name_len;
	struct dr_fid fid;
	enum dr_chunk_kind kind;
	bool outcomes;
};

static void decode_name(struct decoder *d)
{
	uint64_t shared = dr_cur_varint(&d->cur);
	size_t len;
	const uint8_t *rest = dr_cur_blob(&d->cur, &len);

	if (d->cur.bad || shared > d->name_len || shared + len > 4096 || shared + len == 0 ||
		memchr(rest, '\0', len) || memchr(rest, '/', len)) {
		d->cur.bad = true;
		return;
	}
	size_t at = d->names.len;

	dr_buf_reserve(&d->names, (size_t)shared + len + 1);
	memcpy(d->names.data + at, d->names.data + d->name_at, (size_t)shared);
	d->names.len += (size_t)shared;
	dr_buf_put(&d->names, rest, len);
	dr_buf_put_u8(&d->names, 0);
	d->name_at = at;
	d->name_len = (size_t)shared + len;
}

static void get_time(struct dr_cur *cur, struct timespec *time)
{
	time->tv_sec = unzigzag(dr_cur_varint(cur));
	uint64_t ns = dr_cur_varint(cur);

	if (ns >= 1000000000u) {
		cur->bad = true;
		return;
	}
	time->tv_nsec = (long)ns;
}

static void get_part(struct dr_cur *cur, struct dr_chunk_part *part)
{
	part->offset = dr_cur_varint(cur);
	part->total = dr_cur_varint(cur);
	get_time(cur, &part->mtime);
	get_time(cur, &part->ctime);
}

static void decode_file(struct decoder *d, struct dr_chunk_file *file, struct place *ret_at)
{
	uint8_t tag = dr_cur_u8(&d->cur);

	if (tag & ~TAG_ALL) {
		d->cur.bad = true;
		return;
	}
	if (tag & TAG_DIR) {
		const uint8_t *dir = dr_cur_blob(&d->cur, &d->dir_len);

		if (!dir || memchr(dir, '\0', d->dir_len)) {
			d->cur.bad = true;
			return;
		}
		d->dir_at = d->names.len;
		dr_buf_put(&d->names, dir, d->dir_len);
		dr_buf_put_u8(&d->names, 0);
		d->name_len = 0;
	}
	decode_name(d);
	if (tag & TAG_SEQ) {
		d->fid.seq += (uint64_t)unzigzag(dr_cur_varint(&d->cur));
	}
	d->fid.oid += (uint32_t)unzigzag(dr_cur_varint(&d->cur));
	d->fid.ver = tag & TAG_VER ? dr_cur_u32(&d->cur) : 0;
	file->fid = d->fid;
	file->size = dr_cur_varint(&d->cur);
	if (has_parts(d->kind)) {
		get_part(&d->cur, &file->part);
	}
	if (d->outcomes) {
		get_outcome(&d->cur, &file->outcome);
	}
	file->dir_len = d->dir_len;
	file->name_len = d->name_len;
	*ret_at = (struct place){ d->dir_at, d->name_at };
}

int dr_chunk_decode(const void *bytes, size_t len, struct dr_chunk *ret_chunk)
{
	struct decoder d = { .cur = dr_cur_of(bytes, len) };
	struct dr_chunk chunk = { 0 };
	uint8_t version = dr_cur_u8(&d.cur), flags = dr_cur_u8(&d.cur);
	uint8_t kind = flags & FLAG_KIND ? dr_cur_u8(&d.cur) : DR_CHUNK_MOVE;
	uint64_t n = dr_cur_varint(&d.cur);

	chunk.bytes = dr_cur_varint(&d.cur);
	/* A file takes five bytes at the least. */
	if (d.cur.bad || version != CHUNK_VERSION || (flags & ~(FLAG_OUTCOMES | FLAG_KIND)) ||
		kind >= DR_N_CHUNK_KINDS || ((flags & FLAG_KIND) && kind == DR_CHUNK_MOVE) ||
		n > DR_CHUNK_FILES_MAX || n * 5 > dr_cur_left(&d.cur)) {
		return -EBADMSG;
	}
	d.outcomes = chunk.outcomes = flags & FLAG_OUTCOMES;
	d.kind = chunk.kind = (enum dr_chunk_kind)kind;
	chunk.n_files = (size_t)n;
	chunk.files = dr_xcalloc(chunk.n_files ? chunk.n_files : 1, sizeof(*chunk.files));
	struct place *at dr_cleanup(dr_freep) =
		dr_xcalloc(chunk.n_files ? chunk.n_files : 1, sizeof(*at));

	dr_buf_put_u8(&d.names, 0); /* offset 0: the empty directory of a chunk that names none */
	for (size_t i = 0; i < chunk.n_files && !d.cur.bad; i++) {
		decode_file(&d, &chunk.files[i], &at[i]);
	}
	if (d.cur.bad || dr_cur_left(&d.cur) > 0) {
		free(chunk.files);
		dr_buf_fini(&d.names);
		return -EBADMSG;
	}
	chunk.names = (char *)d.names.data;
	for (size_t i = 0; i < chunk.n_files; i++) {
		chunk.files[i].dir = chunk.names + at[i].dir;
		chunk.files[i].name = chunk.names + at[i].name;
	}
	*ret_chunk = chunk;
	return 0;
}

void dr_chunk_fini(struct dr_chunk *chunk)
{
	free(chunk->files);
	free(chunk->names);
	*chunk = (struct dr_chunk){ 0 };
}
