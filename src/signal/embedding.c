/* signal/embedding.c -- nearness of meaning to a bank of example sentences (spec 2.4.2).
 *
 * The text's vector is scored against every rule's prototypes. Rules at or above their threshold match; if there is none, soft
 * matching takes those that are at least near. The engine then keeps the top_k best of all (policy_top_k), one by default. */
#include "signal/neural.h"

struct embedding_conf {
    str description, aggregation_method, query_modality;
    double threshold;
    struct strings candidates;
    uint64_t set;
};

enum { KEY_THRESHOLD = 0 };

static const char *const aggregations[] = { "mean", "max", "any", "", NULL };
static const char *const modalities[] = { "text", "image", "audio", NULL };

static const struct field embedding_table[] = {
    [KEY_THRESHOLD] = F(FIELD_FLOAT, struct embedding_conf, threshold, "threshold", NULL,
        "lowest similarity that counts as a hard match; without it everything matches",
        .min = -1, .max = 1),
    F(FIELD_STRINGS, struct embedding_conf, candidates, "candidates", NULL,
      "example sentences of the meaning to look for"),
    F(FIELD_ENUM, struct embedding_conf, aggregation_method, "aggregation_method", "",
      "mean of all examples, or the prototype score (max, any, empty)", .names = aggregations),
    F(FIELD_ENUM, struct embedding_conf, query_modality, "query_modality", "text",
      "what is compared with the examples: the text or the first image", .names = modalities),
    F(FIELD_STR, struct embedding_conf, description, "description", NULL, "for people",
      .flags = FIELD_EXTENSION),
    { .key = FIELD_KEY_SET, .offset = offsetof(struct embedding_conf, set) },
};

static void embedding_check(const struct signal_rule *rule, const struct profile *p,
                            struct findings *out)
{
    (void)p;
    const struct embedding_conf *c = rule->conf;
    if (!(c->set >> KEY_THRESHOLD & 1))
        rule_finding(rule, out, "missing-threshold", SEVERITY_WARNING,
                     S("similarities of 0.6 to 0.8 are usual"),
                     "embedding rule without threshold matches every request");
    if (c->candidates.n == 0)
        rule_finding(rule, out, "no-candidates", SEVERITY_ERROR, S("add example sentences"),
                     "embedding rule has nothing to compare with");
    if (str_eq(c->query_modality, S("audio")))
        rule_finding(rule, out, "bad-modality", SEVERITY_ERROR, S("use text or image"),
                     "query_modality audio is not supported");
    if (str_eq(c->query_modality, S("image")))
        rule_finding(rule, out, "no-image-model", SEVERITY_WARNING, S("say what becomes of it by on_unknown, or leave the rule out"),
                     "no model of images is served: with an image in the request this rule is unknown, without one it does not match");
}

struct embedding_settings {             /* embeddings.semantic.embedding_config */
    bool enable_soft_matching;
    int64_t top_k;
    double min_score_threshold;
    struct bank_conf scoring;
};

static const struct field settings_table[] = {
    F(FIELD_BOOL, struct embedding_settings, enable_soft_matching, "enable_soft_matching", "true",
      "without a hard match, the near ones count"),
    F(FIELD_INT, struct embedding_settings, top_k, "top_k", "1", "embedding rules that may hold at once; 0: all",
      .min = 0, .max = 1e9),
    F(FIELD_FLOAT, struct embedding_settings, min_score_threshold, "min_score_threshold", "0.5", "from which a soft match counts",
      .min = -1, .max = 1),
    F(FIELD_STRUCT, struct embedding_settings, scoring, "prototype_scoring", NULL, "how rules score", .sub = &bank_fields),
};
static const struct fields settings_fields = FIELDS(struct embedding_settings, settings_table);

struct rule_code {
    uint32_t slot, best, support, count;    /* the rule, and the numbers behind its score */
    double threshold;
    bool is_mean, is_image;
    struct bank bank;
};

struct embedding {
    const struct need_source *source;
    struct rule_code *rules; size_t n;
    bool is_soft;
    double soft_threshold;
};

static double rule_score(const struct rule_code *r, const float *query, struct sigset *out)
{
    struct bank_score s = bank_score(&r->bank, query);
    double score = r->is_mean ? s.mean : s.score;
    rule_value(out, r->slot, score);
    rule_value(out, r->best, s.best);
    rule_value(out, r->support, s.support);
    rule_value(out, r->count, r->bank.n);
    return score;
}

/* Rules about the text; those about images have a pass of their own in VSR, so they do not count as hard matches here. */
static void text_run(const struct embedding *e, const float *query, struct arena *request, struct sigset *out)
{
    bool any_hard = false;
    for (size_t i = 0; i < e->n; i++) {
        if (!e->rules[i].is_image)
            any_hard |= rule_score(&e->rules[i], query, out) >= e->rules[i].threshold;
    }
    for (size_t i = 0; i < e->n; i++) {
        const struct rule_code *r = &e->rules[i];
        double score = out->value[r->slot];
        bool is_soft = !any_hard && e->is_soft;
        if (r->is_image || !(score >= (is_soft ? e->soft_threshold : r->threshold)))
            continue;
        rule_says(out, r->slot, true, score, score);
        out->detail[r->slot] = arena_printf(request, "similarity %.2f%s", score, is_soft ? ", below its threshold" : "");
    }
}

static void embedding_run(const void *state, const struct facts *f, const uint64_t *wanted, struct arena *request,
                          struct sigset *out)
{
    (void)wanted;
    const struct embedding *e = state;
    const char *why = NULL;
    const float *query = neural_vector(f, e->source, f->evaluation_text, request, &why);
    if (query)
        text_run(e, query, request, out);
    for (size_t i = 0; i < e->n; i++) {
        const struct rule_code *r = &e->rules[i];
        if (query && !r->is_image)
            continue;
        const char *reason = r->is_image ? (f->n_images ? "no-image-model" : NULL) : why;
        const uint32_t slots[] = { r->slot, r->best, r->support, r->count };
        for (size_t k = 0; k < COUNT_OF(slots); k++)
            neural_silent(out, slots[k], reason);       /* without text or image nothing is near */
    }
}

static void embedding_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct embedding_settings s;
    neural_settings(b, "embeddings.semantic.embedding_config", &settings_fields, &s);
    struct embedding *e = ARENA_NEW(b->a, struct embedding);
    *e = (struct embedding){ .source = neural_embedding_source(b), .rules = ARENA_ARRAY(b->a, struct rule_code, n), .n = n,
                             .is_soft = s.enable_soft_matching, .soft_threshold = s.min_score_threshold };
    struct signal_unit *u = neural_unit(b, "embedding", e->source, 1);
    struct examples examples;
    examples_start(&examples, e->source);
    for (size_t i = 0; i < n; i++) {
        const struct embedding_conf *c = rules[i]->conf;
        e->rules[i] = (struct rule_code){
            .slot = rule_slot(b, u, S("embedding"), rules[i]->name),
            .best = rule_number(b, u, S("embedding"), rules[i]->name, "best"),
            .support = rule_number(b, u, S("embedding"), rules[i]->name, "support"),
            .count = rule_number(b, u, S("embedding"), rules[i]->name, "prototype_count"),
            .threshold = c->threshold, .is_mean = str_eq(c->aggregation_method, S("mean")),
            .is_image = str_eq(c->query_modality, S("image")),
        };
        examples_add_all(&examples, c->candidates);
    }
    policy_top_k(b->policy, S("embedding"), s.top_k > UINT32_MAX ? UINT32_MAX : (uint32_t)s.top_k);
    if (neural_embed(b, u, &examples)) {
        for (size_t i = 0; i < n; i++)
            bank_build(&e->rules[i].bank, b->a, &s.scoring, &examples,
                       ((const struct embedding_conf *)rules[i]->conf)->candidates);
        u->state = e;
        u->ask = neural_ask_text;
        u->run = embedding_run;
    }
    examples_drop(&examples);
}

const struct signal_ops signal_embedding = {
    .type = "embedding",
    .collection = "embeddings",
    .response_key = "embeddings",
    .header = "x-vsr-matched-embeddings",
    .fields = FIELDS(struct embedding_conf, embedding_table),
    .check = embedding_check,
    .make = embedding_make,
};
