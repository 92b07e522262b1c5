/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DR_CAMPAIGN_TEMPLATE_H
#define DR_CAMPAIGN_TEMPLATE_H

#include "base/buf.h"

/*
 * The templates of commands (close_command, open_command): text for a shell in which {fsname}, {ost} and {index} stand for an OST.
 * Other braces are the shell's. Pure.
 */

/*
 * @param ret_why a constant text that goes on after "the value"
 * @error EINVAL a word in braces that is none of the three; a "$" before such a word, which the shell would read as a
 *        variable; neither {ost} nor {index} is there, so that the command would be the same for every OST
 */
dr_nodiscard int dr_template_check(const char *template, const char **ret_why);

/*
 * The command for one OST, malloc'ed. name: as struct dr_ost has it, "lustre-OST0003"; index: 3. Only letters, digits, "_", "." and "-"
 * ever come into a command.
 * @error EINVAL the name holds something else, or no "-OST" with something before it
 */
dr_nodiscard int dr_template_expand(
	const char *template, const char *name, uint32_t index, char **ret_command);

#endif
