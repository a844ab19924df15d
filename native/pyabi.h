/* Reading CPython's exact built-in objects without calling into Python.
 *
 * One abi3 binary serves CPython 3.10 to 3.15 with the GIL, another one the
 * free-threaded build that it was compiled for (Py_GIL_DISABLED): the limited
 * API, a few exported functions that it leaves out (declared here), and the
 * offsets of offsets.h for what has no function that neither allocates nor
 * raises. pa_abi_init() chooses the offsets of the running version; it calls
 * nothing that needs an interpreter, so it works before Py_Initialize.
 * pa_abi_self_test() compares what we read with the public API once there is an
 * interpreter; what does not agree is not read any more (pa_readable).
 *
 * Readers take objects of the exact type named (or, for str, of a subclass:
 * those keep their characters in the same place) and never fail otherwise,
 * never write, and never keep a reference.
 */
#ifndef PA_PYABI_H
#define PA_PYABI_H

/* A free-threaded build has no limited API (to 3.14): the recorder is compiled for that one version. */
#if !defined(Py_LIMITED_API) && !defined(PA_FREE_THREADED)
#define Py_LIMITED_API 0x030A0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "offsets.h"

#define PA_HIDDEN __attribute__((visibility("hidden")))

#ifdef Py_LIMITED_API
/* exported by every CPython from 3.10 to 3.15, but not part of the limited API */
extern PyTypeObject PyCode_Type, PyContextVar_Type;
PyCodeObject *PyCode_NewEmpty(const char *filename, const char *name, int first_line);
int PyCode_Addr2Line(PyCodeObject *code, int byte_offset);
PyFrameObject *PyFrame_GetBack(PyFrameObject *frame);
PyObject *PyContextVar_New(const char *name, PyObject *value);
int PyContextVar_Get(PyObject *variable, PyObject *value, PyObject **ret_value);
PyObject *PyContextVar_Set(PyObject *variable, PyObject *value);
int PyContextVar_Reset(PyObject *variable, PyObject *token);
#endif

/* The offsets of the running interpreter. */
extern PA_HIDDEN struct pa_offsets pa_offsets;

/* What may be read by offset: all of it, until the self-test has found otherwise. */
enum {
    PA_READ_STR = 1, PA_READ_INT = 2, PA_READ_ITEMS = 4 /* of tuple and list, bytes */,
    PA_READ_TYPE = 8, PA_READ_CODE = 16
};
extern PA_HIDDEN uint32_t pa_readable;

/* Chooses the offsets by Py_GetVersion(). Returns 0, or -1: not a version, or
 * not of the kind of build, that this binary knows. */
int pa_abi_init(void);

/* Compares our readers with the public API. Call it with the GIL held and no
 * exception pending; it raises no audit event. Returns 0, or -1 when something
 * did not agree; pa_readable then lacks it. */
int pa_abi_self_test(void);

static inline uint32_t pa_load32(const void *base, size_t offset)
{
    uint32_t ret;
    memcpy(&ret, (const char *)base + offset, sizeof ret);
    return ret;
}

static inline void *pa_load_pointer(const void *base, size_t offset)
{
    void *ret;
    memcpy(&ret, (const char *)base + offset, sizeof ret);
    return ret;
}

struct pa_text {
    const void *data;
    Py_ssize_t length;      /* characters */
    uint32_t kind;          /* bytes a character: 1, 2 or 4 */
    int ascii;              /* all are below U+0080 (and kind is 1) */
};

/* The characters of a str. Returns 0, or -1 when they cannot be read: a legacy
 * string of 3.10 or 3.11 that is not ready yet, or reading is off. */
static inline int pa_str_read(PyObject *str, struct pa_text *ret)
{
    if (__builtin_expect(!(pa_readable & PA_READ_STR), 0))
        return -1;
    uint32_t state = pa_load32(str, pa_offsets.str_state);
    ret->kind = (state >> pa_offsets.str_kind_shift) & 7;
    ret->ascii = (state & pa_offsets.str_ascii_bit) != 0;
    if (pa_offsets.str_ready_bit && !(state & pa_offsets.str_ready_bit))
        return -1;
    ret->length = (Py_ssize_t)pa_load_pointer(str, pa_offsets.str_length);
    if (__builtin_expect(state & pa_offsets.str_compact_bit, 1))
        ret->data = (const char *)str + (ret->ascii ? pa_offsets.str_ascii_data : pa_offsets.str_compact_data);
    else
        ret->data = pa_load_pointer(str, pa_offsets.str_pointer);
    return 0;
}

static inline uint32_t pa_text_character(const struct pa_text *text, Py_ssize_t index)
{
    if (text->kind == 1)
        return ((const uint8_t *)text->data)[index];
    if (text->kind == 2)
        return ((const uint16_t *)text->data)[index];
    return ((const uint32_t *)text->data)[index];
}

/* Writes UTF-8 for the characters from *index on while they fit into `room`
 * bytes, lone surrogates as three bytes each (WTF-8). Returns the bytes written
 * and moves *index; *ret_surrogates is set to 1 when there was one, else left. */
size_t pa_text_utf8(const struct pa_text *text, Py_ssize_t *index, uint8_t *out, size_t room, int *ret_surrogates);

/* pa_str_utf8, flags */
enum { PA_UTF8_CUT = 1 /* it did not fit */, PA_UTF8_ESCAPED = 2 /* it has lone surrogates */, PA_UTF8_UNREADABLE = 4 };

/* A str as valid UTF-8 for file and function names: lone surrogates become the
 * six characters \udcXX, and what does not fit is cut at a character. Returns
 * the number of bytes; *ret_flags is PA_UTF8_*. */
size_t pa_str_utf8(PyObject *str, uint8_t *out, size_t room, int *ret_flags);

struct pa_int {
    int negative;
    Py_ssize_t count;       /* digits of 30 bits, least significant first; 0 for zero */
    const uint32_t *digits;
};

/* The digits of an exact int. Returns 0, or -1 when reading is off. */
static inline int pa_int_read(PyObject *integer, struct pa_int *ret)
{
    if (__builtin_expect(!(pa_readable & PA_READ_INT), 0))
        return -1;
    Py_ssize_t size = (Py_ssize_t)pa_load_pointer(integer, pa_offsets.int_size);
    if (pa_offsets.int_tag_shift) {
        ret->negative = (size & 3) == 2;
        ret->count = (Py_ssize_t)((size_t)size >> pa_offsets.int_tag_shift);
    } else {
        ret->negative = size < 0;
        ret->count = size < 0 ? -size : size;
    }
    ret->digits = (const uint32_t *)((const char *)integer + pa_offsets.int_digits);
    return 0;
}

/* Items of an exact tuple or list, bytes of an exact bytes object. The index
 * must be below the size, which no one can change while we hold the GIL, or
 * the list (pa_take). */
static inline PyObject *pa_tuple_item(PyObject *tuple, Py_ssize_t index)
{
    if (__builtin_expect(!(pa_readable & PA_READ_ITEMS), 0))
        return PyTuple_GetItem(tuple, index);
    return pa_load_pointer(tuple, pa_offsets.tuple_items + (size_t)index * sizeof(PyObject *));
}

static inline PyObject *pa_list_item(PyObject *list, Py_ssize_t index)
{
    if (__builtin_expect(!(pa_readable & PA_READ_ITEMS), 0))
        return PyList_GetItem(list, index);
    return pa_load_pointer(pa_load_pointer(list, pa_offsets.list_items), (size_t)index * sizeof(PyObject *));
}

static inline const char *pa_bytes_data(PyObject *bytes)
{
    if (__builtin_expect(!(pa_readable & PA_READ_ITEMS), 0))
        return PyBytes_AsString(bytes);
    return (const char *)bytes + pa_offsets.bytes_data;
}

/* An attribute of an object as object.__getattribute__ finds it. NULL, and no exception: there is none, or this
 * version has no function for that. A new reference. Runs nobody's code if pa_has_plain_attribute. */
PyObject *pa_plain_attribute(PyObject *object, PyObject *name);

/* Whether that attribute of instances of a class can only be what was stored in them: no descriptor of that
 * name, no __getattribute__ of its own. */
int pa_has_plain_attribute(PyTypeObject *type, PyObject *name);

/* Whether it is an exact str that begins with this ASCII text, or is it. */
int pa_str_begins(PyObject *str, const char *text, size_t length, int whole);

/* The value of a dict, or of a dict's subclass, under a key that is (or begins with) this text, among the first
 * `most`. NULL: none, or it cannot be read now. A new reference. */
PyObject *pa_dict_item(PyObject *dict, const char *key, int whole, int most);

/* The same of a module that is imported, by their names. `modules` is PySys_GetObject("modules"), which makes a str
 * for the name, or PyImport_GetModuleDict(), which ends the process once the interpreter has none any more. */
PyObject *pa_module_item(PyObject *modules, const char *module, const char *key);

/* A new str, which the collector does not track: making one runs nobody's code. NULL, and no exception: no memory. */
PyObject *pa_str_new(const char *text);

/* tp_name: UTF-8; "?" when it cannot be read. */
static inline const char *pa_type_name(PyTypeObject *type)
{
    if (__builtin_expect(!(pa_readable & PA_READ_TYPE), 0))
        return "?";
    const char *name = pa_load_pointer(type, pa_offsets.type_name);
    return name ? name : "?";
}

/* Whether a list or dict may be read now, which pa_release ends. With the GIL it always may. Without,
 * another thread could change it meanwhile: only where its own lock can be had at once, since waiting for
 * it would block, and let other code run, inside the event. */
static inline int pa_take(PyObject *container)
{
#ifdef Py_GIL_DISABLED
    uint8_t unlocked = 0;
    return Py_TYPE(container) == &PyTuple_Type ||
           __atomic_compare_exchange_n(&container->ob_mutex._bits, &unlocked, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
#else
    (void)container;
    return 1;
#endif
}

static inline void pa_release(PyObject *container)
{
#ifdef Py_GIL_DISABLED
    if (Py_TYPE(container) != &PyTuple_Type)
        PyMutex_Unlock(&container->ob_mutex);
#else
    (void)container;
#endif
}

/* Whether an exact bytearray may be read: without the GIL nothing of it may, as up to 3.13 it has no lock. */
#ifdef Py_GIL_DISABLED
#define PA_READS_BYTEARRAY 0
#else
#define PA_READS_BYTEARRAY 1
#endif

/* Frame objects and the self-tests are not to start the collector, which runs user code. Without the GIL,
 * allocating never does, and switching it off would be seen by other threads. */
static inline int pa_collector_off(void)
{
#ifdef Py_GIL_DISABLED
    return 0;
#else
    return PyGC_Disable();
#endif
}

/* The value of __module__ in the class's own namespace, a str, if it is where class statements put it
 * (among the first entries), as pa_str_utf8 writes it. Returns the number of bytes; 0: there is none. */
size_t pa_type_module(PyTypeObject *type, uint8_t *out, size_t room);

struct pa_code_view {       /* borrowed references */
    PyObject *filename, *name;      /* str */
    PyObject *qualname;             /* str; 3.10: the name */
    PyObject *linetable;            /* bytes */
    int firstline;
    uint32_t version;               /* co_version, never the same for two codes unless 0; before 3.12: 0 */
    const void *instructions;       /* the first code unit */
};

/* The fields of a code object. Returns 0, or -1 when reading is off. */
int pa_code_read(PyObject *code, struct pa_code_view *ret);

#endif
