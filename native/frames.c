#include "frames.h"

#include <stdlib.h>
#include <string.h>

#define P1 0x9e3779b185ebca87u
#define P2 0xc2b2ae3d27d4eb4fu
#define P3 0x165667b19e3779f9u
#define P4 0x27d4eb2f165667c5u
#define HELD_MAX 65536u
#define FRAMES_MAX 128u
#define LOOK_MAX 16           /* frames in which to find the `encodings` package */

struct raw_frame { PyObject *code; int line; };

static char stdlib_dir[4096];
static size_t stdlib_length;

/* names and line tables whose addresses are in keys (3.10, 3.11) */
static PyObject **held;         /* a table by address, at most half full */
static uint32_t held_size, held_count;

static inline void *pointer_at(const void *base, unsigned offset)
{
    return *(void *const *)((const char *)base + offset);
}

#define INLINE static inline __attribute__((always_inline))

INLINE void *first_frame(const struct pa_offsets *o, PyThreadState *thread)
{
    void *f = pointer_at(thread, o->thread_frame);
    if (o->cframe_frame != PA_ABSENT && f)
        f = pointer_at(f, o->cframe_frame);
    return f;
}

INLINE PyObject *code_of(const struct pa_offsets *o, const char *frame)
{
    return (PyObject *)((uintptr_t)pointer_at(frame, o->frame_code) & ~(uintptr_t)o->frame_code_tag);
}

INLINE int entered_from_c(const struct pa_offsets *o, const char *frame)
{
    return o->owner_none != PA_ABSENT && (uint8_t)frame[o->frame_owner] >= o->owner_none;
}

INLINE uint64_t identity_of(const struct pa_offsets *o, const void *code)
{
    if (o->code_version != PA_ABSENT)
        return *(const uint32_t *)((const char *)code + o->code_version) * P2;
    return (uintptr_t)pointer_at(code, o->code_linetable) * P2 +
           (uintptr_t)pointer_at(code, o->code_qualname) * P3 +
           (uintptr_t)pointer_at(code, o->code_filename) * P4 +
           *(const uint32_t *)((const char *)code + o->code_firstline);
}

INLINE uint64_t frame_value(const struct pa_offsets *o, const char *frame, const void *code)
{
    /* From 3.11 on an instruction's address lies in its code and names it too. */
    uint64_t at = o->code_bytes == PA_ABSENT
                      ? (uintptr_t)pointer_at(frame, o->frame_instruction)
                      : (uintptr_t)code + ((uint64_t)*(const uint32_t *)(frame + o->frame_instruction) << 32);
    return at ^ identity_of(o, code);
}

/* Tells a key of so many frames, with or without more behind them, from any other; never 0. */
INLINE uint64_t finish(uint64_t key, unsigned depth, int deeper)
{
    key = (key + depth * 2 + (unsigned)deeper) * P1;
    return (key ^ key >> 29) | 1;
}

/* A polynomial of the frames: one product and one sum a frame wait for the frame before, which is
 * no longer than finding the next frame takes. */
INLINE uint64_t key_by_offsets(const struct pa_offsets *o, PyThreadState *thread, unsigned max, uint64_t key)
{
    unsigned left = max;
    const char *f = first_frame(o, thread);
    while (f && left) {
        if (__builtin_expect(!entered_from_c(o, f), 1)) {
            key = key * P1 + frame_value(o, f, code_of(o, f));
            left--;
        }
        f = pointer_at(f, o->frame_previous);
    }
    while (f && entered_from_c(o, f))
        f = pointer_at(f, o->frame_previous);
    return left == max ? 0 : finish(key, max - left, f != NULL);
}

static int walk_api(PyThreadState *thread, struct raw_frame *out, unsigned max, int *ret_deeper);

static uint64_t key_by_api(PyThreadState *thread, unsigned max, uint64_t key)
{
    struct raw_frame frames[FRAMES_MAX];
    int deeper;
    unsigned depth = (unsigned)walk_api(thread, frames, max, &deeper);
    for (unsigned i = 0; i < depth; i++)
        key = key * P1 + ((uintptr_t)frames[i].code ^ identity_of(&pa_offsets, frames[i].code) ^
                          (uint64_t)frames[i].line << 40);
    return depth ? finish(key, depth, deeper) : 0;
}

static uint64_t key_by_other_offsets(PyThreadState *thread, unsigned max, uint64_t key)
{
    return key_by_offsets(&pa_offsets, thread, max, key);
}

/* With offsets that are constants, half the instructions. */
#define KEY_BY_ROW(row) \
    static uint64_t key_by_row_##row(PyThreadState *thread, unsigned max, uint64_t key) \
    { \
        return key_by_offsets(&pa_offsets_table[row], thread, max, key); \
    }
KEY_BY_ROW(0)
KEY_BY_ROW(1)
KEY_BY_ROW(2)
KEY_BY_ROW(3)
KEY_BY_ROW(4)
KEY_BY_ROW(5)
KEY_BY_ROW(6)

static pa_stack_key_function *const keys_by_row[] = {key_by_row_0, key_by_row_1, key_by_row_2, key_by_row_3,
                                                   key_by_row_4, key_by_row_5, key_by_row_6};

pa_stack_key_function *pa_stack_key = key_by_other_offsets;

void pa_frames_init(void)
{
    for (unsigned i = 0; i < sizeof keys_by_row / sizeof *keys_by_row; i++)
        if (!memcmp(&pa_offsets, &pa_offsets_table[i], sizeof pa_offsets))
            pa_stack_key = keys_by_row[i];
}

static int incomplete(const char *frame, PyObject *code)
{
    if (pa_offsets.code_firsttraceable == PA_ABSENT ||
        (uint8_t)frame[pa_offsets.frame_owner] == pa_offsets.owner_generator)
        return 0;
    const char *start = (const char *)code + pa_offsets.code_instructions;
    return (const char *)pointer_at(frame, pa_offsets.frame_instruction) <
           start + 2 * *(const int *)((const char *)code + pa_offsets.code_firsttraceable);
}

static int line_of(const char *frame, PyObject *code)
{
    long offset;
    if (pa_offsets.code_bytes != PA_ABSENT)
        offset = 2L * *(const int *)(frame + pa_offsets.frame_instruction);
    else
        offset = (const char *)pointer_at(frame, pa_offsets.frame_instruction) -
                 ((const char *)code + pa_offsets.code_instructions);
    return PyCode_Addr2Line((PyCodeObject *)code, (int)offset);
}

/* The limited API's walk: allocates frame objects, so without the collector. */
static int walk_api(PyThreadState *thread, struct raw_frame *out, unsigned max, int *ret_deeper)
{
    unsigned n = 0;
    int collecting = pa_collector_off();
    PyFrameObject *f = PyThreadState_GetFrame(thread);
    while (f && n < max) {
        PyObject *code = (PyObject *)PyFrame_GetCode(f);
        out[n++] = (struct raw_frame){code, PyFrame_GetLineNumber(f)};
        PyFrameObject *back = PyFrame_GetBack(f);
        Py_DECREF(code); /* the frame that is running keeps it */
        Py_DECREF((PyObject *)f);
        f = back;
    }
    *ret_deeper = f != NULL;
    Py_XDECREF((PyObject *)f);
    if (collecting)
        PyGC_Enable();
    return (int)n;
}

/* Under the lock: a text of a code object, which would be much for the stack of a small thread. */
static uint8_t utf8[4096];

static uint32_t intern_text(struct pa_intern *in, PyObject *text)
{
    int flags;
    if (!text || Py_TYPE(text) != &PyUnicode_Type)
        return pa_intern_string(in, "?", 1);
    size_t n = pa_str_utf8(text, utf8, sizeof utf8, &flags);
    return pa_intern_string(in, utf8, (uint32_t)n);
}

static void learn_stdlib(const uint8_t *file, size_t length)
{
    static const char suffix[] = "/encodings/__init__.py";
    size_t n = sizeof suffix - 1;
    if (length <= n || length >= sizeof stdlib_dir || memcmp(file + length - n, suffix, n))
        return;
    memcpy(stdlib_dir, file, length - n + 1);
    stdlib_length = length - n + 1;
}

void pa_frames_set_stdlib(const char *directory)
{
    size_t n = strlen(directory);
    if (!n || n + 2 > sizeof stdlib_dir)
        return;
    memcpy(stdlib_dir, directory, n);
    stdlib_dir[n++] = '/';
    stdlib_length = n;
}

static int is_stdlib(PyObject *filename)
{
    int flags;
    if (!filename || Py_TYPE(filename) != &PyUnicode_Type)
        return 0;
    size_t n = pa_str_utf8(filename, utf8, sizeof utf8, &flags);
    if (n > 8 && !memcmp(utf8, "<frozen ", 8))
        return 1;
    if (!stdlib_length)
        learn_stdlib(utf8, n);
    if (!stdlib_length || n <= stdlib_length || memcmp(utf8, stdlib_dir, stdlib_length))
        return 0;
    const char *rest = (const char *)utf8 + stdlib_length;
    size_t left = n - stdlib_length;
    return !(left > 14 && (!memcmp(rest, "site-packages/", 14) || !memcmp(rest, "dist-packages/", 14)));
}

static PyObject **place_of(PyObject *o)
{
    uint32_t i = (uint32_t)(((uintptr_t)o >> 4) * P1 >> 40) & (held_size - 1);
    while (held[i] && held[i] != o)
        i = (i + 1) & (held_size - 1);
    return &held[i];
}

/* Small at first: each page of it that is touched costs as much as some events. */
static int grow_held(void)
{
    PyObject **old = held;
    uint32_t old_size = held_size, size = old_size ? 2 * old_size : 1024;
    PyObject **table = calloc(size, sizeof *table);
    if (!table)
        return -1;
    held = table;
    held_size = size;
    for (uint32_t i = 0; i < old_size; i++)
        if (old[i])
            *place_of(old[i]) = old[i];
    free(old);
    return 0;
}

static int hold(PyObject *o)
{
    if (!o)
        return 0;
    if (Py_TYPE(o) != &PyUnicode_Type && Py_TYPE(o) != &PyBytes_Type)
        return -1;
    if (2 * held_count >= held_size && grow_held() < 0)
        return -1;
    PyObject **place = place_of(o);
    if (*place)
        return 0;
    Py_INCREF(o);
    *place = o;
    held_count++;
    return 0;
}

static void release_held(void)
{
    for (uint32_t i = 0; i < held_size; i++)
        Py_CLEAR(held[i]);
    held_count = 0;
}

void pa_frames_end(void)
{
    release_held();
}

/* Code id of a code object; 0 on failure. *ret_lasting: its key may be cached. */
static uint32_t intern_code(struct pa_intern *in, PyObject *code, int *ret_lasting)
{
    struct pa_code_view v = {0};
    pa_code_read(code, &v); /* where it may not be read, names are unknown */
    if (pa_offsets.code_version == PA_ABSENT)
        *ret_lasting = !hold(v.filename) && !hold(v.qualname) && !hold(v.linetable);
    else
        *ret_lasting = v.version != 0;
    uint32_t file = intern_text(in, v.filename);
    uint32_t function = file ? intern_text(in, v.qualname) : 0;
    if (!function)
        return 0;
    uint32_t line = v.firstline > 0 ? (uint32_t)v.firstline : 0;
    return pa_intern_code(in, file, function, line, is_stdlib(v.filename) ? PA_CODE_STDLIB : 0);
}

/* The code id and line of one frame, from the sites' cache if they are there. */
static int resolve(struct pa_intern *in, PyObject *code, const char *frame, int line,
                   uint64_t interpreter, uint32_t *ret_code, uint32_t *ret_line, int *ret_lasting)
{
    uint64_t key = 0;
    struct pa_site *site = NULL;
    if (frame) {
        key = frame_value(&pa_offsets, frame, code) + interpreter * P3;
        site = &in->sites[key * P1 >> 40 & (PA_SITES - 1)];
        if (site->code && site->key == key) {
            *ret_code = site->code;
            *ret_line = site->line;
            return 0;
        }
        line = line_of(frame, code);
    }
    int lasting = 0;
    *ret_code = intern_code(in, code, &lasting);
    *ret_line = line > 0 ? (uint32_t)line : 0;
    if (!*ret_code)
        return -1;
    if (!lasting)
        *ret_lasting = 0;
    else if (site)
        *site = (struct pa_site){key, *ret_code, *ret_line};
    return 0;
}

static int code_is_stdlib(PyObject *code)
{
    struct pa_code_view v;
    return pa_code_read(code, &v) == 0 && is_stdlib(v.filename);
}

int pa_stack_intern(struct pa_intern *in, PyThreadState *thread, unsigned max,
                    uint64_t interpreter, struct pa_stack_ids *ret, int *ret_flush)
{
    static struct raw_frame raw[FRAMES_MAX]; /* under the lock, as `utf8` */
    static const char *frames[FRAMES_MAX];
    unsigned n = 0;
    int deeper = 0, lasting = 1;
    *ret = (struct pa_stack_ids){0, 0};
    if (held_count + 3 * FRAMES_MAX > HELD_MAX) {
        release_held();
        memset(in->sites, 0, PA_SITES * sizeof *in->sites);
        *ret_flush = 1;
    }
    if (pa_stack_key == key_by_api) {
        n = (unsigned)walk_api(thread, raw, max, &deeper);
        memset(frames, 0, sizeof frames);
    } else {
        const char *f = first_frame(&pa_offsets, thread);
        unsigned walked = 0; /* as pa_stack_key counts, so that a key means the same frames */
        for (; f && walked < max; f = pointer_at(f, pa_offsets.frame_previous)) {
            if (entered_from_c(&pa_offsets, f))
                continue;
            walked++;
            PyObject *code = code_of(&pa_offsets, f);
            if (Py_TYPE(code) != &PyCode_Type || incomplete(f, code))
                continue;
            frames[n] = f;
            raw[n++].code = code;
        }
        while (f && entered_from_c(&pa_offsets, f))
            f = pointer_at(f, pa_offsets.frame_previous);
        deeper = f != NULL;
    }
    uint32_t node = 0;
    for (unsigned i = n; i-- > 0;) {
        uint32_t code, line;
        if (resolve(in, raw[i].code, frames[i], raw[i].line, interpreter, &code, &line, &lasting))
            return -1;
        node = pa_intern_node(in, node, code, line);
        if (!node)
            return -1;
    }
    ret->node = node;
    ret->flags = (deeper ? PA_STACK_DEEPER : 0) | (n ? 0 : PA_STACK_NONE) |
                 (!n || code_is_stdlib(raw[0].code) ? PA_STACK_STDLIB : 0);
    return lasting ? 0 : 1;
}

int pa_frames_know_stdlib(void)
{
    return stdlib_length != 0;
}

uint32_t pa_frames_caller(PyThreadState *thread)
{
    struct raw_frame raw[LOOK_MAX];
    unsigned n = 0;
    int deeper;
    if (pa_stack_key == key_by_api)
        n = (unsigned)walk_api(thread, raw, LOOK_MAX, &deeper);
    else
        for (const char *f = first_frame(&pa_offsets, thread); f && n < LOOK_MAX;
             f = pointer_at(f, pa_offsets.frame_previous)) {
            PyObject *code = entered_from_c(&pa_offsets, f) ? NULL : code_of(&pa_offsets, f);
            if (code && Py_TYPE(code) == &PyCode_Type && !incomplete(f, code))
                raw[n++].code = code;
        }
    for (unsigned i = n; i-- > 0 && !stdlib_length;)
        code_is_stdlib(raw[i].code);
    return !n ? PA_STACK_NONE | PA_STACK_STDLIB : code_is_stdlib(raw[0].code) ? PA_STACK_STDLIB : 0;
}

int pa_frames_tested;

int pa_frames_self_test(PyThreadState *thread)
{
    pa_frames_tested = 1;
    struct raw_frame api[FRAMES_MAX];
    int deeper;
    int n = walk_api(thread, api, FRAMES_MAX, &deeper), i = 0;
    if (n == 0)
        return 0; /* nothing to compare */
    const char *f = first_frame(&pa_offsets, thread);
    for (; f && i < n; f = pointer_at(f, pa_offsets.frame_previous)) {
        PyObject *code = code_of(&pa_offsets, f);
        if (entered_from_c(&pa_offsets, f) || Py_TYPE(code) != &PyCode_Type || incomplete(f, code))
            continue;
        if (code != api[i].code || line_of(f, code) != api[i].line)
            break;
        i++;
    }
    if (i != n)
        pa_stack_key = key_by_api;
    return i == n ? 0 : -1;
}
