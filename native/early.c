/* See early.h. */
#include "early.h"

#include "recorder.h"

/* cpython/pymem.h: exported by every CPython, unchanged since 3.5, outside the limited API. */
enum { RAW_DOMAIN = 0 };
struct allocator {
    void *context;
    void *(*malloc)(void *context, size_t size);
    void *(*calloc)(void *context, size_t count, size_t size);
    void *(*realloc)(void *context, void *block, size_t size);
    void (*free)(void *context, void *block);
};
extern void PyMem_GetAllocator(int domain, struct allocator *ret);
extern void PyMem_SetAllocator(int domain, struct allocator *allocator);
extern int PySys_AddAuditHook(pa_hook_fn hook, void *user_data);

static struct allocator giver;  /* gave the block */
static struct allocator final;  /* the interpreter's, at the end */
static void *block;
static pa_hook_fn added;

static void *remember(void *context, size_t size)
{
    (void)context;
    return block = giver.malloc(giver.context, size);
}

int pa_early_add(pa_hook_fn hook)
{
    PyMem_GetAllocator(RAW_DOMAIN, &giver);
    struct allocator remembering = giver;
    remembering.malloc = remember;
    PyMem_SetAllocator(RAW_DOMAIN, &remembering);
    int result = PySys_AddAuditHook(hook, NULL);
    PyMem_SetAllocator(RAW_DOMAIN, &giver);
    added = hook;
    return result;
}

static void *pass_malloc(void *context, size_t size)
{
    return final.malloc(context, size);
}

static void *pass_calloc(void *context, size_t count, size_t size)
{
    return final.calloc(context, count, size);
}

static void *pass_realloc(void *context, void *at, size_t size)
{
    return final.realloc(context, at, size);
}

static void pass_free(void *context, void *at)
{
    if (at && at == block) {
        block = NULL;
        giver.free(giver.context, at);
        PyMem_SetAllocator(RAW_DOMAIN, &final);
    } else {
        final.free(context, at);
    }
}

/* The interpreter is gone, and there may be another one. */
static void add_again(void)
{
    pa_recorder.hooked = pa_early_add(added) == 0;
}

void pa_early_end(void)
{
    if (!block)
        return;
    Py_AtExit(add_again);
    PyMem_GetAllocator(RAW_DOMAIN, &final);
    if (final.free == giver.free)
        return;
    struct allocator passing = {final.context, pass_malloc, pass_calloc, pass_realloc, pass_free};
    PyMem_SetAllocator(RAW_DOMAIN, &passing);
}
