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

void pa_contexts_add(struct pa_contexts *added)
{
    added->next = all;
    all = added;
}

void pa_contexts_end(void)
{
    PyInterpreterState *interp = PyThreadState_GetInterpreter(PyThreadState_Get());
    PyObject *variable = NULL, *type = NULL;
    pthread_mutex_lock(&pa_recorder.lock);
    struct pa_contexts *c = pa_contexts_of(interp);
    if (c) {
        variable = c->variable;
        type = (PyObject *)c->type;
        c->interp = NULL;
        c->variable = NULL;
        c->type = NULL;
        pa_recorder_touch();
    }
    pthread_mutex_unlock(&pa_recorder.lock);
    Py_XDECREF(variable);
    Py_XDECREF(type);
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
    return 0;
}

int pa_context_find(struct pa_thread *t)
{
    struct pa_contexts *c = t->contexts;
    PyObject *value = NULL;
    int result = 0;
    if (c->variable && PyContextVar_Get(c->variable, NULL, &value) == 0 && value && Py_TYPE(value) == c->type) {
        struct pa_context *context = (struct pa_context *)value;
        if (__builtin_expect(context->number != t->context_number, 0))
            result = enter_segment(t, context);
    } else {
        pa_context_forget(t);
    }
    Py_XDECREF(value); /* which the current context holds as well */
    return result;
}

void pa_context_write(struct pa_thread *t)
{
    struct pa_context_entry *e = (struct pa_context_entry *)(t->chunk + (t->entries -= 32));
    e->kind = PA_ENTRY_CONTEXT;
    e->fields = t->context_id;
    t->context_written = t->context_id;
    pa_commit(&e->commit, t->generation);
}
