/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fdio.h"
#include "base/mounts.h"
#include "campaign/engine.h"
#include "cli/start.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/signalfd.h>

/* What the start of every kind of campaign shares: the checks of the place, and the folder. */

int start_check_new(const struct cli *cli, const char *name)
{
	dr_cleanup(dr_freep) char *base = cli_escape(cli->options.base_path);
	struct dr_folder folder;
	int r = dr_folder_open(cli->options.base_path, name, &folder);

	if (r == 0) {
		dr_folder_fini(&folder);
		return cli_refuse("a campaign '%s' exists already in %s", name, base);
	}
	if (r != -ENOENT) {
		return cli_refuse("cannot look for campaigns in %s: %s", base, cli_strerror(r));
	}
	return CLI_OK;
}

int baggage_hold_signals(struct baggage *baggage)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, &baggage->signals) < 0) {
		return -errno;
	}
	baggage->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (baggage->signal_fd < 0) {
		int r = -errno;
		(void)sigprocmask(SIG_SETMASK, &baggage->signals, NULL);
		return r;
	}
	return 0;
}

void baggage_drop(struct baggage *baggage)
{
	dr_folder_abandon(&baggage->folder);
	if (baggage->signal_fd >= 0) {
		dr_fd_closep(&baggage->signal_fd);
		(void)sigprocmask(SIG_SETMASK, &baggage->signals, NULL);
	}
}

void start_take_back(const struct cli *cli, const struct dr_spec *spec)
{
	dr_cleanup(dr_fd_closep) int fd =
		open(cli->options.base_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || dr_remove_tree(fd, spec->name) < 0) {
		(void)cli_error("%s/%s stays there: remove it", cli->options.base_path, spec->name);
	}
}

int start_create(const struct cli *cli, const struct dr_spec *spec, struct baggage *baggage)
{
	dr_cleanup(dr_freep) char *base = cli_escape(cli->options.base_path);
	dr_cleanup(dr_freep) char *message = NULL;
	int r = baggage->folder.base_path ? dr_folder_commit(&baggage->folder, spec)
					  : dr_folder_create(cli->options.base_path, spec);

	if (r == -EEXIST) {
		return cli_refuse("'%s' exists already in %s", spec->name, base);
	}
	if (r < 0) {
		return cli_refuse(
			"cannot create campaign '%s' in %s: %s", spec->name, base, cli_strerror(r));
	}
	if (spec->external && dr_engine_register(cli->options.engine, spec, &message) < 0) {
		start_take_back(cli, spec);
		return cli_refuse("%s", message);
	}
	return CLI_OK;
}

int start_check_engine(const struct cli *cli, const char *what_lies)
{
	dr_cleanup(dr_freep) char *message = NULL;

	if (cli->options.engine && what_lies) {
		return cli_refuse("%s in the campaign's folder, which hosts that "
				  "work with redis_url need not share: not possible there",
			what_lies);
	}
	if (cli->options.engine) {
		return dr_engine_check(cli->options.engine, &message) < 0
			       ? cli_refuse("%s", message)
			       : CLI_OK;
	}
	dr_cleanup(dr_fd_closep) int fd =
		open(cli->options.base_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* A base path that is not there yet is looked at by the daemons. */
	return fd >= 0 && dr_mount_locks(fd, &message) < 0 ? cli_refuse("%s", message) : CLI_OK;
}

int start_fill(const char *name, bool dry_run, bool external, struct dr_spec *spec)
{
	uint64_t word;

	if (getrandom(&word, sizeof word, 0) != sizeof word) {
		return cli_error("no random numbers: %s", cli_strerror(-errno));
	}
	spec->name = dr_xstrdup(name);
	spec->id = dr_xasprintf("%016llx", (unsigned long long)word);
	spec->dry_run = dry_run;
	spec->external = external;
	spec->created_ms = dr_wall_ms();
	return CLI_OK;
}
