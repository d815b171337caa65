/* signal/reask.c -- the user asks the same again, by embeddings of the turns (spec 2.4.6). */
#include "signal/rule.h"

struct reask_conf { str description; double threshold; int64_t lookback_turns; };

static const struct field reask_table[] = {
    F(FIELD_STR, struct reask_conf, description, "description", NULL, "for people"),
    F(FIELD_FLOAT, struct reask_conf, threshold, "threshold", "0.8",
      "lowest similarity of two turns that counts as the same question", .min = 0, .max = 1),
    F(FIELD_INT, struct reask_conf, lookback_turns, "lookback_turns", "1",
      "how many earlier turns in a row must be alike", .min = 1, .max = 1000),
};

const struct signal_ops signal_reask = {
    .type = "reask",
    .collection = "reasks",
    .response_key = "reask",
    .header = "x-vsr-matched-reask",
    .fields = FIELDS(struct reask_conf, reask_table),
    .make = rule_slots,
};
