/* Row reductions in 32 lanes: vrsum, vrmax, vrmin. Page numerics.md, Reductions and order. */
#include "convert.h"
#include "float.h"
#include "vector.h"

static float take_in(unsigned opcode, float x, float y)
{
    switch (opcode) {
    case OP_VRSUM: return x + y;
    case OP_VRMAX: return maximum(x, y);
    default: return minimum(x, y);
    }
}

/* A lane starts with its first element, not with zero. */
void take(struct lanes *l, int lane, float x)
{
    l->x[lane] = l->taken[lane] ? take_in(l->opcode, l->x[lane], x) : x;
    l->taken[lane] = true;
}

static float of_nothing(unsigned opcode)
{
    return opcode == OP_VRSUM   ? 0.0f
           : opcode == OP_VRMAX ? float_of(INFINITY_BITS | 0x80000000u)
                                : float_of(INFINITY_BITS);
}

float fold(struct lanes *l)
{
    for (int distance = LANES / 2; distance > 0; distance /= 2)
        for (int lane = 0; lane < distance; lane++)
            if (l->taken[lane + distance])
                take(l, lane, l->x[lane + distance]);
    return l->taken[0] ? l->x[0] : of_nothing(l->opcode);
}

static float reduce_row(unsigned opcode, const struct tensor *src, int64_t row, int64_t low,
                        int64_t high)
{
    struct lanes l = {.opcode = opcode};
    float x[CHUNK];
    for (int64_t at = low; at < high; at += CHUNK) {
        int64_t n = high - at < CHUNK ? high - at : CHUNK;
        load_floats(src, row * src->stride[0] + at * src->stride[1], src->stride[1], n, x);
        for (int64_t i = 0; i < n; i++)
            take(&l, (int)((at + i) % LANES), x[i]);
    }
    return fold(&l);
}

enum fault vector_reduce(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o[3] = {tsram_operand(&i->d[0], FLOATS, 2, true),
                           tsram_operand(&i->d[1], FLOATS, 2, false),
                           tsram_operand(optional(i, 2), BIT(I32), 2, false)};
    const struct tensor *dst = &o[0].t, *src = &o[1].t;
    int64_t low, high;
    enum fault fault = check_descriptors(m, t, o, 3);
    if (fault == FAULT_NONE)
        fault = check_formats(o, 3);
    if (fault == FAULT_NONE)
        fault = check_shapes(o, 3);
    if (fault == FAULT_NONE && (dst->dim[0] != src->dim[0] || dst->dim[1] != 1))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE && o[2].from != NULL &&
        (o[2].t.dim[0] != src->dim[0] || o[2].t.dim[1] != 2))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, 3);
    for (int64_t row = 0; fault == FAULT_NONE && row < dst->dim[0]; row++) {
        clip_bounds(&o[2], row, i->number, src->dim[1], &low, &high);
        float y = reduce_row(i->form->opcode, src, row, low, high);
        (void)store_floats(dst, row * dst->stride[0], 0, 1, &y, true);
    }
    return fault;
}
