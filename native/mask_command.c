/* Secrets in commands and in lines of mail, FTP and news protocols: see mask.h.
 *
 * A word of a command is masked when an option before it wants a secret there
 * (`--password X`), or from where its secret begins (`-pX`, `pass:X`). Which
 * letters mean a secret is told by the program: any word with the file name of
 * a program of the table below makes it the current one, so that `sudo mysql -pX`
 * and `docker exec db mysql -pX` are understood. */
#include "mask.h"

#include <string.h>

#define NESTED_MAX 3            /* commands quoted inside commands: sh -c "ssh host 'mysql -pX'" */

enum { ATTACHED_ONLY = 1, AFTER_LOGIN = 2, ENDS_AT_OPERAND = 4 };

struct pa_program {
    const char *names;          /* file names, each with a space before and after */
    const char *letters;        /* options whose value is secret: -uX, -u X, and last in -su X */
    const char *options;        /* long ones that do not have a secret name, each between spaces */
    const char *prefix;         /* of words that are secret after it */
    int flags;                  /* ATTACHED_ONLY: -pX, never -p X; AFTER_LOGIN: of the subcommand login;
                                   ENDS_AT_OPERAND: what follows is another command */
};

static const struct pa_program programs[] = {
    {" curl ", "uUb", " user proxy-user ", NULL, 0},
    {" sshpass ", "p", "", NULL, ENDS_AT_OPERAND},
    {" mysql mysqladmin mysqlcheck mysqldump mysqlimport mysqlshow mysqlslap mariadb mariadb-admin "
     "mariadb-dump mycli ", "p", "", NULL, ATTACHED_ONLY},
    {" mongo mongosh mongodump mongoexport mongoimport mongorestore mongostat twine rdesktop useradd "
     "usermod ncftp ncftpget ncftpput evil-winrm ", "p", "", NULL, 0},
    {" docker podman nerdctl helm oras buildah skopeo crane az cf oc ", "p", "", NULL, AFTER_LOGIN},
    {" redis-cli http https xh xhs ", "a", "", NULL, 0},
    {" ldapsearch ldapadd ldapmodify ldapdelete ldapwhoami ldapcompare ", "w", "", NULL, 0},
    {" ldappasswd ", "wsa", "", NULL, 0},
    {" zip unzip zipcloak sqlcmd bcp isql tsql ipmitool ", "P", "", NULL, 0},
    {" 7z 7za 7zr rar unrar ", "p", "", NULL, ATTACHED_ONLY},
    {" ssh-keygen ", "NP", "", NULL, 0},
    {" lftp ", "u", "", NULL, 0},
    {" smbclient rpcclient smbget ", "U", " user ", NULL, 0},
    {" snmpget snmpgetnext snmpwalk snmpset snmpbulkget snmpbulkwalk snmptrap snmptable ",
     "AXc", "", NULL, 0},
    {" openssl ", "kK", " k K ", "pass:", 0},
    {" xfreerdp xfreerdp3 wlfreerdp wlfreerdp3 freerdp ", "", "", "/p:", 0},
};

/* Is the word one of those in a list, each with a space before and after? */
static int listed(const char *list, const uint8_t *word, size_t length)
{
    if (!length || memchr(word, 0, length))
        return 0;
    for (const char *at = list; *at; at++)
        if (at[0] == ' ' && (uint8_t)at[1] == word[0] && strncmp(at + 1, (const char *)word, length) == 0 &&
            at[1 + length] == ' ')
            return 1;
    return 0;
}

static const struct pa_program *find_program(const uint8_t *word, size_t length)
{
    for (size_t i = length; i-- > 0;)
        if (word[i] == '/') {
            word += i + 1;
            length -= i + 1;
            break;
        }
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        if (listed(programs[i].names, word, length))
            return &programs[i];
    return NULL;
}

static int is_letter(uint8_t c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

static int begins(const uint8_t *word, size_t length, const char *prefix)
{
    size_t n = strlen(prefix);
    return length >= n && memcmp(word, prefix, n) == 0;
}

static int is(const uint8_t *word, size_t length, const char *text)
{
    return length == strlen(text) && begins(word, length, text);
}

#define NOTHING SIZE_MAX

static int has_letter(const struct pa_argv *argv, uint8_t letter)
{
    const struct pa_program *program = argv->program;
    if (!program || !letter || ((program->flags & AFTER_LOGIN) && !argv->login))
        return 0;
    return strchr(program->letters, letter) != NULL;
}

/* -p and its kind: where in the word the secret begins, or NOTHING. */
static size_t take_letters(struct pa_argv *argv, const uint8_t *word, size_t length)
{
    if (has_letter(argv, word[1]) && length > 2)
        return 2;
    for (size_t i = 1; i < length; i++)         /* letters without values, then one with */
        if (length > 6 || !is_letter(word[i]))
            return NOTHING;
    if (has_letter(argv, word[length - 1]) && !(argv->program->flags & ATTACHED_ONLY))
        argv->pending = PA_SECRET;
    return NOTHING;
}

static size_t take_option(struct pa_argv *argv, const uint8_t *word, size_t length)
{
    size_t dashes = word[1] == '-' ? 2 : 1, end = dashes;
    while (end < length && word[end] != '=' && word[end] != ':')
        end++;
    const uint8_t *name = word + dashes;
    size_t name_length = end - dashes;
    if (argv->program && listed(argv->program->options, name, name_length)) {
        if (end < length)
            return end + 1;
        argv->pending = PA_SECRET;
        return NOTHING;
    }
    if (dashes == 1 && has_letter(argv, word[1]))
        return take_letters(argv, word, length);
    if (end == length)
        argv->pending = pa_mask_is_option(word, length);
    if (argv->pending)
        return NOTHING;
    return dashes == 1 ? take_letters(argv, word, length) : NOTHING;
}

/* name=value and --name=value with a secret name: all of the word after it is the value. */
static size_t find_assigned(const uint8_t *word, size_t length)
{
    size_t end = 0;
    while (end < length && (is_letter(word[end]) || strchr("0123456789_-.", word[end])) && word[end])
        end++;
    enum pa_secrecy secrecy = end < length && word[end] == '=' ? pa_mask_is_secret(word, end) : PA_NOT_SECRET;
    if (!secrecy)
        return NOTHING;
    end++;
    if (pa_mask_is_harmless(secrecy, word + end, length - end))
        return NOTHING;
    int empty = end + 2 == length && word[end] == word[end + 1] && (word[end] == '"' || word[end] == '\'');
    return empty ? NOTHING : end;
}

/* Takes one word, without quotes around it, and returns where in it a secret begins, or NOTHING. */
static size_t take_word(struct pa_argv *argv, const uint8_t *word, size_t length)
{
    enum pa_secrecy pending = argv->pending;
    argv->pending = PA_NOT_SECRET;
    if (pending && !begins(word, length, "--") && !pa_mask_is_harmless(pending, word, length))
        return 0;
    size_t assigned = find_assigned(word, length);
    if (assigned != NOTHING)
        return assigned;
    if (length > 1 && word[0] == '-')
        return take_option(argv, word, length);
    if (argv->program && argv->program->prefix && begins(word, length, argv->program->prefix))
        return strlen(argv->program->prefix);
    const struct pa_program *program = find_program(word, length);
    if (program || (argv->program && (argv->program->flags & ENDS_AT_OPERAND))) {
        argv->program = program;
        argv->login = 0;
        return NOTHING;
    }
    argv->login |= is(word, length, "login");
    /* aws configure set aws_secret_access_key X */
    if (argv->setting)
        argv->pending = pa_mask_is_secret(word, length);
    argv->setting |= is(word, length, "set") || is(word, length, "config");
    return NOTHING;
}

/* spans that are found from left to right */
struct spans {
    struct pa_span *list;
    size_t count, length;       /* length: of the text */
};

static void add(struct spans *spans, size_t start, size_t end)
{
    struct pa_span *last = spans->count ? &spans->list[spans->count - 1] : NULL;
    if (last && start <= last->end) {
        if (end > last->end)
            last->end = end;
    } else if (spans->count == PA_SPANS_MAX) {
        last->end = spans->length;
    } else if (start < end) {
        spans->list[spans->count++] = (struct pa_span){start, end};
    }
}

static int ends_command(uint8_t c)
{
    return c == ';' || c == '|' || c == '&' || c == '(' || c == ')' || c == '\n' || c == '`';
}

/* The words of text[at..end) as a shell parts them. */
static void scan_command(struct spans *spans, const uint8_t *text, size_t at, size_t end, int nested)
{
    struct pa_argv argv = {0};
    while (at < end) {
        uint8_t c = text[at], quote = 0;
        if (c == ' ' || c == '\t' || c == '\r' || ends_command(c)) {
            if (ends_command(c))
                argv = (struct pa_argv){0};
            at++;
            continue;
        }
        size_t start = at, opened = 0;
        int inner = 0;          /* it has white space between quotes: perhaps a command */
        for (; at < end; at++) {
            c = text[at];
            if (quote) {
                inner |= c == ' ';
                if (c == quote)
                    quote = 0;
                else if (c == '\\' && quote == '"' && at + 1 < end)
                    at++;
            } else if (c == '"' || c == '\'') {
                quote = c;
                if (!opened)
                    opened = at + 1;
            } else if (c == '\\' && at + 1 < end) {
                at++;
            } else if (c == ' ' || c == '\t' || c == '\r' || ends_command(c)) {
                break;
            }
        }
        size_t lead = opened == start + 1, tail = lead && at > start + 1 && text[at - 1] == text[start];
        size_t secret = take_word(&argv, text + start + lead, at - start - lead - tail);
        if (secret != NOTHING)
            add(spans, secret ? start + lead + secret : start, secret ? at - tail : at);
        else if (inner && nested < NESTED_MAX)
            scan_command(spans, text, opened, at, nested + 1);
    }
}

/* Both kinds of secrets together. */
static size_t merge(const struct pa_span *texts, size_t text_count, const struct spans *words, size_t length,
                    struct pa_span *ret_spans)
{
    struct spans merged = {ret_spans, 0, length};
    size_t a = 0, b = 0;
    while (a < text_count || b < words->count) {
        int text_first = b == words->count || (a < text_count && texts[a].start <= words->list[b].start);
        const struct pa_span *next = text_first ? &texts[a++] : &words->list[b++];
        add(&merged, next->start, next->end);
    }
    return merged.count;
}

size_t pa_mask_command(const uint8_t *text, size_t length, int cut, struct pa_span *ret_spans)
{
    struct pa_span texts[PA_SPANS_MAX], list[PA_SPANS_MAX];
    struct spans words = {list, 0, length};
    size_t count = pa_mask_values(text, length, cut, texts);
    scan_command(&words, text, 0, length, 0);
    return merge(texts, count, &words, length, ret_spans);
}

size_t pa_mask_argument(struct pa_argv *argv, const uint8_t *text, size_t length, int cut,
                        struct pa_span *ret_spans)
{
    size_t secret = take_word(argv, text, length);
    if (secret == 0) {                          /* all of it, even of nothing */
        ret_spans[0] = (struct pa_span){0, length};
        return length > 0;
    }
    struct pa_span texts[PA_SPANS_MAX], list[PA_SPANS_MAX];
    struct spans words = {list, 0, length};
    size_t count = pa_mask_values(text, length, cut, texts);
    if (secret != NOTHING)
        add(&words, secret, length);
    else if (length && memchr(text, ' ', length))
        scan_command(&words, text, 0, length, 1);
    return merge(texts, count, &words, length, ret_spans);
}

/* lines of protocols: verbs between spaces */

static const char harmless_verbs[] =
    " ABOR ALLO APPE APPEND ARTICLE BODY CAPA CAPABILITIES CAPABILITY CDUP CHECK CLOSE COPY CREATE CWD"
    " DATA DATE DELE DELETE EHLO ENABLE EPRT EPSV EXAMINE EXPN EXPUNGE FEAT FETCH GROUP HDR HEAD HELO HELP"
    " IDLE IHAVE LAST LHLO LIST LISTGROUP LOGOUT LSUB MAIL MDTM MKD MLSD MLST MODE MOVE NAMESPACE"
    " NEWGROUPS NEWNEWS NEXT NLST NOOP OPTS OVER PASV PBSZ PORT POST PROT PWD QUIT RCPT REIN RENAME REST"
    " RETR RMD RNFR RNTO RSET SEARCH SELECT SIZE SLAVE SMNT SORT STARTTLS STAT STATUS STLS STOR STORE STOU"
    " STRU SUBSCRIBE SYST THREAD TOP TYPE UID UIDL UNSELECT UNSUBSCRIBE USER UTF8 VRFY XHDR XMKD XOVER"
    " XPWD XRMD ";
static const char login_verbs[] = " ACCT ADAT APOP AUTH AUTHENTICATE AUTHINFO LOGIN PASS RPOP SITE XAUTH ";

static int is_verb(const char *list, const uint8_t *word, size_t length)
{
    uint8_t upper[16] = {0};
    if (length > sizeof upper)
        return 0;
    for (size_t i = 0; i < length; i++)
        upper[i] = word[i] >= 'a' && word[i] <= 'z' ? word[i] & 0xDF : word[i];
    return listed(list, upper, length);
}

/* imaplib puts a tag before the verb: letters from A to P, then digits */
static size_t tag_length(const uint8_t *text, size_t length)
{
    size_t letters = 0, end;
    while (letters < length && text[letters] >= 'A' && text[letters] <= 'P')
        letters++;
    end = letters;
    while (end < length && text[end] >= '0' && text[end] <= '9')
        end++;
    return letters && end > letters && end < length && text[end] == ' ' ? end + 1 : 0;
}

int pa_mask_line(const uint8_t *text, size_t length, struct pa_span *ret_spans, size_t *ret_count)
{
    *ret_count = 0;
    while (length && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        length--;
    if (!length || memchr(text, '\n', length) || memchr(text, '\r', length))
        return 0;
    size_t start = tag_length(text, length), end = start;
    while (end < length && text[end] != ' ')
        end++;
    if (is_verb(login_verbs, text + start, end - start)) {
        if (end + 1 < length)
            ret_spans[(*ret_count)++] = (struct pa_span){end + 1, length};
        return 1;
    }
    if (!is_verb(harmless_verbs, text + start, end - start))
        return 0;
    *ret_count = pa_mask_text(text, length, 0, ret_spans);
    return 1;
}
