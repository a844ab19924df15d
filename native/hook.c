#include "hook.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "early.h"
#include "encode.h"
#include "guard.h"
#include "origin.h"
#include "xxh64.h"

#define NAME_LIMIT 4096u
#define KEPT_NAME_LIMIT 64u             /* longer ones are messages, not names */
#define EVENT_USUAL 1024u               /* room asked for at first, and at most */
#define EVENT_MAX (PA_ARGS_MAX + 2 * NAME_LIMIT + 128)
#define ANCHOR_EVERY (1u << 24)         /* ticks */
#define ATTEMPTS 8                      /* at new chunks and segments, for one event */

static const char canary_name[] = "pythonaudit.canary";

extern int PySys_Audit(const char *event, const char *format, ...);

/* What an event is called, and what is known of that name. */
struct called {
    const struct pa_name *name;         /* NULL: stored with the event */
    const char *text;
    uint32_t length, id, origin;
    const struct pa_event_rule *rule;
    const uint8_t *modes;
    uint8_t own_modes[PA_BY_COUNT];
};

/* Messages are not kept as names: each login would be another one. */
static int is_message(const char *text, size_t length)
{
    return length > KEPT_NAME_LIMIT || memchr(text, ' ', length) || memchr(text, '=', length);
}

static uint8_t role_of(const char *text)
{
    if (!strcmp(text, "cpython._PySys_ClearAuditHooks"))
        return PA_ROLE_END;
    if (!strcmp(text, "cpython.PyInterpreterState_Clear"))
        return PA_ROLE_INTERPRETER;
    return PA_ROLE_NONE;
}

/* Under the lock. NULL: not kept. */
static struct pa_name *find_name(const char *text, size_t length)
{
    struct pa_recorder *r = &pa_recorder;
    uint64_t hash = pa_xxh64(text, length);
    struct pa_name **bucket = &r->names[hash & 1023], *n;
    for (n = *bucket; n; n = n->next)
        if (n->hash == hash && n->length == length && !memcmp(n->text, text, length))
            return n;
    const struct pa_event_rule *rule = pa_event_rule_find(text, length);
    if (!rule && r->name_count >= PA_NAMES_MAX)
        return NULL;
    uint8_t stored[2 * NAME_LIMIT];
    uint16_t notes = 0;
    int stored_length = pa_encode_name(stored, sizeof stored, text, length, &notes);
    if (stored_length < 0 || !(n = malloc(sizeof *n + length + 1 + (size_t)stored_length)))
        return NULL;
    n->hash = hash;
    n->rule = rule;
    n->length = (uint32_t)length;
    memcpy(n->text, text, length);
    n->text[length] = 0;
    n->stored = memcpy(n->text + length + 1, stored, (size_t)stored_length);
    n->stored_length = (uint32_t)stored_length;
    n->notes = notes;
    pa_policy_modes(r->settings.policy, text, length, rule, n->modes);
    n->varies = 0;
    for (int i = 1; i < PA_BY_COUNT; i++)
        n->varies |= n->modes[i] != n->modes[0];
    n->role = rule ? role_of(text) : PA_ROLE_NONE;
    n->next = *bucket;
    *bucket = n;
    r->name_count += !rule;
    return n;
}

/* Nobody wants it, whichever code of its origin raised it. */
static inline int is_off(uint32_t origin, const uint8_t modes[PA_BY_COUNT])
{
    return !(origin == PA_ORIGIN_CPYTHON ? modes[PA_BY_INTERPRETER_FOR_STDLIB] | modes[PA_BY_INTERPRETER]
                                         : modes[PA_BY_STDLIB] | modes[PA_BY_APPLICATION]);
}

static inline unsigned who_raised(uint32_t origin, uint32_t stack_flags)
{
    int stdlib = stack_flags & PA_STACK_STDLIB;
    if (origin == PA_ORIGIN_CPYTHON)
        return stdlib ? PA_BY_INTERPRETER_FOR_STDLIB : PA_BY_INTERPRETER;
    if (origin == PA_ORIGIN_HEAP && stdlib && !(stack_flags & PA_STACK_NONE))
        return PA_BY_STDLIB;
    return PA_BY_APPLICATION;
}

/* Who is calling, where nobody needs the stack. */
static uint32_t caller(void)
{
    pthread_mutex_lock(&pa_recorder.lock);
    uint32_t flags = pa_frames_caller(PyThreadState_Get());
    pthread_mutex_unlock(&pa_recorder.lock);
    return flags;
}

/* An event that cannot be recorded, nor its thread: a loss, if it is wanted. */
static void lose_early(const char *event, unsigned reason)
{
    int saved = errno;
    size_t length = strnlen(event, NAME_LIMIT + 1);
    const struct pa_event_rule *rule = pa_event_rule_find(event, length);
    uint8_t modes[PA_BY_COUNT];
    pa_policy_modes(pa_recorder.settings.policy, event, length, rule, modes);
    if (modes[who_raised(pa_origin_of(event), caller())] != PA_MODE_OFF)
        pa_lose(NULL, reason);
    errno = saved;
}

/* 0, or -1: the segment is full or cannot grow. */
static int call_anew(struct pa_thread *t, const char *event, struct called *c, struct pa_name_slot *slot)
{
    struct pa_recorder *r = &pa_recorder;
    int saved = errno, result = 0;
    *c = (struct called){.text = event, .length = (uint32_t)strnlen(event, NAME_LIMIT + 1)};
    if (is_message(event, c->length)) {
        pa_policy_modes(r->settings.policy, event, c->length, NULL, c->own_modes);
        c->modes = c->own_modes;
        c->origin = PA_ORIGIN_HEAP;
        return 0;
    }
    pthread_mutex_lock(&r->lock);
    c->origin = pa_origin_of(event);
    c->name = find_name(event, c->length);
    if (t->segment != r->segment) {
        result = -1;
    } else {
        if (!c->name) {
            pa_policy_modes(r->settings.policy, event, c->length, NULL, c->own_modes);
            c->modes = c->own_modes;
        } else {
            c->rule = c->name->rule;
            c->modes = c->name->modes;
            if (!is_off(c->origin, c->modes))
                c->id = pa_intern_string(&r->intern, c->name->stored, c->name->stored_length);
            if (!c->id && !is_off(c->origin, c->modes))
                result = -1;
            else
                *slot = (struct pa_name_slot){event, c->name, c->id, c->origin};
        }
    }
    pthread_mutex_unlock(&r->lock);
    errno = saved;
    return result;
}

static inline int call(struct pa_thread *t, const char *event, struct called *c)
{
    struct pa_name_slot *slot = &t->names[((uintptr_t)event * 0x9e3779b1u >> 8) % PA_NAME_SLOTS];
    if (__builtin_expect(slot->address == event && !strcmp(slot->name->text, event), 1)) {
        c->name = slot->name;
        c->text = event;
        c->length = slot->name->length;
        c->id = slot->id;
        c->origin = slot->origin;
        c->rule = slot->name->rule;
        c->modes = slot->name->modes;
        return 0;
    }
    return call_anew(t, event, c, slot);
}

/* 0; -1: the segment is full or another one; -2: there is no room for this stack. */
static int stack_anew(struct pa_thread *t, unsigned depth, uint64_t key, struct pa_stack_slot *slot,
                      struct pa_stack_ids *ret)
{
    struct pa_recorder *r = &pa_recorder;
    int saved = errno, flush = 0, result = -1;
    if (!pa_frames_tested && Py_IsInitialized()) { /* recorded from before there was an interpreter */
        int collecting = PyGC_Disable();
        pa_abi_self_test();
        pa_frames_self_test(t->state);
        if (collecting)
            PyGC_Enable();
        pa_guard_begin(pa_epoch);
    }
    pthread_mutex_lock(&r->lock);
    if (t->segment == r->segment) {
        result = pa_stack_intern(&r->intern, t->state, depth, t->interpreter, ret, &flush);
        if (result < 0)
            result = r->intern.error == -EFBIG ? -1 : -2;
    }
    if (flush) {
        pa_recorder_touch();
        memset(t->stacks, 0, sizeof t->stacks);
    }
    pthread_mutex_unlock(&r->lock);
    errno = saved;
    if (result == 0)
        *slot = (struct pa_stack_slot){key, *ret};
    else if (result == -2)
        *ret = (struct pa_stack_ids){0, PA_STACK_NONE | PA_STACK_LOST};
    return result == -1 ? -1 : 0;
}

static inline int find_stack(struct pa_thread *t, struct pa_stack_ids *ret)
{
    unsigned depth = pa_recorder.settings.stack_depth;
    struct pa_stack stack;
    pa_stack_key(t->state, depth ? depth : 1, t->interpreter, &stack);
    if (!stack.key) {
        *ret = (struct pa_stack_ids){0, PA_STACK_NONE | PA_STACK_STDLIB};
        return 0;
    }
    struct pa_stack_slot *slot = &t->stacks[stack.key >> 40 & (PA_STACK_SLOTS - 1)];
    if (__builtin_expect(slot->key == stack.key, 1)) {
        *ret = slot->ids;
        return 0;
    }
    return stack_anew(t, depth ? depth : 1, stack.key, slot, ret);
}

static const uint8_t source_of[PA_BY_COUNT] = {
    PA_SOURCE_INTERPRETER, PA_SOURCE_INTERPRETER, PA_SOURCE_STDLIB, PA_SOURCE_APPLICATION,
};

/* Counts instead of recording: the entry grows in place, so that it is exact at any instant. */
static int count(struct pa_thread *t, const struct called *c, uint8_t source)
{
    if (!c->rule)
        return 0;   /* only names of the catalog can have this mode */
    if (!t->counts) {
        int saved = errno;
        t->counts = calloc(PA_EVENT_RULES, sizeof *t->counts);
        errno = saved;
        if (!t->counts) {
            pa_lose(t->segment, PA_LOSS_NO_MEMORY);
            return 0;
        }
    }
    struct pa_count **slot = &t->counts[c->rule->id][source - 1];
    if (!*slot || !t->chunk) {
        if (!t->chunk || t->entries - t->heap < 64) {
            int r = pa_thread_chunk(t, 64);
            if (r)
                return r;
        }
        struct pa_count *e = (struct pa_count *)(t->chunk + (t->entries -= 32));
        e->kind = PA_ENTRY_COUNT;
        e->source = source;
        e->name = c->id;
        __atomic_store_n(&e->count, 1, __ATOMIC_RELAXED);
        pa_commit(&e->commit, t->generation);
        *slot = e;
        return 0;
    }
    __atomic_store_n(&(*slot)->count, (*slot)->count + 1, __ATOMIC_RELAXED);
    return 0;
}

struct text_context { struct pa_thread *thread; int failed; };

static uint32_t intern_text(void *context, const uint8_t *text, uint32_t length)
{
    struct text_context *c = context;
    struct pa_thread *t = c->thread;
    uint32_t id = 0;
    int saved = errno;
    pthread_mutex_lock(&pa_recorder.lock);
    if (t->segment == pa_recorder.segment)
        id = pa_intern_string(&pa_recorder.intern, text, length);
    pthread_mutex_unlock(&pa_recorder.lock);
    errno = saved;
    c->failed |= !id;
    return id;
}

static inline void anchor(struct pa_thread *t, uint64_t ticks)
{
    if (__builtin_expect((int64_t)(ticks - t->anchor_ticks) < (int64_t)ANCHOR_EVERY, 1))
        return;
    pa_thread_anchor(t);
}

/* Arguments and, for a message, the name into the heap. Their length; -1: no room;
 * -2: a definition could not be written. */
static inline int write_heap(struct pa_thread *t, PyObject *args, const struct called *c,
                             uint16_t *ret_notes, uint32_t *ret_name)
{
    struct text_context context = {t, 0};
    struct pa_text_sink sink = {intern_text, &context};
    uint8_t *heap = t->chunk + t->heap;
    uint32_t room = t->entries - t->heap - 96; /* an anchor, the entry, and a slot that stays zero */
    int length = pa_encode_args(heap, room, args, c->rule, pa_recorder.settings.reveal, &sink, ret_notes);
    *ret_name = c->id;
    if (__builtin_expect(context.failed, 0))
        return -2;
    if (length < 0 || c->name)
        return length;
    int name = pa_encode_name(heap + length, room - (uint32_t)length, c->text, c->length, ret_notes);
    *ret_name = PA_NAME_INLINE | (uint32_t)name;
    return name < 0 ? -1 : length;
}

/* No room for its name or its stack: no loss, where nobody wants it. Results as record's. */
static int definition_failed(struct pa_thread *t, const struct called *c)
{
    int unwanted = c->modes && c->modes[who_raised(c->origin, caller())] == PA_MODE_OFF;
    return unwanted ? 0 : pa_definition_failed(t);
}

/* 0; 1: once more, the segment is another one; -1: lost, and counted. */
static int record(struct pa_thread *t, const char *event, PyObject *args, uint64_t ticks,
                  uint8_t *ret_role)
{
    struct called c;
    struct pa_stack_ids stack = {0, 0};
    int named = call(t, event, &c);
    if (c.name && __builtin_expect(c.name->role, 0) && c.origin == PA_ORIGIN_CPYTHON)
        *ret_role = c.name->role;
    if (named < 0)
        return definition_failed(t, &c);
    if (is_off(c.origin, c.modes)) {
        if (__builtin_expect(!pa_frames_know_stdlib(), 0))
            caller(); /* what comes later is to be told apart */
        return 0;
    }
    if (!c.name || c.name->varies || c.modes[0] == PA_MODE_RECORD)
        if (find_stack(t, &stack) < 0)
            return definition_failed(t, &c);
    unsigned by = who_raised(c.origin, stack.flags);
    uint8_t mode = c.modes[by];
    if (mode != PA_MODE_RECORD)
        return mode == PA_MODE_COUNT ? count(t, &c, source_of[by]) : 0;
    uint16_t notes = c.name ? c.name->notes : 0;
    uint32_t name = 0;
    int length = -1;
    if (t->chunk && t->entries - t->heap >= 128)
        length = write_heap(t, args, &c, &notes, &name);
    if (__builtin_expect(length < 0, 0)) {
        if (length == -2)
            return pa_definition_failed(t);
        int r = pa_thread_chunk(t, t->chunk && t->heap == PA_CHUNK_HEADER_SIZE ? EVENT_MAX : EVENT_USUAL);
        return r ? r : 1;
    }
    anchor(t, ticks);
    struct pa_entry *e = (struct pa_entry *)(t->chunk + t->entries - 32);
    if (c.rule && by == PA_BY_APPLICATION)
        notes |= PA_NOTE_RESERVED_NAME;
    if (stack.flags & PA_STACK_DEEPER && pa_recorder.settings.stack_depth)
        notes |= PA_NOTE_STACK;
    if (__builtin_expect(stack.flags & PA_STACK_LOST, 0))
        notes |= PA_NOTE_NO_STACK;
    e->kind = PA_ENTRY_EVENT;
    e->source = source_of[by];
    e->notes = notes;
    e->ticks = ticks;
    e->name = name;
    e->stack = pa_recorder.settings.stack_depth ? stack.node : 0;
    e->heap = t->heap;
    e->length = (uint32_t)length;
    t->heap += (uint32_t)length + (c.name ? 0 : name & ~PA_NAME_INLINE);
    t->entries -= 32;
    pa_commit(&e->commit, t->generation);
    t->number++;
    return 0;
}

int pa_hook(const char *event, PyObject *args, void *unused)
{
    (void)unused;
    struct pa_thread *t = pa_self;
    if (__builtin_expect(event == canary_name, 0)) {
        pa_recorder.canary = 1;
        return 0;
    }
    if (__builtin_expect(!t || t->epoch != __atomic_load_n(pa_epoch, __ATOMIC_ACQUIRE) ||
                         t->state != PyThreadState_Get() ||
                         t->interp != pa_load_pointer(t->state, pa_offsets.thread_interp) ||
                         t->interpreters != __atomic_load_n(&pa_recorder.interpreters, __ATOMIC_RELAXED), 0)) {
        if (t && t->busy && __atomic_load_n(pa_epoch, __ATOMIC_ACQUIRE)) {
            pa_lose(t->segment, PA_LOSS_REENTERED);
            return 0;
        }
        unsigned reason;
        t = pa_thread_enter(&reason);
        if (!t) {
            lose_early(event, reason);
            if (role_of(event) == PA_ROLE_END && pa_origin_of(event) == PA_ORIGIN_CPYTHON) {
                pa_recorder_end(); /* says what was lost, if that can be had by now */
                pa_early_end();
            }
            return 0;
        }
    }
    if (__builtin_expect(t->busy, 0)) {
        pa_lose(t->segment, PA_LOSS_REENTERED);
        return 0;
    }
    t->busy = 1;
    uint64_t ticks = pa_ticks();
    int r = 1;
    uint8_t role = PA_ROLE_NONE;
    for (int i = 0; r == 1 && i < ATTEMPTS; i++) {
        if (i) { /* another thread may have begun another segment */
            unsigned reason;
            t->busy = 0;
            if (!(t = pa_thread_enter(&reason))) {
                pa_lose(NULL, reason);
                return 0;
            }
            t->busy = 1;
        }
        r = record(t, event, args, ticks, &role);
    }
    if (r == 1)
        pa_lose(t->segment, PA_LOSS_NO_SPACE);
    if (__builtin_expect(role == PA_ROLE_INTERPRETER, 0))
        __atomic_fetch_add(&pa_recorder.interpreters, 1, __ATOMIC_RELAXED);
    else if (__builtin_expect(role == PA_ROLE_END, 0)) {
        pa_recorder_end();
        pa_early_end();
    }
    t->busy = 0;
    return 0;
}

int pa_hook_canary(void)
{
    pa_recorder.canary = 0;
    if (PySys_Audit(canary_name, NULL) < 0)
        PyErr_Clear();  /* a veto of somebody else's hook */
    return pa_recorder.canary;
}
