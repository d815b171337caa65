/* tests/unit/signal/bench.h -- signals from YAML, run on a text, asked for by name.
 *
 * The whole way is the real one: field tables, checks, policy_build, an eager decide_run. */
#ifndef TEST_SIGNAL_BENCH_H
#define TEST_SIGNAL_BENCH_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "signal/signal.h"

struct bench {
    struct arena *a, *request;
    struct findings findings;
    struct profile profile;
    struct policy *policy;
    struct decide_scratch *scratch;
    const struct sigset *signals;
};

/* `signals` is the map under routing.signals. Rules get their names from `name`. */
static inline void bench_rules(struct bench *b, const struct value *signals)
{
    for (size_t i = 0; i < signals->n_pairs; i++) {
        const struct signal_ops *ops = signal_by_collection(signals->pairs[i].key);
        assert_non_null(ops);
        const struct value *list = signals->pairs[i].value;
        for (size_t k = 0; k < list->n_items; k++) {
            struct value *rest = value_map(b->a);
            for (size_t p = 0; p < list->items[k]->n_pairs; p++) {
                if (!str_eq(list->items[k]->pairs[p].key, S("name")))
                    value_set(b->a, rest, list->items[k]->pairs[p].key,
                              list->items[k]->pairs[p].value);
            }
            struct signal_rule *rule = PUSH(b->a, b->profile.signals, b->profile.n_signals);
            rule->name = value_get(list->items[k], S("name"))->text;
            rule->ops = ops;
            rule->conf = arena_alloc(b->a, ops->fields.struct_size);
            rule->at = list->items[k]->at;
            bool is_good = field_decode(b->a, &ops->fields, rest, S("rule"), rule->conf,
                                        &b->findings);
            if (is_good && ops->check)
                ops->check(rule, &b->profile, &b->findings);
        }
    }
}

static inline struct bench bench_new(const char *signals, const char *global)
{
    struct bench b = { .a = arena_new(), .request = arena_new() };
    struct err e = { 0 };
    b.findings.a = b.a;
    b.profile.name = S("default");
    struct value *v = yaml_parse(b.a, str_of(signals), "test.yaml", &e);
    if (!v)
        fail_msg("%s", e.text);
    bench_rules(&b, v);
    struct signal_make_arg arg = {
        .global = global ? yaml_parse(b.a, str_of(global), "global.yaml", &e) : NULL };
    if (b.findings.n_by_severity[SEVERITY_ERROR] == 0)
        b.policy = policy_build(b.a, &b.profile, signal_make_all, &arg, &b.findings);
    if (b.policy)
        b.scratch = decide_scratch_new(b.a, b.policy);
    return b;
}

static inline void bench_free(struct bench *b)
{
    arena_free(b->request);
    arena_free(b->a);
}

static inline bool bench_found(const struct bench *b, const char *name)
{
    for (size_t i = 0; i < b->findings.n; i++) {
        if (strcmp(b->findings.items[i].name, name) == 0)
            return true;
    }
    return false;
}

static inline void bench_run(struct bench *b, const struct facts *f)
{
    if (!b->policy) {
        for (size_t i = 0; i < b->findings.n; i++)
            print_message("%s: " STR_FMT "\n", b->findings.items[i].name,
                          STR_ARG(b->findings.items[i].text));
        fail_msg("the policy was refused");
    }
    arena_free(b->request);
    b->request = arena_new();
    b->signals = decide_run(b->policy, f, b->scratch, b->request, DECIDE_EAGER, NULL).signals;
}

static inline void bench_text(struct bench *b, str text)
{
    static struct chat no_chat;
    struct facts f = {
        .chat = &no_chat, .current_user = text, .current_user_raw = text,
        .evaluation_text = text, .sampled_text = text,
    };
    bench_run(b, &f);
}

static inline uint32_t bench_slot(const struct bench *b, const char *type, const char *name)
{
    int64_t slot = policy_slot_find(b->policy, str_of(type), str_of(name));
    if (slot < 0)
        fail_msg("no slot %s:%s", type, name);
    return (uint32_t)slot;
}

/* 1: matches; 0: known not to; -1: unknown. */
static inline int bench_says(const struct bench *b, const char *type, const char *name)
{
    uint32_t slot = bench_slot(b, type, name);
    return sig_known(b->signals, slot) ? sig_yes(b->signals, slot) : -1;
}

static inline double bench_value(const struct bench *b, const char *type, const char *name)
{
    return b->signals->value[bench_slot(b, type, name)];
}

static inline double bench_confidence(const struct bench *b, const char *type, const char *name)
{
    return (double)b->signals->confidence[bench_slot(b, type, name)];
}

#endif
