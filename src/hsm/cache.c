/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "hsm/known.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <xxhash.h>

/*
 * The file: MAGIC, the number of MDTs, each MDT (name, last entry's id, number of actions, the actions), and an XXH3 of all that. Numbers
 * are varints, but the hashes, which are 64 bits wide.
 */
#define MAGIC "DROVERHS"
#define VERSION 1
#define CHUNK (1 << 20) /* bytes */

/* ---- writing ---- */

struct writer {
	int fd;
	struct dr_buf buf;
	XXH3_state_t *hash;
	int error; /* the first; 0 none */
};

static void drain(struct writer *writer)
{
	if (writer->error == 0) {
		(void)XXH3_64bits_update(writer->hash, writer->buf.data, writer->buf.len);
		writer->error = dr_write_full(writer->fd, writer->buf.data, writer->buf.len);
	}
	dr_buf_clear(&writer->buf);
}

static void put_id(struct dr_buf *buf, struct dr_entry_id id)
{
	dr_buf_put_varint(buf, id.ms);
	dr_buf_put_varint(buf, id.seq);
}

static void put_action(struct writer *writer, const struct dr_known_action *action)
{
	struct dr_buf *buf = &writer->buf;
	struct dr_span cookie = dr_known_cookie(action);

	dr_buf_put_varint(buf, action->key.cat);
	dr_buf_put_varint(buf, action->key.rec);
	dr_buf_put_u64(buf, action->line_hash);
	put_id(buf, action->id);
	dr_buf_put_varint(buf, (uint64_t)action->first_s);
	dr_buf_put_u8(buf, action->was_ours);
	dr_buf_put_str(buf, action->text);
	dr_buf_put_u8(buf, '\0');
	dr_buf_put_str(buf, dr_known_name(action).p);
	dr_buf_put_u8(buf, '\0');
	dr_buf_put(buf, cookie.p, cookie.len);
	dr_buf_put_u8(buf, '\0');
	if (buf->len >= CHUNK) {
		drain(writer);
	}
}

static int write_all(struct writer *writer, const struct dr_known_mdt *mdts, size_t n)
{
	struct dr_buf *buf = &writer->buf;

	dr_buf_put_str(buf, MAGIC);
	dr_buf_put_u32(buf, VERSION);
	dr_buf_put_varint(buf, n);
	for (size_t i = 0; i < n; i++) {
		const struct dr_known *known = &mdts[i].known;

		dr_buf_put_blob(buf, mdts[i].name, strlen(mdts[i].name));
		put_id(buf, known->last);
		dr_buf_put_varint(buf, known->actions.n);
		for (uint32_t k = 0; k < known->actions.n; k++) {
			put_action(writer, dr_known_at(known, k));
		}
	}
	drain(writer);
	dr_buf_put_u64(buf, XXH3_64bits_digest(writer->hash));
	if (writer->error == 0) {
		writer->error = dr_write_full(writer->fd, buf->data, buf->len);
	}
	return writer->error;
}

static int make_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];

	if (!slash || slash == path) {
		return 0;
	}
	if ((size_t)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path) >=
		sizeof(folder)) {
		return -ENAMETOOLONG;
	}
	return dr_mkdirs(folder, 0755);
}

int dr_known_save(const char *path, const struct dr_known_mdt *mdts, size_t n)
{
	struct writer writer = { .fd = -EBADF };
	char temporary[PATH_MAX];
	int r = make_folder(path);

	if (r < 0) {
		return r;
	}
	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary)) {
		return -ENAMETOOLONG;
	}
	writer.fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (writer.fd < 0) {
		return -errno;
	}
	writer.hash = XXH3_createState();
	if (writer.hash) {
		(void)XXH3_64bits_reset(writer.hash);
		r = write_all(&writer, mdts, n);
	} else {
		r = -ENOMEM;
	}
	(void)XXH3_freeState(writer.hash);
	dr_buf_fini(&writer.buf);
	if (close(writer.fd) < 0 && r == 0) {
		r = -errno;
	}
	if (r == 0 && rename(temporary, path) < 0) {
		r = -errno;
	}
	if (r < 0) {
		(void)unlink(temporary);
	}
	return r;
}

/* ---- reading ---- */

static struct dr_entry_id read_id(struct dr_cur *cur)
{
	struct dr_entry_id id = { .ms = dr_cur_varint(cur) };

	id.seq = dr_cur_varint(cur);
	return id;
}

/* A text and its NUL. */
static struct dr_span read_text(struct dr_cur *cur)
{
	const uint8_t *nul = memchr(cur->p, 0, dr_cur_left(cur));
	struct dr_span text = { .p = (const char *)cur->p };

	if (!nul) {
		cur->bad = true;
		return (struct dr_span){ 0 };
	}
	text.len = (size_t)(nul - cur->p);
	(void)dr_cur_bytes(cur, text.len + 1);
	return text;
}

static int read_action(struct dr_cur *cur, struct dr_known *known)
{
	struct dr_known_value value = { .cat = dr_cur_varint(cur) };
	struct dr_known_action *action = NULL;

	value.rec = dr_cur_varint(cur);
	value.line_hash = dr_cur_u64(cur);
	value.id = read_id(cur);
	value.first_s = (int64_t)dr_cur_varint(cur);
	bool was_ours = dr_cur_u8(cur);

	value.fid = read_text(cur);
	value.action = read_text(cur);
	value.cookie = read_text(cur);
	if (cur->bad) {
		return -EBADMSG;
	}
	int r = dr_known_set(known, &value, &action);

	if (r == 0) {
		action->was_ours = was_ours;
	}
	return r;
}

static int read_mdt(struct dr_cur *cur, struct dr_known_mdt *mdt)
{
	size_t len = 0;
	const uint8_t *name = dr_cur_blob(cur, &len);

	dr_known_init(&mdt->known);
	mdt->name = dr_xcalloc(1, len + 1);
	if (name) {
		memcpy(mdt->name, name, len);
	}
	mdt->known.last = read_id(cur);
	uint64_t n = dr_cur_varint(cur);
	/* No action takes less than 16 bytes: a number that is wrong makes no more room than that. */
	int r = n > dr_cur_left(cur) / 16 ? -EBADMSG
					  : dr_table_reserve(&mdt->known.actions, (uint32_t)n);

	for (uint64_t i = 0; i < n && r == 0; i++) {
		r = read_action(cur, &mdt->known);
	}
	if (r < 0) {
		return r;
	}
	return cur->bad ? -EBADMSG : 0;
}

int dr_known_decode(const void *data, size_t len, struct dr_known_mdt **ret_mdts, size_t *ret_n)
{
	const uint8_t *bytes = data;
	const size_t magic_len = strlen(MAGIC);
	struct dr_known_mdt *mdts = NULL;
	size_t n = 0;
	int r = 0;

	if (len < magic_len + 4 + 8 || memcmp(bytes, MAGIC, magic_len) != 0) {
		return -EBADMSG;
	}
	struct dr_cur tail = dr_cur_of(bytes + len - 8, 8);
	struct dr_cur cur = dr_cur_of(bytes + magic_len, len - magic_len - 8);

	if (dr_cur_u32(&cur) != VERSION) {
		return -EPROTONOSUPPORT;
	}
	if (dr_cur_u64(&tail) != XXH3_64bits(bytes, len - 8)) {
		return -EBADMSG;
	}
	uint64_t count = dr_cur_varint(&cur);

	while (r == 0 && n < count) {
		mdts = dr_xrealloc(mdts, (n + 1) * sizeof(*mdts));
		r = read_mdt(&cur, &mdts[n++]);
	}
	if (r == 0 && (cur.bad || dr_cur_left(&cur))) {
		r = -EBADMSG;
	}
	if (r < 0) {
		while (n > 0) {
			n--;
			free(mdts[n].name);
			dr_known_fini(&mdts[n].known);
		}
		free(mdts);
		return r;
	}
	*ret_mdts = mdts;
	*ret_n = n;
	return 0;
}

int dr_known_load(const char *path, struct dr_known_mdt **ret_mdts, size_t *ret_n)
{
	int fd dr_cleanup(dr_fd_closep) = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		return -errno;
	}
	if (!S_ISREG(st.st_mode) || st.st_size == 0) {
		return -EBADMSG;
	}
	/* Nobody writes to it: it is replaced. */
	size_t len = (size_t)st.st_size;
	void *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);

	if (bytes == MAP_FAILED) {
		return -errno;
	}
	int r = dr_known_decode(bytes, len, ret_mdts, ret_n);

	(void)munmap(bytes, len);
	return r;
}
