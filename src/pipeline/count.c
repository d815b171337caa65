/* pipeline/count.c */
#include "pipeline/count.h"

#include <stdio.h>

#include "neural/service.h"
#include "observe/metrics.h"
#include "pipeline/ask.h"

enum { TIMED_ONE_IN = 16, PICKS_KNOWN = 64 };

void count_cells(struct arena *a, struct recipe *r)
{
    uint32_t n = policy_n_slots(r->policy);
    r->slot_cells = ARENA_ARRAY(a, struct slot_cells, n);
    for (uint32_t i = 0; i < n; i++) {
        str labels[2] = { policy_slot_type(r->policy, i), policy_slot_name(r->policy, i) };
        r->slot_cells[i].extracted = metric_cell(METRIC_SIGNAL_EXTRACTION, labels);
        r->slot_cells[i].matched = metric_cell(METRIC_SIGNAL_MATCH, labels);
    }
    n = policy_n_units(r->policy);
    r->unit_cells = ARENA_ARRAY(a, struct unit_cells, n);
    for (uint32_t i = 0; i < n; i++) {
        str type = policy_unit_at(r->policy, i)->type;
        r->unit_cells[i].run = metric_cell(METRIC_UNITS_RUN, &type);
        r->unit_cells[i].avoided = metric_cell(METRIC_UNITS_AVOIDED, &type);
        r->unit_cells[i].seconds = metric_cell(METRIC_SIGNAL_LATENCY, &type);
    }
}

bool count_times_units(const struct req *r)
{
    return r->facts.seed % TIMED_ONE_IN == 0;
}

static void slots_count(const struct req *r, const struct sigset *sig)
{
    for (uint32_t w = 0; w < sig->n_words; w++) {
        for (uint64_t bits = sig->known[w]; bits; bits &= bits - 1)
            metric_add(r->recipe->slot_cells[w * 64 + (uint32_t)__builtin_ctzll(bits)].extracted, 1);
        for (uint64_t bits = sig->yes[w]; bits; bits &= bits - 1)
            metric_add(r->recipe->slot_cells[w * 64 + (uint32_t)__builtin_ctzll(bits)].matched, 1);
    }
}

void count_decision(const struct req *r, const struct decide_scratch *s, uint64_t ns)
{
    static _Thread_local uint32_t total, seconds;
    if (!total) {
        total = metric_cell(METRIC_DECISION_EVALUATION, NULL);
        seconds = metric_cell(METRIC_DECISION_LATENCY, NULL);
    }
    metric_add(total, 1);
    metric_observe(seconds, (double)ns / 1e9);
    slots_count(r, r->decision.signals);
    for (uint32_t i = 0; i < policy_n_units(r->recipe->policy); i++) {
        uint64_t unit_ns;
        const struct unit_cells *c = &r->recipe->unit_cells[i];
        switch (decide_unit_fate(s, i, &unit_ns)) {
        case UNIT_RUN:
            metric_add(c->run, 1);
            if (unit_ns)
                metric_observe(c->seconds, (double)unit_ns / 1e9);
            break;
        case UNIT_AVOIDED:
            metric_add(c->avoided, 1);
            break;
        case UNIT_SKIPPED:
            break;
        }
    }
    if (r->decision.conf)
        metric_observe(r->recipe->plans[r->decision.index].cell_confidence, r->decision.confidence);
}

void count_encoder(void)
{
    struct neural_counts c;
    neural_count(&c);
    const struct { enum metric_id id; const char *label; double value; } all[] = {
        { METRIC_ENCODER_FORWARDS, NULL, (double)c.forwards },
        { METRIC_ENCODER_TOKENS, NULL, (double)c.tokens },
        { METRIC_ENCODER_SECONDS, NULL, (double)c.busy_ns / 1e9 },
        { METRIC_ENCODER_TEXTS, "encoder", (double)c.texts },
        { METRIC_ENCODER_TEXTS, "cache", (double)c.cache_hits },
        { METRIC_ENCODER_TEXTS, "shared", (double)c.shared },
        { METRIC_ENCODER_LOST, "queue-full", (double)c.refused },
        { METRIC_ENCODER_LOST, "timeout", (double)c.expired },
        { METRIC_ENCODER_QUEUE, NULL, (double)c.queue_tokens },
        { METRIC_ENCODER_CACHE, NULL, (double)c.cache_bytes },
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        str label = str_of(all[i].label);
        metric_set(metric_cell(all[i].id, all[i].label ? &label : NULL), all[i].value);
    }
}

/* Looking cells up by four labels costs more than the pick itself: each thread remembers the latest of them. */
struct pick_cells { uint64_t snap; const struct plan *plan; const struct model *model; const char *method;
                    uint32_t selection, seconds; };

static const struct pick_cells *pick_cells(const struct req *r)
{
    static _Thread_local struct pick_cells known[PICKS_KNOWN];
    struct pick_cells *c = &known[((uintptr_t)r->plan / 64 + (uintptr_t)r->order[0] / 64) % PICKS_KNOWN];
    if (c->snap == r->snap->id && c->plan == r->plan && c->model == r->order[0] && c->method == r->method)
        return c;
    char text[24];
    int n = snprintf(text, sizeof text, "%lld", (long long)r->plan->conf->tier);
    str method = str_of(r->method), tier = { text, (size_t)n };
    *c = (struct pick_cells){
        .snap = r->snap->id, .plan = r->plan, .model = r->order[0], .method = r->method,
        .selection = metric_cell(METRIC_SELECTION, (str[]){ method, r->order[0]->name, r->plan->conf->name, tier }),
        .seconds = metric_cell(METRIC_SELECTION_DURATION, (str[]){ method, tier }),
    };
    return c;
}

void count_pick(const struct req *r, uint64_t ns)
{
    const struct pick_cells *c = pick_cells(r);
    metric_add(c->selection, 1);
    metric_observe(c->seconds, (double)ns / 1e9);
    if (r->pick.fallback)
        metric_add(metric_cell(METRIC_SELECTION_FALLBACK,
                               (str[]){ str_of(r->method), r->plan->conf->name, str_of(r->pick.fallback) }), 1);
}

void count_helper(const struct ask_answer *asked)
{
    str label = str_of(asked->heard.why ? asked->heard.why : "answered");
    metric_add(metric_cell(METRIC_HELPER, (str[]){ asked->model, label }), 1);
    metric_observe(metric_cell(METRIC_HELPER_SECONDS, &asked->model), (double)asked->took_ns / 1e9);
}

void count_plugin(const struct req *r, const char *type, int rc, uint64_t ns)
{
    str name = str_of(type);
    metric_add(metric_cell(METRIC_PLUGIN_EXECUTION, (str[]){ name, r->plan->conf->name,
                                                             rc < 0 ? S("error") : S("success") }), 1);
    metric_observe(metric_cell(METRIC_PLUGIN_LATENCY, &name), (double)ns / 1e9);
}
