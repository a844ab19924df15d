/* Entering and leaving contexts: what pythonaudit.recorder.context calls, never the hook.
 *
 * Where the shim has loaded a recorder and the application brings a copy of its own, the shim's is the
 * one that records; the copy calls this in it (module.c). Nothing here raises: what goes wrong costs the
 * context, not the application. */
#include "context_api.h"

#include <stdlib.h>

#include "context.h"
#include "recorder.h"
#include "value.h"

static uint64_t numbers;            /* given to contexts so far */

static void context_free(PyObject *self)
{
    struct pa_context *context = (struct pa_context *)self;
    PyObject *type = (PyObject *)Py_TYPE(self);
    free(context->json);
    Py_DecRef(context->fields);
    PyObject_Free(self);
    Py_DecRef(type);
}

static PyType_Slot slots[] = {{Py_tp_dealloc, context_free}, {0, NULL}};
static PyType_Spec spec = {
    .name = "pythonaudit.Context",
    .basicsize = sizeof(struct pa_context),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

/* Those of the current interpreter, made where there are none. NULL: no memory, with an exception. */
static struct pa_contexts *contexts_here(int make)
{
    PyInterpreterState *interp = PyThreadState_GetInterpreter(PyThreadState_Get());
    pthread_mutex_lock(&pa_recorder.lock);
    struct pa_contexts *found = pa_contexts_of(interp);
    pthread_mutex_unlock(&pa_recorder.lock);
    if (!make || (found && found->variable))
        return found && found->variable ? found : NULL;
    PyObject *variable = PyContextVar_New("pythonaudit.context", NULL);
    PyObject *type = PyType_FromSpec(&spec);
    struct pa_contexts *made = calloc(1, sizeof *made);
    found = NULL;
    if (variable && type && made) {
        pthread_mutex_lock(&pa_recorder.lock);
        found = pa_contexts_add(interp, &made);
        if (!found->variable) { /* another thread may have been faster */
            found->type = (PyTypeObject *)type;
            __atomic_store_n(&found->variable, variable, __ATOMIC_RELEASE); /* last: the hook looks at it first */
            variable = type = NULL;
        }
        pthread_mutex_unlock(&pa_recorder.lock);
    }
    free(made);
    Py_DecRef(variable);
    Py_DecRef(type);
    return found;
}

/* A value of an exact built-in type, without running anybody's code: of subclasses what they hold, of
 * other objects the name of their type. A new reference. */
static PyObject *plain(PyObject *value, uint8_t *ret_changed)
{
    PyTypeObject *type = Py_TYPE(value);
    if (value == Py_None || type == &PyBool_Type || type == &PyUnicode_Type || type == &PyLong_Type ||
        type == &PyFloat_Type) {
        Py_IncRef(value);
        return value;
    }
    if (PyUnicode_Check(value))
        return PyUnicode_FromObject(value);
    if (PyFloat_Check(value))
        return PyFloat_FromDouble(PyFloat_AsDouble(value));
    if (PyLong_Check(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (!overflow)
            return PyLong_FromLongLong(number);
    }
    *ret_changed = 1;
    return PyUnicode_FromFormat("<%s>", pa_type_name(type));
}

/* The context's JSON, and what is to be said of it. 0 or -1: no memory. */
static int write_json(struct pa_context *context)
{
    uint8_t *buffer = malloc(PA_CONTEXT_MAX + PA_TEXT_MAX);
    if (!buffer)
        return -1;
    struct pa_text_sink sink = {.scratch = buffer + PA_CONTEXT_MAX};
    struct pa_encoder e = {.json = {buffer, buffer + PA_CONTEXT_MAX, 0, 0}, .sink = &sink};
    pa_put_dict(&e, context->fields, PA_AS_TEXT, 1, 0);
    if (e.json.full || e.json.at == buffer) { /* not one field fits */
        e.json = (struct pa_json){buffer, buffer + PA_CONTEXT_MAX, 0, 1};
        PA_JSON_LITERAL(&e.json, "{}");
    }
    context->length = (uint32_t)(e.json.at - buffer);
    context->notes = (uint16_t)((e.notes & PA_NOTE_MASKED) |
                                (e.notes & ~PA_NOTE_MASKED || e.json.lacked || context->changed ? PA_NOTE_CONTEXT : 0));
    context->json = malloc(context->length);
    if (context->json)
        memcpy(context->json, buffer, context->length);
    free(buffer);
    return context->json ? 0 : -1;
}

/* The context with these fields, and those of `outer` (or NULL) that it does not replace. */
static PyObject *make(struct pa_contexts *c, struct pa_context *outer, PyObject *fields)
{
    struct pa_context *context = PyObject_New(struct pa_context, c->type);
    if (!context)
        return NULL;
    context->number = __atomic_add_fetch(&numbers, 1, __ATOMIC_RELAXED);
    context->known = 0;
    context->json = NULL;
    context->changed = outer ? outer->changed : 0;
    context->fields = outer ? PyDict_Copy(outer->fields) : PyDict_New();
    PyObject *key, *value;
    Py_ssize_t position = 0;
    int failed = !context->fields;
    while (!failed && PyDict_Next(fields, &position, &key, &value)) {
        PyObject *kept = plain(value, &context->changed);
        failed = !kept || PyDict_SetItem(context->fields, key, kept) < 0;
        Py_DecRef(kept);
    }
    if (failed || write_json(context) < 0) {
        Py_DecRef((PyObject *)context);
        return NULL;
    }
    return (PyObject *)context;
}

PyObject *pa_context_enter(PyObject *fields)
{
    if (!pa_recorder.installed || !pa_recorder.hooked || Py_TYPE(fields) != &PyDict_Type)
        return NULL;
    struct pa_contexts *c = contexts_here(1);
    PyObject *outer = NULL, *context = NULL, *token = NULL;
    if (c && PyContextVar_Get(c->variable, NULL, &outer) == 0) {
        context = make(c, outer && Py_TYPE(outer) == c->type ? (struct pa_context *)outer : NULL, fields);
        token = context ? PyContextVar_Set(c->variable, context) : NULL;
    }
    Py_DecRef(outer);
    Py_DecRef(context);
    if (!token)
        PyErr_Clear();
    return token;
}

void pa_context_leave(PyObject *token)
{
    struct pa_contexts *c = contexts_here(0);
    if (c && PyContextVar_Reset(c->variable, token) < 0)
        PyErr_Clear(); /* left elsewhere than entered: a generator that somebody else closes */
}
