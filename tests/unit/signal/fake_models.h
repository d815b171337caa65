/* tests/unit/signal/fake_models.h -- models that answer from tables.
 *
 * A vector, a row of probabilities or a span is a line of a table beside the text it belongs to; several lines of one text
 * are its windows. A text without a line has no answer ("timeout"). So a test reads like the specification: these texts,
 * these answers, these matches. */
#ifndef TEST_SIGNAL_FAKE_MODELS_H
#define TEST_SIGNAL_FAKE_MODELS_H

#include "bench.h"

#include "base/buf.h"
#include "signal/models.h"

enum { FAKE_DIM = 4, FAKE_LABELS = 5, FAKE_ROLES = 8, FAKE_ASKED = 1024 };

struct fake_vector { const char *text; float v[FAKE_DIM]; };            /* made unit by the fake */
struct fake_labels { const char *role, *text; float p[FAKE_LABELS]; };
struct fake_span { const char *text; uint32_t from, to, label; float score; };
struct fake_role { const char *role; const char *labels[FAKE_LABELS + 1]; };   /* labels NULL: embedding model */
struct fake_file { const char *path, *text; };

struct fake {
    /* tables, each ends with a line of NULL */
    const struct fake_vector *vectors;
    const struct fake_labels *labels;
    const struct fake_span *spans;
    const struct fake_role *roles;                  /* of classifiers that are there; everything else is "no-model" */
    const struct fake_file *files;
    bool has_no_embedding, embed_fails;
    float window_share;
    const float *knot_from, *knot_to; uint32_t n_knots;
    /* what was asked of it */
    unsigned n_embed, n_embedded, n_asked;
    const char *asked_role[FAKE_ASKED]; str asked_text[FAKE_ASKED];
    str model[FAKE_ROLES]; const struct value *options[FAKE_ROLES]; const char *found_role[FAKE_ROLES]; unsigned n_found;
    struct need_source sources[FAKE_ROLES]; str names[FAKE_ROLES][FAKE_LABELS]; unsigned n_sources;
    struct signal_models face;
};

static inline const struct need_source *fake_find(void *arg, const struct model_request *r)
{
    struct fake *m = arg;
    assert_true(m->n_found < FAKE_ROLES);
    m->found_role[m->n_found] = r->role;
    m->options[m->n_found] = r->options;
    m->model[m->n_found++] = r->model;
    str role = str_of(r->kind == NEED_EMBEDDING ? "embedding" : r->role);
    for (unsigned i = 0; i < m->n_sources; i++) {
        if (str_eq(m->sources[i].name, role) && m->sources[i].kind == r->kind)
            return &m->sources[i];
    }
    struct need_source *s = &m->sources[m->n_sources++];
    *s = (struct need_source){ .kind = r->kind, .name = role, .why_absent = "no-model", .cost_ns = 1000000 };
    if (r->kind == NEED_EMBEDDING && !m->has_no_embedding) {
        *s = (struct need_source){ .kind = r->kind, .name = role, .cost_ns = 1000000, .dim = FAKE_DIM, .knot_from = m->knot_from,
                                   .knot_to = m->knot_to, .n_knots = m->n_knots };
    }
    for (const struct fake_role *known = m->roles; known && known->role; known++) {
        if (r->kind == NEED_EMBEDDING || strcmp(known->role, r->role))
            continue;
        s->why_absent = NULL;
        s->window_share = m->window_share;
        s->labels = m->names[s - m->sources];
        for (; s->n_labels < FAKE_LABELS && known->labels[s->n_labels]; s->n_labels++)
            s->labels[s->n_labels] = str_of(known->labels[s->n_labels]);
    }
    return s;
}

static inline void fake_unit(const float *from, float *to)
{
    float length = 0;
    for (int i = 0; i < FAKE_DIM; i++)
        length += from[i] * from[i];
    for (int i = 0; i < FAKE_DIM; i++)
        to[i] = from[i] / sqrtf(length);
}

static inline bool fake_embed(void *arg, const struct need_source *s, const str *texts, size_t n, float *out)
{
    struct fake *m = arg;
    m->n_embed++;
    m->n_embedded += (unsigned)n;
    for (size_t i = 0; i < n; i++) {
        const struct fake_vector *v = m->vectors;
        while (v && v->text && !str_eq(str_of(v->text), texts[i]))
            v++;
        if (!v || !v->text)
            fail_msg("no vector for example \"" STR_FMT "\"", STR_ARG(texts[i]));
        fake_unit(v->v, &out[i * s->dim]);
    }
    return !m->embed_fails;
}

static inline bool fake_file(void *arg, str path, str *text, struct err *why)
{
    const struct fake *m = arg;
    for (const struct fake_file *f = m->files; f && f->path; f++) {
        if (str_eq(path, str_of(f->path))) {
            *text = str_of(f->text);
            return true;
        }
    }
    err_set(why, STR_FMT ": no such file", STR_ARG(path));
    return false;
}

static inline void fake_answer(struct fake *m, struct arena *a, struct need *n)
{
    bool is_vector = n->source->kind == NEED_EMBEDDING;
    float *values = ARENA_ARRAY(a, float, 64 * FAKE_DIM);
    struct need_span *spans = ARENA_ARRAY(a, struct need_span, 64);
    for (const struct fake_vector *v = m->vectors; is_vector && v && v->text; v++) {
        if (str_eq(n->text, str_of(v->text)))
            fake_unit(v->v, &values[n->n_windows++ * FAKE_DIM]);
    }
    for (const struct fake_labels *l = m->labels; n->source->kind == NEED_LABELS && l && l->text; l++) {
        if (str_eq(n->text, str_of(l->text)) && str_eq(n->source->name, str_of(l->role)))
            memcpy(&values[n->n_windows++ * n->source->n_labels], l->p, n->source->n_labels * sizeof *values);
    }
    for (const struct fake_span *s = m->spans; n->source->kind == NEED_SPANS && s && s->text; s++) {
        if (!str_eq(n->text, str_of(s->text)))
            continue;
        n->n_windows = 1;
        if (s->to > s->from)
            spans[n->n_spans++] = (struct need_span){ s->from, s->to, s->label, s->score };
    }
    n->values = values;
    n->spans = spans;
    n->is_answered = n->n_windows > 0;
    n->why = n->is_answered ? NULL : "timeout";
}

static inline void fake_gather(void *arg, struct needs *needs)
{
    struct fake *m = arg;
    for (uint32_t i = needs->n_gathered; i < needs->n; i++) {
        struct need *n = &needs->items[i];
        assert_null(n->source->why_absent);         /* nobody asks who is not there */
        assert_true(n->text.len > 0);
        assert_true(m->n_asked < FAKE_ASKED);
        m->asked_role[m->n_asked] = n->source->name.ptr;
        m->asked_text[m->n_asked++] = n->text;
        fake_answer(m, needs->a, n);
    }
}

static inline struct bench fake_bench(struct fake *m, const char *signals, const char *global)
{
    struct bench b = { .a = arena_new(), .request = arena_new() };
    struct err e = { 0 };
    m->n_embed = m->n_embedded = m->n_asked = m->n_found = m->n_sources = 0;
    m->face = (struct signal_models){ m, fake_find, fake_embed, fake_file };
    b.findings.a = b.a;
    b.profile.name = S("default");
    struct value *v = yaml_parse(b.a, str_of(signals), "test.yaml", &e);
    if (!v)
        fail_msg("%s", e.text);
    bench_rules(&b, v);
    const struct value *g = global ? yaml_parse(b.a, str_of(global), "global.yaml", &e) : NULL;
    if (global && !g)
        fail_msg("%s", e.text);
    struct signal_make_arg arg = { .global = g, .models = &m->face };
    if (b.findings.n_by_severity[SEVERITY_ERROR] == 0)
        b.policy = policy_build(b.a, &b.profile, signal_make_all, &arg, &b.findings);
    if (b.policy) {
        b.scratch = decide_scratch_new(b.a, b.policy);
        decide_gather(b.scratch, fake_gather, m);
    }
    return b;
}

static inline bool fake_was_asked(const struct fake *m, const char *role, const char *text)
{
    for (unsigned i = 0; i < m->n_asked; i++) {
        if (!strcmp(m->asked_role[i], role) && str_eq(m->asked_text[i], str_of(text)))
            return true;
    }
    return false;
}

static inline const char *bench_why(const struct bench *b, const char *type, const char *name)
{
    const char *why = b->signals->why_unknown[bench_slot(b, type, name)];
    return why ? why : "";
}

#define assert_near(a, b) \
    do { double a_ = (double)(a), b_ = (double)(b); \
         if (!(fabs(a_ - b_) < 1e-5)) fail_msg("%s is %.7g, not %.7g", #a, a_, b_); } while (0)

/* Claims about one slot. */
#define assert_holds(b, type, name)    assert_int_equal(bench_says(b, type, name), 1)
#define assert_holds_not(b, type, name) assert_int_equal(bench_says(b, type, name), 0)
#define assert_unknown(b, type, name, why) \
    do { assert_int_equal(bench_says(b, type, name), -1); assert_string_equal(bench_why(b, type, name), why); } while (0)

#endif
