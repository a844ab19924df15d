#include "context.h"

#include <errno.h>

#include "recorder.h"

static struct pa_contexts *all;     /* under the lock */

struct pa_contexts *pa_contexts_of(PyInterpreterState *interp)
{
    struct pa_contexts *c = all;
    while (c && c->interp != interp)
        c = c->next;
    return c;
}

struct pa_contexts *pa_contexts_add(PyInterpreterState *interp, struct pa_contexts **made)
{
    struct pa_contexts *c = pa_contexts_of(interp);
    if (c)
        return c;
    c = pa_contexts_of(NULL);
    if (!c) {
        c = *made;
        *made = NULL;
        c->next = all;
        all = c;
    }
    c->interp = interp;
    pa_recorder_touch();
    return c;
}

void pa_contexts_end(void)
{
    PyInterpreterState *interp = PyThreadState_GetInterpreter(PyThreadState_Get());
    struct pa_contexts ended = {0};
    pthread_mutex_lock(&pa_recorder.lock);
    struct pa_contexts *c = pa_contexts_of(interp);
    if (c) {
        ended = *c;
        *c = (struct pa_contexts){.next = ended.next};
        pa_recorder_touch();
    }
    pthread_mutex_unlock(&pa_recorder.lock);
    Py_DecRef(ended.variable);
    Py_DecRef((PyObject *)ended.type);
    Py_DecRef(ended.spans.variable);
    Py_DecRef(ended.spans.context_name);
    for (size_t i = 0; i < sizeof ended.spans.types / sizeof *ended.spans.types; i++)
        Py_DecRef((PyObject *)ended.spans.types[i]);
}

/* A context that the thread's segment may not have yet. */
static __attribute__((noinline)) int enter_segment(struct pa_thread *t, struct pa_context *context)
{
    uint64_t known = __atomic_load_n(&context->known, __ATOMIC_RELAXED);
    uint32_t id = known >> 32 == t->strings ? (uint32_t)known : 0;
    if (!id) {
        int saved = errno;
        pthread_mutex_lock(&pa_recorder.lock);
        if (t->segment == pa_recorder.segment)
            id = pa_intern_string(&pa_recorder.intern, context->json, context->length);
        pthread_mutex_unlock(&pa_recorder.lock);
        errno = saved;
        if (!id)
            return -1;
        __atomic_store_n(&context->known, (uint64_t)t->strings << 32 | id, __ATOMIC_RELAXED);
    }
    t->context_number = context->number;
    t->context_id = id;
    t->context_notes = context->notes;
    pa_context_compare(t);
    return 0;
}

static int find_context(struct pa_thread *t, struct pa_contexts *c)
{
    PyObject *variable = __atomic_load_n(&c->variable, __ATOMIC_ACQUIRE), *value = NULL;
    int result = 0;
    if (variable && PyContextVar_Get(variable, NULL, &value) == 0 && value && Py_TYPE(value) == c->type) {
        struct pa_context *context = (struct pa_context *)value;
        if (__builtin_expect(context->number != t->context_number, 0))
            result = enter_segment(t, context);
    } else if (t->context_number) {
        t->context_number = 0;
        t->context_id = 0;
        t->context_notes = 0;
        pa_context_compare(t);
    }
    Py_DecRef(value); /* which the current context holds as well */
    return result;
}

int pa_context_find(struct pa_thread *t)
{
    struct pa_contexts *c = t->contexts;
    if (__atomic_load_n(&c->spans.variable, __ATOMIC_ACQUIRE)) {
        uint64_t trace[3] = {0, 0, 0};
        pa_trace_find(&c->spans, trace);
        if (memcmp(trace, t->trace, sizeof trace)) {
            memcpy(t->trace, trace, sizeof trace);
            pa_context_compare(t);
        }
    }
    return find_context(t, c);
}

void pa_context_write(struct pa_thread *t)
{
    if (t->context_written != t->context_id) {
        struct pa_context_entry *e = (struct pa_context_entry *)(t->chunk + (t->entries -= 32));
        e->kind = PA_ENTRY_CONTEXT;
        e->fields = t->context_id;
        pa_commit(&e->commit, t->generation);
        t->context_written = t->context_id;
    }
    if (memcmp(t->trace, t->trace_written, sizeof t->trace)) {
        struct pa_trace *e = (struct pa_trace *)(t->chunk + (t->entries -= 32));
        e->kind = PA_ENTRY_TRACE;
        for (int i = 0; i < 16; i++)
            e->trace[i] = (uint8_t)(t->trace[i / 8] >> (56 - 8 * (i % 8)));
        for (int i = 0; i < 8; i++)
            e->span[i] = (uint8_t)(t->trace[2] >> (56 - 8 * i));
        pa_commit(&e->commit, t->generation);
        memcpy(t->trace_written, t->trace, sizeof t->trace);
    }
    if (t->unnamed) {
        t->unnamed = 0;
        pa_name_write(t);
    }
    t->context_stale = 0;
}
