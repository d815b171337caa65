/* signal/event.c -- words of incidents: event types, severities, action codes, urgency
 * (spec 2.4.18).
 *
 * Each of the four is a criterion when configured; one that is met is enough, and the
 * confidence grows with the share of those met. */
#include "signal/rule.h"

#include <math.h>

#include "signal/scanner.h"

struct event_conf {
    str description;
    struct strings event_types, severities, action_codes;
    bool temporal;
};

static const struct field event_table[] = {
    F(FIELD_STRINGS, struct event_conf, event_types, "event_types", NULL, "words of events"),
    F(FIELD_STRINGS, struct event_conf, severities, "severities", NULL,
      "of critical, high, medium, low"),
    F(FIELD_STRINGS, struct event_conf, action_codes, "action_codes", NULL, "words of actions"),
    F(FIELD_BOOL, struct event_conf, temporal, "temporal", "false", "look for words of urgency"),
    F(FIELD_STR, struct event_conf, description, "description", NULL, "for people"),
};

static const char *const severities[] = { "critical", "high", "medium", "low" };
static const char *const temporal_words[] = { "urgent", "immediate", "asap", "deadline", "now" };
static const char *const temporal_patterns[] = {
    "\\btime.sensitive\\b", "\\bcritical.window\\b",
};

enum { CRITERIA = 4 };

struct criterion { uint32_t *features; str *words; size_t n; };
struct rule_code { uint32_t slot; struct criterion criteria[CRITERIA]; size_t n_configured; };
struct event { const struct scanner *scanner; struct rule_code *rules; size_t n; };

static bool is_severity(str word)
{
    for (size_t i = 0; i < COUNT_OF(severities); i++) {
        if (str_ieq(word, str_of(severities[i])))
            return true;
    }
    return false;
}

static void event_check(const struct signal_rule *rule, const struct profile *p,
                        struct findings *out)
{
    (void)p;
    const struct event_conf *c = rule->conf;
    size_t known = 0;
    for (size_t i = 0; i < c->severities.n; i++) {
        if (is_severity(c->severities.items[i]))
            known++;
        else
            rule_finding(rule, out, "unknown-severity", SEVERITY_WARNING,
                         S("the severities are critical, high, medium, low"),
                         "severity \"" STR_FMT "\" is ignored", STR_ARG(c->severities.items[i]));
    }
    if (c->event_types.n + known + c->action_codes.n == 0 && !c->temporal)
        rule_finding(rule, out, "dead-rule", SEVERITY_WARNING,
                     S("give event_types, severities, action_codes or temporal"),
                     "event rule looks for nothing");
}

static void event_run(const void *state, const struct facts *f, const uint64_t *wanted,
                      struct arena *request, struct sigset *out)
{
    (void)wanted, (void)request;
    const struct event *e = state;
    const struct scan *scan = scan_text(e->scanner, f->sampled_text);
    for (size_t i = 0; i < e->n; i++) {
        const struct rule_code *r = &e->rules[i];
        size_t satisfied = 0;
        for (size_t k = 0; k < CRITERIA; k++) {
            const struct criterion *c = &r->criteria[k];
            for (size_t w = 0; w < c->n; w++) {
                if (scan_has(scan, c->features[w])) {
                    if (satisfied++ == 0)
                        out->detail[r->slot] = c->words[w];
                    break;
                }
            }
        }
        double share = r->n_configured ? (double)satisfied / (double)r->n_configured : 0;
        rule_says(out, r->slot, satisfied > 0, satisfied ? 0.5 + 0.5 * share : (double)NAN,
                  (double)NAN);
    }
}

static void criterion_add(struct signal_build *b, struct criterion *c, str word, uint32_t feature)
{
    size_t n = c->n;
    *PUSH(b->a, c->words, n) = word;
    *PUSH(b->a, c->features, c->n) = feature;
}

static void criterion_words(struct signal_build *b, struct criterion *c, struct strings words)
{
    for (size_t i = 0; i < words.n; i++) {
        if (words.items[i].len)
            criterion_add(b, c, words.items[i],
                          scanner_word(b->scanner, words.items[i], SCAN_WORD, true));
    }
}

static void event_compile(struct signal_build *b, const struct event_conf *c, struct rule_code *r)
{
    criterion_words(b, &r->criteria[0], c->event_types);
    criterion_words(b, &r->criteria[2], c->action_codes);
    for (size_t i = 0; i < c->severities.n; i++) {
        str word = c->severities.items[i];
        if (is_severity(word))
            criterion_add(b, &r->criteria[1], word,
                          scanner_word(b->scanner, word, SCAN_WORD, true));
    }
    for (size_t i = 0; c->temporal && i < COUNT_OF(temporal_words); i++) {
        str word = str_of(temporal_words[i]);
        criterion_add(b, &r->criteria[3], word, scanner_word(b->scanner, word, SCAN_WORD, true));
    }
    for (size_t i = 0; c->temporal && i < COUNT_OF(temporal_patterns); i++) {
        str pattern = str_of(temporal_patterns[i]);
        criterion_add(b, &r->criteria[3], pattern,
                      scanner_pattern(b->scanner, pattern, true, NULL));
    }
    for (size_t k = 0; k < CRITERIA; k++)
        r->n_configured += r->criteria[k].n > 0;
}

static void event_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct event *e = ARENA_NEW(b->a, struct event);
    struct signal_unit *u = policy_unit(b->policy, S("event"), 200);
    e->scanner = b->scanner;
    rule_scans(u, b->scanner);
    e->rules = ARENA_ARRAY(b->a, struct rule_code, n);
    for (size_t i = 0; i < n; i++) {
        struct rule_code *r = &e->rules[e->n++];
        r->slot = rule_slot(b, u, S("event"), rules[i]->name);
        event_compile(b, rules[i]->conf, r);
    }
    u->state = e;
    u->run = event_run;
}

const struct signal_ops signal_event = {
    .type = "event",
    .collection = "events",
    .response_key = "event",
    .header = "x-vsr-matched-event",
    .fields = FIELDS(struct event_conf, event_table),
    .check = event_check,
    .make = event_make,
};
