/* Memory in huge pages: zeroed where promised, aligned, and bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/huge.h"

static void memory_of_all_sizes_is_zeroed_and_freed(void **state)
{
    (void)state;
    for (size_t bytes = 0; bytes < 5 * HUGE_BYTES; bytes = 3 * bytes + 1) {
        unsigned char *dirty = huge_alloc(bytes);
        assert_non_null(dirty);
        memset(dirty, 0xa5, bytes);
        free(dirty);
        unsigned char *p = huge_calloc(bytes, 1);
        assert_non_null(p);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(p[i], 0);
        if (bytes >= HUGE_BYTES)
            assert_int_equal((uintptr_t)p % HUGE_BYTES, 0);
        free(p);
    }
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    assert_null(huge_alloc(SIZE_MAX));
    assert_null(huge_alloc(SIZE_MAX - HUGE_BYTES));
    assert_null(huge_calloc(SIZE_MAX / 4, 16));         /* the product would wrap around */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_of_all_sizes_is_zeroed_and_freed),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
