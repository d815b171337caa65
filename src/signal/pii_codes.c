/* signal/pii_codes.c -- identifiers made of letters and digits: secrets, bank accounts, identity numbers, wallets, MAC and
 * IPv6.
 *
 * Issuers of secrets mark them with a prefix so that they can be found; banks and states add check digits. Both make an answer
 * that hardly needs context. What has neither is left to the words beside it. */
#include "signal/pii_internal.h"

#include <assert.h>

static unsigned char byte_at(str text, size_t at)
{
    return at < text.len ? (unsigned char)text.ptr[at] : 0;
}

static bool is_upper(unsigned char c) { return (unsigned)c - 'A' < 26u; }
static bool is_letter(unsigned char c) { return (unsigned)(c | 32) - 'a' < 26u; }
static bool is_digit(unsigned char c) { return (unsigned)c - '0' < 10u; }

static bool is_hex(unsigned char c)
{
    return is_digit(c) || (unsigned)(c | 32) - 'a' < 6u;
}

static int hex_value(unsigned char c)
{
    return is_digit(c) ? c - '0' : (c | 32) - 'a' + 10;
}

/* ---- secrets ---- */

enum body { BODY_BASE64, BODY_ALNUM, BODY_UPPER, BODY_HEX };

struct prefix { const char *text; uint8_t min; enum body body; float score; };

/* Prefixes as their issuers document them. `min` is well below the real length, for keys cut short in an example still tell the
 * rest. */
static const struct prefix prefixes[] = {
    { "AKIA", 14, BODY_ALNUM, .98f }, { "ASIA", 16, BODY_ALNUM, .95f }, { "AROA", 16, BODY_UPPER, .8f },
    { "AIDA", 16, BODY_UPPER, .8f },
    { "AIza", 30, BODY_BASE64, .98f }, { "ATATT3", 40, BODY_BASE64, .98f }, { "ATCTT3", 40, BODY_BASE64, .98f },
    { "dop_v1_", 40, BODY_HEX, .99f }, { "doo_v1_", 40, BODY_HEX, .99f }, { "dckr_pat_", 16, BODY_BASE64, .99f },
    { "dapi", 32, BODY_HEX, .95f }, { "dp.pt.", 20, BODY_ALNUM, .98f },
    { "EAACEdEose0cBA", 20, BODY_ALNUM, .95f }, { "eyJ", 60, BODY_BASE64, .6f },
    { "fw_", 20, BODY_ALNUM, .85f },
    { "ghp_", 16, BODY_ALNUM, .99f }, { "gho_", 16, BODY_ALNUM, .99f }, { "ghu_", 16, BODY_ALNUM, .99f },
    { "ghs_", 16, BODY_ALNUM, .99f },
    { "ghr_", 16, BODY_ALNUM, .99f }, { "github_pat_", 20, BODY_BASE64, .99f }, { "glpat-", 16, BODY_BASE64, .99f },
    { "gldt-", 16, BODY_BASE64, .97f }, { "glrt-", 16, BODY_BASE64, .97f }, { "glsa_", 20, BODY_BASE64, .98f },
    { "GOCSPX-", 20, BODY_BASE64, .98f },
    { "gsk_", 20, BODY_ALNUM, .97f },
    { "hf_", 20, BODY_ALNUM, .97f }, { "hvs.", 20, BODY_BASE64, .98f }, { "hvb.", 20, BODY_BASE64, .98f },
    { "key-", 32, BODY_ALNUM, .85f }, { "LTAI", 12, BODY_ALNUM, .8f }, { "lin_api_", 20, BODY_ALNUM, .98f },
    { "nvapi-", 20, BODY_BASE64, .98f }, { "npm_", 20, BODY_ALNUM, .97f }, { "ntn_", 20, BODY_ALNUM, .95f },
    { "pplx-", 20, BODY_ALNUM, .97f }, { "phc_", 20, BODY_ALNUM, .9f }, { "pk_live_", 10, BODY_ALNUM, .97f },
    { "pk_test_", 10, BODY_ALNUM, .9f },
    { "PMAK-", 20, BODY_BASE64, .98f }, { "pypi-", 40, BODY_BASE64, .98f }, { "pat-", 30, BODY_BASE64, .7f },
    { "pul-", 40, BODY_HEX, .95f },
    { "r8_", 20, BODY_ALNUM, .95f }, { "rk_live_", 10, BODY_ALNUM, .98f }, { "rk_test_", 10, BODY_ALNUM, .95f },
    { "rubygems_", 30, BODY_HEX, .98f },
    { "sk-ant-", 16, BODY_BASE64, .99f }, { "sk-proj-", 16, BODY_BASE64, .99f }, { "sk-or-", 16, BODY_BASE64, .99f },
    { "sk-svcacct-", 16, BODY_BASE64, .99f }, { "sk-", 16, BODY_BASE64, .97f }, { "sk_live_", 10, BODY_ALNUM, .99f },
    { "sk_test_", 10, BODY_ALNUM, .97f }, { "shpat_", 20, BODY_HEX, .99f }, { "shpss_", 20, BODY_HEX, .99f },
    { "shpca_", 20, BODY_HEX, .99f },
    { "SG.", 30, BODY_BASE64, .95f }, { "secret_", 30, BODY_ALNUM, .85f }, { "sq0atp-", 16, BODY_BASE64, .98f },
    { "sq0csp-", 20, BODY_BASE64, .98f },
    { "sgp_", 20, BODY_HEX, .9f }, { "sntrys_", 20, BODY_BASE64, .97f }, { "sbp_", 20, BODY_HEX, .97f },
    { "tfp_", 20, BODY_ALNUM, .9f }, { "tvly-", 16, BODY_BASE64, .97f }, { "tskey-", 16, BODY_BASE64, .97f },
    { "vercel_", 20, BODY_ALNUM, .9f }, { "whsec_", 16, BODY_BASE64, .98f }, { "waka_", 20, BODY_BASE64, .85f },
    { "xoxa-", 10, BODY_BASE64, .99f }, { "xoxb-", 10, BODY_BASE64, .99f }, { "xoxp-", 10, BODY_BASE64, .99f },
    { "xoxr-", 10, BODY_BASE64, .99f },
    { "xoxs-", 10, BODY_BASE64, .99f }, { "xoxe-", 10, BODY_BASE64, .99f }, { "xapp-", 10, BODY_BASE64, .98f },
    { "xai-", 20, BODY_BASE64, .97f },
    { "ya29.", 20, BODY_BASE64, .97f }, { "AGE-SECRET-KEY-1", 40, BODY_UPPER, .99f }, { "SK", 32, BODY_HEX, .8f },
};

/* Which pairs of first bytes any prefix has, by a hash of 8 bits. */
static uint64_t prefix_pairs[4];

static unsigned pair_of(unsigned char first, unsigned char second)
{
    return (first * 29u + second * 7u) & 255;
}

void code_prepare(void)
{
    for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
        unsigned pair = pair_of((unsigned char)prefixes[i].text[0], (unsigned char)prefixes[i].text[1]);
        prefix_pairs[pair / 64] |= UINT64_C(1) << pair % 64;
    }
}

static bool in_body(enum body body, unsigned char c)
{
    switch (body) {
    case BODY_BASE64: return is_letter(c) || is_digit(c) || c == '_' || c == '-';
    case BODY_ALNUM: return is_letter(c) || is_digit(c);
    case BODY_UPPER: return is_upper(c) || is_digit(c);
    default: return is_hex(c);
    }
}

/* Random characters mix: digits among letters, or both cases within. "sk-learn-pipeline-example" does not. */
bool text_looks_random(str s)
{
    uint32_t digits = 0, uppers = 0, lowers = 0, turns = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        digits += is_digit(c);
        uppers += is_upper(c);
        lowers += is_letter(c) && !is_upper(c);
        unsigned char before = i > 0 ? (unsigned char)s.ptr[i - 1] : 0;
        turns += is_letter(before) && !is_upper(before) && is_upper(c);
    }
    return (digits >= 2 && uppers + lowers >= 4) || turns >= 3 || (uppers && lowers && turns >= 2);
}

static size_t body_end(str text, size_t at, enum body body)
{
    enum { SECRET_MAX = 1024 };                         /* longer tokens are found to there */
    size_t from = at;
    while (at < text.len && at - from < SECRET_MAX && in_body(body, (unsigned char)text.ptr[at]))
        at++;
    while (at > from && (text.ptr[at - 1] == '-' || text.ptr[at - 1] == '_'))
        at--;
    return at;
}

/* Three base64url parts, the first a JSON object: RFC 7519. */
static bool jwt_guess(str text, size_t at, struct pii_guess *g)
{
    size_t end = body_end(text, at, BODY_BASE64);
    for (int dots = 0; dots < 2; dots++) {
        if (byte_at(text, end) != '.')
            return false;
        size_t next = body_end(text, end + 1, BODY_BASE64);
        if (next < end + 5)
            return dots == 1 && (end > at + 30);        /* the signature may be empty */
        end = next;
        *g = (struct pii_guess){ .end = end, .score = .95f, .type = PII_API_KEY };
    }
    return true;
}

static bool secret_guess(str text, size_t at, struct pii_guess *g)
{
    unsigned char first = byte_at(text, at), second = byte_at(text, at + 1);
    if (first == 'e' && second == 'y' && byte_at(text, at + 2) == 'J' && jwt_guess(text, at, g))
        return true;
    unsigned pair = pair_of(first, second);
    if (!(prefix_pairs[pair / 64] >> pair % 64 & 1))
        return false;
    for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
        const struct prefix *p = &prefixes[i];
        if ((unsigned char)p->text[0] != first || (unsigned char)p->text[1] != second)
            continue;
        str prefix = str_of(p->text), rest = str_from(text, at);
        if (!str_starts(rest, prefix))
            continue;
        size_t from = at + prefix.len, end = body_end(text, from, p->body);
        while (byte_at(text, end) == '.' && p->body == BODY_BASE64 && in_body(BODY_BASE64, byte_at(text, end + 1)) &&
               str_eq(prefix, S("SG.")))
            end = body_end(text, end + 1, p->body);
        if (end - from < p->min || is_letter(byte_at(text, end)) || is_digit(byte_at(text, end)))
            continue;
        str body = { text.ptr + from, end - from };
        if (!text_looks_random(body) && !(p->body == BODY_UPPER || (first == 'A' && second == 'K')))
            continue;
        *g = (struct pii_guess){ .end = end, .score = p->score, .type = PII_API_KEY };
        return true;
    }
    return false;
}

bool pem_guess(str text, size_t at, struct pii_guess *g)
{
    enum { PEM_MAX = 1 << 14 };
    str rest = str_upto(str_from(text, at), PEM_MAX), line = str_upto(rest, 64);
    if (!str_starts(line, S("-----BEGIN ")))
        return false;
    long key = str_find(line, S("PRIVATE KEY"));
    if (key < 0)
        return false;
    long stop = str_find(rest, S("-----END "));
    size_t end = stop < 0 ? (size_t)key + 16 : (size_t)stop + 9;
    if (stop >= 0) {
        long dashes = str_find(str_from(rest, end), S("-----"));
        end += dashes >= 0 && dashes < 64 ? (size_t)dashes + 5 : 0;
    }
    *g = (struct pii_guess){ .end = at + (end < rest.len ? end : rest.len), .score = .99f, .type = PII_PRIVATE_KEY };
    return true;
}

/* ---- bank accounts ---- */

/* Lengths of the IBAN registry (ISO 13616). */
static unsigned iban_length(const char *country)
{
    static const char table[] =
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22"
        "GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20"
        "MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26"
        "UA29VA22VG24XK20YE30";
    for (const char *p = table; *p; p += 4) {
        if (p[0] == country[0] && p[1] == country[1])
            return (unsigned)(p[2] - '0') * 10 + (unsigned)(p[3] - '0');
    }
    return 0;
}

static bool iban_guess(str text, size_t at, enum pii_word context, struct pii_guess *g)
{
    char country[2] = { (char)(byte_at(text, at) & ~32), (char)(byte_at(text, at + 1) & ~32) };
    unsigned want = iban_length(country), have = 0, rest = 0;
    if (want == 0)
        return false;
    size_t end = at, spaces = 0;
    char flat[40];
    while (have < want) {
        unsigned char c = byte_at(text, end);
        if (is_letter(c) || is_digit(c)) {
            flat[have++] = (char)(is_letter(c) ? c & ~32 : c);
            end++;
        } else if ((c == ' ' || c == '-') && have >= 4 && utf8_ascii_alnum(byte_at(text, end + 1))) {
            end++;
            spaces++;
        } else if (c == 0xC2 && byte_at(text, end + 1) == 0xA0 && have >= 4) {
            end += 2;
            spaces++;
        } else {
            break;
        }
    }
    if (have < want || spaces > want / 2 || is_letter(byte_at(text, end)) || is_digit(byte_at(text, end)))
        return false;
    for (unsigned i = 0; i < want; i++) {               /* number in the order 4.., 0..3, letters as 10..35, modulo 97 */
        unsigned char c = (unsigned char)flat[(i + 4) % want];
        rest = is_digit(c) ? (rest * 10 + (c - '0')) % 97 : (rest * 100 + (unsigned)(c - 'A') + 10) % 97;
    }
    bool is_valid = rest == 1;
    if (!is_valid && context != WORD_ACCOUNT)
        return false;
    *g = (struct pii_guess){ .end = end, .score = is_valid ? context == WORD_ACCOUNT ? 1 : .97f : .6f, .type = PII_IBAN_CODE };
    return true;
}

/* ---- identity numbers with letters ---- */

/* A: letter, 9: digit, other characters literally; '?': one of " -" or nothing. Lower case counts as upper. Returns the end or
 * 0. */
enum { FLAT_MAX = 24 };

static size_t form_end(str text, size_t at, const char *form, char *flat, unsigned *n)
{
    *n = 0;
    for (; *form && *n < FLAT_MAX; form++) {
        unsigned char c = byte_at(text, at);
        if (*form == '?') {
            at += c == ' ' || c == '-';
            continue;
        }
        if (*form == 'A' ? !is_letter(c) : *form == '9' ? !is_digit(c) : c != (unsigned char)*form)
            return 0;
        flat[(*n)++] = (char)(is_letter(c) ? c & ~32 : c);
        at++;
    }
    unsigned char next = byte_at(text, at);
    return is_letter(next) || is_digit(next) || next == '_' ? 0 : at;
}

static bool check_codice(const char *s)                 /* Italy: odd places by a permutation, even ones by value, modulo 26 */
{
    static const uint8_t odd[] = { 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23 };
    unsigned sum = 0;
    for (int i = 0; i < 15; i++) {
        unsigned v = is_digit((unsigned char)s[i]) ? (unsigned)(s[i] - '0') : (unsigned)(s[i] - 'A');
        sum += i % 2 == 0 ? odd[v] : v;
    }
    return sum % 26 == (unsigned)(s[15] - 'A');
}

static bool check_dni(const char *s)                    /* Spain: a letter for the remainder by 23; X, Y, Z stand for 0, 1, 2 */
{
    static const char letters[] = "TRWAGMYFPDXBNJZSQVHLCKE";
    unsigned v = is_letter((unsigned char)s[0]) ? s[0] >= 'X' ? (unsigned)(s[0] - 'X') : 99 : (unsigned)(s[0] - '0');
    if (v > 9)
        return false;
    for (int i = 1; i < 8; i++)
        v = v * 10 + (unsigned)(s[i] - '0');
    return s[8] == letters[v % 23];
}

static bool check_nino(const char *s)                   /* United Kingdom: some letters are not used, suffix A-D */
{
    return !strchr("DFIQUV", s[0]) && !strchr("DFIQUVO", s[1]) && s[8] <= 'D';
}

static bool check_china_x(const char *s)
{
    static const uint8_t weights[] = { 7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2 };
    unsigned sum = 0;
    for (int i = 0; i < 17; i++)
        sum += (unsigned)(s[i] - '0') * weights[i];
    return sum % 11 == 2;
}

static bool check_hetu(const char *s)                   /* Finland: DDMMYY-NNNC, 31 check characters */
{
    unsigned v = 0;
    for (int i = 0; i < 9; i++)
        v = v * 10 + (unsigned)(s[i < 6 ? i : i + 1] - '0');
    return s[10] == "0123456789ABCDEFHJKLMNPRSTUVWXY"[v % 31];
}

static const struct {
    const char *form;
    bool (*check)(const char *);
    float alone, beside;
} identities[] = {
    { "AAAAAA99A99A999A", check_codice, .97f, 1 },
    { "99999999?A", check_dni, .7f, .98f }, { "A?9999999?A", check_dni, .75f, .98f },
    { "AA?99?99?99?A", check_nino, .75f, .97f }, { "AA?99?99?99", NULL, 0, .8f },
    { "99999999999999999X", check_china_x, .97f, 1 }, { "99999999999999999x", check_china_x, .97f, 1 },
    { "999999-9999", check_hetu, 0, 0 }, { "999999-999A", check_hetu, .9f, 1 }, { "999999A999A", check_hetu, .9f, 1 },
    { "AAAA999999AAAAAA99", NULL, .85f, .98f },          /* Mexico's CURP */
    { "AAAA999999AAAAAAA9", NULL, .85f, .98f },
    { "AAAA999999AAA", NULL, .5f, .9f },                 /* its RFC */
    { "AAAAA9999A", NULL, .45f, .95f },                  /* India's PAN */
    { "99?999999?A?999", NULL, .5f, .95f },              /* Germany's pension insurance number */
    { "AA9AAAAA9", NULL, 0, .8f },
    { "A999999999", NULL, 0, .9f },                      /* Taiwan */
};

static bool identity_guess(str text, size_t at, enum pii_word context, struct pii_guess *g)
{
    char flat[FLAT_MAX];
    unsigned n;
    bool is_near = context == WORD_ID || context == WORD_SSN;
    for (size_t i = 0; i < COUNT_OF(identities); i++) {
        float score = is_near ? identities[i].beside : identities[i].alone;
        if (score == 0 || (context == WORD_OTHER && score < .9f))
            continue;
        size_t end = form_end(text, at, identities[i].form, flat, &n);
        if (end == 0 || (identities[i].check && !identities[i].check(flat)))
            continue;
        *g = (struct pii_guess){ .end = end, .score = score, .type = PII_NATIONAL_ID };
        return true;
    }
    return false;
}

/* ---- wallets ---- */

/* The checksum of base58check is a double SHA-256, which this layer leaves out: form and mix alone. bech32 (BIP 173) has its
 * own. */
static uint32_t bech32_step(uint32_t check, uint8_t value)
{
    static const uint32_t generator[] = { 0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3 };
    uint32_t top = check >> 25;
    check = (check & 0x1ffffff) << 5 ^ value;
    for (int k = 0; k < 5; k++)
        check ^= top >> k & 1 ? generator[k] : 0;
    return check;
}

static bool bech32_guess(str text, size_t at, struct pii_guess *g)
{
    enum { BECH32_MAX = 120, BECH32 = 1, BECH32M = 0x2bc830a3 };
    static const char set[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    static const str parts[] = { { "bc", 2 }, { "tb", 2 }, { "ltc", 3 }, { "addr", 4 } };
    for (size_t p = 0; p < COUNT_OF(parts); p++) {
        str part = parts[p];
        if (!str_starts(str_from(text, at), part) || byte_at(text, at + part.len) != '1')
            continue;
        uint32_t check = 1;
        for (size_t i = 0; i < part.len; i++)
            check = bech32_step(check, (uint8_t)((uint8_t)part.ptr[i] >> 5));
        check = bech32_step(check, 0);
        for (size_t i = 0; i < part.len; i++)
            check = bech32_step(check, part.ptr[i] & 31);
        size_t end = at + part.len + 1;
        for (const char *c; end - at < BECH32_MAX && byte_at(text, end) && (c = strchr(set, text.ptr[end])) != NULL; end++)
            check = bech32_step(check, (uint8_t)(c - set));
        if (end - at < 14 || (check != BECH32 && check != BECH32M) || utf8_ascii_alnum(byte_at(text, end)))
            continue;
        *g = (struct pii_guess){ .end = end, .score = .99f, .type = PII_CRYPTO_ADDRESS };
        return true;
    }
    return false;
}

static bool wallet_guess(str text, size_t at, struct pii_guess *g)
{
    if (bech32_guess(text, at, g))
        return true;
    unsigned char c = byte_at(text, at);
    if (c != '1' && c != '3')
        return false;
    size_t end = at;
    while (end - at < 40 && is_letter(byte_at(text, end)) + is_digit(byte_at(text, end)) && !strchr("0OIl", byte_at(text, end)))
        end++;
    unsigned char next = byte_at(text, end);
    str s = { text.ptr + at, end - at };
    if (end - at < 26 || end - at > 35 || is_letter(next) || is_digit(next) || !text_looks_random(s))
        return false;
    for (size_t i = 0, lowers = 0, uppers = 0; i < s.len; i++) {
        lowers += is_letter((unsigned char)s.ptr[i]) && !is_upper((unsigned char)s.ptr[i]);
        uppers += is_upper((unsigned char)s.ptr[i]);
        if (lowers >= 4 && uppers >= 4) {
            *g = (struct pii_guess){ .end = end, .score = .8f, .type = PII_CRYPTO_ADDRESS };
            return true;
        }
    }
    return false;
}

bool code_guess(str text, size_t at, bool has_digit, enum pii_word context, struct pii_guess *g)
{
    unsigned char a = byte_at(text, at), b = byte_at(text, at + 1);
    if (secret_guess(text, at, g))
        return true;
    if (is_letter(a) && is_letter(b) && is_digit(byte_at(text, at + 2)) && is_digit(byte_at(text, at + 3)) &&
        iban_guess(text, at, context, g))
        return true;
    return has_digit && (identity_guess(text, at, context, g) || wallet_guess(text, at, g));
}

/* ---- addresses of machines ---- */

bool ipv6_guess(str text, size_t at, struct pii_guess *g)
{
    /* RFC 4291: eight groups of up to four hex digits, one run of them may be "::". At least two colons and one group. */
    size_t end = at;
    unsigned groups = 0, colons = 0;
    bool has_gap = false;
    if (byte_at(text, at) == ':') {
        if (byte_at(text, at + 1) != ':')
            return false;
        end += 2;
        colons = 2;
        has_gap = true;
    }
    for (;;) {
        unsigned digits = 0;
        while (digits < 5 && is_hex(byte_at(text, end)))
            end++, digits++;
        if (digits > 4 || (digits == 0 && !has_gap) || groups > 8)
            return false;
        groups += digits > 0;
        if (digits == 0 || byte_at(text, end) != ':')
            break;
        if (byte_at(text, end + 1) == ':') {
            if (has_gap)
                return false;
            has_gap = true;
            end += 2;
            colons += 2;
        } else if (is_hex(byte_at(text, end + 1))) {
            end++;
            colons++;
        } else {
            break;
        }
    }
    unsigned char next = byte_at(text, end);
    if (utf8_ascii_alnum(next) || next == '_' || groups == 0 || colons < 2 || (has_gap ? groups >= 8 : groups != 8))
        return false;
    bool has_digit = false;
    for (size_t i = at; i < end; i++)
        has_digit |= is_digit((unsigned char)text.ptr[i]);
    if (!has_digit && groups < 4)                       /* a::b is C++ */
        return false;
    *g = (struct pii_guess){ .end = end, .score = groups == 1 ? PII_MENTION : groups == 2 ? .6f : .95f, .type = PII_IP_ADDRESS };
    return true;
}

bool mac_guess(str text, size_t at, struct pii_guess *g)
{
    unsigned char mark = byte_at(text, at + 2);
    if (mark != ':' && mark != '-')
        return false;
    size_t end = at;
    int letters = 0, sum = 0;
    for (int i = 0; i < 6; i++) {
        if (i && byte_at(text, end++) != mark)
            return false;
        unsigned char a = byte_at(text, end), b = byte_at(text, end + 1);
        if (!is_hex(a) || !is_hex(b))
            return false;
        sum += hex_value(a) + hex_value(b);
        letters += is_letter(a) + is_letter(b);
        end += 2;
    }
    unsigned char next = byte_at(text, end);
    if (is_hex(next) || next == mark || is_letter(next) || sum == 0 || (mark == '-' && letters == 0))
        return false;
    *g = (struct pii_guess){ .end = end, .score = .9f, .type = PII_MAC_ADDRESS };
    return true;
}
