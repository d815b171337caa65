/* signal/lower.c
 *
 * A recursive descent that carries, for every part of the pattern, either the exact set of
 * strings it stands for or the best set of literals it needs. Sets are kept small: beyond
 * SET_MAX a part is no longer exact, and what was known of it becomes a need. */
#include "signal/lower.h"

#include "base/utf8.h"

enum {
    SET_MAX = 128,                      /* strings; beyond: no longer exact */
    TEXT_MAX = 256,                     /* bytes of one string; beyond: no longer exact */
    CLASS_MAX = 32,                     /* characters of a class; beyond: any character */
    REPEAT_MAX = 4,                     /* x{n} up to here is written out */
    DEPTH_MAX = 64,                     /* nested groups; beyond: give up */
};

struct set { struct literal *items; size_t n; };    /* an item's text may be empty here */

struct part {
    bool is_exact;
    struct set exact;
    bool has_needs;
    struct set needs;                   /* none empty */
    struct set edge;                    /* not exact: has at both ends one of them; n 0: unknown */
};

struct parser {
    struct arena *a;
    str p;
    size_t at;
    bool fold, is_opaque;               /* is_opaque: something not understood, give up */
    unsigned depth;
};

/* ---- sets ---- */

static bool is_word_byte(unsigned char c)
{
    return c == '_' || (c < 0x80 && utf8_ascii_alnum(c));
}

static struct part part_any(void)
{
    return (struct part){ .is_exact = false };
}

static struct part part_one(struct arena *a, struct literal l)
{
    struct part p = { .is_exact = true };
    *PUSH(a, p.exact.items, p.exact.n) = l;
    return p;
}

/* How much a set of needs tells: the shortest literal counts, frequent ones hardly. */
static size_t set_worth(const struct set *s)
{
    size_t worth = SIZE_MAX;
    for (size_t i = 0; i < s->n; i++) {
        size_t w = 4 * s->items[i].text.len + s->items[i].word_start + s->items[i].word_end;
        if (s->items[i].text.len == 1 && memchr(" .,-'\"eatoin", s->items[i].text.ptr[0], 12))
            w = 1;
        if (w < worth)
            worth = w;
    }
    return s->n ? worth : 0;
}

static void needs_offer(struct part *p, const struct set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->items[i].text.len == 0)
            return;
    }
    if (s->n && (!p->has_needs || set_worth(s) > set_worth(&p->needs))) {
        p->has_needs = true;
        p->needs = *s;
    }
}

/* What a part needs, whether exact or not. */
static void needs_of(const struct part *from, struct part *to)
{
    if (from->is_exact)
        needs_offer(to, &from->exact);
    if (from->has_needs)
        needs_offer(to, &from->needs);
}

enum joint { JOINT_GOOD, JOINT_NEVER, JOINT_UNSURE };

/* Whether \b holds between the two bytes. With folding, k and s also stand for the Kelvin sign
 * and the long s, which are no word characters: then one cannot say. */
static enum joint joint_check(const struct parser *s, unsigned char left, unsigned char right)
{
    if (s->fold && (strchr("kKsS", left) || strchr("kKsS", right) || left >= 0x80 || right >= 0x80))
        return JOINT_UNSURE;
    return is_word_byte(left) != is_word_byte(right) ? JOINT_GOOD : JOINT_NEVER;
}

/* False: cannot be said. *is_never: the two cannot follow each other. */
static bool literal_join(const struct parser *s, const struct literal *l, const struct literal *r,
                         struct literal *out, bool *is_never)
{
    *is_never = false;
    if (l->text.len == 0 || r->text.len == 0) {
        const struct literal *full = l->text.len ? l : r;
        bool before = l->text.len == 0 && (l->word_start || l->word_end);
        bool behind = r->text.len == 0 && (r->word_start || r->word_end);
        *out = (struct literal){ full->text, full->word_start || before, full->word_end || behind };
        if (l->text.len + r->text.len == 0)
            out->word_start = out->word_end = before || behind;
        return true;
    }
    if (l->word_end || r->word_start) {
        unsigned char left = (unsigned char)l->text.ptr[l->text.len - 1];
        unsigned char right = (unsigned char)r->text.ptr[0];
        enum joint joint = joint_check(s, left, right);
        if (joint == JOINT_UNSURE)
            return false;
        *is_never = joint == JOINT_NEVER;
    }
    if (l->text.len + r->text.len > TEXT_MAX)
        return false;
    *out = (struct literal){ arena_printf(s->a, "%.*s%.*s", (int)l->text.len, l->text.ptr,
                                          (int)r->text.len, r->text.ptr),
                             l->word_start, r->word_end };
    return true;
}

/* False: the product is too large or unsure. */
static bool set_product(const struct parser *s, const struct set *l, const struct set *r,
                        struct set *out)
{
    *out = (struct set){ 0 };
    if (l->n * r->n > SET_MAX)
        return false;
    for (size_t i = 0; i < l->n; i++) {
        for (size_t k = 0; k < r->n; k++) {
            struct literal joined;
            bool is_never;
            if (!literal_join(s, &l->items[i], &r->items[k], &joined, &is_never))
                return false;
            if (!is_never)
                *PUSH(s->a, out->items, out->n) = joined;
        }
    }
    return out->n > 0;
}

/* ---- parts behind and beside each other ---- */

/* A run of parts: the exact product so far, and the best need among what was closed. */
struct run { struct part whole; struct set tail; bool is_exact; };

static struct run run_new(struct parser *s)
{
    struct run r = { .is_exact = true };
    *PUSH(s->a, r.tail.items, r.tail.n) = (struct literal){ S(""), false, false };
    return r;
}

static void run_add(struct parser *s, struct run *r, const struct part *next)
{
    const struct set *begins = next->is_exact ? &next->exact : &next->edge;
    struct set product;
    if (next->has_needs)
        needs_offer(&r->whole, &next->needs);
    bool is_joined = begins->n && r->tail.n && set_product(s, &r->tail, begins, &product);
    if (is_joined)
        r->tail = product;
    if (is_joined && next->is_exact)
        return;
    r->is_exact = false;
    needs_offer(&r->whole, &r->tail);
    r->tail = (struct set){ 0 };
    for (size_t i = 0; i < begins->n; i++)      /* it ends with one of these, too */
        *PUSH(s->a, r->tail.items, r->tail.n) = begins->items[i];
    if (begins->n == 0)
        *PUSH(s->a, r->tail.items, r->tail.n) = (struct literal){ S(""), false, false };
}

static struct part run_end(struct run *r)
{
    struct part p = r->whole;
    if (r->is_exact) {
        p.is_exact = true;
        p.exact = r->tail;
    } else {
        needs_offer(&p, &r->tail);
    }
    return p;
}

static struct part part_either(struct parser *s, const struct part *l, const struct part *r)
{
    struct part p = { 0 }, needs_l = { 0 }, needs_r = { 0 };
    if (l->is_exact && r->is_exact && l->exact.n + r->exact.n <= SET_MAX) {
        p.is_exact = true;
        for (size_t i = 0; i < l->exact.n + r->exact.n; i++)
            *PUSH(s->a, p.exact.items, p.exact.n) =
                i < l->exact.n ? l->exact.items[i] : r->exact.items[i - l->exact.n];
        return p;
    }
    needs_of(l, &needs_l);
    needs_of(r, &needs_r);
    if (needs_l.has_needs && needs_r.has_needs
        && needs_l.needs.n + needs_r.needs.n <= 2 * SET_MAX) {
        p.has_needs = true;
        for (size_t i = 0; i < needs_l.needs.n + needs_r.needs.n; i++)
            *PUSH(s->a, p.needs.items, p.needs.n) = i < needs_l.needs.n
                ? needs_l.needs.items[i] : needs_r.needs.items[i - needs_l.needs.n];
    }
    return p;
}

/* ---- syntax ---- */

static struct part parse_choice(struct parser *s);

static bool parser_more(const struct parser *s)
{
    return s->at < s->p.len && !s->is_opaque;
}

static char parser_peek(const struct parser *s)
{
    return s->at < s->p.len ? s->p.ptr[s->at] : '\0';
}

static bool parser_take(struct parser *s, const char *text)
{
    if (!str_starts(str_from(s->p, s->at), str_of(text)))
        return false;
    s->at += strlen(text);
    return true;
}

static struct part give_up(struct parser *s)
{
    s->is_opaque = true;
    return part_any();
}

static struct part part_code(struct parser *s, uint32_t code)
{
    char bytes[UTF8_MAX];
    size_t n = utf8_put(bytes, code);
    return part_one(s->a, (struct literal){ arena_str(s->a, (str){ bytes, n }), false, false });
}

static struct part part_digits(struct parser *s)
{
    struct part p = { .is_exact = true };
    static const char digits[] = "0123456789";
    for (size_t i = 0; i < 10; i++)
        *PUSH(s->a, p.exact.items, p.exact.n) =
            (struct literal){ { digits + i, 1 }, false, false };
    return p;
}

/* An escaped character that stands for itself or for white space; 0: it does not. */
static uint32_t escape_code(char c)
{
    static const char from[] = "ntrfv", to[] = "\n\t\r\f\v";
    const char *found = c ? strchr(from, c) : NULL;
    if (found)
        return (unsigned char)to[found - from];
    return (unsigned char)c < 0x80 && c && !utf8_ascii_alnum((unsigned char)c)
        ? (unsigned char)c : 0;
}

static struct part parse_escape(struct parser *s)
{
    char c = parser_peek(s);
    uint32_t code = escape_code(c);
    s->at++;
    if (code)
        return part_code(s, code);
    switch (c) {
    case 'b':
        return part_one(s->a, (struct literal){ S(""), true, true });
    case 'd':
        return part_digits(s);
    case 'B': case 'A': case 'z': case 'D': case 's': case 'S': case 'w': case 'W':
        return part_any();
    default:
        return give_up(s);              /* \x41, \pL, \Q...\E, \C */
    }
}

/* One character of a class; false: not understood. */
static bool class_code(struct parser *s, uint32_t *code)
{
    if (parser_peek(s) == '[')
        return false;                   /* perhaps [:alpha:] */
    if (!parser_take(s, "\\")) {
        *code = utf8_next(s->p, &s->at);
        return true;
    }
    *code = escape_code(parser_peek(s));
    s->at++;
    return *code != 0;
}

static struct part parse_class(struct parser *s)
{
    struct part p = { .is_exact = true };
    bool is_negated = parser_take(s, "^"), is_large = is_negated, is_first = true;
    while (is_first || parser_peek(s) != ']') {
        uint32_t low, high;
        is_first = false;
        if (!parser_more(s))
            return give_up(s);
        if (parser_take(s, "\\d")) {
            struct part digits = part_digits(s);
            for (size_t i = 0; i < digits.exact.n; i++)
                *PUSH(s->a, p.exact.items, p.exact.n) = digits.exact.items[i];
            continue;
        }
        if (parser_take(s, "\\w") || parser_take(s, "\\s") || parser_take(s, "\\S")
            || parser_take(s, "\\W") || parser_take(s, "\\D")) {
            is_large = true;
            continue;
        }
        if (!class_code(s, &low))
            return give_up(s);
        high = low;
        if (parser_peek(s) == '-' && s->at + 1 < s->p.len && s->p.ptr[s->at + 1] != ']') {
            s->at++;
            if (!class_code(s, &high))
                return give_up(s);
        }
        is_large |= high < low || high - low >= CLASS_MAX || p.exact.n >= CLASS_MAX;
        for (uint32_t code = low; !is_large && code <= high; code++) {
            struct part one = part_code(s, code);
            *PUSH(s->a, p.exact.items, p.exact.n) = one.exact.items[0];
        }
    }
    s->at++;
    return is_large ? part_any() : p;
}

/* Behind "(?": flags or a kind of group. True: a group follows whose content is next. */
static bool parse_group_head(struct parser *s)
{
    if (parser_take(s, ":"))
        return true;
    if (parser_take(s, "P<") || parser_take(s, "<")) {
        while (parser_more(s) && parser_peek(s) != '>')
            s->at++;
        s->at++;
        return true;
    }
    while (parser_more(s)) {
        char c = parser_peek(s);
        s->at++;
        if (c == ':')
            return true;
        if (c == ')')
            return false;
        if (c == 'i' && s->fold)
            continue;
        if (c != 'm' && c != 's' && c != 'U')
            s->is_opaque = true;        /* case changes on the way */
    }
    s->is_opaque = true;
    return false;
}

static struct part parse_group(struct parser *s)
{
    if (++s->depth > DEPTH_MAX)
        return give_up(s);
    if (parser_take(s, "?") && !parse_group_head(s)) {
        s->depth--;
        if (strchr("?*+{", parser_peek(s)) && parser_more(s))
            return give_up(s);          /* it would repeat what stands before the flags */
        return part_one(s->a, (struct literal){ S(""), false, false });
    }
    struct part p = parse_choice(s);
    s->depth--;
    if (!parser_take(s, ")"))
        return give_up(s);
    return p;
}

static struct part parse_atom(struct parser *s)
{
    if (parser_take(s, "("))
        return parse_group(s);
    if (parser_take(s, "["))
        return parse_class(s);
    if (parser_take(s, "\\"))
        return parse_escape(s);
    if (parser_take(s, ".") || parser_take(s, "^") || parser_take(s, "$"))
        return part_any();
    return part_code(s, utf8_next(s->p, &s->at));
}

/* {n}, {n,} or {n,m}; anything else is a brace that stands for itself. */
static bool parse_repeat(struct parser *s, unsigned *min, unsigned *max)
{
    size_t at = s->at;
    unsigned n[2] = { 0, 0 };
    bool is_good = parser_take(s, "{");
    for (unsigned i = 0; is_good && i < 2; i++) {
        size_t start = s->at;
        while (parser_more(s) && (unsigned)parser_peek(s) - '0' < 10u && s->at - start < 5)
            n[i] = n[i] * 10 + (unsigned)(s->p.ptr[s->at++] - '0');
        if (i == 0 && s->at == start)
            is_good = false;
        if (i == 0 && !parser_take(s, ",")) {
            n[1] = n[0];
            break;
        }
        if (i == 1 && s->at == start)
            n[1] = UINT32_MAX;
    }
    if (!is_good || !parser_take(s, "}")) {
        s->at = at;
        return false;
    }
    *min = n[0];
    *max = n[1];
    return true;
}

static struct part part_repeated(struct parser *s, const struct part *p, unsigned min,
                                 unsigned max)
{
    struct part empty = part_one(s->a, (struct literal){ S(""), false, false });
    if (max == 0)
        return empty;
    if (min == 0 && max == 1)
        return part_either(s, p, &empty);
    if (min == 0)
        return part_any();
    struct run r = run_new(s);
    for (unsigned i = 0; i < min && i < REPEAT_MAX; i++)
        run_add(s, &r, p);
    if (min <= REPEAT_MAX && max == min)
        return run_end(&r);
    struct part any = part_any();
    run_add(s, &r, &any);
    struct part repeated = run_end(&r);
    if (p->is_exact)
        repeated.edge = p->exact;
    return repeated;
}

static struct part parse_factor(struct parser *s)
{
    struct part p = parse_atom(s);
    while (parser_more(s)) {
        unsigned min, max;
        if (parser_take(s, "?"))
            min = 0, max = 1;
        else if (parser_take(s, "*"))
            min = 0, max = UINT32_MAX;
        else if (parser_take(s, "+"))
            min = 1, max = UINT32_MAX;
        else if (!parse_repeat(s, &min, &max))
            break;
        (void)parser_take(s, "?");      /* lazy: the same texts match */
        p = part_repeated(s, &p, min, max);
    }
    return p;
}

static struct part parse_choice(struct parser *s)
{
    struct part whole = { 0 };
    bool is_first = true;
    do {
        struct run r = run_new(s);
        while (parser_more(s) && parser_peek(s) != '|' && parser_peek(s) != ')') {
            struct part p = parse_factor(s);
            run_add(s, &r, &p);
        }
        struct part branch = run_end(&r);
        whole = is_first ? branch : part_either(s, &whole, &branch);
        is_first = false;
    } while (parser_more(s) && parser_take(s, "|"));
    return whole;
}

/* Flags at the very beginning hold for the whole pattern. */
static void parse_flags(struct parser *s)
{
    while (str_starts(str_from(s->p, s->at), S("(?"))) {
        size_t at = s->at + 2;
        bool fold = s->fold;
        while (at < s->p.len && strchr("imsU", s->p.ptr[at]) && s->p.ptr[at])
            fold |= s->p.ptr[at++] == 'i';
        if (at >= s->p.len || s->p.ptr[at] != ')')
            return;
        s->fold = fold;
        s->at = at + 1;
    }
}

enum lowered lower_pattern(struct arena *a, str pattern, bool *fold, struct literal **out,
                           size_t *n)
{
    struct parser s = { .a = a, .p = pattern, .fold = *fold };
    if (!utf8_is_valid(pattern) || memchr(pattern.ptr ? pattern.ptr : "", 0, pattern.len))
        return LOWER_NONE;
    parse_flags(&s);
    struct part p = parse_choice(&s);
    if (s.is_opaque || s.at != pattern.len)
        return LOWER_NONE;
    *fold = s.fold;
    enum lowered kind = LOWER_EXACT;
    const struct set *set = &p.exact;
    for (size_t i = 0; i < set->n; i++) {
        if (set->items[i].text.len == 0)
            return LOWER_NONE;          /* matches (nearly) everywhere: RE2 knows where */
    }
    if (!p.is_exact || set->n == 0) {
        if (!p.has_needs)
            return LOWER_NONE;
        kind = LOWER_NEEDS;
        set = &p.needs;
    }
    *out = set->items;
    *n = set->n;
    return kind;
}
