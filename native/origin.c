#define _GNU_SOURCE 1
#include "origin.h"

#include <link.h>
#include <stdint.h>
#include <string.h>

#define RANGES_MAX 1024

struct range { uintptr_t begin, end; enum pa_origin origin; };

static struct range ranges[RANGES_MAX];
static unsigned count;
static unsigned long long adds;

extern int PySys_Audit(const char *event, const char *format, ...);

struct scan { int stale; };

static int collect(struct dl_phdr_info *info, size_t size, void *data)
{
    struct scan *scan = data;
    (void)size;
    if (!scan->stale) { /* the first object: has anything been loaded or unloaded? */
        if (adds == info->dlpi_adds + info->dlpi_subs)
            return 1;
        scan->stale = 1;
        adds = info->dlpi_adds + info->dlpi_subs;
        count = 0;
    }
    const char *name = info->dlpi_name ? info->dlpi_name : "";
    enum pa_origin origin = strstr(name, "/lib-dynload/") ? PA_ORIGIN_CPYTHON : PA_ORIGIN_FOREIGN;
    uintptr_t audit = (uintptr_t)&PySys_Audit;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && audit >= begin && audit < begin + p->p_memsz)
            origin = PA_ORIGIN_CPYTHON;
    }
    for (int i = 0; i < info->dlpi_phnum && count < RANGES_MAX; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && !(p->p_flags & PF_W)) {
            uintptr_t begin = info->dlpi_addr + p->p_vaddr;
            ranges[count++] = (struct range){begin, begin + p->p_memsz, origin};
        }
    }
    return 0;
}

static const struct range *find(uintptr_t a)
{
    for (unsigned i = 0; i < count; i++)
        if (a >= ranges[i].begin && a < ranges[i].end)
            return &ranges[i];
    return NULL;
}

enum pa_origin pa_origin_of(const void *address)
{
    const struct range *r = find((uintptr_t)address);
    if (!r) {
        struct scan scan = {0};
        dl_iterate_phdr(collect, &scan);
        r = scan.stale ? find((uintptr_t)address) : NULL;
    }
    return r ? r->origin : PA_ORIGIN_HEAP;
}
