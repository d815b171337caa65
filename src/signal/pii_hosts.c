/* signal/pii_hosts.c -- e-mail addresses, host names and URLs.
 *
 * All three end in a host name, so one reader of host names serves them: labels of letters, digits and hyphens (RFC 1123) or of
 * letters of any script (RFC 5890), the last one a top-level domain when nothing else tells that this is a name. */
#include "signal/pii_internal.h"

static unsigned char byte_at(str text, size_t at)
{
    return at < text.len ? (unsigned char)text.ptr[at] : 0;
}

/* Bytes of a letter, digit or combining mark at `at`, 0 if none. */
static size_t letter_at(str text, size_t at)
{
    unsigned char c = byte_at(text, at);
    if (c < 0x80)
        return utf8_ascii_alnum(c);
    size_t next = at;
    return utf8_is_alnum(utf8_next(text, &next)) ? next - at : 0;
}

struct host { size_t end, last; unsigned labels; bool has_letter, last_is_alpha; };

/* Labels and dots from `at` on. `end` is behind the last label, `last` where that begins. */
static struct host read_host(str text, size_t at)
{
    enum { HOST_MAX = 253 };                            /* RFC 1035 */
    struct host h = { .end = at };
    size_t from = at;
    while (at - from < HOST_MAX) {
        size_t label = at, bytes;
        bool is_alpha = true;
        while (at - from < HOST_MAX) {
            unsigned char c = byte_at(text, at);
            bytes = (at > label && c == '-') || c == '_' ? 1 : letter_at(text, at);
            if (bytes == 0)
                break;
            h.has_letter |= c >= 0x80 || (unsigned)(c | 32) - 'a' < 26u;
            is_alpha &= c >= 0x80 || (unsigned)(c | 32) - 'a' < 26u;
            at += bytes;
        }
        while (at > label && byte_at(text, at - 1) == '-')
            at--;
        if (at == label)
            break;
        h.labels++;
        h.last = label;
        h.end = at;
        h.last_is_alpha = is_alpha;
        if (byte_at(text, at) != '.' || !letter_at(text, at + 1))
            break;
        at++;
    }
    return h;
}

/* Top-level domains that are seen in texts; the root zone has a thousand more that hardly are. Those that are endings of file
 * names as often (md, py, rs, sh, pl, so, zip, mov, ...) need "www." or a scheme. */
static bool is_top_level(str s)
{
    static const char table[] =
        " com org net edu gov mil int info biz name pro io ai app dev me tv co us uk de fr es it nl be ch at se no fi dk "
        "cz sk hu ro bg gr pt ie ru ua by kz tr il ae sa qa eg ma za ng ke gh in pk bd lk cn hk tw jp kr sg my th vn id "
        "ph au nz ca mx br ar cl pe uy ec ve eu asia online site store shop xyz tech cloud blog live news club space "
        "website agency design studio email gmbh berlin london paris tokyo nyc is lt lv ee si hr rs lu li mt cy gg im to "
        "fm ly gl tel mobi travel jobs museum coop aero cat example ";
    if (s.len < 2 || s.len > 8)
        return (unsigned char)s.ptr[0] >= 0x80 && s.len < 40;
    if ((unsigned char)s.ptr[0] >= 0x80)
        return true;
    char word[12] = " ";
    for (size_t i = 0; i < s.len; i++)
        word[i + 1] = (char)(s.ptr[i] | 32);
    word[s.len + 1] = ' ';
    return strstr(table, word) != NULL;
}

static bool is_local(unsigned char c)                   /* RFC 5322 atext and '.' */
{
    return utf8_ascii_alnum(c) || c >= 0x80 || (c && strchr(".!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

bool email_guess(str text, size_t at, size_t *start, struct pii_guess *g)
{
    enum { LOCAL_MAX = 64 };                            /* RFC 5321 */
    size_t from = at;
    if (from > 0 && text.ptr[from - 1] == '"') {    /* "quoted"@host */
        size_t open = from - 1;
        while (open > 0 && from - open < LOCAL_MAX && text.ptr[open - 1] != '"' && text.ptr[open - 1] != '\n')
            open--;
        if (open > 0 && text.ptr[open - 1] == '"' && from - open > 1)
            from = open - 1;
    } else {
        while (from > 0 && at - from < LOCAL_MAX && is_local((unsigned char)text.ptr[from - 1]))
            from--;
        while (from < at && ((unsigned char)text.ptr[from] & 0xC0) == 0x80)
            from++;
        /* what rarely begins an address but often stands before one: quotes, equals, slashes */
        for (size_t i = from; i < at; i++) {
            if (strchr("'=/`{|}?&!*", text.ptr[i]) && text.ptr[i])
                from = i + 1;
        }
        while (from < at) {
            size_t next = from;
            uint32_t code = utf8_next(text, &next);
            if (code < 0x80 ? utf8_ascii_alnum((unsigned char)code) || code == '_' || code == '+' : utf8_is_letter(code))
                break;
            from = next;
        }
    }
    struct host h = read_host(text, at + 1);
    if (from == at || text.ptr[at - 1] == '.' || h.labels < 2 || !h.has_letter || !h.last_is_alpha || h.end - h.last < 2)
        return false;
    str top = { text.ptr + h.last, h.end - h.last };
    *start = from;
    *g = (struct pii_guess){ .end = h.end, .score = is_top_level(top) ? .99f : .9f, .type = PII_EMAIL_ADDRESS };
    return true;
}

bool host_guess(str text, size_t at, size_t *end, struct pii_guess *g)
{
    static const str schemes[] = {
        { "https://", 8 }, { "http://", 7 }, { "ftp://", 6 }, { "ssh://", 6 }, { "wss://", 6 }, { "ws://", 5 },
    };
    str rest = str_from(text, at);
    size_t from = at;
    for (size_t i = 0; i < COUNT_OF(schemes) && from == at; i++) {
        if (rest.len > schemes[i].len && str_ieq(str_upto(rest, schemes[i].len), schemes[i]))
            from += schemes[i].len;
    }
    bool has_scheme = from > at;
    struct host h = read_host(text, from);
    *end = h.end;
    if (h.labels < 2 || !h.has_letter || byte_at(text, h.end) == '@')
        return false;
    str top = { text.ptr + h.last, h.end - h.last };
    bool has_www = h.end - from > 4 && strncasecmp(text.ptr + from, "www.", 4) == 0;
    bool is_call = byte_at(text, h.end) == '(' || byte_at(text, h.end) == '_';
    if (!h.last_is_alpha || (!has_scheme && !has_www && (!is_top_level(top) || is_call)))
        return false;
    if (has_scheme || byte_at(text, h.end) == '/' || byte_at(text, h.end) == ':') {      /* the path belongs to it */
        enum { URL_MAX = 2048 };
        size_t tail = h.end;
        size_t limit = text.len - at < URL_MAX ? text.len : at + URL_MAX;
        while (tail < limit && (unsigned char)text.ptr[tail] > ' ' && !strchr("<>\"`\\^{}|", text.ptr[tail]))
            tail++;
        while (tail > h.end && strchr(".,;:!?')]", text.ptr[tail - 1]))
            tail--;
        *end = tail;
    }
    *g = (struct pii_guess){ .end = h.end, .score = PII_MENTION, .type = PII_DOMAIN_NAME };
    return true;
}
