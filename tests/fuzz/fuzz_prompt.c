/* tests/fuzz/fuzz_prompt.c -- what a helper may answer: one of the names, or a reason; and a quoted text never ends its quotation. */
#include <assert.h>
#include <stdlib.h>

#include "base/asking.h"
#include "select/prompt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const str names[] = { S("a"), S("small"), S("gpt-4"), S("gpt-4o"), S("org/m:free") };
    str text = { (const char *)data, n };
    struct arena *a = arena_new();
    const char *why;
    uint32_t k = prompt_read(a, text, names, COUNT_OF(names), &why);
    if (k < COUNT_OF(names))
        assert(!why && (str_find(text, names[k]) >= 0 || str_chr(text, '\\') >= 0));       /* said in so many words, or escaped */
    else
        assert(why);
    char mark[ASKING_MARK + 1];
    asking_mark(n, &text, 1, mark);
    assert(str_find(text, str_of(mark)) < 0);
    for (size_t most = 0; most < n; most += 1 + most)
        assert(asking_cut(a, text, most).len <= most + 64);
    str bare = asking_bare(text);
    assert(bare.len <= n);
    arena_free(a);
    return 0;
}
