/* Where the interpreter finds modules: `sys.prefix` and `sys.path`, as attributes of the process.
 *
 * Asked once, when the main program is about to run: by then `site` is done. Nothing is looked up
 * by name, as that could make a str: dictionaries are walked, and only exact built-in objects read. */
#include "recorder.h"
#include "value.h"

#include <errno.h>
#include <stdlib.h>

#define PATHS_MAX 16384u

/* {"prefix":"/venv","path":["/srv","/venv/lib/python3.12/site-packages"]}. Its length; 0: not to be had. */
static uint32_t write_paths(uint8_t *out, uint8_t *scratch)
{
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *prefix = pa_module_item(modules, "sys", "prefix"), *path = pa_module_item(modules, "sys", "path");
    struct pa_text_sink sink = {NULL, NULL, scratch};
    struct pa_encoder e = {.json = {out, out + PATHS_MAX - PA_RESERVE, 0, 0}, .sink = &sink};
    int known = prefix && Py_TYPE(prefix) == &PyUnicode_Type && path && Py_TYPE(path) == &PyList_Type;
    if (known) {
        PA_JSON_LITERAL(&e.json, "{\"prefix\":");
        pa_put_value(&e, prefix, PA_AS_PATH, 0);
        PA_JSON_LITERAL(&e.json, ",\"path\":");
        pa_put_value(&e, path, PA_AS_PATH, 0);
        e.json.limit += PA_RESERVE;
        PA_JSON_LITERAL(&e.json, "}");
    }
    Py_DecRef(prefix);
    Py_DecRef(path);
    return known && !e.json.full ? (uint32_t)(e.json.at - out) : 0;
}

void pa_paths_note(uint8_t *scratch)
{
    int saved = errno;
    uint8_t *json = pa_recorder.kept[PA_KEPT_PATHS].json ? NULL : malloc(PATHS_MAX);
    uint32_t length = json ? write_paths(json, scratch) : 0;
    if (length)
        pa_recorder_keep(PA_KEPT_PATHS, json, length);
    free(json);
    errno = saved;
}
