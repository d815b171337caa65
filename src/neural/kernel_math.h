/* neural/kernel_math.h -- e^x and the activations, for vectors of any width (see kernel_loops.h for what a vector is).
 *
 * Bounds are over all floats: e^x 2e-7 relative; GELU 4e-7, its tanh form and SiLU 5e-7 (beyond |x| = 1: relative), tanh 2e-7. */

/* e^x to 2e-7 relative; 2e-35 below -80 (denormal numbers, here or in what follows, cost a hundred cycles each), infinity
 * from 89 on; NaN stays. n = round(x / ln 2), and a Taylor series of the rest, |r| <= ln 2 / 2. */
static inline vec vec_exp(vec x)
{
    x = vec_min(vec_set(89), vec_max(vec_set(-80), x));
    vec n = vec_round(x * vec_set(1.44269504f));
    vec r = vec_fma(n, vec_set(-0.693145752f), x);
    r = vec_fma(n, vec_set(-1.42860677e-6f), r);
    vec p = vec_set(1.0f / 720);
    p = vec_fma(p, r, vec_set(1.0f / 120));
    p = vec_fma(p, r, vec_set(1.0f / 24));
    p = vec_fma(p, r, vec_set(1.0f / 6));
    p = vec_fma(p, r, vec_set(0.5f));
    p = vec_fma(p, r, vec_set(1));
    p = vec_fma(p, r, vec_set(1));
    return vec_ldexp(p, n);
}

/* x Phi(x) = max(x, 0) - |x| Phi(-|x|); erfc by Abramowitz and Stegun 7.1.26, whose error is 1.5e-7: below 4e-7 here. */
static inline vec vec_gelu(vec x)
{
    vec a = vec_abs(x), z = a * vec_set(0.70710678f);
    vec t = vec_set(1) / vec_fma(z, vec_set(0.3275911f), vec_set(1));
    vec p = vec_set(1.061405429f);
    p = vec_fma(p, t, vec_set(-1.453152027f));
    p = vec_fma(p, t, vec_set(1.421413741f));
    p = vec_fma(p, t, vec_set(-0.284496736f));
    p = vec_fma(p, t, vec_set(0.254829592f));
    vec half_erfc = vec_set(0.5f) * p * t * vec_exp(vec_set(0) - z * z);
    return vec_max(vec_set(0), x) - a * half_erfc;
}

static inline vec vec_silu(vec x)
{
    return x / (vec_set(1) + vec_exp(vec_set(0) - x));
}

static inline vec vec_gelu_tanh(vec x)              /* (1 + tanh u) / 2 = 1 / (1 + e^-2u) */
{
    vec minus_2u = x * vec_fma(x * x, vec_set(-0.0713548162f), vec_set(-1.59576912f));
    return x / (vec_set(1) + vec_exp(minus_2u));
}

static inline vec vec_tanh(vec x)                   /* absolute error 1e-7 */
{
    return vec_set(1) - vec_set(2) / (vec_set(1) + vec_exp(x + x));
}

static inline __attribute__((always_inline)) vec vec_activate(enum activation kind, vec x)
{
    switch (kind) {
    case ACTIVATION_NONE:      break;
    case ACTIVATION_GELU:      return vec_gelu(x);
    case ACTIVATION_GELU_TANH: return vec_gelu_tanh(x);
    case ACTIVATION_RELU:      return vec_max(vec_set(0), x);
    case ACTIVATION_SILU:      return vec_silu(x);
    case ACTIVATION_TANH:      return vec_tanh(x);
    }
    return x;
}
