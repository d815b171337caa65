/* signal/pii_scan.c -- one pass over a text that finds personal data by form.
 *
 * The pass goes from word to word and from digit to digit. A word may tell what follows (its kinds, pii_words.c, leave a mark
 * of where they were last seen) or begin something (a key, a street, a host name); a digit begins a number. The recognisers
 * look ahead a bounded way and never back, so the time is that of the text. The nearest mark decides what a number is: "order"
 * nearer than "phone" makes it nobody's. Words behind a number count as well, so spans wait a few dozen bytes before they are
 * told. */
#include "signal/pii_internal.h"

#include <assert.h>
#include <pthread.h>

enum {
    REACH = 64,                         /* bytes from a word to the value that it names */
    REACH_BIRTH = 36,                   /* to the date of a birth */
    REACH_CODE = 40,                    /* to a value that any digits and letters may be */
    REACH_SHORT = 24,                   /* to a telephone number of less than eight digits */
    REACH_CONTACT = 3,                  /* between the parts of a contact: ", " or a line end */
    REACH_BEHIND = 32,                  /* from a value to a word behind it */
    WAITING_MAX = 16,                   /* spans within REACH_BEHIND; beyond: the oldest is told without waiting */
    CODE_MAX = 128,                     /* bytes of a token of letters and digits that may be an account or a pass */
};

struct waiting { struct pii_span span; uint32_t kinds; uint8_t digits, letters; };

struct scan {
    str text;
    uint32_t seen[WORDS];               /* end of the last word of a kind, 0: none */
    uint32_t contact_end;               /* of the last mail, street or telephone found */
    uint32_t quiet_until;               /* a URL: its digits are not numbers */
    struct waiting waiting[WAITING_MAX];
    uint32_t n_waiting;
    struct pii_span *out;
    uint32_t n, max;
    float best[PII_TYPES];
    uint32_t before_hash, last_end;     /* of the last word, for phrases */
    uint32_t name_start;                /* where the row of capitalised words began that we are in */
    uint32_t name_end;
};

static const struct { const char *name; enum pii_type family; } types[PII_TYPES] = {
    [PII_AGE] = { "AGE", PII_AGE },
    [PII_CREDIT_CARD] = { "CREDIT_CARD", PII_CREDIT_CARD },
    [PII_DATE_TIME] = { "DATE_TIME", PII_DATE_TIME },
    [PII_DOMAIN_NAME] = { "DOMAIN_NAME", PII_DOMAIN_NAME },
    [PII_EMAIL_ADDRESS] = { "EMAIL_ADDRESS", PII_EMAIL_ADDRESS },
    [PII_GPE] = { "GPE", PII_GPE },
    [PII_IBAN_CODE] = { "IBAN_CODE", PII_IBAN_CODE },
    [PII_IP_ADDRESS] = { "IP_ADDRESS", PII_IP_ADDRESS },
    [PII_NRP] = { "NRP", PII_NRP },
    [PII_ORGANIZATION] = { "ORGANIZATION", PII_ORGANIZATION },
    [PII_PERSON] = { "PERSON", PII_PERSON },
    [PII_PHONE_NUMBER] = { "PHONE_NUMBER", PII_PHONE_NUMBER },
    [PII_STREET_ADDRESS] = { "STREET_ADDRESS", PII_STREET_ADDRESS },
    [PII_US_DRIVER_LICENSE] = { "US_DRIVER_LICENSE", PII_US_DRIVER_LICENSE },
    [PII_US_SSN] = { "US_SSN", PII_US_SSN },
    [PII_ZIP_CODE] = { "ZIP_CODE", PII_ZIP_CODE },
    [PII_ACCOUNT_NUMBER] = { "ACCOUNT_NUMBER", PII_ACCOUNT_NUMBER },
    [PII_API_KEY] = { "API_KEY", PII_API_KEY },
    [PII_CRYPTO_ADDRESS] = { "CRYPTO_ADDRESS", PII_CRYPTO_ADDRESS },
    [PII_DATE_OF_BIRTH] = { "DATE_OF_BIRTH", PII_DATE_TIME },
    [PII_MAC_ADDRESS] = { "MAC_ADDRESS", PII_IP_ADDRESS },
    [PII_NATIONAL_ID] = { "NATIONAL_ID", PII_US_SSN },
    [PII_PASSPORT] = { "PASSPORT", PII_PASSPORT },
    [PII_PASSWORD] = { "PASSWORD", PII_PASSWORD },
    [PII_PRIVATE_KEY] = { "PRIVATE_KEY", PII_PRIVATE_KEY },
    [PII_USERNAME] = { "USERNAME", PII_USERNAME },
};

/* ---- results ---- */

static void tell(struct scan *s, const struct pii_span *span)
{
    if (span->score < PII_FLOOR)
        return;
    if (span->score > s->best[span->type])
        s->best[span->type] = span->score;
    if (s->n < s->max)
        s->out[s->n++] = *span;
}

static void tell_first(struct scan *s)
{
    tell(s, &s->waiting[0].span);
    s->n_waiting--;
    memmove(s->waiting, s->waiting + 1, s->n_waiting * sizeof *s->waiting);
}

static void add(struct scan *s, struct waiting w)
{
    while (s->n_waiting && s->waiting[s->n_waiting - 1].span.end > w.span.start) {
        if (s->waiting[s->n_waiting - 1].span.score > w.span.score)
            return;                                     /* what overlaps is the better reading */
        s->n_waiting--;
    }
    if (s->n_waiting == WAITING_MAX)
        tell_first(s);
    s->waiting[s->n_waiting++] = w;
}

/* What stands beside a mail or street address in a list or letter head is a telephone, if it can be. */
static bool is_contact(enum pii_type type)
{
    return type == PII_EMAIL_ADDRESS || type == PII_STREET_ADDRESS || type == PII_PHONE_NUMBER;
}

static void look_back(struct scan *s, uint32_t kinds, size_t start, size_t reach);

static void add_guess(struct scan *s, size_t start, const struct pii_guess *g)
{
    if (is_contact(g->type)) {
        look_back(s, BIT(WORD_PHONE), start, REACH_CONTACT);
        s->contact_end = (uint32_t)g->end;
    }
    add(s, (struct waiting){ .span = { (uint32_t)start, (uint32_t)g->end, g->score, g->type } });
}

/* A word of these kinds ends at `end`: it may name a value that stands before it. */
static void look_back(struct scan *s, uint32_t kinds, size_t start, size_t reach)
{
    uint32_t contexts = kinds & (BIT(WORD_CONTEXTS) - 1);
    for (uint32_t i = s->n_waiting; i-- > 0;) {
        struct waiting *w = &s->waiting[i];
        if (start > w->span.end + reach)
            break;
        if (w->kinds == 0)
            continue;
        if (kinds & BIT(WORD_AGE) && w->kinds & BIT(WORD_AGE) && start <= w->span.end + 2u) {
            bool is_somebody = s->seen[WORD_PERSONAL] && w->span.start - s->seen[WORD_PERSONAL] < 24;
            w->span.type = PII_AGE;
            w->span.score = is_somebody ? .75f : PII_MENTION;
            w->kinds = 0;
            continue;
        }
        for (enum pii_word c = 0; c < WORD_OTHER; c++) {
            struct pii_guess g;
            if (!(contexts & w->kinds & BIT(c)) || !context_guess(c, w->digits, w->letters, &g) || g.score * .9f <= w->span.score)
                continue;
            w->span.type = g.type;
            w->span.score = g.score * .9f;              /* a word behind is weaker than one before */
        }
    }
}

/* ---- context ---- */

static bool is_near(const struct scan *s, enum pii_word kind, size_t at, size_t reach)
{
    return s->seen[kind] && at - s->seen[kind] <= reach;
}

/* The context whose word stands nearest before `at`; the earlier in the list on a tie ("social security number": SSN, not ID). */
static enum pii_word nearest(const struct scan *s, size_t at, size_t reach)
{
    enum pii_word best = WORD_CONTEXTS;
    uint32_t place = 0;
    for (enum pii_word k = 0; k < WORD_CONTEXTS; k++) {
        if (s->seen[k] > place && at - s->seen[k] <= reach) {
            place = s->seen[k];
            best = k;
        }
    }
    return best;
}

/* ---- numbers ---- */

static bool is_digit_at(str text, size_t at)
{
    return at < text.len && (unsigned)(unsigned char)text.ptr[at] - '0' < 10u;
}

/* A date with a month's name: "15 December 1919", "December 15, 1919", "15. Mai 2001", "15 de mayo de 1980". 0: none. */
static size_t named_date(str text, size_t at)
{
    bool has_month = false;
    int numbers = 0;
    size_t end = 0;
    for (int parts = 0; parts < 6 && at < text.len; parts++) {
        size_t from = at;
        if ((unsigned)(unsigned char)text.ptr[at] - '0' < 10u) {
            while (at < text.len && (unsigned)(unsigned char)text.ptr[at] - '0' < 10u)
                at++;
            size_t digits = at - from;
            if (digits > 4 || digits == 3 || (digits == 4 && !has_month) || numbers == 2)
                break;
            numbers++;
            if (has_month)
                end = at;
            if (str_starts(str_from(text, at), S("st")) || str_starts(str_from(text, at), S("nd")) ||
                str_starts(str_from(text, at), S("rd")) || str_starts(str_from(text, at), S("th")))
                at += 2;
            if (digits == 4)
                break;
        } else {
            while (at < text.len && (utf8_ascii_alnum((unsigned char)text.ptr[at]) || (unsigned char)text.ptr[at] >= 0x80))
                at++;
            if (at == from || at - from > 24)
                break;
            str word = { text.ptr + from, at - from };
            if (word_kinds(word_hash(word)) & BIT(WORD_MONTH) && !has_month)
                has_month = true;
            else if (!str_ieq(word, S("de")) && !str_ieq(word, S("of")) && !str_ieq(word, S("del")))
                break;
            if (has_month && numbers)
                end = end ? end : at;
        }
        while (at < text.len && (text.ptr[at] == ' ' || text.ptr[at] == '.' || text.ptr[at] == ',' || text.ptr[at] == '-'))
            at++;
    }
    return has_month && numbers == 2 ? end : 0;
}

static bool try_date(struct scan *s, size_t at, size_t *next)
{
    size_t end = named_date(s->text, at);
    if (end == 0)
        return false;
    bool is_birth = is_near(s, WORD_BIRTH, at, REACH_BIRTH);
    if (is_birth)
        s->seen[WORD_BIRTH] = 0;                        /* the next date is of something else */
    struct pii_guess g = { end, is_birth ? .95f : PII_MENTION, is_birth ? PII_DATE_OF_BIRTH : PII_DATE_TIME };
    add_guess(s, at, &g);
    *next = end;
    return true;
}

static size_t at_number(struct scan *s, size_t at)
{
    str text = s->text;
    struct pii_guess g;
    struct number n;
    size_t next;
    if (at < s->quiet_until) {
        while (at < text.len && (unsigned)(unsigned char)text.ptr[at] - '0' < 10u)
            at++;
        return at;
    }
    if (text.ptr[at] != '+' && text.ptr[at] != '(') {
        if (address_from_number(text, at, is_near(s, WORD_ADDRESS, at, REACH), &g)) {
            add_guess(s, at, &g);
            return g.end;
        }
        if (try_date(s, at, &next))
            return next;
        if (s->name_end && at == s->name_end + 1 && at - s->name_start <= REACH &&
            address_from_house(text, at, is_near(s, WORD_ADDRESS, at, REACH), &g)) {
            add_guess(s, s->name_start, &g);
            return g.end;
        }
    }
    if (!number_read(&n, text, at)) {
        for (at++; at < text.len && (unsigned)(unsigned char)text.ptr[at] - '0' < 10u;)
            at++;
        return at;
    }
    enum pii_word context = nearest(s, at, REACH);
    if (context == WORD_PHONE && n.total[n.n - 1] < 8 && at - s->seen[WORD_PHONE] > REACH_SHORT)
        context = WORD_CONTEXTS;
    if (context == WORD_CONTEXTS &&
        (is_near(s, WORD_DIAL, at, REACH_CONTACT) || (s->contact_end && at - s->contact_end <= REACH_CONTACT)))
        context = WORD_PHONE;
    if (number_guess(&n, context, &g)) {
        if (g.type == PII_PHONE_NUMBER && g.end < text.len) {       /* "x123", "ext. 45" */
            size_t end = g.end;
            if (text.ptr[end] == ' ')
                end++;
            bool has_mark = str_starts(str_from(text, end), S("ext"));
            end += has_mark ? 3 : 0;
            if (!has_mark && end < text.len && (text.ptr[end] | 32) == 'x')
                end++, has_mark = true;
            while (has_mark && end < text.len && (text.ptr[end] == '.' || text.ptr[end] == ' '))
                end++;
            size_t digits = end;
            while (has_mark && digits < text.len && digits - end < 7 && (unsigned)(unsigned char)text.ptr[digits] - '0' < 10u)
                digits++;
            if (digits > end)
                g.end = digits;
        }
        if (g.type == PII_DATE_OF_BIRTH)
            s->seen[WORD_BIRTH] = 0;
        if (g.type == PII_PHONE_NUMBER && g.score >= .5f)
            s->contact_end = (uint32_t)g.end;
        struct waiting w = { .span = { (uint32_t)at, (uint32_t)g.end, g.score, g.type } };
        if (g.score < .8f && g.type != PII_DATE_TIME && context != WORD_OTHER) {
            w.kinds = BIT(WORD_CONTEXTS) - 1;
            for (unsigned i = 0; i < n.n && n.end[i] <= g.end; i++)
                w.digits = n.total[i];
        }
        add(s, w);
        return g.end;
    }
    /* Nothing yet; a word behind it may still tell. */
    unsigned groups = n.n, joined = 0;
    while (joined + 1 < n.n && strchr("-./)", n.before[joined + 1]))
        joined++;
    while (groups > 1 && n.before[groups] != 0 && n.before[groups] != ' ')
        groups--;
    if (!n.is_chained && context == WORD_CONTEXTS && n.total[groups - 1] >= 6) {
        add(s, (struct waiting){ .span = { (uint32_t)at, (uint32_t)n.end[groups - 1], 0, PII_PHONE_NUMBER },
                                 .kinds = BIT(WORD_CONTEXTS) - 1, .digits = n.total[groups - 1] });
        return n.end[groups - 1];
    }
    if (!n.is_chained && n.len[0] <= 3 && n.len[0] >= 1) {
        if (is_near(s, WORD_AGED, at, 6))
            add(s, (struct waiting){ .span = { (uint32_t)at, (uint32_t)n.end[0], .6f, PII_AGE } });
        else
            add(s, (struct waiting){ .span = { (uint32_t)at, (uint32_t)n.end[0], 0, PII_AGE }, .kinds = BIT(WORD_AGE) });
    }
    return n.end[joined];                               /* the rest of a chain is no number by itself */
}

/* ---- words ---- */

enum value_how { VALUE_NEXT, VALUE_SAID, VALUE_AS, VALUE_MARKED };     /* "user x", "user is x", "login as x", "user: x" */

static bool is_verb(str word)
{
    static const char *const words[] = { "is", "was", "as", "ist", "war", "lautet", "est", "es", "era", "jest" };
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (str_ieq(word, str_of(words[i])))
            return true;
    }
    return false;
}

/* Where the value of a label begins that ends at `at`, or 0. Quotes and brackets open. */
static size_t value_start(str text, size_t at, enum value_how *how)
{
    size_t from = at;
    *how = VALUE_NEXT;
    for (int words = 0; at < text.len && at - from < 40;) {
        char c = text.ptr[at];
        if (c == '=' || c == ':' || c == '>') {
            *how = VALUE_MARKED;
            at++;
        } else if (c == ' ' || c == '"' || c == '\'' || c == '`' || c == '(' || c == '\t' || c == '*') {
            at++;
        } else {
            size_t end = at;
            while (end < text.len && (unsigned)(text.ptr[end] | 32) - 'a' < 26u)
                end++;
            bool is_word = end > at && at > from && (end >= text.len || strchr(" :=\n", text.ptr[end]));
            uint32_t kinds = is_word ? word_kinds(word_hash((str){ text.ptr + at, end - at })) : 0;
            if (!(kinds & BIT(WORD_COPULA)) || words++ == 2)
                return at > from ? at : 0;
            if (is_verb(str_upto(str_from(text, at), end - at)) && *how == VALUE_NEXT)
                *how = str_ieq((str){ text.ptr + at, end - at }, S("as")) ? VALUE_AS : VALUE_SAID;
            at = end;
        }
    }
    return 0;
}

/* "for user x", "as user x", but not "the user x". `at` is the end of "user". */
static bool is_addressee(str text, size_t at)
{
    static const char *const words[] = { "for", "as", "by", "from", "to", "of", "with" };
    size_t end = at;
    while (end > 0 && text.ptr[end - 1] != ' ')
        end--;
    end -= end > 0;
    size_t start = end;
    while (start > 0 && end - start < 8 && (unsigned)(text.ptr[start - 1] | 32) - 'a' < 26u)
        start--;
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (str_ieq((str){ text.ptr + start, end - start }, str_of(words[i])))
            return true;
    }
    return false;
}

static bool ends_like_noun(str word)                    /* "satisfaction", "requests", "onboarding" */
{
    static const char *const endings[] = { "tion", "sion", "ment", "ments", "ness", "ing", "ings", "ence", "ance", "ity", "tions",
                                           "ests", "ences", "eys", "als", "ies", "ults", "age", "ure", "ues" };
    for (size_t i = 0; i < COUNT_OF(endings); i++) {
        if (str_ends(word, str_of(endings[i])))
            return true;
    }
    return false;
}

static bool is_placeholder(str v)
{
    static const char *const words[] = {
        "your", "xxx", "example", "placeholder", "changeme", "redacted", "none", "null", "true", "false", "undefined", "env",
        "string", "password", "secret", "token", "required", "process.", "self.", "config", "getenv", "input", "bcrypt",
    };
    if (v.len == 0 || strchr("<{[$%*(", v.ptr[0]))
        return true;
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] == '(' || v.ptr[i] == '[' || (v.ptr[i] == '*' && i + 1 < v.len && v.ptr[i + 1] == '*'))
            return true;
    }
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        str w = str_of(words[i]);
        if (v.len >= w.len && strncasecmp(v.ptr, w.ptr, w.len) == 0 && (i == 0 || v.len < w.len + 6 || w.len > 6))
            return true;
    }
    return false;
}

/* The value behind "password", "token", "username". A label of more than five bytes is no common word ("user", "login"). */
static void try_value(struct scan *s, uint32_t kinds, size_t at, size_t label_bytes, bool is_inside_name)
{
    enum { VALUE_MAX = 256 };
    str text = s->text;
    enum value_how how;
    size_t from = value_start(text, at, &how), end = from;
    if (from == 0)
        return;
    if (how != VALUE_MARKED && is_inside_name)
        return;
    bool is_user = kinds & BIT(WORD_USER), is_key = kinds & BIT(WORD_KEY);
    uint32_t digits = 0, letters = 0, uppers = 0, signs = 0;
    while (end < text.len && end - from < VALUE_MAX) {
        unsigned char c = (unsigned char)text.ptr[end];
        if (c <= ' ' || strchr("\"'`,;<>", c) || (is_user && strchr("()[]{}:/=?!&|", c)))
            break;
        digits += (unsigned)c - '0' < 10u;
        letters += (unsigned)(c | 32) - 'a' < 26u || c >= 0x80;
        uppers += (unsigned)c - 'A' < 26u;
        signs += c < 0x80 && !utf8_ascii_alnum(c);
        end++;
    }
    while (end > from && strchr(".?!)]}", text.ptr[end - 1])) {
        if (text.ptr[end - 1] == '!' && !is_user && digits)
            break;
        signs--;
        end--;
    }
    str v = { text.ptr + from, end - from };
    if (is_placeholder(v))
        return;
    struct pii_guess g = { .end = end };
    if (is_user) {
        bool is_clear = digits || memchr(v.ptr, '_', v.len) || (signs && memchr(v.ptr, '.', v.len));
        bool is_last = end >= text.len || strchr(".,;?!)\n\"'", text.ptr[end]) != NULL;
        char next = end < text.len ? text.ptr[end] : '\n';
        bool is_role = how == VALUE_MARKED && label_bytes == 4 && text.ptr[from - 1] != '=';
        how = is_role ? VALUE_SAID : how;               /* "User: hello" */
        if (next == '(' || next == ':' || text.ptr[from - 1] == '(' || text.ptr[from - 1] == '*')
            return;
        if (v.len < 3 || v.len > 40 || letters == 0 || word_kinds(word_hash(v)) || memchr(v.ptr, '@', v.len))
            return;
        bool is_told = how == VALUE_SAID || label_bytes > 5 || is_addressee(text, at);
        if (!is_clear && how < VALUE_AS && (!is_told || !is_last || uppers || v.len < 4 || ends_like_noun(v)))
            return;
        g.score = how == VALUE_MARKED ? is_clear ? .9f : .7f : is_clear ? .75f : .55f;
        g.type = PII_USERNAME;
    } else if (is_key) {
        uint32_t run = 0, longest = 0;
        for (size_t i = 0; i < v.len; i++) {
            run = utf8_ascii_alnum((unsigned char)v.ptr[i]) ? run + 1 : 0;
            longest = run > longest ? run : longest;
        }
        bool is_long = how == VALUE_NEXT ? longest >= 20 && digits >= 2 : longest >= 16;
        if (!is_long || !text_looks_random(v) || at < s->quiet_until)
            return;
        g.score = how && v.len >= 20 ? .9f : .75f;
        g.type = PII_API_KEY;
    } else {
        bool is_path = digits == 0;                     /* "request.body.password" */
        for (size_t i = 0; i < v.len; i++)
            is_path &= utf8_ascii_alnum((unsigned char)v.ptr[i]) || v.ptr[i] == '.' || v.ptr[i] == '_';
        if (is_path && memchr(v.ptr, '.', v.len))
            return;
        bool is_mixed = (digits && letters) || (signs && letters + digits > 3) || (digits >= 4 && letters == 0);
        if (v.len < 4 || v.len > 64 || (!is_mixed && !(how == VALUE_MARKED && text.ptr[from - 1] == '=')))
            return;
        if (how == VALUE_NEXT && !(digits && letters))
            return;
        if (digits == 0 && signs && !uppers && memchr(v.ptr, '-', v.len))
            return;
        g.score = how == VALUE_NEXT || !is_mixed ? .6f : .9f;
        g.type = PII_PASSWORD;
    }
    add_guess(s, from, &g);
}

/* A token of letters and digits, with hyphens inside: a pass, an account, or a piece of code that hides its digits from the
 * numbers. Returns its end. */
static size_t at_code(struct scan *s, size_t at, size_t word_end)
{
    str text = s->text;
    size_t end = word_end;
    uint32_t digits = 0, letters = 0;
    while (end < text.len && end - at < CODE_MAX) {
        unsigned char c = (unsigned char)text.ptr[end];
        bool is_inner = (c == '-' || c == '_') && end + 1 < text.len && utf8_ascii_alnum((unsigned char)text.ptr[end + 1]);
        if (!utf8_ascii_alnum(c) && !is_inner)
            break;
        end++;
    }
    for (size_t i = at; i < end; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        digits += (unsigned)c - '0' < 10u;
        letters += (unsigned)(c | 32) - 'a' < 26u;
    }
    if (at < s->quiet_until)
        return end;
    enum pii_word context = nearest(s, at, REACH_CODE);
    struct pii_guess g = { .end = end };
    if (digits < 256 && context_guess(context, digits, letters, &g)) {
        add_guess(s, at, &g);
    } else if (context == WORD_CONTEXTS && digits >= 4 && digits < 20 && letters <= 6) {
        add(s, (struct waiting){ .span = { (uint32_t)at, (uint32_t)end, 0, PII_PASSPORT },
                                 .kinds = BIT(WORD_PASSPORT) | BIT(WORD_LICENSE) | BIT(WORD_ID),
                                 .digits = (uint8_t)digits, .letters = (uint8_t)letters });
    }
    return end;
}

static void note(struct scan *s, uint32_t kinds, size_t start, size_t end)
{
    for (uint32_t k = kinds; k; k &= k - 1)
        s->seen[__builtin_ctz(k)] = (uint32_t)end;
    if (s->n_waiting)
        look_back(s, kinds, start, REACH_BEHIND);
}

/* Chinese, Japanese and Korean have no word edges: every run of up to four characters may be a word. */
static size_t at_cjk(struct scan *s, size_t at)
{
    size_t end = at, after_first = 0;
    uint32_t hash = WORD_SEED, kinds = 0;
    size_t found = at;
    for (int i = 0; i < 7 && end < s->text.len; i++) {
        uint32_t code = utf8_next(s->text, &end);
        if (i == 0)
            after_first = end;
        if (!utf8_is_cjk(code))
            break;
        hash = word_mix(hash, code);
        uint32_t k = word_kinds(hash);
        if (k)
            found = end, kinds |= k;
    }
    if (kinds)
        note(s, kinds, at, found);
    return after_first;
}

static bool is_capital(str text, size_t at)
{
    unsigned char c = (unsigned char)text.ptr[at];
    if (c < 0x80)
        return (unsigned)c - 'A' < 26u;
    uint32_t code = utf8_next(text, &at);
    return utf8_is_letter(code) && utf8_lower(code) != code;
}

static uint8_t fold_ascii[256];     /* letters and digits, folded; 0: neither. Made by prepare() */

static size_t at_word(struct scan *s, size_t at)
{
    str text = s->text;
    size_t end = at;
    bool is_ascii = true, is_phrase = s->last_end && at > s->last_end && at - s->last_end <= 2;
    uint32_t hash = WORD_SEED, both = word_mix(s->before_hash, '_');
    uint8_t any = 0, all = 0xFF;                        /* bit 6 tells letters from digits */
    while (end < text.len) {
        uint8_t folded = fold_ascii[(unsigned char)text.ptr[end]];
        if (folded) {
            any |= folded;
            all &= folded;
            hash = word_mix(hash, folded);
            both = word_mix(both, folded);
            end++;
            continue;
        }
        size_t next = end;
        uint32_t code;
        if ((unsigned char)text.ptr[end] < 0x80 || !utf8_is_alnum(code = utf8_next(text, &next)) || utf8_is_cjk(code))
            break;
        any |= 0x40;
        is_ascii = false;
        code = utf8_fold(code);
        hash = word_mix(hash, code);
        both = word_mix(both, code);
        end = next;
    }
    bool has_letter = any & 0x40, has_digit = !(all & 0x40);
    if (end == at)                                      /* CJK, or not a letter at all */
        return at_cjk(s, at);
    struct pii_guess g;
    unsigned char after = end < text.len ? (unsigned char)text.ptr[end] : 0;
    char before = at ? text.ptr[at - 1] : ' ';
    if (is_ascii) {
        /* keys, accounts and identity numbers have digits or a mark behind the first letters */
        bool is_start = before != '-' && before != '_';
        if (is_start && (has_digit || after == '-' || after == '_' || end - at >= 16 ||
                         (after == '.' && end + 1 < text.len && text.ptr[end + 1] > ' ')) &&
            code_guess(text, at, has_digit || end - at == 1, nearest(s, at, REACH), &g)) {
            add_guess(s, at, &g);
            return g.end;
        }
        if (((after == ':' && end - at <= 4) || (after == '-' && end - at == 2)) && is_start &&
            ((after == ':' && before != ':' && ipv6_guess(text, at, &g)) || mac_guess(text, at, &g))) {
            add_guess(s, at, &g);
            return g.end;
        }
    }
    bool is_host = (after == '.' && end + 1 < text.len && text.ptr[end + 1] > ' ') || after == '-' ||
                   (after == ':' && str_starts(str_from(text, end), S("://"))) || (after == '.' && !is_ascii);
    if (is_host && has_letter && at >= s->quiet_until && before != '.' && before != '@' && before != '-') {
        size_t host_end;
        if (host_guess(text, at, &host_end, &g)) {
            add_guess(s, at, &g);
            s->quiet_until = (uint32_t)host_end;
        }
    }
    if (has_letter && has_digit && is_ascii)
        return at_code(s, at, end);

    uint32_t kinds = word_kinds(hash) | (is_phrase ? word_kinds(both) : 0);
    s->before_hash = hash;
    s->last_end = (uint32_t)end;

    bool is_name = is_capital(text, at);
    if (is_name && !(s->name_end && at == s->name_end + 1 && text.ptr[s->name_end] != '.'))
        s->name_start = (uint32_t)at;
    if (is_name)
        s->name_end = (uint32_t)end;
    bool is_inside = is_name && s->name_start < at;     /* "Cyprus Avenue" is no avenue of Cyprus */
    if (kinds & BIT(WORD_STREET_FIRST) && !(is_inside && kinds & BIT(WORD_STREET_LAST))) {
        if (address_from_street(text, at, end, kinds, is_near(s, WORD_ADDRESS, at, REACH), &g)) {
            add_guess(s, at, &g);
            return g.end;
        }
    }
    uint32_t street = is_inside ? kinds & BIT(WORD_STREET_NUMBERED) : 0;
    bool has_house = (after == ' ' || after == '.' || after == ',') && (is_digit_at(text, end + 1) || is_digit_at(text, end + 2));
    bool is_shouted = end - at > 1 && is_capital(text, at + 1);     /* RULESTR is not a street */
    /* "Anna-Seghers-Ring" is one word here */
    if (is_name && has_house && !street && !is_shouted && before != '_') {
        size_t whole = at;
        while (whole > s->name_start && text.ptr[whole - 1] != ' ')
            whole--;
        street = end - whole > 5 ? word_ending((str){ text.ptr + whole, end - whole }) : 0;
    }
    if (street && (after == ' ' || after == '.' || after == ',') &&
        address_from_street(text, at, end, street, is_near(s, WORD_ADDRESS, at, REACH), &g)) {
        add_guess(s, at - s->name_start > REACH ? at : s->name_start, &g);
        return g.end;
    }
    if (kinds & BIT(WORD_UNIT) && is_name && (after == ' ' || after == '.') &&
        address_from_unit(text, at, is_near(s, WORD_ADDRESS, at, REACH), &g)) {
        add_guess(s, at, &g);
        return g.end;
    }
    size_t next;
    if (kinds & BIT(WORD_MONTH) && is_name && try_date(s, at, &next))
        return next;
    if (kinds)
        note(s, kinds, at, end);
    if (kinds & (BIT(WORD_SECRET) | BIT(WORD_KEY) | BIT(WORD_USER)))
        try_value(s, kinds, end, end - at, before == '_');
    return end;
}

/* "postgres://user:secret@host": the part that is secret. */
static void try_userinfo(struct scan *s, size_t at)
{
    enum { USERINFO_MAX = 128 };
    str text = s->text;
    size_t colon = 0;
    for (size_t i = at + 3; i < text.len && i - at < USERINFO_MAX; i++) {
        char c = text.ptr[i];
        if (c == '/' || (unsigned char)c <= ' ')
            return;
        if (c == ':' && !colon)
            colon = i;
        if (c != '@')
            continue;
        if (colon && i - colon > 3 && !is_placeholder((str){ text.ptr + colon + 1, i - colon - 1 })) {
            struct pii_guess g = { .end = i, .score = .95f, .type = PII_PASSWORD };
            add_guess(s, colon + 1, &g);
        }
        return;
    }
}

static size_t at_sign(struct scan *s, size_t at)
{
    str text = s->text;
    struct pii_guess g;
    size_t start;
    switch (text.ptr[at]) {
    case '@':
        if (s->n_waiting && s->waiting[s->n_waiting - 1].span.end == at && s->waiting[s->n_waiting - 1].span.type == PII_PASSWORD)
            break;                                      /* "://user:secret@host" */
        if (email_guess(text, at, &start, &g)) {
            add_guess(s, start, &g);
            return g.end;
        }
        break;
    case '+':
    case '(':
        if (at + 1 < text.len && ((unsigned)(unsigned char)text.ptr[at + 1] - '0' < 10u || text.ptr[at + 1] == '+')) {
            size_t next = at_number(s, at);
            if (s->n_waiting && s->waiting[s->n_waiting - 1].span.start == at && s->waiting[s->n_waiting - 1].span.score > 0)
                return next;
            if (s->n_waiting && s->waiting[s->n_waiting - 1].span.start == at)
                s->n_waiting--;
        }
        break;
    case '-':
        if (at + 10 < text.len && text.ptr[at + 1] == '-' && pem_guess(text, at, &g)) {
            add_guess(s, at, &g);
            return g.end;
        }
        break;
    case ':':
        if (str_starts(str_from(text, at), S("://")))
            try_userinfo(s, at);
        else if ((at == 0 || !utf8_ascii_alnum((unsigned char)text.ptr[at - 1])) && ipv6_guess(text, at, &g) && g.end > at + 2) {
            add_guess(s, at, &g);
            return g.end;
        }
        break;
    default:
        break;
    }
    return at + 1;
}

static size_t at_digit(struct scan *s, size_t at)
{
    /* A token that has letters as well is a word. */
    size_t end = at;
    while (end < s->text.len && (unsigned)(unsigned char)s->text.ptr[end] - '0' < 10u)
        end++;
    unsigned char after = end < s->text.len ? (unsigned char)s->text.ptr[end] : 0;
    struct pii_guess g;
    if ((after | 32u) - 'a' < 26u || after == ':') {
        bool is_first = end - at <= 4 && after == ':' && (at == 0 || s->text.ptr[at - 1] != ':');
        if (is_first && (ipv6_guess(s->text, at, &g) || mac_guess(s->text, at, &g))) {
            add_guess(s, at, &g);
            return g.end;
        }
        bool is_unit_like = end - at <= 4 || (after | 32) == 'x';
        if (after != ':') {
            struct number n;
            if (is_unit_like && address_from_number(s->text, at, is_near(s, WORD_ADDRESS, at, REACH), &g)) {
                add_guess(s, at, &g);
                return g.end;
            }
            if ((after | 32) == 'x' && end - at >= 4 && is_digit_at(s->text, end + 1) && number_read(&n, s->text, at))
                return at_number(s, at);
            return at_word(s, at);
        }
    } else if (after == '-' || after == ' ' || (end - at >= 6)) {
        /* identity numbers may begin with digits and end in a letter */
        enum pii_word context = nearest(s, at, REACH);
        char before = at ? s->text.ptr[at - 1] : ' ';
        bool is_start = before != '.' && before != '_' && before != '-' && !utf8_ascii_alnum((unsigned char)before);
        if (is_start && code_guess(s->text, at, true, context, &g)) {
            add_guess(s, at, &g);
            return g.end;
        }
        if (after == '-' && end - at == 2 && mac_guess(s->text, at, &g)) {
            add_guess(s, at, &g);
            return g.end;
        }
    }
    return at_number(s, at);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void prepare(void)
{
    for (unsigned c = 0; c < 0x80; c++)
        fold_ascii[c] = utf8_ascii_alnum((unsigned char)c) ? (uint8_t)(c > '9' ? c | 32 : c) : 0;
    word_prepare();
    number_prepare();
    code_prepare();
}

uint32_t pii_scan(str text, struct pii_span *out, uint32_t max, float best[PII_TYPES])
{
    pthread_once(&once, prepare);
    struct scan s = { .text = str_upto(text, UINT32_MAX - 1), .out = out, .max = max };
    for (size_t at = 0; at < s.text.len;) {
        unsigned char c = (unsigned char)s.text.ptr[at];
        size_t from = at;
        if ((unsigned)c - '0' < 10u)
            at = at_digit(&s, at);
        else if (c >= 0x80 || (unsigned)(c | 32) - 'a' < 26u)
            at = at_word(&s, at);
        else if (c == '@' || c == '+' || c == '(' || c == '-' || c == ':')
            at = at_sign(&s, at);
        else
            at++;
        assert(at > from);
        while (s.n_waiting && at > s.waiting[0].span.end + REACH_BEHIND)
            tell_first(&s);
    }
    while (s.n_waiting)
        tell_first(&s);
    if (best)
        memcpy(best, s.best, sizeof s.best);
    return s.n;
}

str pii_type_name(enum pii_type type)
{
    return str_of(types[type].name);
}

bool pii_type_find(str name, enum pii_type *type)
{
    for (enum pii_type t = 0; t < PII_TYPES; t++) {
        if (str_eq(name, str_of(types[t].name))) {
            *type = t;
            return true;
        }
    }
    return false;
}

enum pii_type pii_type_family(enum pii_type type)
{
    return types[type].family;
}
