/* Finding secrets in text, so that they are not written down.
 *
 * What counts as secret is told by names and words before it; looks of a value
 * only tell what is harmless, and a token from the next word of a sentence. A name is
 * secret (pa_mask_is_secret) when, in lower case and without _ - and . ,
 * - it contains one of: password passwd pwd passphrase passcode passkey secret
 *   token apikey accesskey accountkey authkey encryptionkey masterkey privatekey
 *   sessionkey sharedkey signingkey storepass keypass authorization bearer
 *   credential cookie csrf sessionid sessid (but secretary and tokeniz... are
 *   other words); or
 * - one of its words (parted by _ - . or a change of case) is: auth jwt pass pw
 *   psk sig signature otp totp; or the last one is: session sid;
 * but not when its last word is one of: count file jar length method name path
 * prompt stdin type; nor for the variables PWD and OLDPWD.
 *
 * Harmless values (pa_mask_is_harmless) stay under any name: true false none null
 * yes no, in any case and without quotes; and under names that end in `tokens` or
 * `cookies` numbers of at most six digits.
 *
 * In text (pa_mask_text) these are secret:
 * - the value of `name=value` and `name: value` with a secret name. The name may
 *   be quoted or be a subscript (["name"]); = == => := : all do. A quoted value
 *   ends at its closing quote, a bracketed one at its bracket, another one at
 *   white space, comma, semicolon or &; but where a quote opens before the name
 *   and closes later, it ends there and not at white space. A scheme (Bearer,
 *   Basic ...) takes the next word along.
 * - for names that end in `authorization` or `cookie`: all to the end of the line;
 * - the word after an option with a secret name (`--password X`, `-password X`),
 *   but not after --no-... and --ask-..., nor when it begins with -- itself;
 * - the word after Bearer, if it has sixteen characters or more, and after Basic,
 *   if it looks like base64; any word after `Authorization Bearer` and ... `Basic`;
 * - the userinfo of URLs: what stands between :// and @.
 * A value that is cut off or never closed is secret to the end of the text.
 *
 * In hosts, addresses and URLs (pa_mask_url) also `user:password` before an @ at
 * the beginning, without a scheme; not in mailto:.
 *
 * In paths (pa_mask_path) only the userinfo of URLs, and what is secret in the
 * query of file: URIs, which SQLite takes.
 *
 * In command lines (pa_mask_command, pa_mask_argument) `name=value` reaches to
 * the end of its word, and secret are also the values of options with a secret
 * name (`--password X`) and of the options that are known to carry one
 * (`curl -u`, `mysql -p`, ...; mask_command.c has the list).
 *
 * Each function writes the secret parts into ret_spans, at most PA_SPANS_MAX,
 * in order, not empty, not overlapping; it returns how many. Where there are
 * more, the last one reaches to the end of the text. `cut` says that the text
 * went on. Plain C on bytes (UTF-8): nothing is allocated or called.
 */
#ifndef PA_MASK_H
#define PA_MASK_H

#include <stddef.h>
#include <stdint.h>

#define PA_SPANS_MAX 32

struct pa_span {
    size_t start, end;          /* bytes */
};

enum pa_secrecy {
    PA_NOT_SECRET,
    PA_SECRET,
    PA_SECRET_UNLESS_COUNT      /* max_tokens=100 */
};

enum pa_secrecy pa_mask_is_secret(const uint8_t *name, size_t length);

/* The same for a word that may be an option, -name or --name; not secret when it is none. */
enum pa_secrecy pa_mask_is_option(const uint8_t *word, size_t length);

/* May this value of a secret name be written? What closes it ( , ; ) ] } ) may follow. */
int pa_mask_is_harmless(enum pa_secrecy secrecy, const uint8_t *value, size_t length);

size_t pa_mask_text(const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans);

/* The same without options: for commands, of which more is known. */
size_t pa_mask_values(const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans);

size_t pa_mask_url(const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans);

size_t pa_mask_path(const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans);

/* A command line as a shell reads it, several commands and quoted ones included. */
size_t pa_mask_command(const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans);

/* The arguments of a command, one after the other; begin with zeroes. */
struct pa_argv {
    const struct pa_program *program;   /* whose options are meant */
    enum pa_secrecy pending;            /* what the next argument is */
    uint8_t login;                      /* the subcommand `login` was seen */
    uint8_t setting;                    /* the word `set` or `config` was seen */
};

size_t pa_mask_argument(struct pa_argv *argv, const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans);

/* A line of SMTP, IMAP, POP, FTP or NNTP as a client sends it.
 * Returns 1 when it may be written, with the secret parts in ret_spans (verbs
 * that log in keep the verb only), or 0 when it may not: not one line, or it
 * does not begin with a verb that is known (message text, answers to a
 * challenge, what is typed into a terminal). */
int pa_mask_line(const uint8_t *text, size_t length, struct pa_span *ret_spans, size_t *ret_count);

#endif
