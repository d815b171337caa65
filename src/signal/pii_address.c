/* signal/pii_address.c -- street addresses of about twenty countries.
 *
 * An address is a street with a house number, which starts it, and a tail: parts between commas, line ends or spaces, of which
 * some are anchors (a postal code, a state, a flat) and the others names that only count with an anchor near. Streets are told
 * by a word before the name (rue, via, ul.), behind it (Road, Lane) or by the end of a word (-straße, -laan). */
#include "signal/pii_internal.h"

static unsigned char byte_at(str text, size_t at)
{
    return at < text.len ? (unsigned char)text.ptr[at] : 0;
}

static bool is_digit(unsigned char c) { return (unsigned)c - '0' < 10u; }
static bool is_upper(unsigned char c) { return (unsigned)c - 'A' < 26u; }
static bool is_alnum(uint32_t code) { return code < 0x80 ? utf8_ascii_alnum((unsigned char)code) : utf8_is_alnum(code); }

struct word { size_t start, end; uint32_t kinds; bool is_name, is_number, has_digit; };

/* A word of letters and digits, with inner apostrophes, hyphens and an abbreviation's full stop. False: none at `at`. */
static bool word_at(str text, size_t at, struct word *w)
{
    size_t end = at;
    uint32_t hash = WORD_SEED, first = 0;
    bool is_number = true, has_digit = false;
    while (end < text.len && end - at < 64) {
        size_t next = end;
        uint32_t code = utf8_next(text, &next);
        bool is_inner = (code == '\'' || code == '-' || code == 0x2019) && end > at && next < text.len &&
                        (utf8_ascii_alnum((unsigned char)text.ptr[next]) || (unsigned char)text.ptr[next] >= 0x80);
        if (!is_inner && !is_alnum(code) && code != 0xAA && code != 0xBA)
            break;
        if (end == at)
            first = code;
        is_number &= code - '0' < 10u || code == '-';
        has_digit |= code - '0' < 10u;
        hash = word_mix(hash, code - 'A' < 26u ? code | 32 : code < 0x80 ? code : utf8_fold(code));
        end = next;
    }
    if (end == at)
        return false;
    *w = (struct word){ .start = at, .end = end, .kinds = word_kinds(hash), .is_number = is_number, .has_digit = has_digit };
    w->is_name = first < 0x80 ? is_upper((unsigned char)first)
                              : utf8_is_letter(first) && (utf8_lower(first) != first || utf8_is_cjk(first));
    return true;
}

/* Spaces, one line end, one comma: what may stand between parts. *has_break: more than a space. */
static size_t skip_gap(str text, size_t at, bool *has_break)
{
    size_t from = at;
    bool has_comma = false;
    *has_break = false;
    for (int lines = 0; at < text.len && at - from < 8; at++) {
        char c = text.ptr[at];
        if (c == '\n' || c == '\r') {
            if (c == '\n' && ++lines > 1)
                return from;                            /* an empty line ends a letter head */
            *has_break = true;
        } else if (c == ',' && !has_comma) {
            has_comma = *has_break = true;
        } else if (c != ' ' && c != '\t') {
            break;
        }
    }
    return at;
}

/* Postal codes: 9 digit, A letter, the rest literal; the longest first. */
static size_t postal_code_end(str text, size_t at)
{
    static const char *const forms[] = {
        "AA99A 9AA", "A9A 9AA", "A9 9AA", "A99 9AA", "AA9 9AA", "AA99 9AA", "AA9A 9AA", "AA9AA", "A9A 9A9", "A9A9A9",
        "A99AA", "AA999AA",
        "99999-9999", "99999-999", "99-999", "999 99", "999-9999", "9999 AA", "9999AA", "99999999", "999999",
        "99999", "9999", "A-9999", "D-99999",
        "F-99999", "I-99999", "AA-9999", "AA-99999",
    };
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        size_t end = at;
        const char *f = forms[i];
        for (; *f; f++, end++) {
            unsigned char c = byte_at(text, end);
            if (*f == 'A' ? !is_upper(c) : *f == '9' ? !is_digit(c) : c != (unsigned char)*f)
                break;
        }
        unsigned char next = byte_at(text, end);
        if (*f == 0 && !utf8_ascii_alnum(next) && !(next == '-' && is_digit(byte_at(text, end + 1))))
            return end;
    }
    return 0;
}

/* "Apt. 107", "#12", "Piso 3 B". */
static size_t unit_end(str text, size_t at)
{
    struct word w;
    if (byte_at(text, at) == '#' && is_digit(byte_at(text, at + 1))) {
        at++;
        return word_at(text, at, &w) ? w.end : 0;
    }
    if (!word_at(text, at, &w) || !(w.kinds & BIT(WORD_UNIT)))
        return 0;
    size_t end = w.end;
    end += byte_at(text, end) == '.' || byte_at(text, end) == 0xBA;
    while (byte_at(text, end) == ' ' || byte_at(text, end) == '#' || byte_at(text, end) == '\t')
        end++;
    if (!word_at(text, end, &w) || (w.end - w.start > 6) || (!is_digit(byte_at(text, w.start)) && w.end - w.start > 2 &&
                                                           !(w.kinds & BIT(WORD_UNIT))))
        return 0;
    if (w.kinds & BIT(WORD_UNIT) && !is_digit(byte_at(text, w.start))) {        /* "P.O. Box 12", "stair C 3" */
        size_t number = w.end + (byte_at(text, w.end) == ' ');
        struct word next;
        if (word_at(text, number, &next) && is_digit(byte_at(text, number)))
            return next.end;
    }
    return w.end;
}

static bool is_state(str text, size_t at, size_t end)
{
    if (end - at < 2 || end - at > 3)
        return false;
    for (size_t i = at; i < end; i++) {
        if (!is_upper(byte_at(text, i)))
            return false;
    }
    return word_kinds(word_hash((str){ text.ptr + at, end - at })) & BIT(WORD_STATE);
}

/* A part ends at a line, a comma, a bracket or the end of the sentence, not in the middle of one. */
static bool is_part_end(str text, size_t at)
{
    return at >= text.len || strchr("\n\r,.;)\"?!", text.ptr[at]) != NULL;
}

/* Names in a row: "Saint Hugues", "Canaa", "Moura do Sul". At most six words. */
static size_t place_end(str text, size_t at)
{
    size_t end = 0;
    struct word w;
    for (int words = 0; words < 6 && word_at(text, at, &w); words++) {
        bool is_link = w.kinds & BIT(WORD_LINK), is_ordinal = w.has_digit && !w.is_number && !w.is_name;    /* "1ª Seção" */
        if ((w.has_digit && w.is_name) || (!w.is_name && !((is_link || is_ordinal) && words > 0)))
            break;
        if (words > 0 && is_state(text, w.start, w.end))
            break;                                      /* "Catherine NM" */
        if (w.is_name)
            end = w.end;
        else if (is_ordinal && is_part_end(text, w.end))
            end = w.end;
        if (words == 0 && is_state(text, w.start, w.end))
            break;
        at = w.end;
        if (byte_at(text, at) == '.' && w.end - w.start <= 3 && byte_at(text, at + 1) == ' ' && is_upper(byte_at(text, at + 2)))
            at++;                                       /* "St. Louis" */
        if (byte_at(text, at) != ' ')
            break;
        at++;
    }
    return end;
}

struct tail { size_t end; bool has_postal, has_unit, has_place, has_state, has_letters; };

/* Everything behind street and number that still belongs to the address. */
static struct tail read_tail(str text, size_t at)
{
    enum { PARTS_MAX = 9 };
    struct tail t = { .end = at };
    bool place_behind_postal = false;
    unsigned loose = 0;                                 /* names since the last anchor */
    for (int parts = 0; parts < PARTS_MAX && at < text.len; parts++) {
        bool has_break;
        size_t from = skip_gap(text, at, &has_break), end;
        if (byte_at(text, from) == '/' || (byte_at(text, from) == '-' && byte_at(text, from + 1) == ' '))
            from += byte_at(text, from + 1) == ' ' ? 2 : 1;
        if (byte_at(text, from) == '(' && byte_at(text, from + 3) == ')' && is_upper(byte_at(text, from + 1)) &&
            is_upper(byte_at(text, from + 2)) && t.has_postal) {
            t.end = at = from + 4;                      /* an Italian province ends it */
            break;
        }
        if (from == at)
            break;
        if ((end = unit_end(text, from)) != 0) {
            t.has_unit = true;
            t.end = at = end;
            loose = 0;
        } else if (!t.has_postal && (end = postal_code_end(text, from)) != 0) {
            t.has_postal = true;
            for (size_t i = from; i < end; i++)
                t.has_letters |= is_upper(byte_at(text, i));
            t.end = at = end;
            if (t.has_place && loose > 0)
                place_behind_postal = true;             /* "City, NM 19224": complete, unless a place follows at once */
            loose = 0;
        } else if ((end = place_end(text, from)) != 0) {
            /* Behind "City, ZIP" a new part is no longer of the address, save a province or state. */
            if (is_state(text, from, end)) {
                t.has_state = true;
                if (t.has_postal || t.has_place)
                    t.end = end;
                at = end;
                continue;
            }
            if (t.has_postal) {
                if (place_behind_postal)
                    break;
                place_behind_postal = true;
                t.end = end;
            } else if (++loose > 3) {
                break;
            } else if (loose == 1 && has_break && is_part_end(text, end)) {
                t.end = end;                            /* "5 Long Lane, Bath." */
            }
            t.has_place = true;
            at = end;
        } else {
            break;
        }
    }
    return t;
}

/* House number: "12", "12a", "12/3", "12-14", "0", "1 bis". 0: none. */
static size_t house_end(str text, size_t at)
{
    size_t end = at;
    while (is_digit(byte_at(text, end)) && end - at < 6)
        end++;
    if (end == at || is_digit(byte_at(text, end)))
        return 0;
    if ((byte_at(text, end) | 32u) - 'a' < 26u && !utf8_ascii_alnum(byte_at(text, end + 1)))
        end++;
    while (end - at < 16 && (byte_at(text, end) == '/' || byte_at(text, end) == '-') && is_digit(byte_at(text, end + 1))) {
        size_t next = end + 1;
        while (is_digit(byte_at(text, next)) && next - end < 6)
            next++;
        end = next;
    }
    if ((byte_at(text, end) | 32u) - 'a' < 26u && !utf8_ascii_alnum(byte_at(text, end + 1)))
        end++;
    return utf8_ascii_alnum(byte_at(text, end)) ? 0 : end;
}

static bool finish(str text, size_t street_end, float alone, bool has_context, struct pii_guess *g)
{
    struct tail t = read_tail(text, street_end);
    float score = alone;
    if (t.has_postal)
        score = .95f;
    else if (t.has_unit && alone >= .5f)
        score = score > .8f ? score : .8f;
    if (has_context)
        score = score + (1 - score) * .6f;
    if (score < .5f)
        return false;
    *g = (struct pii_guess){ .end = t.end, .score = score, .type = PII_STREET_ADDRESS };
    return true;
}

bool address_from_number(str text, size_t at, bool has_context, struct pii_guess *g)
{
    size_t end = house_end(text, at);
    if (end == 0)
        return false;
    if (byte_at(text, end) == ' ' && is_digit(byte_at(text, end + 1)) && has_context) {     /* "21 170 London Place" */
        size_t second = house_end(text, end + 1);
        end = second ? second : end;
    }
    bool has_comma = byte_at(text, end) == ',';
    end += has_comma;
    if (byte_at(text, end) != ' ')
        return false;
    end++;
    struct word w;
    size_t street = 0, names = 0;
    uint32_t best = 0;
    for (int words = 0; words < 7 && word_at(text, end, &w); words++) {
        bool is_first = w.kinds & BIT(WORD_STREET_FIRST);
        if (is_first && words == 0 && w.end - w.start > 1) {         /* "14, chemin Foucher" */
            size_t name = w.end + (byte_at(text, w.end) == '.');
            struct word next;
            int n = 0;
            while (n < 6 && byte_at(text, name) == ' ' && word_at(text, name + 1, &next) &&
                   (next.is_name || (next.kinds & BIT(WORD_LINK)) || (n == 0 && next.is_number))) {
                name = next.end;
                n++;
                if (!next.is_number)
                    street = name;
            }
            if (street)
                return finish(text, street, w.is_name || has_comma ? .7f : .8f, has_context, g);
        }
        bool is_last = w.kinds & (BIT(WORD_STREET_LAST) | BIT(WORD_STREET_RARE));
        bool is_shouted = w.end - w.start == 2 && is_upper(byte_at(text, w.start + 1));     /* SQ 351 is a flight */
        bool is_ordinal = is_digit(byte_at(text, w.start)) && !w.is_number;
        if (is_last && !is_shouted && names > 0 && (w.is_name || (w.kinds & BIT(WORD_STREET_LAST)))) {
            street = w.end + (byte_at(text, w.end) == '.' && byte_at(text, w.end + 1) != 0 && w.end - w.start <= 4);
            best = w.kinds;
            if (!w.is_name)
                break;
        } else if (!w.is_name && !is_ordinal && !((w.kinds & BIT(WORD_LINK)) && names > 0)) {
            break;
        }
        names++;
        end = w.end;
        if (byte_at(text, end) == '.' && w.end - w.start <= 2)
            end++;
        if (byte_at(text, end) != ' ')
            break;
        end++;
    }
    if (street)
        return finish(text, street, best & BIT(WORD_STREET_LAST) ? .7f : .3f, has_context, g);
    if (names == 0)
        return false;
    bool is_row = byte_at(text, end) == ',' || byte_at(text, end) == '\n';
    struct tail t = read_tail(text, end - (byte_at(text, end - 1) == ' '));     /* no word for a street: only as a whole */
    bool is_whole = is_row && t.has_place && t.has_postal && (t.has_state || t.has_unit || t.has_letters);
    if (!is_whole && !(has_context && (t.has_postal || t.has_unit)))
        return false;
    *g = (struct pii_guess){ .end = t.end, .score = has_context && is_whole ? .9f : .7f, .type = PII_STREET_ADDRESS };
    return true;
}

bool address_from_house(str text, size_t at, bool has_context, struct pii_guess *g)
{
    size_t end = house_end(text, at), code;
    bool has_break;
    if (end == 0)
        return false;
    size_t postal = skip_gap(text, end, &has_break);
    if (!has_break || (code = postal_code_end(text, postal)) == 0 || (code - postal < 5 && !has_context))
        return false;
    struct tail t = read_tail(text, end);
    if (!t.has_place || t.end <= code)
        return false;
    *g = (struct pii_guess){ .end = t.end, .score = has_context ? .85f : .6f, .type = PII_STREET_ADDRESS };
    return true;
}

bool address_from_unit(str text, size_t at, bool has_context, struct pii_guess *g)
{
    size_t end = unit_end(text, at);
    if (end == 0)
        return false;
    bool has_break;
    size_t number = skip_gap(text, end, &has_break);
    if (is_digit(byte_at(text, number)) && address_from_number(text, number, has_context, g))
        return true;                                    /* "Apt. 228 935 Kelly Lane" */
    struct tail t = read_tail(text, end);
    if (!t.has_postal || !t.has_place)
        return false;
    *g = (struct pii_guess){ .end = t.end, .score = has_context ? .95f : .8f, .type = PII_STREET_ADDRESS };
    return true;
}

bool address_from_street(str text, size_t at, size_t word_end, uint32_t kinds, bool has_context, struct pii_guess *g)
{
    struct word w;
    size_t end = word_end;
    bool was_comma = false;
    bool has_mark = byte_at(text, end) == '.' || byte_at(text, end) == '/';
    end += has_mark;
    int names = 0;
    if (word_end - at == 1 && !has_mark)                /* "C. Mayor", "C/ Mayor" */
        return false;
    if (kinds & BIT(WORD_STREET_FIRST)) {
        for (; names < 7 && byte_at(text, end) == ' ' && word_at(text, end + 1, &w); names++) {
            if (!w.is_name && !(w.kinds & BIT(WORD_LINK)))
                break;
            end = w.end + (byte_at(text, w.end) == '.' && w.end - w.start <= 3 && byte_at(text, w.end + 1) == ' ');
        }
        if (names == 0)
            return false;
    }
    if (byte_at(text, end) == ',') {
        end++;
        was_comma = true;
    }
    size_t street = end - was_comma;
    bool is_line_end = byte_at(text, end) == '\n' || byte_at(text, end) == '\r';
    if (byte_at(text, end) != ' ' && !is_line_end)
        return false;
    end++;
    for (int skipped = 0; skipped < 2; skipped++) {     /* "n. 5", "nº 5", "No: 12", "д. 5" */
        if (!word_at(text, end, &w) || !(w.kinds & BIT(WORD_UNIT)) || w.is_number)
            break;
        end = w.end;
        while (end < text.len && strchr(".: \xC2\xBA\xB0", text.ptr[end]) && text.ptr[end])   /* º and ° among them */
            end++;
    }
    size_t house = house_end(text, end);
    bool is_lower = !is_upper(byte_at(text, at)) && byte_at(text, at) < 0x80;
    if (is_line_end || house == 0 || (house - end == 5 && postal_code_end(text, end) == house)) {
        /* no house number, or a postal code at once: only a whole address will do */
        if (!(kinds & BIT(WORD_STREET_FIRST)))
            return false;
        struct tail t = read_tail(text, street);
        if (!t.has_postal || (!has_context && !t.has_place))
            return false;
        *g = (struct pii_guess){ .end = t.end, .score = has_context ? .85f : .6f, .type = PII_STREET_ADDRESS };
        return true;
    }
    /* "via", "place", "al" are other words, too, and "engineering" only ends like Schenkring */
    bool is_other_word = (is_lower && (kinds & (kinds - 1))) || word_end - at == 1;
    bool is_doubtful = kinds & BIT(WORD_STREET_FIRST) ? is_other_word : (kinds & BIT(WORD_STREET_RARE)) != 0;
    float alone = is_doubtful ? .3f : is_lower ? .65f : .7f;
    if (is_doubtful && has_context)
        return finish(text, house, .4f, true, g);
    return finish(text, house, alone, has_context, g);
}
