/* XXH64, seed 0: a fast hash that is not meant to withstand an adversary.
 *
 * The algorithm is Yann Collet's, as the xxHash specification describes it
 * (doc/xxhash_spec.md, version 0.2). One call for a buffer, three for a stream:
 *
 *     struct pa_xxh64 hash;
 *     pa_xxh64_begin(&hash);
 *     pa_xxh64_add(&hash, data, size);      any number of times
 *     uint64_t value = pa_xxh64_end(&hash);
 */
#ifndef PA_XXH64_H
#define PA_XXH64_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "written for little-endian machines"
#endif

#define PA_XXH_1 0x9E3779B185EBCA87u
#define PA_XXH_2 0xC2B2AE3D27D4EB4Fu
#define PA_XXH_3 0x165667B19E3779F9u
#define PA_XXH_4 0x85EBCA77C2B2AE63u
#define PA_XXH_5 0x27D4EB2F165667C5u

struct pa_xxh64 {
    uint64_t lanes[4];
    uint64_t total;         /* bytes seen */
    uint8_t rest[32];       /* those not hashed yet: total % 32 */
};

static inline uint64_t pa_xxh64_rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static inline uint64_t pa_xxh64_round(uint64_t lane, uint64_t input)
{
    return pa_xxh64_rotate(lane + input * PA_XXH_2, 31) * PA_XXH_1;
}

static inline void pa_xxh64_stripe(uint64_t lanes[4], const uint8_t *stripe)
{
    for (int i = 0; i < 4; i++) {
        uint64_t input;
        memcpy(&input, stripe + 8 * i, sizeof input);
        lanes[i] = pa_xxh64_round(lanes[i], input);
    }
}

static inline void pa_xxh64_begin(struct pa_xxh64 *hash)
{
    hash->lanes[0] = PA_XXH_1 + PA_XXH_2;
    hash->lanes[1] = PA_XXH_2;
    hash->lanes[2] = 0;
    hash->lanes[3] = 0 - PA_XXH_1;
    hash->total = 0;
}

static inline void pa_xxh64_add(struct pa_xxh64 *hash, const void *data, size_t size)
{
    const uint8_t *at = data;
    size_t held = hash->total % sizeof hash->rest;
    hash->total += size;
    if (held) {
        size_t missing = sizeof hash->rest - held;
        size_t taken = size < missing ? size : missing;
        memcpy(hash->rest + held, at, taken);
        if (taken < missing)
            return;
        pa_xxh64_stripe(hash->lanes, hash->rest);
        at += taken;
        size -= taken;
    }
    for (; size >= sizeof hash->rest; at += sizeof hash->rest, size -= sizeof hash->rest)
        pa_xxh64_stripe(hash->lanes, at);
    if (size)
        memcpy(hash->rest, at, size);
}

static inline uint64_t pa_xxh64_end(const struct pa_xxh64 *hash)
{
    const uint64_t *lanes = hash->lanes;
    const uint8_t *at = hash->rest;
    size_t size = hash->total % sizeof hash->rest;
    uint64_t value = PA_XXH_5;
    if (hash->total >= sizeof hash->rest) {
        value = pa_xxh64_rotate(lanes[0], 1) + pa_xxh64_rotate(lanes[1], 7) +
                pa_xxh64_rotate(lanes[2], 12) + pa_xxh64_rotate(lanes[3], 18);
        for (int i = 0; i < 4; i++)
            value = (value ^ pa_xxh64_round(0, lanes[i])) * PA_XXH_1 + PA_XXH_4;
    }
    value += hash->total;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t input;
        memcpy(&input, at, sizeof input);
        value = pa_xxh64_rotate(value ^ pa_xxh64_round(0, input), 27) * PA_XXH_1 + PA_XXH_4;
    }
    if (size >= 4) {
        uint32_t input;
        memcpy(&input, at, sizeof input);
        value = pa_xxh64_rotate(value ^ input * PA_XXH_1, 23) * PA_XXH_2 + PA_XXH_3;
        at += 4;
        size -= 4;
    }
    for (; size; at++, size--)
        value = pa_xxh64_rotate(value ^ *at * PA_XXH_5, 11) * PA_XXH_1;
    value = (value ^ value >> 33) * PA_XXH_2;
    value = (value ^ value >> 29) * PA_XXH_3;
    return value ^ value >> 32;
}

static inline uint64_t pa_xxh64(const void *data, size_t size)
{
    struct pa_xxh64 hash;
    pa_xxh64_begin(&hash);
    pa_xxh64_add(&hash, data, size);
    return pa_xxh64_end(&hash);
}

#endif
