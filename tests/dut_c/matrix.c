/* The matrix unit: gemm, readout, seed. Pages matrix.md and numerics.md. */

#include "convert.h"
#include "float.h"
#include "gemm.h"
#include "vector.h"

static struct operand acc_operand(const struct descriptor *from, bool written)
{
    struct operand o = tsram_operand(from, BIT(FP32), 2, written);
    o.spaces = BIT(ACC);
    return o;
}

static struct operand matrix_operand(const struct descriptor *from, bool panel)
{
    struct operand o = tsram_operand(
        from, BIT(BF16) | BIT(FP16) | BIT(E4M3FN) | BIT(E5M2) | BIT(E2M1), 2, false);
    o.scales = BIT(NONE) | BIT(MX32) | BIT(NV16);
    o.panel = panel;
    return o;
}

static enum fault multiply(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o[4] = {acc_operand(&i->d[0], true), matrix_operand(&i->d[1], false),
                           matrix_operand(&i->d[2], true),
                           tsram_operand(optional(i, 3), BIT(I32), 2, false)};
    const struct tensor *acc = &o[0].t, *a = &o[1].t, *w = &o[2].t, *bounds = &o[3].t;
    enum fault fault = check_descriptors(m, t, o, 4);
    if (fault == FAULT_NONE)
        fault = check_formats(o, 4);
    if (fault == FAULT_NONE)
        fault = check_shapes(o, 4);
    if (fault == FAULT_NONE && (acc->dim[0] != a->dim[0] || acc->dim[1] != w->dim[0] ||
                                a->dim[1] != w->dim[1]))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE && o[3].from != NULL &&
        (bounds->dim[0] != a->dim[0] || bounds->dim[1] != 2))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, 4);
    if (fault == FAULT_NONE && !is_empty(acc))
        gemm(acc, a, w, &o[3], i->number, (field_flags(i->word) & 1) != 0);
    return fault;
}

/* ---- readout */

struct readout {
    const struct operand *o; /* dst, acc, row, col */
    bool saturate;
};

static void readout_row(const struct readout *r, int64_t row)
{
    const struct tensor *dst = &r->o[0].t, *acc = &r->o[1].t, *rows = &r->o[2].t,
                        *cols = &r->o[3].t;
    float y[CHUNK], factor[CHUNK];
    if (r->o[2].from != NULL)
        load_floats(rows, row * rows->stride[0], 0, 1, factor);
    float row_factor = factor[0];
    for (int64_t at = 0; at < dst->dim[1]; at += CHUNK) {
        int64_t n = dst->dim[1] - at < CHUNK ? dst->dim[1] - at : CHUNK;
        load_floats(acc, row * acc->stride[0] + at * acc->stride[1], acc->stride[1], n, y);
        for (int64_t k = 0; k < n && r->o[2].from != NULL; k++)
            y[k] *= row_factor;
        if (r->o[3].from != NULL)
            load_floats(cols, at * cols->stride[1], cols->stride[1], n, factor);
        for (int64_t k = 0; k < n && r->o[3].from != NULL; k++)
            y[k] *= factor[k];
        (void)store_floats(dst, row * dst->stride[0] + at * dst->stride[1], dst->stride[1], n, y,
                           r->saturate);
    }
}

static void copy_row(void *context, const int64_t *first, const int64_t *step, int64_t n)
{
    const struct operand *o = context;
    copy_elements(&o[0].t, first[0], step[0], &o[1].t, first[1], step[1], n);
}

static void copy_bits(struct operand *o)
{
    const struct tensor *const tensors[] = {&o[0].t, &o[1].t};
    for_rows(tensors, 2, false, copy_row, o);
}

static enum fault read_out(struct machine *m, struct tile *t, const struct issue *i)
{
    const unsigned factors = BIT(FP32) | BIT(E8M0);
    struct operand o[4] = {tsram_operand(&i->d[0], FLOATS | BIT(E4M3FN) | BIT(E5M2), 2, true),
                           acc_operand(&i->d[1], false),
                           tsram_operand(optional(i, 2), factors, 2, false),
                           tsram_operand(optional(i, 3), factors, 2, false)};
    const struct tensor *dst = &o[0].t, *row = &o[2].t, *col = &o[3].t;
    enum fault fault = check_descriptors(m, t, o, 4);
    if (fault == FAULT_NONE)
        fault = check_formats(o, 4);
    if (fault == FAULT_NONE)
        fault = check_shapes(o, 4);
    if (fault == FAULT_NONE && !same_shape(dst, &o[1].t))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE && o[2].from != NULL && (row->dim[0] != dst->dim[0] || row->dim[1] != 1))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE && o[3].from != NULL && (col->dim[1] != dst->dim[1] || col->dim[0] != 1))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, 4);
    if (fault != FAULT_NONE || is_empty(dst))
        return fault;
    struct readout r = {o, field_flags(i->word) == 0};
    if (dst->format == FP32 && o[2].from == NULL && o[3].from == NULL)
        copy_bits(o);
    else
        for (int64_t k = 0; k < dst->dim[0]; k++)
            readout_row(&r, k);
    return FAULT_NONE;
}

/* ---- seed */

static enum fault load_accumulator(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o[2] = {acc_operand(&i->d[0], true),
                           tsram_operand(&i->d[1], BIT(FP32), 2, false)};
    enum fault fault = check_descriptors(m, t, o, 2);
    if (fault == FAULT_NONE)
        fault = check_formats(o, 2);
    if (fault == FAULT_NONE)
        fault = check_shapes(o, 2);
    if (fault == FAULT_NONE && !same_shape(&o[0].t, &o[1].t))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, 2);
    if (fault == FAULT_NONE)
        copy_bits(o);
    return fault;
}

enum fault execute_matrix(struct machine *m, struct tile *t, const struct issue *i)
{
    switch (i->form->opcode) {
    case OP_GEMM: return multiply(m, t, i);
    case OP_READOUT: return read_out(m, t, i);
    default: return load_accumulator(m, t, i);
    }
}
