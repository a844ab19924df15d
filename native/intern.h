/* Definitions of one segment: strings, code, stack nodes, each written once.
 *
 * Everything here runs under the recorder's lock, on a miss of a thread's own
 * cache. The tables belong to the current segment and start empty with each.
 * No Python.h. */
#ifndef PA_INTERN_H
#define PA_INTERN_H

#include <stddef.h>
#include "segment.h"

struct pa_table { uint64_t *keys; uint32_t *ids; uint32_t mask, used; };

struct pa_interned { const uint8_t *text; uint32_t length; };

struct pa_definitions {             /* the open chunk of one kind */
    struct pa_chunk *chunk;
    uint32_t heap, entries, next_id, next_size;
};

struct pa_site { uint64_t key; uint32_t code, line; };

#define PA_SITES 8192u              /* direct-mapped: where a frame stands */

struct pa_intern {
    struct pa_segment *segment;
    struct pa_store *store;
    struct pa_definitions strings, codes, nodes;
    struct pa_table string_table, code_table, node_table;
    struct pa_interned *texts;      /* by string id */
    uint32_t texts_room;
    struct pa_site *sites;          /* (code, instruction) -> code id and line */
    int error;                      /* of the last 0: -EFBIG (segment full), -errno */
};

/* Begins anew for a segment. 0 or -ENOMEM. */
int pa_intern_reset(struct pa_intern *in, struct pa_segment *segment, struct pa_store *store);

/* Ids; 0 with in->error when the definition could not be written. */
uint32_t pa_intern_string(struct pa_intern *in, const void *text, uint32_t length);
uint32_t pa_intern_code(struct pa_intern *in, uint32_t file, uint32_t function, uint32_t line,
                        uint32_t flags);
uint32_t pa_intern_node(struct pa_intern *in, uint32_t parent, uint32_t code, uint32_t line);

#endif
