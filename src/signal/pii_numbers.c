/* signal/pii_numbers.c -- groups of digits: cards, telephones, dates, identity numbers, IPv4.
 *
 * A number is read once as groups and the separators between them; its shape, written like "3-3-4" or "+2 1 2 2 2 2", is
 * compared with a table. A shape says what the number may be, a check (Luhn, area codes, a calendar) whether it can be, and the
 * word beside it whether it is: the same digits score higher with "call me at" before them and nothing at all behind "order". */
#include "signal/pii_internal.h"

#include <assert.h>


/* ---- reading ---- */

static size_t separator(str text, size_t at, char *kind)
{
    /* Bytes taken by one separator, or by ") " and the like, which count as ')'. *kind: ' ' - . / ( ) */
    static const struct { const char *bytes; uint8_t len; char kind; } table[] = {
        { ") ", 2, ')' }, { ").", 2, ')' }, { ")-", 2, ')' }, { ")/", 2, ')' }, { ")", 1, ')' }, { " (", 2, '(' },
        { "(", 1, '(' }, { "-(", 2, '(' },
        { " / ", 3, '/' }, { " - ", 3, 0 }, { "/", 1, '/' }, { "-", 1, '-' }, { ".", 1, '.' },
        { " ", 1, ' ' }, { "\xC2\xA0", 2, ' ' }, { "\xE2\x80\xAF", 3, ' ' }, { "\xE2\x80\x89", 3, ' ' },
        { "\xE2\x80\x91", 3, '-' }, { "\xE2\x80\x90", 3, '-' }, { "\xE2\x80\x93", 3, '-' },
    };
    unsigned char c = (unsigned char)text.ptr[at];
    if (c != ' ' && c != '-' && c != '.' && c != '/' && c != '(' && c != ')' && c < 0x80)
        return 0;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (str_starts(str_from(text, at), (str){ table[i].bytes, table[i].len })) {
            *kind = table[i].kind;
            return table[i].kind ? table[i].len : 0;
        }
    }
    return 0;
}

static bool is_digit(str text, size_t at)
{
    return at < text.len && (unsigned)(unsigned char)text.ptr[at] - '0' < 10u;
}

static bool is_wordy(str text, size_t at)
{
    return at < text.len && (utf8_ascii_alnum((unsigned char)text.ptr[at]) || text.ptr[at] == '_');
}

static bool grows_from_left(str text, size_t at)
{
    if (at == 0)
        return false;
    char c = text.ptr[at - 1];
    if (is_wordy(text, at - 1) || c == '$' || c == '%' || c == '\\' || c == '#')
        return true;
    if (at < 2 || !c || !strchr("-./,:+@", c))
        return false;
    return c == ':' || c == ',' ? is_digit(text, at - 2) : is_wordy(text, at - 2);      /* "tel:0123", but 12:30 and 1,234 */
}

bool number_read(struct number *n, str text, size_t at)
{
    n->n = 0;
    n->start = at;
    n->is_chained = grows_from_left(text, at);
    uint8_t total = 0, opened = 0;
    char before = 0;
    if (text.ptr[at] == '(' && ++at < text.len && !is_digit(text, at) && text.ptr[at] != '+')
        return false;
    if (at > n->start)
        before = '(';
    if (at < text.len && text.ptr[at] == '+') {
        at++;
        before = '+';
    }
    while (n->n < GROUPS_MAX && is_digit(text, at)) {
        size_t from = at;
        while (is_digit(text, at) && total + (at - from) < DIGITS_MAX)
            at++;
        if (is_digit(text, at))
            break;                              /* too long for anything we know */
        bool is_cut = is_wordy(text, at) && (text.ptr[at] | 32) != 'x' && (text.ptr[at] | 32) != 'e';
        if (at < text.len && (unsigned char)text.ptr[at] >= 0x80) {
            size_t next = at;
            uint32_t code = utf8_next(text, &next);
            is_cut = utf8_is_letter(code) && !utf8_is_cjk(code);
        }
        if (is_cut)
            break;                              /* "12ab" is no number */
        memcpy(n->digits + total, text.ptr + from, at - from);
        total = (uint8_t)(total + (at - from));
        n->before[n->n] = before;
        n->len[n->n] = (uint8_t)(at - from);
        n->total[n->n] = total;
        n->end[n->n++] = at;
        if (at >= text.len)
            break;
        size_t bytes = separator(text, at, &before);
        opened += bytes > 0 && before == '(';
        if (bytes == 0 || opened > 2 || !is_digit(text, at + bytes))
            break;
        at += bytes;
    }
    n->digits[total] = 0;
    n->before[n->n] = 0;
    if (n->n && is_digit(text, at) && at > n->end[n->n - 1])
        n->before[n->n] = before;               /* it goes on */
    return n->n > 0;
}

/* ---- checks ---- */

bool luhn_is_valid(const char *digits, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned d = (unsigned)(digits[n - 1 - i] - '0');
        sum += i % 2 == 0 ? d : d < 5 ? 2 * d : 2 * d - 9;
    }
    return sum % 10 == 0;
}

static unsigned value(const char *digits, size_t n)
{
    unsigned v = 0;
    for (size_t i = 0; i < n; i++)
        v = v * 10 + (unsigned)(digits[i] - '0');
    return v;
}

static bool all_same(const char *d, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (d[i] != d[0])
            return false;
    }
    return true;
}

/* Sum of digit times weight. */
static unsigned weighted(const char *d, const uint8_t *weights, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (unsigned)(d[i] - '0') * weights[i];
    return sum;
}

static unsigned remainder_of(const char *d, size_t n, unsigned modulus)
{
    unsigned r = 0;
    for (size_t i = 0; i < n; i++)
        r = (r * 10 + (unsigned)(d[i] - '0')) % modulus;
    return r;
}

static bool is_day(unsigned year, unsigned month, unsigned day)
{
    static const uint8_t days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    return year >= 1850 && year <= 2100 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
}

/* ISO/IEC 7812 issuer ranges of networks in use: first digits from..to, lengths as a bit set. */
static bool check_card(const char *d, size_t n)
{
    enum { L13 = 1 << 13, L14 = 1 << 14, L15 = 1 << 15, L16 = 1 << 16, L19 = 1 << 19, L16_19 = 15 << 16 };
    static const struct { uint16_t from, to; uint32_t lengths; } issuers[] = {
        { 4000, 4999, L13 | L16 | L19 },                                /* Visa */
        { 5100, 5599, L16 }, { 2221, 2720, L16 },                       /* Mastercard */
        { 3400, 3499, L15 }, { 3700, 3799, L15 },                       /* American Express */
        { 6011, 6011, L16_19 }, { 6440, 6599, L16_19 },                 /* Discover */
        { 3528, 3589, L16_19 },                                         /* JCB */
        /* Diners */
        { 3000, 3059, L14 | L16 }, { 3095, 3095, L14 | L16 }, { 3600, 3699, L14 | L16 }, { 3800, 3999, L14 | L16 },
        { 6200, 6299, L16_19 }, { 8100, 8171, L16_19 },                 /* UnionPay */
        { 2200, 2204, L16_19 },                                         /* Mir */
        { 5018, 5099, L13 | L14 | L15 | L16_19 }, { 5600, 5899, L13 | L14 | L15 | L16_19 },    /* Maestro */
        { 6000, 6010, L16_19 }, { 6012, 6199, L16_19 }, { 6300, 6439, L16_19 }, { 6700, 6799, L13 | L14 | L15 | L16_19 },
        { 1800, 1800, L15 }, { 2131, 2131, L15 }, { 2014, 2014, L15 }, { 2149, 2149, L15 },     /* old JCB, enRoute */
    };
    if (n < 13 || n > 19 || !luhn_is_valid(d, n) || (d[4] == '0' && all_same(d + 4, n - 5)))
        return false;                   /* round numbers; of ones, twos, fours and fives are the numbers that everybody tests with */
    unsigned head = value(d, 4);
    for (size_t i = 0; i < COUNT_OF(issuers); i++) {
        if (head >= issuers[i].from && head <= issuers[i].to)
            return issuers[i].lengths >> n & 1;
    }
    return false;
}

/* Maestro has twelve digits, too: too few checks to believe without a word beside it. */
static bool check_luhn(const char *d, size_t n)
{
    return luhn_is_valid(d, n) && !all_same(d, n);
}

/* Rules of the Social Security Administration: no area 000, 666, 9xx; no group 00; no serial 0000. 9xx with groups 50-99 is an
 * ITIN. */
static bool check_ssn(const char *d, size_t n)
{
    unsigned area = value(d, 3), group = value(d + 3, 2);
    if (n != 9 || group == 0 || value(d + 5, 4) == 0 || area == 0 || area == 666 || all_same(d, 9))
        return false;
    return area < 900 || group >= 50;
}

/* Numbering plan of North America: area and exchange begin with 2-9; N11 codes are services. */
static bool check_nanp(const char *d, size_t n)
{
    while (n > 10 && (*d == '0' || *d == '1'))
        d++, n--;
    return n == 10 && d[0] >= '2' && d[3] >= '2' && !(d[1] == '1' && d[2] == '1');
}

static bool check_nanp_loose(const char *d, size_t n)
{
    while (n > 10 && (*d == '0' || *d == '1'))
        d++, n--;
    return n == 10 && d[0] >= '2';
}

static bool check_trunk(const char *d, size_t n)        /* national numbers behind a trunk zero */
{
    return n >= 8 && n <= 12 && d[0] == '0' && d[1] != '0';
}

static bool check_mobile(const char *d, size_t n)       /* nine digits without trunk: Spain, Portugal, Poland, Czechia ... */
{
    return n == 9 && d[0] >= '2' && !all_same(d, 9) && d[0] != '0';
}

static bool check_china(const char *d, size_t n)
{
    return n == 11 && d[0] == '1' && d[1] >= '3';
}

static bool check_india(const char *d, size_t n)
{
    return n == 10 && d[0] >= '6';
}

static bool check_brazil(const char *d, size_t n)       /* two digits of area, mobiles have a 9 */
{
    return d[0] != '0' && d[1] != '0' && (n == 10 || (n == 11 && d[2] == '9'));
}

static bool check_russia(const char *d, size_t n)
{
    return n == 11 && (d[0] == '8' || d[0] == '7') && (d[1] == '9' || d[1] == '4' || d[1] == '8' || d[1] == '3');
}

/* Country codes of ITU-T E.164, as assigned. */
static size_t country_code(const char *d, size_t n)
{
    static const char two[] = "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 "
                              "66 81 82 84 86 90 91 92 93 94 95 98 ";
    if (n >= 1 && (d[0] == '1' || d[0] == '7'))
        return 1;
    if (n < 3 || d[0] == '0')
        return 0;
    for (const char *p = two; *p; p += 3) {
        if (p[0] == d[0] && p[1] == d[1])
            return 2;
    }
    unsigned three = value(d, 3);
    bool is_assigned = (three >= 211 && three <= 269) || three == 290 || three == 291 || (three >= 297 && three <= 299) ||
                       (three >= 350 && three <= 389) || (three >= 420 && three <= 423) || (three >= 500 && three <= 509) ||
                       (three >= 590 && three <= 599) || (three >= 670 && three <= 692) || (three >= 800 && three <= 888) ||
                       (three >= 960 && three <= 998);
    return is_assigned ? 3 : 0;
}

static bool check_international(const char *d, size_t n)
{
    while (n && *d == '0')                              /* 00 instead of + */
        d++, n--;
    size_t code = country_code(d, n);
    if (code == 0 || n > 15 || n - code < 6)
        return false;
    return *d != '1' || n == 11;
}

/* National identity numbers with check digits. */
static bool check_cpf(const char *d, size_t n)          /* Brazil: two check digits modulo 11 */
{
    if (n != 11 || all_same(d, n))
        return false;
    for (size_t k = 9; k < 11; k++) {
        unsigned sum = 0;
        for (size_t i = 0; i < k; i++)
            sum += (unsigned)(d[i] - '0') * (unsigned)(k + 1 - i);
        if (sum * 10 % 11 % 10 != (unsigned)(d[k] - '0'))
            return false;
    }
    return true;
}

static bool check_nir(const char *d, size_t n)          /* France: sex, year, month, place, order; key = 97 - number mod 97 */
{
    unsigned month = value(d + 3, 2);
    bool is_month = (month >= 1 && month <= 12) || (month >= 20 && month <= 42) || month >= 50;
    return (n == 15 && (d[0] == '1' || d[0] == '2') && is_month && 97 - remainder_of(d, 13, 97) == value(d + 13, 2));
}

static bool check_pesel(const char *d, size_t n)        /* Poland; the month carries the century */
{
    static const uint8_t weights[] = { 1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1 };
    return n == 11 && is_day(2000, value(d + 2, 2) % 20, value(d + 4, 2)) && weighted(d, weights, 11) % 10 == 0;
}

static bool check_personnummer(const char *d, size_t n) /* Sweden: YYMMDDNNNC by Luhn; 60 is added to the day for some */
{
    if (n == 12)
        d += 2, n -= 2;
    return n == 10 && is_day(2000, value(d + 2, 2), value(d + 4, 2) % 60) && luhn_is_valid(d, 10);
}

static bool check_bsn(const char *d, size_t n)          /* Netherlands: the eleven test */
{
    static const uint8_t weights[] = { 9, 8, 7, 6, 5, 4, 3, 2 };
    return n == 9 && weighted(d, weights, 8) % 11 == (unsigned)(d[8] - '0') && !all_same(d, 9);
}

static bool check_china_id(const char *d, size_t n)     /* place, date of birth, order, check digit modulo 11 (X: pii_codes.c) */
{
    static const uint8_t weights[] = { 7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2 };
    return n == 18 && is_day(value(d + 6, 4), value(d + 10, 2), value(d + 12, 2)) &&
           (12 - weighted(d, weights, 17) % 11) % 11 == (unsigned)(d[17] - '0');
}

static bool check_korea(const char *d, size_t n)
{
    return n == 13 && is_day(2000, value(d + 2, 2), value(d + 4, 2)) && d[6] >= '1' && d[6] <= '8';
}

static bool check_aadhaar(const char *d, size_t n)      /* India: Verhoeff's dihedral check */
{
    static const uint8_t times[10][10] = {
        { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 }, { 1, 2, 3, 4, 0, 6, 7, 8, 9, 5 }, { 2, 3, 4, 0, 1, 7, 8, 9, 5, 6 },
        { 3, 4, 0, 1, 2, 8, 9, 5, 6, 7 }, { 4, 0, 1, 2, 3, 9, 5, 6, 7, 8 }, { 5, 9, 8, 7, 6, 0, 4, 3, 2, 1 },
        { 6, 5, 9, 8, 7, 1, 0, 4, 3, 2 }, { 7, 6, 5, 9, 8, 2, 1, 0, 4, 3 }, { 8, 7, 6, 5, 9, 3, 2, 1, 0, 4 },
        { 9, 8, 7, 6, 5, 4, 3, 2, 1, 0 },
    };
    static const uint8_t turn[10] = { 1, 5, 7, 6, 2, 8, 3, 0, 9, 4 };
    unsigned check = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(d[n - 1 - i] - '0');
        for (size_t k = 0; k < i % 8; k++)
            digit = turn[digit];
        check = times[check][digit];
    }
    return n == 12 && d[0] >= '2' && check == 0;
}

static bool check_swiss(const char *d, size_t n)        /* AHV number: an EAN-13 that begins with 756 */
{
    static const uint8_t weights[] = { 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1 };
    return n == 13 && value(d, 3) == 756 && weighted(d, weights, 13) % 10 == 0;
}

static bool check_birth_order(const char *d, size_t n)  /* DDMMYY and an order number: Nordic countries, Belgium (YYMMDD) */
{
    unsigned month = value(d + 2, 2);
    return (n == 10 || n == 11) && (is_day(2000, month, value(d, 2) % 40) || is_day(2000, month, value(d + 4, 2)));
}

static bool check_belgium(const char *d, size_t n)
{
    unsigned key = 97 - remainder_of(d, 9, 97), later = 97 - (2 * 1000000000u % 97 + remainder_of(d, 9, 97)) % 97;
    return n == 11 && (value(d + 9, 2) == key || value(d + 9, 2) == later);
}

/* Dates. */
static bool check_ymd(const char *d, size_t n)
{
    return n >= 6 && is_day(value(d, 4), value(d + 4, n == 8 ? 2 : 1), n == 8 ? value(d + 6, 2) : value(d + 5, n - 5));
}

static bool check_dmy4(const char *d, size_t n)         /* day and month in either order, two digits each */
{
    unsigned year = value(d + n - 4, 4), a = value(d, 2), b = value(d + 2, 2);
    return n == 8 && (is_day(year, b, a) || is_day(year, a, b));
}

static bool check_dmy2(const char *d, size_t n)
{
    unsigned a = value(d, 2), b = value(d + 2, 2);
    return n == 6 && (is_day(2000, b, a) || is_day(2000, a, b));
}

/* one digit of day or month, or both: the groups are checked by the year alone */
static bool check_dmy_short(const char *d, size_t n)
{
    unsigned year = value(d + n - 4, 4);
    return n >= 6 && year >= 1850 && year <= 2100;
}

/* ---- shapes ---- */

/* 1-9 A-K: that many digits; s: a space, hyphen or dot, the same in the whole shape; z: hyphen or space, any; the rest as in
 * number.before. ')' stands for ") " and ")-" as well. */
struct shape {
    const char *form;
    bool (*check)(const char *digits, size_t n);
    float alone, beside;                        /* score without and with one of the words below */
    enum pii_type type;
    uint32_t words;
};

#define CARD PII_CREDIT_CARD, BIT(WORD_CARD) | BIT(WORD_ACCOUNT)
#define PHONE PII_PHONE_NUMBER, BIT(WORD_PHONE)
#define ID PII_NATIONAL_ID, BIT(WORD_ID) | BIT(WORD_SSN)
#define DATE PII_DATE_TIME, BIT(WORD_BIRTH)

static const struct shape shapes[] = {
    /* longest first where one is the beginning of another */
    { "4s4s4s4s3", check_card, .9f, 1, CARD }, { "4s4s4s4", check_card, .95f, 1, CARD },
    { "4s6s5", check_card, .95f, 1, CARD },
    { "4s6s4", check_card, .9f, 1, CARD },      { "6sD", check_card, .7f, .95f, CARD },
    { "G", check_card, .75f, 1, CARD }, { "F", check_card, .7f, 1, CARD }, { "E", check_card, .35f, .95f, CARD },
    { "D", check_card, .35f, .95f, CARD }, { "J", check_card, .6f, .95f, CARD },
    { "C", check_luhn, 0, .8f, PII_CREDIT_CARD, BIT(WORD_CARD) },
    { "H", check_card, .4f, .9f, CARD }, { "I", check_card, .4f, .9f, CARD },
    { "4s4s4", check_luhn, 0, .8f, PII_CREDIT_CARD, BIT(WORD_CARD) },
    { "4s4s4s1", check_card, .5f, .95f, CARD }, { "4s3s3s3", check_card, .5f, .95f, CARD },

    { "3-2-4", check_ssn, .85f, 1, PII_US_SSN, BIT(WORD_SSN) | BIT(WORD_ID) },
    { "3 2 4", check_ssn, .5f, .95f, PII_US_SSN, BIT(WORD_SSN) | BIT(WORD_ID) },
    { "9", check_ssn, 0, .9f, PII_US_SSN, BIT(WORD_SSN) },

    { "3.3.3-2", check_cpf, .95f, 1, ID },          { "3 3 3 2", check_cpf, .7f, .95f, ID },
    { "1 2 2 2 3 3 2", check_nir, .98f, 1, ID },    { "D 2", check_nir, .98f, 1, ID },          { "F", check_nir, .9f, 1, ID },
    { "6-4", check_personnummer, .9f, 1, ID },      { "8-4", check_personnummer, .95f, 1, ID },
    { "6-7", check_korea, .85f, .95f, ID },         { "I", check_china_id, .98f, 1, ID },
    { "4 4 4", check_aadhaar, .75f, .98f, ID },     { "C", check_aadhaar, 0, .95f, ID },
    { "3.4.4.2", check_swiss, 1, 1, ID },           { "D", check_swiss, .9f, 1, ID },
    { "2.2.2-3.2", check_belgium, .95f, 1, ID },    { "6-5", check_birth_order, .4f, .9f, ID },
    { "B", check_pesel, .45f, .95f, ID },           { "B", check_cpf, .6f, .95f, ID },
    { "9", check_bsn, 0, .95f, ID }, { "3.3.3", check_bsn, .5f, .95f, ID }, { "4.2.3", check_bsn, .5f, .95f, ID },
    { "6 4", check_birth_order, 0, .9f, ID },       { "6 5", check_birth_order, 0, .9f, ID },

    { "4-2-2", check_ymd, .4f, .95f, DATE }, { "4/2/2", check_ymd, .4f, .95f, DATE }, { "4.2.2", check_ymd, .4f, .95f, DATE },
    { "4/1/2", check_ymd, .4f, .9f, DATE },         { "4/1/1", check_ymd, .4f, .9f, DATE },
    { "2/2/4", check_dmy4, .4f, .95f, DATE }, { "2.2.4", check_dmy4, .4f, .95f, DATE },
    { "2-2-4", check_dmy4, .4f, .95f, DATE },
    { "1/2/4", check_dmy_short, .4f, .9f, DATE },   { "1.2.4", check_dmy_short, .4f, .9f, DATE },
    { "2/1/4", check_dmy_short, .4f, .9f, DATE },   { "2.1.4", check_dmy_short, .4f, .9f, DATE },
    { "1/1/4", check_dmy_short, .4f, .9f, DATE },   { "1.1.4", check_dmy_short, .4f, .9f, DATE },
    { "1-1-4", check_dmy_short, .4f, .9f, DATE },   { "1-2-4", check_dmy_short, .4f, .9f, DATE },
    { "2 2 4", check_dmy4, 0, .9f, DATE }, { "8", check_ymd, 0, .9f, DATE }, { "8", check_dmy4, 0, .85f, DATE },
    { "2/2/2", check_dmy2, 0, .85f, DATE }, { "2.2.2", check_dmy2, 0, .85f, DATE }, { "2-2-2", check_dmy2, 0, .85f, DATE },

    { "1s3s3s4", check_nanp, .85f, .98f, PHONE },   { "001s3s3s4", check_nanp, .85f, .98f, PHONE },
    { "3s3s3s4", check_nanp, .85f, .98f, PHONE },   { "1(3)3s4", check_nanp, .9f, .98f, PHONE },
    { "(3)3s4", check_nanp_loose, .85f, .98f, PHONE },      { "(3)7", check_nanp, .8f, .95f, PHONE },
    { "3s3s4", check_nanp, .7f, .98f, PHONE }, { "3/3s4", check_nanp, .7f, .95f, PHONE },
    { "A", check_nanp, .35f, .9f, PHONE },
    { "2s2s2s2s2", check_trunk, .8f, .98f, PHONE }, { "4s2s2s2", check_trunk, .75f, .98f, PHONE },
    { "3s3s2s2", check_trunk, .75f, .98f, PHONE },  { "2s3s2s2", check_trunk, .75f, .98f, PHONE },
    { "(3)4s4", check_trunk, .8f, .98f, PHONE }, { "(4)3s4", check_trunk, .8f, .98f, PHONE },
    { "(5)6", check_trunk, .75f, .98f, PHONE },
    { "(5)5", check_trunk, .7f, .95f, PHONE }, { "3s4s4", check_trunk, .7f, .98f, PHONE },
    { "4s3s4", check_trunk, .7f, .98f, PHONE },
    { "5s6", check_trunk, .6f, .95f, PHONE }, { "5s3s3", check_trunk, .7f, .98f, PHONE },
    { "4s3s3", check_trunk, .7f, .98f, PHONE },
    { "2s4s4", check_trunk, .65f, .95f, PHONE }, { "3s7", check_trunk, .55f, .95f, PHONE },
    { "4s6", check_trunk, .55f, .95f, PHONE },
    { "4z3 2", check_trunk, .7f, .95f, PHONE },     { "3z3 2 2", check_trunk, .75f, .95f, PHONE },
    { "2z3 3 2", check_trunk, .7f, .95f, PHONE },   { "3z2 2 2", check_trunk, .7f, .95f, PHONE },
    { "2z8", check_trunk, .55f, .95f, PHONE }, { "3s8", check_trunk, .55f, .95f, PHONE },
    { "4s7", check_trunk, .55f, .95f, PHONE },
    { "4/6", check_trunk, .7f, .95f, PHONE }, { "4/7", check_trunk, .7f, .95f, PHONE },
    { "3/8", check_trunk, .7f, .95f, PHONE },
    { "(4)6", check_trunk, .75f, .95f, PHONE }, { "(5)7", check_trunk, .7f, .95f, PHONE },
    { "(3)8", check_trunk, .7f, .95f, PHONE },
    { "(2)4-4", check_brazil, .85f, .98f, PHONE },  { "(2)5-4", check_brazil, .85f, .98f, PHONE },
    { "2 5-4", check_brazil, .7f, .98f, PHONE },    { "2 4-4", check_brazil, .6f, .95f, PHONE },
    { "3 3 3", check_mobile, .45f, .95f, PHONE },   { "3-3-3", check_mobile, .45f, .95f, PHONE },
    { "3 2 2 2", check_mobile, .6f, .95f, PHONE },  { "2 3 2 2", check_mobile, .5f, .95f, PHONE },
    { "3 3 4", check_china, .5f, .95f, PHONE }, { "3s4s4", check_china, .75f, .98f, PHONE },
    { "B", check_china, .35f, .95f, PHONE },
    { "5 5", check_india, .55f, .95f, PHONE },      { "5-5", check_india, .5f, .95f, PHONE },
    { "1(3)3s2s2", check_russia, .9f, .98f, PHONE },
    { "1s3s3s2s2", check_russia, .85f, .98f, PHONE },
};

/* Shapes that begin with the same character, as lists in the order of the table. */
enum { NO_SHAPE = 255 };
static uint8_t first_shape[128], next_shape[COUNT_OF(shapes)];

void number_prepare(void)
{
    memset(first_shape, NO_SHAPE, sizeof first_shape);
    for (size_t i = COUNT_OF(shapes); i-- > 0;) {
        next_shape[i] = first_shape[(unsigned char)shapes[i].form[0]];
        first_shape[(unsigned char)shapes[i].form[0]] = (uint8_t)i;
    }
}

static_assert(COUNT_OF(shapes) < NO_SHAPE, "shapes are numbered by bytes");

static unsigned form_digits(char c)
{
    return c >= '1' && c <= '9' ? (unsigned)(c - '0') : c >= 'A' && c <= 'K' ? (unsigned)(c - 'A') + 10 : 0;
}

/* How many groups of the number the form takes; 0: does not fit. */
static unsigned form_fits(const char *form, const struct number *n)
{
    unsigned g = 0;
    char same = 0, before = 0;
    for (; *form; form++) {
        unsigned len = form_digits(*form);
        if (form[0] == '0') {                           /* "001": literally */
            if (g >= n->n || n->len[g] != 3 || memcmp(n->digits, "001", 3) != 0)
                return 0;
            len = 3, form += 2;
        }
        if (len == 0) {
            before = *form;
            continue;
        }
        if (g >= n->n || n->len[g] != len)
            return 0;
        char real = n->before[g];
        if (before == 's') {
            if ((real != ' ' && real != '-' && real != '.') || (same && same != real))
                return 0;
            same = real;
        } else if (before == 'z' ? real != '-' && real != ' ' : real != before) {
            return 0;
        }
        before = 0;
        g++;
    }
    return g;
}

/* The number may go on behind its first `groups` only after a space. */
static bool ends_at(const struct number *n, unsigned groups)
{
    char next = n->before[groups];
    return next == 0 || next == ' ' || next == '(';
}

static bool is_beside(uint32_t words, enum pii_word context)
{
    return context < WORD_CONTEXTS && (words & BIT(context));
}

static bool take(struct pii_guess *g, float score, enum pii_type type, size_t end)
{
    if (score < PII_FLOOR || (g->score >= score))
        return false;
    *g = (struct pii_guess){ .end = end, .score = score, .type = type };
    return true;
}

static void guess_shapes(const struct number *n, char first, enum pii_word context, struct pii_guess *g)
{
    for (uint8_t i = first_shape[(unsigned char)first]; i != NO_SHAPE; i = next_shape[i]) {
        const struct shape *s = &shapes[i];
        unsigned groups = form_fits(s->form, n);
        if (groups == 0 || !ends_at(n, groups))
            continue;
        bool is_near = is_beside(s->words, context);
        if (!is_near && (s->alone == 0 || (context == WORD_OTHER && s->alone < .9f)))
            continue;
        if (!s->check(n->digits, n->total[groups - 1]))
            continue;
        enum pii_type type = s->type == PII_DATE_TIME && is_near ? PII_DATE_OF_BIRTH : s->type;
        take(g, is_near ? s->beside : s->alone, type, n->end[groups - 1]);
    }
}

/* "+" or "00", a country code, at most 15 digits in all. The most groups that still fit. */
static void guess_international(const struct number *n, enum pii_word context, struct pii_guess *g)
{
    bool has_plus = n->before[0] == '+';
    bool has_zeros = n->len[0] >= 2 && memcmp(n->digits, "00", 2) == 0;
    if (!has_plus && (!has_zeros || context == WORD_OTHER))
        return;
    for (unsigned groups = n->n; groups > 0; groups--) {
        size_t digits = n->total[groups - 1];
        if (!ends_at(n, groups) || digits > 17)
            continue;
        const char *d = n->digits;
        char packed[DIGITS_MAX];
        /* "+49(0)30 ..": the trunk zero in brackets is not dialled */
        if (groups > 2 && n->before[1] == '(' && n->len[1] == 1 && d[n->len[0]] == '0') {
            memcpy(packed, d, n->len[0]);
            memcpy(packed + n->len[0], d + n->len[0] + 1, digits - n->len[0] - 1);
            d = packed;
            digits--;
        }
        if (!check_international(d, digits))
            continue;
        take(g, context == WORD_PHONE ? .99f : has_plus ? .9f : .65f, PII_PHONE_NUMBER, n->end[groups - 1]);
        return;
    }
}

static void guess_ipv4(const struct number *n, enum pii_word context, struct pii_guess *g)
{
    if (n->n < 4 || n->before[0] != 0 || n->before[4] == '.' || n->before[4] == '-')
        return;
    unsigned largest = 0, at = 0, first = value(n->digits, n->len[0]);
    for (unsigned i = 0; i < 4; i++) {
        if ((i && n->before[i] != '.') || n->len[i] > 3 || (n->len[i] > 1 && n->digits[at] == '0'))
            return;
        unsigned octet = value(n->digits + at, n->len[i]);
        if (octet > 255)
            return;
        largest = octet > largest ? octet : largest;
        at += n->len[i];
    }
    float alone = largest < 64 ? .4f : .85f;            /* 1.2.3.4 is a version as often */
    if (context == WORD_OTHER && largest < 100)
        return;
    if (first == 0 || first == 127 || first == 255) {   /* nobody's: this host, a mask */
        take(g, PII_MENTION, PII_IP_ADDRESS, n->end[3]);
        return;
    }
    take(g, context == WORD_IP ? .95f : context == WORD_OTHER ? .6f : alone, PII_IP_ADDRESS, n->end[3]);
}

bool context_guess(enum pii_word context, uint32_t n_digits, uint32_t n_letters, struct pii_guess *g)
{
    static const struct { uint8_t digits_min, digits_max, letters_max; float score; enum pii_type type; } rows[WORD_CONTEXTS] = {
        [WORD_PHONE]    = { 6, 15, 0, .85f, PII_PHONE_NUMBER },
        [WORD_CARD]     = { 13, 19, 0, .6f, PII_CREDIT_CARD },         /* mistyped: the checksum fails */
        [WORD_ID]       = { 5, 18, 6, .85f, PII_NATIONAL_ID },
        [WORD_SSN]      = { 8, 15, 4, .8f, PII_US_SSN },
        [WORD_PASSPORT] = { 5, 12, 4, .9f, PII_PASSPORT },
        [WORD_LICENSE]  = { 5, 18, 8, .85f, PII_US_DRIVER_LICENSE },
        [WORD_ACCOUNT]  = { 6, 20, 6, .85f, PII_ACCOUNT_NUMBER },
        [WORD_ZIP]      = { 4, 8, 2, .7f, PII_ZIP_CODE },
    };
    if (context >= WORD_CONTEXTS || rows[context].score == 0 || n_digits < rows[context].digits_min ||
        n_digits > rows[context].digits_max || n_letters > rows[context].letters_max)
        return false;
    g->score = rows[context].score;
    g->type = rows[context].type;
    return true;
}

static bool is_years(const struct number *n, unsigned groups)
{
    for (unsigned i = 0; i < groups; i++) {
        const char *d = n->digits + n->total[i] - n->len[i];
        if (n->len[i] != 4 || (memcmp(d, "19", 2) != 0 && memcmp(d, "20", 2) != 0))
            return false;
    }
    return groups <= 2;
}

/* Any grouping at all, when the word beside it says what it is. */
static void guess_context(const struct number *n, enum pii_word context, struct pii_guess *g)
{
    for (unsigned groups = n->n; groups > 0; groups--) {
        struct pii_guess c = { .end = n->end[groups - 1] };
        if (!ends_at(n, groups) || !context_guess(context, n->total[groups - 1], 0, &c))
            continue;
        if (groups == 2 && n->before[1] == '.' && (n->len[0] < 3 || n->len[1] < 3))     /* a decimal fraction */
            continue;
        if (is_years(n, groups) || (context == WORD_PHONE && groups == 2 && n->len[0] == 5 && n->len[1] == 4))
            continue;                                   /* "2005-2022", a long ZIP */
        take(g, c.score, c.type, c.end);
        return;
    }
}

bool number_guess(const struct number *n, enum pii_word context, struct pii_guess *g)
{
    *g = (struct pii_guess){ 0 };
    if (n->is_chained)
        return false;
    guess_international(n, context, g);
    if (g->score == 0)
        guess_ipv4(n, context, g);
    if (n->before[0] == 0 && n->len[0] < 20)
        guess_shapes(n, n->len[0] < 10 ? (char)('0' + n->len[0]) : (char)('A' + n->len[0] - 10), context, g);
    else if (n->before[0] == '(')
        guess_shapes(n, '(', context, g);
    if (n->len[0] == 3 && n->digits[0] == '0')
        guess_shapes(n, '0', context, g);               /* "001-..." */
    if (g->score < .8f && g->type != PII_DATE_TIME)
        guess_context(n, context, g);
    return g->score >= PII_FLOOR;
}
