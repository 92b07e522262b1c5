/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lab/args.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

dr_printf(1, 0) static void say_line(const char *fmt, va_list ap)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0) {
		abort();
	}
	(void)fprintf(stderr, "drover-lab: %s\n", text);
	free(text);
}

void dr_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say_line(fmt, ap);
	va_end(ap);
}

char *dr_quote(const void *bytes, size_t len)
{
	struct dr_buf buf = { 0 };

	dr_text_escape(&buf, bytes, len);
	return dr_buf_cstr(&buf);
}

void dr_say_path(int err, const char *doing, const void *path, size_t len)
{
	dr_cleanup(dr_freep) char *quoted = dr_quote(path, len);

	switch (err) {
	case -ENOBUFS:
		dr_say("cannot %s '%s': no OST takes new objects", doing, quoted);
		break;
	case -ENODEV:
		dr_say("cannot %s '%s': an OST is down", doing, quoted);
		break;
	case -ENOSPC:
		dr_say("cannot %s '%s': no space left on the OSTs or the disk beneath", doing,
			quoted);
		break;
	default:
		errno = -err;
		dr_say("cannot %s '%s': %m", doing, quoted);
		break;
	}
}

/* The option that getopt stumbled over: the last word it took. */
static void tell_bad_option(const struct argp_state *state)
{
	const char *word = state->next > 0 ? state->argv[state->next - 1] : "";
	size_t len = strlen(word);
	dr_cleanup(dr_freep) char *quoted = dr_quote(word, len);

	for (const struct argp_option *o = state->root_argp->options; o && (o->name || o->key);
		o++) {
		if (o->name && o->arg && len > 2 && strncmp(word, "--", 2) == 0 &&
			strncmp(word + 2, o->name, len - 2) == 0) {
			dr_say("option '%s' needs a value", quoted);
			return;
		}
	}
	dr_say("'%s' is no option of %s; see drover-lab %s --help", quoted, state->argv[0],
		state->argv[0]);
}

/* Only the main thread is there yet: NOLINTBEGIN(concurrency-mt-unsafe) */
static __attribute__((noreturn)) void print_help(const struct argp_state *state)
{
	char *name = dr_xasprintf("drover-lab %s", state->argv[0]);

	argp_help(state->root_argp, stdout,
		ARGP_HELP_USAGE | ARGP_HELP_PRE_DOC | ARGP_HELP_LONG | ARGP_HELP_POST_DOC, name);
	free(name);
	exit(fflush(stdout) == 0 ? DR_EXIT_OK : DR_EXIT_FAILED);
}
/* NOLINTEND(concurrency-mt-unsafe) */

error_t dr_args_other(int key, char *arg, struct argp_state *state)
{
	struct dr_args *args = state->input;

	(void)arg;
	switch (key) {
	case 'h':
	case '?':
		print_help(state);
	case ARGP_KEY_ERROR:
		if (!args->told) {
			tell_bad_option(state);
		}
		args->told = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

error_t dr_args_fail(struct argp_state *state, const char *fmt, ...)
{
	struct dr_args *args = state->input;
	va_list ap;

	va_start(ap, fmt);
	if (!args->told) {
		say_line(fmt, ap);
	}
	va_end(ap);
	args->told = true;
	return EINVAL;
}

int dr_args_parse(const struct argp *argp, int argc, char **argv, struct dr_args *args)
{
	/* argp's own messages take two lines, and its own --help goes with them. */
	/* Only the main thread is there yet: NOLINTNEXTLINE(concurrency-mt-unsafe) */
	error_t e = argp_parse(argp, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP, NULL, args);

	if (e == 0) {
		return DR_EXIT_OK;
	}
	if (!args->told) {
		errno = e;
		dr_say("cannot read the command line: %m");
	}
	return DR_EXIT_USAGE;
}

error_t dr_args_take(struct argp_state *state, char *arg, const char **slots, unsigned n_slots)
{
	if (state->arg_num >= n_slots) {
		dr_cleanup(dr_freep) char *quoted = dr_quote(arg, strlen(arg));
		return dr_args_fail(state,
			"'%s' is one argument too many; see drover-lab %s --help", quoted,
			state->argv[0]);
	}
	slots[state->arg_num] = arg;
	return 0;
}

error_t dr_args_u64(struct argp_state *state, const char *what, const char *arg, uint64_t min,
	uint64_t max, uint64_t *ret)
{
	if (dr_text_parse_u64(arg, min, max, ret) < 0) {
		dr_cleanup(dr_freep) char *quoted = dr_quote(arg, strlen(arg));
		return dr_args_fail(state, "%s: '%s' is not a number from %ju to %ju", what, quoted,
			(uintmax_t)min, (uintmax_t)max);
	}
	return 0;
}

error_t dr_args_size(struct argp_state *state, const char *what, const char *arg, uint64_t *ret)
{
	if (dr_text_parse_size(arg, ret) < 0) {
		dr_cleanup(dr_freep) char *quoted = dr_quote(arg, strlen(arg));
		return dr_args_fail(
			state, "%s: '%s' is not a size such as 4096, 64K or 1.5G", what, quoted);
	}
	return 0;
}

int dr_args_open_lab(const char *dir, struct dr_lab **ret_lab)
{
	int r = dr_lab_open(dir, ret_lab);
	dr_cleanup(dr_freep) char *quoted = NULL;

	if (r >= 0) {
		return DR_EXIT_OK;
	}
	quoted = dr_quote(dir, strlen(dir));
	errno = -r;
	switch (r) {
	case -ENOENT:
	case -ENOTDIR:
	case -EBADMSG:
		dr_say("'%s' is not a lab; drover-lab create makes one", quoted);
		return DR_EXIT_USAGE;
	case -ESTALE:
		dr_say("'%s' is a lab in another version's format", quoted);
		return DR_EXIT_USAGE;
	default:
		dr_say("cannot open the lab '%s': %m", quoted);
		return DR_EXIT_FAILED;
	}
}

void dr_lab_closep(struct dr_lab **lab)
{
	if (*lab) {
		dr_lab_close(*lab);
	}
	*lab = NULL;
}
