/* vexp2sum: exponentials of rows, each less a number of its own, with their sum in 32 lanes.
 * Page numerics.md, Reductions and order. */
#include "convert.h"
#include "float.h"
#include "vector.h"

enum { DST, TOTAL, A, B, BOUNDS, OPERANDS };

static bool has_shape(const struct tensor *t, int64_t rows, int64_t columns)
{
    return t->dim[0] == rows && t->dim[1] == columns;
}

/* Writes a row of dst; its sum over the columns [low, high). */
static float exponentials(const struct operand *o, int64_t row, float less, int64_t low,
                          int64_t high)
{
    const struct tensor *dst = &o[DST].t, *a = &o[A].t;
    struct lanes l = {.opcode = OP_VRSUM};
    float x[CHUNK];
    for (int64_t at = 0; at < a->dim[1]; at += CHUNK) {
        int64_t n = a->dim[1] - at < CHUNK ? a->dim[1] - at : CHUNK;
        load_floats(a, row * a->stride[0] + at * a->stride[1], a->stride[1], n, x);
        for (int64_t i = 0; i < n; i++) {
            float difference = x[i] - less;
            x[i] = exp2_steps(difference);
            if (at + i >= low && at + i < high)
                take(&l, (int)((at + i) % LANES), x[i]);
        }
        (void)store_floats(dst, row * dst->stride[0] + at * dst->stride[1], dst->stride[1], n, x,
                           true);
    }
    return fold(&l);
}

enum fault vector_exponentials(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o[OPERANDS];
    for (int k = 0; k < BOUNDS; k++)
        o[k] = tsram_operand(&i->d[k], FLOATS, 2, k <= TOTAL);
    o[BOUNDS] = tsram_operand(optional(i, BOUNDS), BIT(I32), 2, false);
    const struct tensor *dst = &o[DST].t, *total = &o[TOTAL].t, *a = &o[A].t, *b = &o[B].t;
    enum fault fault = check_descriptors(m, t, o, OPERANDS);
    if (fault == FAULT_NONE)
        fault = check_formats(o, OPERANDS);
    if (fault == FAULT_NONE)
        fault = check_shapes(o, OPERANDS);
    if (fault == FAULT_NONE &&
        (!same_shape(dst, a) || !has_shape(total, a->dim[0], 1) || !has_shape(b, a->dim[0], 1) ||
         (o[BOUNDS].from != NULL && !has_shape(&o[BOUNDS].t, a->dim[0], 2))))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, OPERANDS);
    for (int64_t row = 0; fault == FAULT_NONE && row < a->dim[0]; row++) {
        int64_t low, high;
        float less, sum;
        clip_bounds(&o[BOUNDS], row, i->number, a->dim[1], &low, &high);
        load_floats(b, row * b->stride[0], 0, 1, &less);
        sum = exponentials(o, row, less, low, high);
        (void)store_floats(total, row * total->stride[0], 0, 1, &sum, true);
    }
    return fault;
}
