/* neural/rope.h -- rotary positions: which angle each pair of a head turns by at each place in the text. */
#ifndef SBX_ROPE_H
#define SBX_ROPE_H

#include "base/err.h"
#include "base/json.h"

enum rope_kind { ROPE_DEFAULT, ROPE_LINEAR, ROPE_YARN };

struct rope {
    enum rope_kind kind;
    double theta;                           /* base of the wavelengths */
    double factor;                          /* LINEAR, YARN: positions are stretched by it */
    double attention_factor;                /* cosines and sines are multiplied by it; 1 but for YARN */
    double beta_fast, beta_slow;            /* YARN: with so many turns within the original length a pair keeps its angle, with so
                                             * few it is stretched; a ramp between */
    double original_positions;              /* YARN: length the model was trained on */
};

/* Reads `params` (an object {rope_type, rope_theta, factor, ...} of config.json, or JSON_NONE) over the values that *r has, which
 * are the defaults. `place` names the object in messages: "config.json: rope_scaling". 0, or -1 and *e. */
int rope_read(struct rope *r, const struct json *config, jref params, uint32_t positions, const char *place, struct err *e);

bool rope_equal(const struct rope *a, const struct rope *b);

/* [positions][d], of each position d/2 cosines and then d/2 sines, as kernel.h's rotate wants them. d is even. In `a`; NULL: no
 * memory. */
float *rope_table(const struct rope *r, uint32_t positions, uint32_t d, struct arena *a);

#endif
