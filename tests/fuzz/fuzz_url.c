/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/url.h"

#include "fuzz.h"

static bool same(const char *a, const char *b)
{
	return !a || !b ? a == b : strcmp(a, b) == 0;
}

/* What can be parsed is shown in one way, which means the same but for user and password; the rest is refused in a line. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dr_buf input dr_cleanup(dr_buf_fini) = { 0 };
	struct dr_url url dr_cleanup(dr_url_fini) = { 0 }, again dr_cleanup(dr_url_fini) = { 0 };
	char *message dr_cleanup(dr_freep) = NULL;
	dr_buf_put(&input, data, size);
	if (dr_url_parse(dr_buf_cstr(&input), &url, &message) < 0) {
		FUZZ_CHECK(message && !strpbrk(message, "\n\r") && !url.hosts && !url.password);
		return 0;
	}
	FUZZ_CHECK(!message);
	FUZZ_CHECK((url.n_hosts > 0) == (url.kind != DR_URL_UNIX));
	FUZZ_CHECK((url.path != NULL) == (url.kind == DR_URL_UNIX));
	FUZZ_CHECK((url.name != NULL) == (url.kind == DR_URL_SENTINEL));
	char *shown dr_cleanup(dr_freep) = dr_url_show(&url);
	for (const char *p = shown; *p; p++) {
		FUZZ_CHECK(*p > ' ' && *p < 0x7f && *p != '@');
	}
	FUZZ_CHECK(dr_url_parse(shown, &again, &message) == 0);
	FUZZ_CHECK(again.kind == url.kind && again.db == url.db && again.n_hosts == url.n_hosts);
	FUZZ_CHECK(same(again.path, url.path) && same(again.name, url.name));
	FUZZ_CHECK(!again.user && !again.password);
	for (size_t i = 0; i < url.n_hosts; i++) {
		FUZZ_CHECK(same(again.hosts[i].name, url.hosts[i].name));
		FUZZ_CHECK(again.hosts[i].port == url.hosts[i].port && url.hosts[i].port > 0);
	}
	char *twice dr_cleanup(dr_freep) = dr_url_show(&again);
	FUZZ_CHECK(same(twice, shown));
	return 0;
}
