/* The extension module `pythonaudit._recorder`, and the way in for the preload shim. */
#include "hook.h"
#include "context_api.h"
#include "early.h"
#include "guard.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern int PySys_AddAuditHook(int (*hook)(const char *, PyObject *, void *), void *user_data);

#define EXPORTED __attribute__((visibility("default")))

/* What start() comes to; the names are those of status()["state"]. */
enum { RECORDING, OFF, UNSUPPORTED, FAILED, VETOED, STATES };
static const char *const state_names[STATES] = {"recording", "off", "unsupported", "failed", "vetoed"};
static int state = OFF;

static const char *environment(const char *name) { return getenv(name); }
static void repair_environment(const char *name, const char *value) { setenv(name, value, 1); }

/* Makes the recorder ready. */
static int prepare_for(const struct pa_settings *settings, uint32_t way)
{
    if (pa_abi_init() != 0) {
        pa_fail(settings, "this is not a CPython that the recorder knows");
        return UNSUPPORTED;
    }
    if (pa_recorder_init(settings, way) != 0) {
        pa_fail(settings, "no memory for the recorder");
        return FAILED;
    }
    pa_frames_init();
    return RECORDING;
}

/* The same as the environment says. */
static int prepare(pa_getenv_fn get, pa_repair_fn repair, uint32_t way)
{
    struct pa_settings *settings = calloc(1, sizeof *settings);
    if (!settings)
        return FAILED;
    if (pa_settings_load(settings, get, repair) != 0)
        _exit(PA_STATUS_STOP);
    int result = settings->on ? prepare_for(settings, way) : OFF;
    free(settings);
    return result;
}

/* Before Py_Initialize. 0 recording, 1 off, else it could not. */
EXPORTED int pa_preload_start(pa_getenv_fn get, pa_repair_fn repair);
EXPORTED int pa_preload_start(pa_getenv_fn get, pa_repair_fn repair)
{
    static const char began[] =
        "{\"began\":{\"way\":\"preload\",\"canary\":true,\"modules\":[],\"pth\":[]}}";
    state = prepare(get, repair, PA_WAY_PRELOAD);
    if (state != RECORDING)
        return state;
    pa_recorder_keep(PA_KEPT_BEGAN, began, sizeof began - 1);
    if (pa_early_add(pa_hook) != 0)
        state = FAILED;
    pa_recorder.hooked = state == RECORDING;
    return state;
}

/* Puts the hook into a running interpreter and makes sure that it is in. */
static void hook_in(void)
{
    if (PySys_AddAuditHook(pa_hook, NULL) != 0)
        PyErr_Clear();
    pa_guard_begin(pa_epoch);
    pa_recorder.hooked = pa_hook_canary();
    if (!pa_recorder.hooked) {
        state = VETOED;
        pa_fail(&pa_recorder.settings, "another audit hook keeps ours out");
        pa_recorder_doubt();
    }
}

/* The state by now: that of an interpreter that has ended is no more, and an event may have come
 * although another hook kept our canary from us. */
static const char *state_name(void)
{
    if (state == VETOED && pa_recorder.hooked)
        state = RECORDING;
    return state_names[state == RECORDING && !pa_recorder.hooked ? OFF : state];
}

/* In an interpreter that runs already. */
static void begin_here(PyObject *stdlib)
{
    pa_frames_set_stdlib(PyBytes_AsString(stdlib));
    pa_abi_self_test();
    pa_frames_self_test(PyThreadState_Get());
    hook_in();
}

/* By the shim, with a recorder of its own. */
static int recorded_elsewhere(void)
{
    int *active = dlsym(RTLD_DEFAULT, "pythonaudit_preload_active");
    return active && *active;
}

PyDoc_STRVAR(start_doc,
"start($module, stdlib, /)\n--\n\n"
"Begin to record this process, if the environment asks for it and nothing records it yet.\n\n"
"stdlib is the directory of the standard library. Returns the state, as status() names it.");

static PyObject *start(PyObject *module, PyObject *stdlib)
{
    (void)module;
    if (pa_recorder.installed) {
        if (state == RECORDING && !pa_recorder.hooked) /* a new interpreter: its end cleared the hooks */
            hook_in();
        return PyUnicode_FromString(state_name());
    }
    if (recorded_elsewhere())
        return PyUnicode_FromString(state_names[RECORDING]);
    PyObject *directory = PyUnicode_EncodeFSDefault(stdlib);
    if (!directory)
        return NULL;
    state = prepare(environment, repair_environment, PA_WAY_SITE);
    if (state == RECORDING)
        begin_here(directory);
    Py_DECREF(directory);
    return PyUnicode_FromString(state_names[state]);
}

/* What a command of ours records of itself. It removes nothing that others have recorded, so the limit is left
 * to them; a record elsewhere than in the directory would be one that its owner does not see. */
static int prepare_command(const char *dir, const char *events, uint32_t way)
{
    struct pa_settings *settings = calloc(1, sizeof *settings);
    char complaint[160];
    int result = FAILED;
    if (settings && strlen(dir) <= PA_DIR_MAX &&
        pa_policy_parse(events, &settings->policy, complaint, sizeof complaint) == 0) {
        settings->on = settings->stop_on_full = settings->nowhere_else = 1;
        settings->max_bytes = INT64_MAX;
        memcpy(settings->dir, dir, strlen(dir) + 1);
        snprintf(settings->events, sizeof settings->events, "%s", events);
        result = prepare_for(settings, way);
    }
    free(settings);
    return result;
}

PyDoc_STRVAR(start_command_doc,
"start_command($module, stdlib, directory, events, is_agent, /)\n--\n\n"
"Begin to record some events of this process, without stacks, in a directory, if nothing records it yet.\n\n"
"stdlib is the directory of the standard library, events as in PYTHONAUDIT_EVENTS. No variable is read,\n"
"nothing in the directory is removed, and no other place is taken where it cannot be written.\n"
"is_agent: not a command that ends soon, but the agent.\n"
"Returns the state, as status() names it.");

static PyObject *start_command(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *stdlib = NULL, *directory = NULL;
    const char *events;
    int is_agent;
    if (!PyArg_ParseTuple(args, "O&O&sp", PyUnicode_FSConverter, &stdlib, PyUnicode_FSConverter, &directory, &events,
                          &is_agent))
        return NULL;
    if (!pa_recorder.installed && !recorded_elsewhere()) {
        state = prepare_command(PyBytes_AsString(directory), events, is_agent ? PA_WAY_AGENT : PA_WAY_COMMAND);
        if (state == RECORDING)
            begin_here(stdlib);
    }
    Py_DECREF(stdlib);
    Py_DECREF(directory);
    return PyUnicode_FromString(pa_recorder.installed ? state_name() : state_names[state]);
}

static PyObject *new_none(void)
{
    Py_IncRef(Py_None); /* the macros of 3.12 leave it out; here it is needed before 3.12 */
    return Py_None;
}

PyDoc_STRVAR(began_doc,
"began($module, attributes, /)\n--\n\n"
"Add attributes (a JSON object, bytes) of how recording began to the journal.");

static PyObject *began(PyObject *module, PyObject *attributes)
{
    (void)module;
    char *json;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(attributes, &json, &length) < 0)
        return NULL;
    if (pa_recorder.installed && length <= 32768)
        pa_recorder_keep(PA_KEPT_BEGAN, json, (uint32_t)length);
    return new_none();
}

/* The PYTHONAUDIT_DIR in force, which the shim keeps out of the environment; "" if none. */
static const char *root(void)
{
    if (pa_recorder.installed)
        return pa_recorder.settings.dir;
    pa_getenv_fn get = (pa_getenv_fn)dlsym(RTLD_DEFAULT, "pythonaudit_preload_getenv");
    const char *dir = get ? get("PYTHONAUDIT_DIR") : NULL;
    return dir ? dir : "";
}

PyDoc_STRVAR(status_doc,
"status($module, /)\n--\n\n"
"How this process is recorded: a dict of state, process, root (PYTHONAUDIT_DIR),\n"
"directory (of its journal), canary, committed (events of this thread), trouble.");

static PyObject *status(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    struct pa_recorder *r = &pa_recorder;
    char process[33] = "";
    pa_recorder_look();
    for (int i = 0; r->installed && i < 16; i++) {
        static const char digits[] = "0123456789abcdef";
        process[2 * i] = digits[r->who.process[i] >> 4];
        process[2 * i + 1] = digits[r->who.process[i] & 15];
        process[2 * i + 2] = 0;
    }
    struct pa_thread *t = pa_self;
    unsigned long long committed = t && t->image == r->image ? t->number : 0;
    return Py_BuildValue("{s:s,s:s,s:s,s:s,s:O,s:K,s:s}", "state", state_name(),
                         "process", process, "root", root(),
                         "directory", r->store_open ? r->store.box : "",
                         "canary", r->canary ? Py_True : Py_False, "committed", committed,
                         "trouble", r->rest_until ? pa_reason(r->rest_error) : "");
}

/* The functions of context_api.h. */
struct functions {
    PyObject *(*enter)(PyObject *fields);
    void (*leave)(PyObject *token);
};

/* Those of the recorder that records this process: our own, or the shim's. NULL: none does.
 * The shim's are looked for once, since whether there is one is settled before Python starts. */
static const struct functions *recording_functions(void)
{
    static const struct functions ours = {pa_context_enter, pa_context_leave};
    static struct functions theirs;
    static int looked; /* 0 not yet, 1 somebody does, 2 done */
    int none = 0;
    if (pa_recorder.installed)
        return &ours;
    if (__atomic_load_n(&looked, __ATOMIC_ACQUIRE) == 0 &&
        __atomic_compare_exchange_n(&looked, &none, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        void **recorder = dlsym(RTLD_DEFAULT, "pythonaudit_preload_recorder");
        void *enter = recorder && *recorder ? dlsym(*recorder, "pa_context_enter") : NULL;
        void *leave = enter ? dlsym(*recorder, "pa_context_leave") : NULL;
        if (leave) {
            memcpy(&theirs.enter, &enter, sizeof enter);
            memcpy(&theirs.leave, &leave, sizeof leave);
        } else {
            dlerror(); /* not for the program to find */
        }
        __atomic_store_n(&looked, 2, __ATOMIC_RELEASE);
    }
    return __atomic_load_n(&looked, __ATOMIC_ACQUIRE) == 2 && theirs.leave ? &theirs : NULL;
}

PyDoc_STRVAR(enter_context_doc,
"enter_context($module, fields, /)\n--\n\n"
"Enter a context with more fields (a dict that nobody else has). What leave_context() takes, or None\n"
"where nothing is recorded.");

static PyObject *enter_context(PyObject *module, PyObject *fields)
{
    (void)module;
    const struct functions *functions = recording_functions();
    PyObject *token = functions ? functions->enter(fields) : NULL;
    return token ? token : new_none();
}

PyDoc_STRVAR(leave_context_doc,
"leave_context($module, token, /)\n--\n\n"
"Leave the context that enter_context() has entered.");

static PyObject *leave_context(PyObject *module, PyObject *token)
{
    (void)module;
    const struct functions *functions = recording_functions();
    if (functions && token != Py_None)
        functions->leave(token);
    return new_none();
}

static int idle(const char *event, PyObject *args, void *unused)
{
    (void)event, (void)args, (void)unused;
    return 0;
}

PyDoc_STRVAR(add_idle_hook_doc,
"add_idle_hook($module, /)\n--\n\n"
"Add an audit hook that does nothing, which no process can get rid of: the floor for what a\n"
"recorder costs. Refused, and False, in a process that is recorded.");

static PyObject *add_idle_hook(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    if (pa_recorder.installed || recorded_elsewhere())
        return PyBool_FromLong(0);
    if (PySys_AddAuditHook(idle, NULL) != 0)
        return NULL;
    return PyBool_FromLong(1);
}

static PyMethodDef methods[] = {
    {"start", start, METH_O, start_doc},
    {"start_command", start_command, METH_VARARGS, start_command_doc},
    {"began", began, METH_O, began_doc},
    {"status", status, METH_NOARGS, status_doc},
    {"enter_context", enter_context, METH_O, enter_context_doc},
    {"leave_context", leave_context, METH_O, leave_context_doc},
    {"add_idle_hook", add_idle_hook, METH_NOARGS, add_idle_hook_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pythonaudit._recorder",
    .m_doc = "The native recorder; see pythonaudit.recorder.",
    .m_size = 0,
    .m_methods = methods,
};

/* From 3.12 on, an interpreter with a GIL of its own loads only modules that say they are made
 * for it, and older versions refuse a slot that they do not know. Number and value are those of
 * Py_mod_multiple_interpreters and Py_MOD_PER_INTERPRETER_GIL_SUPPORTED. */
static PyModuleDef_Slot slots_from_3_12[] = {
    {3, (void *)2},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* else importing it would switch the GIL on */
#endif
    {0, NULL},
};

PyMODINIT_FUNC PyInit__recorder(void)
{
    if (atoi(Py_GetVersion() + strlen("3.")) >= 12)
        definition.m_slots = slots_from_3_12;
    return PyModuleDef_Init(&definition);
}
