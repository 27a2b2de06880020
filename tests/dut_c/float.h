/* Numbers: FP32 patterns, and one element of every format. Pages formats.md and numerics.md.
 *
 * FP32 arithmetic is the host's: IEEE 754 binary32, to nearest even, with subnormals. Its NaNs may
 * have any pattern; they become canonical when a result is stored.
 */
#ifndef FLOAT_H
#define FLOAT_H

#include <float.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0
#error "float expressions must be evaluated in float: each operation is rounded by itself"
#endif
#if FLT_RADIX != 2 || FLT_MANT_DIG != 24 || DBL_MANT_DIG != 53
#error "float and double must be IEEE 754 binary32 and binary64"
#endif

#define CANONICAL_NAN 0x7fc00000u
#define INFINITY_BITS 0x7f800000u

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline bool is_nan_bits(uint32_t bits) { return (bits & 0x7fffffffu) > INFINITY_BITS; }

/* The pattern of a result: there is one NaN. */
static inline uint32_t canonical(float x)
{
    uint32_t bits = bits_of(x);
    return is_nan_bits(bits) ? CANONICAL_NAN : bits;
}

/* Minimum and maximum of IEEE 754-2019: -0 is below +0, a NaN operand makes NaN. */
static inline float minimum(float x, float y)
{
    if (x != x || y != y)
        return float_of(CANONICAL_NAN);
    if (x == y)
        return float_of(bits_of(x) | bits_of(y)); /* equal, or zeros: -0 if any is */
    return x < y ? x : y;
}

static inline float maximum(float x, float y)
{
    if (x != x || y != y)
        return float_of(CANONICAL_NAN);
    if (x == y)
        return float_of(bits_of(x) & bits_of(y));
    return x < y ? y : x;
}

/* 2^e as a double, -1022 <= e <= 1023. */
static inline double power_of_two(int e)
{
    uint64_t bits = (uint64_t)(e + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- Decoding: exact */

/* A code with `m` mantissa bits and a bias below FP32's; neither infinity nor NaN. */
static inline float decode_small(uint32_t code, unsigned width, unsigned m, unsigned bias)
{
    uint32_t sign = code >> (width - 1) << 31, magnitude = code & ((1u << (width - 1)) - 1);
    uint32_t bits = (magnitude << (23 - m)) + ((127 - bias) << 23);
    if (magnitude >> m == 0) /* subnormal: a multiple of 2^(1 - bias - m) */
        bits = bits_of((float)magnitude * float_of((128 - bias - m) << 23));
    return float_of(sign | bits);
}

static inline float decode_bf16(uint32_t code) { return float_of(code << 16); }

static inline float decode_fp16(uint32_t code)
{
    if ((code & 0x7c00) == 0x7c00)
        return float_of((code & 0x8000) << 16 | INFINITY_BITS | (code & 0x3ff) << 13);
    return decode_small(code, 16, 10, 15);
}

static inline float decode_e4m3fn(uint32_t code)
{
    return (code & 0x7f) == 0x7f ? float_of(CANONICAL_NAN) : decode_small(code, 8, 3, 7);
}

static inline float decode_e5m2(uint32_t code)
{
    if ((code & 0x7c) == 0x7c)
        return float_of((code & 0x80) << 24 | INFINITY_BITS | (code & 3) << 21);
    return decode_small(code, 8, 2, 15);
}

static inline float decode_e2m1(uint32_t code) { return decode_small(code, 4, 1, 1); }

static inline float decode_e8m0(uint32_t code)
{
    if (code == 0xff)
        return float_of(CANONICAL_NAN);
    return float_of(code == 0 ? 1u << 22 : code << 23); /* 2^-127 is subnormal */
}

/* ---- Encoding: to nearest, ties to the even code */

/* What a narrow format does where its numbers end. */
struct narrow {
    unsigned width, m, bias;
    uint32_t largest;  /* code of the largest value */
    uint32_t overflow; /* code of what is above it */
    uint32_t nan;
};

static inline uint32_t round_shift(uint32_t x, unsigned by)
{
    return (x + ((1u << (by - 1)) - 1) + (x >> by & 1)) >> by;
}

/* `f` is constant where this is inlined. Infinity is above the largest value, too. */
static inline uint32_t encode_narrow(uint32_t bits, struct narrow f)
{
    uint32_t sign = bits >> 31 << (f.width - 1), magnitude = bits & 0x7fffffffu, code;
    uint32_t exponent = magnitude >> 23, fraction = magnitude & 0x7fffffu;
    unsigned drop = 23 - f.m;
    if (magnitude > INFINITY_BITS)
        return f.nan;
    if (f.bias == 127 || exponent >= 128 - f.bias) { /* normal there; BF16 has FP32's exponents */
        code = round_shift(magnitude - ((127 - f.bias) << 23), drop);
        return sign | (code > f.largest ? f.overflow : code);
    }
    unsigned shift = drop + (128 - f.bias) - exponent;
    if (shift > 24 || exponent == 0)
        return sign; /* below half of the smallest */
    return sign | round_shift(fraction | 1u << 23, shift);
}

static inline uint32_t encode_bf16(uint32_t bits)
{
    return encode_narrow(bits, (struct narrow){16, 7, 127, 0x7f7f, 0x7f80, 0x7fc0});
}

static inline uint32_t encode_fp16(uint32_t bits)
{
    return encode_narrow(bits, (struct narrow){16, 10, 15, 0x7bff, 0x7c00, 0x7e00});
}

/* The canonical NaN has no sign, also where it stands for an overflow. */
static inline uint32_t encode_e4m3fn(uint32_t bits, bool saturate)
{
    if (saturate)
        return encode_narrow(bits, (struct narrow){8, 3, 7, 0x7e, 0x7e, 0x7f});
    uint32_t code = encode_narrow(bits, (struct narrow){8, 3, 7, 0x7e, 0x7f, 0x7f});
    return (code & 0x7f) == 0x7f ? 0x7f : code;
}

static inline uint32_t encode_e5m2(uint32_t bits, bool saturate)
{
    if (saturate)
        return encode_narrow(bits, (struct narrow){8, 2, 15, 0x7b, 0x7b, 0x7e});
    return encode_narrow(bits, (struct narrow){8, 2, 15, 0x7b, 0x7c, 0x7e});
}

/* NaN is +6; whoever stores it sets the sticky bit. */
static inline uint32_t encode_e2m1(uint32_t bits)
{
    return encode_narrow(bits, (struct narrow){4, 1, 1, 7, 7, 7});
}

/* To nearest, ties to even, saturating; NaN gives 0. */
static inline int32_t encode_i32(float x)
{
    const double magic = 6755399441055744.0; /* 1.5 * 2^52: its sums are integers */
    if (x != x)
        return 0;
    if (x >= 2147483648.0f)
        return INT32_MAX;
    if (x < -2147483648.0f)
        return INT32_MIN;
    return (int32_t)((double)x + magic - magic);
}

#endif
