/* tools/pii/train_names.c -- trains the tagger of names: a linear chain CRF over hashed features (Lafferty, McCallum, Pereira
 * 2001).
 *
 * Usage: train_names LISTS TRAIN OUT [EPOCHS] cc -O3 -Isrc tools/pii/train_names.c src/base/utf8.c -lutf8proc -lm
 *
 * LISTS has lines `BITS CLASS WORD` (pii_features.h, LIST_*). TRAIN has texts: a line `T` and the text with line ends as
 * spaces, lines `S START END KIND` (bytes; KIND 1 person, 2 organisation, 3 place, 0 ignored), an empty line. Stochastic
 * gradient with AdaGrad; half of the features is left out at random in each step, so that no word's identity is relied on
 * alone. Weights are rounded to 8 bits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "signal/pii_features.h"

/* Nats taken from the label of plain words: a text of a new kind has more names than the tagger dares to call so. Chosen on btc
 * and wikigold, each without training on it. */
#define CAUTION 1.4

enum { TOKENS_MAX = 400, SPANS_MAX = 64, L = NAMES_LABELS, ROWS = 1 << NAMES_ROWS_LOG2 };

struct example { char *text; size_t len; uint32_t n; struct { uint32_t start, end, kind; } spans[SPANS_MAX]; };

static uint32_t lists[1 << NAMES_LISTS_LOG2];
static float weight[ROWS][L], square[ROWS][L];
static float bias[L], bias_square[L], transition[L][L], transition_square[L][L];
static const unsigned drop = 50;        /* of a hundred features, in each step */
static uint64_t seed = 88172645463325252u;

static uint64_t chance(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uint32_t hash_of(str word)
{
    uint32_t hash = 0x811C9DC5;
    for (size_t at = 0; at < word.len;) {
        uint32_t code = utf8_next(word, &at);
        hash = names_mix(hash, code - 'A' < 26u ? code | 32 : code < 0x80 ? code : utf8_fold(code));
    }
    return hash;
}

static void read_lists(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[512];
    uint32_t mask = (1u << NAMES_LISTS_LOG2) - 1, n = 0;
    if (!f)
        perror(path), exit(2);
    while (fgets(line, sizeof line, f)) {
        char *word = strrchr(line, ' ');
        unsigned bits, class;
        if (!word || sscanf(line, "%u %u", &bits, &class) != 2 || (bits | class) > 255)
            continue;
        word[strcspn(word, "\n")] = 0;
        uint32_t hash = hash_of((str){ word + 1, strlen(word + 1) }), tag = names_tag(hash), at = hash & mask;
        while (lists[at] && lists[at] >> 16 != tag)
            at = (at + 1) & mask;
        n += lists[at] == 0;
        lists[at] |= tag << 16 | class << 8 | bits;
        if (n > mask / 4 * 3)
            fprintf(stderr, "%s: too many words\n", path), exit(2);
    }
    fclose(f);
    fprintf(stderr, "%u words in lists\n", n);
}

static size_t read_examples(const char *path, struct example **out)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t room = 0, n = 0, cap = 0;
    ssize_t len;
    if (!f)
        perror(path), exit(2);
    *out = NULL;
    while ((len = getline(&line, &room, f)) > 0) {
        if (line[0] == 'T' && len > 2) {
            if (n == cap)
                *out = realloc(*out, (cap = cap ? 2 * cap : 1024) * sizeof **out);
            struct example *e = &(*out)[n++];
            memset(e, 0, sizeof *e);
            e->len = (size_t)len - 3;
            e->text = memcpy(malloc((size_t)len), line + 2, e->len);
        } else if (line[0] == 'S' && n && (*out)[n - 1].n < SPANS_MAX) {
            struct example *e = &(*out)[n - 1];
            if (sscanf(line + 2, "%u %u %u", &e->spans[e->n].start, &e->spans[e->n].end, &e->spans[e->n].kind) == 3)
                e->n++;
        }
    }
    free(line);
    fclose(f);
    return n;
}

static void step(float *w, float *sum, float gradient, float rate)
{
    *sum += gradient * gradient;
    *w += rate * gradient / (sqrtf(*sum) + 1e-6f) - rate * 2e-5f * *w;
}

static float log_sum(const float *v)
{
    float top = v[0], sum = 0;
    for (int k = 1; k < L; k++)
        top = v[k] > top ? v[k] : top;
    for (int k = 0; k < L; k++)
        sum += expf(v[k] - top);
    return top + logf(sum);
}

/* One text: log-likelihood of its labels; weights move along its gradient. */
static double learn(const struct example *e, float rate)
{
    static struct names_token tokens[TOKENS_MAX];
    static uint32_t rows[TOKENS_MAX][NAMES_FEATURES_MAX], counts[TOKENS_MAX];
    static uint8_t gold[TOKENS_MAX], ignored[TOKENS_MAX];
    static float score[TOKENS_MAX][L], forward[TOKENS_MAX][L], backward[TOKENS_MAX][L];
    str text = { e->text, e->len };
    uint32_t n = 0;
    for (size_t at = 0; n < TOKENS_MAX && names_token(text, &at, lists, &tokens[n]); n++) {
        gold[n] = NAME_O;
        ignored[n] = 0;
        for (uint32_t s = 0; s < e->n; s++) {
            if (tokens[n].start >= e->spans[s].end || tokens[n].end <= e->spans[s].start)
                continue;
            if (e->spans[s].kind == 0)
                ignored[n] = 1;
            else                                /* begins the span, or goes on with it */
                gold[n] = (uint8_t)(2 * e->spans[s].kind - (n == 0 || tokens[n - 1].end <= e->spans[s].start));
        }
    }
    if (n == 0)
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t all = names_features(tokens, n, i, rows[i]), kept = 0;
        for (uint32_t k = 0; k < all; k++)
            if (chance() % 100 >= drop)
                rows[i][kept++] = rows[i][k];
        counts[i] = kept;
        for (int k = 0; k < L; k++)
            score[i][k] = bias[k];
        for (uint32_t f = 0; f < kept; f++)
            for (int k = 0; k < L; k++)
                score[i][k] += weight[rows[i][f]][k] * (100 / (100 - (float)drop));
    }
    float v[L];
    memcpy(forward[0], score[0], sizeof v);
    for (uint32_t i = 1; i < n; i++)
        for (int k = 0; k < L; k++) {
            for (int j = 0; j < L; j++)
                v[j] = forward[i - 1][j] + transition[j][k];
            forward[i][k] = score[i][k] + log_sum(v);
        }
    memset(backward[n - 1], 0, sizeof v);
    for (uint32_t i = n - 1; i-- > 0;)
        for (int j = 0; j < L; j++) {
            for (int k = 0; k < L; k++)
                v[k] = transition[j][k] + score[i + 1][k] + backward[i + 1][k];
            backward[i][j] = log_sum(v);
        }
    float total = log_sum(forward[n - 1]);
    double likelihood = -total;
    for (uint32_t i = 0; i < n; i++) {
        likelihood += score[i][gold[i]] + (i ? transition[gold[i - 1]][gold[i]] : 0);
        for (int k = 0; k < L; k++) {
            float gradient = (gold[i] == k) - expf(forward[i][k] + backward[i][k] - total);
            if (ignored[i])
                continue;
            step(&bias[k], &bias_square[k], gradient, rate * .1f);
            if (fabsf(gradient) < 1e-4f)
                continue;
            for (uint32_t f = 0; f < counts[i]; f++)
                step(&weight[rows[i][f]][k], &square[rows[i][f]][k], gradient * (100 / (100 - (float)drop)), rate);
        }
        if (i == 0 || ignored[i] || ignored[i - 1])
            continue;
        for (int j = 0; j < L; j++)
            for (int k = 0; k < L; k++) {
                float p = expf(forward[i - 1][j] + transition[j][k] + score[i][k] + backward[i][k] - total);
                step(&transition[j][k], &transition_square[j][k], (gold[i - 1] == j && gold[i] == k) - p, rate * .2f);
            }
    }
    return likelihood;
}

static void write_model(const char *path)
{
    struct names_head h = { .magic = "PIIN", .version = 1, .labels = L };
    h.rows_log2 = NAMES_ROWS_LOG2;
    h.lists_log2 = NAMES_LISTS_LOG2;
    float top = 0;
    for (size_t r = 0; r < ROWS; r++)
        for (int k = 0; k < L; k++)
            top = fmaxf(top, fabsf(weight[r][k]));
    h.step = fminf(top, 4) / 127;
    memcpy(h.bias, bias, sizeof bias);
    h.bias[NAME_O] -= (float)CAUTION;
    for (int j = 0; j < L; j++)
        memcpy(h.transition[j], transition[j], sizeof transition[j]);
    static int8_t rows[ROWS][8];
    for (size_t r = 0; r < ROWS; r++)
        for (int k = 0; k < L; k++)
            rows[r][k] = (int8_t)lrintf(fmaxf(-127, fminf(127, weight[r][k] / h.step)));
    FILE *f = fopen(path, "w");
    if (!f || fwrite(&h, sizeof h, 1, f) != 1 || fwrite(rows, sizeof rows, 1, f) != 1 ||
        fwrite(lists, sizeof lists, 1, f) != 1 || fclose(f))
        perror(path), exit(2);
    fprintf(stderr, "largest weight %.3f, step %.4f\n", (double)top, (double)h.step);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return fprintf(stderr, "usage: train_names LISTS TRAIN OUT [EPOCHS]\n"), 2;
    int epochs = argc > 4 ? atoi(argv[4]) : 6;
    struct example *all;
    read_lists(argv[1]);
    size_t n = read_examples(argv[2], &all);
    for (int epoch = 0; epoch < epochs; epoch++) {
        double likelihood = 0;
        for (size_t i = n; i-- > 1;) {
            size_t j = chance() % (i + 1);
            struct example e = all[i];
            all[i] = all[j], all[j] = e;
        }
        for (size_t i = 0; i < n; i++)
            likelihood += learn(&all[i], .05f / (1 + .15f * (float)epoch));
        fprintf(stderr, "epoch %d: %.4f a text\n", epoch, likelihood / (double)n);
    }
    write_model(argv[3]);
    return 0;
}
