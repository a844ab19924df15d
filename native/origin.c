#define _GNU_SOURCE 1
#include "origin.h"

#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <string.h>

extern int PySys_Audit(const char *event, const char *format, ...);

struct search { uintptr_t address; enum pa_origin ret; };

static enum pa_origin judge(const ElfW(Phdr) *segments, unsigned count, uintptr_t base,
                            const char *name, uintptr_t address)
{
    int constant = 0, core = name && strstr(name, "/lib-dynload/");
    for (unsigned i = 0; i < count; i++) {
        uintptr_t begin = base + segments[i].p_vaddr, end = begin + segments[i].p_memsz;
        if (segments[i].p_type != PT_LOAD)
            continue;
        if (address >= begin && address < end)
            constant = !(segments[i].p_flags & PF_W);
        core |= (uintptr_t)&PySys_Audit >= begin && (uintptr_t)&PySys_Audit < end;
    }
    return !constant ? PA_ORIGIN_HEAP : core ? PA_ORIGIN_CPYTHON : PA_ORIGIN_FOREIGN;
}

static int visit(struct dl_phdr_info *info, size_t size, void *data)
{
    struct search *s = data;
    (void)size;
    s->ret = judge(info->dlpi_phdr, info->dlpi_phnum, info->dlpi_addr, info->dlpi_name, s->address);
    return s->ret != PA_ORIGIN_HEAP;
}

#if defined(DLFO_STRUCT_HAS_EH_DBASE) /* the headers are of glibc 2.35 or later */
extern __typeof__(_dl_find_object) _dl_find_object __attribute__((weak));

static int find_object(const void *address, enum pa_origin *ret)
{
    struct dl_find_object o;
    if (!_dl_find_object)
        return -1;
    *ret = PA_ORIGIN_HEAP;
    if (_dl_find_object((void *)address, &o) == 0) {
        const ElfW(Ehdr) *header = o.dlfo_map_start;
        if (!memcmp(header->e_ident, ELFMAG, SELFMAG))
            *ret = judge((const void *)((const char *)header + header->e_phoff), header->e_phnum,
                         o.dlfo_link_map->l_addr, o.dlfo_link_map->l_name, (uintptr_t)address);
    }
    return 0;
}
#else
static int find_object(const void *address, enum pa_origin *ret)
{
    (void)address, (void)ret;
    return -1;
}
#endif

enum pa_origin pa_origin_of(const void *address)
{
    struct search s = {(uintptr_t)address, PA_ORIGIN_HEAP};
    if (find_object(address, &s.ret) != 0)
        dl_iterate_phdr(visit, &s);
    return s.ret;
}
