/* signal/embedding.c -- nearness of meaning to a bank of example sentences (spec 2.4.2).
 *
 * Needs an embedding model. Until one is served, its slots stay unknown. */
#include "signal/rule.h"

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
}

const struct signal_ops signal_embedding = {
    .type = "embedding",
    .collection = "embeddings",
    .response_key = "embeddings",
    .header = "x-vsr-matched-embeddings",
    .fields = FIELDS(struct embedding_conf, embedding_table),
    .check = embedding_check,
    .make = rule_slots,
};
