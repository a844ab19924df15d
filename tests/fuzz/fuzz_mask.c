/* Fuzzes the finding of secrets (mask.h): nothing is read beyond the text, the
 * spans are in order and in bounds, and a secret that is put behind any text at
 * all is found.
 *
 * targets.py builds and runs it; with -DPA_STANDALONE it takes files, and after --mutate N tries
 * N random changes of each. */
#include "mask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET "hunter2hunter2"

static void check(int holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz_mask: %s\n", what);
    abort();
}

static size_t find(int how, const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans)
{
    struct pa_argv argv = {0};
    size_t count = 0;
    switch (how) {
    case 0:
        return pa_mask_text(text, length, cut, ret_spans);
    case 1:
        return pa_mask_path(text, length, cut, ret_spans);
    case 2:
        return pa_mask_command(text, length, cut, ret_spans);
    case 3: {           /* the lines are arguments; what counts is found in the last one */
        size_t start = 0;
        for (size_t i = 0; i < length; i++)
            if (text[i] == '\n') {
                check(pa_mask_argument(&argv, text + start, i - start, 0, ret_spans) <= PA_SPANS_MAX, "count");
                start = i + 1;
            }
        count = pa_mask_argument(&argv, text + start, length - start, cut, ret_spans);
        for (size_t i = 0; i < count; i++) {
            ret_spans[i].start += start;
            ret_spans[i].end += start;
        }
        return count;
    }
    case 4:
        pa_mask_line(text, length, ret_spans, &count);
        return count;
    default:
        return pa_mask_url(text, length, cut, ret_spans);
    }
}

/* Copies the text to where the sanitizer sees its ends, and finds. */
static size_t find_in_copy(int how, const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans)
{
    uint8_t *copy = malloc(length ? length : 1);
    memcpy(copy, text, length);
    size_t count = find(how, copy, length, cut, ret_spans), end = 0;
    free(copy);
    check(count <= PA_SPANS_MAX, "too many spans");
    for (size_t i = 0; i < count; i++) {
        check(ret_spans[i].start < ret_spans[i].end && ret_spans[i].end <= length, "a span is empty or out of bounds");
        check(i == 0 || ret_spans[i].start >= end, "spans overlap");
        end = ret_spans[i].end;
    }
    return count;
}

/* Whatever stands before it: " password=SECRET " is masked. */
static void check_secret_behind(int how, const uint8_t *text, size_t length)
{
    static const char planted[] = " password=" SECRET " ";
    size_t start = length + strlen(planted) - 1 - strlen(SECRET), total = length + strlen(planted);
    uint8_t *whole = malloc(total);
    struct pa_span spans[PA_SPANS_MAX];
    memcpy(whole, text, length);
    memcpy(whole + length, planted, strlen(planted));
    size_t count = find_in_copy(how, whole, total, 0, spans);
    int found = 0;
    for (size_t i = 0; i < count; i++)
        found |= spans[i].start <= start && spans[i].end >= start + strlen(SECRET);
    if (!found)
        fprintf(stderr, "how %d, text: %.*s\n", how, (int)total, (const char *)whole);
    free(whole);
    check(found, "a secret was not found");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pa_span spans[PA_SPANS_MAX];
    if (!size)
        return 0;
    int how = data[0] % 6, cut = data[0] / 6 % 2;
    find_in_copy(how, data + 1, size - 1, cut, spans);
    pa_mask_is_option(data + 1, size - 1);
    pa_mask_is_secret(data + 1, size - 1);
    if (how != 1 && how != 4)
        check_secret_behind(how, data + 1, size - 1);
    return 0;
}

#ifdef PA_STANDALONE
static uint64_t state = 88172645463325252u;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static size_t mutate(uint8_t *data, size_t size, size_t room)
{
    static const char *const pieces[] = {"password", "token", "=", ":", "://", "@", "\"", "'", "\\", "\\\"", "[", "]", "{",
                                         "(", ")", " ", "\n", "\r\n", ",", "&", ";", "Authorization: ", "Bearer ", "cookie=",
                                         "--password", "-p", "mysql ", "sshpass ", "curl -u ", "'\"'", "\"\"\"", "pass:", "$("};
    for (int changes = 1 + (int)(next_random() % 6); changes > 0; changes--) {
        size_t at = size ? next_random() % (size + 1) : 0;
        const char *piece = pieces[next_random() % (sizeof pieces / sizeof *pieces)];
        size_t length = strlen(piece), gone = size - at < 8 ? size - at : 1 + next_random() % 8;
        switch (next_random() % 3) {
        case 0:
            if (at < size)
                data[at] = (uint8_t)next_random();
            break;
        case 1:
            if (size + length <= room) {
                memmove(data + at + length, data + at, size - at);
                memcpy(data + at, piece, length);
                size += length;
            }
            break;
        default:
            memmove(data + at, data + at + gone, size - at - gone);
            size -= gone;
        }
    }
    return size;
}

int main(int argc, char **argv)
{
    long rounds = 0, tried = 0;
    for (int i = 1; i < argc; i++) {
        static uint8_t data[1 << 16], changed[sizeof data + 256];
        if (strcmp(argv[i], "--mutate") == 0 && i + 1 < argc) {
            rounds = strtol(argv[++i], NULL, 10);
            continue;
        }
        FILE *file = fopen(argv[i], "rb");
        check(file != NULL, "cannot open a file");
        size_t size = fread(data, 1, sizeof data, file);
        fclose(file);
        LLVMFuzzerTestOneInput(data, size);
        for (long round = 0; round < rounds; round++) {
            memcpy(changed, data, size);
            LLVMFuzzerTestOneInput(changed, mutate(changed, size, size + 256));
        }
        tried += 1 + rounds;
    }
    printf("%ld texts\n", tried);
    return 0;
}
#endif
