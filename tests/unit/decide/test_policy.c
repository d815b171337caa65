/* Claims about compiled policies, one sentence each; the property test (test_lazy.c) covers the
 * combinations. Signals are given, so a claim is: these hold, so that one wins. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "decide/decide.h"

static struct arena *a;

/* ---- a policy out of a few words ---- */

static struct rule *leaf(const char *type, const char *name)
{
    struct rule *r = ARENA_NEW(a, struct rule);
    *r = (struct rule){ .kind = RULE_LEAF, .type = str_of(type), .name = str_of(name) };
    return r;
}

static struct rule *rule(enum rule_kind kind, size_t n, ...)
{
    struct rule *r = ARENA_NEW(a, struct rule);
    va_list list;
    r->kind = kind;
    r->children = ARENA_ARRAY(a, struct rule *, n);
    va_start(list, n);
    for (; r->n_children < n; r->n_children++)
        r->children[r->n_children] = va_arg(list, struct rule *);
    va_end(list);
    return r;
}
#define AND(n, ...) rule(RULE_AND, n, __VA_ARGS__)
#define OR(n, ...) rule(RULE_OR, n, __VA_ARGS__)
#define NOT(r) rule(RULE_NOT, 1, r)
#define KEYWORD(name) leaf("keyword", name)

static struct profile *profile(const struct decision_conf *d, size_t n)
{
    struct profile *p = ARENA_NEW(a, struct profile);
    p->name = S("test");
    p->decisions = ARENA_ARRAY(a, struct decision_conf, n);
    memcpy(p->decisions, d, n * sizeof *d);
    p->n_decisions = n;
    return p;
}
#define PROFILE(...) \
    profile((const struct decision_conf[]){ __VA_ARGS__ }, \
            COUNT_OF(((const struct decision_conf[]){ __VA_ARGS__ })))

static const char *const declared[][2] = {
    { "keyword", "a" }, { "keyword", "b" }, { "keyword", "c" }, { "embedding", "x" },
    { "embedding", "y" }, { "embedding", "z" }, { "domain", "law" }, { "domain", "other" },
    { "complexity", "r:hard" }, { "structure", "s" }, { "kb", "k" }, { "classifier", "c:toxic" },
};

struct extra { const char *composer; uint32_t top_k; };

static void nothing(const void *state, const struct facts *f, const uint64_t *wanted,
                    struct arena *request, struct sigset *out)
{
    (void)state, (void)f, (void)wanted, (void)request, (void)out;
}

static int make(struct policy_builder *b, const struct profile *p, void *arg)
{
    const struct extra *e = arg;
    (void)p;
    for (size_t i = 0; i < COUNT_OF(declared); i++) {
        struct signal_unit *u = policy_unit(b, str_of(declared[i][0]), 10);
        u->run = nothing;
        unit_fills(b, u, policy_slot(b, str_of(declared[i][0]), str_of(declared[i][1])));
    }
    if (e && e->composer) {
        struct err err = { 0 };
        struct value *v = yaml_parse(policy_arena(b), str_of(e->composer), "test", &err);
        assert_non_null(v);
        policy_compose(b, policy_slot(b, S("complexity"), S("r:hard")), v);
    }
    if (e)
        policy_top_k(b, S("embedding"), e->top_k);
    return 0;
}

static const struct policy *build(const struct profile *p, const struct extra *e)
{
    struct findings f = { .a = a };
    struct extra copy = e ? *e : (struct extra){ 0 };
    const struct policy *policy = policy_build(a, p, make, &copy, &f);
    assert_non_null(policy);
    return policy;
}

/* "keyword:a=.5" matches with a confidence, "keyword:a" without, "!keyword:a" does not,
 * "?keyword:a" is unknown; what is not named does not match. */
static struct decision decide(const struct policy *p, const char *const *signals,
                              struct decide_scratch **scratch)
{
    struct decide_scratch *s = decide_scratch_new(a, p);
    struct sigset *g = decide_sigset(s);
    for (uint32_t i = 0; i < policy_n_slots(p); i++)
        sig_set(g, i, false);
    for (; *signals; signals++) {
        str one = str_of(*signals);
        char sign = one.ptr[0];
        one = str_from(one, sign == '?');
        str type = str_cut(&one, ':'), name = str_cut(&one, '=');
        int64_t slot = policy_slot_find(p, type, name);
        assert_true(slot >= 0);
        if (sign == '?')
            g->known[slot >> 6] &= ~(1ull << (slot & 63));
        else
            sig_set(g, (uint32_t)slot, true);
        double confidence;
        if (str_double(one, &confidence))
            g->confidence[slot] = (float)confidence;
    }
    if (scratch)
        *scratch = s;
    return decide_given(p, s);
}
#define DECIDE(p, ...) decide(p, (const char *const[]){ __VA_ARGS__, NULL }, NULL)

static const char *winner(struct decision d)
{
    return d.conf ? arena_cstr(a, d.conf->name) : "none";
}

#define BETWEEN(v, x) assert_true(fabs((v) - (x)) < 1e-6)

/* ---- rules ---- */

static void confidences_follow_the_operators(void **state)
{
    (void)state;
    struct rule *bad_not = rule(RULE_NOT, 2, KEYWORD("b"), KEYWORD("c"));
    static const struct { double confidence; const char *name; } expected[] = {
        { .4, "leaf" }, { 1, "plain" }, { .7, "and" }, { 1, "or" }, { 1, "not" }, { 0, "all" },
        { .7, "misspelt" },
    };
    struct rule *trees[] = {
        leaf("embedding", "x"), KEYWORD("a"), AND(2, leaf("embedding", "x"), KEYWORD("a")),
        OR(2, leaf("embedding", "x"), KEYWORD("a")), NOT(KEYWORD("b")), AND(0, NULL),
        rule(RULE_UNKNOWN, 1, AND(2, leaf("embedding", "x"), KEYWORD("a"))),
    };
    for (size_t i = 0; i < COUNT_OF(trees); i++) {
        const struct policy *p = build(PROFILE({ .name = S("d"), .rules = trees[i] }), NULL);
        struct decision d = DECIDE(p, "keyword:a", "embedding:x=.4");
        assert_string_equal(winner(d), "d");
        BETWEEN(d.confidence, expected[i].confidence);
    }
    struct rule *never[] = { OR(0, NULL), bad_not, rule(RULE_NOT, 0, NULL), KEYWORD("misspelt") };
    for (size_t i = 0; i < COUNT_OF(never); i++) {
        const struct policy *p = build(PROFILE({ .name = S("d"), .rules = never[i] }), NULL);
        assert_string_equal(winner(DECIDE(p, "keyword:a")), "none");
    }
    const struct policy *p = build(PROFILE({ .name = S("d"), .rules = NOT(KEYWORD("misspelt")) }), NULL);
    assert_string_equal(winner(DECIDE(p, "keyword:a")), "d");
}

static void predicates_test_the_value_then_the_confidence(void **state)
{
    (void)state;
    struct rule *r = leaf("structure", "s");
    r->has_predicate = true;
    r->predicate = (struct number_predicate){ NAN, .3, NAN, .5 };
    const struct policy *p = build(PROFILE({ .name = S("d"), .rules = r }), NULL);
    struct decide_scratch *s;
    decide(p, (const char *const[]){ NULL }, &s);
    uint32_t slot = (uint32_t)policy_slot_find(p, S("structure"), S("s"));
    assert_null(decide_given(p, s).conf);                   /* neither */
    decide_sigset(s)->confidence[slot] = .4f;
    assert_non_null(decide_given(p, s).conf);
    decide_sigset(s)->value[slot] = .6;
    assert_null(decide_given(p, s).conf);
    decide_sigset(s)->value[slot] = .5;
    assert_true(decide_given(p, s).confidence == 1);
    decide_sigset(s)->value[slot] = INFINITY;
    assert_null(decide_given(p, s).conf);
}

static void a_classifier_that_failed_matches_when_told_so(void **state)
{
    (void)state;
    struct rule *r = leaf("classifier", "c");
    r->label = S("toxic");
    r->has_predicate = true;
    r->predicate = (struct number_predicate){ .5, NAN, NAN, NAN };
    const struct policy *p = build(PROFILE({ .name = S("d"), .rules = r }), NULL);
    assert_string_equal(winner(DECIDE(p, "?classifier:c:toxic")), "none");
    r->matches_on_error = true;
    p = build(PROFILE({ .name = S("d"), .rules = r }), NULL);
    assert_string_equal(winner(DECIDE(p, "?classifier:c:toxic")), "d");
    assert_string_equal(winner(decide(p, (const char *const[]){ NULL }, NULL)), "none");
}

/* ---- ranking ---- */

static void priority_then_confidence_then_name(void **state)
{
    (void)state;
    struct profile *p = PROFILE({ .name = S("b"), .priority = 1, .rules = leaf("embedding", "x") },
                                { .name = S("a"), .priority = 1, .rules = leaf("embedding", "y") },
                                { .name = S("c"), .priority = 2, .rules = KEYWORD("a") });
    assert_string_equal(winner(DECIDE(build(p, NULL), "keyword:a", "embedding:x=.1")), "c");
    assert_string_equal(winner(DECIDE(build(p, NULL), "embedding:x=.6", "embedding:y=.5")), "b");
    assert_string_equal(winner(DECIDE(build(p, NULL), "embedding:x=.5", "embedding:y=.5")), "a");
    p->strategy = STRATEGY_CONFIDENCE;
    assert_string_equal(winner(DECIDE(build(p, NULL), "keyword:a=.2", "embedding:x=.3")), "b");
}

static void in_the_snapshot_an_unset_tier_comes_first(void **state)
{
    (void)state;
    struct profile *p = PROFILE(
        { .name = S("one"), .tier = 1, .priority = 9, .rules = KEYWORD("a") },
        { .name = S("two"), .tier = 2, .priority = 9, .rules = KEYWORD("b") },
        { .name = S("unset"), .priority = 1, .rules = KEYWORD("c") },
        { .name = S("sure"), .tier = 1, .priority = 1, .rules = leaf("embedding", "x") });
    const struct policy *old = build(p, NULL);
    assert_string_equal(winner(DECIDE(old, "keyword:b", "keyword:a")), "one");
    assert_string_equal(winner(DECIDE(old, "keyword:a", "keyword:c")), "unset");
    assert_string_equal(winner(DECIDE(old, "keyword:a=.2", "embedding:x=.3")), "sure");
    p->revision = REVISION_2026_09;
    const struct policy *later = build(p, NULL);
    assert_string_equal(winner(DECIDE(later, "keyword:a", "keyword:c")), "one");
    assert_string_equal(winner(DECIDE(later, "keyword:b", "keyword:c")), "two");
    assert_string_equal(winner(DECIDE(later, "keyword:a=.2", "embedding:x=.3")), "one");
}

static void later_catch_alls_come_last(void **state)
{
    (void)state;
    struct profile *p = PROFILE({ .name = S("all"), .priority = 9 },
                                { .name = S("some"), .priority = 1, .rules = KEYWORD("a") });
    assert_string_equal(winner(DECIDE(build(p, NULL), "keyword:a")), "all");
    p->revision = REVISION_2026_09;
    assert_string_equal(winner(DECIDE(build(p, NULL), "keyword:a")), "some");
    assert_string_equal(winner(DECIDE(build(p, NULL), "keyword:b")), "all");
}

static void later_only_real_scores_of_one_kind_compare(void **state)
{
    (void)state;
    struct profile *p = PROFILE(
        { .name = S("emb"), .priority = 1, .rules = leaf("embedding", "x") },
        { .name = S("kb"), .priority = 2, .rules = leaf("kb", "k") },
        { .name = S("word"), .priority = 3, .rules = KEYWORD("a") },
        { .name = S("dom"), .priority = 4, .rules = leaf("domain", "law") });
    p->strategy = STRATEGY_CONFIDENCE;
    p->revision = REVISION_2026_09;
    const struct policy *q = build(p, NULL);
    assert_string_equal(winner(DECIDE(q, "embedding:x=.9", "kb:k=.8")), "emb");
    assert_string_equal(winner(DECIDE(q, "embedding:x=.9", "kb:k")), "kb");     /* no real score */
    assert_string_equal(winner(DECIDE(q, "embedding:x=.9", "keyword:a")), "word");
    assert_string_equal(winner(DECIDE(q, "embedding:x=.9", "domain:law=.1")), "dom");
}

static void unknown_is_a_matter_of_the_revision(void **state)
{
    (void)state;
    struct decision_conf d = { .name = S("guard"), .rules = NOT(leaf("embedding", "x")) };
    struct profile *p = profile(&d, 1);
    assert_string_equal(winner(DECIDE(build(p, NULL), "?embedding:x")), "guard");   /* as VSR */
    p->revision = REVISION_2026_09;
    assert_string_equal(winner(DECIDE(build(p, NULL), "?embedding:x")), "none");
    p->decisions[0].on_unknown = UNKNOWN_MATCH;
    struct decision got = DECIDE(build(p, NULL), "?embedding:x");
    assert_string_equal(winner(got), "guard");
    assert_false(got.is_failed);
    p->decisions[0].on_unknown = UNKNOWN_FAIL_REQUEST;
    assert_true(DECIDE(build(p, NULL), "?embedding:x").is_failed);
    assert_false(DECIDE(build(p, NULL), "keyword:a").is_failed);
    p->decisions[0].rules = OR(2, KEYWORD("a"), leaf("embedding", "x"));    /* Kleene: yes */
    assert_false(DECIDE(build(p, NULL), "keyword:a", "?embedding:x").is_failed);
}

/* ---- between signals and rules ---- */

static void a_partition_keeps_its_best(void **state)
{
    (void)state;
    str members[] = { S("x"), S("y"), S("gone") };
    struct partition_conf c = { .name = S("p"), .semantics = S("softmax_exclusive"),
                                .temperature = .1, .members = { members, 3 },
                                .default_member = S("y") };
    struct profile *p = PROFILE({ .name = S("x"), .rules = leaf("embedding", "x") },
                                { .name = S("y"), .rules = leaf("embedding", "y") });
    p->partitions = &c;
    p->n_partitions = 1;
    const struct policy *q = build(p, NULL);
    struct decision d = DECIDE(q, "embedding:x=.8", "embedding:y=.7");
    assert_string_equal(winner(d), "x");
    BETWEEN(d.confidence, 1 / (1 + exp(-1)));
    d = DECIDE(q, "keyword:a");                             /* none: the default, without a score */
    assert_string_equal(winner(d), "y");
    assert_true(d.confidence == 1);
    c.members.n = 1;                                        /* one alone is left alone */
    assert_string_equal(winner(DECIDE(build(p, NULL), "keyword:a")), "none");
}

static void top_k_keeps_the_best_by_name_on_a_tie(void **state)
{
    (void)state;
    struct extra e = { .top_k = 1 };
    struct profile *p = PROFILE({ .name = S("both"), .priority = 2,
                                  .rules = AND(2, leaf("embedding", "x"), leaf("embedding", "y")) },
                                { .name = S("x"), .rules = leaf("embedding", "x") },
                                { .name = S("y"), .rules = leaf("embedding", "y") });
    assert_string_equal(winner(DECIDE(build(p, &e), "embedding:x=.5", "embedding:y=.6")), "y");
    assert_string_equal(winner(DECIDE(build(p, &e), "embedding:x=.5", "embedding:y=.5")), "x");
    assert_string_equal(winner(DECIDE(build(p, NULL), "embedding:x=.5", "embedding:y=.5")), "both");
}

static void a_composer_drops_the_level(void **state)
{
    (void)state;
    struct profile *p = PROFILE({ .name = S("d"), .rules = leaf("complexity", "r:hard") });
    static const struct { const char *tree; bool holds; } cases[] = {
        { "{conditions: [{type: keyword, name: a}, {type: KEYWORD, name: b}]}", false },  /* AND */
        { "{operator: or, conditions: [{type: keyword, name: a}, {type: keyword, name: b}]}", true },
        { "{operator: NOT, conditions: [{type: keyword, name: b}]}", true },
        { "{type: keyword, name: b}", false },
        { "{operator: NOT, conditions: [{type: complexity, name: 'r:hard'}]}", true },
        { "{type: embedding, name: x, predicate: {gte: 0.5}}", true },
        { "{type: embedding, name: y}", true },                     /* sees it before top-k */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct extra e = { cases[i].tree, 1 };
        struct decision d = DECIDE(build(p, &e), "complexity:r:hard=.2", "keyword:a",
                                   "embedding:x=.7", "embedding:y=.6");
        assert_int_equal(d.conf != NULL, cases[i].holds);
    }
}

static struct profile *with_projections(void)
{
    static struct score_input inputs[] = {
        { .type = S("keyword"), .name = S("a"), .weight = .6, .match = 1, .value_source = S("confidence") },
        { .type = S("keyword"), .name = S("b"), .weight = -.5, .match = 1 },
        { .type = S("structure"), .name = S("s"), .weight = .01, .value_source = S("raw") },
    };
    static struct score_input more[] = {
        { .type = S("projection"), .name = S("effort"), .weight = 2, .value_source = S("score") },
        { .type = S("projection"), .name = S("heavy"), .weight = 1, .match = 1 },
    };
    static struct score_conf scores[] = {
        { .name = S("total"), .inputs = more, .n_inputs = 2 },
        { .name = S("effort"), .inputs = inputs, .n_inputs = 3 },
    };
    static struct mapping_output bands[] = { { .name = S("easy") }, { .name = S("heavy") } };
    static struct mapping_output marks[] = { { .name = S("some") }, { .name = S("much") } };
    static struct mapping_conf mappings[] = {
        { .name = S("sum"), .source = S("total"), .method = S("multi_emit"), .slope = 1,
          .outputs = marks, .n_outputs = 2 },
        { .name = S("band"), .source = S("effort"), .outputs = bands, .n_outputs = 2 },
    };
    const struct number_predicate none = { NAN, NAN, NAN, NAN };
    bands[0].bounds = bands[1].bounds = marks[0].bounds = marks[1].bounds = none;
    bands[0].bounds.lt = .3;
    bands[1].bounds.gte = .3;
    marks[0].bounds.gt = 0;
    marks[1].bounds.gt = 2;
    struct profile *p = PROFILE({ .name = S("much"), .priority = 3, .rules = leaf("projection", "much") },
                                { .name = S("heavy"), .priority = 2, .rules = leaf("projection", "heavy") },
                                { .name = S("easy"), .priority = 1, .rules = leaf("projection", "easy") });
    p->scores = scores;
    p->n_scores = 2;
    p->mappings = mappings;
    p->n_mappings = 2;
    return p;
}

static void projections_are_computed_in_the_order_of_their_needs(void **state)
{
    (void)state;
    const struct policy *q = build(with_projections(), NULL);
    struct decision d = DECIDE(q, "keyword:a=.4");          /* .24: easy; total .48 */
    assert_string_equal(winner(d), "easy");
    BETWEEN(d.confidence, 1 / (1 + exp(-12 * .06)));
    d = DECIDE(q, "keyword:a");                             /* .6: heavy; total 2.2: much */
    assert_string_equal(winner(d), "much");
    BETWEEN(d.confidence, 1 / (1 + exp(-.2)));
    assert_string_equal(winner(DECIDE(q, "keyword:a", "keyword:b")), "easy");
    assert_true(policy_slot_is_used(q, (uint32_t)policy_slot_find(q, S("structure"), S("s"))));
    assert_false(policy_slot_is_used(q, (uint32_t)policy_slot_find(q, S("keyword"), S("c"))));
}

static void a_projection_of_itself_is_found(void **state)
{
    (void)state;
    struct score_input in = { .type = S("projection"), .name = S("out"), .weight = 1 };
    struct score_conf score = { .name = S("s"), .inputs = &in, .n_inputs = 1,
                                .at = { "f.yaml", 7, 3 } };
    struct mapping_output out = { .name = S("out") };
    struct mapping_conf mapping = { .name = S("m"), .source = S("s"), .outputs = &out, .n_outputs = 1 };
    struct profile *p = PROFILE({ .name = S("d") });
    p->scores = &score;
    p->mappings = &mapping;
    p->n_scores = p->n_mappings = 1;
    struct findings f = { .a = a };
    assert_null(policy_build(a, p, make, NULL, &f));
    assert_string_equal(f.items[0].name, "projection-cycle");
    assert_int_equal(f.items[0].at.line, 7);
}

static void scores_without_mappings_are_not_evaluated(void **state)
{
    (void)state;
    struct profile *p = with_projections();
    p->n_mappings = 0;
    assert_string_equal(winner(DECIDE(build(p, NULL), "keyword:a")), "none");
}

static void a_rule_too_deep_is_refused(void **state)
{
    (void)state;
    struct rule *r = KEYWORD("a");
    for (int i = 0; i < 100; i++)
        r = NOT(r);
    struct findings f = { .a = a };
    assert_null(policy_build(a, PROFILE({ .name = S("d"), .rules = r }), make, NULL, &f));
    assert_string_equal(f.items[0].name, "rule-too-deep");
    assert_int_equal(f.n, 1);
}

/* Programs over several words: 200 keywords of which each decision looks at two far apart. */
static int make_many(struct policy_builder *b, const struct profile *p, void *arg)
{
    (void)p, (void)arg;
    for (int i = 0; i < 200; i++)
        policy_slot(b, S("keyword"), arena_printf(a, "k%d", i));
    struct signal_unit *u = policy_unit(b, S("keyword"), 1);
    for (uint32_t i = 0; i < 200; i++)
        unit_fills(b, u, i);
    u->run = nothing;
    return 0;
}

static void rules_reach_over_words(void **state)
{
    (void)state;
    struct rule *any = OR(3, KEYWORD("k5"), KEYWORD("k130"), NOT(KEYWORD("k199")));
    struct rule *all = AND(4, KEYWORD("k5"), KEYWORD("k6"), KEYWORD("k130"), NOT(KEYWORD("k64")));
    struct profile *p = PROFILE({ .name = S("all"), .priority = 2, .rules = all },
                                { .name = S("any"), .priority = 1, .rules = any });
    struct findings f = { .a = a };
    const struct policy *q = policy_build(a, p, make_many, NULL, &f);
    assert_string_equal(winner(DECIDE(q, "keyword:k5", "keyword:k6", "keyword:k130")), "all");
    assert_string_equal(winner(DECIDE(q, "keyword:k5", "keyword:k6", "keyword:k130",
                                      "keyword:k64")), "any");
    assert_string_equal(winner(DECIDE(q, "keyword:k199")), "none");
    assert_string_equal(winner(DECIDE(q, "keyword:k64")), "any");
}

/* ---- telling ---- */

static void the_explanation_says_who_won_and_why(void **state)
{
    (void)state;
    const struct policy *q = build(with_projections(), NULL);
    struct decide_scratch *s;
    struct decision d = decide(q, (const char *const[]){ "keyword:a", "?kb:k", NULL }, &s);
    struct buf out = { 0 };
    decide_explain(q, s, &d, false, &out);
    static const char *const lines[] = {
        "\xe2\x9c\x93 keyword        a", "\xe2\x9c\x97 keyword        b", "? kb             k",
        "effort = 0.6", "total = 2.2", "+0.6 x 1 = 0.6", "\xe2\x9c\x93 heavy",
        "much   priority 3, confidence 0.5498   <- wins",
        "matches too, but priority 2 is lower than 3", "(no decision uses it)",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        if (str_find(buf_view(&out), str_of(lines[i])) < 0)
            fail_msg("'%s' is missing in:\n%.*s", lines[i], (int)out.len, out.ptr);
    }
    assert_int_equal(str_chr(buf_view(&out), '\x1b'), -1);
    buf_free(&out);
}

static void the_trace_has_an_entry_for_every_decision(void **state)
{
    (void)state;
    struct rule *tree = AND(2, KEYWORD("a"), NOT(leaf("kb", "k")));
    const struct policy *q = build(PROFILE({ .name = S("d"), .priority = 1, .rules = tree },
                                           { .name = S("rest") }), NULL);
    struct decide_scratch *s;
    decide(q, (const char *const[]){ "keyword:a", "?kb:k", NULL }, &s);
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    decide_trace_json(q, s, &w);
    assert_string_equal(arena_cstr(a, buf_view(&out)),
        "[{\"decision_name\":\"d\",\"matched\":true,\"confidence\":1,\"priority\":1,\"tier\":0,"
        "\"root_trace\":{\"node_type\":\"AND\",\"matched\":true,\"confidence\":1,\"children\":["
        "{\"node_type\":\"leaf\",\"signal_type\":\"keyword\",\"signal_name\":\"a\",\"matched\":true,"
        "\"confidence\":1},{\"node_type\":\"NOT\",\"matched\":true,\"confidence\":1,\"children\":["
        "{\"node_type\":\"leaf\",\"signal_type\":\"kb\",\"signal_name\":\"k\",\"unknown\":true,"
        "\"unknown_reason\":\"no answer\",\"matched\":false,\"confidence\":0}]}]}},"
        "{\"decision_name\":\"rest\",\"matched\":true,\"confidence\":0,\"priority\":0,\"tier\":0,"
        "\"root_trace\":{\"node_type\":\"AND\",\"matched\":true,\"confidence\":0}}]");
    buf_free(&out);
}

static int open_arena(void **state)
{
    (void)state;
    a = arena_new();
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_free(a);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(confidences_follow_the_operators),
        cmocka_unit_test(predicates_test_the_value_then_the_confidence),
        cmocka_unit_test(a_classifier_that_failed_matches_when_told_so),
        cmocka_unit_test(priority_then_confidence_then_name),
        cmocka_unit_test(in_the_snapshot_an_unset_tier_comes_first),
        cmocka_unit_test(later_catch_alls_come_last),
        cmocka_unit_test(later_only_real_scores_of_one_kind_compare),
        cmocka_unit_test(unknown_is_a_matter_of_the_revision),
        cmocka_unit_test(a_partition_keeps_its_best),
        cmocka_unit_test(top_k_keeps_the_best_by_name_on_a_tie),
        cmocka_unit_test(a_composer_drops_the_level),
        cmocka_unit_test(projections_are_computed_in_the_order_of_their_needs),
        cmocka_unit_test(a_projection_of_itself_is_found),
        cmocka_unit_test(scores_without_mappings_are_not_evaluated),
        cmocka_unit_test(a_rule_too_deep_is_refused),
        cmocka_unit_test(rules_reach_over_words),
        cmocka_unit_test(the_explanation_says_who_won_and_why),
        cmocka_unit_test(the_trace_has_an_entry_for_every_decision),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
