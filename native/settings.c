/* The recorder's environment variables (see settings.h). Called once, before any event. */
#include "settings.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signals.h"

#define SHOWN_MAX 80            /* characters of a value in a complaint */
#define EVENTS_MAX 4095
#define STACK_DEFAULT 64u
#define STACK_MAX 128u
#define BYTES_DEFAULT (UINT64_C(2) << 30)
#define BYTES_LEAST (UINT64_C(1) << 20)

struct loader {
    pa_getenv_fn get;
    pa_repair_fn repair;
    int complaints;
    int stop;               /* PYTHONAUDIT_ON_FAILURE=stop */
};

/* The value of a variable, or NULL where it is unset or empty. */
static const char *value_of(const struct loader *l, const char *name)
{
    const char *value = l->get(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

static void write_line(const char *line, size_t length)
{
    struct pa_signals held;
    pa_signals_hold(&held, SIGPIPE);
    ssize_t written = write(2, line, length);
    (void)written;              /* there is nobody else to tell */
    pa_signals_release(&held, SIGPIPE);
}

/* One line: what of the value makes no sense, and what is used instead. */
static void complain(struct loader *l, const char *name, const char *value,
                     const char *used, const char *problem)
{
    char shown[SHOWN_MAX + 4], line[PA_DIR_MAX + 512];
    size_t n = 0;
    for (; value[n] != '\0' && n < SHOWN_MAX; n++)
        shown[n] = value[n] >= ' ' && value[n] <= '~' ? value[n] : '?';
    snprintf(shown + n, sizeof shown - n, "%s", value[n] != '\0' ? "..." : "");
    int length = snprintf(line, sizeof line, "pythonaudit: %s='%s' %s; %s%s\n", name, shown, problem,
                          l->stop ? "stopping, as PYTHONAUDIT_ON_FAILURE=stop asks" : "using ",
                          l->stop ? "" : *used != '\0' ? used : "none");
    write_line(line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
    l->complaints++;
    if (l->repair != NULL)
        l->repair(name, used);
}

static int is_decimal(char c)
{
    return c >= '0' && c <= '9';
}

static int same_ignoring_case(const char *a, const char *lower)
{
    for (; *a != '\0' && *lower != '\0'; a++, lower++)
        if ((*a >= 'A' && *a <= 'Z' ? *a + ('a' - 'A') : *a) != *lower)
            return 0;
    return *a == *lower;
}

/* Digits at *text, which moves on. 0 where there are none or too many. */
static int parse_number(const char **text, uint64_t *ret)
{
    uint64_t value = 0;
    if (!is_decimal(**text))
        return 0;
    for (; is_decimal(**text); ++*text)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(**text - '0'), &value))
            return 0;
    *ret = value;
    return 1;
}

static int parse_bytes(const char *text, uint64_t *ret)
{
    static const struct { const char *lower; unsigned shift; } units[] = {
        {"", 0}, {"k", 10}, {"kib", 10}, {"m", 20}, {"mib", 20}, {"g", 30}, {"gib", 30},
    };
    uint64_t value;
    if (!parse_number(&text, &value))
        return 0;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (same_ignoring_case(text, units[i].lower)) {
            if (value > (uint64_t)INT64_MAX >> units[i].shift || value << units[i].shift < BYTES_LEAST)
                return 0;
            *ret = value << units[i].shift;
            return 1;
        }
    return 0;
}

/* A variable with two words, the first of which is the default: 1 for the second. */
static int load_choice(struct loader *l, const char *name, const char *usual, const char *other,
                       const char *problem)
{
    const char *value = value_of(l, name);
    if (value == NULL || strcmp(value, usual) == 0)
        return 0;
    if (strcmp(value, other) == 0)
        return 1;
    complain(l, name, value, usual, problem);
    return 0;
}

static unsigned load_stack(struct loader *l)
{
    const char *value = value_of(l, "PYTHONAUDIT_STACK"), *at = value;
    uint64_t number;
    if (value == NULL)
        return STACK_DEFAULT;
    if (parse_number(&at, &number) && *at == '\0' && number <= STACK_MAX)
        return (unsigned)number;
    complain(l, "PYTHONAUDIT_STACK", value, "64", "is not a number from 0 to 128");
    return STACK_DEFAULT;
}

static uint64_t load_max_bytes(struct loader *l)
{
    const char *value = value_of(l, "PYTHONAUDIT_MAX_BYTES");
    uint64_t bytes = BYTES_DEFAULT;
    if (value != NULL && !parse_bytes(value, &bytes))
        complain(l, "PYTHONAUDIT_MAX_BYTES", value, "2G",
                 "is not a size of at least 1M, such as 512M or 2G");
    return bytes;
}

static uint32_t load_reveal(struct loader *l)
{
    static const struct { const char *name; uint32_t bit; } words[] = {
        {"code", PA_REVEAL_CODE}, {"env", PA_REVEAL_ENV}, {"http", PA_REVEAL_HTTP},
        {"sql", PA_REVEAL_SQL}, {"input", PA_REVEAL_INPUT}, {"mail", PA_REVEAL_MAIL},
    };
    const char *value = value_of(l, "PYTHONAUDIT_REVEAL");
    uint32_t reveal = 0;
    for (const char *at = value; at != NULL && *at != '\0';) {
        size_t length = strcspn(at, ","), i = 0, count = sizeof words / sizeof *words;
        while (i < count && (strlen(words[i].name) != length || memcmp(words[i].name, at, length)))
            i++;
        if (i == count) {
            complain(l, "PYTHONAUDIT_REVEAL", value, "",
                     "is not a list of code, env, http, sql, input, mail");
            return 0;
        }
        reveal |= words[i].bit;
        at += length + (at[length] == ',');
    }
    return reveal;
}

static void load_run(struct loader *l, char *ret, size_t room)
{
    const char *value = value_of(l, "PYTHONAUDIT_RUN"), *problem = NULL;
    if (value == NULL)
        return;
    for (const char *at = value; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7F)
            problem = "has control characters";
    size_t length = strlen(value);
    if (length >= room)
        problem = "is longer than 127 bytes";
    if (problem != NULL)
        complain(l, "PYTHONAUDIT_RUN", value, "", problem);
    else
        memcpy(ret, value, length + 1);
}

static struct pa_policy *load_policy(struct loader *l, char *ret_text, size_t room)
{
    const char *value = value_of(l, "PYTHONAUDIT_EVENTS");
    struct pa_policy *policy = NULL;
    char problem[160] = "is longer than 4095 bytes";
    if (value == NULL || (strlen(value) <= EVENTS_MAX &&
                          pa_policy_parse(value, &policy, problem, sizeof problem) != -EINVAL)) {
        snprintf(ret_text, room, "%s", value == NULL ? "default" : value);
        return policy;          /* NULL: the default, see pa_policy_modes */
    }
    snprintf(ret_text, room, "default");
    complain(l, "PYTHONAUDIT_EVENTS", value, "default", problem);
    return NULL;
}

/* `path` names a directory of this user, or (absent_will_do) nothing at all. */
static int is_ours(const char *path, int absent_will_do)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return absent_will_do && errno == ENOENT;
    return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH));
}

static void default_dir(const struct loader *l, char *ret)
{
    unsigned uid = (unsigned)geteuid();
    const char *state = value_of(l, "XDG_STATE_HOME"), *home = value_of(l, "HOME");
    if (uid == 0) {
        snprintf(ret, PA_DIR_MAX, "%s", PA_SYSTEM_DIR);
    } else if (state != NULL && *state == '/' && strlen(state) < PA_DIR_MAX - 32) {
        snprintf(ret, PA_DIR_MAX, "%s/pythonaudit", state);
    } else if (home != NULL && *home == '/' && strlen(home) < PA_DIR_MAX - 32) {
        snprintf(ret, PA_DIR_MAX, "%s/.local/state/pythonaudit", home);
    } else {
        char runtime[40], temporary[40];
        snprintf(runtime, sizeof runtime, "/run/user/%u", uid);
        snprintf(temporary, sizeof temporary, "/tmp/pythonaudit-%u", uid);
        int there = !is_ours(runtime, 0) && is_ours(temporary, 1);
        snprintf(ret, PA_DIR_MAX, "%s%s", there ? temporary : runtime, there ? "" : "/pythonaudit");
    }
}

static void load_dir(struct loader *l, char *ret, size_t room)
{
    const char *value = value_of(l, "PYTHONAUDIT_DIR"), *problem = NULL;
    if (value == NULL) {
        default_dir(l, ret);
        return;
    }
    size_t length = strlen(value), base = 0;
    if (*value != '/') {
        if (getcwd(ret, room - 1) == NULL || *ret != '/')
            problem = "is relative, and the working directory has no name";
        else if ((base = strlen(ret)) > 1)
            ret[base++] = '/';
    }
    if (problem == NULL && base + length > PA_DIR_MAX)
        problem = "makes a path longer than 3900 bytes";
    if (problem == NULL) {
        memcpy(ret + base, value, length + 1);
    } else {
        default_dir(l, ret);
        complain(l, "PYTHONAUDIT_DIR", value, ret, problem);
    }
}

int pa_settings_load(struct pa_settings *ret, pa_getenv_fn get, pa_repair_fn repair)
{
    struct loader l = {get, repair, 0, 0};
    int error = errno;
    memset(ret, 0, sizeof *ret);
    const char *on = value_of(&l, "PYTHONAUDIT");
    if (on != NULL && strcmp(on, "0") != 0) {
        ret->on = 1;
        ret->stop_on_failure = load_choice(&l, "PYTHONAUDIT_ON_FAILURE", "continue", "stop",
                                           "is neither continue nor stop");
        l.stop = ret->stop_on_failure;
        ret->stop_on_full = load_choice(&l, "PYTHONAUDIT_ON_FULL", "oldest", "stop",
                                        "is neither oldest nor stop");
        load_dir(&l, ret->dir, sizeof ret->dir);
        load_run(&l, ret->run, sizeof ret->run);
        ret->policy = load_policy(&l, ret->events, sizeof ret->events);
        ret->stack_depth = load_stack(&l);
        ret->max_bytes = load_max_bytes(&l);
        ret->reveal = load_reveal(&l);
    }
    errno = error;
    return l.complaints > 0 && ret->stop_on_failure ? PA_STATUS_STOP : 0;
}
