/* tests/fuzz/fuzz_tokenizer.c -- a tokenizer.json, a zero byte, a text: nothing crashes, and offsets stay inside the text. */
#include <stdint.h>
#include <stdlib.h>

#include "neural/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct tokens *tokens, size_t len)
{
    for (uint32_t i = 0; i < tokens->n; i++) {
        if (tokens->from[i] > len || tokens->to[i] > len)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str file = { (const char *)data, size }, text = S("");
    long cut = str_chr(file, 0);
    if (cut >= 0) {
        text = str_from(file, (size_t)cut + 1);
        file = str_upto(file, (size_t)cut);
    }
    struct err e = { 0 };
    struct tokenizer *t = tokenizer_parse(file, "fuzz", &e);
    if (!t) {
        if (!e.text[0])
            abort();                                    /* a refusal gives its reason */
        return 0;
    }
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    struct tokens one, again, pair;
    str half = str_from(text, text.len / 2);
    if (s && tokenizer_encode(t, text, (str){ 0 }, true, s, &one) == 0) {
        check(&one, text.len);
        uint32_t n = one.n;
        if (tokenizer_encode(t, text, (str){ 0 }, true, s, &again) == 0 && again.n != n)
            abort();                                    /* remembered words are the same words */
    }
    if (s && tokenizer_encode(t, str_upto(text, text.len / 2), half, false, s, &pair) == 0)
        check(&pair, text.len);
    for (int32_t id = -1; id <= (int32_t)tokenizer_vocabulary(t) && id < 1000; id++)
        tokenizer_token(t, id);
    tokenizer_frame(t);
    tokenizer_scratch_free(s);
    tokenizer_close(t);
    return 0;
}
