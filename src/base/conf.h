/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_BASE_CONF_H
#define DR_BASE_CONF_H

#include "base/buf.h"

/*
 * Options from an INI file, section [main], checked against a table: a key that is not in
 * the table, or a value that its parser refuses, is an error that names file and line.
 */
enum dr_conf_type {
	DR_CONF_STRING, /* char *, malloc'ed; the old value is freed */
	DR_CONF_COMMAND, /* the same, a line for a shell: a ';' after a blank, which would begin a comment, is refused */
	DR_CONF_U64,  /* uint64_t, from min to max */
	DR_CONF_SIZE, /* uint64_t bytes, dr_text_parse_size(); from min to max, max 0: no bound */
	DR_CONF_SECONDS, /* uint64_t seconds, dr_text_parse_seconds(); bounds likewise */
	DR_CONF_BOOL,    /* bool: yes no true false on off 1 0 */
};

struct dr_conf_option {
	const char *key;
	enum dr_conf_type type;
	size_t offset; /* of the field in the target structure */
	uint64_t min, max;
	/*
	 * More than the type says; NULL: nothing more. Negative refuses; *ret_why is a constant text
	 * for the message ("is not an address").
	 */
	int (*check)(const char *value, const char **ret_why);
};

/*
 * Reads the file into the structure at target, key by key.
 * On an error *ret_message (malloc'ed, one line without newline) says what is wrong, e.g.
 * "drover.conf:7: unknown key 'redis_prot'", and target may be partly filled.
 * A line holds one option and does not go on in the next; it has at most 197 bytes (inih's bound).
 * @error ENOENT no such file; EINVAL unknown key, bad value, syntax; other errnos of open and read
 */
dr_nodiscard int dr_conf_read(const char *path, const struct dr_conf_option *table,
	size_t n_options, void *target, char **ret_message);
/*
 * One value, e.g. from the command line, by the same rules; the message names the key alone.
 * The value of a STRING stands in no message: it may be a password.
 * @error EINVAL
 */
dr_nodiscard int dr_conf_set(const struct dr_conf_option *table, size_t n_options, void *target,
	const char *key, const char *value, char **ret_message);

#endif
