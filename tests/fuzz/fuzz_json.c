/* tests/fuzz/fuzz_json.c -- our tape and yyjson judge the same bytes; then the splice editor changes them. */
#include "../unit/base/json_plan.h"

#include "base/hash.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str text = { (const char *)data, size };
    const char *why = oracle_judges(text);
    yyjson_doc *doc = why ? NULL : oracle_read(text, NULL);
    struct arena *a = arena_new();
    struct json j;
    if (doc && json_parse(a, text, &j, NULL) == 0)      /* not when it is too deep for us */
        why = plan_check(text, hash_stable(text, 0), 40);
    yyjson_doc_free(doc);
    arena_free(a);
    if (why) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
    return 0;
}
