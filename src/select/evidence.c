/* select/evidence.c -- the strategies, what is the same in all of them, and the context of a candidate. */
#include "select/evidence.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/hash.h"

extern const struct evidence_ops evidence_thompson, evidence_linucb, evidence_fixed_share;

const struct evidence_ops *const evidence_all[] = { &evidence_thompson, &evidence_linucb, &evidence_fixed_share, NULL };

static_assert((int)CONTEXT_N <= (int)LINEAR_MAX, "a context fits an arm");

const struct evidence_ops *evidence_by_name(str name)
{
    for (size_t i = 0; evidence_all[i]; i++)
        if (str_eq(name, str_of(evidence_all[i]->name)))
            return evidence_all[i];
    return NULL;
}

void evidence_add(struct evidence *e, const struct evidence_row *row, double weight, const struct evidence_tuning *t)
{
    if (!isfinite(row->reward) || !isfinite(row->expected) || !isfinite(weight))
        return;
    for (size_t i = 0; evidence_all[i]; i++)
        evidence_all[i]->add(e, row, weight, t);
}

void evidence_change(struct evidence *e, uint32_t model, const struct evidence_row *since, uint32_t n,
                     const struct evidence_tuning *t)
{
    for (size_t i = 0; evidence_all[i]; i++)
        evidence_all[i]->change(e, model, since, n, t);
}

bool evidence_merge(struct evidence *to, const struct evidence *from)
{
    bool ok = true;
    for (size_t i = 0; evidence_all[i]; i++)
        ok = evidence_all[i]->merge(to, from) && ok;
    return ok;
}

void evidence_free(struct evidence *e)
{
    for (size_t i = 0; evidence_all[i]; i++)
        evidence_all[i]->release(e);
}

void evidence_write(const struct evidence *e, struct json_writer *w)
{
    for (size_t i = 0; evidence_all[i]; i++) {
        jw_key(w, str_of(evidence_all[i]->key));
        evidence_all[i]->write(e, w);
    }
}

bool evidence_read(struct evidence *e, const struct json *j, jref object, const uint32_t *map, uint32_t n_map, struct arena *a)
{
    for (size_t i = 0; evidence_all[i]; i++) {
        jref value = json_get(j, object, str_of(evidence_all[i]->key));
        if (value == JSON_NONE && !evidence_all[i]->is_required)
            continue;
        if (!json_is(j, value, JSON_ARRAY) || !evidence_all[i]->read(e, j, value, map, n_map, a))
            return false;
    }
    return true;
}

/* ---- the context ---- */

static float clamped(double v)
{
    return isfinite(v) ? (float)fmin(1, fmax(-1, v)) : 0;
}

/* Centred on a text of some hundred bytes in words of four or five letters, without code or formulas. */
void query_context_read(struct query_context *q, const struct features *f)
{
    q->length = clamped(2 * ((double)f->cues[CUE_LENGTH] - .6));
    q->complexity = clamped(4 * ((double)f->cues[CUE_WORD] - .45) + 4 * (double)(f->cues[CUE_CODE] + f->cues[CUE_MATHS]));
}

/* Open addressing in the order of the kinds. */
void context_places(const str *kinds, uint32_t n, uint8_t *place)
{
    bool taken[CONTEXT_KINDS] = { 0 };
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (uint32_t)(hash_stable(kinds[i], 3) % CONTEXT_KINDS), tries = 0;
        for (; taken[at] && tries < CONTEXT_KINDS; tries++)
            at = (at + 1) % CONTEXT_KINDS;
        taken[at] = true;
        place[i] = (uint8_t)at;
    }
}

/* The variance of the expectation goes to the model and the kind as in the cells; cues may add a quarter of a deviation each. */
void context_fill(const struct query_context *q, const struct candidate_context *c, float x[CONTEXT_N])
{
    static const double cue_share = .25, likeness_unit = .2, doubt_unit = .25, latency_unit_s = 2;
    double d = c->deviation > 0 ? fmin(1, c->deviation) : 0, of_kind = sqrt(kind_variance(d));
    float cue = (float)(cue_share * d);
    memset(x, 0, CONTEXT_N * sizeof *x);
    x[CONTEXT_MODEL] = (float)sqrt(fmax(0, d * d - of_kind * of_kind));
    for (int i = 0; i < CONTEXT_KINDS; i++)
        x[CONTEXT_KIND + i] = (float)of_kind * clamped((double)q->kinds[i]);
    x[CONTEXT_LENGTH] = cue * clamped((double)q->length);
    x[CONTEXT_COMPLEXITY] = cue * clamped((double)q->complexity);
    x[CONTEXT_LOAD] = cue * clamped(c->load);
    x[CONTEXT_LATENCY] = cue * clamped(c->latency_s / latency_unit_s);
    x[CONTEXT_REPUTATION] = cue * clamped(c->reputation / likeness_unit);
    x[CONTEXT_LIKENESS] = cue * clamped(c->likeness / likeness_unit);
    x[CONTEXT_DOUBT] = cue * clamped(d / doubt_unit);
}
