/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_HSM_CONFIG_H
#define DR_HSM_CONFIG_H

#include "base/buf.h"
#include "base/log.h"
#include "store/url.h"

/*
 * What the hsm-* programs are told: one flat YAML 1.1 mapping, the same keys for all of them. A key that is missing has its default; one
 * that nobody knows is logged and passed over.
 */
struct dr_hsm_config {
	char *redis_host;          /* "localhost" */
	uint16_t redis_port;       /* 6379 */
	unsigned redis_db;         /* 1 */
	char *redis_url;           /* NULL; else instead of the three above, as in drover.conf(5) */
	char *redis_stream_prefix; /* "hsm:actions" */
	char *mdt_watch_glob;      /* "/sys/kernel/debug/lustre/mdt/" "*-MDT????/hsm/actions" */
	uint64_t poll_interval_ms; /* 20 s */
	uint64_t reconcile_interval_ms; /* 21,600 s */
	uint64_t missing_purge_ms;      /* 0: a file that is missing purges nothing, however long */
	uint64_t trim_chunk_size;       /* 1000 entries */
	bool use_approximate_trimming;
	char *cache_path; /* "/var/cache/hsm-action-shipper/cache.bin" */
	enum dr_log_level log_level;
	char *log_file;   /* NULL: stderr */
	char *mountpoint; /* NULL: none */
};

/* The defaults. */
void dr_hsm_config_init(struct dr_hsm_config *config);
void dr_hsm_config_fini(struct dr_hsm_config *config);

/*
 * Reads the file over what is there. On an error *ret_message (malloc'ed, one line) says what is wrong, as
 * "FILE:LINE: redis_port: 'x' is not a number", and config may be partly changed.
 * @error ENOENT no such file; EINVAL no YAML, no flat mapping, a value that will not do; other errnos of open and read
 */
dr_nodiscard int dr_hsm_config_read(
	struct dr_hsm_config *config, const char *path, char **ret_message);

/* Where the server is, for dr_connect(). The caller frees it by dr_url_fini(). @error EINVAL redis_url will not do; *ret_message says why */
dr_nodiscard int dr_hsm_config_url(
	const struct dr_hsm_config *config, struct dr_url *ret_url, char **ret_message);

/* "INFO", "warning", "CRITICAL" (which is error here), any case. @error EINVAL */
dr_nodiscard int dr_hsm_log_level(const char *s, enum dr_log_level *ret_level);
/*
 * The level, and where log lines go: appended to that file, or to stderr when there is none.
 * @param fd -1 at first; then the file's descriptor, which a later call puts the new file behind, so that threads may go on logging
 * @error those of open
 */
dr_nodiscard int dr_hsm_log_open(enum dr_log_level level, const char *file, int *fd);

#endif
