/* Modes of events: the set named in PYTHONAUDIT_EVENTS, then its globs (see policy.h). */
#include "policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event_table.h"

enum set { SET_DEFAULT, SET_ALL, SET_SECURITY, SET_APP };

static const struct { const char *name; enum set set; } sets[] = {
    {"default", SET_DEFAULT}, {"all", SET_ALL}, {"security", SET_SECURITY}, {"app", SET_APP},
};

struct glob {
    uint8_t mode;
    uint32_t length;
    const char *text;
};

struct pa_policy {
    enum set set;
    size_t count;
    struct glob globs[];    /* and the text that they point into, behind them */
};

const struct pa_event_rule *pa_event_rule_find(const char *name, size_t length)
{
    size_t low = 0, high = PA_EVENT_RULES;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct pa_event_rule *rule = &pa_event_table[middle];
        int order = memcmp(name, rule->name, length < rule->length ? length : rule->length);
        if (order == 0 && length == rule->length)
            return rule;
        if (order < 0 || (order == 0 && length < rule->length))
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* The character at *text, which moves on. A byte that is no part of valid UTF-8 stands for
 * itself in a range that valid UTF-8 does not use. */
static uint32_t next_character(const char **text, const char *end)
{
    const unsigned char *at = (const unsigned char *)*text;
    size_t left = (size_t)(end - *text), length;
    uint32_t value, least;
    if (at[0] < 0x80) { length = 1; least = 0; value = at[0]; }
    else if (at[0] >= 0xC2 && at[0] < 0xE0) { length = 2; least = 0x80; value = at[0] & 0x1F; }
    else if (at[0] >= 0xE0 && at[0] < 0xF0) { length = 3; least = 0x800; value = at[0] & 0x0F; }
    else if (at[0] >= 0xF0 && at[0] < 0xF5) { length = 4; least = 0x10000; value = at[0] & 0x07; }
    else { length = 0; least = 0; value = 0; }
    for (size_t i = 1; i < length; i++) {
        if (i >= left || (at[i] & 0xC0) != 0x80) { length = 0; break; }
        value = value << 6 | (at[i] & 0x3F);
    }
    if (length == 0 || value < least || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
        *text += 1;
        return 0xDC00u + at[0];
    }
    *text += length;
    return value;
}

/* The ] that closes the set whose first character after [ is at `text`, or NULL. */
static const char *set_end(const char *text, const char *end)
{
    if (text < end && *text == '!')
        text++;
    if (text < end && *text == ']')
        text++;
    return text < end ? memchr(text, ']', (size_t)(end - text)) : NULL;
}

static int set_has(const char *text, const char *end, uint32_t wanted)
{
    int negated = text < end && *text == '!', found = 0;
    text += negated;
    while (text < end) {
        uint32_t first = next_character(&text, end), last = first;
        if (end - text >= 2 && *text == '-') {
            text++;
            last = next_character(&text, end);
        }
        found |= first <= wanted && wanted <= last;
    }
    return found != negated;
}

int pa_glob_matches(const char *glob, size_t glob_length, const char *name, size_t length)
{
    const char *glob_end = glob + glob_length, *name_end = name + length;
    const char *after_star = NULL, *star_name = NULL;   /* where the last * resumes */
    for (;;) {
        int matched = 0;
        if (glob < glob_end && *glob == '*') {
            after_star = ++glob;
            star_name = name;
            continue;
        }
        if (name == name_end && glob == glob_end)
            return 1;
        if (name < name_end && glob < glob_end) {
            const char *close = *glob == '[' ? set_end(glob + 1, glob_end) : NULL;
            uint32_t character = next_character(&name, name_end);
            if (close != NULL) {
                matched = set_has(glob + 1, close, character);
                glob = close + 1;
            } else {
                uint32_t wanted = next_character(&glob, glob_end);
                matched = wanted == '?' || wanted == character;
            }
        }
        if (matched)
            continue;
        if (after_star == NULL || star_name == name_end)
            return 0;
        next_character(&star_name, name_end);   /* let the * take one more */
        name = star_name;
        glob = after_star;
    }
}

static int find_set(const char *item, size_t length, enum set *ret)
{
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (strlen(sets[i].name) == length && memcmp(sets[i].name, item, length) == 0) {
            *ret = sets[i].set;
            return 1;
        }
    return 0;
}

int pa_policy_parse(const char *text, struct pa_policy **ret, char *ret_complaint, size_t room)
{
    if (text == NULL)
        text = "";
    size_t length = strlen(text), items = 1;
    for (const char *at = text; *at != '\0'; at++)
        items += *at == ',';
    struct pa_policy *policy = malloc(sizeof *policy + items * sizeof(struct glob) + length);
    if (policy == NULL)
        return -ENOMEM;
    policy->set = SET_DEFAULT;
    policy->count = 0;
    const char *at = memcpy(&policy->globs[items], text, length), *end = at + length;
    for (size_t i = 0; i < items; i++) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t size = (size_t)((comma != NULL ? comma : end) - at);
        if (size > 0 && (*at == '+' || *at == '-')) {
            if (size == 1) {
                snprintf(ret_complaint, room, "has a %c with no glob", *at);
                break;
            }
            policy->globs[policy->count++] = (struct glob){
                *at == '+' ? PA_MODE_RECORD : PA_MODE_OFF, (uint32_t)size - 1, at + 1};
        } else if (size > 0 && !find_set(at, size, &policy->set)) {
            snprintf(ret_complaint, room,
                     "is not a set (default, all, security, app) and globs with + or -");
            break;
        } else if (size > 0 && i > 0) {
            snprintf(ret_complaint, room, "names a set after its first item");
            break;
        }
        if (comma == NULL) {
            *ret = policy;
            return 0;
        }
        at = comma + 1;
    }
    free(policy);
    return -EINVAL;
}

void pa_policy_modes(const struct pa_policy *policy, const char *name, size_t length,
                     const struct pa_event_rule *rule, uint8_t ret_modes[PA_BY_COUNT])
{
    for (size_t i = policy != NULL ? policy->count : 0; i-- > 0;)
        if (pa_glob_matches(policy->globs[i].text, policy->globs[i].length, name, length)) {
            memset(ret_modes, policy->globs[i].mode, PA_BY_COUNT);
            return;
        }
    memset(ret_modes, PA_MODE_RECORD, PA_BY_COUNT);
    switch (policy != NULL ? policy->set : SET_DEFAULT) {
    case SET_DEFAULT:
        if (rule != NULL) {
            ret_modes[PA_BY_INTERPRETER_FOR_STDLIB] = ret_modes[PA_BY_STDLIB] = rule->mode_stdlib;
            ret_modes[PA_BY_INTERPRETER] = ret_modes[PA_BY_APPLICATION] = rule->mode;
        }
        break;
    case SET_SECURITY:
        if (rule != NULL && !(rule->sets & PA_SET_SECURITY))
            memset(ret_modes, PA_MODE_COUNT, PA_BY_COUNT);
        break;
    case SET_APP:
        memset(ret_modes, PA_MODE_OFF, PA_BY_COUNT);
        ret_modes[PA_BY_APPLICATION] = PA_MODE_RECORD;
        break;
    case SET_ALL:
        break;
    }
}
