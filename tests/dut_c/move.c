/* Instructions of the vector unit that move elements: vsel, vtrans, vcopy; and the prefix sum. */
#include "bytes.h"
#include "convert.h"
#include "float.h"
#include "vector.h"

#define COPIED (FLOATS | BIT(E4M3FN) | BIT(E5M2) | BIT(E8M0) | BIT(I32) | BIT(U8))

struct move {
    const struct operand *o;
};

static void copy_row(void *context, const int64_t *first, const int64_t *step, int64_t n)
{
    const struct move *e = context;
    copy_elements(&e->o[0].t, first[0], step[0], &e->o[1].t, first[1], step[1], n);
}

static enum fault copy(struct machine *m, struct tile *t, const struct issue *i, bool transpose)
{
    struct operand o[2] = {tsram_operand(&i->d[0], COPIED, transpose ? 2 : -1, true),
                           tsram_operand(&i->d[1], COPIED, transpose ? 2 : -1, false)};
    const struct tensor *const tensors[] = {&o[0].t, &o[1].t};
    struct move e = {o};
    enum fault fault = check_descriptors(m, t, o, 2);
    if (fault == FAULT_NONE)
        fault = check_formats(o, 2);
    if (fault == FAULT_NONE && o[0].t.format != o[1].t.format)
        fault = FORMAT_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_shapes(o, 2);
    if (fault == FAULT_NONE && transpose) { /* read the source by columns */
        struct tensor *a = &o[1].t;
        int64_t dim = a->dim[0], stride = a->stride[0];
        a->dim[0] = a->dim[1];
        a->dim[1] = dim;
        a->stride[0] = a->stride[1];
        a->stride[1] = stride;
    }
    if (fault == FAULT_NONE && !same_shape(&o[0].t, &o[1].t))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, 2);
    if (fault == FAULT_NONE)
        for_rows(tensors, 2, false, copy_row, &e);
    return fault;
}

enum fault vector_transpose(struct machine *m, struct tile *t, const struct issue *i)
{
    return copy(m, t, i, true);
}

enum fault vector_copy(struct machine *m, struct tile *t, const struct issue *i)
{
    return copy(m, t, i, false);
}

/* ---- vsel */

static void select_row(void *context, const int64_t *first, const int64_t *step, int64_t n)
{
    const struct move *e = context;
    for (int64_t k = 0; k < n; k++) {
        uint32_t mask = load_code(&e->o[1].t, first[1] + k * step[1]);
        int from = mask != 0 ? 2 : 3;
        copy_elements(&e->o[0].t, first[0] + k * step[0], 0, &e->o[from].t,
                      first[from] + k * step[from], 0, 1);
    }
}

enum fault vector_select(struct machine *m, struct tile *t, const struct issue *i)
{
    const unsigned formats = FLOATS | BIT(I32) | BIT(U8);
    struct operand o[4] = {tsram_operand(&i->d[0], formats, -1, true),
                           tsram_operand(&i->d[1], BIT(U8), -1, false),
                           tsram_operand(&i->d[2], formats, -1, false),
                           tsram_operand(&i->d[3], formats, -1, false)};
    const struct tensor *const tensors[] = {&o[0].t, &o[1].t, &o[2].t, &o[3].t};
    struct move e = {o};
    enum fault fault = check_descriptors(m, t, o, 4);
    if (fault == FAULT_NONE)
        fault = check_formats(o, 4);
    if (fault == FAULT_NONE && (o[0].t.format != o[2].t.format || o[0].t.format != o[3].t.format))
        fault = FORMAT_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_shapes(o, 4);
    for (int k = 1; fault == FAULT_NONE && k < 4; k++)
        if (!same_shape(&o[0].t, &o[k].t))
            fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, 4);
    if (fault == FAULT_NONE)
        for_rows(tensors, 4, false, select_row, &e);
    return fault;
}

/* ---- vscan */

static void scan_row(void *context, const int64_t *first, const int64_t *step, int64_t n)
{
    const struct move *e = context;
    float sum = 0, x;
    for (int64_t k = 0; k < n; k++) {
        load_floats(&e->o[1].t, first[1] + k * step[1], 0, 1, &x);
        sum = k == 0 ? x : sum + x;
        (void)store_floats(&e->o[0].t, first[0] + k * step[0], 0, 1, &sum, true);
    }
}

enum fault vector_scan(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o[2] = {tsram_operand(&i->d[0], BIT(FP32), -1, true),
                           tsram_operand(&i->d[1], BIT(FP32), -1, false)};
    const struct tensor *const tensors[] = {&o[0].t, &o[1].t};
    struct move e = {o};
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
        for_rows(tensors, 2, true, scan_row, &e);
    return fault;
}
