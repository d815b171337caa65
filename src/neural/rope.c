/* neural/rope.c -- rotary positions as a table, made once at load.
 *
 * Pair i of a head of d numbers turns by position * theta^(-2i/d). YaRN (Peng et al. 2023, arXiv 2309.00071) reads longer texts
 * than the model was trained on: slow pairs, which saw less than a few turns in training, are slowed down by `factor`, fast pairs
 * keep their angle, a linear ramp lies between, and attention_factor, on q and k alike, warms the logits by its square.
 *
 * Angles are rounded where float32 tensors round them: at position 32,767 the last bit of an angle is 0.002 rad, so a table made
 * in doubles would be better than the one the models were trained and judged with, and not equal to it. */
#include "neural/rope.h"

#include <float.h>
#include <math.h>

static const struct { const char *name; enum rope_kind kind; } rope_kinds[] = {
    { "default", ROPE_DEFAULT },
    { "dynamic", ROPE_DEFAULT },            /* differs only beyond max_position_embeddings, which we do not go */
    { "linear", ROPE_LINEAR },
    { "yarn", ROPE_YARN },
};

static int rope_type(struct rope *r, const struct json *config, jref params, const char *place, struct err *e)
{
    jref type = json_get(config, params, S("rope_type"));
    if (type == JSON_NONE || json_is(config, type, JSON_NULL))
        type = json_get(config, params, S("type"));     /* older files */
    if (type == JSON_NONE || json_is(config, type, JSON_NULL))
        return 0;
    for (size_t i = 0; i < COUNT_OF(rope_kinds); i++)
        if (json_is(config, type, JSON_STRING) && json_key_is(config, type, str_of(rope_kinds[i].name))) {
            r->kind = rope_kinds[i].kind;
            return 0;
        }
    str raw = json_raw(config, type);
    return err_set(e, "%s: rope_type " STR_FMT " is not built in (there are default, dynamic, linear, yarn)", place,
                   STR_ARG(str_upto(raw, 40)));
}

/* 1: read; 0: absent or null; -1 and *e. */
static int rope_number(const struct json *config, jref params, const char *key, double low, double high, double *out,
                       const char *place, struct err *e)
{
    jref n = json_get(config, params, str_of(key));
    if (n == JSON_NONE || json_is(config, n, JSON_NULL))
        return 0;
    double v;
    if (!json_double(config, n, &v) || !(v >= low && v <= high))
        return err_set(e, "%s: %s must be a number from %g to %g", place, key, low, high);
    *out = v;
    return 1;
}

static double warmth(double factor, double scale)
{
    return factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1;
}

int rope_read(struct rope *r, const struct json *config, jref params, uint32_t positions, const char *place, struct err *e)
{
    if (params == JSON_NONE || json_is(config, params, JSON_NULL))
        return 0;
    if (!json_is(config, params, JSON_OBJECT))
        return err_set(e, "%s must be an object", place);
    if (rope_type(r, config, params, place, e) < 0)
        return -1;
    if (rope_number(config, params, "rope_theta", 1.0001, 1e12, &r->theta, place, e) < 0)
        return -1;
    if (r->kind == ROPE_DEFAULT)
        return 0;
    double original = positions, mscale = 0, mscale_all = 0, attention = 0;
    r->beta_fast = 32;
    r->beta_slow = 1;
    int has_original = rope_number(config, params, "original_max_position_embeddings", 1, 1e9, &original, place, e);
    int has_factor = rope_number(config, params, "factor", 1e-3, 1e6, &r->factor, place, e);
    int has_attention = rope_number(config, params, "attention_factor", 1e-6, 1e6, &attention, place, e);
    if (has_original < 0 || has_factor < 0 || has_attention < 0 ||
        rope_number(config, params, "beta_fast", 1e-3, 1e6, &r->beta_fast, place, e) < 0 ||
        rope_number(config, params, "beta_slow", 1e-3, 1e6, &r->beta_slow, place, e) < 0 ||
        rope_number(config, params, "mscale", 0, 1e6, &mscale, place, e) < 0 ||
        rope_number(config, params, "mscale_all_dim", 0, 1e6, &mscale_all, place, e) < 0)
        return -1;
    if (!has_factor) {
        if (r->kind == ROPE_LINEAR)
            return err_set(e, "%s: rope_type linear needs a factor", place);
        r->factor = positions / original;
    }
    if (r->kind == ROPE_LINEAR)
        return 0;
    r->original_positions = original;
    if (has_attention)
        r->attention_factor = attention;
    else if (mscale > 0 && mscale_all > 0)
        r->attention_factor = warmth(r->factor, mscale) / warmth(r->factor, mscale_all);
    else
        r->attention_factor = warmth(r->factor, 1);
    return 0;
}

bool rope_equal(const struct rope *a, const struct rope *b)
{
    return a->kind == b->kind && a->theta == b->theta && a->factor == b->factor && a->attention_factor == b->attention_factor &&
           a->beta_fast == b->beta_fast && a->beta_slow == b->beta_slow && a->original_positions == b->original_positions;
}

/* The pair that makes `turns` full turns within the original length. */
static double pair_of_turns(const struct rope *r, double turns, uint32_t d)
{
    return d * log(r->original_positions / (turns * 2 * M_PI)) / (2 * log(r->theta));
}

/* Radians a position for pair i, rounded to float after every step, as the reference does. */
static float rope_step(const struct rope *r, uint32_t i, uint32_t d, double low, double high)
{
    float power = (float)pow((double)(float)r->theta, (double)((float)(2 * i) / (float)d));
    float step = 1.0f / power;
    if (r->kind == ROPE_LINEAR)
        return step / (float)r->factor;
    if (r->kind == ROPE_DEFAULT)
        return step;
    float slowed = 1.0f / ((float)r->factor * power);
    float ramp = ((float)i - (float)low) / (float)(high - low);
    float keep = 1.0f - fminf(fmaxf(ramp, 0.0f), 1.0f);
    return slowed * (1.0f - keep) + step * keep;
}

float *rope_table(const struct rope *r, uint32_t positions, uint32_t d, struct arena *a)
{
    uint32_t half = d / 2;
    float *table = arena_try(a, sizeof(float) * positions * d);
    if (!table)
        return NULL;
    double low = 0, high = 0;
    if (r->kind == ROPE_YARN) {
        low = fmax(floor(pair_of_turns(r, r->beta_fast, d)), 0);
        high = fmin(ceil(pair_of_turns(r, r->beta_slow, d)), (double)d - 1);
        if (low == high)
            high += 0.001;
    }
    float scale = (float)r->attention_factor;
    for (uint32_t i = 0; i < half; i++) {
        float step = rope_step(r, i, d, low, high);
        for (uint32_t p = 0; p < positions; p++) {
            double angle = (double)((float)p * step);
            table[(size_t)p * d + i] = (float)cos(angle) * scale;
            table[(size_t)p * d + half + i] = (float)sin(angle) * scale;
        }
    }
    return table;
}
