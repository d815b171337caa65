/* signal/conversation.c -- the shape of the conversation: turns, tools, images (spec 2.4.17). */
#include "signal/rule.h"

#include <math.h>

struct conversation_source { str type, role; };
struct conversation_feature { str type; struct conversation_source source; };
struct conversation_conf {
    str description;
    struct conversation_feature feature;
    struct predicate_conf predicate;
    uint64_t set;
};

enum { KEY_PREDICATE = 1 };

static const char *const types[] = { "count", "exists", NULL };
static const char *const sources[] = {
    "message", "tool_definition", "assistant_tool_call", "assistant_tool_cycle",
    "active_tool_loop", "image_content", NULL,
};
static const char *const roles[] = {
    "user", "assistant", "system", "developer", "tool", "non_user", "", NULL,
};

static const struct field source_table[] = {
    F(FIELD_ENUM, struct conversation_source, type, "type", NULL, "what is counted",
      .names = sources, .flags = FIELD_REQUIRED),
    F(FIELD_ENUM, struct conversation_source, role, "role", "",
      "whose messages; empty: all. Only with type message", .names = roles),
};
static const struct fields source_fields = FIELDS(struct conversation_source, source_table);

static const struct field feature_table[] = {
    F(FIELD_ENUM, struct conversation_feature, type, "type", NULL,
      "exists: more than none; count: compared by the predicate", .names = types,
      .flags = FIELD_REQUIRED),
    F(FIELD_STRUCT, struct conversation_feature, source, "source", NULL, "what is counted",
      .sub = &source_fields),
};
static const struct fields feature_fields = FIELDS(struct conversation_feature, feature_table);

static const struct field conversation_table[] = {
    F(FIELD_STRUCT, struct conversation_conf, feature, "feature", NULL, "what is measured",
      .sub = &feature_fields),
    [KEY_PREDICATE] = F(FIELD_STRUCT, struct conversation_conf, predicate, "predicate", NULL,
        "what the count must be; without one any count matches", .sub = &predicate_fields),
    F(FIELD_STR, struct conversation_conf, description, "description", NULL, "for people"),
    { .key = FIELD_KEY_SET, .offset = offsetof(struct conversation_conf, set) },
};

enum measure {
    MEASURE_MESSAGES, MEASURE_NON_USER, MEASURE_ROLE, MEASURE_DEVELOPER, MEASURE_TOOLS,
    MEASURE_CALLS, MEASURE_RESULTS, MEASURE_LOOP, MEASURE_IMAGES,
};

struct rule_code {
    uint32_t slot;
    enum measure measure;
    enum role role;                     /* MEASURE_ROLE */
    bool is_exists;
    struct number_predicate predicate;
};
struct conversation { struct rule_code *rules; size_t n; };

static void conversation_check(const struct signal_rule *rule, const struct profile *p,
                               struct findings *out)
{
    (void)p;
    const struct conversation_conf *c = rule->conf;
    bool has_predicate = c->set >> KEY_PREDICATE & 1;
    if (c->feature.source.role.len && !str_eq(c->feature.source.type, S("message")))
        rule_finding(rule, out, "bad-source", SEVERITY_ERROR, S("remove role"),
                     "role belongs to source type message, not " STR_FMT,
                     STR_ARG(c->feature.source.type));
    if (has_predicate && str_eq(c->feature.type, S("exists")))
        rule_finding(rule, out, "bad-predicate", SEVERITY_ERROR, S("use type count"),
                     "feature type exists takes no predicate");
    else if (has_predicate)
        predicate_check(&c->predicate, rule, out);
    else if (str_eq(c->feature.type, S("count")))
        rule_finding(rule, out, "always-true", SEVERITY_WARNING, S("add a predicate"),
                     "a count without predicate matches every request");
}

static double conversation_value(const struct rule_code *r, const struct facts *f)
{
    uint64_t messages = 0;
    for (size_t i = 0; i < ROLE_N; i++)
        messages += f->n_role[i];
    switch (r->measure) {
    case MEASURE_MESSAGES:  return (double)messages;
    case MEASURE_NON_USER:  return (double)(messages - f->n_role[ROLE_USER]);
    case MEASURE_ROLE:      return f->n_role[r->role];
    case MEASURE_DEVELOPER: return f->has_developer;    /* VSR keeps a flag, not a count */
    case MEASURE_TOOLS:     return f->chat ? f->chat->n_tools : 0;
    case MEASURE_CALLS:     return f->n_tool_calls;
    case MEASURE_RESULTS:   return f->n_role[ROLE_TOOL];
    case MEASURE_LOOP:      return f->is_tool_loop_active;
    case MEASURE_IMAGES:    return f->n_images;
    }
    return 0;
}

static void conversation_run(const void *state, const struct facts *f, const uint64_t *wanted,
                             struct arena *request, struct sigset *out)
{
    (void)wanted, (void)request;
    const struct conversation *c = state;
    for (size_t i = 0; i < c->n; i++) {
        const struct rule_code *r = &c->rules[i];
        double value = conversation_value(r, f);
        bool matched = r->is_exists ? value > 0 : predicate_holds(&r->predicate, value);
        rule_says(out, r->slot, matched, matched, value);
    }
}

static struct rule_code conversation_compile(const struct conversation_conf *c)
{
    static const struct { const char *type; enum measure measure; } by_type[] = {
        { "tool_definition", MEASURE_TOOLS },  { "assistant_tool_call", MEASURE_CALLS },
        { "assistant_tool_cycle", MEASURE_RESULTS }, { "active_tool_loop", MEASURE_LOOP },
        { "image_content", MEASURE_IMAGES },
    };
    static const struct { const char *role; enum measure measure; enum role is; } by_role[] = {
        { "", MEASURE_MESSAGES, ROLE_OTHER },       { "non_user", MEASURE_NON_USER, ROLE_OTHER },
        { "user", MEASURE_ROLE, ROLE_USER },        { "assistant", MEASURE_ROLE, ROLE_ASSISTANT },
        { "system", MEASURE_ROLE, ROLE_SYSTEM },    { "tool", MEASURE_ROLE, ROLE_TOOL },
        { "developer", MEASURE_DEVELOPER, ROLE_DEVELOPER },
    };
    struct rule_code r = {
        .is_exists = str_eq(c->feature.type, S("exists")),
        .predicate = predicate_of(&c->predicate),
    };
    for (size_t i = 0; i < COUNT_OF(by_type); i++) {
        if (str_eq(c->feature.source.type, str_of(by_type[i].type))) {
            r.measure = by_type[i].measure;
            return r;
        }
    }
    for (size_t i = 0; i < COUNT_OF(by_role); i++) {
        if (str_eq(c->feature.source.role, str_of(by_role[i].role))) {
            r.measure = by_role[i].measure;
            r.role = by_role[i].is;
        }
    }
    return r;
}

static void conversation_make(struct signal_build *b, const struct signal_rule *const *rules,
                              size_t n)
{
    struct conversation *c = ARENA_NEW(b->a, struct conversation);
    struct signal_unit *u = policy_unit(b->policy, S("conversation"), 15);
    c->rules = ARENA_ARRAY(b->a, struct rule_code, n);
    for (size_t i = 0; i < n; i++) {
        c->rules[c->n] = conversation_compile(rules[i]->conf);
        c->rules[c->n++].slot = rule_slot(b, u, S("conversation"), rules[i]->name);
    }
    u->state = c;
    u->run = conversation_run;
}

const struct signal_ops signal_conversation = {
    .type = "conversation",
    .collection = "conversation",
    .response_key = "conversation",
    .header = "x-vsr-matched-conversation",
    .fields = FIELDS(struct conversation_conf, conversation_table),
    .check = conversation_check,
    .make = conversation_make,
};
