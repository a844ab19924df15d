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
    if (!strncmp(text, "cpython.run_", strlen("cpython.run_")))
        return PA_ROLE_RUN;
    if (!strcmp(text, "import"))
        return PA_ROLE_IMPORT;
    return PA_ROLE_NONE;
}

static void set_head(struct pa_name *n)
{
    size_t taken = n->length + 1 < sizeof n->head ? n->length + 1 : sizeof n->head;
    memset(n->head, 0, sizeof n->head);
    memset(n->head_mask, 0, sizeof n->head_mask);
    memcpy(n->head, n->text, taken);
    memset(n->head_mask, 0xff, taken);
}

/* strcmp, but that most names are short: sixteen bytes at once where they are of one page, which may
 * be more than the text has. */
static inline int is_name(const struct pa_name *n, const char *text)
{
#if !defined(__SANITIZE_ADDRESS__)
    if (__builtin_expect(((uintptr_t)text & 4095) <= 4096 - sizeof n->head, 1)) {
        uint64_t head[2];
        memcpy(head, text, sizeof head);
        if (((head[0] ^ n->head[0]) & n->head_mask[0]) | ((head[1] ^ n->head[1]) & n->head_mask[1]))
            return 0;
        return n->length < sizeof head || !strcmp(n->text + sizeof head, text + sizeof head);
    }
#endif
    return !strcmp(n->text, text);
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
    uint8_t stored[4 * KEPT_NAME_LIMIT];
    uint16_t notes = 0;
    int stored_length = pa_encode_name(stored, sizeof stored, text, length, &notes);
    if (stored_length < 0 || !(n = malloc(sizeof *n + length + 1 + (size_t)stored_length)))
        return NULL;
    n->hash = hash;
    n->rule = rule;
    n->length = (uint32_t)length;
    memcpy(n->text, text, length);
    n->text[length] = 0;
    set_head(n);
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

/* A name that no slot of the thread has, or one that is not kept: then it is made up in *own, and ret->id
 * is 0. Returns 0, or -1: the segment is full or cannot grow. */
static int call_anew(struct pa_thread *t, const char *event, struct pa_name_slot *slot, struct pa_name *own,
                     struct pa_name_slot *ret)
{
    struct pa_recorder *r = &pa_recorder;
    int saved = errno, result = 0;
    uint32_t length = (uint32_t)strnlen(event, NAME_LIMIT + 1);
    *own = (struct pa_name){.length = length, .varies = 1};
    *ret = (struct pa_name_slot){event, own, 0, PA_ORIGIN_HEAP};
    if (is_message(event, length)) {
        pa_policy_modes(r->settings.policy, event, length, NULL, own->modes);
        return 0;
    }
    pthread_mutex_lock(&r->lock);
    ret->origin = pa_origin_of(event);
    struct pa_name *name = find_name(event, length);
    if (name)
        ret->name = name;
    else
        pa_policy_modes(r->settings.policy, event, length, NULL, own->modes);
    int wanted = !is_off(ret->origin, ret->name->modes);
    if (t->segment != r->segment) {
        result = -1;
    } else if (name) {
        if (wanted)
            ret->id = pa_intern_string(&r->intern, name->stored, name->stored_length);
        if (wanted && !ret->id)
            result = -1;
        else
            *slot = *ret;
    }
    pthread_mutex_unlock(&r->lock);
    errno = saved;
    return result;
}

/* 0; -1: the segment is full or another one; -2: there is no room for this stack. */
static int stack_anew(struct pa_thread *t, unsigned depth, uint64_t key, struct pa_stack_slot *slot,
                      struct pa_stack_ids *ret)
{
    struct pa_recorder *r = &pa_recorder;
    int saved = errno, flush = 0, result = -1;
    if (!pa_frames_tested && Py_IsInitialized()) { /* recorded from before there was an interpreter */
        int collecting = pa_collector_off();
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
    unsigned depth = pa_recorder.walked;
    uint64_t key = pa_stack_key(t->state, depth, t->interpreter);
    struct pa_stack_slot *slot = &t->stacks[key >> 40 & (PA_STACK_SLOTS - 1)];
    if (__builtin_expect(slot->key == key && key, 1)) {
        *ret = slot->ids;
        return 0;
    }
    if (!key) {
        *ret = (struct pa_stack_ids){0, PA_STACK_NONE | PA_STACK_STDLIB};
        return 0;
    }
    return stack_anew(t, depth, key, slot, ret);
}

static const uint8_t source_of[PA_BY_COUNT] = {
    PA_SOURCE_INTERPRETER, PA_SOURCE_INTERPRETER, PA_SOURCE_STDLIB, PA_SOURCE_APPLICATION,
};

/* Counts instead of recording: the entry grows in place, so that it is exact at any instant. */
static int count(struct pa_thread *t, const struct pa_name_slot *called, uint8_t source)
{
    const struct pa_event_rule *rule = called->name->rule;
    if (!rule)
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
    struct pa_count **slot = &t->counts[rule->id][source - 1];
    if (!*slot || !t->chunk) {
        if (!t->chunk || t->entries - t->heap < 64) {
            int r = pa_thread_chunk(t, 64);
            if (r)
                return r;
        }
        struct pa_count *e = (struct pa_count *)(t->chunk + (t->entries -= 32));
        e->kind = PA_ENTRY_COUNT;
        e->source = source;
        e->name = called->id;
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

/* 0: another segment is needed. */
static inline int anchor(struct pa_thread *t, uint64_t ticks)
{
    if (__builtin_expect((int64_t)(ticks - t->anchor_ticks) < (int64_t)ANCHOR_EVERY, 1))
        return 1;
    return pa_thread_anchor(t);
}

/* Arguments and, for a message, the name into the heap. Their length; -1: no room;
 * -2: a definition could not be written. */
static inline int write_heap(struct pa_thread *t, PyObject *args, const struct pa_name_slot *called,
                             uint16_t *ret_notes, uint32_t *ret_name)
{
    struct text_context context = {t, 0};
    struct pa_text_sink sink = {intern_text, &context, t->scratch};
    const struct pa_name *name = called->name;
    uint8_t *heap = t->chunk + t->heap;
    uint32_t room = t->entries - t->heap - 192; /* anchor, context, trace, name, the entry, and a slot that stays zero */
    int length = pa_encode_args(heap, room, args, name->rule, pa_recorder.settings.reveal, &sink, ret_notes);
    *ret_name = called->id;
    if (__builtin_expect(context.failed, 0))
        return -2;
    if (length < 0 || called->id)
        return length;
    int inlined = pa_encode_name(heap + length, room - (uint32_t)length, called->address, name->length, ret_notes);
    *ret_name = PA_NAME_INLINE | (uint32_t)inlined;
    return inlined < 0 ? -1 : length;
}

/* What the first stack would have done, where nobody wants one so far: the standard library
 * is known, and pages that cannot be had are looked after. */
static int ready;

static void get_ready(void)
{
    if (!pa_frames_know_stdlib())
        caller();
    if (Py_IsInitialized()) {
        pa_guard_begin(pa_epoch);
        ready = 1;
    }
}

/* No room for its name or its stack: no loss, where nobody wants it. Results as record's. */
static __attribute__((noinline)) int definition_failed(struct pa_thread *t, const struct pa_name_slot *called)
{
    int unwanted = called->name->modes[who_raised(called->origin, caller())] == PA_MODE_OFF;
    return unwanted ? 0 : pa_definition_failed(t);
}

/* 0; 1: once more, the segment is another one; -1: lost, and counted. */
static inline int record(struct pa_thread *t, const char *event, PyObject *args, uint64_t ticks, uint8_t *ret_role)
{
    struct pa_name_slot *called = &t->names[((uintptr_t)event * 0x9e3779b1u >> 8) % PA_NAME_SLOTS], anew;
    struct pa_name own;
    struct pa_stack_ids stack = {0, 0};
    int named = 0;
    if (__builtin_expect(called->address != event || !is_name(called->name, event), 0)) {
        named = call_anew(t, event, called, &own, &anew);
        called = &anew;
    }
    const struct pa_name *name = called->name;
    if (__builtin_expect(name->role, 0) && called->origin == PA_ORIGIN_CPYTHON)
        *ret_role = name->role;
    if (named < 0)
        return definition_failed(t, called);
    if (is_off(called->origin, name->modes)) {
        if (__builtin_expect(!ready, 0))
            get_ready();
        return 0;
    }
    if ((name->varies || name->modes[0] == PA_MODE_RECORD) && find_stack(t, &stack) < 0)
        return definition_failed(t, called);
    unsigned by = who_raised(called->origin, stack.flags);
    uint8_t mode = name->modes[by];
    if (mode != PA_MODE_RECORD)
        return mode == PA_MODE_COUNT ? count(t, called, source_of[by]) : 0;
    if (__builtin_expect(t->contexts != NULL, 0) && pa_context_find(t) < 0)
        return definition_failed(t, called);
    uint16_t notes = name->notes | t->context_notes;
    uint32_t name_word = 0;
    int length = -1;
    if (t->chunk && t->entries - t->heap >= 224)
        length = write_heap(t, args, called, &notes, &name_word);
    if (__builtin_expect(length < 0, 0)) {
        if (length == -2)
            return pa_definition_failed(t);
        int r = pa_thread_chunk(t, t->chunk && t->heap == PA_CHUNK_HEADER_SIZE ? EVENT_MAX : EVENT_USUAL);
        return r ? r : 1;
    }
    if (__builtin_expect(!anchor(t, ticks), 0))
        return pa_thread_renew(t);
    if (__builtin_expect(t->context_stale, 0))
        pa_context_write(t);
    struct pa_entry *e = (struct pa_entry *)(t->chunk + t->entries - 32);
    if (name->rule && by == PA_BY_APPLICATION)
        notes |= PA_NOTE_RESERVED_NAME;
    if (__builtin_expect(stack.flags & (PA_STACK_DEEPER | PA_STACK_LOST), 0)) {
        notes |= stack.flags & PA_STACK_DEEPER && pa_recorder.settings.stack_depth ? PA_NOTE_STACK : 0;
        notes |= stack.flags & PA_STACK_LOST ? PA_NOTE_NO_STACK : 0;
    }
    e->kind = PA_ENTRY_EVENT;
    e->source = source_of[by];
    e->notes = notes;
    e->ticks = ticks;
    e->name = name_word;
    e->stack = pa_recorder.settings.stack_depth ? stack.node : 0;
    e->heap = t->heap;
    e->length = (uint32_t)length;
    t->heap += (uint32_t)length + (called->id ? 0 : name_word & ~PA_NAME_INLINE);
    t->entries -= 32;
    pa_commit(&e->commit, t->generation);
    t->number++;
    return 0;
}

/* Further attempts: another thread may have begun another segment. The thread, or NULL: lost. */
static __attribute__((noinline)) struct pa_thread *record_again(struct pa_thread *t, const char *event, PyObject *args,
                                                                uint64_t ticks, uint8_t *ret_role)
{
    int r = 1;
    for (int i = 1; r == 1 && i < ATTEMPTS; i++) {
        unsigned reason;
        t->busy = 0;
        if (!(t = pa_thread_enter(&reason))) {
            pa_lose(NULL, reason);
            return NULL;
        }
        t->busy = 1;
        r = record(t, event, args, ticks, ret_role);
    }
    if (r == 1)
        pa_lose(t->segment, PA_LOSS_NO_SPACE);
    return t;
}

/* What the beginning of the program, an import or an interpreter's end means to us. */
static __attribute__((noinline)) void act(struct pa_thread *t, uint8_t role, PyObject *args)
{
    if (role == PA_ROLE_RUN) {
        pa_paths_note(t->scratch);
        return;
    }
    if (role == PA_ROLE_IMPORT) {
        if (args && Py_SIZE(args) > 0)
            pa_trace_imported(t, pa_tuple_item(args, 0));
        return;
    }
    pa_contexts_end();
    if (role == PA_ROLE_INTERPRETER) {
        __atomic_fetch_add(&pa_recorder.interpreters, 1, __ATOMIC_RELAXED);
    } else {
        pa_recorder_end();
        pa_early_end();
    }
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
        if (__builtin_expect(!pa_recorder.canary, 0))
            pa_recorder_proved();
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
    uint8_t role = PA_ROLE_NONE;
    int r = record(t, event, args, ticks, &role);
    if (__builtin_expect(r == 1, 0) && !(t = record_again(t, event, args, ticks, &role)))
        return 0;
    if (__builtin_expect(role != PA_ROLE_NONE, 0))
        act(t, role, args);
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
