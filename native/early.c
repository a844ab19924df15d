/* See early.h. */
#include "early.h"

#include "recorder.h"

#ifdef Py_LIMITED_API
/* cpython/pymem.h: exported by every CPython, unchanged since 3.5, outside the limited API. */
typedef enum { PYMEM_DOMAIN_RAW } PyMemAllocatorDomain;
typedef struct {
    void *ctx;
    void *(*malloc)(void *ctx, size_t size);
    void *(*calloc)(void *ctx, size_t count, size_t size);
    void *(*realloc)(void *ctx, void *block, size_t size);
    void (*free)(void *ctx, void *block);
} PyMemAllocatorEx;
extern void PyMem_GetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx *ret);
extern void PyMem_SetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx *allocator);
#endif
extern int PySys_AddAuditHook(pa_hook_fn hook, void *user_data);

static PyMemAllocatorEx giver;  /* gave the block */
static PyMemAllocatorEx final;  /* the interpreter's, at the end */
static void *block;
static pa_hook_fn added;

static void *remember(void *context, size_t size)
{
    (void)context;
    return block = giver.malloc(giver.ctx, size);
}

int pa_early_add(pa_hook_fn hook)
{
    PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &giver);
    PyMemAllocatorEx remembering = giver;
    remembering.malloc = remember;
    PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &remembering);
    int result = PySys_AddAuditHook(hook, NULL);
    PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &giver);
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
        giver.free(giver.ctx, at);
        PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &final);
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
    PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &final);
    if (final.free == giver.free)
        return;
    PyMemAllocatorEx passing = {final.ctx, pass_malloc, pass_calloc, pass_realloc, pass_free};
    PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &passing);
}
