/* fuzz_eval.c -- any bytes as the body of POST /api/v1/eval.
 *
 * Parsing, facts, signals, decision, answer, under small policies of both revisions and both
 * strategies. Beyond not crashing: the lazy decision equals the eager one, and every answer is
 * valid JSON that the parser reads back. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/eval.h"
#include "signal/signal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char signals_yaml[] =
    "keywords:\n"
    "- {name: proof, operator: OR, keywords: [prove, derive, 证明], method: regex}\n"
    "- {name: both, operator: AND, keywords: [left, right], method: regex}\n"
    "- {name: none, operator: NOR, keywords: [please], method: regex}\n"
    "context:\n"
    "- {name: long, min_tokens: 100, max_tokens: 1M}\n"
    "structure:\n"
    "- {name: digits, feature: {type: count, source: {type: regex, pattern: '[0-9]+'}}, predicate: {gte: 3}}\n"
    "- {name: dense, feature: {type: density, source: {type: keyword_set, keywords: [if, 如果]}}}\n"
    "- {name: bytes, feature: {type: count, source: {type: text_bytes}}, predicate: {gt: 40}}\n"
    "conversation:\n"
    "- {name: tools, feature: {type: exists, source: {type: tool_definition}}}\n"
    "- {name: loop, feature: {type: exists, source: {type: active_tool_loop}}}\n"
    "metadata:\n"
    "- {name: gold, key: tier, predicate: {equals: gold}}\n"
    "language:\n"
    "- {name: de}\n"
    "events:\n"
    "- {name: outage, event_types: [outage], severities: [critical], temporal: true}\n"
    "pii:\n"
    "- {name: personal, threshold: 0.5, include_tool_results: true}\n"
    "- {name: ever, threshold: 0.5, include_tool_results: true, include_history: true}\n"
    "embeddings:\n"
    "- {name: deep, threshold: 0.7, candidates: [think deeply]}\n"
    "fact_check:\n"
    "- {name: needs_fact_check}\n";

static struct rule leaves[] = {
    { .kind = RULE_LEAF, .type = S("keyword"), .name = S("proof") },
    { .kind = RULE_LEAF, .type = S("context"), .name = S("long") },
    { .kind = RULE_LEAF, .type = S("structure"), .name = S("digits") },
    { .kind = RULE_LEAF, .type = S("embedding"), .name = S("deep") },
    { .kind = RULE_LEAF, .type = S("projection"), .name = S("heavy") },
    { .kind = RULE_LEAF, .type = S("conversation"), .name = S("loop") },
    { .kind = RULE_LEAF, .type = S("metadata"), .name = S("gold") },
    { .kind = RULE_LEAF, .type = S("language"), .name = S("de") },
    { .kind = RULE_LEAF, .type = S("fact_check"), .name = S("needs_fact_check") },
    { .kind = RULE_LEAF, .type = S("structure"), .name = S("bytes"), .has_predicate = true,
      .predicate = { 10, 0, 1000, 0 } },
    { .kind = RULE_LEAF, .type = S("pii"), .name = S("personal") },
    { .kind = RULE_LEAF, .type = S("pii"), .name = S("ever") },
};
static struct rule *some[] = { &leaves[0], &leaves[1], &leaves[3] };
static struct rule *others[] = { &leaves[2], &leaves[4], &leaves[9] };
static struct rule *more[] = { &leaves[5], &leaves[6], &leaves[7], &leaves[10], &leaves[11] };
static struct rule any_of = { .kind = RULE_OR, .children = some, .n_children = 3 };
static struct rule all_of = { .kind = RULE_AND, .children = others, .n_children = 3 };
static struct rule *not_what[] = { &leaves[8] };
static struct rule not_that = { .kind = RULE_NOT, .children = not_what, .n_children = 1 };
static struct rule *mixed[] = { &not_that, &any_of };
static struct rule both_of = { .kind = RULE_AND, .children = mixed, .n_children = 2 };
static struct rule any_more = { .kind = RULE_OR, .children = more, .n_children = 5 };

static struct model_ref refs[] = { { .model = S("small") }, { .model = S("big"), .lora_name = S("l") } };
static struct decision_conf decisions[] = {
    { .name = S("hard"), .priority = 10, .tier = 1, .rules = &all_of, .refs = refs, .n_refs = 2 },
    { .name = S("safe"), .priority = 10, .tier = 1, .rules = &both_of, .refs = refs, .n_refs = 1,
      .on_unknown = UNKNOWN_MATCH },
    { .name = S("agent"), .priority = 5, .rules = &any_more, .on_unknown = UNKNOWN_FAIL_REQUEST },
    { .name = S("rest"), .priority = 1, .tier = 2, .refs = refs, .n_refs = 2 },
};
static struct score_input inputs[] = {
    { .type = S("keyword"), .name = S("proof"), .weight = .6, .match = 1, .value_source = S("confidence") },
    { .type = S("structure"), .name = S("bytes"), .weight = .001, .match = 1, .value_source = S("raw") },
    { .type = S("embedding"), .name = S("deep"), .weight = -.2, .match = 1, .value_source = S("binary") },
};
static struct score_conf scores[] = { { .name = S("effort"), .inputs = inputs, .n_inputs = 3 } };
static struct mapping_output outputs[] = { { .name = S("easy") }, { .name = S("heavy") } };
static struct mapping_conf mappings[] = {
    { .name = S("band"), .source = S("effort"), .slope = 12, .outputs = outputs, .n_outputs = 2 },
};

enum { POLICIES = 4 };
static struct profile profiles[POLICIES];
static struct policy *policies[POLICIES];

static void die(const char *what)
{
    fprintf(stderr, "fuzz_eval: %s\n", what);
    abort();
}

static void signals_decode(struct arena *a, struct profile *p, struct findings *f)
{
    struct err e = { 0 };
    struct value *all = yaml_parse(a, str_of(signals_yaml), "fuzz", &e);
    if (!all)
        die(e.text);
    for (size_t i = 0; i < all->n_pairs; i++) {
        const struct signal_ops *ops = signal_by_collection(all->pairs[i].key);
        struct value *list = all->pairs[i].value;
        for (size_t k = 0; ops && k < list->n_items; k++) {
            struct signal_rule *r = PUSH(a, p->signals, p->n_signals);
            const struct value *name = value_get(list->items[k], S("name"));
            *r = (struct signal_rule){ .name = name->text, .ops = ops, .at = list->items[k]->at,
                                       .conf = arena_alloc(a, ops->fields.struct_size + 1) };
            struct value *fields = value_map(a);
            for (size_t m = 0; m < list->items[k]->n_pairs; m++) {
                if (!str_eq(list->items[k]->pairs[m].key, S("name")))
                    value_set(a, fields, list->items[k]->pairs[m].key, list->items[k]->pairs[m].value);
            }
            field_decode(a, &ops->fields, fields, S("signals"), r->conf, f);
        }
    }
}

static void policies_make(void)
{
    struct arena *a = arena_new();              /* process life */
    struct findings f = { .a = a };
    const double none = (double)NAN;
    leaves[9].predicate = (struct number_predicate){ 10, none, 1000, none };
    outputs[0].bounds = (struct number_predicate){ none, none, .3, none };
    outputs[1].bounds = (struct number_predicate){ none, .3, none, none };
    for (int i = 0; i < POLICIES; i++) {
        struct profile *p = &profiles[i];
        *p = (struct profile){
            .name = S("fuzz"), .strategy = i & 1 ? STRATEGY_CONFIDENCE : STRATEGY_PRIORITY,
            .revision = i & 2 ? REVISION_2026_09 : REVISION_2026_08,
            .decisions = decisions, .n_decisions = COUNT_OF(decisions),
            .scores = scores, .n_scores = 1, .mappings = mappings, .n_mappings = 1,
        };
        signals_decode(a, p, &f);
        policies[i] = policy_build(a, p, signal_make_all, NULL, &f);
        for (size_t k = 0; k < f.n; k++)
            fprintf(stderr, "%s: " STR_FMT "\n", f.items[k].name, STR_ARG(f.items[k].text));
        if (!policies[i])
            die("the policy does not build");
    }
}

static void answer(struct arena *a, const struct policy *p, const struct eval_request *q,
                   const struct facts *f)
{
    struct decide_scratch *s = decide_scratch_new(a, p), *s2 = decide_scratch_new(a, p);
    struct decision lazy = decide_run(p, f, s2, a, DECIDE_LAZY, NULL);
    struct decision eager = decide_run(p, f, s, a, DECIDE_EAGER, NULL);
    struct decision given = decide_given(p, s);
    if (lazy.conf != eager.conf || lazy.is_failed != eager.is_failed ||
        lazy.confidence != eager.confidence || given.conf != eager.conf)
        die("lazy and eager differ");
    struct candidate candidates[2] = {
        { .model = S("small"), .is_healthy = true, .prompt_price = 1, .quality = .5 },
        { .model = S("big"), .is_healthy = f->seed & 1, .prompt_price = 2, .quality = .9 },
    };
    struct pick pick;
    const char *method = NULL;
    uint32_t n = eager.conf ? (uint32_t)eager.conf->n_refs : 0;
    struct select_in in = { .candidates = candidates, .n = n, .facts = f, .seed = f->seed };
    const struct select_ops *ops = select_all[f->seed % 8];
    if (n)
        select_run(ops, &in, a, &pick, &method);
    struct eval_in e = {
        .original_text = q->text, .requested_model = q->chat.model, .policy = p, .scratch = s,
        .decision = &eager, .facts = f, .selector = ops, .pick = n ? &pick : NULL,
        .method = method, .default_model = S("small"), .with_trace = true,
        .lazy = &lazy, .lazy_scratch = s2,
    };
    struct buf out = { 0 };
    eval_render(&e, &out);
    struct json j;
    struct json_error je;
    if (!out.is_failed && json_parse(a, buf_view(&out), &j, &je) < 0) {
        fprintf(stderr, "%s at %zu of %.*s\n", je.what, je.at, (int)out.len, out.ptr);
        die("the answer is no JSON");
    }
    out.len = 0;
    decide_explain(p, s, &eager, false, &out);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!policies[0])
        policies_make();
    struct arena *a = arena_new();
    struct err e = { 0 };
    struct eval_request q;
    str body = { (const char *)data, size };
    if (eval_parse(a, body, &q, &e) == 0) {
        for (int i = 0; i < POLICIES; i++) {
            struct facts f = { .seed = size, .bytes_per_token = i ? 4 : 3.5 };
            facts_build(&f, a, &q.chat);
            answer(a, policies[i], &q, &f);
        }
    } else if (!e.text[0]) {
        die("refused without a reason");
    }
    arena_free(a);
    return 0;
}
