/* Ticks: the cheapest clock that every thread of the process can read.
 *
 * TSC where the processor says that it is invariant, CNTVCT on aarch64, else
 * CLOCK_MONOTONIC. An anchor reads ticks and both system clocks together, so
 * that a reader can turn ticks into time. */
#ifndef PA_CLOCK_H
#define PA_CLOCK_H

#include <stdint.h>
#include <time.h>
#include "format.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

extern uint32_t pa_clock_kind; /* PA_CLOCK_*; set by pa_clock_init */

static inline uint64_t pa_clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t pa_ticks(void)
{
#if defined(__x86_64__)
    if (__builtin_expect(pa_clock_kind == PA_CLOCK_TSC, 1))
        return __rdtsc();
#elif defined(__aarch64__)
    uint64_t v;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
    return v;
#endif
    return pa_clock_ns(CLOCK_MONOTONIC);
}

static inline void pa_clock_init(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;
    /* CPUID 0x80000007, EDX bit 8: invariant TSC */
    pa_clock_kind = __get_cpuid(0x80000007u, &a, &b, &c, &d) && (d & (1u << 8))
                        ? PA_CLOCK_TSC : PA_CLOCK_MONOTONIC;
#elif defined(__aarch64__)
    pa_clock_kind = PA_CLOCK_CNTVCT;
#else
    pa_clock_kind = PA_CLOCK_MONOTONIC;
#endif
}

struct pa_instant { uint64_t ticks, monotonic, realtime; };

/* The clocks are read again when the thread was interrupted between them: the narrowest counts. */
static inline struct pa_instant pa_clock_anchor(void)
{
    struct pa_instant best = {0, 0, 0};
    uint64_t narrowest = UINT64_MAX;
    for (int i = 0; i < 4 && narrowest > 1000; i++) {
        uint64_t before = pa_clock_ns(CLOCK_MONOTONIC);
        uint64_t ticks = pa_ticks();
        uint64_t realtime = pa_clock_ns(CLOCK_REALTIME);
        uint64_t width = pa_clock_ns(CLOCK_MONOTONIC) - before;
        if (width < narrowest) {
            narrowest = width;
            best = (struct pa_instant){ticks, before + width / 2, realtime};
        }
    }
    return best;
}

/* Ticks a second, from two anchors; the wider apart, the better. */
static inline uint64_t pa_clock_rate(struct pa_instant a, struct pa_instant b)
{
#if defined(__aarch64__)
    uint64_t hz;
    (void)a, (void)b;
    __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hz));
    return hz;
#else
    if (pa_clock_kind == PA_CLOCK_MONOTONIC || b.monotonic <= a.monotonic)
        return 1000000000u;
    return (uint64_t)((double)(b.ticks - a.ticks) * 1e9 / (double)(b.monotonic - a.monotonic));
#endif
}

#endif
