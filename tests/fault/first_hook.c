/* An audit hook of somebody else's that is in before ours: its constructor goes before all others (-z initfirst),
 * before main() and so before Py_Initialize. What it does, HOOK says: see test_earlier_hooks.py. */
#include <stddef.h>
#include <string.h>

#define WEAK __attribute__((weak)) /* the shell that starts a Python has none of these */

extern WEAK void *PyExc_RuntimeError, *PyExc_ValueError, *PyExc_SystemExit;
extern WEAK void PyErr_SetString(void *type, const char *message);
extern WEAK int PySys_AddAuditHook(int (*hook)(const char *event, void *args, void *data), void *data);
extern WEAK int PySys_Audit(const char *event, const char *format, ...);

static const char *what;

static int refuse(void *type)
{
    PyErr_SetString(type, "refused");
    return -1;
}

static int hook(const char *event, void *args, void *data)
{
    static _Thread_local int inside;
    (void)args, (void)data;
    int addition = !strcmp(event, "sys.addaudithook");
    if (!strcmp(what, "vetoes"))
        return addition ? refuse(PyExc_RuntimeError) : 0;
    if (!strcmp(what, "vetoes with an error"))
        return addition ? refuse(PyExc_ValueError) : 0;
    if (!strcmp(what, "vetoes with an end"))
        return addition ? refuse(PyExc_SystemExit) : 0;
    if (!strcmp(what, "refuses some"))
        return !strcmp(event, "app.refused") ? refuse(PyExc_RuntimeError) : 0;
    if (!strcmp(what, "refuses what it does not know"))
        return !strncmp(event, "pythonaudit.", 12) ? refuse(PyExc_RuntimeError) : 0;
    if (!strcmp(what, "recurses") && !inside && !strncmp(event, "app.", 4)) {
        inside = 1;
        int result = PySys_Audit("app.inner", "s", event);
        inside = 0;
        return result;
    }
    return 0;
}

__attribute__((constructor)) static void begin(int argc, char **argv, char **environment)
{
    (void)argc, (void)argv;
    for (; *environment; environment++) /* the C library has not begun: there is no getenv() yet */
        if (!strncmp(*environment, "HOOK=", 5))
            what = *environment + 5;
    if (what && PySys_AddAuditHook)
        PySys_AddAuditHook(hook, NULL);
}
