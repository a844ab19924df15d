#include "value.h"

#include <stdlib.h>

#include "format.h"

#define TYPE_NAME_MAX 256
#define NOINLINE __attribute__((noinline))

void pa_view_bytes(const uint8_t *bytes, size_t total, struct pa_view *ret)
{
    size_t length = total < PA_TEXT_MAX ? total : PA_TEXT_MAX;
    size_t valid = pa_utf8_valid(bytes, length);
    *ret = (struct pa_view){bytes, length, total > length, PA_FORM_BASE64};
    if (valid == length || (ret->cut && pa_utf8_unfinished(bytes + valid, length - valid))) {
        ret->length = valid;
        ret->form = PA_FORM_BYTES;
    }
}

int pa_view_text(PyObject *object, uint8_t scratch[PA_TEXT_MAX], struct pa_view *ret)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyBytes_Type) {
        pa_view_bytes((const uint8_t *)pa_bytes_data(object), (size_t)Py_SIZE(object), ret);
        return 0;
    }
    if (PA_READS_BYTEARRAY && type == &PyByteArray_Type) {
        pa_view_bytes((const uint8_t *)PyByteArray_AsString(object), (size_t)PyByteArray_Size(object), ret);
        return 0;
    }
    struct pa_text text;
    if (type != &PyUnicode_Type || pa_str_read(object, &text) < 0)
        return -1;
    *ret = (struct pa_view){text.data, (size_t)text.length, 0, PA_FORM_STRING};
    if (!text.ascii) {
        Py_ssize_t taken = 0;
        int surrogates = 0;
        ret->bytes = scratch;
        ret->length = pa_text_utf8(&text, &taken, scratch, PA_TEXT_MAX, &surrogates);
        ret->cut = taken < text.length;
        ret->form = surrogates ? PA_FORM_WTF8 : PA_FORM_STRING;
    } else if (ret->length > PA_TEXT_MAX) {
        ret->length = PA_TEXT_MAX;
        ret->cut = 1;
    }
    return 0;
}

size_t pa_find_secrets(struct pa_encoder *e, const struct pa_view *view, enum pa_treatment treatment,
                       struct pa_span *ret_spans)
{
    switch (treatment) {
    case PA_AS_PLAIN:
        return 0;
    case PA_AS_PATH:
        return pa_mask_path(view->bytes, view->length, view->cut, ret_spans);
    case PA_AS_TEXT:
        return pa_mask_text(view->bytes, view->length, view->cut, ret_spans);
    case PA_AS_URL:
        return pa_mask_url(view->bytes, view->length, view->cut, ret_spans);
    case PA_AS_COMMAND:
        return pa_mask_command(view->bytes, view->length, view->cut, ret_spans);
    case PA_AS_ARGUMENT:
        return pa_mask_argument(&e->argv, view->bytes, view->length, view->cut, ret_spans);
    }
    return 0;
}

/* Returns whether it fitted. */
static int put_piece(struct pa_json *json, enum pa_form form, struct pa_base64 *base64, const uint8_t *bytes,
                     size_t length)
{
    if (form == PA_FORM_REPAIRED)
        return pa_json_repaired(json, bytes, length) == length;
    if (form == PA_FORM_STRING || form == PA_FORM_BYTES)
        return pa_json_characters(json, bytes, length) == length;
    pa_base64_add(json, base64, bytes, length);
    return !base64->cut;
}

void pa_put_view(struct pa_encoder *e, const struct pa_view *view, const struct pa_span *spans, size_t count)
{
    static const char *const before[] = {"\"", "\"", "{\"$bytes\":\"", "{\"$base64\":\"", "{\"$wtf8\":\""};
    const char *after = view->form <= PA_FORM_REPAIRED ? "\"" : "\"}";
    struct pa_json *json = &e->json;
    if ((size_t)(json->limit - json->at) < strlen(before[view->form]) + strlen(after)) {
        json->full = 1;
        return;
    }
    pa_json_put(json, before[view->form], strlen(before[view->form]));
    json->limit -= strlen(after);
    struct pa_base64 base64 = {0};
    size_t at = 0;
    int fits = 1;
    for (size_t i = 0; i < count && fits; i++) {
        fits = put_piece(json, view->form, &base64, view->bytes + at, spans[i].start - at) &&
               put_piece(json, view->form, &base64, (const uint8_t *)"***", 3);
        at = spans[i].end;
    }
    fits = fits && put_piece(json, view->form, &base64, view->bytes + at, view->length - at);
    pa_base64_end(json, &base64);
    json->limit += strlen(after);
    pa_json_put(json, after, strlen(after));
    e->notes |= (count ? PA_NOTE_MASKED : 0) | (view->cut || !fits || base64.cut ? PA_NOTE_TRUNCATED : 0);
}

void pa_put_length(struct pa_encoder *e, Py_ssize_t length)
{
    PA_JSON_LITERAL(&e->json, "{\"$length\":");
    pa_json_unsigned(&e->json, (uint64_t)length);
    PA_JSON_LITERAL(&e->json, "}");
    e->notes |= PA_NOTE_SUMMARISED;
}

void pa_put_text(struct pa_encoder *e, PyObject *object, enum pa_treatment treatment)
{
    struct pa_span spans[PA_SPANS_MAX];
    struct pa_view view;
    if (!PA_READS_BYTEARRAY && Py_TYPE(object) == &PyByteArray_Type)
        pa_put_length(e, PyByteArray_Size(object));
    else if (pa_view_text(object, e->sink->scratch, &view) < 0)
        pa_put_type(e, object);
    else
        pa_put_view(e, &view, spans, pa_find_secrets(e, &view, treatment, spans));
}

static NOINLINE int has_secret(struct pa_encoder *e, const struct pa_text *text, enum pa_treatment treatment)
{
    struct pa_span spans[PA_SPANS_MAX];
    struct pa_view view = {text->data, (size_t)text->length, 0, PA_FORM_STRING};
    return pa_find_secrets(e, &view, treatment, spans) > 0;
}

/* Most texts are short ASCII with nothing to escape or mask: they are copied, and looked at meanwhile. */
static inline void put_str(struct pa_encoder *e, PyObject *str, enum pa_treatment treatment)
{
    struct pa_text text;
    struct pa_json *json = &e->json;
    if (treatment <= PA_AS_URL && pa_str_read(str, &text) == 0 && text.ascii && text.length <= PA_TEXT_MAX &&
        json->limit - json->at >= text.length + 2) {
        size_t length = (size_t)text.length;
        unsigned found = pa_copy_classified(json->at + 1, text.data, length);
        if (!(found & PA_BYTES_ESCAPED) &&
            (!(found & PA_BYTES_SUSPECT) || treatment == PA_AS_PLAIN || !has_secret(e, &text, treatment))) {
            json->at[0] = '"';
            json->at[length + 1] = '"';
            json->at += length + 2;
            return;
        }
    }
    pa_put_text(e, str, treatment);
}

void pa_put_secret(struct pa_encoder *e)
{
    PA_JSON_LITERAL(&e->json, "\"***\"");
    e->notes |= PA_NOTE_MASKED;
}

/* A str as valid UTF-8, surrogates escaped: file and function names. */
static NOINLINE void put_name(struct pa_encoder *e, PyObject *str)
{
    uint8_t *utf8 = e->sink->scratch;
    int flags = 0;
    size_t length = str && PyUnicode_Check(str) ? pa_str_utf8(str, utf8, PA_TEXT_MAX, &flags) : 0;
    struct pa_view view = {utf8, length, (flags & PA_UTF8_CUT) != 0, PA_FORM_STRING};
    pa_put_view(e, &view, NULL, 0);
}

/* The name of an object's type, as much as TYPE_NAME_MAX bytes of it. */
static NOINLINE void put_type_name(struct pa_encoder *e, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    const char *name = pa_type_name(type);
    size_t length = strnlen(name, TYPE_NAME_MAX + 1);
    uint8_t module[TYPE_NAME_MAX];
    size_t module_length = memchr(name, '.', length) ? 0 : pa_type_module(type, module, sizeof module);
    if (module_length) {
        pa_json_characters(&e->json, module, module_length);
        PA_JSON_LITERAL(&e->json, ".");
    }
    if (length > TYPE_NAME_MAX) {
        length = pa_utf8_valid((const uint8_t *)name, TYPE_NAME_MAX);
        e->notes |= PA_NOTE_TRUNCATED;
    }
    pa_json_repaired(&e->json, (const uint8_t *)name, length);
}

void pa_put_type(struct pa_encoder *e, PyObject *object)
{
    PA_JSON_LITERAL(&e->json, "{\"$type\":\"");
    put_type_name(e, object);
    PA_JSON_LITERAL(&e->json, "\"}");
}

static void put_code(struct pa_encoder *e, PyObject *code)
{
    struct pa_code_view view;
    if (pa_code_read(code, &view) < 0) {
        pa_put_type(e, code);
        return;
    }
    PA_JSON_LITERAL(&e->json, "{\"$code\":{\"file\":");
    put_name(e, view.filename);
    PA_JSON_LITERAL(&e->json, ",\"name\":");
    put_name(e, view.qualname);
    PA_JSON_LITERAL(&e->json, ",\"line\":");
    pa_json_integer(&e->json, view.firstline < 0, (uint64_t)llabs(view.firstline));
    PA_JSON_LITERAL(&e->json, "}}");
}

/* Numbers */

static NOINLINE void put_big_int(struct pa_encoder *e, const struct pa_int *view)
{
    size_t bits = 30 * (size_t)(view->count - 1) + (32 - (size_t)__builtin_clz(view->digits[view->count - 1]));
    struct pa_json *json = &e->json;
    PA_JSON_LITERAL(json, "{\"$int\":\"");
    if (view->negative)
        PA_JSON_LITERAL(json, "-");
    if (bits > 1024) {
        PA_JSON_LITERAL(json, "~2^");
        pa_json_unsigned(json, bits - 1);
        e->notes |= PA_NOTE_TRUNCATED;
    } else {
        PA_JSON_LITERAL(json, "0x");
        for (size_t nibble = (bits + 3) / 4; nibble-- > 0;) {
            size_t digit = 4 * nibble / 30, shift = 4 * nibble % 30;
            uint64_t window = view->digits[digit];
            if (digit + 1 < (size_t)view->count)
                window |= (uint64_t)view->digits[digit + 1] << 30;
            pa_json_hex(json, window >> shift & 15, 1);
        }
    }
    PA_JSON_LITERAL(json, "\"}");
}

static inline void put_int(struct pa_encoder *e, PyObject *integer)
{
    struct pa_int view;
    if (__builtin_expect(pa_int_read(integer, &view) < 0, 0)) {
        int overflow;
        long long value = PyLong_AsLongLongAndOverflow(integer, &overflow);
        if (overflow)
            pa_put_type(e, integer);
        else
            pa_json_integer(&e->json, value < 0, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
        return;
    }
    uint64_t magnitude = view.count > 0 ? view.digits[0] : 0;
    if (view.count > 1)
        magnitude |= (uint64_t)view.digits[1] << 30;
    if (view.count > 2) {
        magnitude |= (uint64_t)view.digits[2] << 60;
        if (view.count > 3 || view.digits[2] >= 16 || magnitude > (uint64_t)INT64_MAX + (uint64_t)view.negative) {
            put_big_int(e, &view);
            return;
        }
    }
    pa_json_integer(&e->json, view.negative, magnitude);
}

static void put_float(struct pa_encoder *e, double value)
{
    if (value != value)
        PA_JSON_LITERAL(&e->json, "{\"$float\":\"nan\"}");
    else if (value - value != 0)
        pa_json_put(&e->json, value < 0 ? "{\"$float\":\"-inf\"}" : "{\"$float\":\"inf\"}", value < 0 ? 17 : 16);
    else
        pa_json_double(&e->json, value);
}

/* Containers. An item that does not fit is taken back, and with those after it told by $more. */

int pa_open(struct pa_encoder *e, char bracket)
{
    struct pa_json *json = &e->json;
    if (json->limit - json->at < PA_RESERVE + 1) {
        json->full = 1;
        return -1;
    }
    *json->at++ = (uint8_t)bracket;
    json->limit -= PA_RESERVE;
    return 0;
}

int pa_take_back(struct pa_encoder *e, struct pa_mark mark)
{
    e->json.at = mark.at;
    e->json.full = 0;
    e->json.lacked = 1;
    e->notes = mark.notes;
    return -1;
}

void pa_close(struct pa_encoder *e, char bracket, Py_ssize_t written, Py_ssize_t size)
{
    struct pa_json *json = &e->json;
    json->limit += PA_RESERVE;
    if (written < size) {
        if (written)
            PA_JSON_LITERAL(json, ",");
        if (bracket == ']')
            PA_JSON_LITERAL(json, "{");
        PA_JSON_LITERAL(json, "\"$more\":");
        pa_json_unsigned(json, (uint64_t)(size - written));
        if (bracket == ']')
            PA_JSON_LITERAL(json, "}");
        e->notes |= PA_NOTE_ITEMS;
    }
    *json->at++ = (uint8_t)bracket;
}

/* Of a sequence that has been taken. */
static void put_items(struct pa_encoder *e, PyObject *sequence, enum pa_treatment treatment, int depth,
                      pa_item_function *put)
{
    int is_list = Py_TYPE(sequence) == &PyList_Type;
    Py_ssize_t i = 0, size = Py_SIZE(sequence);
    if (pa_open(e, '[') < 0)
        return;
    for (; i < size && i < PA_ITEMS_MAX; i++) {
        struct pa_mark mark = pa_mark_item(e, i);
        put(e, is_list ? pa_list_item(sequence, i) : pa_tuple_item(sequence, i), treatment, depth);
        if (pa_settle_item(e, mark) < 0)
            break;
    }
    pa_close(e, ']', i, size);
}

void pa_put_items(struct pa_encoder *e, PyObject *sequence, enum pa_treatment treatment, int depth,
                  pa_item_function *put)
{
    if (!pa_take(sequence)) {
        pa_put_length(e, Py_SIZE(sequence));
        return;
    }
    put_items(e, sequence, treatment, depth, put);
    pa_release(sequence);
}

/* Part of a key: \xNN, as these four characters, for what is not UTF-8. */
static void put_key_piece(struct pa_json *json, const uint8_t *bytes, size_t length)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t at = 0; at < length; at++) {
        size_t valid = pa_utf8_valid(bytes + at, length - at);
        if (pa_json_characters(json, bytes + at, valid) < valid)
            json->full = 1;
        at += valid;
        if (at < length) {
            char escaped[5] = {'\\', '\\', 'x', hex[bytes[at] >> 4], hex[bytes[at] & 15]};
            pa_json_put(json, escaped, sizeof escaped);
        }
    }
}

/* A text as a key; returns whether it is a secret name. */
static NOINLINE enum pa_secrecy put_key_text(struct pa_encoder *e, PyObject *key, enum pa_treatment treatment)
{
    uint8_t *utf8 = e->sink->scratch;
    struct pa_span spans[PA_SPANS_MAX];
    int flags = 0;
    struct pa_view view;
    struct pa_json *json = &e->json;
    if (Py_TYPE(key) == &PyUnicode_Type) {
        size_t length = pa_str_utf8(key, utf8, PA_TEXT_MAX, &flags);
        view = (struct pa_view){utf8, length, (flags & PA_UTF8_CUT) != 0, PA_FORM_STRING};
    } else {
        pa_view_text(key, utf8, &view);
    }
    size_t count = pa_find_secrets(e, &view, treatment, spans), at = 0;
    if (view.length && view.bytes[0] == '$')
        PA_JSON_LITERAL(json, "$");
    for (size_t i = 0; i < count; i++) {
        put_key_piece(json, view.bytes + at, spans[i].start - at);
        PA_JSON_LITERAL(json, "***");
        at = spans[i].end;
    }
    put_key_piece(json, view.bytes + at, view.length - at);
    e->notes |= (view.cut ? PA_NOTE_TRUNCATED : 0) | (count ? PA_NOTE_MASKED : 0);
    return pa_mask_is_secret(view.bytes, view.length);
}

/* "key": ; returns whether it is a secret name. */
static enum pa_secrecy put_key(struct pa_encoder *e, PyObject *key, enum pa_treatment treatment)
{
    PyTypeObject *type = Py_TYPE(key);
    struct pa_json *json = &e->json;
    struct pa_text text;
    enum pa_secrecy secret = PA_NOT_SECRET;
    PA_JSON_LITERAL(json, "\"");
    if (type == &PyUnicode_Type && pa_str_read(key, &text) == 0 && text.ascii && text.length &&
        text.length <= 64 && json->limit - json->at >= text.length && *(const uint8_t *)text.data != '$' &&
        !(pa_copy_classified(json->at, text.data, (size_t)text.length) & (PA_BYTES_ESCAPED | PA_BYTES_SUSPECT))) {
        json->at += text.length;
        secret = pa_mask_is_secret(text.data, (size_t)text.length);
    } else if (pa_is_text(type) && (type != &PyUnicode_Type || (pa_readable & PA_READ_STR))) {
        secret = put_key_text(e, key, treatment > PA_AS_TEXT ? PA_AS_TEXT : treatment);
    } else if (key == Py_None) {
        PA_JSON_LITERAL(json, "null");
    } else if (type == &PyBool_Type) {
        pa_json_put(json, key == Py_True ? "true" : "false", key == Py_True ? 4 : 5);
    } else if (type == &PyLong_Type || type == &PyFloat_Type) {
        /* as the value would be, but without the form around it */
        uint8_t text_of_number[400];
        struct pa_encoder number = {.json = {text_of_number, text_of_number + sizeof text_of_number, 0, 0}};
        pa_put_value(&number, key, PA_AS_PLAIN, 0);
        const uint8_t *begin = text_of_number, *end = number.json.at;
        if (*begin == '{') {
            begin = (const uint8_t *)memchr(begin, ':', (size_t)(end - begin)) + 2;
            end -= 2;
        }
        pa_json_put(json, begin, (size_t)(end - begin));
        e->notes |= number.notes;
    } else {
        PA_JSON_LITERAL(json, "<");
        put_type_name(e, key);
        PA_JSON_LITERAL(json, ">");
    }
    PA_JSON_LITERAL(json, "\":");
    return secret;
}

/* The characters of an exact str that is ASCII, or of exact bytes. Returns 0, or -1: something else. */
static int read_word(PyObject *object, const uint8_t **ret_word, size_t *ret_length)
{
    struct pa_text text;
    if (Py_TYPE(object) == &PyUnicode_Type && pa_str_read(object, &text) == 0 && text.ascii) {
        *ret_word = text.data;
        *ret_length = (size_t)text.length;
        return 0;
    }
    if (Py_TYPE(object) != &PyBytes_Type)
        return -1;
    *ret_word = (const uint8_t *)pa_bytes_data(object);
    *ret_length = (size_t)Py_SIZE(object);
    return 0;
}

int pa_is_harmless(enum pa_secrecy secrecy, PyObject *value)
{
    const uint8_t *word;
    size_t length;
    struct pa_int view;
    if (!value || value == Py_None || Py_TYPE(value) == &PyBool_Type)
        return 1;
    if (Py_TYPE(value) == &PyLong_Type && secrecy == PA_SECRET_UNLESS_COUNT && pa_int_read(value, &view) == 0)
        return !view.negative && (view.count == 0 || (view.count == 1 && view.digits[0] <= 999999));
    return read_word(value, &word, &length) == 0 && pa_mask_is_harmless(secrecy, word, length);
}

static int is_option(PyObject *item)
{
    const uint8_t *word;
    size_t length;
    return item && read_word(item, &word, &length) == 0 && length > 2 && word[0] == '-' && word[1] == '-';
}

/* What an item says about the next one. */
static enum pa_secrecy name_of(PyObject *item, int pair)
{
    const uint8_t *word;
    size_t length;
    if (!item || read_word(item, &word, &length) < 0 || !length || !(pair || word[0] == '-'))
        return PA_NOT_SECRET;
    return word[0] == '-' ? pa_mask_is_option(word, length) : pa_mask_is_secret(word, length);
}

void pa_put_item(struct pa_encoder *e, PyObject *item, enum pa_treatment treatment, int depth)
{
    enum pa_secrecy secrecy = e->following;
    e->following = PA_NOT_SECRET;
    if (secrecy && !pa_is_harmless(secrecy, item) && !is_option(item)) {
        pa_put_secret(e);
        return;
    }
    if (treatment >= PA_AS_TEXT)
        e->following = name_of(item, e->pair);
    pa_put_value(e, item, treatment, depth);
}

/* A container between others: what follows what is told anew inside it. */
static void put_sequence(struct pa_encoder *e, PyObject *sequence, enum pa_treatment treatment, int depth)
{
    enum pa_secrecy following = e->following;
    int pair = e->pair, is_list = Py_TYPE(sequence) == &PyList_Type;
    if (!pa_take(sequence)) {
        pa_put_length(e, Py_SIZE(sequence));
        return;
    }
    PyObject *second = Py_SIZE(sequence) != 2 ? NULL : is_list ? pa_list_item(sequence, 1) : pa_tuple_item(sequence, 1);
    e->following = PA_NOT_SECRET;
    e->pair = second && pa_is_text(Py_TYPE(second));
    put_items(e, sequence, treatment, depth, pa_put_item); /* taken all along: what is masked is the pair that was seen */
    pa_release(sequence);
    e->following = following;
    e->pair = pair;
}

void pa_put_dict(struct pa_encoder *e, PyObject *dict, enum pa_treatment treatment, int depth, int names_only)
{
    if (!pa_take(dict)) {
        pa_put_length(e, PyDict_Size(dict));
        return;
    }
    Py_ssize_t i = 0, position = 0, size = PyDict_Size(dict);
    PyObject *key, *value;
    struct pa_mark whole = pa_mark_item(e, 0);
    if (pa_open(e, '{') < 0) {
        pa_release(dict);
        return;
    }
    for (; i < PA_ITEMS_MAX && PyDict_Next(dict, &position, &key, &value); i++) {
        struct pa_mark mark = pa_mark_item(e, i);
        enum pa_secrecy secrecy = put_key(e, key, treatment);
        if (names_only || (secrecy && treatment != PA_AS_PLAIN && !pa_is_harmless(secrecy, value)))
            pa_put_secret(e);
        else
            pa_put_value(e, value, treatment, depth);
        if (pa_settle_item(e, mark) < 0)
            break;
    }
    pa_release(dict);
    pa_close(e, '}', i, size);
    if (!i && size) {       /* {"$more":N} alone would be another form: leave it to the container around */
        pa_take_back(e, whole);
        e->json.full = 1;
    }
}

Py_ssize_t pa_container_size(PyObject *container)
{
    return Py_TYPE(container) == &PyDict_Type ? PyDict_Size(container) : Py_SIZE(container);
}

static void encode_container(struct pa_encoder *e, PyObject *container, enum pa_treatment treatment, int depth)
{
    if (depth == PA_DEPTH_MAX) {
        PA_JSON_LITERAL(&e->json, "{\"$depth\":");
        pa_json_unsigned(&e->json, (uint64_t)pa_container_size(container));
        PA_JSON_LITERAL(&e->json, "}");
        e->notes |= PA_NOTE_DEPTH;
    } else if (Py_TYPE(container) == &PyDict_Type) {
        pa_put_dict(e, container, treatment, depth + 1, 0);
    } else {
        put_sequence(e, container, treatment, depth + 1);
    }
}

void pa_put_value(struct pa_encoder *e, PyObject *object, enum pa_treatment treatment, int depth)
{
    PyTypeObject *type = object ? Py_TYPE(object) : NULL;
    if (type == &PyUnicode_Type)
        put_str(e, object, treatment);
    else if (type == &PyLong_Type)
        put_int(e, object);
    else if (!object || object == Py_None)      /* NULL: a tuple that is still being filled */
        PA_JSON_LITERAL(&e->json, "null");
    else if (pa_is_text(type))
        pa_put_text(e, object, treatment);
    else if (type == &PyBool_Type)
        pa_json_put(&e->json, object == Py_True ? "true" : "false", object == Py_True ? 4 : 5);
    else if (pa_is_container(type))
        encode_container(e, object, treatment, depth);
    else if (type == &PyFloat_Type)
        put_float(e, PyFloat_AsDouble(object));
    else if (type == &PyCode_Type)
        put_code(e, object);
    else
        pa_put_type(e, object);
}
