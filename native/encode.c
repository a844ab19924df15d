#include "encode.h"

#include <stdlib.h>

#include "event_table.h"
#include "format.h"
#include "settings.h"
#include "value.h"
#include "xxh64.h"

#define NOINLINE __attribute__((noinline))

/* What the rules of events ask for */

static uint64_t hash_str(const struct pa_text *text)
{
    struct pa_xxh64 hash;
    uint8_t piece[256];
    if (text->ascii)
        return pa_xxh64(text->data, (size_t)text->length);
    pa_xxh64_begin(&hash);
    for (Py_ssize_t at = 0; at < text->length;) {
        int surrogates = 0;
        pa_xxh64_add(&hash, piece, pa_text_utf8(text, &at, piece, sizeof piece, &surrogates));
    }
    return pa_xxh64_end(&hash);
}

/* Hands a text of dynamic code to the sink: its string id, or 0. Bytes that are not UTF-8 have none. */
static uint32_t intern_code(struct pa_encoder *e, PyObject *object, const uint8_t *bytes, size_t total)
{
    size_t length = total < PA_REVEALED_MAX ? total : PA_REVEALED_MAX;
    uint8_t *converted = NULL;
    int flags = 0;
    if (!(e->reveal & PA_REVEAL_CODE))
        return 0;
    if (bytes) {
        size_t valid = pa_utf8_valid(bytes, length);
        if (valid < length && !(length < total && pa_utf8_unfinished(bytes + valid, length - valid)))
            return 0;
        flags = length < total ? PA_UTF8_CUT : 0;
        length = valid;
    } else {
        converted = malloc(PA_REVEALED_MAX);
        if (!converted)
            return 0;
        length = pa_str_utf8(object, converted, PA_REVEALED_MAX, &flags);
    }
    uint32_t id = e->sink->intern(e->sink->context, converted ? converted : bytes, (uint32_t)length);
    if (id && (flags & PA_UTF8_CUT))
        e->notes |= PA_NOTE_TRUNCATED;
    free(converted);
    return id;
}

enum { LENGTH = 0, HASHED = 1, REVEALED = 2 };

/* {"$length":N...} of a text or container. Returns 0 when it is neither. */
static NOINLINE int summarise(struct pa_encoder *e, PyObject *object, int how)
{
    PyTypeObject *type = Py_TYPE(object);
    const uint8_t *bytes = NULL;
    struct pa_text text = {0};
    Py_ssize_t size;
    if (type == &PyUnicode_Type) {
        if (pa_str_read(object, &text) < 0)
            return 0;
        size = text.length;
        bytes = text.ascii ? text.data : NULL;
    } else if (type == &PyBytes_Type) {
        size = Py_SIZE(object);
        bytes = (const uint8_t *)pa_bytes_data(object);
    } else if (type == &PyByteArray_Type) {
        size = PyByteArray_Size(object);
        bytes = PA_READS_BYTEARRAY ? (const uint8_t *)PyByteArray_AsString(object) : NULL;
        how = PA_READS_BYTEARRAY ? how : LENGTH;
    } else if (pa_is_container(type)) {
        size = pa_container_size(object);
        how = LENGTH;
    } else {
        return 0;
    }
    struct pa_json *json = &e->json;
    uint32_t id = 0;
    PA_JSON_LITERAL(json, "{\"$length\":");
    pa_json_unsigned(json, (uint64_t)size);
    if (how) {
        PA_JSON_LITERAL(json, ",\"$hash\":\"");
        pa_json_hex(json, bytes ? pa_xxh64(bytes, (size_t)size) : hash_str(&text), 16);
        PA_JSON_LITERAL(json, "\"");
    }
    if (how & REVEALED)
        id = intern_code(e, object, bytes, (size_t)size);
    if (id) {
        PA_JSON_LITERAL(json, ",\"$text\":");
        pa_json_unsigned(json, id);
    }
    PA_JSON_LITERAL(json, "}");
    if (!id)
        e->notes |= PA_NOTE_SUMMARISED;
    return 1;
}

static void encode_command_item(struct pa_encoder *e, PyObject *item, enum pa_treatment treatment, int depth)
{
    enum pa_secrecy pending = e->argv.pending;
    if (item && pa_is_text(Py_TYPE(item))) {
        pa_put_text(e, item, PA_AS_ARGUMENT);
        return;
    }
    e->argv.pending = PA_NOT_SECRET;
    if (pending && !pa_is_harmless(pending, item))
        pa_put_secret(e);
    else
        pa_put_value(e, item, treatment, depth);
}

static void encode_command(struct pa_encoder *e, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyTuple_Type || type == &PyList_Type) {
        e->argv = (struct pa_argv){0};
        pa_put_items(e, object, PA_AS_TEXT, 1, encode_command_item);
    } else {
        pa_put_value(e, object, PA_AS_COMMAND, 0);
    }
}

/* b'NAME=value': the name, and *** for the value */
static void encode_setting(struct pa_encoder *e, PyObject *item, enum pa_treatment treatment, int depth)
{
    struct pa_view view;
    if (!item || pa_view_text(item, e->sink->scratch, &view) < 0) {
        pa_put_value(e, item, treatment, depth);
        return;
    }
    const uint8_t *equals = view.length ? memchr(view.bytes, '=', view.length) : NULL;
    struct pa_span value = {equals ? (size_t)(equals - view.bytes) + 1 : 0, view.length};
    pa_put_view(e, &view, &value, 1);
}

static void encode_environment(struct pa_encoder *e, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyDict_Type)
        pa_put_dict(e, object, PA_AS_TEXT, 1, 1);
    else if (type == &PyTuple_Type || type == &PyList_Type)
        pa_put_items(e, object, PA_AS_TEXT, 1, encode_setting);
    else if (pa_is_text(type))
        pa_put_secret(e);
    else
        pa_put_value(e, object, PA_AS_TEXT, 0);
}

static NOINLINE void encode_line(struct pa_encoder *e, PyObject *object)
{
    struct pa_span spans[PA_SPANS_MAX];
    struct pa_view view;
    size_t count;
    if (pa_view_text(object, e->sink->scratch, &view) < 0)
        pa_put_value(e, object, PA_AS_TEXT, 0);
    else if (!view.cut && pa_mask_line(view.bytes, view.length, spans, &count))
        pa_put_view(e, &view, spans, count);
    else
        summarise(e, object, LENGTH);
}

static void encode_summary(struct pa_encoder *e, PyObject *object, int how)
{
    if (!summarise(e, object, how))
        pa_put_value(e, object, PA_AS_TEXT, 0);
}

static NOINLINE void encode_by_rule(struct pa_encoder *e, PyObject *object, enum pa_arg_rule rule)
{
    static const uint32_t reveals[PA_ARG_SECRET + 1] = {
        [PA_ARG_ENV_VALUE] = PA_REVEAL_ENV, [PA_ARG_ENV] = PA_REVEAL_ENV, [PA_ARG_HTTP] = PA_REVEAL_HTTP,
        [PA_ARG_HEADERS] = PA_REVEAL_HTTP, [PA_ARG_SQL] = PA_REVEAL_SQL, [PA_ARG_INPUT] = PA_REVEAL_INPUT,
        [PA_ARG_LINE] = PA_REVEAL_MAIL,
    };
    if (!object || object == Py_None || (e->reveal & reveals[rule])) {
        pa_put_value(e, object, PA_AS_PLAIN, 0);
        return;
    }
    switch (rule) {
    case PA_ARG_VALUE:
        pa_put_value(e, object, PA_AS_TEXT, 0);
        break;
    case PA_ARG_URL:
        pa_put_value(e, object, PA_AS_URL, 0);
        break;
    case PA_ARG_PATH:
        pa_put_value(e, object, PA_AS_PATH, 0);
        break;
    case PA_ARG_COMMAND:
        encode_command(e, object);
        break;
    case PA_ARG_CODE:
        encode_summary(e, object, HASHED | REVEALED);
        break;
    case PA_ARG_BULK:
        encode_summary(e, object, HASHED);
        break;
    case PA_ARG_ENV_KEY:
        pa_put_value(e, object, PA_AS_PLAIN, 0);
        break;
    case PA_ARG_ENV_VALUE:
    case PA_ARG_SECRET:
        pa_put_secret(e);
        break;
    case PA_ARG_ENV:
        encode_environment(e, object);
        break;
    case PA_ARG_HEADERS:
        if (Py_TYPE(object) == &PyDict_Type)
            pa_put_dict(e, object, PA_AS_TEXT, 1, 1);
        else
            encode_summary(e, object, LENGTH);
        break;
    case PA_ARG_HTTP:
    case PA_ARG_SQL:
    case PA_ARG_INPUT:
    case PA_ARG_LENGTH:
        encode_summary(e, object, LENGTH);
        break;
    case PA_ARG_LINE:
        encode_line(e, object);
        break;
    case PA_ARG_OBJECT:
        pa_put_type(e, object);
        break;
    }
}

/* Most arguments are short texts with nothing to escape or mask, small numbers and None. */
static inline uint8_t *put_usual(uint8_t *at, const uint8_t *limit, PyObject *object, const struct pa_event_rule *rule)
{
    PyTypeObject *type = object ? Py_TYPE(object) : NULL;
    if (type == &PyUnicode_Type) {
        struct pa_text text;
        if (pa_str_read(object, &text) < 0 || !text.ascii || text.length > limit - at - 2 || text.length > PA_TEXT_MAX ||
            (!rule && *(const uint8_t *)text.data == '-') || /* an option: it tells of the next argument */
            pa_copy_special(at + 1, text.data, (size_t)text.length))
            return NULL;
        at[0] = '"';
        at[text.length + 1] = '"';
        return at + text.length + 2;
    }
    if (type == &PyLong_Type) {
        struct pa_int view;
        if (pa_int_read(object, &view) < 0 || view.count > 1 || limit - at < 11)
            return NULL;
        uint32_t value = view.count ? view.digits[0] : 0;
        if (view.negative)
            *at++ = '-';
        if (value < 10) {
            *at++ = (uint8_t)('0' + value);
            return at;
        }
        uint8_t digits[10], *from = digits + sizeof digits;
        for (; value; value /= 10)
            *--from = (uint8_t)('0' + value % 10);
        while (from < digits + sizeof digits)
            *at++ = *from++;
        return at;
    }
    if (object == Py_None && limit - at >= 4)
        return (uint8_t *)memcpy(at, "null", 4) + 4;
    return NULL;
}

int pa_encode_args(uint8_t *out, uint32_t room, PyObject *args, const struct pa_event_rule *rule,
                   uint32_t reveal, const struct pa_text_sink *sink, uint16_t *ret_notes)
{
    uint32_t usable = room < PA_ARGS_MAX ? room : PA_ARGS_MAX;
    Py_ssize_t i = 0, size = args ? Py_SIZE(args) : 0;
    if (usable < PA_RESERVE + 1)
        return -1;
    uint8_t *at = out, *limit = out + usable - PA_RESERVE;
    *at++ = '[';
    for (; i < size && i < PA_ITEMS_MAX && at < limit; i++) {
        enum pa_arg_rule how = rule && i < rule->nargs ? (enum pa_arg_rule)rule->args[i] : PA_ARG_VALUE;
        if (how != PA_ARG_VALUE && how != PA_ARG_PATH)
            break;
        uint8_t *next = put_usual(at + (i > 0), limit, pa_tuple_item(args, i), rule);
        if (!next)
            break;
        if (i)
            *at = ',';
        at = next;
    }
    if (i == size) {
        *at++ = ']';
        return (int)(at - out);
    }
    struct pa_encoder e = {.json = {at, limit, 0, 0}, .sink = sink, .reveal = reveal};
    for (; i < size && i < PA_ITEMS_MAX; i++) {
        struct pa_mark mark = pa_mark_item(&e, i);
        PyObject *object = pa_tuple_item(args, i);
        enum pa_arg_rule how = rule && i < rule->nargs ? (enum pa_arg_rule)rule->args[i] : PA_ARG_VALUE;
        if (!rule)
            pa_put_item(&e, object, PA_AS_TEXT, 0);
        else if (how == PA_ARG_VALUE)
            pa_put_value(&e, object, PA_AS_TEXT, 0);
        else if (how == PA_ARG_PATH)
            pa_put_value(&e, object, PA_AS_PATH, 0);
        else
            encode_by_rule(&e, object, how);
        if (pa_settle_item(&e, mark) < 0)
            break;
    }
    pa_close(&e, ']', i, size);
    if (e.json.lacked && room < PA_ARGS_MAX)
        return -1;
    *ret_notes |= e.notes;
    return (int)(e.json.at - out);
}

/* Appends text, U+FFFD for what is not UTF-8. Returns 1 when something had to be repaired; what does not fit sets
 * `lacked`. */
static int put_repaired(struct pa_json *json, const uint8_t *text, size_t length)
{
    int repaired = 0;
    for (size_t at = 0; at < length && !json->lacked;) {
        size_t valid = pa_utf8_valid(text + at, length - at), room = (size_t)(json->limit - json->at);
        size_t taken = valid <= room ? valid : pa_utf8_valid(text + at, room);
        pa_json_put(json, text + at, taken);
        json->lacked |= taken < valid;
        at += taken;
        if (at < length && !json->lacked) {
            pa_json_put(json, "\xEF\xBF\xBD", 3);
            json->lacked |= json->full;
            repaired = 1;
            at++;
        }
    }
    return repaired;
}

static NOINLINE int encode_long_name(uint8_t *out, uint32_t room, const uint8_t *name, size_t length,
                                     uint16_t *ret_notes)
{
    struct pa_span spans[PA_SPANS_MAX];
    uint32_t usable = room < PA_TEXT_MAX ? room : PA_TEXT_MAX;
    struct pa_json json = {out, out + usable, 0, 0};
    size_t taken = length < PA_TEXT_MAX ? length : PA_TEXT_MAX, at = 0;
    if (taken < length) {       /* not in the middle of a character */
        size_t valid = pa_utf8_valid(name, taken);
        if (pa_utf8_unfinished(name + valid, taken - valid))
            taken = valid;
    }
    size_t count = pa_mask_text(name, taken, taken < length, spans);
    int repaired = 0;
    for (size_t i = 0; i < count; i++) {
        repaired |= put_repaired(&json, name + at, spans[i].start - at);
        put_repaired(&json, (const uint8_t *)"***", 3);
        at = spans[i].end;
    }
    repaired |= put_repaired(&json, name + at, taken - at);
    if (json.lacked && room < PA_TEXT_MAX)
        return -1;
    *ret_notes |= (count ? PA_NOTE_MASKED : 0) | (repaired || json.lacked || taken < length ? PA_NOTE_NAME : 0);
    return (int)(json.at - out);
}

int pa_encode_name(uint8_t *out, uint32_t room, const char *name, size_t length, uint16_t *ret_notes)
{
    if (length <= room && length <= PA_TEXT_MAX &&
        !(pa_copy_classified(out, (const uint8_t *)name, length) & (PA_BYTES_SUSPECT | PA_BYTES_HIGH)))
        return (int)length;
    return encode_long_name(out, room, (const uint8_t *)name, length, ret_notes);
}

int pa_json_string(uint8_t *out, uint32_t room, const char *text, size_t length)
{
    struct pa_json json = {out, out + room, 0, 0};
    PA_JSON_LITERAL(&json, "\"");
    pa_json_repaired(&json, (const uint8_t *)text, length);
    PA_JSON_LITERAL(&json, "\"");
    return json.full || json.lacked ? -1 : (int)(json.at - out);
}

int pa_json_argv(uint8_t *out, uint32_t room, const char *cmdline, size_t length, uint16_t *ret_notes)
{
    uint32_t usable = room < PA_ARGS_MAX ? room : PA_ARGS_MAX;
    struct pa_encoder e = {.json = {out, out + usable, 0, 0}};
    Py_ssize_t i = 0, size = 0;
    for (size_t at = 0; at < length; at++)
        size += cmdline[at] == '\0' || at == length - 1;
    if (pa_open(&e, '[') < 0)
        return -1;
    for (size_t at = 0; i < size && i < PA_ITEMS_MAX; i++) {
        struct pa_span spans[PA_SPANS_MAX];
        struct pa_mark mark = pa_mark_item(&e, i);
        size_t total = strnlen(cmdline + at, length - at);
        struct pa_view view;
        pa_view_bytes((const uint8_t *)cmdline + at, total, &view);
        view.form = PA_FORM_REPAIRED;
        pa_put_view(&e, &view, spans, pa_find_secrets(&e, &view, PA_AS_ARGUMENT, spans));
        at += total + 1;
        if (pa_settle_item(&e, mark) < 0)
            break;
    }
    pa_close(&e, ']', i, size);
    *ret_notes |= e.notes;
    return (int)(e.json.at - out);
}
