/* A test-only extension module, `probe`: the recorder's encoder, called from Python.
 *
 * encode_probe.py builds it from the sources under test; it is no part of the product. */
#include "encode.h"
#include "event_table.h"
#include "format.h"
#include "mask.h"
#include "settings.h"
#include "xxh64.h"

#include <stdlib.h>
#include <time.h>

static uint32_t keep(void *context, const uint8_t *text, uint32_t length)
{
    PyObject *list = context, *bytes = PyBytes_FromStringAndSize((const char *)text, length);
    if (!bytes || PyList_Append(list, bytes) < 0)
        abort();
    Py_DECREF(bytes);
    return (uint32_t)PyList_Size(list);
}

static struct pa_event_rule rule_of(const char *rules, Py_ssize_t count)
{
    struct pa_event_rule rule = {.nargs = (uint8_t)count};
    memcpy(rule.args, rules, (size_t)count);
    return rule;
}

/* encode(args, rules=b"", reveal=0, room=PA_ARGS_MAX) -> (text or None, notes, revealed texts)
 * `rules`: one byte of enum pa_arg_rule an argument, at most 9. */
static PyObject *encode(PyObject *self, PyObject *call)
{
    PyObject *args;
    const char *rules = "";
    Py_ssize_t count = 0;
    unsigned reveal = 0, room = PA_ARGS_MAX;
    (void)self;
    if (!PyArg_ParseTuple(call, "O!|y#II", &PyTuple_Type, &args, &rules, &count, &reveal, &room))
        return NULL;
    if (count > 9) {
        PyErr_SetString(PyExc_ValueError, "too many rules");
        return NULL;
    }
    struct pa_event_rule rule = rule_of(rules, count);
    PyObject *kept = PyList_New(0);
    uint8_t *scratch = malloc(PA_TEXT_MAX);
    struct pa_text_sink sink = {keep, kept, scratch};
    uint16_t notes = 0;
    uint8_t *out = malloc(room ? room : 1);         /* exactly: the sanitizer sees what is beyond */
    int length = pa_encode_args(out, room, args, count ? &rule : NULL, reveal, &sink, &notes);
    if (PyErr_Occurred())
        abort();
    PyObject *ret = length < 0 ? Py_BuildValue("(OIN)", Py_None, notes, kept)
                               : Py_BuildValue("(y#IN)", (char *)out, (Py_ssize_t)length, notes, kept);
    free(out);
    free(scratch);
    return ret;
}

/* rule(event) -> bytes for encode(), or None */
static PyObject *rule(PyObject *self, PyObject *call)
{
    const char *name;
    (void)self;
    if (!PyArg_ParseTuple(call, "s", &name))
        return NULL;
    for (size_t i = 0; i < PA_EVENT_RULES; i++)
        if (strcmp(pa_event_table[i].name, name) == 0)
            return PyBytes_FromStringAndSize((const char *)pa_event_table[i].args, pa_event_table[i].nargs);
    Py_RETURN_NONE;
}

typedef int writer(uint8_t *out, uint32_t room, const char *text, size_t length, uint16_t *ret_notes);

/* write(text, room=...) -> (text or None, notes), by one of the functions below */
static PyObject *call_writer(PyObject *call, writer *write)
{
    const char *text;
    Py_ssize_t length;
    unsigned room = PA_ARGS_MAX;
    if (!PyArg_ParseTuple(call, "y#|I", &text, &length, &room))
        return NULL;
    uint16_t notes = 0;
    uint8_t *out = malloc(room ? room : 1);
    int written = write(out, room, text, (size_t)length, &notes);
    PyObject *ret = written < 0 ? Py_BuildValue("(OI)", Py_None, notes)
                                : Py_BuildValue("(y#I)", (char *)out, (Py_ssize_t)written, notes);
    free(out);
    return ret;
}

static int write_string(uint8_t *out, uint32_t room, const char *text, size_t length, uint16_t *ret_notes)
{
    (void)ret_notes;
    return pa_json_string(out, room, text, length);
}

static PyObject *name(PyObject *self, PyObject *call) { (void)self; return call_writer(call, pa_encode_name); }
static PyObject *argv(PyObject *self, PyObject *call) { (void)self; return call_writer(call, pa_json_argv); }
static PyObject *string(PyObject *self, PyObject *call) { (void)self; return call_writer(call, write_string); }

static PyObject *is_secret(PyObject *self, PyObject *call)
{
    const char *text;
    Py_ssize_t length;
    (void)self;
    if (!PyArg_ParseTuple(call, "s#", &text, &length))
        return NULL;
    return PyBool_FromLong(pa_mask_is_secret((const uint8_t *)text, (size_t)length));
}

static PyObject *xxh64(PyObject *self, PyObject *call)
{
    PyObject *pieces;
    struct pa_xxh64 hash;
    (void)self;
    if (!PyArg_ParseTuple(call, "O!", &PyTuple_Type, &pieces))
        return NULL;
    pa_xxh64_begin(&hash);
    for (Py_ssize_t i = 0; i < PyTuple_Size(pieces); i++) {
        PyObject *piece = PyTuple_GetItem(pieces, i);
        pa_xxh64_add(&hash, PyBytes_AsString(piece), (size_t)PyBytes_Size(piece));
    }
    return PyLong_FromUnsignedLongLong(pa_xxh64_end(&hash));
}

/* utf8(str, room) -> (bytes, flags) */
static PyObject *utf8(PyObject *self, PyObject *call)
{
    PyObject *str;
    unsigned room;
    int flags;
    (void)self;
    if (!PyArg_ParseTuple(call, "UI", &str, &room))
        return NULL;
    uint8_t *out = malloc(room ? room : 1);
    size_t length = pa_str_utf8(str, out, room, &flags);
    PyObject *ret = Py_BuildValue("(y#i)", (char *)out, (Py_ssize_t)length, flags);
    free(out);
    return ret;
}

/* code(code) -> (filename, name, qualname, linetable, firstline, version) */
static PyObject *code(PyObject *self, PyObject *object)
{
    struct pa_code_view view;
    (void)self;
    if (pa_code_read(object, &view) < 0)
        Py_RETURN_NONE;
    return Py_BuildValue("(OOOOiI)", view.filename, view.name, view.qualname, view.linetable, view.firstline, view.version);
}

/* offset(field index[, new value]) -> value; break things on purpose */
static PyObject *offset(PyObject *self, PyObject *call)
{
    unsigned at;
    int value = -1;
    (void)self;
    if (!PyArg_ParseTuple(call, "I|i", &at, &value))
        return NULL;
    uint16_t *field = (uint16_t *)((char *)&pa_offsets + at), old = *field;
    if (value >= 0)
        *field = (uint16_t)value;
    return PyLong_FromLong(old);
}

static PyObject *self_test(PyObject *self, PyObject *none)
{
    (void)self;
    (void)none;
    int agrees = pa_abi_self_test();
    return Py_BuildValue("(iI)", agrees, pa_readable);
}

static PyObject *init(PyObject *self, PyObject *none)
{
    (void)self;
    (void)none;
    return PyLong_FromLong(pa_abi_init());
}

/* nanoseconds(args, rules, times) -> ns for one pa_encode_args, the best of several rounds */
static PyObject *nanoseconds(PyObject *self, PyObject *call)
{
    PyObject *args;
    const char *rules;
    Py_ssize_t count;
    int times;
    (void)self;
    if (!PyArg_ParseTuple(call, "O!y#i", &PyTuple_Type, &args, &rules, &count, &times))
        return NULL;
    static uint8_t out[PA_ARGS_MAX], scratch[PA_TEXT_MAX];
    struct pa_text_sink sink = {NULL, NULL, scratch};
    struct pa_event_rule rule = rule_of(rules, count);
    double best = 1e9;
    for (int round = 0; round < 20; round++) {
        struct timespec begin, end;
        uint16_t notes = 0;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        for (int i = 0; i < times; i++) {
            pa_encode_args(out, sizeof out, args, count ? &rule : NULL, 0, &sink, &notes);
            __asm__ volatile("" ::: "memory");
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        double took = ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / times;
        best = took < best ? took : best;
    }
    return PyFloat_FromDouble(best);
}

#define FIELD(name) {#name, offsetof(struct pa_offsets, name)}

static PyMethodDef methods[] = {
    {"encode", encode, METH_VARARGS, NULL}, {"rule", rule, METH_VARARGS, NULL}, {"name", name, METH_VARARGS, NULL},
    {"argv", argv, METH_VARARGS, NULL}, {"string", string, METH_VARARGS, NULL},
    {"is_secret", is_secret, METH_VARARGS, NULL}, {"xxh64", xxh64, METH_VARARGS, NULL},
    {"utf8", utf8, METH_VARARGS, NULL}, {"code", code, METH_O, NULL}, {"offset", offset, METH_VARARGS, NULL},
    {"self_test", self_test, METH_NOARGS, NULL}, {"init", init, METH_NOARGS, NULL},
    {"nanoseconds", nanoseconds, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "probe", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_probe(void)
{
    static const struct { const char *name; size_t offset; } fields[] = {
        FIELD(str_length), FIELD(str_state), FIELD(str_ascii_data), FIELD(int_digits), FIELD(tuple_items),
        FIELD(list_items), FIELD(bytes_data), FIELD(type_name), FIELD(code_linetable), FIELD(code_firstline),
    };
    static const struct { const char *name; long value; } numbers[] = {
        {"TRUNCATED", PA_NOTE_TRUNCATED}, {"MASKED", PA_NOTE_MASKED}, {"SUMMARISED", PA_NOTE_SUMMARISED},
        {"ITEMS", PA_NOTE_ITEMS}, {"DEPTH", PA_NOTE_DEPTH}, {"NAME", PA_NOTE_NAME},
        {"REVEAL_CODE", PA_REVEAL_CODE}, {"REVEAL_ENV", PA_REVEAL_ENV}, {"REVEAL_HTTP", PA_REVEAL_HTTP},
        {"REVEAL_SQL", PA_REVEAL_SQL}, {"REVEAL_INPUT", PA_REVEAL_INPUT}, {"REVEAL_MAIL", PA_REVEAL_MAIL},
        {"VALUE", PA_ARG_VALUE}, {"PATH", PA_ARG_PATH}, {"COMMAND", PA_ARG_COMMAND}, {"CODE", PA_ARG_CODE},
        {"BULK", PA_ARG_BULK}, {"ENV_KEY", PA_ARG_ENV_KEY}, {"ENV_VALUE", PA_ARG_ENV_VALUE}, {"ENV", PA_ARG_ENV},
        {"HTTP", PA_ARG_HTTP}, {"HEADERS", PA_ARG_HEADERS}, {"URL", PA_ARG_URL}, {"SQL", PA_ARG_SQL},
        {"INPUT", PA_ARG_INPUT}, {"LINE", PA_ARG_LINE}, {"LENGTH", PA_ARG_LENGTH}, {"OBJECT", PA_ARG_OBJECT},
        {"SECRET", PA_ARG_SECRET}, {"ARGS_MAX", PA_ARGS_MAX}, {"TEXT_MAX", PA_TEXT_MAX}, {"ITEMS_MAX", PA_ITEMS_MAX},
        {"DEPTH_MAX", PA_DEPTH_MAX}, {"REVEALED_MAX", PA_REVEALED_MAX}, {"READ_STR", PA_READ_STR},
        {"READ_INT", PA_READ_INT}, {"READ_ITEMS", PA_READ_ITEMS}, {"READ_TYPE", PA_READ_TYPE}, {"READ_CODE", PA_READ_CODE},
    };
    if (pa_abi_init() < 0) {
        PyErr_SetString(PyExc_ImportError, "pa_abi_init");
        return NULL;
    }
    PyObject *ret = PyModule_Create(&module), *map = PyDict_New();
#ifdef Py_GIL_DISABLED
    PyUnstable_Module_SetGIL(ret, Py_MOD_GIL_NOT_USED); /* as the recorder's module has it */
#endif
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        PyModule_AddIntConstant(ret, numbers[i].name, numbers[i].value);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        PyObject *value = PyLong_FromSize_t(fields[i].offset);
        PyDict_SetItemString(map, fields[i].name, value);
        Py_DECREF(value);
    }
    PyModule_AddObject(ret, "FIELDS", map);
    return ret;
}
