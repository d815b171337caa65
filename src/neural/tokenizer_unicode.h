/* neural/tokenizer_unicode.h -- what `tokenizers` thinks of code points. */
#ifndef SBX_TOKENIZER_UNICODE_H
#define SBX_TOKENIZER_UNICODE_H

#include "base/str.h"

struct code_range { uint32_t first, last; };
struct lower_run { uint32_t first, last, step; int32_t add; };

/* General categories, in the order of the tables; a set of them is 1 << one | 1 << other. */
enum category {
    CAT_CN, CAT_LU, CAT_LL, CAT_LT, CAT_LM, CAT_LO, CAT_MN, CAT_MC, CAT_ME, CAT_ND, CAT_NL, CAT_NO, CAT_PC, CAT_PD, CAT_PS,
    CAT_PE, CAT_PI, CAT_PF, CAT_PO, CAT_SM, CAT_SC, CAT_SK, CAT_SO, CAT_ZS, CAT_ZL, CAT_ZP, CAT_CC, CAT_CF, CAT_CS, CAT_CO, CAT_COUNT
};

enum {                              /* bits of unicode_flags */
    CODE_SPACE = 1, CODE_CONTROL = 2, CODE_PUNCTUATION = 4, CODE_NONSPACING = 8, CODE_COMBINING = 16, CODE_NUMERIC = 32,
    CODE_CHINESE = 64,
    CODE_CHANGES = 128,             /* has another lower case, may decompose, or moves when marks are put in order */
};

enum { CODE_END = 0x110000, DECOMPOSED_MAX = 18 };

const uint8_t *unicode_flags(void);                 /* [CODE_END], made at the first call */
uint32_t unicode_lower(uint32_t code);              /* U+0130 gives i; the dot behind it is the caller's */
size_t   unicode_decompose(uint32_t code, bool is_compatible, uint32_t out[DECOMPOSED_MAX]);
uint32_t unicode_compose(uint32_t a, uint32_t b);   /* 0: they do not */
unsigned unicode_class(uint32_t code);              /* canonical combining class */
size_t   unicode_grapheme(str s, size_t at);        /* where the extended grapheme cluster that starts at `at` ends */

/* Run number *run of one category, from 0 on; *run moves on. CAT_COUNT behind the last. */
enum category unicode_run(size_t *run, struct code_range *out);
const struct code_range *unicode_han(size_t *n);
const struct code_range *unicode_space(size_t *n);

#endif
