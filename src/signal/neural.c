/* signal/neural.c */
#include "signal/neural.h"

#include <ctype.h>
#include <math.h>

#include "base/buf.h"
#include "base/vector.h"
#include "signal/unfold.h"

/* ---- settings and sources ---- */

static const struct value *catalog(const struct signal_build *b, const char *path)
{
    return b->global ? value_path(value_get(b->global, S("model_catalog")), path) : NULL;
}

const struct value *neural_settings(struct signal_build *b, const char *path, const struct fields *f, void *dst)
{
    const struct value *v = catalog(b, path);
    field_decode(b->a, f, v, S(""), dst, NULL);             /* the loader has reported what is wrong in `global` */
    return v;
}

const struct need_source *neural_source(struct signal_build *b, enum need_kind kind, const char *role, str model,
                                        const struct value *options)
{
    static const struct need_source none[] = {
        [NEED_EMBEDDING] = { .kind = NEED_EMBEDDING, .name = S("none"), .why_absent = "no-model" },
        [NEED_LABELS] = { .kind = NEED_LABELS, .name = S("none"), .why_absent = "no-model" },
        [NEED_SPANS] = { .kind = NEED_SPANS, .name = S("none"), .why_absent = "no-model" },
    };
    if (!b->models)
        return &none[kind];
    struct model_request r = { kind, role, model, options };
    return b->models->find(b->models->arg, &r);
}

const struct need_source *neural_module_source(struct signal_build *b, enum need_kind kind, const char *role,
                                               const struct neural_module *m, const struct value *options)
{
    str model = m->model_id;
    if (model.len == 0) {
        const struct value *path = value_get(catalog(b, "system"), m->model_ref);
        model = path && path->kind == VALUE_SCALAR ? path->text : S("");
    }
    return neural_source(b, kind, role, model, options);
}

const struct need_source *neural_embedding_source(struct signal_build *b)
{
    return neural_source(b, NEED_EMBEDDING, "embedding", S(""), catalog(b, "embeddings.semantic"));
}

/* ---- units ---- */

enum {
    OWN_NS = 2000,                      /* what a unit does with an answer */
    ABSENT_NS = 50,                     /* saying that there is none */
};

struct signal_unit *neural_unit(struct signal_build *b, const char *type, const struct need_source *s, uint32_t texts)
{
    uint64_t ns = OWN_NS + (uint64_t)texts * s->cost_ns;
    return policy_unit(b->policy, str_of(type), ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns);
}

void neural_ask_text(const void *state, const struct facts *f, const uint64_t *wanted, struct needs *needs)
{
    (void)wanted;
    const struct need_source *const *source = state;
    if (f->evaluation_text.len)
        need_ask(needs, *source, f->evaluation_text);
}

struct absence { const struct signal_unit *unit; const char *why; };

static void absent_run(const void *state, const struct facts *f, const uint64_t *wanted, struct arena *request,
                       struct sigset *out)
{
    (void)f, (void)wanted, (void)request;
    const struct absence *is = state;
    for (uint32_t i = 0; i < is->unit->n_slots; i++)
        neural_unknown(out, is->unit->slots[i], is->why);
}

void neural_absent(struct signal_build *b, struct signal_unit *u, const char *why)
{
    struct absence *is = ARENA_NEW(b->a, struct absence);
    *is = (struct absence){ u, why };
    u->state = is;
    u->ask = NULL;
    u->run = absent_run;
    u->cost_ns = ABSENT_NS;
}

const char *neural_why_absent(const struct need_source *s)
{
    if (s->why_absent)
        return s->why_absent;
    bool is_empty = s->kind == NEED_EMBEDDING ? s->dim == 0 : s->n_labels == 0;
    return is_empty ? "bad-labels" : NULL;
}

bool neural_embed(struct signal_build *b, struct signal_unit *u, struct examples *e)
{
    const char *why = neural_why_absent(e->source);
    if (!why && !examples_embed(e, b->models))
        why = "no-examples";
    if (why)
        neural_absent(b, u, why);
    return !why;
}

/* ---- what is read ---- */

static void content_add(struct contents *to, str text, uint32_t result)
{
    if (text.len)
        to->items[to->n++] = (struct content){ text, result };
}

static void contents_add(struct contents *to, const str *texts, uint32_t n)
{
    uint32_t first = n > NEURAL_TURNS_MAX ? n - NEURAL_TURNS_MAX : 0;
    for (uint32_t i = first; i < n; i++)
        content_add(to, texts[i], 0);
}

/* Parts are unfolded one by one: of two JSON texts with a space between neither would be JSON. */
static str result_text(const struct message *m, struct arena *a)
{
    struct buf lines = { 0 };
    for (uint32_t i = 0; i < m->n_texts; i++) {
        str part = unfold(str_trim(message_part(m, i, a)), a);
        if (m->n_texts == 1)
            return part;
        buf_str(&lines, lines.len ? S("\n") : S(""));
        buf_str(&lines, part);
    }
    return buf_to_arena(&lines, a);
}

static void results_add(struct contents *to, const struct facts *f, uint32_t n, struct arena *a)
{
    const struct chat *c = f->chat;
    uint32_t number = f->n_role[ROLE_TOOL], most = n < NEURAL_TURNS_MAX ? n : NEURAL_TURNS_MAX;
    for (uint32_t i = c->n_messages; i > 0 && most > 0; i--) {
        if (c->messages[i - 1].role != ROLE_TOOL)
            continue;
        content_add(to, str_trim(result_text(&c->messages[i - 1], a)), number--);
        most--;
    }
}

struct contents neural_contents(const struct facts *f, unsigned reads, struct arena *a)
{
    bool with_history = reads & READS_HISTORY, with_results = reads & READS_RESULTS;
    size_t most = 1 + (with_history ? 2 * NEURAL_TURNS_MAX : 0) + (with_results ? NEURAL_TURNS_MAX : 0);
    struct contents all = { ARENA_ARRAY(a, struct content, most), 0 };
    contents_add(&all, &f->evaluation_text, 1);
    if (with_results)
        results_add(&all, f, with_history ? f->n_role[ROLE_TOOL] : f->n_new_results, a);
    if (with_history) {
        contents_add(&all, f->non_users, f->n_non_users);
        contents_add(&all, f->prior_users, f->n_prior_users);
    }
    return all;
}

str neural_place(const struct facts *f, uint32_t result, struct arena *a)
{
    return result ? arena_printf(a, " in tool result %u of %u", result, f->n_role[ROLE_TOOL]) : S("");
}

/* ---- answers ---- */

const struct need *neural_answer(const struct facts *f, const struct need_source *s, str text, const char **why)
{
    if (text.len == 0)
        return NULL;
    const struct need *n = need_find(f->needs, s, text);
    if (n && n->is_answered)
        return n;
    *why = !n ? "not-asked" : n->why ? n->why : "no-answer";
    return NULL;
}

static const float *windows_mean(const struct need *n, uint32_t width, struct arena *a, const char **why)
{
    if (n->n_windows == 0) {
        *why = "no-answer";
        return NULL;
    }
    if (n->n_windows == 1)
        return n->values;
    float *mean = ARENA_ARRAY(a, float, width);
    for (uint32_t w = 0; w < n->n_windows; w++)
        vector_add(mean, &n->values[(size_t)w * width], width);
    for (uint32_t i = 0; i < width; i++)
        mean[i] /= (float)n->n_windows;
    return mean;
}

const float *neural_vector(const struct facts *f, const struct need_source *s, str text, struct arena *a, const char **why)
{
    const struct need *n = neural_answer(f, s, text, why);
    const float *mean = n ? windows_mean(n, s->dim, a, why) : NULL;
    if (!mean)
        return NULL;
    float *unit = ARENA_ARRAY(a, float, s->dim);            /* a remote model may not normalise */
    memcpy(unit, mean, s->dim * sizeof *unit);
    if (vector_unit(unit, s->dim))
        return unit;
    *why = "bad-answer";
    return NULL;
}

/* The mean is moved towards the largest window by the share that the model's card says. */
static const float *labels_of_windows(const struct need *n, const struct need_source *s, struct arena *a, const char **why)
{
    const float *mean = windows_mean(n, s->n_labels, a, why);
    if (!mean || n->n_windows == 1 || s->window_share == 0)
        return mean;
    float *mixed = ARENA_ARRAY(a, float, s->n_labels);
    for (uint32_t i = 0; i < s->n_labels; i++) {
        float most = n->values[i];
        for (uint32_t w = 1; w < n->n_windows; w++)
            most = fmaxf(most, n->values[(size_t)w * s->n_labels + i]);
        mixed[i] = s->window_share * most + (1 - s->window_share) * mean[i];
    }
    return mixed;
}

const float *neural_labels(const struct facts *f, const struct need_source *s, str text, struct arena *a, const char **why)
{
    const struct need *n = neural_answer(f, s, text, why);
    const float *p = n ? labels_of_windows(n, s, a, why) : NULL;
    for (uint32_t i = 0; p && i < s->n_labels; i++) {
        if (!isfinite(p[i])) {
            *why = "bad-answer";
            return NULL;
        }
    }
    return p;
}

/* ---- labels ---- */

static char plain(char c)
{
    return c == '_' || c == '-' ? ' ' : (char)tolower((unsigned char)c);
}

bool neural_label_is(str label, str name)
{
    if (label.len != name.len)
        return false;
    for (size_t i = 0; i < label.len; i++) {
        if (plain(label.ptr[i]) != plain(name.ptr[i]))
            return false;
    }
    return true;
}

str neural_label_base(str label)
{
    label = str_trim(label);
    bool is_bio = label.len > 2 && label.ptr[1] == '-' && strchr("BIESLUbieslu", label.ptr[0]);
    return is_bio ? str_from(label, 2) : label;
}

int neural_meaning(str label, const struct neural_spelling *list, size_t n)
{
    label = neural_label_base(label);
    for (size_t i = 0; i < n; i++) {
        if (neural_label_is(label, str_of(list[i].label)))
            return list[i].meaning;
    }
    return -1;
}

const int *neural_meanings(struct arena *a, const struct need_source *s, const struct neural_spelling *list, size_t n,
                           uint64_t required)
{
    int *all = ARENA_ARRAY(a, int, s->n_labels);
    for (uint32_t i = 0; i < s->n_labels; i++) {
        all[i] = neural_meaning(s->labels[i], list, n);
        required &= all[i] >= 0 ? ~(1ull << all[i]) : ~0ull;
    }
    return required ? NULL : all;
}

uint32_t neural_best(const float *values, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (values[i] > values[best])
            best = i;
    }
    return best;
}
