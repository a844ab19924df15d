/* The arguments of an audit event as JSON text.
 *
 * The text is a positional array; docs/format/journal.md is normative for it:
 *
 *   None, True, False     null, true, false
 *   int                   a number within 64 bits (signed); beyond, to 1024 bits,
 *                         {"$int":"-0x1f..."}; beyond that {"$int":"~2^N"} or {"$int":"-~2^N"}:
 *                         the magnitude lies in [2^N, 2^(N+1))
 *   float                 a number with . or e; {"$float":"nan"}, "inf", "-inf"
 *   str                   a string; with lone surrogates {"$wtf8":"base64"}, UTF-8 that encodes
 *                         each surrogate as if it were a character
 *   bytes, bytearray      {"$bytes":"text"} if valid UTF-8, else {"$base64":"..."}
 *   tuple, list           an array
 *   dict                  an object. Keys: str, with \udcXX written as those six characters; int,
 *                         float, bool, None as their JSON text; bytes as text with \xNN for what is
 *                         not UTF-8; of others "<type>". A key that begins with $ gets one $ more.
 *   code object           {"$code":{"file":...,"name":...,"line":N}}
 *   anything else         {"$type":"module.Name"}; so also instances of subclasses of the above
 *
 * and where the event's rule (catalog) or a limit says so
 *
 *   {"$length":N}         characters, bytes or items of what is not written
 *   {"$length":N,"$hash":"16 hex digits"}   XXH64 with seed 0 of the bytes, or of the UTF-8
 *                         (surrogates as in $wtf8); with reveal code also ,"$text":ID
 *   {"$more":N}           last in an array, or the key "$more" last in an object: N items left out
 *   {"$depth":N}          a container of N items inside PA_DEPTH_MAX others
 *   "***"                 a secret; also within text (mask.h)
 *
 * Nothing is allocated through Python, nothing is raised and no foreign code
 * runs: only objects of exactly the built-in types are looked into.
 */
#ifndef PA_ENCODE_H
#define PA_ENCODE_H

#include "pyabi.h"

struct pa_event_rule;

enum {
    PA_ARGS_MAX = 16384,        /* bytes of the whole array */
    PA_TEXT_MAX = 4096,         /* bytes of one text as UTF-8, before escapes */
    PA_ITEMS_MAX = 128,         /* items of one container */
    PA_DEPTH_MAX = 6,           /* containers inside each other, the array of arguments not counted */
    PA_REVEALED_MAX = 65536     /* bytes of one text of dynamic code */
};

/* Keeps revealed code: valid UTF-8, at most PA_REVEALED_MAX bytes. Returns its string id, or 0.
 * `scratch`: PA_TEXT_MAX bytes for one text that has to be converted, which a small stack has not. */
struct pa_text_sink {
    uint32_t (*intern)(void *context, const uint8_t *text, uint32_t length);
    void *context;
    uint8_t *scratch;
};

/* Writes the array for an argument tuple. `rule`: what is known of the event, or NULL; `reveal`:
 * PA_REVEAL_* of settings.h. Returns the length, at most PA_ARGS_MAX, and adds PA_NOTE_* to
 * *ret_notes; or returns -1 when there is not room enough (PA_ARGS_MAX bytes always are). */
int pa_encode_args(uint8_t *out, uint32_t room, PyObject *args, const struct pa_event_rule *rule,
                   uint32_t reveal, const struct pa_text_sink *sink, uint16_t *ret_notes);

/* Writes an event's name as it is stored: valid UTF-8 (U+FFFD for other bytes), secrets masked, at
 * most PA_TEXT_MAX bytes. Returns the length and adds to *ret_notes, or -1: no room. */
int pa_encode_name(uint8_t *out, uint32_t room, const char *name, size_t length, uint16_t *ret_notes);

/* Writes a JSON string, quotes included, of bytes that should be UTF-8 (U+FFFD for those that are
 * not). Returns the length, or -1: no room. */
int pa_json_string(uint8_t *out, uint32_t room, const char *text, size_t length);

/* Writes a JSON array of the arguments of a process, each ended by NUL, as in /proc/self/cmdline
 * after argv[0]; masked, and with the limits above. Returns the length, or -1: no room. */
int pa_json_argv(uint8_t *out, uint32_t room, const char *cmdline, size_t length, uint16_t *ret_notes);

#endif
