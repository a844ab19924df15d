#include "pyabi.h"

#include <stdlib.h>

/* Both are there in every CPython from 3.10, but weak: a program that
 * re-exports only the stable ABI must fail in pa_abi_init, not at load time. */
extern const char _PyRuntime[] __attribute__((weak));
extern PyObject *PyCode_GetCode(PyCodeObject *code) __attribute__((weak)); /* 3.11 */

/* Exported by each from 3.10 to 3.13; where a later one has them no more, nothing is found. */
extern PyObject *_PyObject_GenericGetAttrWithDict(PyObject *, PyObject *, PyObject *, int) __attribute__((weak));
extern PyObject *_PyType_Lookup(PyTypeObject *, PyObject *) __attribute__((weak));

#ifdef Py_GIL_DISABLED
#define FREE_THREADED 1
#else
#define FREE_THREADED 0
#endif

struct pa_offsets pa_offsets;
uint32_t pa_readable;

/* _PyRuntime.debug_offsets, 3.13 and later: "xdebugpy", PY_VERSION_HEX,
 * 1 in free-threaded builds, then the offsets. All are there before start-up. */
static int take_debug_offsets(unsigned minor)
{
    uint64_t head[3];
    if (!_PyRuntime)
        return -1;
    memcpy(head, _PyRuntime, sizeof head);
    if (memcmp(head, "xdebugpy", 8) != 0 || head[1] >> 16 != (0x300 | minor) || head[2] != FREE_THREADED)
        return -1;
    for (size_t i = 0; i < sizeof pa_debug_numbers / sizeof *pa_debug_numbers; i++) {
        const struct pa_debug_number *number = &pa_debug_numbers[i];
        uint64_t value;
        if (number->minor != minor)
            continue;
        memcpy(&value, _PyRuntime + 8 * (size_t)number->index, sizeof value);
        if (value >= PA_ABSENT)
            return -1;
        uint16_t offset = (uint16_t)value;
        memcpy((char *)&pa_offsets + number->field, &offset, sizeof offset);
    }
    return 0;
}

int pa_abi_init(void)
{
    const char *version = Py_GetVersion();
    if (strncmp(version, "3.", 2) != 0)
        return -1;
    unsigned long minor = strtoul(version + 2, NULL, 10);
    for (size_t i = 0; i < sizeof pa_offsets_table / sizeof *pa_offsets_table; i++) {
        if (pa_offsets_table[i].minor != minor || pa_offsets_table[i].free_threaded != FREE_THREADED)
            continue;
        pa_offsets = pa_offsets_table[i];
        if (minor >= 13 && take_debug_offsets((unsigned)minor) < 0)
            return -1;
        pa_readable = PA_READ_STR | PA_READ_INT | PA_READ_ITEMS | PA_READ_TYPE | PA_READ_CODE;
        return 0;
    }
    return -1;
}

size_t pa_text_utf8(const struct pa_text *text, Py_ssize_t *index, uint8_t *out, size_t room, int *ret_surrogates)
{
    size_t used = 0;
    Py_ssize_t i = *index;
    if (text->ascii) {
        used = (size_t)(text->length - i) < room ? (size_t)(text->length - i) : room;
        memcpy(out, (const uint8_t *)text->data + i, used);
        *index = i + (Py_ssize_t)used;
        return used;
    }
    for (; i < text->length; i++) {
        uint32_t c = pa_text_character(text, i);
        uint8_t *at = out + used;
        if (room - used < 4 && room - used < 1u + (c >= 0x80) + (c >= 0x800) + (c >= 0x10000))
            break;
        if (c < 0x80) {
            at[0] = (uint8_t)c;
            used += 1;
        } else if (c < 0x800) {
            at[0] = (uint8_t)(0xC0 | c >> 6);
            at[1] = (uint8_t)(0x80 | (c & 0x3F));
            used += 2;
        } else if (c < 0x10000) {
            *ret_surrogates |= c >= 0xD800 && c <= 0xDFFF;
            at[0] = (uint8_t)(0xE0 | c >> 12);
            at[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
            at[2] = (uint8_t)(0x80 | (c & 0x3F));
            used += 3;
        } else {
            at[0] = (uint8_t)(0xF0 | c >> 18);
            at[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
            at[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
            at[3] = (uint8_t)(0x80 | (c & 0x3F));
            used += 4;
        }
    }
    *index = i;
    return used;
}

size_t pa_str_utf8(PyObject *str, uint8_t *out, size_t room, int *ret_flags)
{
    static const char hex[] = "0123456789abcdef";
    struct pa_text text;
    *ret_flags = 0;
    if (pa_str_read(str, &text) < 0) {
        *ret_flags = PA_UTF8_UNREADABLE;
        return 0;
    }
    size_t used = 0;
    for (Py_ssize_t i = 0; i < text.length;) {
        uint32_t c = pa_text_character(&text, i);
        if (c >= 0xD800 && c <= 0xDFFF) {
            if (room - used < 6) {
                *ret_flags |= PA_UTF8_CUT;
                break;
            }
            *ret_flags |= PA_UTF8_ESCAPED;
            out[used++] = '\\';
            out[used++] = 'u';
            for (int shift = 12; shift >= 0; shift -= 4)
                out[used++] = (uint8_t)hex[c >> shift & 15];
            i++;
            continue;
        }
        /* up to the next surrogate, or the end */
        struct pa_text run = text;
        Py_ssize_t end = i + 1;
        if (text.kind == 1)
            end = text.length;
        else
            while (end < text.length && (pa_text_character(&text, end) & 0xFFFFF800) != 0xD800)
                end++;
        int surrogates = 0;
        run.length = end;
        used += pa_text_utf8(&run, &i, out + used, room - used, &surrogates);
        if (i < end) {
            *ret_flags |= PA_UTF8_CUT;
            break;
        }
    }
    return used;
}

size_t pa_type_module(PyTypeObject *type, uint8_t *out, size_t room)
{
    static const char name[] = "__module__";
    size_t length = 0;
    if (!(pa_readable & PA_READ_TYPE) || !(PyType_GetFlags(type) & Py_TPFLAGS_HEAPTYPE))
        return 0;
    PyObject *namespace = pa_load_pointer(type, pa_offsets.type_dict), *key, *value;
    if (!namespace || Py_TYPE(namespace) != &PyDict_Type || !pa_take(namespace))
        return 0;
    Py_ssize_t position = 0;
    for (int i = 0; i < 4 && PyDict_Next(namespace, &position, &key, &value); i++) {
        struct pa_text text;
        if (Py_TYPE(key) == &PyUnicode_Type && pa_str_read(key, &text) == 0 && text.ascii &&
            text.length == sizeof name - 1 && memcmp(text.data, name, sizeof name - 1) == 0) {
            int flags;
            if (Py_TYPE(value) == &PyUnicode_Type)
                length = pa_str_utf8(value, out, room, &flags);
            break;
        }
    }
    pa_release(namespace);
    return length;
}

PyObject *pa_plain_attribute(PyObject *object, PyObject *name)
{
    return _PyObject_GenericGetAttrWithDict ? _PyObject_GenericGetAttrWithDict(object, name, NULL, 1) : NULL;
}

int pa_has_plain_attribute(PyTypeObject *type, PyObject *name)
{
    return _PyType_Lookup && (PyType_GetFlags(type) & Py_TPFLAGS_HEAPTYPE) &&
           PyType_GetSlot(type, Py_tp_getattro) == (void *)PyObject_GenericGetAttr && !_PyType_Lookup(type, name);
}

int pa_str_begins(PyObject *str, const char *text, size_t length, int whole)
{
    struct pa_text view;
    return str && Py_TYPE(str) == &PyUnicode_Type && pa_str_read(str, &view) == 0 && view.ascii &&
           (size_t)view.length >= length && (!whole || (size_t)view.length == length) &&
           memcmp(view.data, text, length) == 0;
}

PyObject *pa_dict_item(PyObject *dict, const char *key, int whole, int most)
{
    PyObject *found = NULL, *name, *value;
    Py_ssize_t position = 0;
    size_t length = strlen(key);
    if (!dict || !(PyType_GetFlags(Py_TYPE(dict)) & Py_TPFLAGS_DICT_SUBCLASS) || !pa_take(dict))
        return NULL;
    for (int i = 0; i < most && !found && PyDict_Next(dict, &position, &name, &value); i++)
        if (pa_str_begins(name, key, length, whole))
            found = value;
    Py_IncRef(found);
    pa_release(dict);
    return found;
}

PyObject *pa_module_item(PyObject *modules, const char *module, const char *key)
{
    PyObject *found = NULL;
    PyObject *imported = modules && Py_TYPE(modules) == &PyDict_Type ? pa_dict_item(modules, module, 1, 1 << 20) : NULL;
    if (imported && Py_TYPE(imported) == &PyModule_Type)
        found = pa_dict_item(PyModule_GetDict(imported), key, 1, 1000);
    Py_DecRef(imported);
    return found;
}

PyObject *pa_str_new(const char *text)
{
    PyObject *str = PyUnicode_FromString(text);
    if (!str)
        PyErr_Clear();
    return str;
}

int pa_code_read(PyObject *code, struct pa_code_view *ret)
{
    if (!(pa_readable & PA_READ_CODE))
        return -1;
    ret->filename = pa_load_pointer(code, pa_offsets.code_filename);
    ret->name = pa_load_pointer(code, pa_offsets.code_name);
    ret->qualname = pa_load_pointer(code, pa_offsets.code_qualname);
    ret->linetable = pa_load_pointer(code, pa_offsets.code_linetable);
    ret->firstline = (int)pa_load32(code, pa_offsets.code_firstline);
    ret->version = pa_offsets.code_version == PA_ABSENT ? 0 : pa_load32(code, pa_offsets.code_version);
    if (pa_offsets.code_instructions == PA_ABSENT)
        ret->instructions = pa_bytes_data(pa_load_pointer(code, pa_offsets.code_bytes));
    else
        ret->instructions = (const char *)code + pa_offsets.code_instructions;
    return 0;
}

/* What we would follow as a pointer: not one of the small numbers that stand beside pointers. */
static int is_pointer(const void *base, size_t offset)
{
    return (uintptr_t)pa_load_pointer(base, offset) > UINT16_MAX;
}

/* One text of each kind that a str can have, against the characters it was made of. */
static int str_agrees(void)
{
    static const char *const samples[] = {
        "", "pythonaudit", "na\xc3\xafve", "\xe2\x82\xac 5", "\xf0\x9f\x90\x8d and more",
    };
    int agrees = 1;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        PyObject *str = PyUnicode_FromString(samples[i]);
        uint8_t utf8[32];
        struct pa_text text;
        int flags;
        if (!str)
            return 0;
        /* the fields first: they say whether following `data` is safe at all */
        agrees = agrees && pa_str_read(str, &text) == 0 && text.length == PyUnicode_GetLength(str) &&
                 (text.kind == 1 || text.kind == 2 || text.kind == 4) &&
                 (const char *)text.data > (const char *)str && (const char *)text.data < (const char *)str + 256 &&
                 pa_str_utf8(str, utf8, sizeof utf8, &flags) == strlen(samples[i]) &&
                 memcmp(utf8, samples[i], strlen(samples[i])) == 0;
        Py_DECREF(str);
    }
    return agrees;
}

static int int_agrees(void)
{
    static const long long samples[] = {0, 1, -1, 255, 1LL << 30, -(1LL << 59) - 7, (1LL << 62) + 12345};
    int agrees = 1;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        PyObject *integer = PyLong_FromLongLong(samples[i]);
        struct pa_int view;
        if (!integer)
            return 0;
        agrees = agrees && pa_int_read(integer, &view) == 0 && view.count >= 0 && view.count <= 3;
        long long value = 0;
        for (Py_ssize_t digit = agrees ? view.count : 0; digit-- > 0;)
            value = (long long)((unsigned long long)value << 30) + view.digits[digit];
        agrees = agrees && (view.negative ? -value : value) == samples[i];
        Py_DECREF(integer);
    }
    return agrees;
}

static int items_agree(void)
{
    PyObject *tuple = PyTuple_Pack(2, Py_None, Py_True);
    PyObject *list = PyList_New(0);
    PyObject *bytes = PyBytes_FromStringAndSize("pythonaudit", 11);
    int agree = tuple && list && bytes && PyList_Append(list, Py_None) == 0 && PyList_Append(list, Py_True) == 0 &&
                Py_SIZE(tuple) == 2 && Py_SIZE(list) == 2 && Py_SIZE(bytes) == 11 &&
                pa_tuple_item(tuple, 0) == Py_None && pa_tuple_item(tuple, 1) == Py_True &&
                is_pointer(list, pa_offsets.list_items) &&
                pa_list_item(list, 0) == Py_None && pa_list_item(list, 1) == Py_True &&
                memcmp(pa_bytes_data(bytes), "pythonaudit", 12) == 0;
    Py_XDECREF(tuple);
    Py_XDECREF(list);
    Py_XDECREF(bytes);
    return agree;
}

static int attribute_is(PyObject *object, const char *name, PyObject *expected)
{
    PyObject *value = PyObject_GetAttrString(object, name);
    Py_XDECREF(value);
    return value && value == expected;
}

static int type_agrees(void)
{
    return is_pointer(&PyUnicode_Type, pa_offsets.type_name) &&
           strcmp(pa_type_name(&PyUnicode_Type), "str") == 0 && strcmp(pa_type_name(&PyDict_Type), "dict") == 0;
}

static int code_agrees(void)
{
    PyObject *code = (PyObject *)PyCode_NewEmpty("/a/file.py", "function", 7);
    struct pa_code_view view;
    if (!code || pa_code_read(code, &view) < 0)
        return 0;
    int agrees = attribute_is(code, "co_filename", view.filename) && attribute_is(code, "co_name", view.name) &&
                 attribute_is(code, pa_offsets.minor == 10 ? "co_name" : "co_qualname", view.qualname) &&
                 attribute_is(code, "co_linetable", view.linetable) && view.firstline == 7;
    if (agrees && PyCode_GetCode) {
        PyObject *bytes = PyCode_GetCode((PyCodeObject *)code);
        /* the first and the last: what stands between may be a counter, which GetCode clears (3.15) */
        const char *shown = bytes ? PyBytes_AsString(bytes) : NULL;
        Py_ssize_t last = bytes ? PyBytes_Size(bytes) - 2 : 0;
        agrees = last > 0 && memcmp(shown, view.instructions, 2) == 0 &&
                 memcmp(shown + last, (const char *)view.instructions + last, 2) == 0;
        Py_XDECREF(bytes);
    }
    Py_DECREF(code);
    return agrees;
}

int pa_abi_self_test(void)
{
    uint32_t agreed = 0;
    agreed |= str_agrees() ? PA_READ_STR : 0;
    agreed |= int_agrees() ? PA_READ_INT : 0;
    agreed |= items_agree() ? PA_READ_ITEMS : 0;
    agreed |= type_agrees() ? PA_READ_TYPE : 0;
    agreed |= code_agrees() ? PA_READ_CODE : 0;
    PyErr_Clear();
    int ret = agreed == pa_readable ? 0 : -1;
    pa_readable &= agreed;
    return ret;
}
