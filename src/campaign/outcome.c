/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "campaign/outcome.h"

const char *dr_class_name(enum dr_class class)
{
	static const char *const names[DR_N_CLASSES] = { "succeeded", "unneeded", "gone", "busy",
		"changed", "refused", "no_space", "failed" };
	return (unsigned)class < DR_N_CLASSES ? names[class] : "unknown";
}

const char *dr_step_name(enum dr_step step)
{
	static const char *const names[DR_N_STEPS] = { "open", "lease", "layout", "version",
		"target", "create", "copy", "write", "sync", "verify", "attrs", "swap", "aside",
		"done", "command" };
	return (unsigned)step < DR_N_STEPS ? names[step] : "unknown";
}

enum dr_class dr_class_of(enum dr_step step, int error)
{
	switch (-error) {
	case EBUSY:
	case EALREADY:
	case ECANCELED:
		return DR_BUSY;
	case ENOENT:
		return step == DR_STEP_OPEN ? DR_GONE : DR_FAILED;
	case EPERM:
		/* A foreign chown between our copy and the swap. */
		return step == DR_STEP_SWAP ? DR_CHANGED : DR_REFUSED;
	case EACCES:
	case EROFS:
	case ETXTBSY:
	case ENOKEY: /* encrypted, and its key is not on this node */
	case EOPNOTSUPP:
	case EBADMSG:
		return DR_REFUSED;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case ENOBUFS:
		return DR_NO_SPACE;
	case ESTALE:
	case EAGAIN:
		return DR_CHANGED;
	default:
		return DR_FAILED;
	}
}
