/* tests/unit/signal/test_neural_similarity.c -- signals by nearness of meaning: embedding, complexity, preference, reask,
 * kb, and the contrastive jailbreak method (spec 2.4.2, 2.4.6, 2.4.7, 2.4.11, 2.4.14, 2.4.16).
 *
 * Examples are the axes of a space of four meanings; a text is a mixture, so its similarity to an example is a coordinate. */
#include "fake_models.h"

#define COOK { 1, 0, 0, 0 }
#define CODE { 0, 1, 0, 0 }
#define LAW  { 0, 0, 1, 0 }
#define REST { 0, 0, 0, 1 }

static const struct fake_vector vectors[] = {
    { "cook", COOK }, { "bake", COOK }, { "code", CODE }, { "law", LAW }, { "rest", REST },
    { "cook and code", { 0.8f, 0.6f, 0, 0 } },              /* .8 cook, .6 code */
    { "a bit of cooking", { 0.6f, 0, 0, 0.8f } },
    { "hardly cooking", { 0.28f, 0, 0, 0.96f } },
    { "far from cooking", { -0.6f, 0, 0, 0.8f } },
    { "law then cook", LAW }, { "law then cook", COOK },    /* two windows: .707 each */
    { NULL, REST },
};

/* ---- embedding ---- */

static void hard_matches_reach_their_threshold(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m,
        "embeddings:\n"
        "- {name: cook, threshold: 0.7, candidates: [cook, bake]}\n"
        "- {name: code, threshold: 0.55, candidates: [code]}\n",
        "model_catalog: {embeddings: {semantic: {embedding_config: {top_k: 0}}}}");
    assert_int_equal(m.n_embed, 1);                         /* one call for all rules */
    assert_int_equal(m.n_embedded, 3);
    bench_text(&b, S("cook and code"));
    assert_holds(&b, "embedding", "cook");
    assert_holds(&b, "embedding", "code");
    assert_near(bench_confidence(&b, "embedding", "cook"), 0.8);
    assert_near(bench_value(&b, "embedding", "code"), 0.6);
    assert_int_equal(m.n_asked, 1);
    bench_text(&b, S("a bit of cooking"));                  /* .6: below .7, but soft */
    assert_holds(&b, "embedding", "cook");
    assert_holds_not(&b, "embedding", "code");
    bench_free(&b);
}

static void one_hard_match_ends_soft_matching(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    const char *rules =
        "embeddings:\n"
        "- {name: cook, threshold: 0.9, candidates: [cook]}\n"
        "- {name: code, threshold: 0.55, candidates: [code]}\n";
    struct bench b = fake_bench(&m, rules, "model_catalog: {embeddings: {semantic: {embedding_config: {top_k: 0}}}}");
    bench_text(&b, S("cook and code"));                     /* cook .8 is soft only, code .6 is hard */
    assert_holds_not(&b, "embedding", "cook");
    assert_true(isnan(bench_confidence(&b, "embedding", "cook")));
    assert_near(bench_value(&b, "embedding", "cook"), 0.8); /* the number is there all the same */
    assert_holds(&b, "embedding", "code");
    bench_free(&b);
    b = fake_bench(&m, rules, "model_catalog: {embeddings: {semantic: {embedding_config: {enable_soft_matching: false}}}}");
    bench_text(&b, S("a bit of cooking"));
    assert_holds_not(&b, "embedding", "cook");
    bench_free(&b);
    b = fake_bench(&m, rules, "model_catalog: {embeddings: {semantic: {embedding_config: {min_score_threshold: 0.65}}}}");
    bench_text(&b, S("a bit of cooking"));
    assert_holds_not(&b, "embedding", "cook");
    bench_free(&b);
}

static void by_default_the_best_rule_alone_stays(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m,
        "embeddings:\n"
        "- {name: code, threshold: 0.5, candidates: [code]}\n"
        "- {name: cook, threshold: 0.5, candidates: [cook]}\n"
        "- {name: also cook, threshold: 0.5, candidates: [bake]}\n", NULL);
    bench_text(&b, S("cook and code"));
    assert_holds_not(&b, "embedding", "code");
    assert_holds_not(&b, "embedding", "cook");              /* a tie goes by name */
    assert_holds(&b, "embedding", "also cook");
    bench_free(&b);
}

static void without_threshold_everything_matches(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m, "embeddings: [{name: e, candidates: [law]}]", NULL);
    bench_text(&b, S("cook and code"));
    assert_holds(&b, "embedding", "e");
    bench_free(&b);
}

static void aggregation_is_the_prototype_score_or_the_mean(void **state)
{
    (void)state;
    static const struct { const char *method; double score; } cases[] = {
        { "", 0.75 * 0.8 + 0.25 * 0.7 }, { "max", 0.75 * 0.8 + 0.25 * 0.7 }, { "any", 0.75 * 0.8 + 0.25 * 0.7 },
        { "mean", (0.8 + 0.6 + 0) / 3 },
    };
    struct fake m = { .vectors = vectors };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char yaml[256];
        snprintf(yaml, sizeof yaml,
                 "embeddings: [{name: e, threshold: 0.1, candidates: [cook, code, law], aggregation_method: \"%s\"}]",
                 cases[i].method);
        struct bench b = fake_bench(&m, yaml, NULL);
        bench_text(&b, S("cook and code"));
        assert_near(bench_value(&b, "embedding", "e"), cases[i].score);
        assert_near(bench_value(&b, "embedding", "e:best"), 0.8);
        assert_near(bench_value(&b, "embedding", "e:support"), 0.7);
        assert_near(bench_value(&b, "embedding", "e:prototype_count"), 3);
        assert_holds_not(&b, "embedding", "e:best");        /* a number, not a match */
        bench_free(&b);
    }
}

static void settings_of_prototypes_are_read(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m, "embeddings: [{name: e, threshold: 0.1, candidates: [cook, code, law, bake]}]",
        "model_catalog: {embeddings: {semantic: {embedding_config: {prototype_scoring: {best_weight: 1, max_prototypes: 1}}}}}");
    bench_text(&b, S("cook and code"));
    assert_near(bench_value(&b, "embedding", "e"), 0.8);    /* cook and bake are the largest cluster */
    assert_near(bench_value(&b, "embedding", "e:prototype_count"), 1);
    bench_free(&b);
}

static void a_long_text_is_the_mean_of_its_windows(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m, "embeddings: [{name: e, threshold: 0.1, candidates: [cook]}]", NULL);
    bench_text(&b, S("law then cook"));
    assert_near(bench_value(&b, "embedding", "e"), sqrt(0.5));
    bench_free(&b);
}

static void thresholds_are_on_the_scale_of_the_reference_model(void **state)
{
    (void)state;
    static const float from[] = { -1, 0, 0.5f, 1 }, to[] = { -1, 0, 0.75f, 1 };
    struct fake m = { .vectors = vectors, .knot_from = from, .knot_to = to, .n_knots = 4 };
    struct bench b = fake_bench(&m, "embeddings: [{name: e, threshold: 0.78, candidates: [cook]}]", NULL);
    bench_text(&b, S("a bit of cooking"));                  /* cosine .6 is .8 there */
    assert_holds(&b, "embedding", "e");
    assert_near(bench_value(&b, "embedding", "e"), 0.8);
    bench_free(&b);
}

static void image_rules_are_about_images(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m,
        "embeddings:\n"
        "- {name: i, threshold: 0.1, candidates: [cook], query_modality: image}\n"
        "- {name: t, threshold: 0.9, candidates: [cook]}\n", NULL);
    bench_text(&b, S("cook and code"));
    assert_holds_not(&b, "embedding", "i");                 /* no image here */
    assert_holds(&b, "embedding", "t");                     /* soft: an image rule is no hard match of texts */
    static struct chat chat;
    struct facts f = { .chat = &chat, .n_images = 1 };
    bench_run(&b, &f);
    assert_unknown(&b, "embedding", "i", "no-image-model");
    assert_holds_not(&b, "embedding", "t");                 /* without text nothing is near */
    bench_free(&b);
}

static void an_embedding_without_answer_is_unknown_and_says_why(void **state)
{
    (void)state;
    const char *rules = "embeddings: [{name: e, threshold: 0.1, candidates: [cook]}]";
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m, rules, NULL);
    bench_text(&b, S("never seen"));
    assert_unknown(&b, "embedding", "e", "timeout");
    assert_unknown(&b, "embedding", "e:best", "timeout");
    bench_free(&b);
    m = (struct fake){ .vectors = vectors, .embed_fails = true };
    b = fake_bench(&m, rules, NULL);
    bench_text(&b, S("cook"));
    assert_unknown(&b, "embedding", "e", "no-examples");
    assert_int_equal(m.n_asked, 0);
    bench_free(&b);
    m = (struct fake){ .vectors = vectors, .has_no_embedding = true };
    b = fake_bench(&m, rules, NULL);
    bench_text(&b, S("cook"));
    assert_unknown(&b, "embedding", "e", "no-model");
    assert_int_equal(m.n_embed, 0);
    bench_free(&b);
    static const struct fake_vector bad[] = { { "cook", COOK }, { "zero", { 0, 0, 0, 0 } }, { NULL, REST } };
    m = (struct fake){ .vectors = bad };                    /* zero becomes NAN when it is divided by its length */
    b = fake_bench(&m, rules, NULL);
    bench_text(&b, S("zero"));
    assert_unknown(&b, "embedding", "e", "bad-answer");
    bench_free(&b);
}

/* ---- complexity ---- */

static const char complexity_rules[] =
    "complexity: [{name: c, threshold: 0.25, hard: {candidates: [code]}, easy: {candidates: [cook]}}]";

static void complexity_has_exactly_one_level(void **state)
{
    (void)state;
    static const struct { const char *text, *level; double margin; } cases[] = {
        { "code", "c:hard", 1 }, { "cook", "c:easy", -1 }, { "cook and code", "c:medium", -0.2 },
        { "hardly cooking", "c:easy", -0.28 },
        { "rest", "c:medium", 0 },
    };
    static const char *const levels[] = { "c:hard", "c:easy", "c:medium" };
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m, complexity_rules, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bench_text(&b, str_of(cases[i].text));
        for (size_t k = 0; k < COUNT_OF(levels); k++) {
            assert_int_equal(bench_says(&b, "complexity", levels[k]), !strcmp(levels[k], cases[i].level));
            assert_near(bench_value(&b, "complexity", levels[k]), cases[i].margin);
        }
        assert_near(bench_confidence(&b, "complexity", cases[i].level), fabs(cases[i].margin));
    }
    bench_text(&b, S("never seen"));
    for (size_t k = 0; k < COUNT_OF(levels); k++)
        assert_unknown(&b, "complexity", levels[k], "timeout");
    bench_free(&b);
}

static void a_composer_must_hold_for_the_level_to_count(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m,
        "keywords: [{name: k, operator: OR, keywords: [cook]}]\n"
        "complexity: [{name: c, threshold: 0.25, hard: {candidates: [code]}, easy: {candidates: [cook]}, "
        "composer: {conditions: [{type: keyword, name: k}]}}]", NULL);
    bench_text(&b, S("cook"));
    assert_holds(&b, "complexity", "c:easy");
    bench_text(&b, S("code"));                              /* hard, but no keyword */
    assert_holds_not(&b, "complexity", "c:hard");
    assert_holds_not(&b, "complexity", "c:medium");
    bench_free(&b);
}

static void a_composer_sees_embeddings_before_the_best_alone_stays(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m,
        "embeddings:\n"
        "- {name: cook, threshold: 0.5, candidates: [cook]}\n"
        "- {name: code, threshold: 0.5, candidates: [code]}\n"
        "complexity: [{name: c, threshold: 0.25, hard: {candidates: [code]}, easy: {candidates: [cook]}, "
        "composer: {operator: AND, conditions: [{type: embedding, name: code}]}}]", NULL);
    bench_text(&b, S("cook and code"));
    assert_holds_not(&b, "embedding", "code");
    assert_holds(&b, "complexity", "c:medium");
    bench_free(&b);
}

static void complexity_has_its_own_prototype_settings(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m,
        "complexity: [{name: c, threshold: 0.25, hard: {candidates: [code, law]}, easy: {candidates: [rest]}}]",
        "model_catalog: {modules: {complexity: {prototype_scoring: {best_weight: 0.5, top_m: 2}}}}");
    bench_text(&b, S("code"));
    assert_near(bench_value(&b, "complexity", "c:hard"), 0.5 + 0.5 * 0.5);
    bench_free(&b);
}

/* ---- preference ---- */

static void only_the_best_preference_can_match(void **state)
{
    (void)state;
    const char *rules =
        "preferences:\n"
        "- {name: kitchen, description: cook, examples: [bake], threshold: 0.7}\n"
        "- {name: desk, description: code, threshold: 0.5}\n";
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m, rules, NULL);
    assert_string_equal(m.found_role[0], "preference");
    bench_text(&b, S("cook and code"));
    assert_holds(&b, "preference", "kitchen");
    assert_holds_not(&b, "preference", "desk");             /* .6, above its threshold, but not the best */
    assert_near(bench_confidence(&b, "preference", "kitchen"), 0.8);
    bench_text(&b, S("a bit of cooking"));                  /* best, but below its threshold: nobody */
    assert_holds_not(&b, "preference", "kitchen");
    assert_holds_not(&b, "preference", "desk");
    bench_text(&b, S("never seen"));
    assert_unknown(&b, "preference", "desk", "timeout");
    bench_free(&b);
    b = fake_bench(&m, rules,
        "model_catalog: {modules: {classifier: {preference: {prototype_scoring: {margin_threshold: 0.3}}}}}");
    bench_text(&b, S("cook and code"));                     /* leads by .2 only */
    assert_holds_not(&b, "preference", "kitchen");
    bench_text(&b, S("cook"));
    assert_holds(&b, "preference", "kitchen");
    bench_free(&b);
}

static void a_preference_without_threshold_needs_none(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m, "preferences: [{name: p, examples: [cook]}]",
                                "model_catalog: {modules: {classifier: {preference: {embedding_model: gemma}}}}");
    assert_true(str_eq(m.model[0], S("gemma")));
    bench_text(&b, S("rest"));
    assert_holds(&b, "preference", "p");
    bench_text(&b, S("far from cooking"));                  /* a similarity below 0 */
    assert_holds(&b, "preference", "p");
    bench_free(&b);
}

static void an_external_model_names_the_preference(void **state)
{
    (void)state;
    static const struct fake_role roles[] = { { "preference", { "kitchen", "desk" } }, { NULL, { NULL } } };
    static const struct fake_labels labels[] = {
        { "preference", "to the stove", { 1, 0 } }, { "preference", "none of them", { 0, 0 } }, { NULL, NULL, { 0 } },
    };
    struct fake m = { .roles = roles, .labels = labels };
    struct bench b = fake_bench(&m,
        "preferences:\n"
        "- {name: desk, description: writes code}\n"
        "- {name: kitchen, description: cooks}\n",
        "model_catalog: {modules: {classifier: {preference: {use_contrastive: false}}}}");
    const struct value *routes = value_get(m.options[0], S("routes"));
    assert_int_equal(routes->n_items, 2);                   /* what the model has to choose from */
    assert_true(str_eq(value_get(routes->items[1], S("name"))->text, S("kitchen")));
    assert_true(str_eq(value_get(routes->items[1], S("description"))->text, S("cooks")));
    bench_text(&b, S("to the stove"));
    assert_holds(&b, "preference", "kitchen");
    assert_holds_not(&b, "preference", "desk");
    bench_text(&b, S("none of them"));
    assert_holds_not(&b, "preference", "kitchen");
    assert_holds_not(&b, "preference", "desk");
    bench_text(&b, S("late"));
    assert_unknown(&b, "preference", "desk", "timeout");
    bench_free(&b);
}

/* ---- reask ---- */

static void reask_run_turns(struct bench *b, const char *now, const char *const *before)
{
    static struct chat chat;
    str prior[16];
    struct facts f = { .chat = &chat, .current_user = str_of(now), .evaluation_text = str_of(now), .sampled_text = str_of(now),
                       .prior_users = prior };
    for (; before[f.n_prior_users]; f.n_prior_users++)
        prior[f.n_prior_users] = str_of(before[f.n_prior_users]);
    bench_run(b, &f);
}
#define TURNS(...) (const char *const[]){ __VA_ARGS__, NULL }

static void reask_counts_like_turns_from_the_latest_back(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m,
        "reasks:\n"
        "- {name: once, threshold: 0.7}\n"
        "- {name: twice, threshold: 0.7, lookback_turns: 2}\n"
        "- {name: strict once, threshold: 0.9}\n", NULL);
    reask_run_turns(&b, "cook", TURNS("law"));
    assert_holds_not(&b, "reask", "once");
    assert_near(bench_value(&b, "reask", "once"), 0);
    reask_run_turns(&b, "cook", TURNS("law", "cook and code"));
    assert_holds(&b, "reask", "once");
    assert_holds_not(&b, "reask", "strict once");           /* .8 */
    assert_near(bench_value(&b, "reask", "once"), 1);
    assert_near(bench_confidence(&b, "reask", "once"), 0.8);
    reask_run_turns(&b, "cook", TURNS("bake", "cook and code", "bake"));
    assert_holds(&b, "reask", "twice");
    assert_holds_not(&b, "reask", "once");                  /* of those that hold, only the furthest look back stays */
    assert_holds_not(&b, "reask", "strict once");
    assert_near(bench_value(&b, "reask", "twice"), 3);      /* the streak goes on behind the look back */
    assert_near(bench_confidence(&b, "reask", "twice"), 0.8);   /* the least in the look back */
    assert_near(bench_value(&b, "reask", "strict once"), 1);
    reask_run_turns(&b, "cook", TURNS("cook", "cook", "law"));
    assert_holds_not(&b, "reask", "once");                  /* the latest is unlike: no streak */
    bench_free(&b);
}

static void the_first_question_asks_no_model(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m, "reasks: [{name: r}]", NULL);
    bench_text(&b, S("cook"));
    assert_holds_not(&b, "reask", "r");
    assert_int_equal(m.n_asked, 0);
    bench_free(&b);
}

static void a_turn_without_answer_matters_only_where_the_streak_reaches_it(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m,
        "reasks:\n"
        "- {name: once}\n"
        "- {name: twice, lookback_turns: 2}\n", NULL);
    reask_run_turns(&b, "cook", TURNS("never seen", "cook"));
    assert_holds(&b, "reask", "once");
    assert_unknown(&b, "reask", "twice", "timeout");
    reask_run_turns(&b, "cook", TURNS("never seen", "law"));
    assert_holds_not(&b, "reask", "twice");
    reask_run_turns(&b, "never seen", TURNS("cook"));
    assert_unknown(&b, "reask", "once", "timeout");
    bench_free(&b);
}

static void long_conversations_are_bounded_unless_a_rule_looks_further(void **state)
{
    (void)state;
    static struct chat chat;
    static str prior[600];
    for (size_t i = 0; i < COUNT_OF(prior); i++)
        prior[i] = S("bake");
    struct facts f = { .chat = &chat, .current_user = S("cook"), .evaluation_text = S("cook"), .prior_users = prior,
                       .n_prior_users = 600 };
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m, "reasks: [{name: r, lookback_turns: 2}]", NULL);
    bench_run(&b, &f);
    assert_near(bench_value(&b, "reask", "r"), 64);
    assert_int_equal(m.n_asked, 2);                         /* the same text is asked once */
    bench_free(&b);
    b = fake_bench(&m, "reasks: [{name: r, lookback_turns: 500}]", NULL);
    bench_run(&b, &f);
    assert_holds(&b, "reask", "r");
    bench_free(&b);
}

/* ---- kb ---- */

static const struct fake_file files[] = {
    { "bases/work/labels.json",
      "{\"version\": \"1\", \"labels\": {\"kitchen\": {\"description\": \"d\", \"exemplars\": [\"cook\", \"bake\"]}, "
      "\"desk\": {\"exemplars\": [\"code\"]}, \"court\": {\"exemplars\": [\"law\"]}, \"empty\": {\"exemplars\": []}}}" },
    { "bases/broken/labels.json", "{\"labels\": [" },
    { "bases/odd/labels.json", "[1]" },
    { NULL, NULL },
};
static const char kbs[] =
    "model_catalog:\n"
    "  kbs:\n"
    "  - name: work\n"
    "    source: {path: bases/work/}\n"
    "    threshold: 0.5\n"
    "    label_thresholds: {desk: 0.7}\n"
    "    groups: {hands: [kitchen], head: [desk, court], all: [kitchen, desk, court], nobody: [absent]}\n"
    "    metrics:\n"
    "    - {name: hands_vs_head, type: group_margin, positive_group: hands, negative_group: head}\n"
    "    - {name: odd, type: group_margin, positive_group: hands, negative_group: absent}\n"
    "  - {name: broken, source: {path: bases/broken, manifest: labels.json}, threshold: 0.5}\n"
    "  - {name: odd, source: {path: bases/odd}, threshold: 0.5}\n"
    "  - {name: missing, source: {path: bases/missing}, threshold: 0.5}\n";

static void kb_labels_match_from_their_threshold(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors, .files = files };
    struct bench b = fake_bench(&m,
        "kb:\n"
        "- {name: kitchen, kb: work, target: {kind: label, value: kitchen}}\n"
        "- {name: desk, kb: work, target: {kind: label, value: desk}}\n"
        "- {name: empty, kb: work, target: {kind: label, value: empty}}\n"
        "- {name: head, kb: work, target: {kind: group, value: head}}\n"
        "- {name: hands, kb: work, target: {kind: group, value: hands}}\n"
        "- {name: nobody, kb: work, target: {kind: group, value: nobody}}\n", kbs);
    assert_int_equal(m.n_embed, 1);
    assert_int_equal(m.n_embedded, 4);
    bench_text(&b, S("cook and code"));
    assert_holds(&b, "kb", "kitchen");
    assert_near(bench_confidence(&b, "kb", "kitchen"), 0.8);
    assert_holds_not(&b, "kb", "desk");                     /* .6 is below its own threshold */
    assert_holds_not(&b, "kb", "head");                     /* so none of that group matches */
    assert_holds(&b, "kb", "hands");
    assert_holds_not(&b, "kb", "empty");
    assert_holds_not(&b, "kb", "nobody");
    bench_text(&b, S("code"));
    assert_holds(&b, "kb", "head");
    assert_near(bench_confidence(&b, "kb", "head"), 1);
    bench_text(&b, S("never seen"));
    assert_unknown(&b, "kb", "head", "timeout");
    bench_free(&b);
}

static void the_best_of_what_matches_is_one_label_and_one_group(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors, .files = files };
    struct bench b = fake_bench(&m,
        "kb:\n"
        "- {name: kitchen, kb: work, target: {kind: label, value: kitchen}, match: best}\n"
        "- {name: desk, kb: work, target: {kind: label, value: desk}, match: best}\n"
        "- {name: all, kb: work, target: {kind: group, value: all}, match: best}\n"
        "- {name: hands, kb: work, target: {kind: group, value: hands}, match: best}\n", kbs);
    bench_text(&b, S("cook and code"));
    assert_holds(&b, "kb", "kitchen");
    assert_holds_not(&b, "kb", "desk");
    assert_holds(&b, "kb", "all");                          /* as good as hands: the name that sorts first */
    assert_holds_not(&b, "kb", "hands");
    bench_text(&b, S("rest"));                              /* nothing matches: nothing is the best of it */
    assert_holds_not(&b, "kb", "kitchen");
    assert_holds_not(&b, "kb", "all");
    bench_free(&b);
}

static void kb_metrics_are_numbers_for_projections(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors, .files = files };
    struct bench b = fake_bench(&m, "kb: [{name: kitchen, kb: work, target: {kind: label, value: kitchen}}]", kbs);
    bench_text(&b, S("cook and code"));
    assert_near(bench_value(&b, "kb_metric", "work:best_score"), 0.8);
    assert_near(bench_value(&b, "kb_metric", "work:best_matched_score"), 0.8);
    assert_near(bench_value(&b, "kb_metric", "work:hands_vs_head"), 0.8 - 0.6);
    assert_near(bench_value(&b, "kb_metric", "work:odd"), 0.8);
    bench_text(&b, S("hardly cooking"));
    assert_near(bench_value(&b, "kb_metric", "work:best_score"), 0.28);
    assert_near(bench_value(&b, "kb_metric", "work:best_matched_score"), 0);
    bench_free(&b);
}

static void a_metric_reaches_a_projection(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors, .files = files };
    struct bench b = { 0 };
    struct score_input in = { .type = S("kb_metric"), .kb = S("work"), .metric = S("hands_vs_head"), .value_source = S("score"),
                              .weight = 2 };
    struct score_conf score = { .name = S("s"), .inputs = &in, .n_inputs = 1 };
    struct mapping_output out = { .name = S("practical"), .bounds = { .gt = NAN, .gte = 0.35, .lt = NAN, .lte = NAN } };
    struct mapping_conf mapping = { .name = S("m"), .source = S("s"), .outputs = &out, .n_outputs = 1 };
    struct bench plain = fake_bench(&m, "kb: [{name: kitchen, kb: work, target: {kind: label, value: kitchen}}]", kbs);
    b = plain;
    b.profile.scores = &score, b.profile.n_scores = 1;
    b.profile.mappings = &mapping, b.profile.n_mappings = 1;
    struct err e = { 0 };
    struct signal_make_arg arg = { .global = yaml_parse(b.a, str_of(kbs), "g.yaml", &e), .models = &m.face };
    b.policy = policy_build(b.a, &b.profile, signal_make_all, &arg, &b.findings);
    b.scratch = decide_scratch_new(b.a, b.policy);
    decide_gather(b.scratch, fake_gather, &m);
    bench_text(&b, S("cook and code"));                     /* 2 * .2 */
    assert_holds(&b, "projection", "practical");
    bench_text(&b, S("code"));
    assert_holds_not(&b, "projection", "practical");
    bench_free(&b);
}

static void a_knowledge_base_that_cannot_be_read_takes_only_its_own_rules(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors, .files = files };
    struct bench b = fake_bench(&m,
        "kb:\n"
        "- {name: good, kb: work, target: {kind: label, value: kitchen}}\n"
        "- {name: broken, kb: broken, target: {kind: label, value: x}}\n"
        "- {name: odd, kb: odd, target: {kind: label, value: x}}\n"
        "- {name: missing, kb: missing, target: {kind: label, value: x}}\n"
        "- {name: undeclared, kb: undeclared, target: {kind: label, value: x}}\n", kbs);
    assert_true(bench_found(&b, "unreadable-kb"));
    bench_text(&b, S("cook"));
    assert_holds(&b, "kb", "good");
    assert_unknown(&b, "kb", "broken", "unreadable-kb");
    assert_unknown(&b, "kb", "odd", "unreadable-kb");
    assert_unknown(&b, "kb", "missing", "unreadable-kb");
    assert_unknown(&b, "kb", "undeclared", "no-kb");
    assert_unknown(&b, "kb_metric", "missing:best_score", "unreadable-kb");
    bench_free(&b);
    b = fake_bench(&m, "kb: [{name: k, kb: work, target: {kind: label, value: nowhere}}]", kbs);
    assert_true(bench_found(&b, "dead-rule"));
    bench_text(&b, S("cook"));
    assert_holds_not(&b, "kb", "k");
    bench_free(&b);
}

/* ---- jailbreak, contrastive ---- */

static void contrastive_rules_weigh_attacks_against_harmless_look_alikes(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors };
    struct bench b = fake_bench(&m,
        "jailbreak:\n"
        "- {name: j, method: contrastive, jailbreak_patterns: [cook, law], benign_patterns: [code]}\n"
        "- {name: high, method: contrastive, threshold: 0.25, jailbreak_patterns: [cook, bake], "
        "benign_patterns: [code]}\n"
        "- {name: alone, method: contrastive, threshold: 0.7, jailbreak_patterns: [cook]}\n", NULL);
    assert_int_equal(m.n_embed, 1);
    bench_text(&b, S("cook and code"));                     /* .8 - .6 */
    assert_holds(&b, "jailbreak", "j");                     /* .10 by default */
    assert_near(bench_confidence(&b, "jailbreak", "j"), 0.2);
    assert_holds_not(&b, "jailbreak", "high");
    assert_holds(&b, "jailbreak", "alone");
    bench_text(&b, S("rest"));                              /* as far from both: 0 */
    assert_holds_not(&b, "jailbreak", "j");
    bench_text(&b, S("law then cook"));                     /* the worst window counts, not the mean */
    assert_near(bench_confidence(&b, "jailbreak", "high"), 1);
    bench_text(&b, S("never seen"));
    assert_unknown(&b, "jailbreak", "j", "timeout");
    bench_free(&b);
}

/* ---- together ---- */

static void signals_that_need_the_same_vector_ask_once(void **state)
{
    (void)state;
    struct fake m = { .vectors = vectors, .files = files };
    struct bench b = fake_bench(&m,
        "embeddings: [{name: e, threshold: 0.5, candidates: [cook]}]\n"
        "complexity: [{name: c, hard: {candidates: [code]}, easy: {candidates: [cook]}}]\n"
        "preferences: [{name: p, examples: [cook]}]\n"
        "kb: [{name: k, kb: work, target: {kind: label, value: kitchen}}]\n"
        "jailbreak: [{name: j, method: contrastive, jailbreak_patterns: [law]}]\n", kbs);
    bench_text(&b, S("cook and code"));
    assert_int_equal(m.n_asked, 1);
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hard_matches_reach_their_threshold),
        cmocka_unit_test(one_hard_match_ends_soft_matching),
        cmocka_unit_test(by_default_the_best_rule_alone_stays),
        cmocka_unit_test(without_threshold_everything_matches),
        cmocka_unit_test(aggregation_is_the_prototype_score_or_the_mean),
        cmocka_unit_test(settings_of_prototypes_are_read),
        cmocka_unit_test(a_long_text_is_the_mean_of_its_windows),
        cmocka_unit_test(thresholds_are_on_the_scale_of_the_reference_model),
        cmocka_unit_test(image_rules_are_about_images),
        cmocka_unit_test(an_embedding_without_answer_is_unknown_and_says_why),
        cmocka_unit_test(complexity_has_exactly_one_level),
        cmocka_unit_test(a_composer_must_hold_for_the_level_to_count),
        cmocka_unit_test(a_composer_sees_embeddings_before_the_best_alone_stays),
        cmocka_unit_test(complexity_has_its_own_prototype_settings),
        cmocka_unit_test(only_the_best_preference_can_match),
        cmocka_unit_test(a_preference_without_threshold_needs_none),
        cmocka_unit_test(an_external_model_names_the_preference),
        cmocka_unit_test(reask_counts_like_turns_from_the_latest_back),
        cmocka_unit_test(the_first_question_asks_no_model),
        cmocka_unit_test(a_turn_without_answer_matters_only_where_the_streak_reaches_it),
        cmocka_unit_test(long_conversations_are_bounded_unless_a_rule_looks_further),
        cmocka_unit_test(kb_labels_match_from_their_threshold),
        cmocka_unit_test(the_best_of_what_matches_is_one_label_and_one_group),
        cmocka_unit_test(kb_metrics_are_numbers_for_projections),
        cmocka_unit_test(a_metric_reaches_a_projection),
        cmocka_unit_test(a_knowledge_base_that_cannot_be_read_takes_only_its_own_rules),
        cmocka_unit_test(contrastive_rules_weigh_attacks_against_harmless_look_alikes),
        cmocka_unit_test(signals_that_need_the_same_vector_ask_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
