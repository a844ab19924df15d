/* The span of OpenTelemetry that an event happened in.
 *
 * OpenTelemetry for Python keeps what is current in a contextvars.ContextVar:
 *
 *   sys.modules["opentelemetry.context"]._RUNTIME_CONTEXT._current_context
 *       -> Context, a dict: "current-span-<random>" -> span
 *   span._context -> SpanContext, a tuple: (trace id, span id, ...), two int
 *
 * All of it is read as it stands, without a call into it. Each object has to be of the class, by name
 * and module, that the API or the SDK has for it, and attributes are only looked for where the class
 * cannot have code for them. Anything else is no span.
 *
 * The variable is looked for when something is imported after a module of OpenTelemetry: each time at
 * first, then ever more rarely. */
#include "context.h"

#include <errno.h>
#include <stdlib.h>

#include "recorder.h"

#define TRIES_EACH 256u             /* imports */
#define KEYS_MAX 32                 /* of a Context that are looked at */

static const char package[] = "opentelemetry";

static int is_class(PyTypeObject *type, const char *name, const char *module)
{
    uint8_t text[64];
    size_t length = strlen(module);
    return strcmp(pa_type_name(type), name) == 0 && pa_type_module(type, text, sizeof text) == length &&
           memcmp(text, module, length) == 0;
}

static PyObject *find_variable(void)
{
    PyObject *modules = PySys_GetObject("modules"), *variable = NULL;
    PyObject *runtime = pa_module_item(modules, "opentelemetry.context", "_RUNTIME_CONTEXT");
    PyObject *name = runtime ? pa_str_new("_current_context") : NULL;
    if (name && is_class(Py_TYPE(runtime), "ContextVarsRuntimeContext", "opentelemetry.context.contextvars_context") &&
        pa_has_plain_attribute(Py_TYPE(runtime), name))
        variable = pa_plain_attribute(runtime, name);
    Py_DecRef(name);
    Py_DecRef(runtime);
    if (variable && Py_TYPE(variable) != &PyContextVar_Type) {
        Py_DecRef(variable);
        return NULL;
    }
    return variable;
}

/* Those of the thread's interpreter, made where there are none. */
static struct pa_contexts *contexts_of(struct pa_thread *t)
{
    struct pa_contexts *made = calloc(1, sizeof *made), *found = NULL;
    pthread_mutex_lock(&pa_recorder.lock);
    if (made)
        found = pa_contexts_add(t->interp, &made);
    pthread_mutex_unlock(&pa_recorder.lock);
    free(made);
    return found;
}

void pa_trace_imported(struct pa_thread *t, PyObject *name)
{
    struct pa_contexts *c = t->contexts;
    if (!(c && c->spans.tries) && !pa_str_begins(name, package, sizeof package - 1, 0))
        return;
    if (c && c->spans.variable)
        return;
    int saved = errno;
    if (!c)
        c = contexts_of(t);
    if (c && (++c->spans.tries < TRIES_EACH || !(c->spans.tries & (c->spans.tries - 1)))) {
        PyObject *variable = find_variable(), *attribute = variable ? pa_str_new("_context") : NULL;
        pthread_mutex_lock(&pa_recorder.lock);
        if (attribute && !c->spans.variable) {
            c->spans.context_name = attribute;
            __atomic_store_n(&c->spans.variable, variable, __ATOMIC_RELEASE);
            variable = attribute = NULL;
        }
        pthread_mutex_unlock(&pa_recorder.lock);
        Py_DecRef(variable);
        Py_DecRef(attribute);
    }
    errno = saved;
}

static int is_span(struct pa_spans *spans, PyTypeObject *type)
{
    const size_t count = sizeof spans->types / sizeof *spans->types;
    size_t i = 0;
    for (PyTypeObject *known; i < count && (known = __atomic_load_n(&spans->types[i], __ATOMIC_ACQUIRE)); i++)
        if (known == type)
            return 1;
    if (!(is_class(type, "_Span", "opentelemetry.sdk.trace") || is_class(type, "Span", "opentelemetry.sdk.trace") ||
          is_class(type, "NonRecordingSpan", "opentelemetry.trace.span")) ||
        !pa_has_plain_attribute(type, spans->context_name))
        return 0;
    PyTypeObject *none = NULL; /* held from now on, so that the address stays its own */
    Py_IncRef((PyObject *)type);
    if (i == count || !__atomic_compare_exchange_n(&spans->types[i], &none, type, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        Py_DecRef((PyObject *)type);
    return 1;
}

/* An exact int of up to 128 bits. 0, or -1: something else. */
static int read_id(PyObject *integer, uint64_t *ret_high, uint64_t *ret_low)
{
    struct pa_int view;
    unsigned __int128 value = 0;
    if (!integer || Py_TYPE(integer) != &PyLong_Type || pa_int_read(integer, &view) < 0 || view.negative ||
        view.count > 5 || (view.count == 5 && view.digits[4] >> 8))
        return -1;
    for (Py_ssize_t i = view.count; i-- > 0;)
        value = value << 30 | view.digits[i];
    *ret_high = (uint64_t)(value >> 64);
    *ret_low = (uint64_t)value;
    return 0;
}

static void read_span(struct pa_spans *spans, PyObject *span, uint64_t ret_ids[3])
{
    uint64_t ids[3], above;
    PyObject *context = is_span(spans, Py_TYPE(span)) ? pa_plain_attribute(span, spans->context_name) : NULL;
    if (context && (PyType_GetFlags(Py_TYPE(context)) & Py_TPFLAGS_TUPLE_SUBCLASS) && Py_SIZE(context) >= 2 &&
        read_id(pa_tuple_item(context, 0), &ids[0], &ids[1]) == 0 &&
        read_id(pa_tuple_item(context, 1), &above, &ids[2]) == 0 && above == 0)
        memcpy(ret_ids, ids, sizeof ids);
    Py_DecRef(context);
}

void pa_trace_find(struct pa_spans *spans, uint64_t ret_ids[3])
{
    PyObject *current = NULL, *span = NULL;
    if (PyContextVar_Get(spans->variable, NULL, &current) == 0 && current &&
        (PyType_GetFlags(Py_TYPE(current)) & Py_TPFLAGS_DICT_SUBCLASS) &&
        (span = pa_dict_item(current, "current-span", 0, KEYS_MAX)))
        read_span(spans, span, ret_ids);
    Py_DecRef(span);
    Py_DecRef(current);
}
