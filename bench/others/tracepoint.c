/* Nanoseconds of one LTTng-UST tracepoint with an int and a string, and of the loop alone.
 *
 * usage: tracepoint EVENTS LOOPS ON
 * Prints one number a loop, of the thread's processor time; the first is cold. ON is 1, or 0 for the loop alone.
 */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "traced.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

int main(int count, char **words)
{
    if (count != 4)
        return 2;
    long events = atol(words[1]), loops = atol(words[2]);
    int on = atoi(words[3]);
    for (long loop = 0; loop < loops; loop++) {
        double begin = now();
        for (long i = 0; i < events; i++) {
            if (on)
                lttng_ust_tracepoint(app, event, 1, "x");
            else
                __asm__ volatile("" : : "r"(i));
        }
        printf("%.2f\n", (now() - begin) / (double)events);
    }
    return 0;
}
