/* The two sweeps of the multi-step neuron (see dynamics.py and fused.py).

   A block of neurons goes through all its timesteps before the next block is begun: so each number is read and written
   once, and the membrane potential stays in the nearest cache. Any number of threads may call a sweep with the same
   `Sweep`; each takes blocks until none is left.

   Compiled once for each dtype, with -DBITS=32 or -DBITS=64. */

#include <stdint.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#if BITS == 32
typedef float real;
typedef uint32_t word;
enum { MANTISSA = 23, BIAS = 127, LEAST_EXPONENT = -87, DEGREE = 7 };
#else
typedef double real;
typedef uint64_t word;
enum { MANTISSA = 52, BIAS = 1023, LEAST_EXPONENT = -708, DEGREE = 13 };
#endif

enum { BLOCK = 4096 };
enum { SIGMOID, ARCTAN, TRIANGLE, RECTANGLE };

/* Everything but `input` is contiguous; in `input` the neurons lie in rows of `inner` (a batch of samples, or one). */
typedef struct {
    int64_t timesteps, neurons, inner, stride_t, stride_row;
    double leak, input_scale, bias, threshold, v_rest, v_reset, alpha;
    int32_t soft_reset, detach_reset, surrogate;
    const real *input; /* x, or the gradient of the spikes */
    const real *before; /* forward: the potentials before the reset of the timestep before; null at rest */
    real *potential;   /* forward: written unless null; backward: read */
    real *output;      /* the spikes, or the gradient of x */
    int64_t next;      /* the first block that no thread has taken */
} Sweep;

typedef struct {
    int64_t size, first, place; /* its first neuron, and where that is in a timestep of the input */
} Block;

/* Inlined with constants for the options: only then do compilers vectorise the loops over neurons. */
#define INLINED static inline __attribute__((always_inline))

INLINED int take_block(Sweep *sweep, Block *block) {
    const int64_t in_row = (sweep->inner + BLOCK - 1) / BLOCK;
    const int64_t number = __atomic_fetch_add(&sweep->next, 1, __ATOMIC_RELAXED);
    const int64_t row = number / in_row, skipped = number % in_row * BLOCK, left = sweep->inner - skipped;
    block->size = left < BLOCK ? left : BLOCK;
    block->first = row * sweep->inner + skipped;
    block->place = row * sweep->stride_row + skipped;
    return block->first < sweep->neurons;
}

INLINED real after_reset(const int soft, real h, real spike, real threshold, real v_reset) {
    return soft ? h - threshold * spike : h * (1 - spike) + v_reset * spike;
}

INLINED void forward_block(const Sweep *sweep, const Block block, const int soft, const int keep) {
    const real scale = (real)sweep->input_scale, threshold = (real)sweep->threshold, v_reset = (real)sweep->v_reset;
    real v[BLOCK];
    if (sweep->before) {
        const real *restrict before = sweep->before + block.first;
        for (int64_t n = 0; n < block.size; n++) {
            const real h = before[n], spike = h - threshold >= 0 ? 1 : 0;
            v[n] = after_reset(soft, h, spike, threshold, v_reset);
        }
    } else
        for (int64_t n = 0; n < block.size; n++)
            v[n] = (real)sweep->v_rest;
    for (int64_t t = 0; t < sweep->timesteps; t++) {
        const int first = !t && !sweep->before;
        const real leak = first ? 1 : (real)sweep->leak, bias = first ? 0 : (real)sweep->bias;
        const real *restrict x = sweep->input + t * sweep->stride_t + block.place;
        real *restrict spikes = sweep->output + t * sweep->neurons + block.first;
        real *restrict potential = keep ? sweep->potential + t * sweep->neurons + block.first : 0;
        for (int64_t n = 0; n < block.size; n++) {
            const real h = v[n] * leak + x[n] * scale + bias;
            const real spike = h - threshold >= 0 ? 1 : 0;
            spikes[n] = spike;
            if (keep)
                potential[n] = h;
            v[n] = after_reset(soft, h, spike, threshold, v_reset);
        }
    }
}

void forward(Sweep *sweep) {
    const int soft = sweep->soft_reset, keep = sweep->potential != 0;
    for (Block block; take_block(sweep, &block);)
        if (soft)
            keep ? forward_block(sweep, block, 1, 1) : forward_block(sweep, block, 1, 0);
        else
            keep ? forward_block(sweep, block, 0, 1) : forward_block(sweep, block, 0, 0);
}

INLINED real magnitude(real u) { return BITS == 32 ? (real)__builtin_fabsf((float)u) : (real)__builtin_fabs(u); }

INLINED real multiply_add(real a, real b, real c) {
#if defined __FMA__ || defined __ARM_FEATURE_FMA
    return BITS == 32 ? (real)__builtin_fmaf((float)a, (float)b, (float)c) : (real)__builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}

static const real TAYLOR[] = {
    1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
    1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800,
};

/* exp(y), y <= 0, as 2^k exp(r) with the integer k and |r| <= ln(2)/2; never below the least normal number. */
INLINED real exp_of_negative(real y) {
    const real rounder = (real)3 * ((word)1 << (MANTISSA - 1)); /* no bits are left for a fraction */
    y = y > LEAST_EXPONENT ? y : LEAST_EXPONENT;
    const real shifted = y * (real)1.44269504088896340736 + rounder, k = shifted - rounder;
    const real r = multiply_add(k, (real)-0.69314718055994530942, y);
    real series = TAYLOR[DEGREE];
#pragma GCC unroll 16
    for (int term = DEGREE - 1; term >= 0; term--)
        series = multiply_add(series, r, TAYLOR[term]);
    word bits; /* the low ones are k: moved to the place of the exponent they make 2^k */
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + BIAS) << MANTISSA;
    real power;
    memcpy(&power, &bits, sizeof power);
    return series * power;
}

INLINED real derivative(const int surrogate, real alpha, real u) {
    switch (surrogate) {
    case SIGMOID: {
        const real e = exp_of_negative(-alpha * magnitude(u)); /* g(1 - g) is even; this way nothing overflows */
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

INLINED void backward_block(const Sweep *sweep, const Block block, const int surrogate, const int soft,
                            const int detach) {
    const real leak = (real)sweep->leak, scale = (real)sweep->input_scale, alpha = (real)sweep->alpha;
    const real threshold = (real)sweep->threshold, v_reset = (real)sweep->v_reset;
    real grad_v[BLOCK] = {0};
    for (int64_t t = sweep->timesteps - 1; t >= 0; t--) {
        const real *restrict grad_spikes = sweep->input + t * sweep->stride_t + block.place;
        const real *restrict potential = sweep->potential + t * sweep->neurons + block.first;
        real *restrict grad_x = sweep->output + t * sweep->neurons + block.first;
        for (int64_t n = 0; n < block.size; n++) {
            const real h = potential[n], u = h - threshold, slope = derivative(surrogate, alpha, u);
            const real kept = soft || u < 0 ? 1 : 0;
            const real moved = (soft ? -threshold : v_reset - h) * slope;
            const real grad_h = grad_spikes[n] * slope + grad_v[n] * (detach ? kept : kept + moved);
            grad_x[n] = grad_h * scale;
            grad_v[n] = grad_h * leak;
        }
    }
}

INLINED void backward_block_of(const int surrogate, const Sweep *sweep, const Block block) {
    const int detach = sweep->detach_reset;
    if (sweep->soft_reset)
        detach ? backward_block(sweep, block, surrogate, 1, 1) : backward_block(sweep, block, surrogate, 1, 0);
    else
        detach ? backward_block(sweep, block, surrogate, 0, 1) : backward_block(sweep, block, surrogate, 0, 0);
}

void backward(Sweep *sweep) {
    for (Block block; take_block(sweep, &block);)
        switch (sweep->surrogate) {
        case SIGMOID:
            backward_block_of(SIGMOID, sweep, block);
            break;
        case ARCTAN:
            backward_block_of(ARCTAN, sweep, block);
            break;
        case TRIANGLE:
            backward_block_of(TRIANGLE, sweep, block);
            break;
        case RECTANGLE:
            backward_block_of(RECTANGLE, sweep, block);
            break;
        }
}

/* Advises huge pages for a fresh array of 4 MiB or more, as numpy does: the faults of the pages that receive the
   results cost more than the arithmetic. */
void expect_huge_pages(char *start, int64_t bytes) {
#ifdef MADV_HUGEPAGE
    const int64_t page = 4096, skipped = page - (int64_t)((uintptr_t)start % page);
    if (bytes >= 4 << 20)
        madvise(start + skipped, (size_t)(bytes - skipped), MADV_HUGEPAGE);
#else
    (void)start, (void)bytes;
#endif
}
