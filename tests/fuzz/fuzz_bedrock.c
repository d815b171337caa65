/* tests/fuzz/fuzz_bedrock.c -- Converse and InvokeModel in, every dialect out. The top bit of the first byte chooses. */
#include <stdio.h>
#include <stdlib.h>

#include "dialect_talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    talk_about(dialect_by_name(size && data[0] & 0x80 ? S("bedrock_invoke") : S("bedrock")), data, size);
    return 0;
}
