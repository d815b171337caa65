/* select/learn_knn.c -- `knn`: what the models did on the most alike queries we have seen.
 *
 * Rows are stored as weighted words (tf-idf, length 1) behind an inverted index: the likeness of a query to every row is one pass
 * over the lists of its words. Words that stand in more than a quarter of the rows tell little and make most of the work, so they
 * are left out. Rows live in a ring: beyond rows_max the oldest goes. Outcomes of one query (by its hash) share a row, so they
 * may come one by one and be taken back. */
#include <math.h>

#include "select/learner.h"
#include "select/pack.h"

enum { COMMON = 4, PROBES = 64 };

struct post { uint32_t row; float value; };
/* of a bucket; idf 0: too common to heed. One look tells a query all. */
struct posts { struct post *list; uint32_t n, cap; float idf; };

struct knn_row { uint64_t query; uint32_t bytes, from, n; };     /* grams[from .. from + n) */

struct knn {
    struct learner l;
    struct posts *posts;                /* [FEATURE_BUCKETS] */
    struct knn_row *rows; uint32_t n_rows, cap_rows, oldest, n_dead_posts;
    struct gram *grams; uint32_t n_grams, cap_grams;    /* tf-idf, of rows */
    float *quality, *cost;              /* [cap_rows][width]; NAN: not known */
    uint32_t width;                     /* room for models */
    double *sum, *n;                    /* [LEARNER_MODELS_MAX] of quality over rows: what few neighbours are shrunken towards */
};

static void knn_release(struct learner *l)
{
    struct knn *k = (struct knn *)l;
    for (uint32_t b = 0; k->posts && b < FEATURE_BUCKETS; b++)
        free(k->posts[b].list);
    free(k->posts);
    free(k->rows);
    free(k->grams);
    free(k->quality);
    free(k->cost);
    free(k->sum);
    free(k->n);
}

static bool knn_room(struct knn *k)     /* the fixed tables */
{
    k->posts = k->posts ? k->posts : calloc(FEATURE_BUCKETS, sizeof *k->posts);
    k->sum = k->sum ? k->sum : calloc(LEARNER_MODELS_MAX, sizeof *k->sum);
    k->n = k->n ? k->n : calloc(LEARNER_MODELS_MAX, sizeof *k->n);
    return k->posts && k->sum && k->n;
}

static bool outcomes_room(struct knn *k, uint32_t cap_rows, uint32_t width)
{
    size_t cells = (size_t)cap_rows * width;
    float *quality = malloc((cells ? cells : 1) * sizeof *quality), *cost = malloc((cells ? cells : 1) * sizeof *cost);
    if (!quality || !cost) {
        free(quality);
        free(cost);
        return false;
    }
    for (size_t i = 0; i < cells; i++)
        quality[i] = cost[i] = NAN;
    for (uint32_t r = 0; r < k->n_rows; r++)
        for (uint32_t m = 0; m < k->width && m < width; m++) {
            quality[(size_t)r * width + m] = k->quality[(size_t)r * k->width + m];
            cost[(size_t)r * width + m] = k->cost[(size_t)r * k->width + m];
        }
    free(k->quality);
    free(k->cost);
    k->quality = quality;
    k->cost = cost;
    k->width = width;
    return true;
}

static bool knn_grow(struct learner *l)
{
    struct knn *k = (struct knn *)l;
    return l->n_models <= k->width || outcomes_room(k, k->cap_rows, l->n_models < 8 ? 8 : l->n_models + l->n_models / 2);
}

/* x by idf and of length 1; out[x->n_words]. Returns how many grams are left. */
static uint32_t weigh(const struct knn *k, const struct features *x, struct gram *out)
{
    uint32_t n = 0;
    float length = 0;
    for (uint32_t g = 0; g < x->n_words; g++) {
        float v = x->grams[g].value * k->posts[x->grams[g].bucket].idf;
        if (v != 0)
            out[n++] = (struct gram){ x->grams[g].bucket, v };
        length += v * v;
    }
    length = length > 0 ? 1 / sqrtf(length) : 0;
    for (uint32_t g = 0; g < n; g++)
        out[g].value *= length;
    return n;
}

static bool post_add(struct posts *p, uint32_t row, float value)
{
    if (p->n == p->cap) {
        uint32_t cap = p->cap ? 2 * p->cap : 4;
        struct post *grown = realloc(p->list, cap * sizeof *grown);
        if (!grown)
            return false;
        p->list = grown;
        p->cap = cap;
    }
    p->list[p->n++] = (struct post){ row, value };
    return true;
}

static bool row_index(struct knn *k, uint32_t r)
{
    for (uint32_t g = 0; g < k->rows[r].n; g++)
        if (!post_add(&k->posts[k->grams[k->rows[r].from + g].bucket], r, k->grams[k->rows[r].from + g].value))
            return false;
    return true;
}

/* Lists without the posts of rows that were replaced. */
static void index_rebuild(struct knn *k)
{
    struct gram *kept = malloc((k->n_grams ? k->n_grams : 1) * sizeof *kept);
    if (!kept)
        return;                         /* later */
    for (uint32_t b = 0; b < FEATURE_BUCKETS; b++)
        k->posts[b].n = 0;
    uint32_t n = 0;
    for (uint32_t r = 0; r < k->n_rows; r++) {
        memcpy(kept + n, k->grams + k->rows[r].from, k->rows[r].n * sizeof *kept);
        k->rows[r].from = n;
        n += k->rows[r].n;
    }
    free(k->grams);
    k->grams = kept;
    k->cap_grams = k->n_grams ? k->n_grams : 1;
    k->n_grams = n;
    k->n_dead_posts = 0;
    for (uint32_t r = 0; r < k->n_rows; r++)
        row_index(k, r);                /* the lists have had room for more */
}

static uint32_t row_find(const struct knn *k, uint64_t query)
{
    for (uint32_t r = k->n_rows; query && r-- > 0;)     /* the newest first: outcomes follow their query closely */
        if (k->rows[r].query == query)
            return r;
    return UINT32_MAX;
}

/* Nobody finds the row any more. Its posts go at once: lists are short. */
static void row_hide(struct knn *k, uint32_t r)
{
    k->n_dead_posts += k->rows[r].n;
    for (uint32_t g = 0; g < k->rows[r].n; g++) {
        struct posts *p = &k->posts[k->grams[k->rows[r].from + g].bucket];
        for (uint32_t i = 0; i < p->n; i++)
            if (p->list[i].row == r)
                p->list[i--] = p->list[--p->n];
    }
    k->rows[r].n = 0;
    if (k->n_dead_posts > k->n_grams / 2)
        index_rebuild(k);
}

static uint32_t row_new(struct knn *k, const struct features *x, uint64_t query)
{
    uint32_t r = k->n_rows;
    if (k->n_rows == k->l.spec.rows_max) {
        r = k->oldest;
        k->oldest = (k->oldest + 1) % k->n_rows;
        for (uint32_t m = 0; m < k->l.n_models; m++)
            if (!isnan(k->quality[(size_t)r * k->width + m]))
                k->sum[m] -= (double)k->quality[(size_t)r * k->width + m], k->n[m]--;
        row_hide(k, r);
    } else if (k->n_rows == k->cap_rows) {
        uint32_t cap = k->cap_rows ? 2 * k->cap_rows : 256;
        cap = cap < k->l.spec.rows_max ? cap : k->l.spec.rows_max;
        struct knn_row *grown = realloc(k->rows, cap * sizeof *grown);
        if (!grown)
            return UINT32_MAX;
        k->rows = grown;
        if (!outcomes_room(k, cap, k->width))
            return UINT32_MAX;
        k->cap_rows = cap;
    }
    if (k->n_grams + x->n_words > k->cap_grams) {
        uint32_t cap = k->n_grams + x->n_words + k->n_grams / 2 + 1024;
        struct gram *grown = realloc(k->grams, cap * sizeof *grown);
        if (!grown)
            return UINT32_MAX;
        k->grams = grown;
        k->cap_grams = cap;
    }
    uint32_t n = weigh(k, x, k->grams + k->n_grams);
    k->rows[r] = (struct knn_row){ .query = query, .bytes = x->bytes, .from = k->n_grams, .n = n };
    k->n_grams += n;
    for (uint32_t m = 0; m < k->width; m++)
        k->quality[(size_t)r * k->width + m] = k->cost[(size_t)r * k->width + m] = NAN;
    k->n_rows += r == k->n_rows;
    return row_index(k, r) ? r : UINT32_MAX;
}

static void row_set(struct knn *k, uint32_t r, uint32_t m, float quality, float cost)
{
    float *q = &k->quality[(size_t)r * k->width + m];
    if (!isnan(*q))
        k->sum[m] -= (double)*q, k->n[m]--;
    *q = quality;
    if (!isnan(quality))
        k->sum[m] += (double)quality, k->n[m]++;
    k->cost[(size_t)r * k->width + m] = cost;
}

static void knn_observe(struct learner *l, const struct outcome *o, double weight)
{
    struct knn *k = (struct knn *)l;
    if (o->model >= l->n_models || !k->posts)
        return;
    uint32_t r = row_find(k, o->query);
    if (weight < 0) {
        if (r == UINT32_MAX)
            return;
        row_set(k, r, o->model, NAN, NAN);
        bool is_empty = true;
        for (uint32_t m = 0; m < l->n_models; m++)
            is_empty &= isnan(k->quality[(size_t)r * k->width + m]) != 0;
        if (is_empty) {
            row_hide(k, r);
            k->rows[r].query = 0;       /* the same query again is a new row */
        }
        return;
    }
    r = r == UINT32_MAX ? row_new(k, o->x, o->query) : r;
    if (r != UINT32_MAX)
        row_set(k, r, o->model, o->quality, o->cost_usd);
}

static int knn_fit(struct learner *l, const struct recorded *rec, struct err *e)
{
    struct knn *k = (struct knn *)l;
    if (!knn_room(k))
        return err_set(e, "no memory for the index of knn");
    k->n_rows = k->n_grams = k->oldest = k->n_dead_posts = 0;
    memset(k->sum, 0, LEARNER_MODELS_MAX * sizeof *k->sum);
    memset(k->n, 0, LEARNER_MODELS_MAX * sizeof *k->n);
    for (uint32_t b = 0; b < FEATURE_BUCKETS; b++)
        k->posts[b].n = 0;
    uint32_t n = recorded_n(rec), *df = calloc(FEATURE_BUCKETS, sizeof *df);
    if (!df)
        return err_set(e, "no memory for the index of knn");
    for (uint32_t i = 0; i < n; i++) {
        const struct features *x = &rec->x[recorded_row(rec, i)];
        for (uint32_t g = 0; g < x->n_words; g++)
            df[x->grams[g].bucket]++;
    }
    for (uint32_t b = 0; b < FEATURE_BUCKETS; b++)
        k->posts[b].idf = df[b] > n / COMMON ? 0 : (float)(log((1.0 + n) / (1.0 + df[b])) + 1);
    free(df);
    for (uint32_t i = n > l->spec.rows_max ? n - l->spec.rows_max : 0; i < n; i++) {
        uint32_t row = recorded_row(rec, i), r = row_new(k, &rec->x[row], rec->query ? rec->query[row] : 0);
        if (r == UINT32_MAX)
            return err_set(e, "no memory for the rows of knn");
        for (uint32_t m = 0; m < rec->n_models; m++) {
            size_t at = (size_t)row * rec->n_models + m;
            row_set(k, r, m, rec->quality[at], rec->cost_usd ? rec->cost_usd[at] : NAN);
        }
    }
    return 0;
}

struct near { float likeness; uint32_t row; };

static bool is_nearer(struct near a, struct near b)
{
    return a.likeness > b.likeness || (a.likeness == b.likeness && a.row < b.row);
}

/* Moves the n nearest to the front, in no order (Hoare's selection); `seed` would change nothing but time. */
static void nearest(struct near *v, uint32_t count, uint32_t n)
{
    uint32_t low = 0, high = count;     /* [low, high) is undecided */
    while (high - low > 1 && n > low && n < high) {
        struct near pivot = v[low + (high - low - 1) / 2];      /* never the last: each round must shrink the range */
        uint32_t i = low, j = high - 1;
        for (;;) {
            while (is_nearer(v[i], pivot))
                i++;
            while (is_nearer(pivot, v[j]))
                j--;
            if (i >= j)
                break;
            struct near swap = v[i];
            v[i++] = v[j];
            v[j--] = swap;
        }
        uint32_t middle = j + 1;        /* all before are at least as near as all after */
        if (n < middle)
            high = middle;
        else
            low = middle;
    }
}

/* The PROBES grams that can add most to a likeness, as probe[].row, in no order. Long texts have hundreds of grams; the rarest settle
 * who is near, and the lists of the others are most of the work. Returns how many there are. */
static uint32_t strongest(const struct knn *k, const struct features *x, struct near *probe)
{
    uint32_t kept = 0;
    for (uint32_t g = 0; g < x->n_words; g++) {
        const struct posts *p = &k->posts[x->grams[g].bucket];
        if (p->n && p->idf > 0)                 /* some row has it */
            probe[kept++] = (struct near){ fabsf(x->grams[g].value) * p->idf, g };
    }
    nearest(probe, kept, PROBES);
    return kept < PROBES ? kept : PROBES;
}

/* The rows to go by: those that are like the query at all, unless they are too few. */
static void rows_near(const float *likeness, uint32_t n_rows, uint32_t wanted, struct near *near)
{
    uint32_t n = 0;
    for (uint32_t r = 0; r < n_rows; r++)
        if (likeness[r] > 0)
            near[n++] = (struct near){ likeness[r], r };
    for (uint32_t r = n < wanted ? n = 0 : n_rows; r < n_rows; r++)
        near[n++] = (struct near){ likeness[r], r };
    nearest(near, n, wanted);
}

static void knn_predict(const struct learner *l, const struct features *x, struct prediction *out, struct arena *a)
{
    const struct knn *k = (const struct knn *)l;
    float *likeness = ARENA_ARRAY(a, float, k->n_rows);
    struct near *probe = ARENA_ARRAY(a, struct near, x->n_words);
    uint32_t n = k->posts ? strongest(k, x, probe) : 0;
    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch(k->posts[x->grams[probe[i].row].bucket].list);
    for (uint32_t i = 0; i < n; i++) {          /* the query's length is left out: it ranks nothing */
        const struct gram *g = &x->grams[probe[i].row];
        const struct posts *p = &k->posts[g->bucket];
        float v = g->value * p->idf;
        for (uint32_t at = 0; at < p->n; at++)
            likeness[p->list[at].row] += v * p->list[at].value;
    }
    struct near *near = ARENA_ARRAY(a, struct near, k->n_rows);
    uint32_t wanted = l->spec.neighbours < k->n_rows ? l->spec.neighbours : k->n_rows, m_all = l->n_models;
    rows_near(likeness, k->n_rows, wanted, near);
    size_t room = 4ull * m_all;
    double *q = ARENA_ARRAY(a, double, room), *c = q + m_all, *qn = c + m_all, *cn = qn + m_all;
    for (uint32_t i = 0; i < wanted; i++) {
        const float *quality = k->quality + (size_t)near[i].row * k->width, *cost = k->cost + (size_t)near[i].row * k->width;
        for (uint32_t m = 0; m < m_all; m++) {
            if (!isnan(quality[m]))
                q[m] += (double)quality[m], qn[m]++;
            if (!isnan(cost[m]))
                c[m] += (double)cost[m], cn[m]++;
        }
    }
    for (uint32_t m = 0; m < m_all; m++) {
        double prior = k->n && k->n[m] > 0 ? k->sum[m] / k->n[m] : 0.5, mean =
            (q[m] + prior * l->spec.shrink_kind) / (qn[m] + l->spec.shrink_kind);
        out[m] = (struct prediction){
            .quality = (float)mean, .deviation = (float)sqrt(fmax(mean * (1 - mean), 0.01) / (qn[m] + 1)), .count = (float)qn[m],
            .cost_usd = cn[m] > 0 ? (float)(c[m] / cn[m]) : NAN, .out_tokens = NAN, .out_tokens_90 = NAN, .latency_s = NAN,
                .latency_90_s = NAN,
        };
    }
}

static void knn_forget(struct learner *l, uint32_t model, double keep)
{
    struct knn *k = (struct knn *)l;
    for (uint32_t r = 0; r < k->n_rows && keep <= 0; r++)       /* rows cannot fade; the ring does that */
        for (uint32_t m = 0; m < l->n_models; m++)
            if (model == UINT32_MAX || m == model)
                row_set(k, r, m, NAN, NAN);
}

static bool knn_merge(struct learner *l, const struct learner *other, double share)
{
    struct knn *k = (struct knn *)l;
    const struct knn *o = (const struct knn *)other;
    if (other->ops != l->ops || other->fit_id != l->fit_id || share <= 0)
        return false;
    for (uint32_t r = 0; r < o->n_rows; r++) {
        if (o->rows[r].query && row_find(k, o->rows[r].query) != UINT32_MAX)
            continue;                   /* we have it */
        struct features x = { .n = 0, .bytes = o->rows[r].bytes, .kind = S("") };
        uint32_t to = row_new(k, &x, o->rows[r].query);
        if (to == UINT32_MAX || k->n_grams + o->rows[r].n > UINT32_MAX / 2)
            return false;
        if (k->n_grams + o->rows[r].n > k->cap_grams) {
            struct gram *grown = realloc(k->grams, (k->n_grams + o->rows[r].n + 1024) * sizeof *grown);
            if (!grown)
                return false;
            k->grams = grown;
            k->cap_grams = k->n_grams + o->rows[r].n + 1024;
        }
        memcpy(k->grams + k->n_grams, o->grams + o->rows[r].from, o->rows[r].n * sizeof *k->grams);
        k->rows[to].from = k->n_grams;
        k->rows[to].n = o->rows[r].n;
        k->n_grams += o->rows[r].n;
        if (!row_index(k, to))
            return false;
        for (uint32_t m = 0; m < other->n_models; m++) {
            uint32_t at = learner_model(l, other->models[m]);
            if (at != UINT32_MAX)
                row_set(k, to, at, o->quality[(size_t)r * o->width + m], o->cost[(size_t)r * o->width + m]);
        }
    }
    return true;
}

static void knn_save(const struct learner *l, struct buf *out)
{
    const struct knn *k = (const struct knn *)l;
    pack_u32(out, k->posts ? k->n_rows : UINT32_MAX);
    if (!k->posts)
        return;
    pack_u32(out, k->oldest);
    for (uint32_t b = 0; b < FEATURE_BUCKETS; b++)
        buf_add(out, &k->posts[b].idf, sizeof k->posts[b].idf);
    for (uint32_t r = 0; r < k->n_rows; r++) {
        pack_u64(out, k->rows[r].query);
        pack_u32(out, k->rows[r].bytes);
        pack_u32(out, k->rows[r].n);
        buf_add(out, k->grams + k->rows[r].from, k->rows[r].n * sizeof *k->grams);
        buf_add(out, k->quality + (size_t)r * k->width, l->n_models * sizeof *k->quality);
        buf_add(out, k->cost + (size_t)r * k->width, l->n_models * sizeof *k->cost);
    }
}

static int knn_load(struct learner *l, str bytes, struct err *e)
{
    struct knn *k = (struct knn *)l;
    struct unpack u = { bytes, false };
    uint32_t n = unpack_u32(&u);
    if (u.is_bad || n == UINT32_MAX)
        return u.is_bad ? err_set(e, "its rows are missing") : 0;
    uint32_t oldest = unpack_u32(&u);
    if (n > l->spec.rows_max || n > u.rest.len / 16 || (n && oldest >= n) || !knn_room(k) || !knn_grow(l))
        return err_set(e, "its rows make no sense");
    for (uint32_t b = 0; b < FEATURE_BUCKETS; b++) {
        unpack_bytes(&u, &k->posts[b].idf, sizeof k->posts[b].idf);
        u.is_bad |= !(k->posts[b].idf >= 0 && k->posts[b].idf < 100);
    }
    for (uint32_t r = 0; r < n && !u.is_bad; r++) {
        struct features x = { .kind = S("") };
        uint64_t query = unpack_u64(&u);
        x.bytes = unpack_u32(&u);
        uint32_t n_grams = unpack_count(&u, FEATURE_GRAMS_MAX, sizeof(struct gram)), from = k->n_grams;
        uint32_t at = row_new(k, &x, query);
        if (u.is_bad || at != r || k->n_grams > UINT32_MAX / 2)
            return err_set(e, "its rows make no sense");
        if (from + n_grams > k->cap_grams) {
            struct gram *grown = realloc(k->grams, (from + n_grams + from / 2 + 1024) * sizeof *grown);
            if (!grown)
                return err_set(e, "no memory for its rows");
            k->grams = grown;
            k->cap_grams = from + n_grams + from / 2 + 1024;
        }
        unpack_bytes(&u, k->grams + from, n_grams * sizeof *k->grams);
        for (uint32_t g = 0; g < n_grams; g++)
            if (k->grams[from + g].bucket >= FEATURE_BUCKETS || !isfinite(k->grams[from + g].value))
                return err_set(e, "its rows make no sense");
        k->n_grams += n_grams;
        k->rows[r].n = n_grams;
        if (!row_index(k, r))
            return err_set(e, "no memory for its rows");
        for (uint32_t half = 0; half < 2; half++)
            for (uint32_t m = 0; m < l->n_models; m++) {
                float v;
                unpack_bytes(&u, &v, sizeof v);
                if (isinf(v))
                    return err_set(e, "its rows make no sense");
                if (half == 0)
                    row_set(k, r, m, v, NAN);
                else
                    k->cost[(size_t)r * k->width + m] = v;
            }
    }
    k->oldest = oldest;
    return u.is_bad ? err_set(e, "its rows make no sense") : 0;
}

const struct learner_ops learner_knn = {
    .name = "knn", .summary = "mean of the most alike queries (tf-idf of words and pairs, cosine)", .bytes = sizeof(struct knn),
    .release = knn_release, .grow = knn_grow, .fit = knn_fit, .observe = knn_observe, .predict = knn_predict, .forget =
        knn_forget,
    .merge = knn_merge, .save = knn_save, .load = knn_load,
};
