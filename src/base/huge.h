/* base/huge.h -- memory for large tables that are looked at here and there: in huge pages where the system has them, because each look at
 * another small page costs a walk through the page table. free() takes it back. */
#ifndef SBX_HUGE_H
#define SBX_HUGE_H

#include <stddef.h>

enum { HUGE_BYTES = 2 << 20 };          /* a page */

void *huge_alloc(size_t bytes);                 /* not zeroed; small ones are malloc's. NULL: no memory */
void *huge_calloc(size_t n, size_t bytes);      /* zeroed */

#endif
