/* What a segment says of its process: a JSON object, made once a segment. */
#include "recorder.h"
#include "encode.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is written up to `at` is complete; the last byte of the room is for the brace. */
struct out { uint8_t *at, *end; int failed; };

static void put(struct out *o, const char *text)
{
    size_t n = strlen(text);
    if (o->failed || (size_t)(o->end - o->at) < n) {
        o->failed = 1;
        return;
    }
    memcpy(o->at, text, n);
    o->at += n;
}

static void advance(struct out *o, int n)
{
    if (n < 0)
        o->failed = 1;
    else
        o->at += n;
}

/* What did not fit is taken back. */
static void settle(struct out *o, uint8_t *before)
{
    if (o->failed)
        o->at = before;
    o->failed = 0;
}

static void put_key(struct out *o, const char *key)
{
    put(o, o->at[-1] == '{' ? "\"" : ",\"");
    put(o, key);
    put(o, "\":");
}

static void put_text(struct out *o, const char *key, const char *text, size_t length)
{
    uint8_t *before = o->at;
    put_key(o, key);
    if (!o->failed)
        advance(o, pa_json_string(o->at, (uint32_t)(o->end - o->at), text, length));
    settle(o, before);
}

static void put_link(struct out *o, const char *key, const char *link)
{
    static char path[4096]; /* under the lock, and stacks of threads are small */
    ssize_t n = readlink(link, path, sizeof path);
    if (n > 0)
        put_text(o, key, path, (size_t)n);
}

static void put_argv(struct out *o)
{
    static char line[16384];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = read(fd, line, sizeof line);
    close(fd);
    const char *rest = n > 0 ? memchr(line, 0, (size_t)n) : NULL;
    if (!rest)
        return;
    rest++;
    uint16_t notes = 0;
    uint8_t *before = o->at;
    put_key(o, "argv");
    if (!o->failed)
        advance(o, pa_json_argv(o->at, (uint32_t)(o->end - o->at), rest, (size_t)(line + n - rest), &notes));
    settle(o, before);
}

static void put_settings(struct out *o, const struct pa_settings *s)
{
    static const char *const reveal[] = {"code", "env", "http", "sql", "input", "mail"};
    uint8_t *before = o->at;
    char number[32];
    put_key(o, "settings");
    snprintf(number, sizeof number, "{\"stack\":%u", s->stack_depth);
    put(o, number);
    if (!o->failed)
        put_text(o, "events", s->events, strlen(s->events));
    put(o, ",\"reveal\":[");
    int first = 1;
    for (unsigned i = 0; i < sizeof reveal / sizeof *reveal; i++)
        if (s->reveal & 1u << i) {
            put(o, first ? "\"" : ",\"");
            put(o, reveal[i]);
            put(o, "\"");
            first = 0;
        }
    put(o, "]}");
    settle(o, before);
}

uint32_t pa_attributes(uint8_t *out, uint32_t room, const struct pa_settings *settings)
{
    struct out o = {out, out + room - 1, 0};
    char host[256];
    const char *version = Py_GetVersion();
    put(&o, "{");
    put_text(&o, "python", version, strcspn(version, " "));
    put_text(&o, "implementation", "cpython", 7);
    put_text(&o, "recorder", PA_VERSION, strlen(PA_VERSION));
    put_settings(&o, settings);
    if (settings->run[0])
        put_text(&o, "run", settings->run, strlen(settings->run));
    if (gethostname(host, sizeof host) == 0) {
        host[sizeof host - 1] = 0;
        put_text(&o, "host", host, strlen(host));
    }
    put_link(&o, "exe", "/proc/self/exe");
    put_argv(&o);
    put_link(&o, "cwd", "/proc/self/cwd");
    *o.at++ = '}';
    return (uint32_t)(o.at - out);
}
