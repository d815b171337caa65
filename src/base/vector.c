/* base/vector.c */
#include "base/vector.h"

#include <math.h>

enum { LANES = 16 };

float vector_inner(const float *a, const float *b, size_t n)
{
    float sum[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++)
            sum[k] += a[i + k] * b[i + k];
    }
    for (size_t k = 0; k < LANES && i < n; i++, k++)     /* fewer than LANES are left */
        sum[k] += a[i] * b[i];
    for (size_t half = LANES / 2; half; half /= 2) {
        for (size_t k = 0; k < half; k++)
            sum[k] += sum[k + half];
    }
    return sum[0];
}

void vector_add(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += from[i];
}

bool vector_unit(float *x, size_t n)
{
    float length = sqrtf(vector_inner(x, x, n));
    if (!(length > 0) || !isfinite(length))
        return false;
    for (size_t i = 0; i < n; i++)
        x[i] /= length;
    return true;
}
