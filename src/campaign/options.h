/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_OPTIONS_H
#define DR_CAMPAIGN_OPTIONS_H

#include "base/conf.h"
#include "store/url.h"

/* What drover.conf says (drover.conf(5)), and what the daemon's command line may override. */
struct dr_options {
	char *base_path;                /* folder of the campaigns' folders; shared by all nodes */
	uint64_t scan_batch_size;       /* files in a chunk */
	uint64_t chunk_bytes;           /* bytes of files in a chunk */
	uint64_t redis_startup_timeout; /* seconds */
	uint64_t redis_port;            /* first choice */
	uint64_t redis_maxmemory;       /* bytes */
	uint64_t
		folder_timeout; /* seconds without a write to the campaign's folder: then a leader ends its server */
	/* A site's own server; NULL: each campaign has one of its own. */
	char *redis_url, *redis_password_file, *sentinel_password_file;
	char *redis_tls_ca, *redis_tls_cert, *redis_tls_key;
	struct dr_url *engine; /* all of these in one, set by dr_options_load() */
	uint64_t metrics_port; /* first choice; 0: no status server */
	char *metrics_bind_address;
	char *communication_subnet;   /* "10.0.16.0/24"; NULL: loopback only */
	char *mover;                  /* "native" or "lfs" */
	char *lfs_migrate_command;    /* of mover = lfs; NULL or "": DR_LFS_MIGRATE_COMMAND */
	uint64_t lfs_migrate_timeout; /* seconds */
	/* Templates (campaign/template.h); NULL or "": sources are neither closed nor opened. */
	char *close_command, *open_command;
	uint64_t close_timeout; /* seconds that one of these commands may take */
	char *log_level;
	uint64_t scan_workers, migration_workers; /* threads */
	uint64_t copy_threads;                    /* of a process, that help with large files */
	uint64_t max_pending_migrations;          /* files queued before scanners rest */
	uint64_t claim_timeout;                   /* seconds */
	uint64_t max_leftovers;                   /* files; past it the campaign pauses */
	uint64_t reserve_percent;                 /* of a target's size, kept free */
	char *retry_delays; /* "60,300,1800": seconds, comma-separated; "": no retries by themselves */
	bool fsync;         /* false only where nothing is at stake: benchmarks */
	bool verify;        /* read back and compare before the swap */
};

#define DR_LFS_MIGRATE_COMMAND "lfs migrate -n"

/* The command that moves a file; NULL: drover moves files itself. */
static inline const char *dr_options_command(const struct dr_options *options)
{
	const char *command = options->lfs_migrate_command;

	if (strcmp(options->mover, "lfs") != 0) {
		return NULL;
	}
	return command && command[0] ? command : DR_LFS_MIGRATE_COMMAND;
}

extern const struct dr_conf_option dr_option_table[];
extern const size_t dr_option_count;

void dr_options_init(struct dr_options *options); /* defaults */
void dr_options_fini(struct dr_options *options);
/*
 * Reads the file given, or the first of ./drover.conf, ~/.drover.conf, /etc/drover.conf that exists (none is fine), and the
 * files that it names for passwords. A file with a password that others can read is refused.
 * On an error *ret_message (malloc'ed) is one line for the user.
 */
dr_nodiscard int dr_options_load(struct dr_options *options, const char *path, char **ret_message);

#define DR_RETRIES_MAX 16
/* @return the number of delays, in seconds. @error EINVAL */
dr_nodiscard int dr_options_parse_delays(const char *s, uint64_t delays[DR_RETRIES_MAX]);

#endif
