/* select/router_dc.c -- the candidate whose card reads most like the query (spec 02, section 1.4). Named after RouterDC
 * (arXiv:2409.19886), from which VSR's selector has only the cosine.
 *
 * score = sigmoid(cosine / temperature). With VSR's temperature of 0.07 a cosine of 0.3 is already 0.986, and min_similarity,
 * which is compared with that, hardly ever refuses: kept as it is, since configurations are tuned to it. The cosine is in
 * `scores`, where it can still be told apart. */
#include "select/rank.h"

#include <math.h>

#include "base/vector.h"

struct router_dc_conf {
    double temperature, min_similarity;
    bool require_descriptions, use_capabilities;
};

static const struct field router_dc_fields[] = {
    F(FIELD_FLOAT, struct router_dc_conf, temperature, "temperature", "0.07", "divides the similarity before the sigmoid", .min =
      0, .max = 100),
    K(FIELD_INT, "dimension_size", "768", "length of the embedding", .min = 1, .max = 65536, .flags = FIELD_IGNORED),
    F(FIELD_FLOAT, struct router_dc_conf, min_similarity, "min_similarity", "0.3",
      "below this best score the first candidate is taken",
      .min = -1, .max = 1),
    K(FIELD_BOOL, "use_query_contrastive", "true", "no effect, as in VSR", .flags = FIELD_IGNORED),
    K(FIELD_BOOL, "use_model_contrastive", "true", "no effect, as in VSR", .flags = FIELD_IGNORED),
    F(FIELD_BOOL, struct router_dc_conf, require_descriptions, "require_descriptions", "false",
      "every candidate's card must have a description"),
    F(FIELD_BOOL, struct router_dc_conf, use_capabilities, "use_capabilities", "false",
      "the card's capabilities are part of the compared text"),
};

static const struct router_dc_conf defaults = { .temperature = 0.07, .min_similarity = 0.3 };

static double cosine_of(const struct select_in *in, uint32_t i)
{
    return in->embedding && in->candidates[i].card ? (double)vector_inner(in->embedding, in->candidates[i].card, in->dim)
        : (double)NAN;
}

bool router_dc_scores(const struct select_in *in, const void *conf, double *score)
{
    const struct router_dc_conf *c = conf ? conf : &defaults;
    double temperature = c->temperature > 0 ? c->temperature : defaults.temperature;
    bool is_known = false;
    for (uint32_t i = 0; i < in->n; i++) {
        double cosine = cosine_of(in, i);
        is_known |= !isnan(cosine);
        score[i] = isnan(cosine) ? c->min_similarity : 1 / (1 + exp(-cosine / temperature));
    }
    return is_known;
}

static void router_dc_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    const struct router_dc_conf *c = in->conf ? in->conf : &defaults;
    double *score = ARENA_ARRAY(a, double, in->n);
    pick_declared(in, a, out);
    if (!router_dc_scores(in, c, score)) {
        out->confidence = 0;
        out->fallback = in->embedding ? "no-description" : "no-embedding";
        return;
    }
    double best = -HUGE_VAL;
    for (uint32_t i = 0; i < in->n; i++) {
        double cosine = cosine_of(in, i);
        best = fmax(best, score[i]);
        out->scores[i] = (float)score[i];
        /* Saturated scores are equal in a double; their cosines are not. */
        score[i] = -score[i] - (isnan(cosine) ? 0 : 1e-9 * cosine);
    }
    if (best < c->min_similarity) {
        out->confidence = 0.5;
        out->reason = "below_min_similarity";
        return;
    }
    pick_sort(out, score, in->n);
    out->reason = "best_score";
    out->confidence = best > 0.9 ? fmin(best, 0.95) : best;
}

const struct select_ops select_router_dc = {
    .name = "router_dc", .block = "router_dc", .fields = FIELDS(struct router_dc_conf, router_dc_fields), .is_built = true,
    .pick = router_dc_pick, .reads_embedding = select_always,
};
