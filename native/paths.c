/* Where the interpreter finds modules: `sys.prefix` and `sys.path`, as attributes of the process.
 *
 * Asked once, when the main program is about to run: by then `site` is done. Nothing is looked up
 * by name, as that could make a str: dictionaries are walked, and only exact built-in objects read. */
#include "recorder.h"
#include "value.h"

#include <errno.h>
#include <stdlib.h>

#define PATHS_MAX 16384u

static PyObject *find(PyObject *dict, const char *name)
{
    Py_ssize_t at = 0, length = (Py_ssize_t)strlen(name);
    PyObject *key, *value;
    struct pa_text text;
    while (PyDict_Next(dict, &at, &key, &value)) {
        if (Py_TYPE(key) != &PyUnicode_Type || pa_str_read(key, &text) < 0 || text.length != length)
            continue;
        Py_ssize_t i = 0;
        while (i < length && pa_text_character(&text, i) == (uint32_t)(unsigned char)name[i])
            i++;
        if (i == length)
            return value;
    }
    return NULL;
}

/* The dictionary of the module `sys`; NULL: somebody has put another thing in its place. */
static PyObject *sys_dict(void)
{
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *sys = modules && Py_TYPE(modules) == &PyDict_Type ? find(modules, "sys") : NULL;
    PyObject *dict = sys && Py_TYPE(sys) == &PyModule_Type ? PyModule_GetDict(sys) : NULL;
    return dict && Py_TYPE(dict) == &PyDict_Type ? dict : NULL;
}

/* {"prefix":"/venv","path":["/srv","/venv/lib/python3.12/site-packages"]}. Its length; 0: not to be had. */
static uint32_t write_paths(uint8_t *out, uint8_t *scratch)
{
    PyObject *dict = sys_dict();
    if (!dict)
        return 0;
    PyObject *prefix = find(dict, "prefix"), *path = find(dict, "path");
    struct pa_text_sink sink = {NULL, NULL, scratch};
    struct pa_encoder e = {.json = {out, out + PATHS_MAX - PA_RESERVE, 0, 0}, .sink = &sink};
    if (!prefix || Py_TYPE(prefix) != &PyUnicode_Type || !path || Py_TYPE(path) != &PyList_Type)
        return 0;
    PA_JSON_LITERAL(&e.json, "{\"prefix\":");
    pa_put_value(&e, prefix, PA_AS_PATH, 0);
    PA_JSON_LITERAL(&e.json, ",\"path\":");
    pa_put_value(&e, path, PA_AS_PATH, 0);
    e.json.limit += PA_RESERVE;
    PA_JSON_LITERAL(&e.json, "}");
    return e.json.full ? 0 : (uint32_t)(e.json.at - out);
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
