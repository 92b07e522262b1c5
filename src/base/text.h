/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_BASE_TEXT_H
#define DR_BASE_TEXT_H

#include "base/buf.h"

/*
 * Bytes that may be anything, made fit for a terminal, a log or JSON: printable ASCII
 * and whole UTF-8 sequences stay, a backslash becomes \\, everything else \n, \t, \r
 * or \xHH. The result is valid UTF-8, holds no control character, and can be undone.
 */
void dr_text_escape(struct dr_buf *out, const void *bytes, size_t len);
/* @error EINVAL a backslash not followed by what dr_text_escape writes (HH in either case) */
dr_nodiscard int dr_text_unescape(struct dr_buf *out, const char *s, size_t len);

/* "83.25 TiB", "1.0 KiB", "512 B" into buf (at least 16 bytes); returns buf. */
const char *dr_text_bytes(char *buf, size_t size, uint64_t bytes);
/* "1,250,000" into buf (at least 32 bytes); returns buf. */
const char *dr_text_count(char *buf, size_t size, uint64_t n);
/* "4:32:10", "0:07", "2d 3:04:05" into buf (at least 32 bytes); returns buf. */
const char *dr_text_duration(char *buf, size_t size, uint64_t seconds);

/* "64K", "1.5G", "4096", "16MiB", "2 TiB": powers of 1024. @error EINVAL; ERANGE past 2^63 */
dr_nodiscard int dr_text_parse_size(const char *s, uint64_t *ret_bytes);
/* A decimal number from min to max, nothing after it. @error EINVAL; ERANGE */
dr_nodiscard int dr_text_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);
/* "90", "90s", "5m", "2h", "1d". @error EINVAL; ERANGE past 64 bits */
dr_nodiscard int dr_text_parse_seconds(const char *s, uint64_t *ret_seconds);

/*
 * Splits a command line into words as a shell does, without one: blanks part them, '...' keeps everything, "..." everything but
 * a backslash before $, `, " or a backslash; elsewhere a backslash keeps the next byte. Nothing is expanded.
 * *ret_words ends with NULL; it is one block for free().
 * @return the number of words
 * @error EINVAL a quote that is not closed, a backslash at the end; EOPNOTSUPP a character that only a shell serves and that nothing
 *        quotes: one of |&;<>()$`
 */
dr_nodiscard int dr_text_split_words(const char *s, char ***ret_words);

/*
 * Folds host names into a node set as ClusterShell writes it: "login1,node-[01-03]".
 * Each name folds at its last number; the names are sorted and made unique in place.
 */
void dr_text_fold_hosts(struct dr_buf *out, const char **hosts, size_t n);

#endif
