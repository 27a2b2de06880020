/* vargmax and vtopk: NaN > +Inf > ... > +0 > -0 > ... > -Inf, equal elements by index. */
#include "convert.h"
#include "float.h"
#include "vector.h"

/* A number that orders as the elements do. All NaNs are alike. */
static uint32_t rank_of(float x)
{
    uint32_t bits = bits_of(x);
    if (is_nan_bits(bits))
        return UINT32_MAX;
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/* A place in a row's order: a higher rank comes first, then a lower index. */
struct place {
    uint32_t rank;
    int64_t index;
};

static bool before(struct place a, struct place b)
{
    return a.rank != b.rank ? a.rank > b.rank : a.index < b.index;
}

/* The first place of a row, or with `last` the next one after it. */
static struct place next_place(const struct tensor *src, int64_t row, const struct place *last)
{
    struct place best = {0, INT64_MAX};
    float x[CHUNK];
    for (int64_t at = 0; at < src->dim[1]; at += CHUNK) {
        int64_t n = src->dim[1] - at < CHUNK ? src->dim[1] - at : CHUNK;
        load_floats(src, row * src->stride[0] + at * src->stride[1], src->stride[1], n, x);
        for (int64_t i = 0; i < n; i++) {
            struct place here = {rank_of(x[i]), at + i};
            if (before(here, best) && (last == NULL || before(*last, here)))
                best = here;
        }
    }
    return best;
}

static void store_index(const struct tensor *to, int64_t at, int64_t index, uint64_t offset)
{
    uint32_t word = (uint32_t)((uint64_t)index + offset);
    store_words(to, at, 0, 1, &word);
}

enum fault vector_argmax(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o[2] = {tsram_operand(&i->d[0], BIT(I32), 2, true),
                           tsram_operand(&i->d[1], FLOATS, 2, false)};
    const struct tensor *dst = &o[0].t, *src = &o[1].t;
    enum fault fault = check_descriptors(m, t, o, 2);
    if (fault == FAULT_NONE)
        fault = check_formats(o, 2);
    if (fault == FAULT_NONE)
        fault = check_shapes(o, 2);
    if (fault == FAULT_NONE &&
        (dst->dim[0] != src->dim[0] || dst->dim[1] != 1 || src->dim[1] == 0))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, 2);
    for (int64_t row = 0; fault == FAULT_NONE && row < dst->dim[0]; row++)
        store_index(dst, row * dst->stride[0], next_place(src, row, NULL).index, i->number);
    return fault;
}

static void topk_row(const struct operand *o, int64_t row, uint64_t offset)
{
    const struct tensor *values = &o[0].t, *indices = &o[1].t, *src = &o[2].t;
    struct place place;
    uint32_t word;
    for (int64_t k = 0; k < values->dim[1]; k++) {
        struct place last = place = next_place(src, row, k == 0 ? NULL : &place);
        load_words(src, row * src->stride[0] + last.index * src->stride[1], 0, 1, &word);
        store_words(values, row * values->stride[0] + k * values->stride[1], 0, 1, &word);
        store_index(indices, row * indices->stride[0] + k * indices->stride[1], last.index, offset);
    }
}

enum fault vector_topk(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o[3] = {tsram_operand(&i->d[0], BIT(FP32), 2, true),
                           tsram_operand(&i->d[1], BIT(I32), 2, true),
                           tsram_operand(&i->d[2], BIT(FP32), 2, false)};
    enum fault fault = check_descriptors(m, t, o, 3);
    if (fault == FAULT_NONE)
        fault = check_formats(o, 3);
    if (fault == FAULT_NONE)
        fault = check_shapes(o, 3);
    if (fault == FAULT_NONE && (!same_shape(&o[0].t, &o[1].t) || o[0].t.dim[0] != o[2].t.dim[0] ||
                                o[0].t.dim[1] > o[2].t.dim[1]))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, 3);
    for (int64_t row = 0; fault == FAULT_NONE && row < o[0].t.dim[0]; row++)
        topk_row(o, row, i->number);
    return fault;
}
