/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/options.h"

#include "base/fdio.h"
#include "base/log.h"
#include "base/text.h"
#include "campaign/template.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define PASSWORD_MAX 4096u /* bytes */

static int check_base_path(const char *value, const char **ret_why)
{
	if (value[0] == '/') {
		return 0;
	}
	*ret_why = "is not an absolute path";
	return -EINVAL;
}

static bool address_ok(const char *s)
{
	struct in6_addr any;
	return inet_pton(AF_INET, s, &any) == 1 || inet_pton(AF_INET6, s, &any) == 1;
}

static int check_file(const char *value, const char **ret_why)
{
	return check_base_path(value, ret_why);
}

static int check_address(const char *value, const char **ret_why)
{
	if (address_ok(value) || strcmp(value, "localhost") == 0) {
		return 0;
	}
	*ret_why = "is not an IP address";
	return -EINVAL;
}

static int check_subnet(const char *value, const char **ret_why)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(value, '/');
	struct in6_addr any;
	uint64_t bits;

	*ret_why = "is not a subnet like 10.0.16.0/24";
	if (!slash || (size_t)(slash - value) >= sizeof address) {
		return -EINVAL;
	}
	memcpy(address, value, (size_t)(slash - value));
	address[slash - value] = '\0';
	if (inet_pton(AF_INET, address, &any) == 1) {
		return dr_text_parse_u64(slash + 1, 0, 32, &bits) < 0 ? -EINVAL : 0;
	}
	if (inet_pton(AF_INET6, address, &any) == 1) {
		return dr_text_parse_u64(slash + 1, 0, 128, &bits) < 0 ? -EINVAL : 0;
	}
	return -EINVAL;
}

static int check_log_level(const char *value, const char **ret_why)
{
	enum dr_log_level level;

	if (dr_log_parse_level(value, &level) >= 0) {
		return 0;
	}
	*ret_why = "is not one of error, warning, info, debug";
	return -EINVAL;
}

static int check_delays(const char *value, const char **ret_why)
{
	uint64_t delays[DR_RETRIES_MAX];

	if (dr_options_parse_delays(value, delays) >= 0) {
		return 0;
	}
	*ret_why = "is not a list of up to 16 delays in seconds, like 60,300,1800";
	return -EINVAL;
}

/* Whether the word switches lfs migrate to buffered I/O: -D, in a cluster too, or --non-direct. */
static bool word_is_buffered(const char *word, size_t len)
{
	static const char long_name[] = "--non-direct";
	/* lfs-migrate(1): these take a value, which ends the cluster. */
	static const char with_value[] = "cCEfiLmNopSsWyz";

	if (len < 2 || word[0] != '-') {
		return false;
	}
	if (word[1] == '-') {
		/* getopt_long takes every prefix that is unique. */
		return len >= strlen("--non-d") && len < sizeof long_name &&
		       memcmp(word, long_name, len) == 0;
	}
	for (size_t i = 1; i < len && !strchr(with_value, word[i]); i++) {
		if (word[i] == 'D') {
			return true;
		}
	}
	return false;
}

static int check_lfs_command(const char *value, const char **ret_why)
{
	static const char buffered[] =
		"has the option -D, which is refused: in buffered mode lfs migrate loses data "
		"when the source cannot be read";

	for (const char *p = value; *p;) {
		size_t len = strcspn(p, " \t\"'");
		if (word_is_buffered(p, len)) {
			*ret_why = buffered;
			return -EINVAL;
		}
		p += len;
		p += strspn(p, " \t\"'");
	}
	/* What needs a shell is no error here: with mover = native the command is never run. */
	char **words dr_cleanup(dr_freep) = NULL;
	int n = dr_text_split_words(value, &words);

	if (n == -EINVAL) {
		*ret_why = "has a quote that is not closed, or ends with a backslash";
		return -EINVAL;
	}
	for (int i = 0; i < n; i++) {
		if (word_is_buffered(words[i], strlen(words[i]))) {
			*ret_why = buffered;
			return -EINVAL;
		}
	}
	return 0;
}

static int check_template(const char *value, const char **ret_why)
{
	return value[0] ? dr_template_check(value, ret_why) : 0;
}

static int check_mover(const char *value, const char **ret_why)
{
	if (strcmp(value, "native") == 0 || strcmp(value, "lfs") == 0) {
		return 0;
	}
	*ret_why = "is not one of native, lfs";
	return -EINVAL;
}

#define FIELD(name) offsetof(struct dr_options, name)
#define MIB (1024ull * 1024)

const struct dr_conf_option dr_option_table[] = {
	{ "base_path", DR_CONF_STRING, FIELD(base_path), .check = check_base_path },
	{ "scan_batch_size", DR_CONF_U64, FIELD(scan_batch_size), 1, 65536 },
	{ "chunk_bytes", DR_CONF_SIZE, FIELD(chunk_bytes), 1, INT64_MAX },
	{ "redis_startup_timeout", DR_CONF_SECONDS, FIELD(redis_startup_timeout), 1, 86400 },
	{ "redis_port", DR_CONF_U64, FIELD(redis_port), 1, 65535 },
	{ "redis_maxmemory", DR_CONF_SIZE, FIELD(redis_maxmemory), 16 * MIB, INT64_MAX },
	{ "redis_url", DR_CONF_STRING, FIELD(redis_url) },
	{ "redis_password_file", DR_CONF_STRING, FIELD(redis_password_file), .check = check_file },
	{ "sentinel_password_file", DR_CONF_STRING, FIELD(sentinel_password_file),
		.check = check_file },
	{ "redis_tls_ca", DR_CONF_STRING, FIELD(redis_tls_ca), .check = check_file },
	{ "redis_tls_cert", DR_CONF_STRING, FIELD(redis_tls_cert), .check = check_file },
	{ "redis_tls_key", DR_CONF_STRING, FIELD(redis_tls_key), .check = check_file },
	{ "folder_timeout", DR_CONF_SECONDS, FIELD(folder_timeout), 2, 86400 },
	{ "metrics_port", DR_CONF_U64, FIELD(metrics_port), 0, 65535 },
	{ "metrics_bind_address", DR_CONF_STRING, FIELD(metrics_bind_address),
		.check = check_address },
	{ "communication_subnet", DR_CONF_STRING, FIELD(communication_subnet),
		.check = check_subnet },
	{ "lfs_migrate_command", DR_CONF_STRING, FIELD(lfs_migrate_command),
		.check = check_lfs_command },
	{ "close_command", DR_CONF_COMMAND, FIELD(close_command), .check = check_template },
	{ "open_command", DR_CONF_COMMAND, FIELD(open_command), .check = check_template },
	{ "close_timeout", DR_CONF_SECONDS, FIELD(close_timeout), 1, 86400 },
	{ "lfs_migrate_timeout", DR_CONF_SECONDS, FIELD(lfs_migrate_timeout), 1, 2592000 },
	{ "mover", DR_CONF_STRING, FIELD(mover), .check = check_mover },
	{ "log_level", DR_CONF_STRING, FIELD(log_level), .check = check_log_level },
	{ "scan_workers", DR_CONF_U64, FIELD(scan_workers), 1, 256 },
	{ "migration_workers", DR_CONF_U64, FIELD(migration_workers), 1, 256 },
	{ "copy_threads", DR_CONF_U64, FIELD(copy_threads), 0, 256 },
	{ "max_pending_migrations", DR_CONF_U64, FIELD(max_pending_migrations), 1, INT64_MAX },
	{ "claim_timeout", DR_CONF_SECONDS, FIELD(claim_timeout), 1, 86400 },
	{ "max_leftovers", DR_CONF_U64, FIELD(max_leftovers), 1, INT64_MAX },
	{ "reserve_percent", DR_CONF_U64, FIELD(reserve_percent), 0, 99 },
	{ "retry_delays", DR_CONF_STRING, FIELD(retry_delays), .check = check_delays },
	{ "fsync", DR_CONF_BOOL, FIELD(fsync) },
	{ "verify", DR_CONF_BOOL, FIELD(verify) },
};
const size_t dr_option_count = sizeof dr_option_table / sizeof dr_option_table[0];

void dr_options_init(struct dr_options *options)
{
	*options = (struct dr_options){
		.base_path = dr_xstrdup("/var/lib/drover"),
		.scan_batch_size = 1000,
		.chunk_bytes = 1024 * MIB,
		.redis_startup_timeout = 30,
		.redis_port = 6379,
		.redis_maxmemory = 1024 * MIB,
		.folder_timeout = 10,
		.metrics_port = 9188,
		.metrics_bind_address = dr_xstrdup("127.0.0.1"),
		.close_timeout = 60,
		.mover = dr_xstrdup("native"),
		.lfs_migrate_timeout = 3600,
		.log_level = dr_xstrdup("info"),
		.scan_workers = 4,
		.migration_workers = 4,
		.copy_threads = 4,
		.max_pending_migrations = 10000000,
		.claim_timeout = 60,
		.max_leftovers = 1000000,
		.reserve_percent = 5,
		.retry_delays = dr_xstrdup("60,300,1800"),
		.fsync = true,
	};
}

void dr_options_fini(struct dr_options *options)
{
	free(options->base_path);
	free(options->metrics_bind_address);
	free(options->communication_subnet);
	free(options->mover);
	free(options->lfs_migrate_command);
	free(options->close_command);
	free(options->open_command);
	free(options->log_level);
	free(options->retry_delays);
	if (options->redis_url) {
		explicit_bzero(options->redis_url, strlen(options->redis_url));
	}
	free(options->redis_url);
	free(options->redis_password_file);
	free(options->sentinel_password_file);
	free(options->redis_tls_ca);
	free(options->redis_tls_cert);
	free(options->redis_tls_key);
	if (options->engine) {
		dr_url_fini(options->engine);
		free(options->engine);
	}
	*options = (struct dr_options){ 0 };
}

static int refuse_readable(const char *path, char **ret_message)
{
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & 077) != 0) {
		*ret_message = dr_xasprintf(
			"%s holds a password, and others than its owner can read it: chmod 600 it",
			path);
		return -EPERM;
	}
	return 0;
}

/* The file's first line, malloc'ed. */
static int read_password(const char *path, char **ret_password, char **ret_message)
{
	struct dr_buf text = { 0 };
	int r = dr_read_file(AT_FDCWD, path, PASSWORD_MAX, &text);

	if (r < 0) {
		*ret_message = dr_xasprintf("%s: %s", path, strerrordesc_np(-r));
	} else {
		r = refuse_readable(path, ret_message);
	}
	if (r == 0) {
		char *line = dr_buf_cstr(&text);

		line[strcspn(line, "\r\n")] = '\0';
		free(*ret_password);
		*ret_password = dr_xstrdup(line);
	}
	if (text.len > 0) {
		explicit_bzero(text.data, text.len);
	}
	dr_buf_fini(&text);
	return r;
}

static char *copy(const char *s)
{
	return s ? dr_xstrdup(s) : NULL;
}

/* Where the site's own server is, from all that the configuration says of it. */
static int load_engine(struct dr_options *options, const char *path, char **ret_message)
{
	if (!options->redis_url || !options->redis_url[0]) {
		return 0;
	}
	struct dr_url *url = dr_xcalloc(1, sizeof(*url));
	dr_cleanup(dr_freep) char *why = NULL;
	int r = dr_url_parse(options->redis_url, url, &why);

	if (r < 0) {
		free(url);
		*ret_message = dr_xasprintf("%s: %s", path, why ? why : "redis_url is no URL");
		return r;
	}
	options->engine = url;
	if (url->password) {
		r = refuse_readable(path, ret_message);
	}
	if (r == 0 && options->redis_password_file) {
		r = read_password(options->redis_password_file, &url->password, ret_message);
	}
	if (r == 0 && url->user && !url->password) {
		*ret_message = dr_xasprintf(
			"%s: redis_url has a user and no password: write user:password@, or set redis_password_file",
			path);
		return -EINVAL;
	}
	if (r == 0 && options->sentinel_password_file) {
		r = read_password(
			options->sentinel_password_file, &url->sentinel_password, ret_message);
	}
	url->tls_ca = copy(options->redis_tls_ca);
	url->tls_cert = copy(options->redis_tls_cert);
	url->tls_key = copy(options->redis_tls_key);
	return r;
}

static int load_one(struct dr_options *options, const char *path, char **ret_message)
{
	char *message = NULL;
	int r = dr_conf_read(path, dr_option_table, dr_option_count, options, &message);

	if (r == 0) {
		return load_engine(options, path, ret_message);
	}
	*ret_message = message ? message : dr_xasprintf("%s: %s", path, strerrordesc_np(-r));
	return r;
}

int dr_options_load(struct dr_options *options, const char *path, char **ret_message)
{
	dr_cleanup(dr_freep) char *home_file = NULL;
	const char *home = getenv("HOME"); // NOLINT(concurrency-mt-unsafe)

	if (path) {
		return load_one(options, path, ret_message);
	}
	if (home && *home) {
		home_file = dr_xasprintf("%s/.drover.conf", home);
	}
	const char *places[] = { "drover.conf", home_file, "/etc/drover.conf" };
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		char *message = NULL;
		if (!places[i]) {
			continue;
		}
		int r = load_one(options, places[i], &message);
		if (r != -ENOENT) {
			if (r < 0) {
				*ret_message = message;
			}
			return r;
		}
		free(message);
	}
	return 0;
}

int dr_options_parse_delays(const char *s, uint64_t delays[DR_RETRIES_MAX])
{
	uint64_t parsed[DR_RETRIES_MAX];
	int n = 0;

	s += strspn(s, " \t");
	while (*s) {
		char one[32];
		size_t field = strcspn(s, ",");
		size_t len = field;
		while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t')) {
			len--;
		}
		if (n == DR_RETRIES_MAX || len == 0 || len >= sizeof one) {
			return -EINVAL;
		}
		memcpy(one, s, len);
		one[len] = '\0';
		if (dr_text_parse_seconds(one, &parsed[n++]) < 0) {
			return -EINVAL;
		}
		s += field;
		if (*s == ',') {
			s++;
			s += strspn(s, " \t");
			if (!*s) {
				return -EINVAL;
			}
		}
	}
	for (int i = 0; i < n; i++) {
		delays[i] = parsed[i];
	}
	return n;
}
