/* tests/fuzz/fuzz_unfold.c -- any bytes as what a tool brought: unfolding ends, is no longer than the text, leaves what is no JSON where it
 * is, and loses no string that is JSON's own. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "signal/unfold.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);                      /* to its last byte, so that a read behind it is seen */
    struct arena *a = arena_new();
    struct json j;
    struct json_error e;
    str s = { memcpy(text + 1, data, size), size }, got = unfold(s, a);
    bool is_list = json_parse(a, s, &j, &e) == 0 && (json_is(&j, 0, JSON_OBJECT) || json_is(&j, 0, JSON_ARRAY));
    must(got.len <= size, "it grows");
    must(is_list || got.ptr == s.ptr || str_trim(s).len < size, "it is no JSON, and was changed");
    for (jref n = 0; is_list && n < j.n; n++) {
        str one = json_str(&j, n, a);
        must(strchr("[{", one.len ? str_trim(one).len ? str_trim(one).ptr[0] : 'x' : 'x') || str_find(got, one) >= 0, "a string is lost");
    }
    arena_free(a);
    free(text);
    return 0;
}
