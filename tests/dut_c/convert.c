#include "convert.h"

#include <string.h>

#include "bytes.h"
#include "float.h"

uint32_t load_code(const struct tensor *t, int64_t at)
{
    if (t->format == E2M1)
        return (uint32_t)t->data[at >> 1] >> (at & 1 ? 4 : 0) & 15;
    return t->data[at];
}

/* A nibble leaves its neighbour alone. */
void store_code(const struct tensor *t, int64_t at, uint32_t code)
{
    if (t->format == E2M1) {
        uint8_t *p = &t->data[at >> 1];
        *p = (uint8_t)(at & 1 ? (*p & 0x0f) | code << 4 : (*p & 0xf0) | code);
    } else {
        t->data[at] = (uint8_t)code;
    }
}

/* The loops differ in one expression: x is the place of an element or its number. */
#define LOAD_BYTES(width, expression)                              \
    do {                                                           \
        const uint8_t *x = t->data + first * (width);              \
        for (int64_t i = 0; i < n; i++, x += step * (width))       \
            to[i] = (expression);                                  \
    } while (0)

void load_floats(const struct tensor *t, int64_t first, int64_t step, int64_t n, float *to)
{
    switch (t->format) {
    case FP32: LOAD_BYTES(4, float_of(load32(x))); break;
    case BF16: LOAD_BYTES(2, decode_bf16(load16(x))); break;
    case FP16: LOAD_BYTES(2, decode_fp16(load16(x))); break;
    case E4M3FN: LOAD_BYTES(1, decode_e4m3fn(*x)); break;
    case E5M2: LOAD_BYTES(1, decode_e5m2(*x)); break;
    case E8M0: LOAD_BYTES(1, decode_e8m0(*x)); break;
    case I32: LOAD_BYTES(4, (float)as_signed32(load32(x))); break;
    case U8: LOAD_BYTES(1, (float)*x); break;
    default: /* E2M1 */
        for (int64_t i = 0; i < n; i++)
            to[i] = decode_e2m1(load_code(t, first + i * step));
    }
}

#define STORE_BYTES(width, statement)                              \
    do {                                                           \
        uint8_t *x = t->data + first * (width);                    \
        for (int64_t i = 0; i < n; i++, x += step * (width))       \
            statement;                                             \
    } while (0)

static bool store_e2m1(const struct tensor *t, int64_t first, int64_t step, int64_t n,
                       const float *from)
{
    bool nan = false;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = bits_of(from[i]);
        nan = nan || is_nan_bits(bits);
        store_code(t, first + i * step, encode_e2m1(bits));
    }
    return nan;
}

bool store_floats(const struct tensor *t, int64_t first, int64_t step, int64_t n, const float *from,
                  bool saturate)
{
    switch (t->format) {
    case FP32: STORE_BYTES(4, store32(x, canonical(from[i]))); break;
    case BF16: STORE_BYTES(2, store16(x, encode_bf16(bits_of(from[i])))); break;
    case FP16: STORE_BYTES(2, store16(x, encode_fp16(bits_of(from[i])))); break;
    case E4M3FN:
        if (saturate)
            STORE_BYTES(1, *x = (uint8_t)encode_e4m3fn(bits_of(from[i]), true));
        else
            STORE_BYTES(1, *x = (uint8_t)encode_e4m3fn(bits_of(from[i]), false));
        break;
    case E5M2:
        if (saturate)
            STORE_BYTES(1, *x = (uint8_t)encode_e5m2(bits_of(from[i]), true));
        else
            STORE_BYTES(1, *x = (uint8_t)encode_e5m2(bits_of(from[i]), false));
        break;
    case I32: STORE_BYTES(4, store32(x, (uint32_t)encode_i32(from[i]))); break;
    default: return store_e2m1(t, first, step, n, from);
    }
    return false;
}

void load_words(const struct tensor *t, int64_t first, int64_t step, int64_t n, uint32_t *to)
{
    LOAD_BYTES(4, load32(x));
}

void store_words(const struct tensor *t, int64_t first, int64_t step, int64_t n,
                 const uint32_t *from)
{
    STORE_BYTES(4, store32(x, from[i]));
}

void copy_elements(const struct tensor *to, int64_t to_first, int64_t to_step,
                   const struct tensor *from, int64_t from_first, int64_t from_step, int64_t n)
{
    int64_t bits = (int64_t)format_bits(to->format), bytes = bits / 8;
    if (to_step == 1 && from_step == 1) {
        memmove(to->data + to_first * bits / 8, from->data + from_first * bits / 8,
                (size_t)(n * bits / 8));
        return;
    }
    uint8_t *x = to->data + to_first * bytes;
    const uint8_t *y = from->data + from_first * bytes;
    for (int64_t i = 0; i < n; i++, x += to_step * bytes, y += from_step * bytes)
        switch (bytes) {
        case 1: *x = *y; break;
        case 2: store16(x, load16(y)); break;
        default: store32(x, load32(y));
        }
}
