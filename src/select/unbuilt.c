/* select/unbuilt.c -- selectors of VSR that are known here but not built yet: prompt, which asks a model.
 *
 * Its keys are decoded and checked like any others (spec 02, section 1.10), so that a configuration loads and its typing errors
 * are found; a request gets the first candidate and says so in `fallback`. */
#include "select/rank.h"

static void unbuilt_pick(const struct select_in *in, struct arena *a, struct pick *out)
{
    pick_declared(in, a, out);
    out->confidence = 0;
    out->fallback = "not-built";
}

struct prompt_conf { str model, instructions; double timeout_seconds; };

static const struct field prompt_fields[] = {
    F(FIELD_STR, struct prompt_conf, model, "model", NULL, "the model that chooses",
      .flags = FIELD_REQUIRED),
    F(FIELD_STR, struct prompt_conf, instructions, "instructions", NULL, "what it is told"),
    F(FIELD_FLOAT, struct prompt_conf, timeout_seconds, "timeout_seconds", "5",
      "beyond: the first candidate", .min = 0, .max = 3600),
};

const struct select_ops select_prompt = {
    .name = "prompt", .block = "prompt",
    .fields = FIELDS(struct prompt_conf, prompt_fields), .pick = unbuilt_pick,
};
