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
    if (!t->keys || !t->ids) {
        free(t->keys), free(t->ids);
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

/* Where the search for a key begins. */
static uint32_t first_slot(const struct pa_table *t, uint64_t key)
{
    return (uint32_t)((key ^ key >> 31) * 0x9e3779b97f4a7c15u >> 32) & t->mask;
}

/* The slot of a key: its id, or 0 where it would go. */
static uint32_t *table_slot(struct pa_table *t, uint64_t key)
{
    for (uint32_t i = first_slot(t, key);; i = (i + 1) & t->mask)
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

int pa_intern_reset(struct pa_intern *in, struct pa_segment *segment, struct pa_store *store)
{
    in->segment = segment;
    in->store = store;
    in->strings = (struct pa_definitions){.next_id = 1, .next_size = STRINGS_FIRST};
    in->codes = (struct pa_definitions){.next_id = 1, .next_size = CODES_FIRST};
    in->nodes = (struct pa_definitions){.next_id = 1, .next_size = NODES_FIRST};
    if (in->sites)
        memset(in->sites, 0, PA_SITES * sizeof *in->sites);
    else if (!(in->sites = calloc(PA_SITES, sizeof *in->sites))) /* pages that nobody touches cost nothing */
        return -ENOMEM;
    if (table_reset(&in->string_table) || table_reset(&in->code_table))
        return -ENOMEM;
    return table_reset(&in->node_table);
}

/* Room for one more entry and `bytes` of heap; the entry, or NULL. The slot below the
 * newest entry stays zero, so that no text is ever taken for an entry. */
static void *define(struct pa_intern *in, struct pa_definitions *d, uint32_t kind, uint32_t bytes)
{
    if (!d->chunk || d->entries - d->heap < 32 + bytes) {
        uint32_t size = d->next_size;
        uint32_t need = pa_round_chunk(PA_CHUNK_HEADER_SIZE + 32 + bytes);
        if (size < need)
            size = need;
        struct pa_chunk *c = pa_segment_chunk(in->segment, in->store, kind, size, d->next_id, &in->error);
        if (!c)
            return NULL;
        pa_chunk_publish(c);
        d->chunk = c;
        d->heap = PA_CHUNK_HEADER_SIZE;
        d->entries = size;
        if (d->next_size < CHUNK_MAX)
            d->next_size *= 2;
    }
    d->entries -= 16;
    return (uint8_t *)d->chunk + d->entries;
}

/* The key under which a text is, or would be: its hash, or another number if the hash
 * is that of another text. */
static uint64_t string_key(struct pa_intern *in, const void *text, uint32_t length)
{
    for (uint64_t key = pa_xxh64(text, length);; key++) {
        uint32_t id = *table_slot(&in->string_table, key);
        if (!id || (in->texts[id].length == length && !memcmp(in->texts[id].text, text, length)))
            return key;
    }
}

uint32_t pa_intern_string(struct pa_intern *in, const void *text, uint32_t length)
{
    uint64_t key = string_key(in, text, length);
    uint32_t id = *table_slot(&in->string_table, key);
    if (id)
        return id;
    id = in->strings.next_id;
    if (id >= in->texts_room) {
        uint32_t room = in->texts_room ? in->texts_room * 2 : 1024;
        struct pa_interned *texts = realloc(in->texts, room * sizeof *texts);
        if (!texts) {
            in->error = -ENOMEM;
            return 0;
        }
        in->texts = texts;
        in->texts_room = room;
    }
    struct pa_string *e = define(in, &in->strings, PA_CHUNK_STRINGS, length);
    if (!e)
        return 0;
    if (table_put(&in->string_table, key, id)) {
        in->error = -ENOMEM;
        in->strings.entries += 16;
        return 0;
    }
    uint8_t *heap = (uint8_t *)in->strings.chunk + in->strings.heap;
    in->texts[id] = (struct pa_interned){memcpy(heap, text, length), length};
    e->heap = in->strings.heap;
    e->length = length;
    e->flags = 0;
    in->strings.heap += length;
    in->strings.next_id++;
    pa_commit(&e->commit, in->strings.chunk->generation);
    return id;
}

/* Codes and nodes have the same shape: three words after the commit word. A segment has
 * fewer than 2^18 of a kind, so two ids and a line of 28 bits make an exact key. */
static uint32_t define_triple(struct pa_intern *in, struct pa_definitions *d, struct pa_table *t,
                              uint32_t kind, uint32_t a, uint32_t b, uint32_t line, uint32_t flags)
{
    uint64_t key = (uint64_t)a << 46 | (uint64_t)b << 28 | (line & 0x0fffffff);
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
    e->line = line | flags;
    d->next_id++;
    pa_commit(&e->commit, d->chunk->generation);
    return id;
}

uint32_t pa_intern_code(struct pa_intern *in, uint32_t file, uint32_t function, uint32_t line, uint32_t flags)
{
    return define_triple(in, &in->codes, &in->code_table, PA_CHUNK_CODES, file, function, line, flags);
}

uint32_t pa_intern_node(struct pa_intern *in, uint32_t parent, uint32_t code, uint32_t line)
{
    return define_triple(in, &in->nodes, &in->node_table, PA_CHUNK_NODES, parent, code, line, 0);
}
