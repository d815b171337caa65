/* signal/kb.c -- nearness to labels or groups of a knowledge base (spec 2.4.16). */
#include "signal/rule.h"

struct kb_target { str kind, value; };
struct kb_conf { str description, kb, match; struct kb_target target; };

static const char *const kinds[] = { "label", "group", NULL };
static const char *const matches[] = { "threshold", "best", "", NULL };

static const struct field target_table[] = {
    F(FIELD_ENUM, struct kb_target, kind, "kind", NULL, "label or group", .names = kinds,
      .flags = FIELD_REQUIRED),
    F(FIELD_STR, struct kb_target, value, "value", NULL, "its name in the knowledge base",
      .flags = FIELD_REQUIRED),
};
static const struct fields target_fields = FIELDS(struct kb_target, target_table);

static const struct field kb_table[] = {
    F(FIELD_STR, struct kb_conf, kb, "kb", NULL, "name in global.model_catalog.kbs",
      .flags = FIELD_REQUIRED),
    F(FIELD_STRUCT, struct kb_conf, target, "target", NULL, "what to look for",
      .sub = &target_fields),
    F(FIELD_ENUM, struct kb_conf, match, "match", "threshold",
      "threshold: the score suffices; best: no other scores higher", .names = matches),
    F(FIELD_STR, struct kb_conf, description, "description", NULL, "for people",
      .flags = FIELD_EXTENSION),
};

const struct signal_ops signal_kb = {
    .type = "kb",
    .collection = "kb",
    .response_key = "kb",
    .header = "x-vsr-matched-kb",
    .fields = FIELDS(struct kb_conf, kb_table),
    .make = rule_slots,
};
