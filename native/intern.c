#include "intern.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "xxh64.h"

#define STRINGS_FIRST 16384u
#define CODES_FIRST 8192u
#define NODES_FIRST 8192u
#define CHUNK_MAX 65536u

static int table_reset(struct pa_table *t)
{
    if (!t->keys) {
        t->keys = calloc(1024, sizeof *t->keys);
        t->ids = calloc(1024, sizeof *t->ids);
        t->mask = 1023;
        if (!t->keys || !t->ids)
            return -ENOMEM;
    } else {
        memset(t->ids, 0, ((size_t)t->mask + 1) * sizeof *t->ids);
    }
    t->used = 0;
    return 0;
}

/* The slot of a key: its id, or 0 where it would go. */
static uint32_t *table_slot(struct pa_table *t, uint64_t key)
{
    for (uint32_t i = (uint32_t)key & t->mask;; i = (i + 1) & t->mask)
        if (!t->ids[i] || t->keys[i] == key)
            return &t->ids[i];
}

static int table_put(struct pa_table *t, uint64_t key, uint32_t id)
{
    if (t->used * 2 > t->mask) {
        uint32_t mask = t->mask * 2 + 1;
        struct pa_table n = {calloc((size_t)mask + 1, 8), calloc((size_t)mask + 1, 4), mask, t->used};
        if (!n.keys || !n.ids) {
            free(n.keys), free(n.ids);
            return -ENOMEM;
        }
        for (uint32_t i = 0; i <= t->mask; i++)
            if (t->ids[i]) {
                uint32_t *slot = table_slot(&n, t->keys[i]);
                *slot = t->ids[i];
                n.keys[slot - n.ids] = t->keys[i];
            }
        free(t->keys), free(t->ids);
        *t = n;
    }
    uint32_t *slot = table_slot(t, key);
    t->keys[slot - t->ids] = key;
    *slot = id;
    t->used++;
    return 0;
}

static uint64_t mix(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t h = a * 0x9e3779b97f4a7c15u ^ b * 0xc2b2ae3d27d4eb4fu ^ c * 0x165667b19e3779f9u;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
    return h ^ h >> 29;
}

int pa_intern_reset(struct pa_intern *in, struct pa_segment *segment, struct pa_store *store)
{
    in->segment = segment;
    in->store = store;
    in->strings = (struct pa_definitions){.next_id = 1, .next_size = STRINGS_FIRST};
    in->codes = (struct pa_definitions){.next_id = 1, .next_size = CODES_FIRST};
    in->nodes = (struct pa_definitions){.next_id = 1, .next_size = NODES_FIRST};
    if (!in->sites)
        in->sites = malloc(PA_SITES * sizeof *in->sites);
    if (!in->sites)
        return -ENOMEM;
    memset(in->sites, 0, PA_SITES * sizeof *in->sites);
    if (table_reset(&in->string_table) || table_reset(&in->code_table))
        return -ENOMEM;
    return table_reset(&in->node_table);
}

/* Room for one more entry and `bytes` of heap; the entry, or NULL. */
static void *define(struct pa_intern *in, struct pa_definitions *d, uint32_t kind, uint32_t bytes)
{
    if (!d->chunk || d->entries - d->heap < 16 + bytes) {
        uint32_t size = d->next_size;
        uint32_t need = pa_round_chunk(PA_CHUNK_HEADER_SIZE + 16 + bytes);
        if (size < need)
            size = need;
        struct pa_chunk *c = pa_segment_chunk(in->segment, in->store, kind, size, d->next_id, &in->error);
        if (!c)
            return NULL;
        pa_chunk_publish(c);
        d->chunk = c;
        d->heap = PA_CHUNK_HEADER_SIZE;
        d->entries = c->size;
        if (d->next_size < CHUNK_MAX)
            d->next_size *= 2;
    }
    d->entries -= 16;
    return (uint8_t *)d->chunk + d->entries;
}

uint32_t pa_intern_string(struct pa_intern *in, const void *text, uint32_t length)
{
    /* 64 bits of XXH64 decide; the text is compared by its length too. */
    uint64_t key = pa_xxh64(text, length) ^ length;
    uint32_t *slot = table_slot(&in->string_table, key);
    if (*slot)
        return *slot;
    struct pa_string *e = define(in, &in->strings, PA_CHUNK_STRINGS, length);
    if (!e)
        return 0;
    uint32_t id = in->strings.next_id;
    if (table_put(&in->string_table, key, id)) {
        in->error = -ENOMEM;
        in->strings.entries += 16;
        return 0;
    }
    memcpy((uint8_t *)in->strings.chunk + in->strings.heap, text, length);
    e->heap = in->strings.heap;
    e->length = length;
    e->flags = 0;
    in->strings.heap += length;
    in->strings.next_id++;
    pa_commit(&e->commit, in->strings.chunk->generation);
    return id;
}

/* Codes and nodes have the same shape: three words after the commit word. */
static uint32_t define_triple(struct pa_intern *in, struct pa_definitions *d, struct pa_table *t,
                              uint32_t kind, uint32_t a, uint32_t b, uint32_t c)
{
    uint64_t key = mix((uint64_t)a << 32 | b, c, kind);
    uint32_t *slot = table_slot(t, key);
    if (*slot)
        return *slot;
    struct pa_node *e = define(in, d, kind, 0);
    if (!e)
        return 0;
    uint32_t id = d->next_id;
    if (table_put(t, key, id)) {
        in->error = -ENOMEM;
        d->entries += 16;
        return 0;
    }
    e->parent = a;
    e->code = b;
    e->line = c;
    d->next_id++;
    pa_commit(&e->commit, d->chunk->generation);
    return id;
}

uint32_t pa_intern_code(struct pa_intern *in, uint32_t file, uint32_t function, uint32_t line)
{
    return define_triple(in, &in->codes, &in->code_table, PA_CHUNK_CODES, file, function, line);
}

uint32_t pa_intern_node(struct pa_intern *in, uint32_t parent, uint32_t code, uint32_t line)
{
    return define_triple(in, &in->nodes, &in->node_table, PA_CHUNK_NODES, parent, code, line);
}
