/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fdio.h"
#include "base/text.h"
#include "campaign/control.h"
#include "campaign/engine.h"
#include "cli/cli.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void dr_printf(1, 0) say(const char *fmt, va_list args)
{
	(void)fputs("drover: ", stderr);
	(void)vfprintf(stderr, fmt, args);
	(void)fputc('\n', stderr);
}

int cli_refuse(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(fmt, args);
	va_end(args);
	return CLI_BAD_INPUT;
}

int cli_error(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(fmt, args);
	va_end(args);
	return CLI_ERROR;
}

char *cli_escape(const char *bytes)
{
	struct dr_buf text = { 0 };

	dr_text_escape(&text, bytes, strlen(bytes));
	char *s = dr_xstrdup(dr_buf_cstr(&text));
	dr_buf_fini(&text);
	return s;
}

const char *cli_strerror(int error)
{
	const char *s = strerrordesc_np(-error);

	return s ? s : "unknown error";
}

struct parse {
	const struct argp *argp;
	const char *name;
	void *input;
};

/*
 * Stands between argp and the command's parser, so that what is wrong takes one line. Left alone, argp adds a
 * line that points to --help.
 */
static error_t parse_word(int key, char *arg, struct argp_state *state)
{
	struct parse *parse = state->input;

	if (key == ARGP_KEY_INIT) {
		state->err_stream = NULL;
	} else if (key == ARGP_KEY_ERROR) {
		exit(CLI_BAD_INPUT); /* getopt said what is wrong */
	}
	state->input = parse->input;
	error_t r = parse->argp->parser(key, arg, state);
	if (key == ARGP_KEY_ARG && r == ARGP_ERR_UNKNOWN) {
		exit(cli_refuse("%s: the word '%s' is one too many", parse->name, cli_escape(arg)));
	}
	return r;
}

void cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input)
{
	dr_cleanup(dr_freep) char *program = dr_xasprintf("drover %s", name);
	struct parse parse = { argp, name, input };
	struct argp wrapped = *argp;

	wrapped.parser = parse_word;
	argv[0] = program;
	if (argp_parse(&wrapped, argc, argv, 0, NULL, &parse)) {
		exit(CLI_BAD_INPUT);
	}
	argv[0] = NULL;
}

error_t cli_parse_name(int key, const char *arg, const char *command, const char **name)
{
	if (key == ARGP_KEY_ARG && !*name) {
		*name = arg;
		return 0;
	}
	if (key == ARGP_KEY_NO_ARGS) {
		exit(cli_refuse("%s: which campaign? drover list shows them", command));
	}
	return ARGP_ERR_UNKNOWN;
}

int cli_load(struct cli *cli)
{
	dr_cleanup(dr_freep) char *message = NULL;

	if (cli->loaded) {
		return CLI_OK;
	}
	dr_options_init(&cli->options);
	cli->loaded = true;
	if (dr_options_load(&cli->options, cli->config, &message) < 0) {
		return cli_refuse("%s", message);
	}
	return CLI_OK;
}

char *cli_config_words(const struct cli *cli)
{
	if (!cli->config) {
		return dr_xstrdup("");
	}
	dr_cleanup(dr_freep) char *file = cli_escape(cli->config);
	return dr_xasprintf(" --config %s", file);
}

static bool folder_is_here(const char *base_path, const char *name)
{
	dr_cleanup(dr_freep) char *path = dr_xasprintf("%s/%s", base_path, name);

	return access(path, F_OK) == 0;
}

int cli_open(struct cli *cli, const char *name, bool want_spec, struct cli_campaign *ret_campaign)
{
	struct cli_campaign campaign = { 0 };
	int r = cli_load(cli);

	if (r) {
		return r;
	}
	/* A campaign of the site's own server need not have a folder here yet. */
	if (want_spec || (cli->options.engine && dr_spec_name_ok(name) &&
				 !folder_is_here(cli->options.base_path, name))) {
		dr_cleanup(dr_freep) char *message = NULL;

		r = dr_campaign_open(
			&cli->options, name, &campaign.folder, &campaign.spec, &message);
		if (r < 0) {
			dr_cleanup(dr_freep) char *text = cli_escape(message);
			return cli_refuse("%s%s", text, r == -EACCES ? " (root is needed)" : "");
		}
	} else {
		dr_cleanup(dr_freep) char *word = cli_escape(name);
		dr_cleanup(dr_freep) char *base = cli_escape(cli->options.base_path);

		r = dr_folder_open(cli->options.base_path, name, &campaign.folder);
		if (r < 0) {
			return r == -ENOENT ? cli_refuse("no campaign '%s' in %s", word, base)
					    : cli_refuse("cannot open campaign '%s' in %s: %s%s",
						      word, base, cli_strerror(r),
						      r == -EACCES ? " (root is needed)" : "");
		}
	}
	*ret_campaign = campaign;
	return CLI_OK;
}

void cli_campaign_fini(struct cli_campaign *campaign)
{
	dr_folder_fini(&campaign->folder);
	dr_spec_free(campaign->spec);
	campaign->spec = NULL;
}

int cli_connect(const struct cli_campaign *campaign, const char *name, struct dr_store **ret_store)
{
	int r = dr_control_connect(&campaign->folder, campaign->spec, ret_store);

	if (r >= 0) {
		return CLI_OK;
	}
	*ret_store = NULL;
	if (r == -EACCES || r == -EPERM) {
		return campaign->folder.engine
			       ? cli_refuse(
					 "the server of campaign '%s' refuses user, password or a permission",
					 name)
			       : cli_refuse(
					 "the secret of campaign '%s' is not ours to read: root is needed",
					 name);
	}
	if (campaign->folder.engine) {
		return cli_refuse(
			"the server of campaign '%s' cannot be reached: %s", name, cli_strerror(r));
	}
	return CLI_OK;
}

/* From the site's own server, which alone knows. */
static int engine_state(const struct dr_folder *folder, char **ret_state)
{
	json_t *status = NULL;
	int r = dr_control_status_any(folder, &status);

	/* What this host wrote down once is no news of a campaign that others may have gone on with. */
	if (r == 0 && !json_is_true(json_object_get(status, "live"))) {
		r = -ENOTCONN;
	}
	if (r == 0) {
		*ret_state = dr_xstrdup(cli_text(status, "state"));
	}
	json_decref(status);
	return r;
}

int cli_folder_state(const struct dr_folder *folder, char **ret_state)
{
	if (folder->engine) {
		return engine_state(folder, ret_state);
	}
	json_t *status = NULL;
	/*
	 * The requests first: a daemon writes the new state before it removes the request, so a final
	 * state that is read after that was not reopened by any request made before.
	 */
	bool reopened = dr_folder_retry_requested(folder);
	int r = dr_folder_read_json(folder, "status.json", &status);

	if (r == -ENOENT) {
		/* No daemon ran yet; or the whole folder is gone. */
		if (faccessat(folder->fd, "campaign.json", F_OK, 0) < 0) {
			return -errno;
		}
		*ret_state = dr_xstrdup(DR_STATE_CREATED);
		return 0;
	}
	if (r < 0) {
		return r;
	}
	const char *state = cli_text(status, "state");
	if (dr_state_is_final(state) && reopened) {
		state = DR_STATE_REOPENED;
	}
	*ret_state = dr_xstrdup(state);
	json_decref(status);
	return 0;
}

int cli_refuse_status(const struct dr_folder *folder, const char *name, int error)
{
	if (!folder->engine) {
		return cli_refuse("cannot read the status of '%s': %s%s", name, cli_strerror(error),
			error == -EACCES ? " (root is needed)" : "");
	}
	dr_cleanup(dr_freep) char *server = dr_url_show(folder->engine);

	return error == -ENOENT
		       ? cli_refuse("%s does not have campaign '%s' any more", server, name)
	       : error == -EACCES
		       ? cli_refuse("%s refuses us: user, password or a permission", server)
		       : cli_refuse("%s: %s", server, cli_strerror(error));
}

int cli_exit_of(const char *state)
{
	if (strcmp(state, DR_STATE_COMPLETED) == 0 || strcmp(state, DR_STATE_DRY_RUN) == 0) {
		return CLI_OK;
	}
	if (strcmp(state, DR_STATE_LEFTOVERS) == 0) {
		return CLI_LEFTOVERS;
	}
	return strcmp(state, DR_STATE_FAILED) == 0 ? CLI_FAILED : CLI_ERROR;
}

bool cli_confirm(const char *question)
{
	char answer[16] = "";

	(void)fprintf(stderr, "%s [y/N] ", question);
	return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

int cli_ask(const char *command, const char *name, bool yes, const char *question)
{
	if (yes) {
		return CLI_OK;
	}
	if (!isatty(STDIN_FILENO)) {
		return cli_refuse("%s: nobody is there to ask; --yes answers", command);
	}
	return cli_confirm(question) ? CLI_OK : cli_refuse("'%s' was left as it is", name);
}
