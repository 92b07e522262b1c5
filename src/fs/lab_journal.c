/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/log.h"
#include "fs/lab_priv.h"
#include "fs/local.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

/*
 * A journal is a sparse file of slots, mapped by the process that owns it and held by an OFD lock. What a process stored
 * in the mapping stays when it is killed: a slot that is not free then names objects that may be garbage.
 *
 * The order that makes it safe: object numbers are taken, the slot names them, its state is stored, and only then are
 * they created; the slot is free again when they are gone or when a layout holds them for certain.
 * Whoever gets the lock of a journal knows that its owner is dead.
 */
#define JOURNAL_MAGIC 0x4c4e524a42414c44ull
#define JOURNAL_HEAD ((size_t)4096)
#define JOURNAL_SLOTS                                                                              \
	8192u /* volatiles at once: 128 movers with full groups; the mapping is a gigabyte of addresses */
#define SLOT_STRIDE ((sizeof(struct dr_lab_slot) + 4095) / 4096 * 4096)
#define JOURNAL_BYTES (JOURNAL_HEAD + (off_t)JOURNAL_SLOTS * (off_t)SLOT_STRIDE)
#define NAME_SIZE 160

struct head {
	uint64_t magic;
	uint64_t stride;
	_Atomic uint32_t used; /* slots below this one were in use at some time */
};

struct dr_lab_journal {
	pthread_mutex_t lock; /* over everything here; a slot belongs to who took it */
	int fd;               /* negative: no volatile was made yet */
	uint8_t *map;
	uint32_t *free; /* slots, last given first taken: few pages are touched */
	uint32_t n_free;
	char name[NAME_SIZE];
};

struct dr_lab_journal *dr_lab_journal_new(struct dr_lab *lab)
{
	(void)lab;
	struct dr_lab_journal *journal = dr_xcalloc(1, sizeof(*journal));
	(void)pthread_mutex_init(&journal->lock, NULL);
	journal->fd = -EBADF;
	return journal;
}

static struct head *head_of(const struct dr_lab_journal *journal)
{
	return (struct head *)journal->map;
}

static struct dr_lab_slot *slot_at(uint8_t *map, uint32_t i)
{
	return (struct dr_lab_slot *)(map + JOURNAL_HEAD + (size_t)i * SLOT_STRIDE);
}

static bool any_in_use(uint8_t *map, uint32_t used)
{
	for (uint32_t i = 0; i < used; i++) {
		if (atomic_load(&slot_at(map, i)->state) != DR_LAB_SLOT_FREE) {
			return true;
		}
	}
	return false;
}

void dr_lab_journal_free(struct dr_lab_journal *journal)
{
	if (!journal) {
		return;
	}
	if (journal->map) {
		(void)munmap(journal->map, (size_t)JOURNAL_BYTES);
	}
	dr_fd_closep(&journal->fd);
	(void)pthread_mutex_destroy(&journal->lock);
	free(journal->free);
	free(journal);
}

static int lock_whole(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* Storing into a hole of a mapping on a full disk is a SIGBUS: the room is taken before. */
static int allocate(int fd, off_t off, off_t len)
{
	int r;
	do {
		r = posix_fallocate(fd, off, len);
	} while (r == EINTR);
	return -r;
}

static int make_name(char *name)
{
	char host[64] = "host";
	(void)gethostname(host, sizeof(host) - 1);
	for (char *p = host; *p; p++) {
		if (*p == '/') {
			*p = '_';
		}
	}
	uint64_t word;
	if (getrandom(&word, sizeof(word), 0) != (ssize_t)sizeof(word)) {
		return -EIO;
	}
	(void)snprintf(name, NAME_SIZE, "%s-%ld-%016" PRIx64, host, (long)getpid(), word);
	return 0;
}

/* A new journal file that is ours: a recoverer may lock and unlink it before we have the lock. */
static int create_locked(struct dr_lab *lab, char *name)
{
	for (int tries = 0; tries < 100; tries++) {
		int r = make_name(name);
		if (r < 0) {
			return r;
		}
		int fd dr_cleanup(dr_fd_closep) =
			openat(lab->journal_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0) {
			if (errno == EEXIST) {
				continue;
			}
			return -errno;
		}
		struct stat st;
		if (lock_whole(fd) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0) {
			return dr_steal_fd(&fd);
		}
	}
	return -EAGAIN;
}

static int journal_start(struct dr_lab *lab)
{
	struct dr_lab_journal *journal = lab->journal;
	int fd dr_cleanup(dr_fd_closep) = create_locked(lab, journal->name);
	if (fd < 0) {
		return fd;
	}
	int r = allocate(fd, 0, JOURNAL_HEAD);
	if (r == 0 && ftruncate(fd, JOURNAL_BYTES) < 0) {
		r = -errno;
	}
	void *map = MAP_FAILED;
	if (r == 0) {
		map = mmap(NULL, (size_t)JOURNAL_BYTES, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_NORESERVE, fd, 0);
		r = map == MAP_FAILED ? -errno : 0;
	}
	if (r < 0) {
		(void)unlinkat(lab->journal_fd, journal->name, 0);
		return r;
	}
	journal->map = map;
	*head_of(journal) = (struct head){ .magic = JOURNAL_MAGIC, .stride = SLOT_STRIDE };
	journal->free = dr_xcalloc(JOURNAL_SLOTS, sizeof(*journal->free));
	journal->fd = dr_steal_fd(&fd);
	return 0;
}

void dr_lab_journal_end(struct dr_lab *lab)
{
	struct dr_lab_journal *journal = lab->journal;
	if (!journal || !journal->map) {
		return;
	}
	/* With something left in hand (a volatile never closed) the next recovery sees to it. */
	if (!any_in_use(journal->map, atomic_load(&head_of(journal)->used))) {
		(void)unlinkat(lab->journal_fd, journal->name, 0);
	}
}

static off_t slot_offset(const struct dr_lab_journal *journal, const struct dr_lab_slot *slot)
{
	return (off_t)((const uint8_t *)slot - journal->map);
}

int dr_lab_slot_grow(struct dr_lab *lab, struct dr_lab_slot *slot, uint32_t n)
{
	if (n > DR_LAB_SLOT_OBJECTS) {
		return -E2BIG;
	}
	size_t bytes = offsetof(struct dr_lab_slot, objects) + n * sizeof(*slot->objects);
	if (bytes <= 4096) {
		return 0; /* the first page is there since the slot was first taken */
	}
	return allocate(lab->journal->fd, slot_offset(lab->journal, slot), (off_t)bytes);
}

static int slot_index(struct dr_lab *lab, uint32_t *ret_index)
{
	struct dr_lab_journal *journal = lab->journal;
	if (journal->fd < 0) {
		int r = journal_start(lab);
		if (r < 0) {
			return r;
		}
	}
	if (journal->n_free) {
		*ret_index = journal->free[--journal->n_free];
		return 0;
	}
	uint32_t next = atomic_load(&head_of(journal)->used);
	if (next == JOURNAL_SLOTS) {
		return -EMFILE;
	}
	int r = allocate(journal->fd, JOURNAL_HEAD + (off_t)next * (off_t)SLOT_STRIDE, 4096);
	if (r < 0) {
		return r;
	}
	atomic_store(&head_of(journal)->used, next + 1);
	*ret_index = next;
	return 0;
}

int dr_lab_slot_take(
	struct dr_lab *lab, const struct dr_fid *owner, uint32_t n, struct dr_lab_slot **ret_slot)
{
	struct dr_lab_journal *journal = lab->journal;
	uint32_t index;
	(void)pthread_mutex_lock(&journal->lock);
	int r = slot_index(lab, &index);
	(void)pthread_mutex_unlock(&journal->lock);
	if (r < 0) {
		return r;
	}
	struct dr_lab_slot *slot = slot_at(journal->map, index);
	r = dr_lab_slot_grow(lab, slot, n);
	if (r < 0) {
		dr_lab_slot_give(lab, slot);
		return r;
	}
	slot->n_new = slot->n_old = 0;
	slot->generation_new = slot->generation_old = 0;
	slot->owner = *owner;
	*ret_slot = slot;
	return 0;
}

int dr_lab_slot_add_old(struct dr_lab *lab, struct dr_lab_slot *slot, const struct dr_layout *old)
{
	uint32_t n = slot->n_new;
	for (uint32_t c = 0; c < old->n_comps; c++) {
		n += old->comps[c].n_objects;
	}
	int r = dr_lab_slot_grow(lab, slot, n);
	if (r < 0) {
		return r;
	}
	struct dr_layout_object *to = slot->objects + slot->n_new;
	for (uint32_t c = 0; c < old->n_comps; c++) {
		const struct dr_layout_comp *comp = &old->comps[c];
		if (comp->n_objects) {
			memcpy(to, comp->objects, comp->n_objects * sizeof(*to));
			to += comp->n_objects;
		}
	}
	slot->n_old = n - slot->n_new;
	return 0;
}

int dr_lab_slot_name_path(struct dr_lab *lab, struct dr_lab_slot *slot, int stub_fd)
{
	if (lab->handle_type >= 0) {
		return 0; /* the FID is enough */
	}
	int r = allocate(lab->journal->fd,
		slot_offset(lab->journal, slot) + (off_t)offsetof(struct dr_lab_slot, path),
		sizeof(slot->path));
	if (r < 0) {
		return r;
	}
	char link[32], text[sizeof(slot->path)];
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", stub_fd);
	ssize_t n = readlink(link, text, sizeof(text) - 1);
	size_t skip = strlen(lab->dir) + strlen("/ns/");
	slot->path[0] = 0;
	if (n > (ssize_t)skip) {
		memcpy(slot->path, text + skip, (size_t)n - skip);
		slot->path[(size_t)n - skip] = 0;
	}
	return 0;
}

void dr_lab_slot_state(struct dr_lab_slot *slot, enum dr_lab_slot_state state)
{
	/* All that the slot says must be in memory before its state is. */
	atomic_store_explicit(&slot->state, state, memory_order_release);
}

void dr_lab_slot_give(struct dr_lab *lab, struct dr_lab_slot *slot)
{
	if (!slot) {
		return;
	}
	struct dr_lab_journal *journal = lab->journal;
	dr_lab_slot_state(slot, DR_LAB_SLOT_FREE);
	uint32_t index =
		(uint32_t)((size_t)((uint8_t *)slot - journal->map - JOURNAL_HEAD) / SLOT_STRIDE);
	(void)pthread_mutex_lock(&journal->lock);
	journal->free[journal->n_free++] = index;
	(void)pthread_mutex_unlock(&journal->lock);
}

/* ---- what the dead left ---- */

static bool layout_names(const struct dr_layout *layout, const struct dr_layout_object *obj)
{
	for (uint32_t c = 0; layout && c < layout->n_comps; c++) {
		const struct dr_layout_comp *comp = &layout->comps[c];
		for (uint32_t i = 0; i < comp->n_objects; i++) {
			if (comp->objects[i].ost == obj->ost &&
				dr_fid_equal(&comp->objects[i].fid, &obj->fid)) {
				return true;
			}
		}
	}
	return false;
}

/* The stub of a slot. @error ENOENT it is gone for certain; ENOTSUP it cannot be known here */
static int open_stub(struct dr_lab *lab, const struct dr_lab_slot *slot)
{
	int fd dr_cleanup(dr_fd_closep) = dr_lab_fid_open(lab, &slot->owner);
	if (fd >= 0 || fd == -ENOENT) {
		return dr_steal_fd(&fd);
	}
	size_t len = strnlen(slot->path, sizeof(slot->path));
	const char *slash = memrchr(slot->path, '/', len);
	if (len == 0 || len == sizeof(slot->path)) {
		return -ENOTSUP;
	}
	size_t dir_len = slash ? (size_t)(slash - slot->path) : 0;
	int dir dr_cleanup(dr_fd_closep) = dr_open_dir_beneath(lab->ns_fd, slot->path, dir_len);
	struct dr_stat st;
	fd = dir < 0 ? dir : dr_local_file_open(dir, slash ? slash + 1 : slot->path, &st);
	struct dr_fid fid;
	if (fd < 0 || dr_lab_fid_of(lab, fd, &fid) < 0 || !dr_fid_equal(&fid, &slot->owner)) {
		return -ENOTSUP; /* it may have been renamed */
	}
	return dr_steal_fd(&fd);
}

/* The layout as it is now, NULL when there is none, and its generation in layouts/. */
static int current_layout(struct dr_lab *lab, const struct dr_lab_slot *slot,
	struct dr_layout **ret_layout, uint64_t *ret_generation)
{
	int fd dr_cleanup(dr_fd_closep) = open_stub(lab, slot);
	if (fd < 0) {
		return fd == -ENOENT ? 0 : fd;
	}
	struct dr_lab_value value;
	int r = dr_lab_value_get(fd, &value);
	if (r < 0) {
		return r == -ENODATA ? 0 : r;
	}
	struct dr_buf bytes dr_cleanup(dr_buf_fini) = { 0 };
	(void)dr_lab_value_spilled(value.bytes, value.len, ret_generation);
	r = dr_lab_layout_of(lab, fd, &slot->owner, &bytes);
	return r < 0 ? r : dr_layout_decode(bytes.data, bytes.len, ret_layout);
}

static int recover_slot(struct dr_lab *lab, struct dr_lab_slot *slot)
{
	uint32_t state = atomic_load(&slot->state);
	if (state == DR_LAB_SLOT_FREE) {
		return 0;
	}
	if ((uint64_t)slot->n_new + slot->n_old > DR_LAB_SLOT_OBJECTS) {
		return -EBADMSG;
	}
	struct dr_layout *layout dr_cleanup(dr_layout_freep) = NULL;
	uint64_t generation = 0;
	if (state == DR_LAB_SLOT_SWAPPING) {
		int r = current_layout(lab, slot, &layout, &generation);
		if (r < 0) {
			return r;
		}
		if (slot->generation_new != generation) {
			dr_lab_spill_remove(lab, &slot->owner, slot->generation_new);
		}
		if (slot->generation_old != generation) {
			dr_lab_spill_remove(lab, &slot->owner, slot->generation_old);
		}
	}
	uint32_t n = slot->n_new + (state == DR_LAB_SLOT_SWAPPING ? slot->n_old : 0);
	for (uint32_t i = 0; i < n; i++) {
		if (layout_names(layout, &slot->objects[i])) {
			continue;
		}
		int r = dr_lab_object_destroy(lab, &slot->objects[i], &slot->owner);
		if (r < 0) {
			return r;
		}
	}
	dr_lab_slot_state(slot, DR_LAB_SLOT_FREE);
	return 1;
}

/* @return slots that were in use; or the first error, and then the journal must stay */
static int recover_slots(struct dr_lab *lab, int fd, uint64_t size)
{
	struct head head;
	ssize_t n = dr_pread_full(fd, &head, sizeof(head), 0);
	if (n < 0) {
		return (int)n;
	}
	if ((size_t)n < sizeof(head) || head.magic != JOURNAL_MAGIC) {
		return 0; /* killed before its first volatile */
	}
	if (head.stride != SLOT_STRIDE || size < JOURNAL_BYTES || head.used > JOURNAL_SLOTS) {
		return -EBADMSG;
	}
	uint32_t used = head.used;
	size_t bytes = JOURNAL_HEAD + (size_t)used * SLOT_STRIDE;
	uint8_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		return -errno;
	}
	int found = 0, error = 0;
	if (any_in_use(map, used)) {
		/* Its owner may have died between an object and its charge. */
		atomic_store(&lab->state->recount, 1);
	}
	for (uint32_t i = 0; i < used; i++) {
		int r = recover_slot(lab, slot_at(map, i));
		found += r > 0;
		error = r < 0 && error == 0 ? r : error;
	}
	(void)munmap(map, bytes);
	return error < 0 ? error : found;
}

/* @return 1 it was a dead process's, and is gone; 0 it is alive */
static int recover_journal(struct dr_lab *lab, const char *name)
{
	int fd dr_cleanup(dr_fd_closep) =
		openat(lab->journal_fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		return errno == ENOENT ? 0 : -errno;
	}
	int r = lock_whole(fd);
	if (r < 0) {
		return r == -EAGAIN || r == -EACCES ? 0 : r;
	}
	struct stat st;
	if (fstat(fd, &st) < 0) {
		return -errno;
	}
	if (st.st_nlink == 0) {
		return 0; /* somebody else was faster */
	}
	r = recover_slots(lab, fd, (uint64_t)st.st_size);
	if (r < 0) {
		return r;
	}
	if (unlinkat(lab->journal_fd, name, 0) < 0) {
		return -errno;
	}
	return r > 0;
}

int dr_lab_recover(struct dr_lab *lab)
{
	struct dr_local_dir dir dr_cleanup(dr_local_dir_fini) = {
		.fd = openat(lab->journal_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
	};
	if (dir.fd < 0) {
		return -errno;
	}
	int recovered = 0;
	for (;;) {
		struct dr_entry entry;
		int r = dr_local_dir_next(&dir, &entry);
		if (r <= 0) {
			return r < 0 ? r : recovered;
		}
		r = recover_journal(lab, entry.name);
		if (r < 0) {
			/* What cannot be decided now stays for a later try; it costs space, no data. */
			dr_log_limited(60, DR_LOG_WARNING, "lab-recovery-failed",
				"lab=%s journal=%s error=%d", lab->dir, entry.name, -r);
		} else {
			recovered += r;
		}
	}
}
