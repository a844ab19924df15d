/* Writing JSON text into a buffer that cannot grow.
 *
 * What is emitted is RFC 8259 and UTF-8, however hostile the input. A piece
 * that does not fit sets `full`, and the caller takes the piece back (by
 * restoring `at`); text that may be cut is cut at a character and sets `lacked`.
 * Nothing is allocated, nothing depends on the locale.
 */
#ifndef PA_JSON_H
#define PA_JSON_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct pa_json {
    uint8_t *at, *limit;
    uint8_t full;       /* a piece did not fit, and was not written */
    uint8_t lacked;     /* for want of room, something was cut or left out */
};

static inline void pa_json_put(struct pa_json *json, const void *text, size_t length)
{
    if ((size_t)(json->limit - json->at) < length) {
        json->full = 1;
        return;
    }
    memcpy(json->at, text, length);
    json->at += length;
}

#define PA_JSON_LITERAL(json, text) pa_json_put(json, text, sizeof(text) - 1)

/* Sixteen bytes at a time: looking for several characters at once costs little more than copying. */
typedef uint8_t pa_block __attribute__((vector_size(16)));

enum {
    PA_BYTES_ESCAPED = 1,   /* has a character that JSON must escape */
    PA_BYTES_SUSPECT = 2,   /* has = or : or a space, without which there is no secret in text (mask.h) */
    PA_BYTES_HIGH = 4       /* has bytes from 0x80 on */
};

struct pa_classes {
    pa_block escaped, suspect, high;
};

static inline pa_block pa_block_escaped(pa_block block)
{
    return (pa_block)((block == '"') | (block == '\\') | (block < 0x20));
}

static inline pa_block pa_block_special(pa_block block)
{
    return (pa_block)((block <= 0x20) | (block == '"') | (block == '\\') | (block == '=') | (block == ':'));
}

static inline void pa_classify(struct pa_classes *classes, pa_block block)
{
    classes->escaped |= pa_block_escaped(block);
    classes->suspect |= (pa_block)((block == '=') | (block == ':') | (block == ' '));
    classes->high |= block;
}

static inline uint64_t pa_block_any(pa_block block)
{
    uint64_t halves[2];
    memcpy(halves, &block, sizeof halves);
    return halves[0] | halves[1];
}

/* Copies and returns PA_BYTES_* of what was copied. */
static inline unsigned pa_copy_classified(uint8_t *out, const uint8_t *text, size_t length)
{
    struct pa_classes classes = {{0}, {0}, {0}};
    pa_block block;
    if (length >= 16) {
        size_t i = 0;
        for (; i + 16 <= length; i += 16) {
            memcpy(&block, text + i, 16);
            memcpy(out + i, &block, 16);
            pa_classify(&classes, block);
        }
        memcpy(&block, text + length - 16, 16);     /* the rest, and some of it again */
        memcpy(out + length - 16, &block, 16);
    } else {
        uint64_t halves[2];
        if (length >= 8) {
            memcpy(&halves[0], text, 8);
            memcpy(&halves[1], text + length - 8, 8);
            memcpy(out, &halves[0], 8);
            memcpy(out + length - 8, &halves[1], 8);
        } else if (length >= 4) {
            uint32_t quarters[2];
            memcpy(&quarters[0], text, 4);
            memcpy(&quarters[1], text + length - 4, 4);
            memcpy(out, &quarters[0], 4);
            memcpy(out + length - 4, &quarters[1], 4);
            halves[0] = halves[1] = quarters[0] | (uint64_t)quarters[1] << 32;
        } else if (length) {
            uint8_t first = text[0], middle = text[length / 2], last = text[length - 1];
            out[0] = first;
            out[length / 2] = middle;
            out[length - 1] = last;
            halves[0] = halves[1] = 0x7878787878000000u | first | (uint64_t)middle << 8 | (uint64_t)last << 16;
        } else {
            return 0;
        }
        memcpy(&block, halves, 16);
    }
    pa_classify(&classes, block);
    return (pa_block_any(classes.escaped) ? PA_BYTES_ESCAPED : 0) |
           (pa_block_any(classes.suspect) ? PA_BYTES_SUSPECT : 0) |
           (pa_block_any(classes.high) & 0x8080808080808080u ? PA_BYTES_HIGH : 0);
}

extern const uint8_t pa_byte_is_special[256];

/* Copies and returns whether there was a byte that is PA_BYTES_ESCAPED or PA_BYTES_SUSPECT: the same, for
 * where it is enough to know that there is none. */
static inline int pa_copy_special(uint8_t *out, const uint8_t *text, size_t length)
{
    pa_block block, found = {0};
    if (length < 4) {
        int special = 0;
        for (size_t i = 0; i < length; i++) {
            out[i] = text[i];
            special |= pa_byte_is_special[text[i]];
        }
        return special;
    }
    if (length >= 16) {
        for (size_t i = 0; i + 16 < length; i += 16) {
            memcpy(&block, text + i, 16);
            memcpy(out + i, &block, 16);
            found |= pa_block_special(block);
        }
        memcpy(&block, text + length - 16, 16);     /* the rest, and some of it again */
        memcpy(out + length - 16, &block, 16);
    } else {
        uint64_t halves[2];
        if (length >= 8) {
            memcpy(&halves[0], text, 8);
            memcpy(&halves[1], text + length - 8, 8);
            memcpy(out, &halves[0], 8);
            memcpy(out + length - 8, &halves[1], 8);
        } else {
            uint32_t quarters[2];
            memcpy(&quarters[0], text, 4);
            memcpy(&quarters[1], text + length - 4, 4);
            memcpy(out, &quarters[0], 4);
            memcpy(out + length - 4, &quarters[1], 4);
            halves[0] = halves[1] = quarters[0] | (uint64_t)quarters[1] << 32;
        }
        memcpy(&block, halves, 16);
    }
    return pa_block_any(found | pa_block_special(block)) != 0;
}

/* How many bytes from the beginning are whole and valid UTF-8 characters (no surrogates). */
size_t pa_utf8_valid(const uint8_t *text, size_t length);

/* Is it a valid but unfinished character that begins here and would need more than `length` bytes? */
int pa_utf8_unfinished(const uint8_t *text, size_t length);

/* Writes characters of valid UTF-8 between the quotes of a string, as many as fit. Returns the bytes taken. */
size_t pa_json_characters(struct pa_json *json, const uint8_t *utf8, size_t length);

/* The same for bytes that should be UTF-8: U+FFFD for each that is not. */
size_t pa_json_repaired(struct pa_json *json, const uint8_t *text, size_t length);

/* Base64 piece by piece: begin with zeroes, add, end. What does not fit is cut at a group. */
struct pa_base64 {
    uint8_t held[3];
    uint8_t count;
    uint8_t cut;
};
void pa_base64_add(struct pa_json *json, struct pa_base64 *base64, const uint8_t *bytes, size_t length);
void pa_base64_end(struct pa_json *json, struct pa_base64 *base64);

void pa_json_unsigned(struct pa_json *json, uint64_t value);
void pa_json_integer(struct pa_json *json, int negative, uint64_t magnitude);

/* Lower-case hexadecimal with `digits` digits. */
void pa_json_hex(struct pa_json *json, uint64_t value, int digits);

/* A finite double: the shortest of %.15g, %.16g and %.17g that reads back as the same, with .0 where
 * it would look like an integer. */
void pa_json_double(struct pa_json *json, double value);

#endif
