/* signal/language.c -- the language of the request; rules are named by its code (spec 2.4.8).
 *
 * One language is reported. Where the detector is unsure it is English with confidence .5, as
 * VSR has it, and then each rule's own threshold applies. */
#include "signal/rule.h"

#include <ctype.h>

#include "signal/langid.h"

struct language_conf { str description; double threshold; };

static const struct field language_table[] = {
    F(FIELD_STR, struct language_conf, description, "description", NULL, "for people"),
    F(FIELD_FLOAT, struct language_conf, threshold, "threshold", "0",
      "lowest confidence of a match; 0: what the detector accepts", .min = 0, .max = 1),
};

struct rule_code { uint32_t slot; str code; double threshold; };
struct language { struct rule_code *rules; size_t n; double accepted; };

#define ACCEPTED_DEFAULT 0.3            /* when no rule has a threshold */
#define FALLBACK_CONFIDENCE 0.5f

static void language_check(const struct signal_rule *rule, const struct profile *p,
                           struct findings *out)
{
    (void)p;
    str name = rule->name;
    if (name.len != 2 || !islower((unsigned char)name.ptr[0])
        || !islower((unsigned char)name.ptr[1])) {
        rule_finding(rule, out, "bad-language", SEVERITY_ERROR,
                     S("name the rule by an ISO 639-1 code, such as en"),
                     "\"" STR_FMT "\" is no language code", STR_ARG(name));
        return;
    }
    const char *const *codes;
    size_t n = langid_codes(&codes);
    for (size_t i = 0; i < n; i++) {
        if (str_eq(name, str_of(codes[i])))
            return;
    }
    rule_finding(rule, out, "dead-rule", SEVERITY_WARNING, S(""),
                 "the language detector does not know \"" STR_FMT "\"", STR_ARG(name));
}

static struct langid language_detect(str text, double accepted)
{
    struct langid found = { .code = "", .confidence = 0 };
    if (str_trim(text).len)
        found = langid_detect(text.ptr, text.len);
    if (found.code[0] == '\0' || (double)found.confidence < accepted)
        found = (struct langid){ .code = "en", .confidence = FALLBACK_CONFIDENCE };
    return found;
}

static void language_run(const void *state, const struct facts *f, const uint64_t *wanted,
                         struct arena *request, struct sigset *out)
{
    (void)wanted;
    const struct language *l = state;
    struct langid found = language_detect(f->sampled_text, l->accepted);
    for (size_t i = 0; i < l->n; i++) {
        const struct rule_code *r = &l->rules[i];
        bool matched = str_eq(r->code, str_of(found.code))
                    && (double)found.confidence >= r->threshold;
        sig_set(out, r->slot, matched);
        if (matched)
            out->detail[r->slot] = arena_printf(request, "confidence %.2f",
                                                (double)found.confidence);
    }
}

static void language_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct language *l = ARENA_NEW(b->a, struct language);
    struct signal_unit *u = policy_unit(b->policy, S("language"), 15000);
    l->rules = ARENA_ARRAY(b->a, struct rule_code, n);
    for (size_t i = 0; i < n; i++) {
        const struct language_conf *c = rules[i]->conf;
        l->rules[l->n++] = (struct rule_code){
            rule_slot(b, u, S("language"), rules[i]->name), rules[i]->name, c->threshold };
        if (c->threshold > 0 && (l->accepted <= 0 || c->threshold < l->accepted))
            l->accepted = c->threshold;
    }
    if (l->accepted <= 0)
        l->accepted = ACCEPTED_DEFAULT;
    u->state = l;
    u->run = language_run;
}

const struct signal_ops signal_language = {
    .type = "language",
    .collection = "language",
    .response_key = "language",
    .header = "x-vsr-matched-language",
    .fields = FIELDS(struct language_conf, language_table),
    .check = language_check,
    .make = language_make,
};
