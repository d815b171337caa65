/* signal/pii.c -- personal data of kinds that a rule does not allow (spec 2.4.15).
 *
 * Recognisers by form and checksum (pii_scan.h) are always there. Names come from a token classifier when one is served; it
 * is not asked when the recognisers have settled every rule. Without one, full names in English text come from the small
 * model in pii_names.h. Of each type the surest place counts. What a rule says about the types it allows holds for all. */
#include "signal/neural.h"

#include <math.h>

#include "signal/langid.h"
#include "signal/pii_names.h"

struct pii_conf {
    str description;
    double threshold;
    bool include_history, include_tool_results;
    struct strings pii_types_allowed;
    uint64_t set;
};

enum { KEY_THRESHOLD = 0 };

static const struct field pii_table[] = {
    [KEY_THRESHOLD] = F(FIELD_FLOAT, struct pii_conf, threshold, "threshold", NULL,
        "lowest confidence of an entity that counts", .min = 0, .max = 1),
    F(FIELD_STRINGS, struct pii_conf, pii_types_allowed, "pii_types_allowed", NULL,
      "kinds of entities that may pass"),
    F(FIELD_BOOL, struct pii_conf, include_history, "include_history", "false",
      "look at earlier messages too"),
    F(FIELD_BOOL, struct pii_conf, include_tool_results, "include_tool_results", "false",
      "look at what tools brought since the assistant last spoke; with include_history at all they brought"),
    F(FIELD_STR, struct pii_conf, description, "description", NULL, "for people"),
    { .key = FIELD_KEY_SET, .offset = offsetof(struct pii_conf, set) },
};

static void pii_check(const struct signal_rule *rule, const struct profile *p,
                      struct findings *out)
{
    (void)p;
    const struct pii_conf *c = rule->conf;
    if (!(c->set >> KEY_THRESHOLD & 1))
        rule_finding(rule, out, "missing-threshold", SEVERITY_WARNING, S("0.8 is usual"),
                     "pii rule without threshold matches every entity");
}

enum {
    OTHER_TYPES_MAX = 32,               /* labels of a model that no recogniser has a type for; beyond: the last one */
    TYPES_MAX = PII_TYPES + OTHER_TYPES_MAX,
    NO_TYPE = -1,
    FORMS_NS = 8000, NAMES_NS = 350000, /* pii_scan and pii_names of 2 KB */
    SPANS_MAX = 128,                    /* of one text; full names behind that many are not told from single ones */
};

/* Other names of the same, in models and in configurations. */
static const struct neural_spelling spellings[] = {
    { "per", PII_PERSON },            { "name", PII_PERSON },           { "person name", PII_PERSON },
    { "loc", PII_GPE },               { "location", PII_GPE },          { "org", PII_ORGANIZATION },
    { "company", PII_ORGANIZATION },  { "email", PII_EMAIL_ADDRESS },   { "phone", PII_PHONE_NUMBER },
    { "telephone", PII_PHONE_NUMBER },{ "ssn", PII_US_SSN },            { "iban", PII_IBAN_CODE },
    { "ip", PII_IP_ADDRESS },         { "address", PII_STREET_ADDRESS },{ "date", PII_DATE_TIME },
    { "zip", PII_ZIP_CODE },          { "card", PII_CREDIT_CARD },      { "credit card number", PII_CREDIT_CARD },
    { "url", PII_DOMAIN_NAME },       { "driver license", PII_US_DRIVER_LICENSE },
    { "given name", PII_PERSON },     { "first name", PII_PERSON },     { "middle name", PII_PERSON },
    { "surname", PII_PERSON },        { "last name", PII_PERSON },      { "drivers license", PII_US_DRIVER_LICENSE },
    { "city", PII_GPE },              { "state", PII_GPE },             { "country", PII_GPE },
    { "street", PII_STREET_ADDRESS }, { "street name", PII_STREET_ADDRESS },
    { "building number", PII_STREET_ADDRESS },                          { "secondary address", PII_STREET_ADDRESS },
    { "bank account", PII_ACCOUNT_NUMBER },                             { "government id", PII_NATIONAL_ID },
};

struct rule_code {
    uint32_t slot;
    float threshold;
    unsigned reads;                     /* READS_... */
    bool allows[TYPES_MAX];
};

struct pii {
    const struct need_source *names;    /* the token classifier; NULL: pii_names.h */
    int *type_of;                       /* [names->n_labels] NO_TYPE: not personal */
    str other[OTHER_TYPES_MAX]; int n_other;
    struct rule_code *rules; size_t n;
    bool is_read[READS_N];              /* by a rule */
};

struct sightings {                      /* of some contents */
    float best[TYPES_MAX];              /* highest score of each type; 0: none */
    uint32_t result[TYPES_MAX];         /* the tool's result that has it; 0: another text */
    const char *why;                    /* NULL, or why the names of one of them are not known */
};

static int type_find(str name)
{
    for (int t = 0; t < PII_TYPES; t++) {
        if (neural_label_is(name, pii_type_name((enum pii_type)t)))
            return t;
    }
    return neural_meaning(name, spellings, COUNT_OF(spellings));
}

static str type_name(const struct pii *p, int t)
{
    return t < PII_TYPES ? pii_type_name((enum pii_type)t) : p->other[t - PII_TYPES];
}

/* ---- looking ---- */

static bool is_english(str text)
{
    return strcmp(langid_detect(text.ptr, text.len).code, "en") == 0;
}

/* Recognisers and the small model of names. "The capital of France" or "Kant" are names but tell of nobody in particular: a full
 * name counts by itself, single names, places and companies as no more personal than what else is in the text. */
static void find_with_names(str text, float best[PII_TYPES])
{
    enum { NAME = 1, GENERAL };
    static const uint8_t kind[PII_TYPES] = {
        [PII_PERSON] = NAME, [PII_GPE] = NAME, [PII_ORGANIZATION] = NAME,
        [PII_DATE_TIME] = GENERAL, [PII_DOMAIN_NAME] = GENERAL, [PII_NRP] = GENERAL,
    };
    struct pii_span spans[SPANS_MAX];
    uint32_t n = pii_find(text, spans, SPANS_MAX, best);
    float personal = PII_MENTION;
    for (int t = 0; t < PII_TYPES; t++)
        personal = kind[t] ? personal : fmaxf(personal, best[t]);
    for (uint32_t i = 0; i < n; i++) {
        str words = str_upto(str_from(text, spans[i].start), spans[i].end - spans[i].start);
        if (spans[i].type == PII_PERSON && str_chr(words, ' ') >= 0)
            personal = fmaxf(personal, spans[i].score);
    }
    for (int t = 0; t < PII_TYPES; t++)
        best[t] = kind[t] == NAME ? fminf(best[t], personal) : best[t];
}

static void sight(struct sightings *s, int t, float score, uint32_t result)
{
    if (score > s->best[t]) {
        s->best[t] = score;
        s->result[t] = result;
    }
}

static void look(struct contents contents, bool with_names, struct sightings *s)
{
    *s = (struct sightings){ .why = NULL };
    for (size_t i = 0; i < contents.n; i++) {
        const struct content *c = &contents.items[i];
        float best[PII_TYPES] = { 0 };
        if (with_names && is_english(c->text))
            find_with_names(c->text, best);
        else
            pii_scan(c->text, NULL, 0, best);
        for (int t = 0; t < PII_TYPES; t++)
            sight(s, t, best[t], c->result);
    }
}

static void look_for_names(const struct pii *p, const struct facts *f, struct contents contents, struct sightings *s)
{
    for (size_t i = 0; i < contents.n; i++) {
        const struct need *n = neural_answer(f, p->names, contents.items[i].text, &s->why);
        for (uint32_t k = 0; n && k < n->n_spans; k++) {
            int t = n->spans[k].label < p->names->n_labels ? p->type_of[n->spans[k].label] : NO_TYPE;
            if (t != NO_TYPE)
                sight(s, t, n->spans[k].score, contents.items[i].result);
        }
    }
}

static bool is_offence(const struct rule_code *r, const struct sightings *s, int t)
{
    return s->best[t] > 0 && s->best[t] >= r->threshold && !r->allows[t];
}

static bool rule_holds(const struct rule_code *r, const struct sightings *s)
{
    for (int t = 0; t < TYPES_MAX; t++) {
        if (is_offence(r, s, t))
            return true;
    }
    return false;
}

static void pii_ask(const void *state, const struct facts *f, const uint64_t *wanted, struct needs *needs)
{
    (void)wanted;
    const struct pii *p = state;
    for (unsigned reads = 0; reads < READS_N; reads++) {
        if (!p->is_read[reads])
            continue;
        struct contents contents = neural_contents(f, reads, needs->a);
        struct sightings by_form;
        bool is_open = false;
        look(contents, false, &by_form);
        for (size_t i = 0; i < p->n; i++)
            is_open |= p->rules[i].reads == reads && !rule_holds(&p->rules[i], &by_form);
        for (size_t i = 0; i < contents.n && is_open; i++)
            need_ask(needs, p->names, contents.items[i].text);
    }
}

static void rule_tell(const struct pii *p, const struct rule_code *r, const struct sightings *s, const struct facts *f,
                      struct arena *request, struct sigset *out)
{
    str found = S("");
    for (int t = 0; t < TYPES_MAX; t++) {
        if (is_offence(r, s, t))
            found = arena_printf(request, STR_FMT "%s" STR_FMT " %.2f" STR_FMT, STR_ARG(found), found.len ? ", " : "",
                                 STR_ARG(type_name(p, t)), (double)s->best[t], STR_ARG(neural_place(f, s->result[t], request)));
    }
    sig_set(out, r->slot, true);
    out->detail[r->slot] = found;               /* types only: what was found stays where it is */
}

static void pii_run(const void *state, const struct facts *f, const uint64_t *wanted, struct arena *request, struct sigset *out)
{
    (void)wanted;
    const struct pii *p = state;
    struct sightings by[READS_N];
    for (unsigned reads = 0; reads < READS_N; reads++) {
        if (!p->is_read[reads])
            continue;
        struct contents contents = neural_contents(f, reads, request);
        look(contents, !p->names, &by[reads]);
        if (p->names)
            look_for_names(p, f, contents, &by[reads]);
    }
    for (size_t i = 0; i < p->n; i++) {
        const struct rule_code *r = &p->rules[i];
        const struct sightings *s = &by[r->reads];
        if (rule_holds(r, s))
            rule_tell(p, r, s, f, request, out);
        else
            neural_silent(out, r->slot, s->why);
    }
}

/* ---- building ---- */

/* Types that the recognisers lack keep the model's name, so that a rule can allow them. */
static int other_type(struct pii *p, str label)
{
    for (int i = 0; i < p->n_other; i++) {
        if (neural_label_is(p->other[i], label))
            return PII_TYPES + i;
    }
    if (p->n_other == OTHER_TYPES_MAX)
        return PII_TYPES + OTHER_TYPES_MAX - 1;
    p->other[p->n_other] = label;
    return PII_TYPES + p->n_other++;
}

static void labels_read(struct signal_build *b, struct pii *p)
{
    p->type_of = ARENA_ARRAY(b->a, int, p->names->n_labels);
    for (uint32_t i = 0; i < p->names->n_labels; i++) {
        str label = neural_label_base(p->names->labels[i]);
        bool is_nothing = neural_label_is(label, S("o")) || neural_label_is(label, S("misc"));
        int type = is_nothing ? NO_TYPE : type_find(label);
        p->type_of[i] = type == NO_TYPE && !is_nothing ? other_type(p, label) : type;
    }
}

static void allowed_read(const struct pii *p, struct strings names, struct rule_code *r)
{
    for (size_t i = 0; i < names.n; i++) {
        int type = type_find(names.items[i]);
        for (int t = 0; t < PII_TYPES; t++)
            r->allows[t] |= t == type || (int)pii_type_family((enum pii_type)t) == type;
        for (int t = 0; t < p->n_other; t++)
            r->allows[PII_TYPES + t] |= neural_label_is(p->other[t], names.items[i]);
    }
}

static const struct field settings_table[] = {
    F(FIELD_BOOL, struct neural_module, enabled, "enabled", "true", "false: never run"),
    F(FIELD_STR, struct neural_module, model_ref, "model_ref", "pii_classifier", "key of model_catalog.system"),
    F(FIELD_STR, struct neural_module, model_id, "model_id", NULL, "directory; wins over model_ref"),
};
static const struct fields settings_fields = FIELDS(struct neural_module, settings_table);

static void pii_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct neural_module m;
    const struct value *module = neural_settings(b, "modules.classifier.pii", &settings_fields, &m);
    struct pii *p = ARENA_NEW(b->a, struct pii);
    *p = (struct pii){ .names = neural_module_source(b, NEED_SPANS, "pii", &m, module), .n = n };
    p->rules = ARENA_ARRAY(b->a, struct rule_code, n);
    bool has_classifier = !neural_why_absent(p->names);
    struct signal_unit *u = policy_unit(b->policy, S("pii"), FORMS_NS + (has_classifier ? p->names->cost_ns : NAMES_NS));
    if (!has_classifier) {
        p->names = NULL;
    } else {
        u->ask = pii_ask;
        labels_read(b, p);
    }
    for (size_t i = 0; i < n; i++) {
        const struct pii_conf *c = rules[i]->conf;
        struct rule_code *r = &p->rules[i];
        *r = (struct rule_code){ .slot = rule_slot(b, u, S("pii"), rules[i]->name), .threshold = (float)c->threshold,
                                 .reads = neural_reads(c->include_history, c->include_tool_results) };
        allowed_read(p, c->pii_types_allowed, r);
        p->is_read[r->reads] = true;
    }
    u->state = p;
    u->run = pii_run;
    if (!m.enabled)
        neural_absent(b, u, "off");
}

const struct signal_ops signal_pii = {
    .type = "pii",
    .collection = "pii",
    .response_key = "pii",
    .header = "x-vsr-matched-pii",
    .fields = FIELDS(struct pii_conf, pii_table),
    .check = pii_check,
    .make = pii_make,
};
