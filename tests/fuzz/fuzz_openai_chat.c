/* tests/fuzz/fuzz_openai_chat.c -- Chat Completions in, every dialect out. */
#include <stdio.h>
#include <stdlib.h>

#include "dialect_talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    talk_about(dialect_by_name(S("openai_chat")), data, size);
    return 0;
}
