/* tests/unit/config/test_findings.c -- each finding, on the smallest document that deserves it, and
 * not on its neighbour that does not. */
#include "config_test.h"

#define MODELS "providers: {models: [{name: m, backend_refs: [{endpoint: \"h:1\"}]}]}\n"
#define KEYWORD "    keywords: [{name: k, operator: OR, keywords: [x]}]\n"
#define SCORE(inputs_) "    scores: [{name: s, method: weighted_sum, inputs: [" inputs_ "]}]\n"
#define MAPPING(outputs_) "    mappings: [{name: m, source: s, outputs: [" outputs_ "]}]\n"
#define BANDS(outputs_) "routing:\n  signals:\n" KEYWORD "  projections:\n" \
    SCORE("{type: keyword, name: k, weight: 1}") MAPPING(outputs_)

static const struct {
    const char *name;                   /* with '!' in front: must not be found */
    enum severity severity;
    unsigned line;
    const char *text;
} cases[] = {
    /* keys */
    { "unknown-key", SEVERITY_WARNING, 1, "routin: {}\nrouting: {}" },
    { "unknown-key", SEVERITY_WARNING, 2, "routing:\n  signals: {keyword: []}" },
    { "removed-key", SEVERITY_ERROR, 2, "routing:\n  models: []" },
    { "removed-key", SEVERITY_ERROR, 1, "providers: {default_model: x}\nrouting: {}" },
    { "removed-key", SEVERITY_ERROR, 1, "providers: {models: [{name: a, access_key: x}]}\nrouting: {}" },
    { "removed-key", SEVERITY_ERROR, 1, "global: {modules: {}}" },
    { "removed-key", SEVERITY_ERROR, 1, "global: {router: {model_selection: {elo: {}}}}" },
    { "removed-key", SEVERITY_ERROR, 1, "routing: {decisions: [{name: d, modelSelectionAlgorithm: {}}]}" },
    { "removed-key", SEVERITY_ERROR, 1, "routing: {decisions: [{name: d, algorithm: {type: elo}}]}" },
    { "removed-key", SEVERITY_ERROR, 1, "routing: {signals: {taxonomy: {}}}" },
    { "removed-key", SEVERITY_WARNING, 2, "routing: {}\nrecipes: [{name: r, routing: {models: []}}]" },
    { "bad-value", SEVERITY_ERROR, 1, "routing: {decisions: [{name: d, algorithm: {type: best}}]}" },
    { "bad-value", SEVERITY_ERROR, 1, "routing: {decisions: [{name: d, plugins: [{type: jailbreak}]}]}" },
    { "bad-value", SEVERITY_WARNING, 1,
      "routing: {signals: {keywords: [{name: k, operator: OR, method: fuzzy, keywords: [x]}]}}" },
    { "wrong-type", SEVERITY_ERROR, 2, "routing: {}\nglobal: {router: {learning: {pacing: {window: soon}}}}" },
    { "block-mismatch", SEVERITY_ERROR, 1,
      "routing: {decisions: [{name: d, algorithm: {type: static, hybrid: {}}}]}" },
    { "block-mismatch", SEVERITY_ERROR, 1,
      "global: {stores: {response_cache: {backend_type: memory, redis: {}}}}" },
    { "not-built", SEVERITY_INFO, 1, "global: {stores: {memory: {enabled: true}}}" },
    { "!not-built", 0, 0, "global: {stores: {memory: {enabled: false}}}" },
    { "not-built", SEVERITY_WARNING, 1, "global: {services: {ratelimit: {providers: [{type: envoy-ratelimit}]}}}" },
    { "not-built", SEVERITY_WARNING, 1, "routing: {decisions: [{name: d, algorithm: {type: confidence}}]}" },
    /* listeners, providers, entrypoints */
    { "out-of-range", SEVERITY_ERROR, 2, "routing: {}\nlisteners: [{port: 70000}]" },
    { "duplicate-name", SEVERITY_ERROR, 2, "routing: {}\nlisteners: [{port: 1}, {port: 1}]" },
    { "!duplicate-name", 0, 0, "routing: {}\nlisteners: [{port: 0}, {port: 0}]" },
    { "missing-key", SEVERITY_ERROR, 2, "routing: {}\nlisteners: [{tls: {certificate: c}}]" },
    { "missing-key", SEVERITY_ERROR, 2, "routing: {}\nproviders: {models: [{name: m}]}" },
    { "missing-key", SEVERITY_ERROR, 2, "routing: {}\nproviders: {models: [{name: m, backend_refs: [{}]}]}" },
    { "out-of-range", SEVERITY_ERROR, 2,
      "routing: {}\nproviders: {models: [{name: m, backend_refs: [{endpoint: h}], reliability: {retry_count: 6}}]}" },
    { "out-of-range", SEVERITY_ERROR, 2,
      "routing: {}\nproviders: {models: [{name: m, backend_refs: [{endpoint: h}], reliability: {max_ejection_percent: 101}}]}" },
    { "duplicate-name", SEVERITY_ERROR, 1,
      "providers: {models: [{name: m, backend_refs: [{endpoint: h}]}, {name: m, backend_refs: [{endpoint: h}]}]}\nrouting: {}" },
    { "undefined-reference", SEVERITY_ERROR, 1,
      "providers: {models: [{name: m, reasoning_family: f, backend_refs: [{endpoint: h}]}]}\nrouting: {}" },
    { "undefined-reference", SEVERITY_ERROR, 1,
      "providers: {defaults: {default_model: x}, models: [{name: m, backend_refs: [{endpoint: h}]}]}\nrouting: {}" },
    { "undefined-reference", SEVERITY_ERROR, 2, "routing: {}\nentrypoints: [{model_names: [x], recipe: r}]" },
    { "duplicate-name", SEVERITY_ERROR, 2, "routing: {}\nentrypoints: [{model_names: [auto], recipe: default}]" },
    { "duplicate-name", SEVERITY_ERROR, 2, "routing: {}\nentrypoints: [{model_names: [vllm-sr/flow], recipe: default}]" },
    { "duplicate-name", SEVERITY_ERROR, 2, "routing: {}\nrecipes: [{name: default, routing: {}}]" },
    { "missing-card", SEVERITY_WARNING, 1, MODELS "routing: {modelCards: [{name: other}]}" },
    { "open-management", SEVERITY_WARNING, 1,
      "global: {services: {management_api: {bind_address: 0.0.0.0}}}" },
    { "tls-not-verified", SEVERITY_WARNING, 1,
      "providers: {models: [{name: m, backend_refs: [{endpoint: h, tls_skip_verify: true}]}]}\nrouting: {}" },
    { "bad-value", SEVERITY_ERROR, 1,
      "providers: {models: [{name: m, backend_refs: [{endpoint: h, extra_headers: {a: \"x\\r\\ny: z\"}}]}]}\nrouting: {}" },
    { "bad-value", SEVERITY_ERROR, 1,
      "providers: {models: [{name: m, backend_refs: [{endpoint: h, api_key: \"k\\nx\"}]}]}\nrouting: {}" },
    { "bad-value", SEVERITY_ERROR, 1,
      "providers: {models: [{name: m, backend_refs: [{endpoint: h, auth_header: \"a b\"}]}]}\nrouting: {}" },
    { "bad-value", SEVERITY_ERROR, 1,
      "providers: {models: [{name: m, backend_refs: [{base_url: ftp://x}]}]}\nrouting: {}" },
    { "missing-key", SEVERITY_ERROR, 1,
      "providers: {models: [{name: m, backend_refs: [{provider: google-vertex, location: global}]}]}\nrouting: {}" },
    { "missing-key", SEVERITY_ERROR, 1,
      "providers: {models: [{name: m, backend_refs: [{provider: aws-bedrock}]}]}\nrouting: {}" },
    { "missing-key", SEVERITY_ERROR, 1,
      "providers: {models: [{name: m, backend_refs: [{provider: azure-openai, base_url: https://x, client_id: a}]}]}\nrouting: {}" },
    { "bad-value", SEVERITY_ERROR, 1,
      "providers: {models: [{name: m, backend_refs: [{provider: aws-bedrock, region: evil.example/}]}]}\nrouting: {}" },
    { "unreadable-file", SEVERITY_WARNING, 1,
      "providers: {models: [{name: m, backend_refs: [{provider: google-vertex, project: p, location: global, "
      "service_account_file: /nowhere/key.json}]}]}\nrouting: {}" },
    /* decisions */
    { "duplicate-name", SEVERITY_ERROR, 1, "routing: {decisions: [{name: d}, {name: d}]}" },
    { "duplicate-name", SEVERITY_ERROR, 1,
      "routing: {decisions: [{name: d, plugins: [{type: rag}, {type: rag}]}]}" },
    { "undefined-reference", SEVERITY_ERROR, 5,
      "routing:\n  signals:\n" KEYWORD "  decisions:\n    - {name: d, rules: {type: keyword, name: kk}}" },
    { "undefined-reference", SEVERITY_WARNING, 1,
      "routing: {decisions: [{name: d, rules: {type: keyword, name: kk}}]}" },
    { "undefined-reference", SEVERITY_ERROR, 4,
      "routing:\n  decisions:\n    - {name: d, modelRefs: [{model: a}],\n       algorithm: {type: learned, learned: {table: t, uncertain: {to: b}}}}" },
    { "missing-key", SEVERITY_ERROR, 4,
      "routing:\n  decisions:\n    - {name: d, modelRefs: [{model: a}],\n       algorithm: {type: learned, learned: {table: t, uncertain: {threshold: 0.4}}}}" },
    { "undefined-reference", SEVERITY_ERROR, 5,
      "routing:\n  signals:\n" KEYWORD "  decisions:\n    - {name: d, rules: {type: keywrd, name: k}}" },
    { "undefined-reference", SEVERITY_ERROR, 2,
      MODELS "routing: {decisions: [{name: d, modelRefs: [{model: x}]}]}" },
    { "undefined-reference", SEVERITY_ERROR, 2,
      MODELS "routing: {modelCards: [{name: m}], decisions: [{name: d, modelRefs: [{model: m, lora_name: l}]}]}" },
    { "no-backend", SEVERITY_WARNING, 2,
      MODELS "routing: {modelCards: [{name: m}, {name: n}], decisions: [{name: d, modelRefs: [{model: n}]}]}" },
    { "bad-operator", SEVERITY_WARNING, 5, "routing:\n  signals:\n" KEYWORD "  decisions:\n"
      "    - {name: d, rules: {operator: ADN, conditions: [{type: keyword, name: k}]}}" },
    { "!bad-operator", 0, 0, "routing:\n  signals:\n" KEYWORD "  decisions:\n"
      "    - {name: d, rules: {operator: and, conditions: [{type: keyword, name: k}]}}" },
    { "not-arity", SEVERITY_WARNING, 5, "routing:\n  signals:\n" KEYWORD "  decisions:\n"
      "    - {name: d, rules: {operator: NOT, conditions: [{type: keyword, name: k}, {type: keyword, name: k}]}}" },
    { "empty-composite", SEVERITY_WARNING, 1,
      "routing: {decisions: [{name: d, rules: {operator: OR, conditions: []}}]}" },
    { "!empty-composite", 0, 0,
      "routing: {decisions: [{name: d, rules: {operator: AND, conditions: []}}]}" },
    { "mixed-rule", SEVERITY_WARNING, 5, "routing:\n  signals:\n" KEYWORD "  decisions:\n"
      "    - {name: d, rules: {operator: AND, type: keyword, name: k}}" },
    { "bad-predicate", SEVERITY_ERROR, 5, "routing:\n  signals:\n" KEYWORD "  decisions:\n"
      "    - {name: d, rules: {type: keyword, name: k, predicate: {gt: 5, lt: 3}}}" },
    { "bad-predicate", SEVERITY_ERROR, 5, "routing:\n  signals:\n" KEYWORD "  decisions:\n"
      "    - {name: d, rules: {type: keyword, name: k, predicate: {}}}" },
    { "bad-value", SEVERITY_ERROR, 5, "routing:\n  signals:\n" KEYWORD "  decisions:\n"
      "    - {name: d, rules: {type: keyword, name: k, label: x}}" },
    { "missing-key", SEVERITY_ERROR, 1,
      "routing: {decisions: [{name: d, rules: {conditions: [{type: keyword}]}}]}" },
    { "bad-predicate", SEVERITY_ERROR, 5, "routing:\n  signals:\n"
      "    classifiers: [{name: c, type: local, model_path: p, labels: [A, B]}]\n  decisions:\n"
      "    - {name: d, rules: {type: classifier, name: c, label: A, predicate: {gte: 0.4}}}" },
    { "undefined-reference", SEVERITY_ERROR, 5, "routing:\n  signals:\n"
      "    classifiers: [{name: c, type: local, model_path: p, labels: [A, B]}]\n  decisions:\n"
      "    - {name: d, rules: {type: classifier, name: c, label: C, predicate: {gte: 0.5}}}" },
    { "undefined-reference", SEVERITY_ERROR, 5, "routing:\n  signals:\n"
      "    complexity: [{name: c, hard: {candidates: [a]}, easy: {candidates: [b]}}]\n  decisions:\n"
      "    - {name: d, rules: {type: complexity, name: c}}" },
    { "unused-rule", SEVERITY_INFO, 3, "routing:\n  signals:\n" KEYWORD },
    { "!unused-rule", 0, 0, "routing:\n  signals:\n" KEYWORD
      "  decisions: [{name: d, rules: {type: keyword, name: k}}]" },
    { "no-model", SEVERITY_WARNING, 1, "routing: {decisions: [{name: d}]}" },
    { "!no-model", 0, 0, "routing: {decisions: [{name: d, plugins: "
      "[{type: fast_response, configuration: {message: no}}]}]}" },
    { "!no-model", 0, 0, "routing: {decisions: [{name: d}]}\nproviders: {defaults: {default_model: m}}" },
    /* ranking */
    { "tier-mixing", SEVERITY_WARNING, 1, "routing: {decisions: [{name: a, tier: 1}, {name: b}]}" },
    { "shadowed-decision", SEVERITY_WARNING, 6, "routing:\n  signals:\n" KEYWORD "  decisions:\n"
      "    - {name: all, priority: 5}\n    - {name: some, priority: 1, rules: {type: keyword, name: k}}" },
    { "!shadowed-decision", 0, 0, "routing:\n  signals:\n" KEYWORD "  decisions:\n"
      "    - {name: all, priority: 5}\n    - {name: some, priority: 5, rules: {type: keyword, name: k}}" },
    { "!shadowed-decision", 0, 0, "routing:\n  strategy: confidence\n  signals:\n" KEYWORD "  decisions:\n"
      "    - {name: all, priority: 5}\n    - {name: some, priority: 1, rules: {type: keyword, name: k}}" },
    { "!shadowed-decision", 0, 0, "global: {router: {ranking: v0.3-2026-09}}\nrouting:\n  signals:\n" KEYWORD
      "  decisions:\n    - {name: all, priority: 5}\n    - {name: some, priority: 1, rules: {type: keyword, name: k}}" },
    { "shadowed-decision", SEVERITY_WARNING, 6, "routing:\n  signals:\n" KEYWORD "  decisions:\n"
      "    - {name: all, tier: 1}\n    - {name: some, tier: 2, priority: 9, rules: {type: keyword, name: k}}" },
    { "shadowed-decision", SEVERITY_WARNING, 1, "routing: {decisions: [{name: a}, {name: b}]}" },
    /* signals */
    { "dead-rule-name", SEVERITY_WARNING, 1, "routing: {signals: {fact_check: [{name: facts}]}}" },
    { "dead-rule-name", SEVERITY_WARNING, 1, "routing: {signals: {user_feedbacks: [{name: angry}]}}" },
    { "dead-rule-name", SEVERITY_WARNING, 1, "routing: {signals: {modality: [{name: TEXT}]}}" },
    { "dead-rule-name", SEVERITY_WARNING, 1, "routing: {signals: {language: [{name: xx}]}}" },
    { "missing-threshold", SEVERITY_WARNING, 1, "routing: {signals: {embeddings: [{name: e, candidates: [x]}]}}" },
    { "missing-threshold", SEVERITY_WARNING, 1, "routing: {signals: {pii: [{name: e}]}}" },
    { "missing-threshold", SEVERITY_WARNING, 1, "routing: {signals: {jailbreak: [{name: e}]}}" },
    { "missing-max-tokens", SEVERITY_WARNING, 1, "routing: {signals: {context: [{name: c, min_tokens: 1K}]}}" },
    { "unreachable-literal", SEVERITY_WARNING, 1,
      "routing: {signals: {keywords: [{name: k, operator: OR, keywords: [C++]}]}}" },
    { "undefined-reference", SEVERITY_ERROR, 1,
      "routing: {signals: {kb: [{name: k, kb: nowhere, target: {kind: label, value: x}}]}}" },
    { "undefined-reference", SEVERITY_WARNING, 1, "routing: {signals: {complexity: [{name: c, "
      "hard: {candidates: [a]}, easy: {candidates: [b]}, composer: {conditions: [{type: keyword, name: x}]}}]}}" },
    /* projections */
    { "band-gap", SEVERITY_WARNING, 6, BANDS("{name: a, lt: 0.3}, {name: b, gte: 0.5}") },
    { "band-gap", SEVERITY_WARNING, 6, BANDS("{name: a, lt: 0.3}, {name: b, gt: 0.3}") },
    { "!band-gap", 0, 0, BANDS("{name: a, lt: 0.3}, {name: b, gte: 0.3}") },
    { "band-overlap", SEVERITY_WARNING, 6, BANDS("{name: a, lt: 0.5}, {name: b, gte: 0.3}") },
    { "band-overlap", SEVERITY_WARNING, 6, BANDS("{name: a, lte: 0.3}, {name: b, gte: 0.3}") },
    { "!band-overlap", 0, 0, BANDS("{name: b, gte: 0.3}, {name: a, lt: 0.3}") },
    { "vacuous-band", SEVERITY_WARNING, 6, BANDS("{name: a, lte: 1}, {name: b, gt: 1}") },
    { "!vacuous-band", 0, 0, BANDS("{name: a, lt: 1}, {name: b, gte: 1}") },
    { "vacuous-band", SEVERITY_WARNING, 6, BANDS("{name: a, lt: 0}, {name: b, gte: 0}") },
    { "vacuous-band", SEVERITY_WARNING, 4, "routing:\n  projections:\n"
      SCORE("{type: kb_metric, kb: privacy_kb, metric: private_vs_public, weight: 0.5, value_source: score}")
      MAPPING("{name: a, lt: 0.6}, {name: b, gte: 0.6}") },
    { "bad-predicate", SEVERITY_ERROR, 6, BANDS("{name: a, gt: 1, gte: 1}") },
    { "duplicate-name", SEVERITY_ERROR, 6, BANDS("{name: a, lt: 0.5}, {name: a, gte: 0.5}") },
    { "undefined-reference", SEVERITY_ERROR, 5, "routing:\n  signals:\n" KEYWORD "  projections:\n"
      SCORE("{type: keyword, name: nope, weight: 1}") },
    { "undefined-reference", SEVERITY_ERROR, 3, "routing:\n  projections:\n"
      "    mappings: [{name: m, source: nope, outputs: [{name: a, lt: 1}]}]\n" },
    { "undefined-reference", SEVERITY_ERROR, 3, "routing:\n  projections:\n"
      SCORE("{type: kb_metric, kb: privacy_kb, metric: nope, weight: 1, value_source: score}") },
    { "bad-value", SEVERITY_ERROR, 3, "routing:\n  projections:\n"
      SCORE("{type: metadata, name: x, weight: 1}") },
    { "projection-cycle", SEVERITY_ERROR, 3, "routing:\n  projections:\n    scores:\n"
      "      - {name: a, inputs: [{type: projection, name: b, weight: 1, value_source: score}]}\n"
      "      - {name: b, inputs: [{type: projection, name: a, weight: 1, value_source: score}]}\n" },
    { "!projection-cycle", 0, 0, "routing:\n  projections:\n    scores:\n"
      "      - {name: a, inputs: [{type: projection, name: b, weight: 1, value_source: score}]}\n"
      "      - {name: b, inputs: [{type: kb_metric, kb: privacy_kb, metric: best_score, weight: 1, value_source: score}]}\n" },
    { "undefined-reference", SEVERITY_ERROR, 3, "routing:\n  projections:\n"
      "    partitions: [{name: p, members: [x], default: x}]\n" },
    { "missing-key", SEVERITY_ERROR, 5, "routing:\n  signals:\n    domains: [{name: math}, {name: law}]\n"
      "  projections:\n    partitions: [{name: p, semantics: softmax_exclusive, members: [math, law], default: law}]\n" },
};

static void each_finding_on_its_smallest_document(void **state)
{
    size_t n_wrong = 0;                 /* all of them are shown, then the test fails */
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bool must_not = cases[i].name[0] == '!';
        struct loaded l = load(cases[i].text);
        const struct finding *f = NULL;
        for (size_t k = 0; k < l.found.n; k++)
            if (!strcmp(l.found.items[k].name, cases[i].name + must_not) &&
                (must_not || l.found.items[k].severity == cases[i].severity) && !f)
                f = &l.found.items[k];
        if (must_not ? f != NULL : !f) {
            show(&l);
            print_error("%s: %s\n%s\n", must_not ? "wrongly found" : "not found", cases[i].name,
                        cases[i].text);
            n_wrong++;
        } else if (f && f->at.line != cases[i].line && !strstr(cases[i].text, "scores:\n")) {
            show(&l);
            print_error("%s in line %u\n%s\n", cases[i].name, f->at.line, cases[i].text);
            n_wrong++;
        }
        assert_true((l.config == NULL) == (l.found.n_by_severity[SEVERITY_ERROR] > 0));
        arena_free(l.a);
    }
    assert_int_equal(n_wrong, 0);
}

static void strict_makes_warnings_errors_but_not_facts_of_the_build(void **state)
{
    (void)state;
    struct loaded l = load_as("routing: {}\nrouters: {}", true);
    assert_null(l.config);
    assert_int_equal(find(&l, "unknown-key")->severity, SEVERITY_ERROR);
    arena_free(l.a);
    l = load_as("global: {services: {ratelimit: {providers: [{type: envoy-ratelimit}]}}}\n"
                "listeners: [{name: $NOBODY}]", true);
    must_load(&l);
    assert_int_equal(find(&l, "not-built")->severity, SEVERITY_WARNING);
    assert_int_equal(find(&l, "unset-variable")->severity, SEVERITY_WARNING);
    arena_free(l.a);
}

static void findings_are_in_order_of_place(void **state)
{
    (void)state;
    struct loaded l = load("zz: 1\nrouting:\n  aa: 1\n  decisions: [{name: d, bb: 1}]\ncc: 1\n");
    assert_true(l.found.n >= 4);
    for (size_t i = 1; i < l.found.n; i++)
        assert_true(l.found.items[i - 1].at.line <= l.found.items[i].at.line);
    arena_free(l.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_finding_on_its_smallest_document),
        cmocka_unit_test(strict_makes_warnings_errors_but_not_facts_of_the_build),
        cmocka_unit_test(findings_are_in_order_of_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
