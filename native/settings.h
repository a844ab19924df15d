/* The environment variables of the recorder: read once, at the start of a process.
 *
 * An unset or empty variable has its default. A value that makes no sense has it too,
 * and one line on descriptor 2 says so:
 *   pythonaudit: PYTHONAUDIT_STACK='abc' is not a number from 0 to 128; using 64
 * Control and non-ASCII characters of the value are shown as ?, 80 characters of it at
 * most. What is used is then put into the environment (`repair`), so that a process tree
 * complains once.
 *
 *   PYTHONAUDIT             on where non-empty and not 0
 *   PYTHONAUDIT_DIR         made absolute by the working directory; at most PA_DIR_MAX bytes.
 *                           Default: /var/log/pythonaudit for euid 0, else
 *                           $XDG_STATE_HOME/pythonaudit, else $HOME/.local/state/pythonaudit.
 *                           With neither (the user database is not asked: its plug-ins are
 *                           foreign code): /run/user/UID/pythonaudit if /run/user/UID is ours,
 *                           else /tmp/pythonaudit-UID unless somebody else holds that name.
 *   PYTHONAUDIT_EVENTS      see policy.h
 *   PYTHONAUDIT_STACK       0 to 128; default 64
 *   PYTHONAUDIT_RUN         at most 127 bytes, no control characters; default none
 *   PYTHONAUDIT_MAX_BYTES   bytes, or with K M G KiB MiB GiB (all powers of 1024, either
 *                           case), at least 1M; default 2G
 *   PYTHONAUDIT_ON_FULL     oldest (default), stop
 *   PYTHONAUDIT_ON_FAILURE  continue (default), stop
 *   PYTHONAUDIT_REVEAL      code, env, http, sql, input, mail, separated by commas;
 *                           default none
 */
#ifndef PA_SETTINGS_H
#define PA_SETTINGS_H

#include <stdint.h>

#include "policy.h"

#define PA_SYSTEM_DIR "/var/log/pythonaudit"
#define PA_DIR_MAX 3900     /* leaves room for journal/BOX/FILE in PATH_MAX */
#define PA_STATUS_STOP 78   /* exit status where PYTHONAUDIT_ON_FAILURE=stop */

typedef const char *(*pa_getenv_fn)(const char *name);
typedef void (*pa_repair_fn)(const char *name, const char *value);

enum {
    PA_REVEAL_CODE = 1, PA_REVEAL_ENV = 2, PA_REVEAL_HTTP = 4,
    PA_REVEAL_SQL = 8, PA_REVEAL_INPUT = 16,
    PA_REVEAL_MAIL = 32     /* protocol lines: smtp, imap, pop, ftp, nntp, telnet */
};

struct pa_settings {
    int on;                 /* 0: nothing below is filled */
    int stop_on_failure;
    int stop_on_full;
    int nowhere_else;       /* no fallback where `dir` cannot be written; no variable sets it */
    unsigned stack_depth;
    uint32_t reveal;        /* PA_REVEAL_* */
    uint64_t max_bytes;
    char run[128];
    char dir[4096];         /* absolute */
    char events[128];       /* what `policy` was made from; its beginning */
    struct pa_policy *policy;
};

/* Fills from the environment; `repair` may be NULL. Returns 0, or PA_STATUS_STOP where
 * something made no sense and PYTHONAUDIT_ON_FAILURE=stop: the caller ends the process
 * with that status. Preserves errno. */
int pa_settings_load(struct pa_settings *ret, pa_getenv_fn get, pa_repair_fn repair);

#endif
