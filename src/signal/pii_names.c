/* signal/pii_names.c -- tags names by the best path through a linear chain.
 *
 * Each token's features point at rows of eight small integers, one a label; their sums, and how likely labels follow each
 * other, make a lattice (Lafferty, McCallum, Pereira 2001). Viterbi's path cuts out the spans, forward and backward sums say
 * how sure it is of each token, and the least sure token is the score of a span. Texts are read in windows that end where a
 * sentence does, so a window's lattice fits the stack. */
#include "signal/pii_names.h"

#include <assert.h>
#include <math.h>

#include "signal/pii_features.h"

enum {
    WINDOW = 192,                       /* tokens of a lattice */
    WINDOW_MIN = 128,                   /* a sentence's end behind these ends the window */
    LABELS = NAMES_LABELS,
    ROWS = 1 << NAMES_ROWS_LOG2,
};

/* The table is data made by tools/pii and linked in as it is. */
__asm__(".pushsection .rodata\n"
        ".balign 64\n"
        "pii_names_table:\n"
        ".incbin \"signal/pii_names.bin\"\n"
        ".popsection\n");

extern const uint8_t pii_names_table[] __attribute__((visibility("hidden")));

struct lattice {
    float score[WINDOW][LABELS], forward[WINDOW][LABELS], backward[WINDOW][LABELS];
    uint8_t from[WINDOW][LABELS], path[WINDOW];
    float chance[WINDOW];               /* of the path's label */
};

struct output { struct pii_span *out; uint32_t n, max; float *best; };

static const struct names_head *head(void)
{
    return (const void *)pii_names_table;
}

static const int8_t *weights(void)
{
    return (const int8_t *)pii_names_table + sizeof(struct names_head);
}

static const uint32_t *lists(void)
{
    return (const void *)(pii_names_table + sizeof(struct names_head) + (size_t)ROWS * 8);
}

/* Sums of the features' rows, in the lattice as nats. */
static void score_tokens(const struct names_token *tokens, uint32_t n, struct lattice *l)
{
    const struct names_head *h = head();
    const int8_t *table = weights();
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rows[NAMES_FEATURES_MAX], count = names_features(tokens, n, i, rows);
        int32_t sums[8] = { 0 };
        for (uint32_t f = 0; f < count; f++)
            __builtin_prefetch(table + (size_t)rows[f] * 8);
        for (uint32_t f = 0; f < count; f++) {
            const int8_t *row = table + (size_t)rows[f] * 8;
            for (int k = 0; k < 8; k++)
                sums[k] += row[k];
        }
        for (int k = 0; k < LABELS; k++)
            l->score[i][k] = (float)sums[k] * h->step + h->bias[k];
    }
}

static void best_path(uint32_t n, struct lattice *l)
{
    const struct names_head *h = head();
    float score[LABELS], next[LABELS];
    memcpy(score, l->score[0], sizeof score);
    for (uint32_t i = 1; i < n; i++) {
        for (int k = 0; k < LABELS; k++) {
            int from = 0;
            float top = score[0] + h->transition[0][k];
            for (int j = 1; j < LABELS; j++) {
                float s = score[j] + h->transition[j][k];
                from = s > top ? j : from;
                top = s > top ? s : top;
            }
            next[k] = top + l->score[i][k];
            l->from[i][k] = (uint8_t)from;
        }
        memcpy(score, next, sizeof score);
    }
    int label = 0;
    for (int k = 1; k < LABELS; k++)
        label = score[k] > score[label] ? k : label;
    for (uint32_t i = n; i-- > 0;) {
        l->path[i] = (uint8_t)label;
        label = l->from[i][label];
    }
}

/* Forward and backward in probabilities, scaled to one at every token; the scores are taken against their best. */
static void chances(uint32_t n, struct lattice *l)
{
    const struct names_head *h = head();
    float step[LABELS][LABELS];
    for (int j = 0; j < LABELS; j++) {
        for (int k = 0; k < LABELS; k++)
            step[j][k] = expf(h->transition[j][k]);
    }
    for (uint32_t i = 0; i < n; i++) {
        float top = l->score[i][0], sum = 0;
        for (int k = 1; k < LABELS; k++)
            top = l->score[i][k] > top ? l->score[i][k] : top;
        for (int k = 0; k < LABELS; k++) {
            float into = i == 0;
            for (int j = 0; i && j < LABELS; j++)
                into += l->forward[i - 1][j] * step[j][k];
            l->score[i][k] = expf(l->score[i][k] - top);
            l->forward[i][k] = into * l->score[i][k];
            sum += l->forward[i][k];
        }
        for (int k = 0; k < LABELS; k++)
            l->forward[i][k] = sum > 0 ? l->forward[i][k] / sum : 0;
    }
    for (int k = 0; k < LABELS; k++)
        l->backward[n - 1][k] = 1;
    for (uint32_t i = n; i-- > 0;) {
        float all = 0, sum = 0;
        if (i + 1 < n) {
            for (int j = 0; j < LABELS; j++) {
                float out = 0;
                for (int k = 0; k < LABELS; k++)
                    out += step[j][k] * l->score[i + 1][k] * l->backward[i + 1][k];
                l->backward[i][j] = out;
                sum += out;
            }
            for (int j = 0; j < LABELS; j++)
                l->backward[i][j] = sum > 0 ? l->backward[i][j] / sum : 0;
        }
        for (int k = 0; k < LABELS; k++)
            all += l->forward[i][k] * l->backward[i][k];
        l->chance[i] = all > 0 ? l->forward[i][l->path[i]] * l->backward[i][l->path[i]] / all : 0;
    }
}

static void emit(struct output *o, struct pii_span span)
{
    if (span.score < PII_FLOOR)
        return;
    if (o->best && span.score > o->best[span.type])
        o->best[span.type] = span.score;
    if (o->n < o->max)
        o->out[o->n++] = span;
}

static void read_spans(str text, const struct names_token *tokens, uint32_t n, const struct lattice *l, struct output *o)
{
    static const enum pii_type kinds[] = { PII_PERSON, PII_ORGANIZATION, PII_GPE };
    for (uint32_t i = 0; i < n;) {
        if (l->path[i] == NAME_O) {
            i++;
            continue;
        }
        unsigned kind = (l->path[i] - 1u) / 2;
        struct pii_span span = { tokens[i].start, tokens[i].end, l->chance[i], kinds[kind] };
        bool is_handle = tokens[i].start > 0 && text.ptr[tokens[i].start - 1] == '@';
        bool has_word = tokens[i].is_word;
        for (i++; i < n && l->path[i] == NAME_I_PERSON + 2 * kind; i++) {
            span.end = tokens[i].end;
            span.score = l->chance[i] < span.score ? l->chance[i] : span.score;
            has_word |= tokens[i].is_word;
        }
        if (has_word && !is_handle)
            emit(o, span);
    }
}

uint32_t pii_names(str text, struct pii_span *out, uint32_t max, float best[PII_TYPES])
{
    struct names_token tokens[WINDOW];
    struct lattice l;
    struct output o = { .out = out, .max = max, .best = best };
    text = str_upto(text, UINT32_MAX - 1);
    if (best)
        memset(best, 0, PII_TYPES * sizeof *best);
    memset(l.from[0], 0, sizeof l.from[0]);
    for (size_t at = 0;;) {
        uint32_t n = 0;
        while (n < WINDOW && names_token(text, &at, lists(), &tokens[n])) {
            n++;
            if (n >= WINDOW_MIN && !tokens[n - 1].is_word && strchr(".!?", text.ptr[tokens[n - 1].start]))
                break;
        }
        if (n == 0)
            return o.n;
        score_tokens(tokens, n, &l);
        best_path(n, &l);
        chances(n, &l);
        read_spans(text, tokens, n, &l, &o);
    }
}

/* ---- both together ---- */

/* Shell's sort: two ordered runs are an easy case, and no memory */
static void sort_by_place(struct pii_span *spans, uint32_t n)
{
    static const uint32_t gaps[] = { 88573, 29524, 9841, 3280, 1093, 364, 121, 40, 13, 4, 1 };
    for (size_t g = 0; g < COUNT_OF(gaps); g++) {
        for (uint32_t i = gaps[g]; i < n; i++) {
            struct pii_span span = spans[i];
            uint32_t at = i;
            for (; at >= gaps[g] && spans[at - gaps[g]].start > span.start; at -= gaps[g])
                spans[at] = spans[at - gaps[g]];
            spans[at] = span;
        }
    }
}

uint32_t pii_find(str text, struct pii_span *out, uint32_t max, float best[PII_TYPES])
{
    float best_names[PII_TYPES];
    uint32_t found = pii_scan(text, out, max, best);
    uint32_t names = pii_names(text, out + found, max - found, best_names), kept = found;
    bool is_full = found + names == max;
    for (uint32_t i = 0, s = 0; i < names; i++) {
        struct pii_span name = out[found + i];
        while (s < found && out[s].end <= name.start)
            s++;
        bool is_part = s < found && out[s].start < name.end && out[s].score >= PII_MENTION;
        if (!is_part)
            out[kept++] = name;
        if (is_full || !best)
            continue;
        if (i == 0)
            best_names[PII_PERSON] = best_names[PII_ORGANIZATION] = best_names[PII_GPE] = 0;
        if (!is_part && name.score > best_names[name.type])
            best_names[name.type] = name.score;
    }
    for (enum pii_type t = 0; best && t < PII_TYPES; t++)
        best[t] = best_names[t] > best[t] ? best_names[t] : best[t];
    sort_by_place(out, kept);
    return kept;
}
