/* langid_train.c -- makes src/signal/langid_table.bin from the word samples of extract.py.
 *
 *     langid_train SAMPLES_DIR TABLE
 *
 * For each script that several languages share:
 *
 *  1. Every n-gram of every sampled word is counted per language. An n-gram is worth what it
 *     tells beyond the two n-grams one letter shorter inside it: frequency times the smaller
 *     Kullback-Leibler distance to their language distributions. The best ones get a place in
 *     the hash table until it is full.
 *  2. Their weights are a multinomial logistic regression, trained by stochastic gradient
 *     descent (AdaGrad, one rate per row) on single words and small bags of words. After the
 *     first third of the training each row gets the finest of four steps that covers the spread
 *     of its weights, and from then on the forward pass uses the weights as the table will hold
 *     them, 4 bits each, so that the training corrects the rounding as it goes. One step for
 *     all rows would not do: the rounding of the frequent short n-grams, whose weights are
 *     small, would drown the difference between Croatian and Bosnian.
 *
 * One word type in 20 is held out and scored at the end; hyper-parameters were chosen on it.
 * Single thread, fixed seeds: the same input gives the same table on the same compiler. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "signal/langid_features.h"

#define LANES 64
#define BAG_MAX 12                  /* words in a training example */
#define ROWS_MAX (BAG_MAX * LANGID_WORD_FEATURES)
#define HUGE_WORTH 1e300

struct group {
    uint32_t buckets;
    long examples;
    double count_power;             /* how much more often a frequent word is drawn */
    double single_share;            /* examples of one word; of the others half are pairs */
    double topword_share;           /* words from the frequency lists */
};

static struct group groups[LANGID_GROUPS] = {
    [LANGID_LATIN]      = {24000, 40000000, 0.7, 0.55, 0.3},
    [LANGID_CYRILLIC]   = {6000, 10000000, 0.7, 0.55, 0.3},
    [LANGID_ARABIC]     = {3000, 5000000, 0.7, 0.55, 0.3},
    [LANGID_DEVANAGARI] = {1000, 2000000, 1.0, 0.3, 0.3},
    [LANGID_HAN]        = {6000, 5000000, 0.9, 0.55, 0.8},
};

/* Knobs, all chosen on held-out words. */
static double rate = 0.35;
static double smoothing = 2e-6;
static double count_power, single_share, topword_share;     /* of the group */

/* English is drawn this often where another language is drawn once: people write to routers in
 * English, and a word that is also English is most likely that. */
static long english_draws = 2;

struct word {
    uint32_t at;                    /* into letters */
    uint8_t length;
    float count;
};

struct corpus {                     /* one language, one source */
    struct word *words;
    size_t count;
    double *sums;                   /* cumulative drawing weight */
    struct word *held_out;
    size_t held_out_count;
    double *held_out_sums;
};

static uint16_t *letters;
static size_t letter_count, letter_room;
static struct corpus corpora[LANES][2];
static int langs;
static enum langid_script script;

static void *grow(void *p, size_t bytes)
{
    p = realloc(p, bytes);
    if (!p) {
        perror("memory");
        exit(1);
    }
    return p;
}

static uint64_t random_state = 1;

static uint64_t random_bits(void)
{
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double random_unit(void)
{
    return (double)(random_bits() >> 11) * 0x1p-53;
}

/* ---- reading ---- */

static void add_word(struct corpus *c, const uint16_t *numbers, size_t n, double count)
{
    if (letter_count + n > letter_room) {
        letter_room = letter_room * 2 + 65536;
        letters = grow(letters, letter_room * sizeof *letters);
    }
    memcpy(letters + letter_count, numbers, n * sizeof *numbers);
    uint64_t h = 7;
    for (size_t i = 0; i < n; i++)
        h = langid_hash(h + numbers[i], 1);
    int out = h % 20 == 0;
    struct word **words = out ? &c->held_out : &c->words;
    size_t *used = out ? &c->held_out_count : &c->count;
    if ((*used & (*used - 1)) == 0)
        *words = grow(*words, (*used ? *used * 2 : 1) * sizeof **words);
    (*words)[(*used)++] = (struct word){(uint32_t)letter_count, (uint8_t)n, (float)count};
    letter_count += n;
}

/* Cuts TEXT as the detector would and keeps what is in this group's script. */
static void add_text(struct corpus *c, const char *text, size_t len, double count)
{
    uint16_t numbers[LANGID_WORD_MAX];
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        uint32_t code;
        i += langid_decode((const unsigned char *)text + i, len - i, &code);
        struct langid_letter l = langid_letter(code);
        if (l.script == script)
            numbers[n++] = l.number;
        if (n && (l.script != script || n == LANGID_WORD_MAX || i >= len)) {
            add_word(c, numbers, n, count);
            n = 0;
        }
    }
}

static double *cumulate(const struct word *words, size_t n)
{
    double *sums = grow(NULL, (n + 1) * sizeof *sums), total = 0;
    for (size_t i = 0; i < n; i++) {
        total += pow((double)words[i].count, count_power);
        sums[i] = total;
    }
    return sums;
}

static void read_language(const char *dir, const char *code, struct corpus pair[2])
{
    char path[4096], line[4096];
    snprintf(path, sizeof path, "%s/%.2s.tsv", dir, code);
    FILE *f = fopen(path, "r");
    if (!f) {
        perror(path);
        exit(1);
    }
    while (fgets(line, sizeof line, f)) {
        char *word = strchr(line, '\t'), *count = word ? strchr(word + 1, '\t') : NULL;
        if (count)
            add_text(&pair[line[0] == 'T'], word + 1, (size_t)(count - word - 1), atof(count + 1));
    }
    fclose(f);
    for (int s = 0; s < 2; s++) {
        struct corpus *c = &pair[s];
        c->sums = cumulate(c->words, c->count);
        c->held_out_sums = cumulate(c->held_out, c->held_out_count);
    }
}

/* ---- choosing n-grams ---- */

struct gram {
    uint64_t hash;
    uint64_t parents[2];            /* hashes; 0: none */
    float mass;
    uint32_t dense;                 /* index into the per-language masses, or UINT32_MAX */
};

static struct gram *grams;
static size_t gram_slots, gram_count;

static struct gram *gram_find(uint64_t hash)
{
    size_t i = hash & (gram_slots - 1);
    while (grams[i].hash && grams[i].hash != hash)
        i = (i + 1) & (gram_slots - 1);
    return &grams[i];
}

/* Calls EACH for every feature of a word with the hashes of the two shorter features in it. */
static void each_gram(const struct word *w, double weight, int lang,
                      void (*each)(uint64_t, uint64_t, uint64_t, double, int))
{
    struct langid_shape shape = langid_shapes[script];
    uint64_t hashes[LANGID_WORD_FEATURES];
    size_t n = langid_word_features(shape, letters + w->at, w->length, hashes);

    /* The features come position by position, orders ascending: the suffix of a gram is the one
     * before it, its prefix stands at the position before, one order lower. */
    size_t length = shape.has_bounds ? 1 : 0, i = 0, before = 0;
    for (size_t position = 0; position <= w->length && i < n; position++) {
        int is_end = position == w->length;
        size_t start = i;
        length++;
        unsigned top = length < shape.order_max ? (unsigned)length : shape.order_max;
        for (unsigned order = is_end ? 2 : 1; order <= top; order++, i++) {
            uint64_t suffix = order > (is_end ? 2u : 1u) ? hashes[i - 1] : 0;
            uint64_t prefix = 0;
            if (order > 1 && position > 0 && (position > 1 || order <= length - 1))
                prefix = hashes[before + order - 2];
            each(hashes[i], suffix, prefix, weight, lang);
        }
        before = start;
    }
    if (i < n)                                          /* the whole word */
        each(hashes[i], hashes[i - 1], hashes[shape.order_max - 2], weight, lang);
}

static void count_mass(uint64_t hash, uint64_t suffix, uint64_t prefix, double weight, int lang)
{
    (void)lang;
    struct gram *g = gram_find(hash);
    if (!g->hash) {
        if (gram_count * 10 > gram_slots * 9)
            return;
        gram_count++;
        *g = (struct gram){hash, {suffix, prefix}, 0, UINT32_MAX};
    }
    g->mass += (float)weight;
}

static float *masses;               /* [dense][langs] */

static void count_languages(uint64_t hash, uint64_t suffix, uint64_t prefix, double weight,
                            int lang)
{
    (void)suffix, (void)prefix;
    struct gram *g = gram_find(hash);
    if (g->hash && g->dense != UINT32_MAX)
        masses[(size_t)g->dense * (size_t)langs + (size_t)lang] += (float)weight;
}

static void each_word(void (*each)(uint64_t, uint64_t, uint64_t, double, int))
{
    for (int lang = 0; lang < langs; lang++)
        for (int s = 0; s < 2; s++) {
            struct corpus *c = &corpora[lang][s];
            double share = corpora[lang][!s].count == 0 ? 1 : s ? topword_share : 1 - topword_share;
            for (size_t i = 0; i < c->count; i++)
                each_gram(&c->words[i],
                          share * pow((double)c->words[i].count, count_power) /
                              c->sums[c->count - 1],
                          lang, each);
        }
}

/* Frequency times distance between the language distributions of a gram and of a parent. */
static double worth_beyond(const struct gram *g, const struct gram *parent)
{
    const float *own = masses + (size_t)g->dense * (size_t)langs;
    const float *base = parent ? masses + (size_t)parent->dense * (size_t)langs : NULL;
    double own_mass = g->mass, base_mass = parent ? parent->mass : 0, sum = 0;
    double own_total = own_mass + smoothing, base_total = base_mass + smoothing;
    for (int l = 0; l < langs; l++) {
        double q = base ? ((double)base[l] + smoothing / langs) / base_total : 1.0 / langs;
        double p = ((double)own[l] + smoothing * q) / own_total;
        sum += p * log(p / q);
    }
    return own_mass * sum;
}

struct candidate {
    uint64_t hash;
    double worth;
};

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->worth != y->worth)
        return x->worth < y->worth ? 1 : -1;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static uint32_t buckets;
static uint16_t *keys;              /* [buckets][8] */

static long find_row(uint64_t hash)
{
    uint32_t bucket = langid_bucket(hash, buckets);
    uint16_t key = langid_key(hash);
    for (int way = 0; way < LANGID_WAYS; way++)
        if (keys[bucket * LANGID_WAYS + (uint32_t)way] == key)
            return (long)(bucket * LANGID_WAYS + (uint32_t)way);
    return -1;
}

static void choose_grams(void)
{
    gram_slots = (size_t)1 << (script == LANGID_LATIN ? 24 : 22);
    gram_count = 0;
    grams = grow(NULL, gram_slots * sizeof *grams);
    memset(grams, 0, gram_slots * sizeof *grams);
    each_word(count_mass);

    size_t dense = 0;
    for (size_t i = 0; i < gram_slots; i++)             /* too rare to be chosen: no counts */
        if (grams[i].hash && grams[i].mass > 4e-6f)
            grams[i].dense = (uint32_t)dense++;
    masses = grow(NULL, dense * (size_t)langs * sizeof *masses);
    memset(masses, 0, dense * (size_t)langs * sizeof *masses);
    each_word(count_languages);

    struct candidate *candidates = grow(NULL, (dense + 1) * sizeof *candidates);
    size_t n = 0;
    for (size_t i = 0; i < gram_slots; i++) {
        struct gram *g = &grams[i];
        if (!g->hash || g->dense == UINT32_MAX)
            continue;
        double worth = HUGE_WORTH;
        for (int p = 0; p < 2; p++) {
            struct gram *parent = g->parents[p] ? gram_find(g->parents[p]) : NULL;
            if (parent && parent->hash && parent->dense != UINT32_MAX) {
                double w = worth_beyond(g, parent);
                worth = w < worth ? w : worth;
            }
        }
        if (worth == HUGE_WORTH)
            worth = worth_beyond(g, NULL);
        candidates[n++] = (struct candidate){g->hash, worth};
    }
    qsort(candidates, n, sizeof *candidates, compare_candidates);

    keys = grow(NULL, (size_t)buckets * LANGID_WAYS * sizeof *keys);
    memset(keys, 0, (size_t)buckets * LANGID_WAYS * sizeof *keys);
    size_t placed = 0, room = (size_t)buckets * LANGID_WAYS;
    for (size_t i = 0; i < n && placed < room; i++) {
        if (find_row(candidates[i].hash) >= 0)          /* two grams, one key: the better has it */
            continue;
        uint16_t *bucket = keys + (size_t)langid_bucket(candidates[i].hash, buckets) * LANGID_WAYS;
        for (int way = 0; way < LANGID_WAYS; way++)
            if (!bucket[way]) {
                bucket[way] = langid_key(candidates[i].hash);
                placed++;
                break;
            }
    }
    printf("  %zu n-grams, %zu candidates, %zu placed\n", gram_count, n, placed);
    free(candidates);
    free(masses);
    free(grams);
}

/* ---- training ---- */

static float *weights;              /* [rows][lanes] */
static float *squares;              /* [rows] */
static uint8_t *scales;             /* [rows], which step */
static int lanes;
static float steps[LANGID_SCALES] = {0.04f, 0.1f, 0.25f, 0.6f};   /* nats per unit of weight */
static double step_factor = 1;

static size_t word_rows(const struct word *w, uint32_t *rows)
{
    uint64_t hashes[LANGID_WORD_FEATURES];
    struct langid_shape shape = langid_shapes[script];
    size_t n = langid_word_features(shape, letters + w->at, w->length, hashes), m = 0;
    for (size_t i = 0; i < n; i++) {
        long row = find_row(hashes[i]);
        if (row >= 0)
            rows[m++] = (uint32_t)row;
    }
    return m;
}

static const struct word *draw(const struct word *words, const double *sums, size_t n)
{
    double x = random_unit() * sums[n - 1];
    size_t low = 0, high = n - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (sums[middle] <= x)
            low = middle + 1;
        else
            high = middle;
    }
    return &words[low];
}

static inline float rounded(float w, float step)
{
    float q = nearbyintf(w / step);
    return step * (q < -8 ? -8 : q > 7 ? 7 : q);
}

static void score(const uint32_t *rows, size_t n, float *z, int is_quantised)
{
    for (int l = 0; l < lanes; l++)
        z[l] = 0;
    for (size_t i = 0; i < n; i++) {
        const float *w = weights + (size_t)rows[i] * (size_t)lanes;
        float step = steps[scales[rows[i]]];
        if (is_quantised)
            for (int l = 0; l < lanes; l++)
                z[l] += rounded(w[l], step);
        else
            for (int l = 0; l < lanes; l++)
                z[l] += w[l];
    }
}

static void softmax(float *z)
{
    float top = z[0], sum = 0;
    for (int l = 1; l < langs; l++)
        top = z[l] > top ? z[l] : top;
    for (int l = 0; l < langs; l++)
        sum += z[l] = expf(z[l] - top);
    for (int l = 0; l < langs; l++)
        z[l] /= sum;
    for (int l = langs; l < lanes; l++)
        z[l] = 0;
}

static int pick_source(int lang, int held_out)
{
    int s = random_unit() < topword_share;
    struct corpus *c = &corpora[lang][s];
    return (held_out ? c->held_out_count : c->count) ? s : !s;
}

/* Moves every row so that its smallest and largest weight are equally far from the middle of
 * -8..7, which changes no answer, and gives it a step. */
static void choose_scales(void)
{
    size_t used[LANGID_SCALES] = {0};
    for (size_t r = 0; r < (size_t)buckets * LANGID_WAYS; r++) {
        float *w = weights + r * (size_t)lanes;
        float least = w[0], most = w[0];
        for (int l = 1; l < langs; l++) {
            least = w[l] < least ? w[l] : least;
            most = w[l] > most ? w[l] : most;
        }
        uint8_t scale = 0;
        while (scale < LANGID_SCALES - 1 && (most - least) * 1.1f > 15 * steps[scale])
            scale++;
        scales[r] = scale;
        used[scale] += keys[r] != 0;
        float middle = (least + most) / 2 + steps[scale] / 2;
        for (int l = 0; l < langs; l++)
            w[l] -= middle;
    }
    printf("  rows per step:");
    for (int i = 0; i < LANGID_SCALES; i++)
        printf(" %zu", used[i]);
    printf("\n");
}

static int draw_language(void)
{
    const char *codes = langid_group_codes[script];
    long extra = script == LANGID_LATIN ? english_draws - 1 : 0;
    int lang = (int)(random_bits() % (uint64_t)(langs + extra));
    return lang < langs ? lang : (int)(strstr(codes, "en") - codes) / 2;
}

static void train(long examples)
{
    uint32_t rows[ROWS_MAX];
    float z[LANES];
    double loss = 0;
    for (long e = 0; e < examples; e++) {
        int lang = draw_language();
        struct corpus *c = &corpora[lang][pick_source(lang, 0)];
        double u = random_unit();
        int bag = u < single_share ? 1 : u < (1 + single_share) / 2 ? 2
                                       : 3 + (int)(random_bits() % (BAG_MAX - 2));
        size_t n = 0;
        for (int b = 0; b < bag; b++)
            n += word_rows(draw(c->words, c->sums, c->count), rows + n);

        int is_quantised = e >= examples / 3;
        if (e == examples / 3)
            choose_scales();
        score(rows, n, z, is_quantised);
        softmax(z);
        loss -= (double)logf(z[lang] + 1e-9f);
        z[lang] -= 1;
        float square = 0;
        for (int l = 0; l < langs; l++)
            square += z[l] * z[l];
        float now = (float)rate * (e > examples * 0.9 ? 0.3f : 1.0f);
        for (size_t i = 0; i < n; i++) {
            float *w = weights + (size_t)rows[i] * (size_t)lanes;
            float *s = &squares[rows[i]];
            *s += square;
            float r = now / sqrtf(*s + 1.0f);
            float step = is_quantised ? steps[scales[rows[i]]] : 1;
            for (int l = 0; l < lanes; l++) {
                float x = w[l] - r * z[l];
                x = x < -8.4f * step ? -8.4f * step : x;
                w[l] = x > 7.4f * step ? 7.4f * step : x;
            }
        }
        if (e % (examples / 5) == examples / 5 - 1) {
            printf("  %ld examples, loss %.4f\n", e + 1, loss / (double)(examples / 5));
            fflush(stdout);
            loss = 0;
        }
    }
}

static void evaluate_held_out(void)
{
    for (int source = 0; source < 2; source++)
        for (int bag = 1; bag <= 8; bag *= 2) {
            long right = 0, all = 0;
            double confidence = 0;
            for (int lang = 0; lang < langs; lang++) {
                struct corpus *c = &corpora[lang][source];
                if (!c->held_out_count)
                    continue;
                for (int i = 0; i < 2000; i++) {
                    uint32_t rows[ROWS_MAX];
                    float z[LANES];
                    size_t n = 0;
                    for (int b = 0; b < bag; b++) {
                        const struct word *w;
                        do
                            w = draw(c->held_out, c->held_out_sums, c->held_out_count);
                        while (w->length < 4 && (random_bits() & 15) && script != LANGID_HAN &&
                               script != LANGID_DEVANAGARI);
                        n += word_rows(w, rows + n);
                    }
                    score(rows, n, z, 1);
                    softmax(z);
                    int best = 0;
                    for (int l = 1; l < langs; l++)
                        best = z[l] > z[best] ? l : best;
                    right += best == lang;
                    confidence += (double)z[best];
                    all++;
                }
            }
            if (all)
                printf("  held out %c, bags of %d: %.2f %%, mean confidence %.3f\n",
                       source ? 'T' : 'L', bag, 100.0 * (double)right / (double)all,
                       confidence / (double)all);
        }
}

/* ---- writing ---- */

/* Head, keys, rows, and zeros: the detector reads rows 32 bytes at a time, and the next head
 * starts on a cache line. */
static void write_group(FILE *out)
{
    size_t rows = (size_t)buckets * LANGID_WAYS, half = ((size_t)langs + 1) / 2;
    size_t used = 64 + rows * (sizeof *keys + half), bytes = (used + 32 + 63) / 64 * 64;
    uint32_t head[16] = {(uint32_t)langs, buckets, (uint32_t)bytes};
    memcpy(&head[3], steps, sizeof steps);
    fwrite(head, sizeof head, 1, out);
    for (size_t r = 0; r < rows; r++) {
        uint16_t entry = keys[r] ? (uint16_t)(keys[r] | scales[r] << LANGID_KEY_BITS) : 0;
        fwrite(&entry, sizeof entry, 1, out);
    }
    for (size_t r = 0; r < rows; r++) {
        unsigned char packed[LANES / 2] = {0};
        for (size_t l = 0; l < (size_t)langs; l++) {
            float step = steps[scales[r]];
            float q = rounded(weights[r * (size_t)lanes + l], step) / step;
            unsigned nibble = keys[r] ? (unsigned)(lrintf(q) + 8) : 8;
            packed[l % half] |= (unsigned char)(nibble << (l < half ? 0 : 4));
        }
        fwrite(packed, half, 1, out);
    }
    static const char zeros[96];
    fwrite(zeros, bytes - used, 1, out);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: langid_train SAMPLES_DIR TABLE [KNOB=VALUE...]\n");
        return 2;
    }
    double scale = 1, size = 1, only = -1, power = 0, single = 0, topwords = 0;
    for (int i = 3; i < argc; i++) {
        struct { const char *name; double *value; } knobs[] = {
            {"power", &power}, {"rate", &rate}, {"smoothing", &smoothing},
            {"topwords", &topwords}, {"single", &single}, {"examples", &scale},
            {"size", &size}, {"only", &only}, {"step", &step_factor},
        };
        char *equals = strchr(argv[i], '=');
        for (size_t k = 0; equals && k < sizeof knobs / sizeof *knobs; k++)
            if (strncmp(argv[i], knobs[k].name, (size_t)(equals - argv[i])) == 0)
                *knobs[k].value = atof(equals + 1);
    }
    for (int i = 0; i < LANGID_SCALES; i++)
        steps[i] *= (float)step_factor;
    FILE *out = fopen(argv[2], "wb");
    if (!out) {
        perror(argv[2]);
        return 1;
    }
    for (int g = 0; g < LANGID_GROUPS; g++) {
        if (only >= 0 && g != (int)only)
            continue;
        clock_t begin = clock();
        script = (enum langid_script)g;
        langs = (int)strlen(langid_group_codes[g]) / 2;
        lanes = (langs + 15) / 16 * 16;
        buckets = (uint32_t)(groups[g].buckets * size);
        count_power = power > 0 ? power : groups[g].count_power;
        single_share = single > 0 ? single : groups[g].single_share;
        topword_share = topwords > 0 ? topwords : groups[g].topword_share;
        letter_count = 0;
        memset(corpora, 0, sizeof corpora);
        for (int l = 0; l < langs; l++)
            read_language(argv[1], langid_group_codes[g] + 2 * l, corpora[l]);
        printf("%s\n", langid_group_codes[g]);
        choose_grams();
        printf("  chosen after %.0f s\n", (double)(clock() - begin) / CLOCKS_PER_SEC);
        size_t rows = (size_t)buckets * LANGID_WAYS;
        weights = grow(NULL, rows * (size_t)lanes * sizeof *weights);
        memset(weights, 0, rows * (size_t)lanes * sizeof *weights);
        squares = grow(NULL, rows * sizeof *squares);
        memset(squares, 0, rows * sizeof *squares);
        scales = grow(NULL, rows);
        memset(scales, 0, rows);
        train((long)((double)groups[g].examples * scale));
        evaluate_held_out();
        write_group(out);
        printf("  %.0f s\n", (double)(clock() - begin) / CLOCKS_PER_SEC);
        fflush(stdout);
        free(weights);
        free(squares);
        free(scales);
        free(keys);
    }
    return fclose(out) != 0;
}
