/* See guard.h. */
#define _GNU_SOURCE 1
#include "guard.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "format.h"

#define PAGES (PA_SEGMENT_MAX / 4096u)  /* where pages are larger, there are fewer */

struct guarded {
    uintptr_t at;               /* 0: none */
    size_t length;
    uint64_t replaced[PAGES / 64];  /* each page once: another thread may be at it too */
    int lost;
};

static struct guarded all[PA_GUARDED];
static int any_lost;
static uint64_t *threads_look_at;
static size_t page_size = 4096;

static int replace_page(struct guarded *g, uintptr_t address)
{
    uintptr_t page = address & ~(uintptr_t)(page_size - 1);
    size_t number = (page - g->at) / page_size;
    if (__atomic_fetch_or(&g->replaced[number / 64], 1ull << number % 64, __ATOMIC_ACQ_REL) >> number % 64 & 1)
        return 1;               /* by another thread; if it is not ready yet, we come here again */
    if (mmap((void *)page, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        MAP_FAILED)
        return 0;
    __atomic_store_n(&g->lost, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&any_lost, 1, __ATOMIC_SEQ_CST);
    uint64_t epoch = __atomic_load_n(threads_look_at, __ATOMIC_SEQ_CST);
    while (epoch && !__atomic_compare_exchange_n(threads_look_at, &epoch, UINT64_MAX, 0, __ATOMIC_SEQ_CST,
                                                 __ATOMIC_SEQ_CST))
        ;
    return 1;
}

static void handle(int number, siginfo_t *info, void *context)
{
    int saved = errno, caused = info->si_code > 0 && info->si_code != BUS_MCEERR_AO;
    (void)context;
    for (int i = 0; caused && i < PA_GUARDED; i++) {
        uintptr_t at = __atomic_load_n(&all[i].at, __ATOMIC_ACQUIRE);
        if (at && (uintptr_t)info->si_addr - at < all[i].length && replace_page(&all[i], (uintptr_t)info->si_addr)) {
            errno = saved;
            return;
        }
    }
    signal(number, SIG_DFL);    /* what caused it happens again when we return */
    if (!caused)
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
    errno = saved;
}

void pa_guard_begin(uint64_t *epoch)
{
    struct sigaction now, ours = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    threads_look_at = epoch;
    page_size = (size_t)sysconf(_SC_PAGESIZE);
    sigfillset(&ours.sa_mask);
    if (sigaction(SIGBUS, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL)
        sigaction(SIGBUS, &ours, NULL);
}

void pa_guard_end(void)
{
    struct sigaction now;
    if (sigaction(SIGBUS, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == handle)
        signal(SIGBUS, SIG_DFL);
}

static struct guarded *find(uintptr_t at)
{
    for (int i = 0; i < PA_GUARDED; i++)
        if (all[i].at == at)
            return &all[i];
    return NULL;
}

void pa_guard_add(const void *at, size_t length)
{
    struct guarded *g = find(0);
    if (!g)
        return;
    g->length = length;
    g->lost = 0;
    memset(g->replaced, 0, sizeof g->replaced);
    __atomic_store_n(&g->at, (uintptr_t)at, __ATOMIC_RELEASE);
}

void pa_guard_drop(const void *at)
{
    struct guarded *g = find((uintptr_t)at);
    if (g)
        __atomic_store_n(&g->at, 0, __ATOMIC_RELEASE);
}

int pa_guard_waits(void)
{
    return __atomic_load_n(&any_lost, __ATOMIC_SEQ_CST);
}

int pa_guard_take(void)
{
    return __atomic_exchange_n(&any_lost, 0, __ATOMIC_SEQ_CST);
}

int pa_guard_lost(const void *at)
{
    const struct guarded *g = find((uintptr_t)at);
    return g && __atomic_load_n(&g->lost, __ATOMIC_SEQ_CST);
}
