/* Fuzzes the encoder of arguments (encode.h) with objects of a real interpreter: bytes are a recipe for a
 * tuple of arguments, for the rules that an event has for them, and for the room that there is. Whatever
 * they make, the text is JSON and UTF-8, nothing is written beyond the room, nothing raised, and with less
 * room it is either the same text or none.
 * targets.py builds and runs it; with -DPA_STANDALONE it takes ROUNDS and SEED, and makes up recipes. */
#include <stdlib.h>
#include <string.h>

#include "encode.h"
#include "event_table.h"
#include "settings.h"

enum { DEEPEST = 9, OTHERS = 8, RULES = 9 };

static PyObject *loads, *others[OTHERS];

static void check(int holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz_encode: %s\n", what);
    abort();
}

static const char setup[] =
    "import json\n"
    "def refuse(word): raise ValueError(word)\n"
    "def loads(text): return json.loads(text.decode('utf-8'), parse_constant=refuse)\n"
    "class Text(str): pass\n"
    "class Items(list): pass\n"
    "class Table(dict): pass\n"
    "def function(): pass\n"
    "others = [object(), Text('x'), Items([1]), Table(a=1), function.__code__, {1, 2}, int, 1j]\n";

static void begin(void)
{
    Py_Initialize();
    check(pa_abi_init() == 0, "this interpreter is not known");
    PyObject *names = PyDict_New();
    PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins());
    PyObject *code = Py_CompileString(setup, "setup", Py_file_input);
    PyObject *done = code ? PyEval_EvalCode(code, names, names) : NULL;
    if (!done)
        PyErr_Print();
    check(done != NULL, "the setup failed");
    Py_DECREF(code);
    Py_DECREF(done);
    loads = PyDict_GetItemString(names, "loads");
    PyObject *list = PyDict_GetItemString(names, "others");
    for (int i = 0; i < OTHERS; i++)
        others[i] = PyList_GetItem(list, i);
}

struct recipe { const uint8_t *at, *end; };

static unsigned take(struct recipe *r)
{
    return r->at < r->end ? *r->at++ : 0;
}

/* As many bytes as are left, at most: a length byte, then they. */
static const uint8_t *take_bytes(struct recipe *r, size_t *ret_length)
{
    size_t left, wanted = take(r);
    left = (size_t)(r->end - r->at);
    *ret_length = wanted < left ? wanted : left;
    const uint8_t *at = r->at;
    r->at += *ret_length;
    return at;
}

static PyObject *make(struct recipe *r, int depth);

static PyObject *make_text(struct recipe *r, int width)
{
    size_t length;
    const uint8_t *bytes = take_bytes(r, &length);
    uint32_t characters[256];
    size_t n = 0;
    for (size_t i = 0; i + (size_t)width <= length; i += (size_t)width) {
        uint32_t c = 0;
        memcpy(&c, bytes + i, (size_t)width);
        characters[n++] = c % 0x110000;
    }
    int order = 0; /* as here */
    return PyUnicode_DecodeUTF32((const char *)characters, (Py_ssize_t)(4 * n), "surrogatepass", &order);
}

static PyObject *make_integer(struct recipe *r)
{
    char digits[2 * 255 + 5] = "-0x0";
    size_t length, n = 4;
    const uint8_t *bytes = take_bytes(r, &length);
    for (size_t i = 0; i < length; i++)
        n += (size_t)sprintf(digits + n, "%02x", bytes[i]);
    return PyLong_FromString(digits + (length & 1), NULL, 16);
}

static PyObject *make_container(struct recipe *r, int depth, int kind)
{
    int items = depth < DEEPEST ? (int)(take(r) % 8) : 0;
    PyObject *ret = kind == 0 ? PyTuple_New(items) : kind == 1 ? PyList_New(items) : PyDict_New();
    for (int i = 0; i < items; i++) {
        PyObject *item = make(r, depth + 1);
        if (kind == 0) {
            PyTuple_SetItem(ret, i, item);
        } else if (kind == 1) {
            PyList_SetItem(ret, i, item);
        } else {
            PyObject *value = make(r, depth + 1);
            if (PyDict_SetItem(ret, item, value) < 0)
                PyErr_Clear(); /* no key */
            Py_DECREF(item);
            Py_DECREF(value);
        }
    }
    return ret;
}

static PyObject *make(struct recipe *r, int depth)
{
    size_t length;
    const uint8_t *bytes;
    double number = 0;
    PyObject *piece, *ret;
    unsigned kind = take(r) % 16;
    if (kind == 13 && depth > DEEPEST)
        kind = 0;
    switch (kind) {
    case 0: Py_INCREF(Py_None); return Py_None;
    case 1: return PyBool_FromLong(take(r) & 1);
    case 2: return PyLong_FromLong((long)take(r) - 128);
    case 3: return make_integer(r);
    case 4:
        bytes = take_bytes(r, &length);
        memcpy(&number, bytes, length < sizeof number ? length : sizeof number);
        return PyFloat_FromDouble(number);
    case 5: return make_text(r, 1);
    case 6: return make_text(r, 2);
    case 7: return make_text(r, 4);
    case 8: bytes = take_bytes(r, &length); return PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)length);
    case 9: bytes = take_bytes(r, &length); return PyByteArray_FromStringAndSize((const char *)bytes, (Py_ssize_t)length);
    case 10: case 11: case 12: return make_container(r, depth, (int)kind - 10);
    case 13: /* long, but not of what is long */
        piece = make(r, DEEPEST + 1);
        ret = PySequence_Check(piece) ? PySequence_Repeat(piece, take(r)) : NULL;
        PyErr_Clear();
        if (!ret)
            return piece;
        Py_DECREF(piece);
        return ret;
    default:
        ret = others[take(r) % OTHERS];
        Py_INCREF(ret);
        return ret;
    }
}

static uint32_t keep(void *context, const uint8_t *text, uint32_t length)
{
    PyObject *str = PyUnicode_DecodeUTF8((const char *)text, length, NULL);
    check(str != NULL, "revealed code is not UTF-8");
    Py_DECREF(str);
    return ++*(uint32_t *)context;
}

static int encode(uint8_t **ret_out, uint32_t room, PyObject *args, const struct pa_event_rule *rule,
                  uint32_t reveal, uint16_t *ret_notes)
{
    uint32_t kept = 0;
    static uint8_t scratch[PA_TEXT_MAX];
    struct pa_text_sink sink = {keep, &kept, scratch};
    *ret_out = malloc(room ? room : 1); /* exactly: the sanitizer sees what is beyond */
    *ret_notes = 0;
    int length = pa_encode_args(*ret_out, room, args, rule, reveal, &sink, ret_notes);
    check(!PyErr_Occurred(), "something was raised");
    check(length <= (int)room, "more was written than there is room for");
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!loads)
        begin();
    struct recipe r = {data, data + size};
    struct pa_event_rule rule = {.nargs = (uint8_t)(take(&r) % (RULES + 1))};
    for (int i = 0; i < rule.nargs; i++)
        rule.args[i] = pa_event_table[take(&r) % PA_EVENT_RULES].args[i];
    uint32_t reveal = take(&r), room = take(&r) << 8 | take(&r);
    PyObject *args = make_container(&r, 0, 0);
    uint8_t *text, *other;
    uint16_t notes, other_notes;
    int length = encode(&text, PA_ARGS_MAX, args, rule.nargs ? &rule : NULL, reveal, &notes);
    check(length >= 0, "there is always room enough");
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)text, length);
    PyObject *value = PyObject_CallFunctionObjArgs(loads, bytes, NULL);
    if (!value) {
        PyErr_Print();
        fprintf(stderr, "%.*s\n", length, (const char *)text);
    }
    check(value && PyList_Check(value), "this is no JSON array");
    int shorter = encode(&other, room, args, rule.nargs ? &rule : NULL, reveal, &other_notes);
    if (room >= PA_ARGS_MAX)
        check(shorter >= 0, "there is always room enough");
    if (shorter >= 0)
        check(shorter == length && other_notes == notes && !memcmp(text, other, (size_t)length), "another text in less room");
    free(text);
    free(other);
    Py_DECREF(bytes);
    Py_DECREF(value);
    Py_DECREF(args);
    return 0;
}

#ifdef PA_STANDALONE
static uint64_t state;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 1;
    state = 88172645463325252u + (argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
    for (long i = 0; i < rounds; i++) {
        uint8_t recipe[512];
        size_t size = next_random() % sizeof recipe;
        for (size_t j = 0; j < size; j++)
            recipe[j] = (uint8_t)(next_random() >> 32);
        LLVMFuzzerTestOneInput(recipe, size);
    }
    printf("%ld recipes\n", rounds);
    return 0;
}
#endif
