/* What to do with an event, by its name and by who raised it: PYTHONAUDIT_EVENTS.
 *
 *   [SET][,+GLOB|,-GLOB]...        default,-import,+socket.*
 *
 * The set, `default` if none is named, gives each name its modes:
 *   default   what the catalog says; names that it does not know are recorded
 *   all       everything is recorded
 *   security  what the catalog marks as security is recorded, its other names are
 *             counted, names that it does not know are recorded
 *   app       what the application raises itself is recorded, all else is off
 * +GLOB records and -GLOB switches off what it matches, whoever raised it; the last
 * glob that matches decides. A glob has to match the whole name, case-sensitively,
 * as Python's fnmatch.fnmatchcase: * ? [a-z] [!a-z], by characters of UTF-8 (a byte
 * that is not UTF-8 is a character of its own). A comma cannot stand in a glob; ? can.
 */
#ifndef PA_POLICY_H
#define PA_POLICY_H

#include <stddef.h>
#include <stdint.h>

enum { PA_MODE_OFF = 0, PA_MODE_COUNT = 1, PA_MODE_RECORD = 2 };

/* who raised it: indices of the modes of a name */
enum {
    PA_BY_INTERPRETER_FOR_STDLIB = 0, /* C literal; the calling Python frame is stdlib or none */
    PA_BY_INTERPRETER = 1,            /* C literal; another frame */
    PA_BY_STDLIB = 2,
    PA_BY_APPLICATION = 3,
    PA_BY_COUNT = 4
};

struct pa_event_rule;   /* event_table.h */
struct pa_policy;       /* lives as long as the process */

/* The catalog's row of an event, or NULL. */
const struct pa_event_rule *pa_event_rule_find(const char *name, size_t length);

/* Reads PYTHONAUDIT_EVENTS; NULL and "" are `default`. Returns 0; or -EINVAL, and the
 * complaint to follow the value in a sentence ("names the unknown set 'x'"); or -ENOMEM. */
int pa_policy_parse(const char *text, struct pa_policy **ret, char *ret_complaint, size_t room);

/* The modes of an event; a policy that is NULL is `default`. Allocates nothing; without
 * globs it does not look at the name. */
void pa_policy_modes(const struct pa_policy *policy, const char *name, size_t length,
                     const struct pa_event_rule *rule, uint8_t ret_modes[PA_BY_COUNT]);

/* Does the glob match the whole name? */
int pa_glob_matches(const char *glob, size_t glob_length, const char *name, size_t length);

#endif
