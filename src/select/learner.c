/* select/learner.c -- what all learners share: names of models and kinds, the registry, and the frame of a state file.
 *
 * A state is: magic, version, name of the learner, specification, models, kinds, the learner's own part, and a hash of all before
 * it. Numbers are as the machine has them (little-endian everywhere we build). A newer version than ours is refused with a
 * sentence; an older one is read. */
#include "select/learner.h"

#include <math.h>

#include "base/hash.h"
#include "select/pack.h"

#define X(symbol) extern const struct learner_ops learner_##symbol;
#include "select/learner_list.h"
#undef X

const struct learner_ops *const learner_all[] = {
#define X(symbol) &learner_##symbol,
#include "select/learner_list.h"
#undef X
    NULL,
};

static const char magic[8] = "sbx-sel";
enum { VERSION = 2, NAME_MAX_BYTES = 4096 };    /* 1: kinds by naive Bayes, no parts of words; it is still read */

const struct learner_ops *learner_by_name(str name)
{
    for (size_t i = 0; learner_all[i]; i++)
        if (str_eq(name, str_of(learner_all[i]->name)))
            return learner_all[i];
    return NULL;
}

static struct learner_spec spec_filled(const struct learner_spec *spec)
{
    struct learner_spec s = spec ? *spec : (struct learner_spec){ 0 };
    s.shrink_kind = s.shrink_kind > 0 ? s.shrink_kind : 5;
    s.shrink_model = s.shrink_model > 0 ? s.shrink_model : 2;
    s.neighbours = s.neighbours ? s.neighbours : 100;
    s.rows_max = s.rows_max ? s.rows_max : 20000;
    s.seed = s.seed ? s.seed : 1;
    return s;
}

struct learner *learner_new(const char *name, const struct learner_spec *spec)
{
    const struct learner_ops *ops = learner_by_name(str_of(name));
    struct learner *l = ops ? calloc(1, ops->bytes) : NULL;
    if (l) {
        l->ops = ops;
        l->spec = spec_filled(spec);
    }
    return l;
}

static void names_free(str *names, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        free((void *)(uintptr_t)names[i].ptr);
    free(names);
}

void learner_free(struct learner *l)
{
    if (!l)
        return;
    if (l->ops->release)
        l->ops->release(l);
    names_free(l->models, l->n_models);
    names_free(l->kinds, l->n_kinds);
    free(l);
}

static bool name_push(str **list, uint32_t *n, uint32_t *cap, str name)
{
    if (*n == *cap) {
        uint32_t more = *cap ? 2 * *cap : 16;
        str *grown = realloc(*list, more * sizeof **list);
        if (!grown)
            return false;
        *list = grown;
        *cap = more;
    }
    char *copy = malloc(name.len + 1);
    if (!copy)
        return false;
    if (name.len)
        memcpy(copy, name.ptr, name.len);
    copy[name.len] = 0;
    (*list)[(*n)++] = (str){ copy, name.len };
    return true;
}

uint32_t learner_find(const struct learner *l, str name)
{
    for (uint32_t i = 0; i < l->n_models; i++)
        if (str_eq(l->models[i], name))
            return i;
    return UINT32_MAX;
}

uint32_t learner_kind(const struct learner *l, str name)
{
    for (uint32_t i = 0; i < l->n_kinds; i++)
        if (str_eq(l->kinds[i], name))
            return i;
    return UINT32_MAX;
}

uint32_t learner_model(struct learner *l, str name)
{
    uint32_t i = learner_find(l, name);
    if (i != UINT32_MAX)
        return i;
    if (l->n_models == LEARNER_MODELS_MAX || name.len > NAME_MAX_BYTES ||
        !name_push(&l->models, &l->n_models, &l->cap_models, name))
        return UINT32_MAX;
    if (l->ops->grow && !l->ops->grow(l)) {
        free((void *)(uintptr_t)l->models[--l->n_models].ptr);
        return UINT32_MAX;
    }
    return l->n_models - 1;
}

bool learner_models_of(struct learner *l, const struct learner *other, uint32_t *model_of)
{
    for (uint32_t m = 0; m < other->n_models; m++)
        if ((model_of[m] = learner_model(l, other->models[m])) == UINT32_MAX)
            return false;
    return true;
}

bool learner_kinds_set(struct learner *l, const str *kinds, uint32_t n)
{
    names_free(l->kinds, l->n_kinds);
    l->kinds = NULL;
    l->n_kinds = 0;
    uint32_t cap = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!name_push(&l->kinds, &l->n_kinds, &cap, kinds[i]))
            return false;
    return true;
}

uint32_t recorded_longest(const struct recorded *r)
{
    uint32_t longest = 1;
    for (uint32_t i = 0; i < recorded_n(r); i++)
        longest = r->x[recorded_row(r, i)].n > longest ? r->x[recorded_row(r, i)].n : longest;
    return longest;
}

struct outcome recorded_outcome(const struct recorded *r, uint32_t row, uint32_t model)
{
    size_t at = (size_t)row * r->n_models + model;
    return (struct outcome){
        .x = &r->x[row], .query = r->query ? r->query[row] : 0, .model = model, .quality = r->quality ? r->quality[at] : NAN,
        .cost_usd = r->cost_usd ? r->cost_usd[at] : NAN, .out_tokens = r->out_tokens ? r->out_tokens[at] : NAN,
        .latency_s = r->latency_s ? r->latency_s[at] : NAN,
    };
}

int learner_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    if (r->n_models > LEARNER_MODELS_MAX)
        return err_set(e, "%u models are more than the %d that a learner can hold", r->n_models, LEARNER_MODELS_MAX);
    for (uint32_t m = 0; m < r->n_models; m++)
        if (learner_model(l, r->models[m]) != m)
            return err_set(e, "model " STR_FMT " appears twice, or the learner was made for others", STR_ARG(r->models[m]));
    if (l->n_models != r->n_models)
        return err_set(e, "a learner of %u models cannot be fitted to rows of %u", l->n_models, r->n_models);
    uint64_t id = hash_mix((uint64_t)r->n << 32 ^ r->n_models ^ l->spec.seed << 8);
    for (uint32_t i = 0; i < recorded_n(r); i++) {
        uint32_t row = recorded_row(r, i);
        id = hash_mix(id ^ r->x[row].n ^ (r->x[row].n ? (uint64_t)r->x[row].grams[0].bucket << 32 : 0) ^ (uint64_t)row << 16);
    }
    l->fit_id = id | 1;
    return l->ops->fit(l, r, e);
}

/* What the learner knows how to read of a text. */
static struct features seen_by(const struct learner *l, const struct features *x)
{
    struct features seen = *x;
    seen.n = l->words_alone ? x->n_words : x->n;
    return seen;
}

void learner_observe(struct learner *l, const struct outcome *o, double weight)
{
    struct features seen = seen_by(l, o->x);
    struct outcome as_seen = *o;
    as_seen.x = &seen;
    l->ops->observe(l, &as_seen, weight);
}

void learner_predict(const struct learner *l, const struct features *x, struct prediction *out, struct arena *a)
{
    struct features seen = seen_by(l, x);
    l->ops->predict(l, &seen, out, a);
    for (uint32_t m = 0; m < l->n_models && !l->ops->has_score; m++)
        out[m].score = out[m].quality;
}

struct prediction learner_stranger(const struct prediction *p, uint32_t n, double cost_usd)
{
    static const double far = .02;      /* the weight of a model of quite another price */
    struct prediction out = { .quality = 0.5f, .score = 0.5f, .deviation = 0.3f, .cost_usd = NAN, .out_tokens = NAN,
                              .out_tokens_90 = NAN, .latency_s = NAN, .latency_90_s = NAN };
    double of = 0, sum = 0, squares = 0, tokens = 0, told = 0;
    for (uint32_t m = 0; m < n; m++) {
        double gap = log((double)p[m].cost_usd / cost_usd), w = isfinite(gap) ? far + exp(-gap * gap / 2) : 1;
        of += w;
        sum += w * (double)p[m].score;
        squares += w * (double)p[m].score * (double)p[m].score;
        if (!isnan(p[m].out_tokens))
            tokens += w * (double)p[m].out_tokens, told += w;
    }
    if (of > 0) {
        out.quality = out.score = (float)(sum / of);
        out.deviation = (float)fmax(.15, sqrt(fmax(0, squares / of - sum / of * (sum / of))));
    }
    if (told > 0)
        out.out_tokens = out.out_tokens_90 = (float)(tokens / told);
    return out;
}

bool learner_kinds(const struct learner *l, const struct features *x, float *p, struct arena *a)
{
    struct features seen = seen_by(l, x);
    return l->ops->kinds && l->ops->kinds(l, &seen, p, a);
}

bool learner_cell(const struct learner *l, uint32_t kind, uint32_t model, struct prediction *out)
{
    return l->ops->cell && kind < l->n_kinds && model < l->n_models && l->ops->cell(l, kind, model, out);
}

/* ---- state ---- */

void learner_save(const struct learner *l, struct buf *out)
{
    size_t from = out->len;
    buf_add(out, magic, sizeof magic);
    pack_u32(out, VERSION);
    pack_str(out, str_of(l->ops->name));
    pack_double(out, l->spec.shrink_kind);
    pack_double(out, l->spec.shrink_model);
    pack_u32(out, l->spec.neighbours);
    pack_u32(out, l->spec.n_clusters);
    pack_u32(out, l->spec.rows_max);
    pack_u64(out, l->spec.seed);
    pack_u32(out, l->words_alone);
    pack_u64(out, l->fit_id);
    pack_u32(out, l->n_models);
    for (uint32_t i = 0; i < l->n_models; i++)
        pack_str(out, l->models[i]);
    pack_u32(out, l->n_kinds);
    for (uint32_t i = 0; i < l->n_kinds; i++)
        pack_str(out, l->kinds[i]);
    l->ops->save(l, out);
    if (!out->is_failed)
        pack_u64(out, hash_stable((str){ out->ptr + from, out->len - from }, VERSION));
}

static bool names_load(struct learner *l, struct unpack *u)
{
    uint32_t n = unpack_count(u, LEARNER_MODELS_MAX, 4);
    for (uint32_t i = 0; i < n && !u->is_bad; i++)
        if (learner_model(l, unpack_str(u)) != i)
            return false;
    n = unpack_count(u, LEARNER_KINDS_MAX, 4);
    str *kinds = calloc(n ? n : 1, sizeof *kinds);
    for (uint32_t i = 0; kinds && i < n; i++) {
        kinds[i] = unpack_str(u);
        u->is_bad |= kinds[i].len > NAME_MAX_BYTES;
    }
    bool is_fine = kinds && !u->is_bad && learner_kinds_set(l, kinds, n);
    free(kinds);
    return is_fine;
}

static bool is_share(double v, double most)
{
    return v >= 1e-6 && v <= most;      /* false for NAN; a sum divided by less may be no number any more */
}

struct learner *learner_load(str bytes, struct err *e)
{
    uint64_t hash = 0;
    if (bytes.len < sizeof magic + 12 || memcmp(bytes.ptr, magic, sizeof magic) != 0) {
        err_set(e, "this is no selection table of signalbox (they begin with \"sbx-sel\")");
        return NULL;
    }
    memcpy(&hash, bytes.ptr + bytes.len - sizeof hash, sizeof hash);
    struct unpack u = { str_upto(str_from(bytes, sizeof magic), bytes.len - sizeof magic - sizeof hash), false };
    uint32_t version = unpack_u32(&u);
    if (version < 1 || version > VERSION) {
        err_set(e, "the selection table has version %u; this program reads up to %d", version, VERSION);
        return NULL;
    }
    if (hash != hash_stable(str_upto(bytes, bytes.len - sizeof hash), version)) {
        err_set(e, "the selection table is damaged or cut short (its checksum is wrong)");
        return NULL;
    }
    str name = unpack_str(&u);
    const struct learner_ops *ops = learner_by_name(name);
    if (!ops || !ops->load) {
        err_set(e, "the selection table is of a learner '" STR_FMT "' that this program does not know", STR_ARG(name));
        return NULL;
    }
    struct learner_spec spec = { .shrink_kind = unpack_double(&u), .shrink_model = unpack_double(&u) };
    spec.neighbours = unpack_u32(&u);
    spec.n_clusters = unpack_u32(&u);
    spec.rows_max = unpack_u32(&u);
    spec.seed = unpack_u64(&u);
    bool words_alone = version < 2 || unpack_u32(&u) != 0;
    struct learner *l = learner_new(ops->name, &spec);
    if (!l) {
        err_set(e, "no memory for a selection table");
        return NULL;
    }
    l->words_alone = words_alone;
    l->fit_id = unpack_u64(&u);
    bool is_sane = is_share(spec.shrink_kind, 1e9) && is_share(spec.shrink_model, 1e9) && spec.neighbours <= 1 << 20 &&
        spec.rows_max <= 1 << 24;
    struct err inner = { 0 };
    if (!is_sane || !names_load(l, &u) || ops->load(l, u.rest, &inner) < 0) {
        err_set(e, "the selection table is broken: %s", inner.text[0] ? inner.text : "its head says impossible things");
        learner_free(l);
        return NULL;
    }
    return l;
}
