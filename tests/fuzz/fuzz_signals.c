/* tests/fuzz/fuzz_signals.c -- all built signals over arbitrary bytes, and arbitrary patterns
 * against RE2.
 *
 * The first byte picks: even, the rest is the text of a request under a fixed rich rule set, and
 * lazy and eager evaluation must agree with each other; odd, the rest is a pattern, a NUL and a
 * text, and the scanner must say what RE2 says. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/regex.h"
#include "base/utf8.h"
#include "signal/scanner.h"
#include "signal/signal.h"

static const char rules[] =
    "keywords:\n"
    "- {name: words, operator: OR, keywords: [urgent, \"social security\", \"C++\", \"证明\", \"привет\"]}\n"
    "- {name: exact, operator: AND, keywords: [Kelvin, Sun], case_sensitive: true}\n"
    "- {name: folded, operator: NOR, keywords: [kss, \"straße\", \"ⱥb\", \"ÀÉ\"]}\n"
    "- {name: patterns, operator: OR, method: regex, keywords: ['\\bapi[_ -]?key\\b', "
    "'\\b\\d{3}-\\d{2}-\\d{4}\\b', '绕过(所有)?安全(限制|规则)', '\\bbearer\\s+[a-z0-9._~+/-]+=*\\b', "
    "'(?m)^\\d+\\.', '[?？]', '\\pL{9}', '(is|was).{0,80}(true|correct)', 'x*']}\n"
    "- {name: fuzzy, operator: OR, keywords: [urgent, password, \"социальный\"], fuzzy_match: true}\n"
    "- {name: bm25, operator: OR, method: bm25, keywords: [code, function, \"debugging tools\", \"代码\", \"café\"]}\n"
    "- {name: ngram, operator: AND, method: ngram, keywords: [urgent, \"emergency call\", a]}\n"
    "- {name: pairs, operator: OR, method: ngram, keywords: [aa, abab], ngram_arity: 2, case_sensitive: true}\n"
    "structure:\n"
    "- {name: questions, feature: {type: count, source: {type: regex, pattern: '[?？]'}}, predicate: {gte: 2}}\n"
    "- {name: steps, feature: {type: count, source: {type: regex, pattern: '(?m)^\\s*\\d+\\.\\s+'}}}\n"
    "- {name: empty, feature: {type: count, source: {type: regex, pattern: 'a*'}}}\n"
    "- {name: dense, feature: {type: density, source: {type: keyword_set, keywords: [must, \"at least\", \"必须\", \"éa\"]}}}\n"
    "- {name: order, feature: {type: sequence, source: {type: sequence, sequences: [[first, then], [a, a, a], [\"先\", \"再\"]]}}}\n"
    "- {name: bytes, feature: {type: count, source: {type: text_bytes}}, predicate: {gt: 10, lte: 100}}\n"
    "events:\n"
    "- {name: event, event_types: [payment_failed], severities: [critical], action_codes: [TXN], temporal: true}\n"
    "language:\n"
    "- {name: de, threshold: 0.5}\n"
    "- {name: zh}\n"
    "modality:\n"
    "- {name: AR}\n"
    "- {name: BOTH}\n"
    "context:\n"
    "- {name: long, min_tokens: 10, max_tokens: 1M}\n"
    "conversation:\n"
    "- {name: turns, feature: {type: count, source: {type: message}}, predicate: {gte: 1}}\n";
static const char global[] =
    "model_catalog: {modules: {modality_detector: {enabled: true, method: keyword, "
    "keywords: [draw], both_keywords: [\"with a picture\"]}}}\n";

static struct arena *kept;
static struct policy *policy;
static struct decide_scratch *scratch;

static void rules_load(void)
{
    struct err e = { 0 };
    kept = arena_new();
    struct findings *findings = ARENA_NEW(kept, struct findings);
    struct profile *p = ARENA_NEW(kept, struct profile);
    findings->a = kept;
    p->name = S("fuzz");
    struct value *v = yaml_parse(kept, str_of(rules), "rules", &e);
    assert(v);
    for (size_t i = 0; i < v->n_pairs; i++) {
        const struct signal_ops *ops = signal_by_collection(v->pairs[i].key);
        for (size_t k = 0; k < v->pairs[i].value->n_items; k++) {
            const struct value *item = v->pairs[i].value->items[k];
            struct findings ignored = { .a = kept };    /* `name` is no key of the table */
            struct signal_rule *r = PUSH(kept, p->signals, p->n_signals);
            *r = (struct signal_rule){ value_get(item, S("name"))->text, ops,
                                       arena_alloc(kept, ops->fields.struct_size), item->at };
            field_decode(kept, &ops->fields, item, S(""), r->conf, &ignored);
        }
    }
    struct signal_make_arg arg = { .global = yaml_parse(kept, str_of(global), "global", &e) };
    policy = policy_build(kept, p, signal_make_all, &arg, findings);
    assert(policy);
    scratch = decide_scratch_new(kept, policy);
}

static void text_run(str text)
{
    struct arena *request = arena_new();
    struct chat chat = { 0 };
    struct facts f = {
        .chat = &chat, .current_user = text, .current_user_raw = text, .evaluation_text = text,
        .sampled_text = text.len > 64 ? str_upto(text, text.len / 2) : text,
        .context_tokens = text.len / 4, .n_role = { [ROLE_USER] = 1 },
    };
    struct decision d = decide_run(policy, &f, scratch, request, DECIDE_EAGER, NULL);
    for (uint32_t i = 0; i < d.signals->n_slots; i++) {
        assert(sig_known(d.signals, i));
        assert(!sig_yes(d.signals, i) || sig_known(d.signals, i));
        float c = d.signals->confidence[i];
        assert(isnan(c) || (c >= 0 && c <= 1));
        assert(d.signals->detail[i].len < 1 << 20);
    }
    arena_free(request);
}

static void pattern_run(str data, bool fold)
{
    long cut = str_chr(data, '\0');
    str pattern = str_upto(data, cut < 0 ? data.len : (size_t)cut);
    str text = cut < 0 ? S("") : str_from(data, (size_t)cut + 1);
    if (pattern.len > 64)               /* compiling is slow under sanitizers */
        return;
    struct arena *a = arena_new();
    struct regex *re = regex_in(a, pattern, fold, NULL);
    struct scanner *s = scanner_new(a);
    uint32_t has = scanner_pattern(s, pattern, fold, NULL);
    uint32_t count = scanner_pattern_count(s, pattern, fold, NULL);
    uint32_t word = scanner_word(s, text, SCAN_ANYWHERE, fold);
    assert((has == SCAN_NONE) == (re == NULL));
    if (re && scanner_seal(s)) {
        const struct scan *r = scan_text(s, text);
        assert(scan_has(r, has) == regex_has(re, text));
        assert(scan_count(r, count, text) == regex_count(re, text));
        assert(!utf8_is_valid(text) || scan_has(r, word));      /* a text has itself */
    }
    arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!kept)
        rules_load();
    if (size == 0)
        return 0;
    str rest = { (const char *)data + 1, size - 1 };
    if (data[0] & 1)
        pattern_run(rest, data[0] & 2);
    else
        text_run(rest);
    return 0;
}
