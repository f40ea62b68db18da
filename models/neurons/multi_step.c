/* The two sweeps of the multi-step neuron (see dynamics.py and fused.py), for one run of neurons at a time.

   Neurons are numbered through the batch, `inner` of them in each sample; `x` and `grad_spikes` may have any stride over
   timesteps and samples, everything else is contiguous. A block of neurons lives through all its timesteps before the
   next block, so that each number is read and written once and the membrane potential stays in the first-level cache.

   Compiled once per dtype, with -DBITS=32 or -DBITS=64. */

#include <stdint.h>
#include <string.h>

#if BITS == 32
typedef float real;
typedef uint32_t word;
enum { MANTISSA = 23, BIAS = 127, DEGREE = 7 };
#else
typedef double real;
typedef uint64_t word;
enum { MANTISSA = 52, BIAS = 1023, DEGREE = 13 };
#endif

enum { BLOCK = 4096 };
enum { SIGMOID, ARCTAN, TRIANGLE, RECTANGLE };

#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef struct {
    int64_t timesteps, neurons, inner; /* `neurons` in all, `inner` in each sample */
    int64_t stride_t, stride_b;        /* of the input of the sweep */
    double leak, input_scale, bias, threshold, v_rest, v_reset, alpha;
    int32_t soft_reset, detach_reset, surrogate;
} Sweep;

#ifdef __FP_FAST_FMA
ALWAYS_INLINE real multiply_add(real a, real b, real c) {
    return BITS == 32 ? (real)__builtin_fmaf((float)a, (float)b, (float)c) : (real)__builtin_fma(a, b, c);
}
#else
ALWAYS_INLINE real multiply_add(real a, real b, real c) { return a * b + c; }
#endif

ALWAYS_INLINE real magnitude(real u) { return BITS == 32 ? (real)__builtin_fabsf((float)u) : (real)__builtin_fabs(u); }

static const real TAYLOR[] = {
    1.0,          1.0,           1.0 / 2,        1.0 / 6,         1.0 / 24,         1.0 / 120,         1.0 / 720,
    1.0 / 5040,   1.0 / 40320,   1.0 / 362880,   1.0 / 3628800,   1.0 / 39916800,   1.0 / 479001600,   1.0 / 6227020800,
};

/* exp(y) for y <= 0, as 2^k times the Taylor series on [-ln(2)/2, ln(2)/2]; the smallest normal numbers stay at that. */
ALWAYS_INLINE real exp_of_negative(real y) {
    const real lowest = BITS == 32 ? -87 : -708;
    const real to_integer = (real)3 * ((word)1 << (MANTISSA - 1)); /* adding this rounds to an integer */
    y = y > lowest ? y : lowest;
    const real shifted = y * (real)1.44269504088896340736 + to_integer;
    const real r = multiply_add(shifted - to_integer, (real)-0.69314718055994530942, y);
    real series = TAYLOR[DEGREE];
#pragma GCC unroll 16
    for (int term = DEGREE - 1; term >= 0; term--)
        series = multiply_add(series, r, TAYLOR[term]);
    word power; /* the low bits of `shifted` are k; in the place of the exponent they make 2^k */
    memcpy(&power, &shifted, sizeof power);
    power = (power + BIAS) << MANTISSA;
    real two_to_k;
    memcpy(&two_to_k, &power, sizeof two_to_k);
    return series * two_to_k;
}

ALWAYS_INLINE real derivative(int surrogate, real alpha, real u) {
    switch (surrogate) {
    case SIGMOID: {
        const real e = exp_of_negative(-alpha * magnitude(u)); /* g(1 - g) is even, and this way nothing overflows */
        return alpha * e / ((1 + e) * (1 + e));
    }
    case ARCTAN: {
        const real scaled = (real)1.57079632679489661923 * alpha * u;
        return alpha / 2 / (1 + scaled * scaled);
    }
    case TRIANGLE: {
        const real height = alpha - alpha * alpha * magnitude(u);
        return height > 0 ? height : 0;
    }
    default:
        return magnitude(u) <= alpha / 2 ? 1 / alpha : 0;
    }
}

ALWAYS_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void forward_block(const Sweep *sweep, int64_t size, const real *restrict x, real *restrict spikes,
                          real *restrict potential) {
    const real scale = (real)sweep->input_scale, threshold = (real)sweep->threshold, v_reset = (real)sweep->v_reset;
    const int soft = sweep->soft_reset;
    real v[BLOCK];
    for (int64_t n = 0; n < size; n++)
        v[n] = (real)sweep->v_rest;
    for (int64_t t = 0; t < sweep->timesteps; t++) {
        const real leak = t ? (real)sweep->leak : 1, bias = t ? (real)sweep->bias : 0;
        for (int64_t n = 0; n < size; n++) {
            const real h = v[n] * leak + x[n] * scale + bias;
            const real spike = h - threshold >= 0 ? 1 : 0;
            spikes[n] = spike;
            if (potential)
                potential[n] = h;
            v[n] = soft ? h - threshold * spike : h * (1 - spike) + v_reset * spike;
        }
        x += sweep->stride_t;
        spikes += sweep->neurons;
        potential += potential ? sweep->neurons : 0;
    }
}

/* All pointers are at the last timestep. */
ALWAYS_INLINE void backward_block(const Sweep *sweep, int surrogate, int64_t size, const real *restrict grad_spikes,
                                  const real *restrict potential, real *restrict grad_x) {
    const real leak = (real)sweep->leak, scale = (real)sweep->input_scale, alpha = (real)sweep->alpha;
    const real threshold = (real)sweep->threshold, v_reset = (real)sweep->v_reset;
    const int soft = sweep->soft_reset, detach = sweep->detach_reset;
    real grad_v[BLOCK] = {0};
    for (int64_t t = sweep->timesteps; t > 0; t--) {
        for (int64_t n = 0; n < size; n++) {
            const real h = potential[n], u = h - threshold, slope = derivative(surrogate, alpha, u);
            const real kept = soft || u < 0 ? 1 : 0;
            const real moved = detach ? 0 : (soft ? -threshold : v_reset - h) * slope;
            const real grad_h = grad_spikes[n] * slope + grad_v[n] * (kept + moved);
            grad_x[n] = grad_h * scale;
            grad_v[n] = grad_h * leak;
        }
        grad_spikes -= sweep->stride_t;
        potential -= sweep->neurons;
        grad_x -= sweep->neurons;
    }
}

ALWAYS_INLINE void backward_run(const Sweep *sweep, int surrogate, const real *grad_spikes, const real *potential,
                                real *grad_x, int64_t begin, int64_t end) {
    const int64_t last = sweep->timesteps - 1;
    for (int64_t at = begin, size; at < end; at += size) {
        const int64_t sample = at / sweep->inner, place = at % sweep->inner;
        size = least(BLOCK, least(end - at, sweep->inner - place));
        backward_block(sweep, surrogate, size, grad_spikes + last * sweep->stride_t + sample * sweep->stride_b + place,
                       potential + last * sweep->neurons + at, grad_x + last * sweep->neurons + at);
    }
}

void forward(const Sweep *sweep, const real *x, real *spikes, real *potential, int64_t begin, int64_t end) {
    for (int64_t at = begin, size; at < end; at += size) {
        const int64_t sample = at / sweep->inner, place = at % sweep->inner;
        size = least(BLOCK, least(end - at, sweep->inner - place));
        forward_block(sweep, size, x + sample * sweep->stride_b + place, spikes + at, potential ? potential + at : 0);
    }
}

void backward(const Sweep *sweep, const real *grad_spikes, const real *potential, real *grad_x, int64_t begin,
              int64_t end) {
    switch (sweep->surrogate) {
    case SIGMOID:
        return backward_run(sweep, SIGMOID, grad_spikes, potential, grad_x, begin, end);
    case ARCTAN:
        return backward_run(sweep, ARCTAN, grad_spikes, potential, grad_x, begin, end);
    case TRIANGLE:
        return backward_run(sweep, TRIANGLE, grad_spikes, potential, grad_x, begin, end);
    case RECTANGLE:
        return backward_run(sweep, RECTANGLE, grad_spikes, potential, grad_x, begin, end);
    }
}
