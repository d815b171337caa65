/* select/static.c -- the first candidate as declared (spec 02, section 1.2).
 *
 * VSR scores by a table that no accepted configuration can fill any more; what is left of it is
 * the declared order. Weights are not looked at: see weighted.c. */
#include "select/rank.h"

const struct select_ops select_static = {
    .name = "static", .fields = FIELDS_NONE, .is_built = true, .pick = pick_declared,
};
