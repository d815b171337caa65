/* neural/tokenizer_unicode.c -- what `tokenizers` thinks of code points.
 *
 * Its parts know Unicode as of four different years, and being identical includes that. So classes come from tables asked from
 * the library itself (tests/neural/tokenizer_tables.py), spread once into one byte of flags a code point: 1.1 MB of address
 * space of which a text touches a few pages. Only what Unicode promises never to change, decompositions and compositions of old
 * code points, comes from utf8proc. */
#include "neural/tokenizer_unicode.h"

#include <pthread.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "neural/tokenizer_tables.h"

static uint8_t flags[CODE_END];
static pthread_once_t flags_once = PTHREAD_ONCE_INIT;

static const struct code_range space_ranges[] = {           /* White_Space */
    {0x9, 0xD}, {0x20, 0x20}, {0x85, 0x85}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
    {0x205F, 0x205F}, {0x3000, 0x3000},
};
static const struct code_range chinese_ranges[] = {         /* of BERT's tokenizer; 2B920 for 2B820 is the library's */
    {0x3400, 0x4DBF}, {0x4E00, 0x9FFF}, {0xF900, 0xFAFF}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF},
    {0x2F800, 0x2FA1F},
};
static const struct code_range changing_ranges[] = {        /* blocks with canonical decompositions or combining classes */
    {0xC0, 0x17F}, {0x1A0, 0x233}, {0x300, 0x3FF}, {0x400, 0x5C7}, {0x610, 0x6ED}, {0x711, 0x8FF}, {0x900, 0x135F},
    {0x1714, 0x1DFF}, {0x1E00, 0x1FFF}, {0x2000, 0x2001}, {0x20D0, 0x2AFF}, {0x2CEF, 0x2DFF}, {0x302A, 0x30FE}, {0xA66F, 0xABED},
    {0xAC00, 0xD7A3}, {0xF900, 0xFAFF}, {0xFB1D, 0xFB4E}, {0xFE20, 0xFE2F}, {0x101FD, 0x1E94A}, {0x2F800, 0x2FA1D},
};

#define MARK(ranges, bit) mark(ranges, COUNT_OF(ranges), bit)

static void mark(const struct code_range *ranges, size_t n, uint8_t bit)
{
    for (size_t i = 0; i < n; i++) {
        for (uint32_t code = ranges[i].first; code <= ranges[i].last; code++)
            flags[code] |= bit;
    }
}

static void flags_fill(void)
{
    MARK(space_ranges, CODE_SPACE);
    MARK(control_ranges, CODE_CONTROL);
    MARK(punctuation_ranges, CODE_PUNCTUATION);
    MARK(nonspacing_ranges, CODE_NONSPACING);
    MARK(combining_ranges, CODE_COMBINING);
    MARK(numeric_ranges, CODE_NUMERIC);
    MARK(chinese_ranges, CODE_CHINESE);
    MARK(changing_ranges, CODE_CHANGES);
    MARK(combining_ranges, CODE_CHANGES);
    for (size_t i = 0; i < COUNT_OF(lower_runs); i++) {
        for (uint32_t code = lower_runs[i].first; code <= lower_runs[i].last; code += lower_runs[i].step)
            flags[code] |= CODE_CHANGES;
    }
}

const uint8_t *unicode_flags(void)
{
    pthread_once(&flags_once, flags_fill);
    return flags;
}

static bool range_has(const struct code_range *ranges, size_t n, uint32_t code)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && code >= ranges[low].first;
}
#define RANGE_HAS(ranges, code) range_has(ranges, COUNT_OF(ranges), code)

uint32_t unicode_lower(uint32_t code)
{
    if (code < 0x80)
        return code - 'A' < 26u ? code + 32 : code;
    if (code == 0x130)
        return 'i';
    size_t low = 0, high = COUNT_OF(lower_runs);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code > lower_runs[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    const struct lower_run *run = lower_runs + low;
    if (low == COUNT_OF(lower_runs) || code < run->first || (code - run->first) % run->step)
        return code;
    return (uint32_t)((int32_t)code + run->add);
}

size_t unicode_decompose(uint32_t code, bool is_compatible, uint32_t out[DECOMPOSED_MAX])
{
    out[0] = code;
    if (code < 0xA0 || RANGE_HAS(whole_ranges, code))
        return 1;
    utf8proc_int32_t codes[DECOMPOSED_MAX];
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)code, codes, DECOMPOSED_MAX,
                                                 is_compatible ? UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT : UTF8PROC_DECOMPOSE, NULL);
    if (n < 1 || n > DECOMPOSED_MAX)
        return 1;
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out[i] = (uint32_t)codes[i];
    return (size_t)n;
}

uint32_t unicode_compose(uint32_t a, uint32_t b)
{
    if (b < 0x300 || a < 0x3C)              /* the first second half, the first first half */
        return 0;
    utf8proc_int32_t pair[2] = { (utf8proc_int32_t)a, (utf8proc_int32_t)b };
    if (utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) != 1 || RANGE_HAS(whole_ranges, (uint32_t)pair[0]))
        return 0;
    return (uint32_t)pair[0];
}

unsigned unicode_class(uint32_t code)
{
    if (!(unicode_flags()[code] & CODE_COMBINING))
        return 0;
    return (unsigned)utf8proc_get_property((utf8proc_int32_t)code)->combining_class;
}

/* ---- grapheme clusters, UAX #29 ---- */

enum grapheme {
    OTHER, CONTROL, CR, LF, EXTEND, JOINER, PREPEND, HANGUL_L, HANGUL_V, HANGUL_T, HANGUL_LV, HANGUL_LVT, REGIONAL, PICTURE
};

static enum grapheme grapheme_class(uint32_t code)
{
    if (code < 0x80)
        return code == '\r' ? CR : code == '\n' ? LF : code < 0x20 || code == 0x7F ? CONTROL : OTHER;
    if (code == 0x200D)
        return JOINER;
    if (code - 0xAC00u < 11172)
        return (code - 0xAC00u) % 28 ? HANGUL_LVT : HANGUL_LV;
    if (RANGE_HAS(extend_ranges, code))
        return EXTEND;
    if (RANGE_HAS(prepend_ranges, code))
        return PREPEND;
    switch (utf8proc_get_property((utf8proc_int32_t)code)->boundclass) {
    case UTF8PROC_BOUNDCLASS_CONTROL: return CONTROL;
    case UTF8PROC_BOUNDCLASS_L: return HANGUL_L;
    case UTF8PROC_BOUNDCLASS_V: return HANGUL_V;
    case UTF8PROC_BOUNDCLASS_T: return HANGUL_T;
    case UTF8PROC_BOUNDCLASS_REGIONAL_INDICATOR: return REGIONAL;
    case UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC: return PICTURE;
    default: return OTHER;
    }
}

/* Is there no break between `before` and `after`? (GB3 to GB13 without GB9c, whose clusters are too long to matter here.) */
static bool grapheme_joins(enum grapheme before, enum grapheme after, bool is_flag_open, bool is_picture_open)
{
    if (before == CR || before == LF || before == CONTROL)
        return before == CR && after == LF;
    switch (after) {
    case EXTEND: case JOINER: return true;
    case CR: case LF: case CONTROL: return false;
    case HANGUL_L: case HANGUL_LV: case HANGUL_LVT: if (before == HANGUL_L) return true; break;
    case HANGUL_V: if (before == HANGUL_L || before == HANGUL_V || before == HANGUL_LV) return true; break;
    case HANGUL_T: if (before >= HANGUL_V && before <= HANGUL_LVT) return true; break;
    case REGIONAL: if (is_flag_open) return true; break;
    case PICTURE: if (is_picture_open && before == JOINER) return true; break;
    default: break;
    }
    return before == PREPEND;
}

size_t unicode_grapheme(str s, size_t at)
{
    size_t end = at;
    enum grapheme before = grapheme_class(utf8_next(s, &end));
    bool is_flag_open = before == REGIONAL, is_picture_open = before == PICTURE;
    while (end < s.len) {
        unsigned char byte = (unsigned char)s.ptr[end];
        if (byte < 0x80 && before == OTHER)             /* most text */
            return end;
        size_t next = end;
        enum grapheme after = grapheme_class(utf8_next(s, &next));
        if (!grapheme_joins(before, after, is_flag_open, is_picture_open))
            return end;
        is_flag_open = after == REGIONAL && !is_flag_open;
        is_picture_open = after == PICTURE || (is_picture_open && (after == EXTEND || after == JOINER));
        before = after;
        end = next;
    }
    return end;
}

/* ---- for regular expressions ---- */

enum category unicode_run(size_t *run, struct code_range *out)
{
    if (*run == COUNT_OF(category_runs))
        return CAT_COUNT;
    uint32_t here = category_runs[*run];
    ++*run;
    *out = (struct code_range){ here >> 5, *run < COUNT_OF(category_runs) ? (category_runs[*run] >> 5) - 1 : CODE_END - 1 };
    return (enum category)(here & 31);
}

const struct code_range *unicode_han(size_t *n)
{
    *n = COUNT_OF(han_ranges);
    return han_ranges;
}

const struct code_range *unicode_space(size_t *n)
{
    *n = COUNT_OF(space_ranges);
    return space_ranges;
}
