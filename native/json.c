#include "json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char hex_digits[] = "0123456789abcdef";

/* UTF-8 */

/* Length of the character that a byte begins, and what its second byte must be; 0: it begins none. */
static unsigned utf8_shape(uint8_t lead, uint8_t *ret_low, uint8_t *ret_high)
{
    *ret_low = 0x80;
    *ret_high = 0xBF;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (lead == 0xE0)
            *ret_low = 0xA0;        /* else shorter forms would do */
        if (lead == 0xED)
            *ret_high = 0x9F;       /* surrogates lie behind */
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (lead == 0xF0)
            *ret_low = 0x90;
        if (lead == 0xF4)
            *ret_high = 0x8F;       /* up to U+10FFFF */
        return 4;
    }
    return 0;
}

/* How many bytes from text[1] on continue the character as they should; at most its length - 1. */
static unsigned utf8_continued(const uint8_t *text, size_t length, unsigned wanted, uint8_t low, uint8_t high)
{
    unsigned i = 1;
    for (; i < wanted && i < length && text[i] >= low && text[i] <= high; i++) {
        low = 0x80;
        high = 0xBF;
    }
    return i;
}

size_t pa_utf8_valid(const uint8_t *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        uint64_t word;
        if (length - at >= sizeof word) {
            memcpy(&word, text + at, sizeof word);
            if (!(word & 0x8080808080808080u)) {
                at += sizeof word;
                continue;
            }
        }
        uint8_t low, high;
        unsigned wanted = utf8_shape(text[at], &low, &high);
        if (!wanted || utf8_continued(text + at, length - at, wanted, low, high) < wanted)
            break;
        at += wanted;
    }
    return at;
}

int pa_utf8_unfinished(const uint8_t *text, size_t length)
{
    uint8_t low, high;
    unsigned wanted = length ? utf8_shape(text[0], &low, &high) : 0;
    return wanted > length && utf8_continued(text, length, wanted, low, high) == length;
}

/* strings */

const uint8_t pa_byte_is_special[256] = {
    [0x00 ... 0x20] = 1, ['"'] = 1, ['\\'] = 1, ['='] = 1, [':'] = 1,
};

static int is_plain(uint8_t c) { return c >= 0x20 && c != '"' && c != '\\'; }

/* The escape of one character; its length. */
static size_t escape(uint8_t c, uint8_t out[6])
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *found = c ? strchr(from, c) : NULL;
    out[0] = '\\';
    if (found) {
        out[1] = (uint8_t)to[found - from];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = (uint8_t)hex_digits[c >> 4];
    out[5] = (uint8_t)hex_digits[c & 15];
    return 6;
}

size_t pa_json_characters(struct pa_json *json, const uint8_t *utf8, size_t length)
{
    uint8_t *out = json->at;
    size_t at = 0;
    while (at < length) {
        size_t room = (size_t)(json->limit - out), end = length - at < 16 ? length : at + 16;
        if (end - at == 16 && room >= 16) {
            pa_block block;
            memcpy(&block, utf8 + at, 16);
            memcpy(out, &block, 16);
            if (!pa_block_any(pa_block_escaped(block))) {
                at += 16;
                out += 16;
                continue;
            }
        }
        for (; at < end; at++, room = (size_t)(json->limit - out)) {
            uint8_t escaped[6] = {utf8[at]};
            size_t n = is_plain(utf8[at]) ? 1 : escape(utf8[at], escaped);
            if (room < n)
                goto cut;
            memcpy(out, escaped, n);
            out += n;
        }
    }
    json->at = out;
    return at;
cut:
    while (at && (utf8[at] & 0xC0) == 0x80) {       /* not in the middle of a character */
        at--;
        out--;
    }
    json->at = out;
    json->lacked = 1;
    return at;
}

size_t pa_json_repaired(struct pa_json *json, const uint8_t *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        size_t valid = pa_utf8_valid(text + at, length - at);
        size_t taken = pa_json_characters(json, text + at, valid);
        at += taken;
        if (taken < valid || at == length)
            break;
        if (json->limit - json->at < 3) {
            json->lacked = 1;
            break;
        }
        pa_json_put(json, "\xEF\xBF\xBD", 3);
        at++;
    }
    return at;
}

static void put_group(struct pa_json *json, struct pa_base64 *base64)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *held = base64->held;
    base64->cut |= json->limit - json->at < 4;
    json->lacked |= base64->cut;
    if (base64->cut)
        return;
    json->at[0] = (uint8_t)digits[held[0] >> 2];
    json->at[1] = (uint8_t)digits[(held[0] & 3) << 4 | held[1] >> 4];
    json->at[2] = base64->count > 1 ? (uint8_t)digits[(held[1] & 15) << 2 | held[2] >> 6] : '=';
    json->at[3] = base64->count > 2 ? (uint8_t)digits[held[2] & 63] : '=';
    json->at += 4;
}

void pa_base64_add(struct pa_json *json, struct pa_base64 *base64, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length && !base64->cut; i++) {
        base64->held[base64->count++] = bytes[i];
        if (base64->count == 3) {
            put_group(json, base64);
            base64->count = 0;
        }
    }
}

void pa_base64_end(struct pa_json *json, struct pa_base64 *base64)
{
    if (!base64->count || base64->cut)
        return;
    memset(base64->held + base64->count, 0, 3u - base64->count);
    put_group(json, base64);
}

/* numbers */

void pa_json_integer(struct pa_json *json, int negative, uint64_t magnitude)
{
    uint8_t digits[20], *at = digits + sizeof digits;
    do {
        *--at = (uint8_t)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude);
    size_t length = (size_t)(digits + sizeof digits - at);
    if (json->limit - json->at < (ptrdiff_t)length + (negative != 0)) {
        json->full = 1;
        return;
    }
    if (negative)
        *json->at++ = '-';
    memcpy(json->at, at, length);
    json->at += length;
}

void pa_json_unsigned(struct pa_json *json, uint64_t value) { pa_json_integer(json, 0, value); }

void pa_json_hex(struct pa_json *json, uint64_t value, int digits)
{
    uint8_t text[16];
    for (int i = 0; i < digits; i++)
        text[i] = (uint8_t)hex_digits[value >> 4 * (digits - 1 - i) & 15];
    pa_json_put(json, text, (size_t)digits);
}

/* Decimal digits and a power of ten, as printf's %g would write them with this precision. */
static size_t format_general(char *out, const char *digits, int precision, int exponent)
{
    size_t used = 0;
    int count = precision;
    while (count > 1 && digits[count - 1] == '0')
        count--;
    if (exponent < -4 || exponent >= precision) {
        out[used++] = digits[0];
        if (count > 1) {
            out[used++] = '.';
            memcpy(out + used, digits + 1, (size_t)count - 1);
            used += (size_t)count - 1;
        }
        unsigned size = (unsigned)(exponent < 0 ? -exponent : exponent);
        out[used++] = 'e';
        out[used++] = exponent < 0 ? '-' : '+';
        if (size >= 100)
            out[used++] = (char)('0' + size / 100);
        out[used++] = (char)('0' + size / 10 % 10);
        out[used++] = (char)('0' + size % 10);
        return used;
    }
    if (exponent < 0) {
        memcpy(out, "0.0000", 6);
        used = 1 + (size_t)-exponent;
        memcpy(out + used, digits, (size_t)count);
        return used + (size_t)count;
    }
    for (int i = 0; i <= exponent || i < count; i++) {
        if (i == exponent + 1)
            out[used++] = '.';
        out[used++] = i < count ? digits[i] : '0';
    }
    if (count <= exponent + 1) {
        memcpy(out + used, ".0", 2);
        used += 2;
    }
    return used;
}

/* Up to 15 digits that are exactly the value, the common case: without printf. The number of digits, or 0. */
static int find_decimal(double value, char digits[15], int *ret_exponent)
{
    static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
                                    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
    if (value >= 1e15 || value < 1e-4)
        return 0;
    for (int scale = 0; scale < (int)(sizeof powers / sizeof *powers); scale++) {
        double scaled = value * powers[scale];
        if (scaled >= 1e15)
            return 0;
        uint64_t whole = (uint64_t)(scaled + 0.5);
        if (whole >= 1000000000000000u || (double)whole / powers[scale] != value)
            continue;
        char text[15];
        int count = 0;
        for (; whole; whole /= 10)
            text[count++] = (char)('0' + whole % 10);
        for (int i = 0; i < count; i++)
            digits[i] = text[count - 1 - i];
        *ret_exponent = count - 1 - scale;
        return count;
    }
    return 0;
}

static int is_digit(char c) { return c >= '0' && c <= '9'; }

void pa_json_double(struct pa_json *json, double value)
{
    char digits[17], text[40];
    int exponent = 0;
    if (signbit(value)) {
        PA_JSON_LITERAL(json, "-");
        value = -value;
    }
    if (value == 0) {
        PA_JSON_LITERAL(json, "0.0");
        return;
    }
    int count = find_decimal(value, digits, &exponent);
    if (count) {
        memset(digits + count, '0', (size_t)(15 - count));
        pa_json_put(json, text, format_general(text, digits, 15, exponent));
        return;
    }
    int saved = errno;
    /* within the range of find_decimal 15 digits are not enough, else it had found them */
    for (int precision = value >= 1e-4 && value < 1e15 ? 16 : 15; precision <= 17; precision++) {
        char printed[64];
        snprintf(printed, sizeof printed, "%.*e", precision - 1, value);
        if (precision < 17 && strtod(printed, NULL) != value)
            continue;
        const char *at = printed;       /* the decimal point is whatever the locale has */
        for (int i = 0; i < precision; at++)
            if (is_digit(*at))
                digits[i++] = *at;
        exponent = (int)strtol(at + 1, NULL, 10);
        pa_json_put(json, text, format_general(text, digits, precision, exponent));
        break;
    }
    errno = saved;
}
