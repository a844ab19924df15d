#include "mask.h"

#include <string.h>

#define NAME_MAX_BYTES 128      /* of a name, this many last bytes are looked at */

static int is_lower(uint8_t c) { return c >= 'a' && c <= 'z'; }
static int is_upper(uint8_t c) { return c >= 'A' && c <= 'Z'; }
static int is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static int is_blank(uint8_t c) { return c == ' ' || c == '\t'; }
static int is_space(uint8_t c) { return is_blank(c) || (c >= '\n' && c <= '\r'); }
static int is_quote(uint8_t c) { return c == '"' || c == '\'' || c == '`'; }

static int is_name_character(uint8_t c)
{
    return is_lower(c | 0x20) || is_digit(c) || c == '_' || c == '-' || c == '.';
}

static uint8_t to_lower(uint8_t c) { return is_upper(c) ? c | 0x20 : c; }

/* names */

/* Does a constant begin here? */
#define BEGINS(at, end, text) ((size_t)((end) - (at)) >= sizeof(text) - 1 && memcmp(at, text, sizeof(text) - 1) == 0)
#define EQUALS(at, end, text) ((size_t)((end) - (at)) == sizeof(text) - 1 && memcmp(at, text, sizeof(text) - 1) == 0)

static int begins_secret_part(const char *at, const char *end)
{
    switch (*at) {
    case 'a':
        return BEGINS(at, end, "apikey") || BEGINS(at, end, "accesskey") || BEGINS(at, end, "accountkey") ||
               BEGINS(at, end, "authkey") || BEGINS(at, end, "authorization");
    case 'b':
        return BEGINS(at, end, "bearer");
    case 'c':
        return BEGINS(at, end, "credential") || BEGINS(at, end, "cookie");
    case 'e':
        return BEGINS(at, end, "encryptionkey");
    case 'k':
        return BEGINS(at, end, "keypass");
    case 'm':
        return BEGINS(at, end, "masterkey");
    case 'p':
        return BEGINS(at, end, "password") || BEGINS(at, end, "passwd") || BEGINS(at, end, "pwd") ||
               BEGINS(at, end, "passphrase") || BEGINS(at, end, "passcode") || BEGINS(at, end, "passkey") ||
               BEGINS(at, end, "privatekey");
    case 's':
        return BEGINS(at, end, "secret") || BEGINS(at, end, "sessionid") || BEGINS(at, end, "sessid") ||
               BEGINS(at, end, "sessionkey") || BEGINS(at, end, "sharedkey") || BEGINS(at, end, "signingkey") ||
               BEGINS(at, end, "storepass");
    case 't':
        return BEGINS(at, end, "token");
    }
    return 0;
}

static int is_secret_word(const char *at, const char *end)
{
    return EQUALS(at, end, "auth") || EQUALS(at, end, "pass") || EQUALS(at, end, "pw") || EQUALS(at, end, "psk") ||
           EQUALS(at, end, "sig") || EQUALS(at, end, "signature") || EQUALS(at, end, "otp") || EQUALS(at, end, "totp");
}

static int is_harmless_last_word(const char *at, const char *end)
{
    return EQUALS(at, end, "count") || EQUALS(at, end, "file") || EQUALS(at, end, "jar") || EQUALS(at, end, "length") ||
           EQUALS(at, end, "path") || EQUALS(at, end, "prompt") || EQUALS(at, end, "stdin") || EQUALS(at, end, "type");
}

int pa_mask_is_secret(const uint8_t *name, size_t length)
{
    char folded[NAME_MAX_BYTES];
    char *end = folded, *word = folded;     /* word: where the last one begins */
    int found = 0;
    if (length > NAME_MAX_BYTES) {
        name += length - NAME_MAX_BYTES;
        length = NAME_MAX_BYTES;
    }
    if (length < 2 || (length == 3 && memcmp(name, "PWD", 3) == 0) || (length == 6 && memcmp(name, "OLDPWD", 6) == 0))
        return 0;
    for (size_t i = 0; i < length; i++) {
        uint8_t c = name[i];
        int separator = c == '_' || c == '-' || c == '.';
        if (separator || (i && is_upper(c) && !is_upper(name[i - 1]))) {
            found |= is_secret_word(word, end);
            if (end > word && i + 1 < length)
                word = end;
        }
        if (!separator)
            *end++ = (char)to_lower(c);
    }
    if (is_harmless_last_word(word, end))
        return 0;
    found |= is_secret_word(word, end);
    for (const char *at = folded; !found && at + 3 <= end; at++)
        found = begins_secret_part(at, end);
    return found;
}

/* text */

struct scan {
    const uint8_t *text;
    size_t length;
    int cut;
    struct pa_span *spans;
    size_t count;
    size_t position;            /* everything before it is dealt with */
};

static void add_span(struct scan *scan, size_t start, size_t end)
{
    if (start < end && scan->count == PA_SPANS_MAX) {
        scan->spans[PA_SPANS_MAX - 1].end = scan->length;
        scan->position = scan->length;
        return;
    }
    if (start < end)
        scan->spans[scan->count++] = (struct pa_span){start, end};
    if (end > scan->position)
        scan->position = end;
}

/* The separator stands at `colon` and // follows. */
static void mask_url(struct scan *scan, size_t colon)
{
    const uint8_t *text = scan->text;
    size_t start = colon + 3, end = start, at = 0;
    size_t authority_end = 0, password = 0;
    for (; end < scan->length; end++) {
        uint8_t c = text[end];
        if (c <= ' ' || c == 0x7F || is_quote(c) || c == '<' || c == '>' || c == '\\')
            break;
        if (!authority_end && (c == '/' || c == '?' || c == '#')) {
            /* user:pa/ss@host should not be, but is: what is not a port is a password */
            int port = 1;
            for (size_t i = password; password && i < end; i++)
                port &= is_digit(text[i]);
            if (at || !password || port || text[start] == '[')
                break;
            authority_end = end;
        }
        if (c == '@')
            at = end;
        if (c == ':' && !password)
            password = end + 1;
    }
    if (at)
        add_span(scan, start, at);
    else if (end == scan->length && scan->cut && !authority_end)
        add_span(scan, start, end);
    if (start > scan->position)
        scan->position = start;
}

struct key {
    size_t start, end;
    uint8_t enclosing;          /* the quote that opens before it and is still open */
    uint8_t closed;             /* a quote or bracket stands between it and the separator */
};

static struct key find_key(const struct scan *scan, size_t separator)
{
    const uint8_t *text = scan->text;
    struct key key = {.end = separator};
    while (key.end > scan->position && separator - key.end < 8 &&
           (is_blank(text[key.end - 1]) || is_quote(text[key.end - 1]) || text[key.end - 1] == '\\' ||
            text[key.end - 1] == ']')) {
        key.end--;
        key.closed |= !is_blank(text[key.end]);
    }
    key.start = key.end;
    while (key.start > scan->position && key.end - key.start < NAME_MAX_BYTES && is_name_character(text[key.start - 1]))
        key.start--;
    if (key.start > 0 && is_quote(text[key.start - 1]) && !key.closed &&
        memchr(text + separator, text[key.start - 1], scan->length - separator))
        key.enclosing = text[key.start - 1];
    return key;
}

/* Where the quoted text that begins at `at` ends: the index of its closing quote. `escaped`: quotes
 * are written \" as in a JSON text inside another. */
static size_t find_close(const struct scan *scan, size_t at, uint8_t quote, int escaped)
{
    const uint8_t *text = scan->text;
    while (at < scan->length) {
        if (text[at] == quote && !escaped)
            return at;
        if (text[at] != '\\') {
            at++;
            continue;
        }
        if (escaped && at + 1 < scan->length) {
            if (text[at + 1] == quote)
                return at;
            if (text[at + 1] == '\\') {
                at += 2;
                at += at < scan->length && text[at] == '\\' ? 2 : 1;
                continue;
            }
        }
        at += 2;
    }
    return scan->length;
}

static size_t find_bracket_end(const struct scan *scan, size_t at)
{
    const uint8_t open = scan->text[at], close = open == '(' ? ')' : (uint8_t)(open + 2);
    size_t depth = 0;
    for (; at < scan->length; at++) {
        depth += scan->text[at] == open;
        if (scan->text[at] == close && --depth == 0)
            return at + 1;
    }
    return scan->length;
}

static size_t find_word_end(const struct scan *scan, size_t at, const struct key *key)
{
    const uint8_t *text = scan->text;
    for (; at < scan->length; at++) {
        uint8_t c = text[at];
        if (c == ',' || c == ';' || c == '&' || (key->enclosing ? c == key->enclosing : is_space(c)))
            break;
        if (key->closed && (c == '}' || c == ']' || c == ')'))
            break;
        if (c == '\\' && at + 1 < scan->length)
            at++;
    }
    return at < scan->length ? at : scan->length;
}

static int is_scheme(const struct scan *scan, size_t start, size_t end)
{
    char word[10], *last = word;
    if (end - start >= sizeof word || end >= scan->length || !is_blank(scan->text[end]))
        return 0;
    while (start < end)
        *last++ = (char)to_lower(scan->text[start++]);
    return EQUALS(word, last, "bearer") || EQUALS(word, last, "basic") || EQUALS(word, last, "digest") ||
           EQUALS(word, last, "token") || EQUALS(word, last, "negotiate") || EQUALS(word, last, "ntlm") ||
           EQUALS(word, last, "apikey");
}

static int takes_line(const struct scan *scan, const struct key *key)
{
    static const char *const endings[] = {"authorization", "cookie"};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(endings[i]), matched = 0;
        if (key->end - key->start < n)
            continue;
        while (matched < n && to_lower(scan->text[key->end - n + matched]) == (uint8_t)endings[i][matched])
            matched++;
        if (matched == n)
            return 1;
    }
    return 0;
}

static void mask_quoted(struct scan *scan, size_t start, uint8_t quote, int escaped, const struct key *key)
{
    const uint8_t *text = scan->text;
    size_t quotes = 1;
    while (!escaped && quotes < 3 && start + quotes < scan->length && text[start + quotes] == quote)
        quotes++;
    if (quotes == 2) {                              /* "" is empty, but shells join "" and what follows */
        start += 2;
        if (start < scan->length && is_name_character(text[start]))
            add_span(scan, start, find_word_end(scan, start, key));
        return;
    }
    start += quotes;
    size_t end = start;
    for (;;) {
        end = find_close(scan, end, quote, escaped);
        if (end >= scan->length || quotes == 1 ||
            (end + 2 < scan->length && text[end + 1] == quote && text[end + 2] == quote))
            break;
        end++;
    }
    size_t after = end + (escaped ? 2 : quotes);
    if (after < scan->length && (is_name_character(text[after]) || is_quote(text[after])))
        end = find_word_end(scan, after, key);      /* "a"b and 'a'"b" are one word to a shell */
    add_span(scan, start, end < scan->length ? end : scan->length);
}

/* A secret name, then the separator: mask its value. */
static void mask_value(struct scan *scan, size_t separator, const struct key *key)
{
    const uint8_t *text = scan->text;
    size_t start = separator + 1;
    while (start < scan->length && start - separator <= 2 && (text[start] == '=' || text[start] == '>'))
        start++;
    while (start < scan->length && is_blank(text[start]))
        start++;
    if (start >= scan->length || text[start] == '\n' || text[start] == '\r')
        return;
    size_t quote = start;                           /* b'', u"", rb'' */
    while (quote - start < 2 && quote < scan->length && strchr("bBuUrRfF", text[quote]) && text[quote])
        quote++;
    int escaped = quote + 1 < scan->length && text[quote] == '\\' && is_quote(text[quote + 1]);
    quote += (size_t)escaped;
    if (quote < scan->length && is_quote(text[quote]) && text[quote] != key->enclosing) {
        mask_quoted(scan, quote, text[quote], escaped, key);
        return;
    }
    size_t end = start;
    if (takes_line(scan, key)) {
        while (end < scan->length && text[end] != '\n' && text[end] != '\r' &&
               (!key->enclosing || text[end] != key->enclosing))
            end += text[end] == '\\' && key->enclosing ? 2 : 1;
    } else {
        if (text[start] == '[' || text[start] == '{' || text[start] == '(')
            end = find_bracket_end(scan, start);
        end = find_word_end(scan, end, key);
        if (is_scheme(scan, start, end)) {
            while (end < scan->length && is_blank(text[end]))
                end++;
            end = find_word_end(scan, end, key);
        }
    }
    add_span(scan, start, end < scan->length ? end : scan->length);
}

static size_t find_byte(const struct scan *scan, size_t from, int byte)
{
    const uint8_t *found = from < scan->length ? memchr(scan->text + from, byte, scan->length - from) : NULL;
    return found ? (size_t)(found - scan->text) : scan->length;
}

static int begins_url(const struct scan *scan, size_t colon)
{
    return colon + 2 < scan->length && scan->text[colon + 1] == '/' && scan->text[colon + 2] == '/';
}

size_t pa_mask_text(const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans)
{
    struct scan scan = {.text = text, .length = length, .cut = cut, .spans = ret_spans};
    size_t equals = find_byte(&scan, 0, '='), colon = find_byte(&scan, 0, ':');
    for (;;) {
        size_t separator = equals < colon ? equals : colon;
        if (separator >= length)
            return scan.count;
        if (separator == colon && begins_url(&scan, colon)) {
            mask_url(&scan, colon);
        } else {
            struct key key = find_key(&scan, separator);
            /* `/etc/passwd: No such file` tells of a path, not a password */
            int path = separator == colon && key.start > 0 && text[key.start - 1] == '/';
            if (key.start < key.end && !path && pa_mask_is_secret(text + key.start, key.end - key.start))
                mask_value(&scan, separator, &key);
        }
        size_t next = scan.position > separator ? scan.position : separator + 1;
        if (equals < next)
            equals = find_byte(&scan, next, '=');
        if (colon < next)
            colon = find_byte(&scan, next, ':');
    }
}

size_t pa_mask_userinfo(const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans)
{
    struct scan scan = {.text = text, .length = length, .cut = cut, .spans = ret_spans};
    for (size_t colon = 0; (colon = find_byte(&scan, colon, ':')) < length;) {
        if (begins_url(&scan, colon))
            mask_url(&scan, colon);
        colon = scan.position > colon ? scan.position : colon + 1;
    }
    return scan.count;
}
