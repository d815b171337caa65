/* neural/kernel_512_end.h -- ends what kernel_512.h began: from here on code is for any CPU again. No guard: one pop a push. */
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
