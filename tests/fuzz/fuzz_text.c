/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"

#include "fuzz.h"

static void check_escape(const uint8_t *data, size_t size)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 }, back dr_cleanup(dr_buf_fini) = { 0 };
	dr_text_escape(&text, data, size);
	for (size_t i = 0; i < text.len; i++) {
		FUZZ_CHECK(text.data[i] >= 0x20 && text.data[i] != 0x7f);
	}
	FUZZ_CHECK(dr_text_unescape(&back, (const char *)text.data, text.len) == 0);
	FUZZ_CHECK(back.len == size && (size == 0 || memcmp(back.data, data, size) == 0));

	struct dr_buf raw dr_cleanup(dr_buf_fini) = { 0 };
	if (dr_text_unescape(&raw, (const char *)data, size) < 0) {
		FUZZ_CHECK(raw.len == 0);
	}
}

static void check_numbers(const char *text)
{
	uint64_t n, bytes;
	char out[32];
	if (dr_text_parse_u64(text, 10, 1000, &n) == 0) {
		FUZZ_CHECK(n >= 10 && n <= 1000);
	}
	if (dr_text_parse_size(text, &bytes) == 0) {
		FUZZ_CHECK(bytes <= UINT64_C(1) << 63);
		/* What is written can be read, and is the same but for what rounding loses. */
		FUZZ_CHECK(dr_text_parse_size(dr_text_bytes(out, 16, bytes), &n) == 0);
		FUZZ_CHECK((n > bytes ? n - bytes : bytes - n) <= bytes / 128);
		FUZZ_CHECK(strlen(dr_text_count(out, sizeof(out), bytes)) < sizeof(out));
	}
	if (dr_text_parse_seconds(text, &n) == 0) {
		FUZZ_CHECK(strlen(dr_text_duration(out, sizeof(out), n)) < sizeof(out));
	}
}

/* Host names, one a line. */
static void check_fold(char *text)
{
	const char *hosts[64];
	size_t n = 0;
	char *state = NULL;
	for (char *name = strtok_r(text, "\n", &state); name && n < 64;
		name = strtok_r(NULL, "\n", &state)) {
		hosts[n++] = name;
	}
	struct dr_buf out dr_cleanup(dr_buf_fini) = { 0 };
	dr_text_fold_hosts(&out, hosts, n);
	FUZZ_CHECK(out.len > 0 || n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dr_buf text dr_cleanup(dr_buf_fini) = { 0 };
	check_escape(data, size);
	dr_buf_put(&text, data, size);
	check_numbers(dr_buf_cstr(&text));
	check_fold(dr_buf_cstr(&text));
	return 0;
}
