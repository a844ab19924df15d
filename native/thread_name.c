/* The name of the current thread, as Python's threading has it:
 *
 *   sys.modules["threading"]._active[ident]._name
 *
 * It is read as it stands, once a thread and segment: nothing is called, and where the thread is of a class
 * that could have code for `_name`, or is none of threading's, there is no name. */
#include "context.h"

#include <errno.h>
#include <pthread.h>

#include "recorder.h"

#define NAME_MAX_BYTES 256u

static int is_ident(PyObject *key, uint64_t ident)
{
    struct pa_int view;
    uint64_t value = 0;
    if (Py_TYPE(key) != &PyLong_Type || pa_int_read(key, &view) < 0 || view.negative || view.count > 3)
        return 0;
    for (Py_ssize_t i = view.count; i-- > 0;)
        value = value << 30 | view.digits[i];
    return value == ident;
}

/* The current thread's object. It is there for as long as the thread runs. */
static PyObject *find_thread(void)
{
    PyObject *active = pa_module_item(PySys_GetObject("modules"), "threading", "_active"), *found = NULL, *key, *value;
    Py_ssize_t position = 0;
    uint64_t ident = (uint64_t)pthread_self();
    if (active && Py_TYPE(active) == &PyDict_Type && pa_take(active)) {
        while (!found && PyDict_Next(active, &position, &key, &value))
            if (is_ident(key, ident))
                found = value;
        Py_IncRef(found);
        pa_release(active);
    }
    Py_DecRef(active);
    return found;
}

static uint32_t find_name(struct pa_thread *t)
{
    PyObject *thread = find_thread(), *attribute = thread ? pa_str_new("_name") : NULL, *name = NULL;
    uint32_t id = 0;
    if (attribute && pa_has_plain_attribute(Py_TYPE(thread), attribute))
        name = pa_plain_attribute(thread, attribute);
    if (name && Py_TYPE(name) == &PyUnicode_Type) {
        uint8_t stored[NAME_MAX_BYTES];
        int flags, length;
        uint16_t notes = 0;
        size_t read = pa_str_utf8(name, t->scratch, NAME_MAX_BYTES, &flags);
        length = pa_encode_name(stored, sizeof stored, (const char *)t->scratch, read, &notes);
        pthread_mutex_lock(&pa_recorder.lock);
        if (length > 0 && t->segment == pa_recorder.segment)
            id = pa_intern_string(&pa_recorder.intern, stored, (uint32_t)length);
        pthread_mutex_unlock(&pa_recorder.lock);
    }
    Py_DecRef(name);
    Py_DecRef(attribute);
    Py_DecRef(thread);
    return id;
}

void pa_name_write(struct pa_thread *t)
{
    int saved = errno;
    if (!t->name_id)
        t->name_id = find_name(t);
    errno = saved;
    if (!t->name_id)
        return;
    struct pa_thread_entry *e = (struct pa_thread_entry *)(t->chunk + (t->entries -= 32));
    e->kind = PA_ENTRY_THREAD;
    e->name = t->name_id;
    pa_commit(&e->commit, t->generation);
}
