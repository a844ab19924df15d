/* The tracepoint that tracepoint.c fires: an int and a string. */

#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER app
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./traced.h"

#if !defined(TRACED_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define TRACED_H
#include <lttng/tracepoint.h>

LTTNG_UST_TRACEPOINT_EVENT(app, event, LTTNG_UST_TP_ARGS(long, number, const char *, text),
                           LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(long, number, number)
                                                   lttng_ust_field_string(text, text)))
#endif

#include <lttng/tracepoint-event.h>
