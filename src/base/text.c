/* base/text.c */
#include "base/text.h"

#include <pthread.h>
#include <stdio.h>
#include <utf8proc.h>

#include "base/utf8.h"

/* ---- edit distance ---- */

enum { ROW_MAX = 256 };                 /* longer ones are compared in pieces of the band only */

/* One row of the matrix at a time, and of that only the diagonal band that can stay within the
 * limit. */
unsigned text_distance(const uint32_t *a, size_t na, const uint32_t *b, size_t nb, unsigned limit)
{
    if (na > nb) {
        const uint32_t *other = a;
        size_t n = na;
        a = b, na = nb;
        b = other, nb = n;
    }
    if (nb - na > limit || na >= ROW_MAX)
        return limit + 1;               /* words of that length are no keywords */
    unsigned row[ROW_MAX + 1];
    for (size_t i = 0; i <= na; i++)
        row[i] = (unsigned)i;
    for (size_t k = 1; k <= nb; k++) {
        unsigned diagonal = row[0], best;
        best = row[0] = (unsigned)k;
        for (size_t i = 1; i <= na; i++) {
            unsigned change = diagonal + (a[i - 1] != b[k - 1]);
            unsigned add = row[i] + 1, drop = row[i - 1] + 1;
            diagonal = row[i];
            row[i] = change < add ? change : add;
            row[i] = row[i] < drop ? row[i] : drop;
            best = best < row[i] ? best : row[i];
        }
        if (best > limit)
            return limit + 1;
    }
    return row[na] > limit ? limit + 1 : row[na];
}

uint32_t *text_codes(struct arena *a, str s, bool lower, size_t *n)
{
    uint32_t *codes = ARENA_ARRAY(a, uint32_t, s.len);
    *n = 0;
    for (size_t at = 0; at < s.len;) {
        uint32_t code = utf8_next(s, &at);
        codes[(*n)++] = lower ? utf8_lower(code) : code;
    }
    return codes;
}

/* ---- transliteration ---- */

struct readings { uint32_t first; const char *list; };  /* of consecutive code points, by commas */

static const struct readings tables[] = {
    { 0x0391, "A,V,G,D,E,Z,I,Th,I,K,L,M,N,Ks,O,P,R,,S,T,Y,F,Kh,Ps,O,I,Y,a,e,i,i,y,"
              "a,v,g,d,e,z,i,th,i,k,l,m,n,x,o,p,r,s,s,t,y,f,kh,ps,o,i,y,o,y,o" },
    { 0x0400, "E,Io,Dj,Gj,Ie,Dz,I,Yi,J,Lj,Nj,Ch,Kj,I,U,Dzh,"
              "A,B,V,G,D,E,Zh,Z,I,I,K,L,M,N,O,P,R,S,T,U,F,Kh,Ts,Ch,Sh,Shch,',Y,',E,Yu,Ya,"
              "a,b,v,g,d,e,zh,z,i,i,k,l,m,n,o,p,r,s,t,u,f,kh,ts,ch,sh,shch,',y,',e,yu,ya,"
              "e,io,dj,gj,ie,dz,i,yi,j,lj,nj,ch,kj,i,u,dzh" },
    { 0x3041, "a,a,i,i,u,u,e,e,o,o,ka,ga,ki,gi,ku,gu,ke,ge,ko,go,sa,za,shi,ji,su,zu,se,ze,so,zo,"
              "ta,da,chi,ji,tsu,tsu,zu,te,de,to,do,na,ni,nu,ne,no,ha,ba,pa,hi,bi,pi,fu,bu,pu,he,"
              "be,pe,ho,bo,po,ma,mi,mu,me,mo,ya,ya,yu,yu,yo,yo,ra,ri,ru,re,ro,wa,wa,wi,we,wo,n,vu" },
};
static const struct { uint32_t code; const char *reading; } singles[] = {
    { 0x00C6, "AE" }, { 0x00D0, "D" },  { 0x00D8, "O" },  { 0x00DE, "Th" }, { 0x00DF, "ss" },
    { 0x00E6, "ae" }, { 0x00F0, "d" },  { 0x00F8, "o" },  { 0x00FE, "th" }, { 0x0110, "D" },
    { 0x0111, "d" },  { 0x0126, "H" },  { 0x0127, "h" },  { 0x0131, "i" },  { 0x0141, "L" },
    { 0x0142, "l" },  { 0x0152, "OE" }, { 0x0153, "oe" }, { 0x0166, "T" },  { 0x0167, "t" },
    { 0x1E9E, "Ss" }, { 0x2010, "-" },  { 0x2011, "-" },  { 0x2012, "-" },  { 0x2013, "-" },
    { 0x2014, "--" }, { 0x2015, "--" }, { 0x2018, "'" },  { 0x2019, "'" },  { 0x201A, "," },
    { 0x201C, "\"" }, { 0x201D, "\"" }, { 0x201E, ",," }, { 0x2022, "*" },  { 0x2026, "..." },
    { 0x3001, ", " }, { 0x3002, ". " }, { 0x30FC, "-" },
};

static size_t ascii_put(char out[ASCII_MAX], const char *text, size_t len)
{
    len = len < ASCII_MAX ? len : ASCII_MAX;
    memcpy(out, text, len);
    return len;
}

/* The lists cut apart, once: a text is read letter by letter. */
enum { READINGS_MAX = 128, READING_MAX = 5 };

static struct { char text[READING_MAX]; uint8_t len; } cut[COUNT_OF(tables)][READINGS_MAX];
static pthread_once_t cut_once = PTHREAD_ONCE_INIT;

static void cut_tables(void)
{
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        str rest = str_of(tables[i].list);
        for (size_t k = 0; rest.len && k < READINGS_MAX; k++) {
            str reading = str_cut(&rest, ',');
            cut[i][k].len = (uint8_t)reading.len;
            memcpy(cut[i][k].text, reading.ptr, reading.len);
        }
    }
}

static bool ascii_table(uint32_t code, char out[ASCII_MAX], size_t *n)
{
    pthread_once(&cut_once, cut_tables);
    if (code >= 0x30A1 && code <= 0x30F4)
        code -= 0x60;                   /* Katakana read like Hiragana */
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        uint32_t k = code - tables[i].first;
        if (k < READINGS_MAX && cut[i][k].len) {
            *n = ascii_put(out, cut[i][k].text, cut[i][k].len);
            return true;
        }
    }
    for (size_t i = 0; i < COUNT_OF(singles); i++) {
        if (singles[i].code == code) {
            *n = ascii_put(out, singles[i].reading, strlen(singles[i].reading));
            return true;
        }
    }
    return false;
}

/* Revised Romanization, letter by letter. */
static size_t ascii_hangul(uint32_t code, char out[ASCII_MAX])
{
    static const char *const first[] = {
        "g", "gg", "n", "d", "dd", "r", "m", "b", "bb", "s", "ss", "", "j", "jj", "c", "k", "t",
        "p", "h",
    };
    static const char *const middle[] = {
        "a", "ae", "ya", "yae", "eo", "e", "yeo", "ye", "o", "wa", "wae", "oe", "yo", "u", "weo",
        "we", "wi", "yu", "eu", "yi", "i",
    };
    static const char *const last[] = {
        "", "g", "gg", "gs", "n", "nj", "nh", "d", "l", "lg", "lm", "lb", "ls", "lt", "lp", "lh",
        "m", "b", "bs", "s", "ss", "ng", "j", "c", "k", "t", "p", "h",
    };
    uint32_t i = code - 0xAC00;
    char text[ASCII_MAX];
    int n = snprintf(text, sizeof text, "%s%s%s", first[i / 588], middle[i / 28 % 21],
                     last[i % 28]);
    return ascii_put(out, text, n < 0 ? 0 : (size_t)n);
}

/* "h20013 ": letters and digits, and no ending that English words have. */
static size_t ascii_number(uint32_t code, char before, char behind, char out[ASCII_MAX])
{
    char digits[8];
    size_t n = 0, len = 0;
    for (; code; code /= 10)
        digits[n++] = (char)('0' + code % 10);
    out[len++] = before;
    while (n)
        out[len++] = digits[--n];
    if (behind)
        out[len++] = behind;
    return len;
}

size_t text_ascii(uint32_t code, char out[ASCII_MAX])
{
    size_t n = 0;
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code - 0xAC00 < 11172)
        return ascii_hangul(code, out);
    if (utf8_is_han(code))
        return ascii_number(code, 'h', ' ', out);
    if (ascii_table(code, out, &n))
        return n;

    utf8proc_int32_t parts[18];         /* the longest decomposition of one code point */
    int boundary = 0;
    utf8proc_ssize_t n_parts = utf8proc_decompose_char((utf8proc_int32_t)code, parts,
        COUNT_OF(parts), UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_STRIPMARK, &boundary);
    for (utf8proc_ssize_t i = 0; i < n_parts && n_parts <= (utf8proc_ssize_t)COUNT_OF(parts); i++) {
        char one[ASCII_MAX];
        size_t len = 1;
        if (parts[i] < 0x80)
            one[0] = (char)parts[i];
        else if (!ascii_table((uint32_t)parts[i], one, &len))
            len = 0;
        if (n + len <= ASCII_MAX) {
            memcpy(out + n, one, len);
            n += len;
        }
    }
    if (n || n_parts == 0)
        return n;                       /* nothing: a combining mark */
    if (utf8_is_alnum(code))
        return ascii_number(code, 'x', '\0', out);
    return ascii_put(out, "[?]", 3);
}

/* ---- words ---- */

enum { LETTER = 1, DIGIT = 2, OTHER_PART = 4 };

static const uint8_t part_of[256] = {
    ['0' ... '9'] = DIGIT, ['A' ... 'Z'] = LETTER, ['a' ... 'z'] = LETTER, ['_'] = OTHER_PART,
};

/* Does a mark between two characters join them? */
static bool joins(unsigned char mark, unsigned before, unsigned behind)
{
    switch (mark) {
    case '\'': case '.': return (before & behind & LETTER) || (before & behind & DIGIT);
    case ':':            return before & behind & LETTER;
    case ',': case ';':  return before & behind & DIGIT;
    default:             return false;
    }
}

str text_word(str text, size_t *at)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    for (;;) {
        while (*at < text.len && !part_of[p[*at]])
            ++*at;
        size_t start = *at;
        unsigned seen = 0;
        while (*at < text.len) {
            unsigned part = part_of[p[*at]];
            if (!part && (*at == start || *at + 1 >= text.len
                          || !joins(p[*at], part_of[p[*at - 1]], part_of[p[*at + 1]])))
                break;
            seen |= part;
            ++*at;
        }
        if (seen & (LETTER | DIGIT) || *at == start)
            return (str){ text.ptr + start, *at - start };
    }
}
