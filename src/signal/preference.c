/* signal/preference.c -- which declared preference a request is closest to (spec 2.4.7). */
#include "signal/rule.h"

struct preference_conf { str description; struct strings examples; double threshold; };

static const struct field preference_table[] = {
    F(FIELD_STR, struct preference_conf, description, "description", NULL,
      "what the user prefers; part of the bank of examples"),
    F(FIELD_STRINGS, struct preference_conf, examples, "examples", NULL,
      "sentences of users with this preference"),
    F(FIELD_FLOAT, struct preference_conf, threshold, "threshold", "0",
      "lowest similarity of a match; 0: none", .min = -1, .max = 1),
};

const struct signal_ops signal_preference = {
    .type = "preference",
    .collection = "preferences",
    .response_key = "preferences",
    .header = "x-vsr-matched-preference",
    .fields = FIELDS(struct preference_conf, preference_table),
    .make = rule_slots,
};
