/* neural/spans.c -- see spans.h. Reads BIO, BIOES, BILOU and plain labels; after the way of Hugging Face's token-classification
 * pipeline with aggregation "average", but over whole texts: the state goes on from window to window. */
#include "neural/spans.h"

#include <stdlib.h>

#include "base/utf8.h"

/* ---- labels ---- */

static const struct { char letter; enum span_role role; } prefixes[] = {
    { 'B', ROLE_BEGIN }, { 'I', ROLE_INSIDE }, { 'M', ROLE_INSIDE },
    { 'E', ROLE_END }, { 'L', ROLE_END }, { 'S', ROLE_SINGLE }, { 'U', ROLE_SINGLE },
};

static enum span_role role_cut(str *label)              /* takes the prefix off */
{
    if (label->len > 2 && (label->ptr[1] == '-' || label->ptr[1] == '_'))
        for (size_t i = 0; i < COUNT_OF(prefixes); i++)
            if (label->ptr[0] == prefixes[i].letter) {
                *label = str_from(*label, 2);
                return prefixes[i].role;
            }
    return ROLE_INSIDE;
}

void span_scheme_make(struct span_scheme *s, const str *labels, uint32_t n, struct arena *a)
{
    *s = (struct span_scheme){ .n_labels = n, .type = ARENA_ARRAY(a, uint32_t, n), .role = ARENA_ARRAY(a, enum span_role, n),
                               .label = ARENA_ARRAY(a, uint32_t, n) };
    str *names = ARENA_ARRAY(a, str, n);        /* of the types, without B- and the like */
    for (uint32_t i = 0; i < n; i++) {
        str name = labels[i];
        if (str_eq(name, S("O")) || str_ieq(name, S("outside")) || name.len == 0) {
            s->type[i] = TYPE_OUTSIDE;
            continue;
        }
        s->role[i] = role_cut(&name);
        uint32_t t = 0;
        while (t < s->n_types && !str_eq(names[t], name))
            t++;
        if (t == s->n_types) {
            names[t] = name;
            s->label[s->n_types++] = i;
        }
        s->type[i] = t;
    }
}

/* ---- words into spans ---- */

int span_join_begin(struct span_join *j, const struct span_scheme *s)
{
    *j = (struct span_join){ .scheme = s, .word = calloc(s->n_labels ? s->n_labels : 1, sizeof *j->word) };
    return j->word ? 0 : -1;
}

void span_join_free(struct span_join *j)
{
    free(j->word);
    free(j->list);
    *j = (struct span_join){ 0 };
}

static struct neural_span *span_put(struct span_join *j)
{
    if (j->n == j->cap) {
        uint32_t cap = j->cap ? 2 * j->cap : 16;
        struct neural_span *more = realloc(j->list, cap * sizeof *more);
        if (!more) {
            j->is_failed = true;
            return NULL;
        }
        j->list = more;
        j->cap = cap;
    }
    return &j->list[j->n++];
}

/* The type that most of the word's probability is for, or TYPE_OUTSIDE; *p: how much. */
static uint32_t word_type(const struct span_join *j, double *p)
{
    const struct span_scheme *s = j->scheme;
    double outside = 0;
    for (uint32_t i = 0; i < s->n_labels; i++)
        if (s->type[i] == TYPE_OUTSIDE)
            outside += j->word[i];
    uint32_t best = TYPE_OUTSIDE;
    *p = outside;
    for (uint32_t t = 0; t < s->n_types; t++) {
        double sum = 0;
        for (uint32_t i = 0; i < s->n_labels; i++)
            if (s->type[i] == t)
                sum += j->word[i];
        if (sum > *p) {
            best = t;
            *p = sum;
        }
    }
    return best;
}

static void word_end(struct span_join *j)
{
    if (!j->word_tokens)
        return;
    double p;
    uint32_t type = word_type(j, &p);
    float score = (float)(p / j->word_tokens);
    struct neural_span *open = j->is_open ? &j->list[j->n - 1] : NULL;
    if (type == TYPE_OUTSIDE) {
        j->is_open = false;
    } else if (open && j->open_type == type && !j->word_begins) {
        open->to = j->word_bytes.to;
        open->score += (score - open->score) / (float)++j->open_words;
        j->is_open = !j->word_ends;
    } else if ((open = span_put(j)) != NULL) {
        *open = (struct neural_span){ j->word_bytes.from, j->word_bytes.to, j->scheme->label[type], score };
        j->open_type = type;
        j->open_words = 1;
        j->is_open = !j->word_ends;
    }
    j->word_tokens = 0;
    memset(j->word, 0, j->scheme->n_labels * sizeof *j->word);
}

void span_join_gap(struct span_join *j)
{
    word_end(j);
    j->is_open = false;
}

/* ---- tokens into words ---- */

static bool is_word_character(uint32_t c)               /* scripts without spaces: every token is a word */
{
    return utf8_is_alnum(c) && !utf8_is_cjk(c);
}

static bool is_in_word(str text, uint32_t at)           /* no word boundary at byte `at` */
{
    if (at == 0 || at >= text.len)
        return false;
    size_t next = at;
    return is_word_character(utf8_before(text, at)) && is_word_character(utf8_next(text, &next));
}

static void roles_add(struct span_join *j, const float *p)
{
    const struct span_scheme *s = j->scheme;
    float by_role[4] = { 0 };
    for (uint32_t i = 0; i < s->n_labels; i++) {
        j->word[i] += (double)p[i];
        if (s->type[i] != TYPE_OUTSIDE)
            by_role[s->role[i]] += p[i];
    }
    if (!j->word_tokens)
        j->word_begins = by_role[ROLE_BEGIN] + by_role[ROLE_SINGLE] > by_role[ROLE_INSIDE] + by_role[ROLE_END];
    j->word_ends = by_role[ROLE_END] + by_role[ROLE_SINGLE] > by_role[ROLE_INSIDE] + by_role[ROLE_BEGIN];
    j->word_tokens++;
}

void span_join_add(struct span_join *j, str text, uint32_t shift, const struct byte_range *tokens, uint32_t n,
                   const float *probabilities)
{
    for (uint32_t i = 0; i < n; i++, probabilities += j->scheme->n_labels) {
        uint32_t from = tokens[i].from - shift, to = tokens[i].to - shift;
        while (from < to && (unsigned char)text.ptr[from] <= ' ')       /* byte-level tokens carry their space */
            from++;
        while (to > from && (unsigned char)text.ptr[to - 1] <= ' ')
            to--;
        if (from == to)
            continue;
        bool goes_on = j->word_tokens && from + shift <= j->word_bytes.to && is_in_word(text, from);
        if (!goes_on) {
            word_end(j);
            j->word_bytes.from = from + shift;
        }
        roles_add(j, probabilities);
        j->word_bytes.to = to + shift;
    }
}
