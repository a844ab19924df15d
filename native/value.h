/* One Python object as JSON text: the forms of encode.h, without the rules of events.
 *
 * A pa_encoder writes into a buffer that cannot grow. Each function appends one
 * JSON value; when it does not fit, json.full is set and the caller takes back
 * what was written of it. */
#ifndef PA_VALUE_H
#define PA_VALUE_H

#include "encode.h"
#include "json.h"
#include "mask.h"

/* Room that each open container keeps for {"$more":N} and its own end. */
#define PA_RESERVE 32

/* What may be secret in a text. */
enum pa_treatment {
    PA_AS_PLAIN,            /* nothing */
    PA_AS_PATH,             /* hardly anything */
    PA_AS_TEXT,
    PA_AS_URL,              /* it is a URL, a host or an address */
    PA_AS_COMMAND,          /* it is a command line */
    PA_AS_ARGUMENT          /* it is the next argument of a command: encoder.argv */
};

struct pa_encoder {
    struct pa_json json;
    const struct pa_text_sink *sink;
    uint32_t reveal;
    uint16_t notes;
    struct pa_argv argv;
    enum pa_secrecy following;      /* what the item before says about the next one */
    int pair;                       /* the container being written could be (name, value) */
};

/* The beginning of a text (str, bytes, bytearray): at most PA_TEXT_MAX bytes, cut at a character. */
enum pa_form {
    PA_FORM_STRING,         /* valid UTF-8, as a string */
    PA_FORM_REPAIRED,       /* bytes, as a string with U+FFFD for what is not UTF-8 */
    PA_FORM_BYTES, PA_FORM_BASE64, PA_FORM_WTF8
};

struct pa_view {
    const uint8_t *bytes;
    size_t length;
    int cut;
    enum pa_form form;
};

static inline int pa_is_text(PyTypeObject *type)
{
    return type == &PyUnicode_Type || type == &PyBytes_Type || type == &PyByteArray_Type;
}

static inline int pa_is_container(PyTypeObject *type)
{
    return type == &PyTuple_Type || type == &PyList_Type || type == &PyDict_Type;
}

Py_ssize_t pa_container_size(PyObject *container);

/* `scratch` takes what has to be converted. Returns 0, or -1: no text, or not readable. */
int pa_view_text(PyObject *object, uint8_t scratch[PA_TEXT_MAX], struct pa_view *ret);
void pa_view_bytes(const uint8_t *bytes, size_t total, struct pa_view *ret);

/* The secret parts of a text: their number, at most PA_SPANS_MAX. */
size_t pa_find_secrets(struct pa_encoder *e, const struct pa_view *view, enum pa_treatment treatment,
                       struct pa_span *ret_spans);

/* A text with *** for its secret parts. */
void pa_put_view(struct pa_encoder *e, const struct pa_view *view, const struct pa_span *spans, size_t count);

/* {"$length":N}, for what is not read. */
void pa_put_length(struct pa_encoder *e, Py_ssize_t length);

/* A text, or the type of an object that is none. */
void pa_put_text(struct pa_encoder *e, PyObject *object, enum pa_treatment treatment);

void pa_put_secret(struct pa_encoder *e);
void pa_put_type(struct pa_encoder *e, PyObject *object);

/* Any object. `depth`: the containers around it, the array of arguments not counted. NULL is null. */
void pa_put_value(struct pa_encoder *e, PyObject *object, enum pa_treatment treatment, int depth);

/* The same for an item of a container or of the arguments: a secret where the item before is an option that has one. */
void pa_put_item(struct pa_encoder *e, PyObject *item, enum pa_treatment treatment, int depth);

/* May this value of a secret name be written? */
int pa_is_harmless(enum pa_secrecy secrecy, PyObject *value);

/* A tuple or list with a function for its items; an exact dict. `depth` counts the container itself. */
typedef void pa_item_function(struct pa_encoder *e, PyObject *item, enum pa_treatment treatment, int depth);
void pa_put_items(struct pa_encoder *e, PyObject *sequence, enum pa_treatment treatment, int depth,
                  pa_item_function *put);
void pa_put_dict(struct pa_encoder *e, PyObject *dict, enum pa_treatment treatment, int depth, int names_only);

/* The parts of an array or object: open; then for each item mark, write, settle (-1: the item did
 * not fit and was taken back, end here); close. */
struct pa_mark {
    uint8_t *at;
    uint16_t notes;
};

int pa_open(struct pa_encoder *e, char bracket);

static inline struct pa_mark pa_mark_item(struct pa_encoder *e, Py_ssize_t index)
{
    struct pa_mark mark = {e->json.at, e->notes};
    if (index)
        PA_JSON_LITERAL(&e->json, ",");
    return mark;
}

int pa_take_back(struct pa_encoder *e, struct pa_mark mark);

static inline int pa_settle_item(struct pa_encoder *e, struct pa_mark mark)
{
    return __builtin_expect(e->json.full, 0) ? pa_take_back(e, mark) : 0;
}

void pa_close(struct pa_encoder *e, char bracket, Py_ssize_t written, Py_ssize_t size);

#endif
