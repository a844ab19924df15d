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
#define ENDS(at, end, text) \
    ((size_t)((end) - (at)) >= sizeof(text) - 1 && memcmp((end) - (sizeof(text) - 1), text, sizeof(text) - 1) == 0)
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
        return BEGINS(at, end, "credential") || BEGINS(at, end, "cookie") || BEGINS(at, end, "csrf");
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
        return (BEGINS(at, end, "secret") && !BEGINS(at, end, "secretary")) || BEGINS(at, end, "sessionid") ||
               BEGINS(at, end, "sessid") || BEGINS(at, end, "sessionkey") || BEGINS(at, end, "sharedkey") ||
               BEGINS(at, end, "signingkey") || BEGINS(at, end, "storepass");
    case 't':
        return BEGINS(at, end, "token") && !BEGINS(at, end, "tokeniz");
    }
    return 0;
}

static int is_secret_word(const char *at, const char *end)
{
    return EQUALS(at, end, "auth") || EQUALS(at, end, "jwt") || EQUALS(at, end, "pass") || EQUALS(at, end, "pw") ||
           EQUALS(at, end, "psk") || EQUALS(at, end, "sig") || EQUALS(at, end, "signature") ||
           EQUALS(at, end, "otp") || EQUALS(at, end, "totp");
}

static int is_harmless_last_word(const char *at, const char *end)
{
    return EQUALS(at, end, "count") || EQUALS(at, end, "file") || EQUALS(at, end, "jar") || EQUALS(at, end, "length") ||
           EQUALS(at, end, "method") || EQUALS(at, end, "name") || EQUALS(at, end, "path") ||
           EQUALS(at, end, "prompt") || EQUALS(at, end, "stdin") || EQUALS(at, end, "type");
}

static int is_secret_last_word(const char *at, const char *end)
{
    return is_secret_word(at, end) || EQUALS(at, end, "session") || EQUALS(at, end, "sid");
}

enum pa_secrecy pa_mask_is_secret(const uint8_t *name, size_t length)
{
    char folded[NAME_MAX_BYTES];
    char *end = folded, *word = folded;     /* word: where the last one begins */
    int found = 0;
    if (length > NAME_MAX_BYTES) {
        name += length - NAME_MAX_BYTES;
        length = NAME_MAX_BYTES;
    }
    if (length < 2 || (length == 3 && memcmp(name, "PWD", 3) == 0) || (length == 6 && memcmp(name, "OLDPWD", 6) == 0))
        return PA_NOT_SECRET;
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
        return PA_NOT_SECRET;
    found |= is_secret_last_word(word, end);
    for (const char *at = folded; !found && at + 3 <= end; at++)
        found = begins_secret_part(at, end);
    if (!found)
        return PA_NOT_SECRET;
    return ENDS(folded, end, "tokens") || ENDS(folded, end, "cookies") ? PA_SECRET_UNLESS_COUNT : PA_SECRET;
}

enum pa_secrecy pa_mask_is_option(const uint8_t *word, size_t length)
{
    const uint8_t *name = word, *end = word + length;
    while (name < end && *name == '-')
        name++;
    if (name == word || end - name < 3 || BEGINS(name, end, "no-") || BEGINS(name, end, "ask-"))
        return PA_NOT_SECRET;
    return pa_mask_is_secret(name, (size_t)(end - name));
}

int pa_mask_is_harmless(enum pa_secrecy secrecy, const uint8_t *value, size_t length)
{
    char word[8], *end = word;
    int number = 1;
    while (length && strchr(",;)]}", value[length - 1]) && value[length - 1])
        length--;
    if (!length || length > 6)
        return 0;
    for (size_t i = 0; i < length; i++) {
        number &= is_digit(value[i]);
        *end++ = (char)to_lower(value[i]);
    }
    return (number && secrecy == PA_SECRET_UNLESS_COUNT) || EQUALS(word, end, "true") || EQUALS(word, end, "false") ||
           EQUALS(word, end, "none") || EQUALS(word, end, "null") || EQUALS(word, end, "yes") ||
           EQUALS(word, end, "no");
}

/* text */

struct scan {
    const uint8_t *text;
    size_t length;
    int cut;
    struct pa_span *spans;
    size_t count;
    size_t position;            /* everything before it is dealt with */
    int no_options;          /* options are not looked at */
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

/* The userinfo of what begins at `start`, behind :// or, without a scheme, at the beginning of the text. */
static void mask_authority(struct scan *scan, size_t start, int scheme)
{
    const uint8_t *text = scan->text;
    size_t end = start, at = 0;
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
    if (!scheme && (!password || (at && at < password)))
        return;                                     /* host:port, joe@host, git@host:path */
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
    uint8_t option;             /* it is --name, and the next word is the value */
    enum pa_secrecy secrecy;
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
        if (key->option && is_quote(c) && (at + 1 == scan->length || !is_name_character(text[at + 1])))
            break;                                  /* of the command around it */
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
    if (end > scan->length)
        end = scan->length;
    if ((scan->cut && end == scan->length) || !pa_mask_is_harmless(key->secrecy, text + start, end - start))
        add_span(scan, start, end);
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

/* From `from` on, a dash that begins a word. */
static size_t find_option(const struct scan *scan, size_t from)
{
    size_t at = scan->no_options ? scan->length : find_byte(scan, from, '-');
    while (at < scan->length && at > 0 && is_name_character(scan->text[at - 1]))
        at = find_byte(scan, at + 1, '-');
    return at;
}

/* --name value; and --name in quotes, then perhaps a comma: lists made text */
static void mask_option(struct scan *scan, size_t start)
{
    const uint8_t *text = scan->text;
    struct key key = {.start = start, .end = start, .option = 1};
    uint8_t before = start > 0 ? text[start - 1] : 0;
    while (key.end < scan->length && is_name_character(text[key.end]))
        key.end++;
    size_t gap = key.end;
    int quoted = is_quote(before) && gap < scan->length && text[gap] == before;
    key.closed = before == '[' || before == '(' || before == '{';
    gap += (size_t)quoted;
    if (gap >= scan->length || !(is_blank(text[gap]) || (quoted && text[gap] == ',')))
        return;
    size_t value = gap + 1;
    while (value < scan->length && (is_blank(text[value]) || is_quote(text[value])))
        value++;
    if (value + 1 < scan->length && text[value] == '-' && text[value + 1] == '-')
        return;                                     /* another option */
    key.secrecy = pa_mask_is_option(text + key.start, key.end - key.start);
    if (key.secrecy)
        mask_value(scan, gap, &key);
}

static int is_token_character(uint8_t c)
{
    return is_name_character(c) || c == '~' || c == '+' || c == '/' || c == '=';
}

/* Does base64 of some length stand here, and not a word of a sentence? */
static int is_base64(const uint8_t *text, size_t length)
{
    int odd = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '_' || text[i] == '-' || text[i] == '.' || text[i] == '~')
            return 0;
        odd |= !is_lower(text[i] | (i == 0 ? 0x20 : 0));
    }
    return odd && length >= 8 && length % 4 == 0;
}

/* From `from` on, this letter where it begins `Bearer` or `Basic` and a blank. */
static size_t find_scheme_of(const struct scan *scan, size_t from, int letter)
{
    const uint8_t *text = scan->text;
    for (size_t at = from; (at = find_byte(scan, at, letter)) < scan->length; at++) {
        size_t length = scan->length - at > 5 && is_blank(text[at + 5]) ? 5 : 6;
        if ((at == 0 || !is_name_character(text[at - 1])) && is_scheme(scan, at, at + length))
            return at;
    }
    return scan->length;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static size_t find_scheme(const struct scan *scan, size_t from)
{
    return least(find_scheme_of(scan, from, 'B'), find_scheme_of(scan, from, 'b'));
}

/* Bearer and Basic, when what follows looks like a token or `Authorization` stands before. */
static void mask_token(struct scan *scan, size_t word)
{
    const uint8_t *text = scan->text;
    size_t start = word, end;
    while (!is_blank(text[start]))
        start++;
    int bearer = start - word == 6;
    while (start < scan->length && is_blank(text[start]))
        start++;
    for (end = start; end < scan->length && is_token_character(text[end]);)
        end++;
    struct key before = {.end = word};
    while (before.end > 0 && is_blank(text[before.end - 1]))
        before.end--;
    int rest = scan->cut && end == scan->length;
    if (rest || takes_line(scan, &before) || (bearer ? end - start >= 16 : is_base64(text + start, end - start)))
        add_span(scan, start, end);
}

/* name=value, name: value and ://userinfo@ */
static void mask_separated(struct scan *scan, size_t separator)
{
    const uint8_t *text = scan->text;
    if (text[separator] == ':' && begins_url(scan, separator)) {
        mask_authority(scan, separator + 3, 1);
        return;
    }
    struct key key = find_key(scan, separator);
    /* `/etc/passwd: No such file` tells of a path, not a password */
    if (key.start >= key.end || (text[separator] == ':' && key.start > 0 && text[key.start - 1] == '/'))
        return;
    key.secrecy = pa_mask_is_secret(text + key.start, key.end - key.start);
    if (key.secrecy)
        mask_value(scan, separator, &key);
}

static size_t mask_from(struct scan *scan, size_t from)
{
    size_t equals = find_byte(scan, from, '='), colon = find_byte(scan, from, ':');
    size_t option = find_option(scan, from), scheme = find_scheme(scan, from);
    for (;;) {
        size_t at = least(least(equals, colon), least(option, scheme));
        if (at >= scan->length)
            return scan->count;
        if (at == option)
            mask_option(scan, at);
        else if (at == scheme)
            mask_token(scan, at);
        else
            mask_separated(scan, at);
        size_t next = scan->position > at ? scan->position : at + 1;
        if (equals < next)
            equals = find_byte(scan, next, '=');
        if (colon < next)
            colon = find_byte(scan, next, ':');
        if (option < next)
            option = find_option(scan, next);
        if (scheme < next)
            scheme = find_scheme(scan, next);
    }
}

size_t pa_mask_text(const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans)
{
    struct scan scan = {.text = text, .length = length, .cut = cut, .spans = ret_spans};
    return mask_from(&scan, 0);
}

size_t pa_mask_values(const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans)
{
    struct scan scan = {.text = text, .length = length, .cut = cut, .spans = ret_spans, .no_options = 1};
    return mask_from(&scan, 0);
}

/* Does the text begin with a scheme, in upper or lower case? */
static int has_scheme(const uint8_t *text, size_t length, const char *scheme)
{
    for (size_t i = 0; scheme[i]; i++)
        if (i >= length || to_lower(text[i]) != (uint8_t)scheme[i])
            return 0;
    return 1;
}

size_t pa_mask_url(const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans)
{
    struct scan scan = {.text = text, .length = length, .cut = cut, .spans = ret_spans};
    if (!has_scheme(text, length, "mailto:"))
        mask_authority(&scan, 0, 0);
    return mask_from(&scan, scan.position);
}

size_t pa_mask_path(const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans)
{
    struct scan scan = {.text = text, .length = length, .cut = cut, .spans = ret_spans};
    for (size_t colon = 0; (colon = find_byte(&scan, colon, ':')) < length;) {
        if (begins_url(&scan, colon))
            mask_authority(&scan, colon + 3, 1);
        colon = scan.position > colon ? scan.position : colon + 1;
    }
    if (!has_scheme(text, length, "file:"))
        return scan.count;
    size_t query = find_byte(&scan, 0, '?');
    return mask_from(&scan, query > scan.position ? query : scan.position);
}
