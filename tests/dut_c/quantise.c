/* The quantise unit: vquant and vquantr. Page numerics.md, The quantise unit. */
#include "convert.h"
#include "float.h"
#include "vector.h"

/* A run of elements of one row that share a scale. */
struct block {
    const struct tensor *dst, *src;
    int64_t row, begin, end;
};

static int64_t source_at(const struct block *b, int64_t k)
{
    return b->row * b->src->stride[0] + k * b->src->stride[1];
}

static int64_t target_at(const struct block *b, int64_t k)
{
    return b->row * b->dst->stride[0] + k * b->dst->stride[1];
}

/* The largest pattern with its sign cleared; NaNs are above all numbers. */
static uint32_t largest(const struct block *b)
{
    uint32_t amax = 0;
    float x[CHUNK];
    for (int64_t at = b->begin; at < b->end; at += CHUNK) {
        int64_t n = b->end - at < CHUNK ? b->end - at : CHUNK;
        load_floats(b->src, source_at(b, at), b->src->stride[1], n, x);
        for (int64_t i = 0; i < n; i++)
            if ((bits_of(x[i]) & 0x7fffffffu) > amax)
                amax = bits_of(x[i]) & 0x7fffffffu;
    }
    return amax;
}

static bool is_special(uint32_t amax) { return amax >= INFINITY_BITS; }

static void fill_zeros(const struct block *b)
{
    for (int64_t k = b->begin; k < b->end; k++)
        store_code(b->dst, target_at(b, k), 0);
}

/* ---- MX scales: powers of two, chosen by integers alone */

static uint32_t mx_code(unsigned format, uint32_t amax, bool floor)
{
    uint32_t emax = format == E4M3FN ? 8 : format == E5M2 ? 15 : 2;
    uint32_t fraction = format == E2M1 ? 0x400000 : 0x600000;
    if (amax == 0)
        return 0;
    uint32_t code = (amax >> 23) + ((amax & 0x7fffff) > fraction && !floor ? 1 : 0);
    return code < emax ? 0 : code - emax;
}

/* x * 2^(127 - code), computed where no power of two is beyond the range. */
static void mx_elements(const struct block *b, uint32_t code)
{
    double factor = power_of_two(127 - (int)code);
    float x[CHUNK];
    for (int64_t at = b->begin; at < b->end; at += CHUNK) {
        int64_t n = b->end - at < CHUNK ? b->end - at : CHUNK;
        load_floats(b->src, source_at(b, at), b->src->stride[1], n, x);
        for (int64_t i = 0; i < n; i++)
            x[i] = (float)((double)x[i] * factor);
        (void)store_floats(b->dst, target_at(b, at), b->dst->stride[1], n, x, true);
    }
}

/* Quantises a block; the code of its scale. */
static uint32_t mx_block(const struct block *b, bool floor)
{
    uint32_t amax = largest(b);
    if (is_special(amax)) {
        fill_zeros(b);
        return 0xff;
    }
    uint32_t code = mx_code(b->dst->format, amax, floor);
    mx_elements(b, code);
    return code;
}

/* ---- NV16 scales */

static bool nv_elements(const struct block *b, float r, uint32_t code)
{
    float scale = decode_e4m3fn(code & 0x7f), x[16]; /* a scale's sign is ignored */
    int64_t n = b->end - b->begin;
    load_floats(b->src, source_at(b, b->begin), b->src->stride[1], n, x);
    for (int64_t i = 0; i < n; i++) {
        float scaled = x[i] * r;
        /* a scale of zero: zeros with the signs of the elements */
        x[i] = (code & 0x7f) == 0 ? float_of(bits_of(x[i]) & 0x80000000u) : scaled / scale;
    }
    return store_floats(b->dst, target_at(b, b->begin), b->dst->stride[1], n, x, true);
}

static uint32_t nv_block(const struct block *b, float r, bool *sticky)
{
    uint32_t amax = largest(b);
    if (is_special(amax)) {
        fill_zeros(b);
        *sticky = true;
        return 0x7f;
    }
    float scaled = float_of(amax) * r;
    uint32_t code = encode_e4m3fn(bits_of(scaled / 6.0f), true);
    if (nv_elements(b, r, code))
        *sticky = true;
    return code;
}

static void quantise(struct tile *t, const struct issue *i, const struct tensor *dst,
                     const struct tensor *src)
{
    uint32_t ts = (uint32_t)i->number;
    float r = 1.0f / (ts == 0 ? 1.0f : float_of(ts));
    int64_t length = scale_block(dst->scale_kind), width = dst->dim[1];
    for (int64_t row = 0; row < dst->dim[0]; row++)
        for (int64_t k = 0; k < width; k += length) {
            struct block b = {dst, src, row, k, k + length < width ? k + length : width};
            uint32_t code = dst->scale_kind == NV16 ? nv_block(&b, r, &t->sticky)
                                                    : mx_block(&b, field_flags(i->word) != 0);
            *scale_place(dst, row, k / length) = (uint8_t)code;
        }
}

enum fault vector_quantise(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o[2] = {
        tsram_operand(&i->d[0], BIT(E4M3FN) | BIT(E5M2) | BIT(E2M1), 2, true),
        tsram_operand(&i->d[1], FLOATS, 2, false)};
    o[0].scales = BIT(MX32) | BIT(NV16);
    enum fault fault = check_descriptors(m, t, o, 2);
    if (fault == FAULT_NONE)
        fault = check_formats(o, 2);
    if (fault == FAULT_NONE && o[0].t.scale_kind == NV16 && field_flags(i->word) != 0)
        fault = FORMAT_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_shapes(o, 2);
    if (fault == FAULT_NONE && !same_shape(&o[0].t, &o[1].t))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, 2);
    if (fault == FAULT_NONE)
        quantise(t, i, &o[0].t, &o[1].t);
    return fault;
}

enum fault vector_quantise_rows(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o[3] = {tsram_operand(&i->d[0], BIT(E4M3FN) | BIT(E5M2), 2, true),
                           tsram_operand(&i->d[1], BIT(E8M0), 2, true),
                           tsram_operand(&i->d[2], FLOATS, 2, false)};
    const struct tensor *dst = &o[0].t, *scale = &o[1].t;
    enum fault fault = check_descriptors(m, t, o, 3);
    if (fault == FAULT_NONE)
        fault = check_formats(o, 3);
    if (fault == FAULT_NONE)
        fault = check_shapes(o, 3);
    if (fault == FAULT_NONE && (!same_shape(dst, &o[2].t) || scale->dim[0] != dst->dim[0] ||
                                scale->dim[1] != 1))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, 3);
    for (int64_t row = 0; fault == FAULT_NONE && row < dst->dim[0]; row++) {
        struct block b = {dst, &o[2].t, row, 0, dst->dim[1]};
        store_code(scale, row * scale->stride[0], mx_block(&b, field_flags(i->word) != 0));
    }
    return fault;
}
