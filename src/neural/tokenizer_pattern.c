/* neural/tokenizer_pattern.c -- the regular expressions of tokenizer.json.
 *
 * They are few, short, written for Oniguruma (which tries alternatives in order and takes the first that leads to a match) and
 * run over every byte of every text. RE2 does not know the one feature they all use, the look-ahead \s+(?!\S). So they are
 * compiled whole, at load, into a deterministic automaton over classes of characters: one table look-up a character, no memory
 * at run time.
 *
 * A state is a list of places in the pattern, best first, taken before what the next character decides: look-ahead of one
 * character is then nothing but a condition on the class that is about to be read (the end of the text is a class too). When a
 * list comes upon the end of the pattern, the match may end here and everything that ranks below is dropped; what ranks above
 * goes on, and if it comes to an end too, that is the match. This is the subset construction with priorities that RE2 uses.
 *
 * Known: literals, classes with \p{..}, groups, (?i) for ASCII letters, | ? * + {n,m} greedy and lazy, possessive where it
 * changes nothing, look-ahead of one character. Anything else is an error at load: a pattern half understood would be worse. */
#include "neural/tokenizer_pattern.h"

#include <stdlib.h>

#include "base/utf8.h"
#include "neural/tokenizer_unicode.h"

enum {
    SETS_MAX = 64,                  /* different sets of characters in one pattern */
    CLASSES_MAX = 250,              /* of characters that no set tells apart */
    CODE_MAX = 1500,                /* instructions, repetitions written out */
    STATES_MAX = 4000,
    GROUPS_DEPTH_MAX = 50,
    REPEAT_MAX = 1000,
    PAGE = 256,
    PAGES = CODE_END / PAGE,
};

/* The table. An entry is the next state, with ENDS if a match may end before this character. State 0: nothing more can match. */
enum { ENDS = 0x8000, START = 1 };

struct pattern {
    uint16_t *next;                 /* [states][n_classes] */
    uint32_t n_classes;             /* the last one is the end of the text */
    uint8_t ascii[128];
    uint16_t pages[PAGES];          /* which block of `classes` */
    uint8_t *classes;               /* [blocks][PAGE] */
};

static uint32_t class_of(const struct pattern *p, str text, size_t *at)
{
    unsigned char byte = (unsigned char)text.ptr[*at];
    if (byte < 0x80) {
        ++*at;
        return p->ascii[byte];
    }
    uint32_t code = utf8_decode(text, at);
    return p->classes[p->pages[code / PAGE] * PAGE + code % PAGE];
}

bool pattern_find(const struct pattern *p, str text, size_t from, size_t *start, size_t *end)
{
    for (size_t first = from;; ) {
        uint32_t state = START;
        size_t at = first, last = SIZE_MAX;
        while (state) {
            size_t here = at;
            uint32_t class = at < text.len ? class_of(p, text, &at) : p->n_classes - 1;
            uint32_t entry = p->next[state * p->n_classes + class];
            if (entry & ENDS)
                last = here;
            state = here < text.len ? entry & (ENDS - 1) : 0;
        }
        if (last != SIZE_MAX) {
            *start = first;
            *end = last;
            return true;
        }
        if (first >= text.len)
            return false;
        utf8_next(text, &first);
    }
}

/* ---- sets of characters: ranges in order, none touching the next ---- */

struct set { struct code_range *ranges; size_t n; };

static void set_range(struct arena *a, struct set *s, uint32_t first, uint32_t last)
{
    *PUSH(a, s->ranges, s->n) = (struct code_range){ first, last };
}

static int range_order(const void *x, const void *y)
{
    const struct code_range *a = x, *b = y;
    return a->first < b->first ? -1 : a->first > b->first;
}

static void set_settle(struct set *s)
{
    if (s->n == 0)
        return;
    qsort(s->ranges, s->n, sizeof *s->ranges, range_order);
    size_t kept = 0;
    for (size_t i = 1; i < s->n; i++) {
        if (s->ranges[i].first <= s->ranges[kept].last + 1) {
            if (s->ranges[i].last > s->ranges[kept].last)
                s->ranges[kept].last = s->ranges[i].last;
        } else {
            s->ranges[++kept] = s->ranges[i];
        }
    }
    s->n = kept + 1;
}

static struct set set_complement(struct arena *a, const struct set *s)
{
    struct set out = { 0 };
    uint32_t from = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->ranges[i].first > from)
            set_range(a, &out, from, s->ranges[i].first - 1);
        from = s->ranges[i].last + 1;
    }
    if (from < CODE_END)
        set_range(a, &out, from, CODE_END - 1);
    return out;
}

static void set_join(struct arena *a, struct set *to, const struct set *from)
{
    for (size_t i = 0; i < from->n; i++)
        set_range(a, to, from->ranges[i].first, from->ranges[i].last);
}

static bool set_meets(const struct set *a, const struct set *b)
{
    for (size_t i = 0, j = 0; i < a->n && j < b->n;) {
        if (a->ranges[i].last < b->ranges[j].first)
            i++;
        else if (b->ranges[j].last < a->ranges[i].first)
            j++;
        else
            return true;
    }
    return false;
}

static bool set_equal(const struct set *a, const struct set *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->ranges, b->ranges, a->n * sizeof *a->ranges) == 0);
}

static struct set set_categories(struct arena *a, uint32_t categories)
{
    struct set out = { 0 };
    struct code_range run;
    enum category one;
    for (size_t at = 0; (one = unicode_run(&at, &run)) != CAT_COUNT;) {
        if (categories >> one & 1)
            set_range(a, &out, run.first, run.last);
    }
    set_settle(&out);
    return out;
}

/* ---- from text to a tree ---- */

enum node_kind { NODE_EMPTY, NODE_SET, NODE_AHEAD, NODE_CONCAT, NODE_EITHER, NODE_REPEAT };

struct node {
    enum node_kind kind;
    uint32_t set;                   /* NODE_SET; NODE_AHEAD: what must come */
    bool or_end;                    /* NODE_AHEAD: or nothing */
    bool is_lazy, is_possessive;    /* NODE_REPEAT */
    uint32_t low, high;             /* NODE_REPEAT; high UINT32_MAX: no bound */
    struct node **parts;
    size_t n;
};

enum op { OP_SET, OP_AHEAD, OP_FORK, OP_JUMP, OP_END };

struct code { enum op op; uint32_t set; bool or_end; uint32_t to, other; };     /* OP_FORK: `to` first */

struct compiler {
    struct arena *a;
    struct err *e;
    str source;
    size_t at;
    unsigned depth;
    bool folds;
    bool is_failed;
    struct set sets[SETS_MAX];
    size_t n_sets;
    struct code code[CODE_MAX];
    uint32_t n_code;
};

static void wrong(struct compiler *c, const char *what)
{
    if (!c->is_failed)
        err_set(c->e, "regular expression \"%.*s\", byte %zu: %s", (int)(c->source.len < 120 ? c->source.len : 120),
                c->source.ptr, c->at, what);
    c->is_failed = true;
}

static uint32_t set_number(struct compiler *c, struct set *s)
{
    set_settle(s);
    for (uint32_t i = 0; i < c->n_sets; i++) {
        if (set_equal(c->sets + i, s))
            return i;
    }
    if (c->n_sets == SETS_MAX) {
        wrong(c, "more than 64 different sets of characters");
        return 0;
    }
    c->sets[c->n_sets] = *s;
    return (uint32_t)c->n_sets++;
}

static struct node *node_new(struct compiler *c, enum node_kind kind)
{
    struct node *n = ARENA_NEW(c->a, struct node);
    n->kind = kind;
    return n;
}

static struct node *node_of_set(struct compiler *c, struct set s)
{
    struct node *n = node_new(c, NODE_SET);
    n->set = set_number(c, &s);
    return n;
}

static void node_push(struct compiler *c, struct node *to, struct node *part)
{
    *PUSH(c->a, to->parts, to->n) = part;
}

static int peek(const struct compiler *c)
{
    return c->at < c->source.len ? (unsigned char)c->source.ptr[c->at] : -1;
}

static bool take(struct compiler *c, const char *text)
{
    if (!str_starts(str_from(c->source, c->at), str_of(text)))
        return false;
    c->at += strlen(text);
    return true;
}

/* A character and, under (?i), its other cases. */
static void set_char(struct compiler *c, struct set *s, uint32_t first, uint32_t last)
{
    set_range(c->a, s, first, last);
    if (!c->folds)
        return;
    if (last >= 0x80 && last != CODE_END - 1)
        wrong(c, "(?i) is known for ASCII alone");
    for (uint32_t code = first; code <= last && code < 0x80; code++) {
        if (utf8_ascii_alnum((unsigned char)code) && code > '9')
            set_range(c->a, s, code ^ 32, code ^ 32);
        if ((code | 32) == 'k')
            set_range(c->a, s, 0x212A, 0x212A);     /* Kelvin sign */
        if ((code | 32) == 's')
            set_range(c->a, s, 0x17F, 0x17F);       /* long s */
    }
}

#define CAT(x) (1u << CAT_##x)

static const struct { const char *name; uint32_t categories; } properties[] = {
    { "L", CAT(LU) | CAT(LL) | CAT(LT) | CAT(LM) | CAT(LO) }, { "Letter", CAT(LU) | CAT(LL) | CAT(LT) | CAT(LM) | CAT(LO) },
    { "M", CAT(MN) | CAT(MC) | CAT(ME) }, { "Mark", CAT(MN) | CAT(MC) | CAT(ME) },
    { "N", CAT(ND) | CAT(NL) | CAT(NO) }, { "Number", CAT(ND) | CAT(NL) | CAT(NO) },
    { "P", CAT(PC) | CAT(PD) | CAT(PS) | CAT(PE) | CAT(PI) | CAT(PF) | CAT(PO) },
    { "Punctuation", CAT(PC) | CAT(PD) | CAT(PS) | CAT(PE) | CAT(PI) | CAT(PF) | CAT(PO) },
    { "S", CAT(SM) | CAT(SC) | CAT(SK) | CAT(SO) }, { "Symbol", CAT(SM) | CAT(SC) | CAT(SK) | CAT(SO) },
    { "Z", CAT(ZS) | CAT(ZL) | CAT(ZP) }, { "Separator", CAT(ZS) | CAT(ZL) | CAT(ZP) },
    { "C", CAT(CC) | CAT(CF) | CAT(CS) | CAT(CO) | CAT(CN) }, { "Other", CAT(CC) | CAT(CF) | CAT(CS) | CAT(CO) | CAT(CN) },
    { "Lu", CAT(LU) }, { "Ll", CAT(LL) }, { "Lt", CAT(LT) }, { "Lm", CAT(LM) }, { "Lo", CAT(LO) }, { "Mn", CAT(MN) },
    { "Mc", CAT(MC) }, { "Me", CAT(ME) }, { "Nd", CAT(ND) }, { "Nl", CAT(NL) }, { "No", CAT(NO) }, { "Pc", CAT(PC) },
    { "Pd", CAT(PD) }, { "Ps", CAT(PS) }, { "Pe", CAT(PE) }, { "Pi", CAT(PI) }, { "Pf", CAT(PF) }, { "Po", CAT(PO) },
    { "Sm", CAT(SM) }, { "Sc", CAT(SC) }, { "Sk", CAT(SK) }, { "So", CAT(SO) }, { "Zs", CAT(ZS) }, { "Zl", CAT(ZL) },
    { "Zp", CAT(ZP) }, { "Cc", CAT(CC) }, { "Cf", CAT(CF) }, { "Cn", CAT(CN) }, { "Co", CAT(CO) }, { "Cs", CAT(CS) },
};

static struct set set_space(struct compiler *c)
{
    struct set out = { 0 };
    size_t n;
    const struct code_range *ranges = unicode_space(&n);
    for (size_t i = 0; i < n; i++)
        set_range(c->a, &out, ranges[i].first, ranges[i].last);
    return out;
}

/* \w is Alphabetic, marks, decimal digits, connectors; Oniguruma adds the Latin-1 numbers. Rust's would add the joiners. */
static struct set set_word(struct compiler *c)
{
    static const struct code_range more[] = {
        { 0xB2, 0xB3 }, { 0xB9, 0xB9 }, { 0xBC, 0xBE }, { 0x24B6, 0x24E9 }, { 0x1F130, 0x1F149 }, { 0x1F150, 0x1F169 },
        { 0x1F170, 0x1F189 },
    };
    struct set out = set_categories(c->a, CAT(LU) | CAT(LL) | CAT(LT) | CAT(LM) | CAT(LO) | CAT(MN) | CAT(MC) | CAT(ME) |
                                              CAT(ND) | CAT(NL) | CAT(PC));
    for (size_t i = 0; i < COUNT_OF(more); i++)
        set_range(c->a, &out, more[i].first, more[i].last);
    return out;
}

static struct set read_property(struct compiler *c, bool is_inverted)   /* behind \p or \P */
{
    struct set out = { 0 };
    str rest = str_from(c->source, c->at);
    long close = str_chr(rest, '}');
    if (rest.len < 3 || rest.ptr[0] != '{' || close < 2) {
        wrong(c, "expected {property} behind \\p");
        return out;
    }
    str name = { rest.ptr + 1, (size_t)close - 1 };
    if (name.ptr[0] == '^') {
        is_inverted = !is_inverted;
        name = str_from(name, 1);
    }
    bool is_known = false;
    if (str_ieq(name, S("Han"))) {
        size_t n;
        const struct code_range *ranges = unicode_han(&n);
        for (size_t i = 0; i < n; i++)
            set_range(c->a, &out, ranges[i].first, ranges[i].last);
        is_known = true;
    }
    for (size_t i = 0; i < COUNT_OF(properties) && !is_known; i++) {
        is_known = str_ieq(name, str_of(properties[i].name));
        if (is_known)
            out = set_categories(c->a, properties[i].categories);
    }
    if (!is_known)
        wrong(c, "a property that is not known here");
    c->at += (size_t)close + 1;
    return is_inverted ? set_complement(c->a, &out) : out;
}

static uint32_t read_hex(struct compiler *c, size_t most)
{
    uint32_t code = 0;
    size_t n = 0;
    for (; n < most; n++) {
        int byte = peek(c), lower = byte | 32;
        if (byte >= '0' && byte <= '9')
            code = code * 16 + (uint32_t)(byte - '0');
        else if (lower >= 'a' && lower <= 'f' && byte > 0)
            code = code * 16 + (uint32_t)(lower - 'a') + 10;
        else
            break;
        c->at++;
    }
    if (n == 0 || code >= CODE_END)
        wrong(c, "expected the hexadecimal number of a character");
    return code < CODE_END ? code : 0;
}

/* An escape, behind its backslash: a set in *out (true) or one character in *code. */
static bool read_escape(struct compiler *c, struct set *out, uint32_t *code)
{
    static const char plain[] = "tnrfvae", meaning[] = "\t\n\r\f\v\a\033";
    if (c->at == c->source.len) {
        wrong(c, "ends in a backslash");
        *code = 0;
        return false;
    }
    *code = utf8_next(c->source, &c->at);
    switch (*code) {
    case 'p': case 'P':
        *out = read_property(c, *code == 'P');
        return true;
    case 's': case 'S':
        *out = set_space(c);
        if (*code == 'S')
            *out = set_complement(c->a, out);
        return true;
    case 'd': case 'D':
        *out = set_categories(c->a, *code == 'd' ? CAT(ND) : ~CAT(ND));
        return true;
    case 'w': case 'W':
        *out = set_word(c);
        set_settle(out);
        if (*code == 'W')
            *out = set_complement(c->a, out);
        return true;
    case 'x':
        if (take(c, "{")) {
            *code = read_hex(c, 6);
            if (!take(c, "}"))
                wrong(c, "expected }");
        } else {
            *code = read_hex(c, 2);
        }
        return false;
    case 'u':
        *code = read_hex(c, 4);
        return false;
    default: {
        const char *known = *code && *code < 0x80 ? strchr(plain, (int)*code) : NULL;
        if (known)
            *code = (unsigned char)meaning[known - plain];
        else if (*code < 0x80 && utf8_ascii_alnum((unsigned char)*code))
            wrong(c, "an escape that is not known here");
        return false;
    }
    }
}

static struct set read_class(struct compiler *c)                /* behind [ */
{
    struct set out = { 0 };
    bool is_inverted = take(c, "^"), is_first = true;
    for (; !c->is_failed; is_first = false) {
        int byte = peek(c);
        if (byte < 0) {
            wrong(c, "expected ]");
            break;
        }
        if (byte == ']' && !is_first)
            break;
        if (byte == '[' || str_starts(str_from(c->source, c->at), S("&&"))) {
            wrong(c, "classes in classes are not known here");
            break;
        }
        struct set escaped = { 0 };
        uint32_t first = 0;
        bool is_set = take(c, "\\") ? read_escape(c, &escaped, &first) : (first = utf8_next(c->source, &c->at), false);
        if (is_set) {
            set_join(c->a, &out, &escaped);
            continue;
        }
        uint32_t last = first;
        str rest = str_from(c->source, c->at);
        if (rest.len > 1 && rest.ptr[0] == '-' && rest.ptr[1] != ']') {
            c->at++;
            bool ends_in_set = take(c, "\\") ? read_escape(c, &escaped, &last) : (last = utf8_next(c->source, &c->at), false);
            if (ends_in_set || last < first)
                wrong(c, "a range that ends before it begins");
        }
        set_char(c, &out, first, last);
    }
    take(c, "]");
    set_settle(&out);
    return is_inverted ? set_complement(c->a, &out) : out;
}

static struct node *read_either(struct compiler *c);

/* (?=X) and (?!X), where X is one set. */
static struct node *read_ahead(struct compiler *c, bool is_negative)
{
    struct node *inside = read_either(c), *n = node_new(c, NODE_AHEAD);
    while (inside->kind == NODE_CONCAT && inside->n == 1)
        inside = inside->parts[0];
    if (inside->kind != NODE_SET) {
        wrong(c, "look-ahead of other than one character is not known here");
        return n;
    }
    struct set s = c->sets[inside->set];
    if (is_negative)
        s = set_complement(c->a, &s);
    n->set = set_number(c, &s);
    n->or_end = is_negative;
    return n;
}

static struct node *read_group(struct compiler *c)              /* behind ( */
{
    bool folds = c->folds;
    struct node *n = NULL;
    if (++c->depth > GROUPS_DEPTH_MAX)
        wrong(c, "groups too deep");
    else if (take(c, "?="))
        n = read_ahead(c, false);
    else if (take(c, "?!"))
        n = read_ahead(c, true);
    else if (take(c, "?i)")) {                                  /* to the end of the group around it */
        c->folds = true;
        c->depth--;
        return node_new(c, NODE_EMPTY);
    } else {
        if (take(c, "?i:"))
            c->folds = true;
        else if (!take(c, "?:") && peek(c) == '?')
            wrong(c, "a kind of group that is not known here");
        if (!c->is_failed)
            n = read_either(c);
    }
    if (!c->is_failed && !take(c, ")"))
        wrong(c, "expected )");
    c->depth--;
    c->folds = folds;
    return n ? n : node_new(c, NODE_EMPTY);
}

static struct node *read_atom(struct compiler *c)
{
    struct set s = { 0 };
    uint32_t code;
    if (take(c, "("))
        return read_group(c);
    if (take(c, "["))
        return node_of_set(c, read_class(c));
    if (take(c, ".")) {
        set_range(c->a, &s, 0, '\n' - 1);
        set_range(c->a, &s, '\n' + 1, CODE_END - 1);
        return node_of_set(c, s);
    }
    if (take(c, "\\")) {
        if (read_escape(c, &s, &code))
            return node_of_set(c, s);
    } else {
        if (strchr("^$*+?", peek(c)))
            wrong(c, "anchors, and repetition of nothing, are not known here");
        code = utf8_next(c->source, &c->at);
    }
    set_char(c, &s, code, code);
    return node_of_set(c, s);
}

static bool read_number(struct compiler *c, uint32_t *out)
{
    size_t from = c->at;
    for (*out = 0; peek(c) >= '0' && peek(c) <= '9' && *out <= REPEAT_MAX; c->at++)
        *out = *out * 10 + (uint32_t)(peek(c) - '0');
    return c->at > from;
}

/* {n} {n,} {,m} {n,m}; anything else is the literal brace. */
static bool read_counts(struct compiler *c, uint32_t *low, uint32_t *high)
{
    size_t back = c->at++;
    bool has_low = read_number(c, low), has_high = has_low;
    *high = *low;
    if (take(c, ",")) {
        has_high = read_number(c, high);
        if (!has_high)
            *high = UINT32_MAX;
    }
    if (take(c, "}") && (has_low || has_high)) {
        if (*low > REPEAT_MAX || (*high != UINT32_MAX && (*high > REPEAT_MAX || *high < *low)))
            wrong(c, "a repetition out of bounds");
        return true;
    }
    c->at = back;
    return false;
}

static struct node *read_repeat(struct compiler *c)
{
    struct node *n = read_atom(c);
    while (!c->is_failed) {
        uint32_t low = 0, high = UINT32_MAX;
        bool is_counted = false;
        if (take(c, "?"))
            high = 1;
        else if (take(c, "+"))
            low = 1;
        else if (peek(c) == '{' && read_counts(c, &low, &high))
            is_counted = true;
        else if (!take(c, "*"))
            break;
        struct node *repeat = node_new(c, NODE_REPEAT);
        repeat->low = low;
        repeat->high = high;
        if (take(c, "?"))
            repeat->is_lazy = true;
        else if (!is_counted && take(c, "+"))               /* {n,m}+ repeats the repetition, in Oniguruma */
            repeat->is_possessive = true;
        node_push(c, repeat, n);
        n = repeat;
    }
    return n;
}

static bool node_may_be_empty(const struct node *n)
{
    switch (n->kind) {
    case NODE_EMPTY: return true;
    case NODE_REPEAT: return n->low == 0 || node_may_be_empty(n->parts[0]);
    case NODE_CONCAT:
        for (size_t i = 0; i < n->n; i++) {
            if (!node_may_be_empty(n->parts[i]))
                return false;
        }
        return true;
    case NODE_EITHER:
        for (size_t i = 0; i < n->n; i++) {
            if (node_may_be_empty(n->parts[i]))
                return true;
        }
        return false;
    default: return false;
    }
}

static bool node_may_begin_in(const struct compiler *c, const struct node *n, const struct set *s)
{
    if (n->kind == NODE_SET)
        return set_meets(c->sets + n->set, s);
    if (n->kind == NODE_AHEAD)
        return true;
    for (size_t i = 0; i < n->n; i++) {
        if (node_may_begin_in(c, n->parts[i], s))
            return true;
        if (n->kind == NODE_CONCAT && !node_may_be_empty(n->parts[i]))
            break;
    }
    return false;
}

/* A possessive repetition equals a greedy one if giving a character back can never help: because what follows cannot begin with
 * one, or because it may be empty and so never fails. */
static void possession_check(struct compiler *c, const struct node *concat, size_t i)
{
    const struct node *repeat = concat->parts[i], *inside = repeat->parts[0];
    bool never_fails = c->depth == 0;
    for (size_t j = i + 1; j < concat->n; j++) {
        if (inside->kind != NODE_SET)
            break;
        never_fails = never_fails && node_may_be_empty(concat->parts[j]);
        if (node_may_begin_in(c, concat->parts[j], c->sets + inside->set) && !never_fails)
            break;
        if (!node_may_be_empty(concat->parts[j]))
            return;
    }
    if (inside->kind != NODE_SET || !never_fails)
        wrong(c, "a possessive repetition that greedy ones cannot express");
}

static struct node *read_concat(struct compiler *c)
{
    struct node *n = node_new(c, NODE_CONCAT);
    while (!c->is_failed && peek(c) >= 0 && peek(c) != '|' && peek(c) != ')')
        node_push(c, n, read_repeat(c));
    for (size_t i = 0; i < n->n && !c->is_failed; i++) {
        if (n->parts[i]->kind == NODE_REPEAT && n->parts[i]->is_possessive)
            possession_check(c, n, i);
    }
    return n;
}

static struct node *read_either(struct compiler *c)
{
    struct node *n = node_new(c, NODE_EITHER);
    do
        node_push(c, n, read_concat(c));
    while (!c->is_failed && take(c, "|"));
    return n->n == 1 ? n->parts[0] : n;
}

/* ---- from the tree to instructions ---- */

static uint32_t emit(struct compiler *c, struct code one)
{
    if (c->n_code == CODE_MAX) {
        wrong(c, "too long with its repetitions written out");
        return 0;
    }
    c->code[c->n_code] = one;
    return c->n_code++;
}

static void fork_set(struct compiler *c, uint32_t fork, bool is_lazy, uint32_t inside, uint32_t behind)
{
    c->code[fork].to = is_lazy ? behind : inside;
    c->code[fork].other = is_lazy ? inside : behind;
}

static void emit_node(struct compiler *c, const struct node *n);

static void emit_repeat(struct compiler *c, const struct node *n)
{
    for (uint32_t i = 0; i < n->low && !c->is_failed; i++)
        emit_node(c, n->parts[0]);
    if (n->high == UINT32_MAX) {
        uint32_t fork = emit(c, (struct code){ .op = OP_FORK });
        emit_node(c, n->parts[0]);
        emit(c, (struct code){ .op = OP_JUMP, .to = fork });
        fork_set(c, fork, n->is_lazy, fork + 1, c->n_code);
        return;
    }
    for (uint32_t i = n->low; i < n->high && !c->is_failed; i++) {
        uint32_t fork = emit(c, (struct code){ .op = OP_FORK });
        emit_node(c, n->parts[0]);
        fork_set(c, fork, n->is_lazy, fork + 1, c->n_code);
    }
}

static void emit_node(struct compiler *c, const struct node *n)
{
    if (c->is_failed)
        return;
    switch (n->kind) {
    case NODE_EMPTY:
        break;
    case NODE_SET: case NODE_AHEAD:
        emit(c, (struct code){ .op = n->kind == NODE_SET ? OP_SET : OP_AHEAD, .set = n->set, .or_end = n->or_end });
        break;
    case NODE_CONCAT:
        for (size_t i = 0; i < n->n; i++)
            emit_node(c, n->parts[i]);
        break;
    case NODE_REPEAT:
        emit_repeat(c, n);
        break;
    case NODE_EITHER: {
        uint32_t *jumps = ARENA_ARRAY(c->a, uint32_t, n->n);
        for (size_t i = 0; i < n->n; i++) {
            bool is_last = i + 1 == n->n;
            uint32_t fork = is_last ? 0 : emit(c, (struct code){ .op = OP_FORK });
            emit_node(c, n->parts[i]);
            if (!is_last) {
                jumps[i] = emit(c, (struct code){ .op = OP_JUMP });
                fork_set(c, fork, false, fork + 1, c->n_code);
            }
        }
        for (size_t i = 0; i + 1 < n->n && !c->is_failed; i++)
            c->code[jumps[i]].to = c->n_code;
        break;
    }
    }
}

/* ---- classes: characters that no set tells apart ---- */

static int number_order(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return a < b ? -1 : a > b;
}

/* Fills the pages of p and members[class], a bit per set. The number of classes; 0: too many. */
static uint32_t classes_make(struct compiler *c, struct pattern *p, struct arena *a, uint64_t members[CLASSES_MAX])
{
    size_t n_ranges = 1;
    for (size_t i = 0; i < c->n_sets; i++)
        n_ranges += c->sets[i].n;
    uint32_t *bounds = arena_try(c->a, 2 * n_ranges * sizeof *bounds), n_bounds = 0;
    uint8_t *flat = arena_try(c->a, CODE_END);
    if (!bounds || !flat)
        return 0;
    bounds[n_bounds++] = 0;
    bounds[n_bounds++] = CODE_END;
    for (size_t i = 0; i < c->n_sets; i++) {
        for (size_t j = 0; j < c->sets[i].n; j++) {
            bounds[n_bounds++] = c->sets[i].ranges[j].first;
            bounds[n_bounds++] = c->sets[i].ranges[j].last + 1;
        }
    }
    qsort(bounds, n_bounds, sizeof *bounds, number_order);
    uint32_t n_classes = 0;
    size_t passed[SETS_MAX] = { 0 };
    for (uint32_t i = 0; i + 1 < n_bounds; i++) {
        if (bounds[i] == bounds[i + 1])
            continue;
        uint64_t in = 0;
        for (size_t k = 0; k < c->n_sets; k++) {
            const struct set *s = c->sets + k;
            while (passed[k] < s->n && s->ranges[passed[k]].last < bounds[i])
                passed[k]++;
            if (passed[k] < s->n && s->ranges[passed[k]].first <= bounds[i])
                in |= (uint64_t)1 << k;
        }
        uint32_t class = 0;
        while (class < n_classes && members[class] != in)
            class++;
        if (class == n_classes) {
            if (n_classes == CLASSES_MAX)
                return 0;
            members[n_classes++] = in;
        }
        memset(flat + bounds[i], (int)class, bounds[i + 1] - bounds[i]);
    }
    memcpy(p->ascii, flat, sizeof p->ascii);
    uint16_t blocks[PAGES], n_blocks = 0;           /* first page of each different block; most pages are all alike */
    for (uint32_t page = 0; page < PAGES; page++) {
        const uint8_t *here = flat + page * PAGE;
        uint16_t block = page ? p->pages[page - 1] : 0;
        if (page && memcmp(flat + blocks[block] * PAGE, here, PAGE) != 0)
            block = 0;
        while (block < n_blocks && memcmp(flat + blocks[block] * PAGE, here, PAGE) != 0)
            block++;
        if (block == n_blocks)
            blocks[n_blocks++] = (uint16_t)page;
        p->pages[page] = block;
    }
    p->classes = arena_try(a, (size_t)n_blocks * PAGE);
    if (!p->classes)
        return 0;
    for (uint16_t i = 0; i < n_blocks; i++)
        memcpy(p->classes + i * PAGE, flat + blocks[i] * PAGE, PAGE);
    return n_classes;
}

/* ---- from instructions to the table ---- */

struct state { uint16_t *places; uint32_t n; };     /* best first */

struct builder {
    const struct compiler *c;
    const uint64_t *members;
    struct state states[STATES_MAX];
    uint32_t n_states;
    uint32_t seen[CODE_MAX], turn;  /* of this closure */
    uint16_t stepped[CODE_MAX];     /* the list that one character leads to */
    uint32_t n_stepped;
    uint32_t listed[CODE_MAX];
    bool has_ended;
};

/* Follows place `at` as far as it goes without a character; those that take `class` put their successor on the list. */
static void follow(struct builder *b, uint32_t at, uint32_t class, bool is_end)
{
    while (!b->has_ended && b->seen[at] != b->turn) {
        b->seen[at] = b->turn;
        const struct code *code = b->c->code + at;
        bool is_in = !is_end && b->members[class] >> code->set & 1;
        switch (code->op) {
        case OP_SET:
            if (is_in && b->listed[at + 1] != b->turn) {
                b->listed[at + 1] = b->turn;
                b->stepped[b->n_stepped++] = (uint16_t)(at + 1);
            }
            return;
        case OP_AHEAD:
            if (!is_in && !(is_end && code->or_end))
                return;
            at++;
            break;
        case OP_JUMP:
            at = code->to;
            break;
        case OP_FORK:
            follow(b, code->to, class, is_end);
            at = code->other;
            break;
        case OP_END:
            b->has_ended = true;
            return;
        }
    }
}

static uint32_t state_of(struct builder *b, struct arena *a, const uint16_t *places, uint32_t n)
{
    if (n == 0)
        return 0;
    for (uint32_t i = 1; i < b->n_states; i++) {
        if (b->states[i].n == n && memcmp(b->states[i].places, places, n * sizeof *places) == 0)
            return i;
    }
    if (b->n_states == STATES_MAX)
        return STATES_MAX;
    uint16_t *copy = ARENA_ARRAY(a, uint16_t, n);
    memcpy(copy, places, n * sizeof *places);
    b->states[b->n_states] = (struct state){ copy, n };
    return b->n_states++;
}

static int table_make(struct compiler *c, struct pattern *p, struct arena *a, const uint64_t *members)
{
    struct builder *b = arena_try(c->a, sizeof *b);
    if (!b)
        return -1;
    memset(b, 0, sizeof *b);
    b->c = c;
    b->members = members;
    b->n_states = 1;
    state_of(b, c->a, (const uint16_t[]){ 0 }, 1);
    uint16_t *rows = NULL;
    size_t cap = 0;
    for (uint32_t state = 1; state < b->n_states; state++) {
        if (state >= cap) {
            size_t more = cap ? 2 * cap : 64;
            uint16_t *grown = arena_try(c->a, more * p->n_classes * sizeof *grown);
            if (!grown)
                return -1;
            if (rows)
                memcpy(grown, rows, cap * p->n_classes * sizeof *grown);
            rows = grown;
            cap = more;
        }
        for (uint32_t class = 0; class < p->n_classes; class++) {
            b->turn++;
            b->n_stepped = 0;
            b->has_ended = false;
            struct state from = b->states[state];
            for (uint32_t i = 0; i < from.n; i++)
                follow(b, from.places[i], class, class == p->n_classes - 1);
            uint32_t to = state_of(b, c->a, b->stepped, b->n_stepped);
            if (to == STATES_MAX) {
                wrong(c, "needs more than 4000 states");
                return -1;
            }
            rows[state * p->n_classes + class] = (uint16_t)(to | (b->has_ended ? ENDS : 0));
        }
    }
    p->next = arena_try(a, b->n_states * p->n_classes * sizeof *p->next);
    if (!p->next)
        return -1;
    memcpy(p->next, rows, b->n_states * p->n_classes * sizeof *p->next);
    return 0;
}

struct pattern *pattern_new(struct arena *a, str source, struct err *e)
{
    struct arena *passing = arena_new();
    struct pattern *p = arena_try(a, sizeof *p), *made = NULL;
    struct compiler *c = passing ? arena_try(passing, sizeof *c) : NULL;
    if (!p || !c) {
        err_set(e, "no memory for a regular expression");
        goto done;
    }
    memset(c, 0, sizeof *c);
    c->a = passing;
    c->e = e;
    c->source = source;
    struct node *tree = read_either(c);
    if (!c->is_failed && c->at < source.len)
        wrong(c, "a ) too many");
    if (!c->is_failed)
        emit_node(c, tree);
    emit(c, (struct code){ .op = OP_END });
    uint64_t members[CLASSES_MAX];
    if (!c->is_failed) {
        p->n_classes = classes_make(c, p, a, members);
        if (p->n_classes++ == 0)                                /* one more for the end */
            wrong(c, "tells too many kinds of characters apart");
    }
    if (!c->is_failed && table_make(c, p, a, members) == 0)
        made = p;
    if (!made)
        err_set(e, "regular expression \"%.*s\": no memory", (int)(source.len < 120 ? source.len : 120), source.ptr);
done:
    arena_free(passing);
    return made;
}
