/* Walking over tensors, and where scales lie. */
#include "tensor.h"

uint8_t *scale_place(const struct tensor *t, int64_t i, int64_t b)
{
    if (t->layout == PANEL)
        return t->scales + i / 16 * t->sstride[0] + b * 16 + i % 16;
    return t->scales + i * t->sstride[0] + b * t->sstride[1];
}

/* Axes worth a loop, outermost first: dimensions of 1 are left out, and neighbours that are one
 * run in every operand become one axis. */
struct axes {
    int count;
    int64_t n[MAX_RANK];
    int64_t step[MAX_RANK][MAX_OPERANDS];
};

static void collect_axes(const struct tensor *const *tensors, int count, bool last_axis,
                         struct axes *axes)
{
    const struct tensor *shape = tensors[0];
    axes->count = 0;
    for (unsigned i = 0; i < shape->rank; i++) {
        bool kept = last_axis && i + 1 == shape->rank, joins = axes->count > 0 && !kept;
        if (shape->dim[i] == 1 && !kept)
            continue;
        for (int k = 0; k < count && joins; k++)
            joins = axes->step[axes->count - 1][k] == tensors[k]->stride[i] * shape->dim[i];
        int at = joins ? axes->count - 1 : axes->count++;
        axes->n[at] = joins ? axes->n[at] * shape->dim[i] : shape->dim[i];
        for (int k = 0; k < count; k++)
            axes->step[at][k] = tensors[k]->stride[i];
    }
    if (axes->count == 0) {
        axes->count = 1;
        axes->n[0] = 1;
        for (int k = 0; k < count; k++)
            axes->step[0][k] = 0;
    }
}

void for_rows(const struct tensor *const *tensors, int count, bool last_axis, row_function *row,
              void *context)
{
    struct axes axes;
    int64_t index[MAX_RANK] = {0}, first[MAX_OPERANDS] = {0};
    if (is_empty(tensors[0]))
        return;
    collect_axes(tensors, count, last_axis, &axes);
    int inner = axes.count - 1, axis;
    do {
        row(context, first, axes.step[inner], axes.n[inner]);
        for (axis = inner - 1; axis >= 0; axis--) {
            for (int k = 0; k < count; k++)
                first[k] += axes.step[axis][k];
            if (++index[axis] < axes.n[axis])
                break;
            for (int k = 0; k < count; k++)
                first[k] -= axes.step[axis][k] * axes.n[axis];
            index[axis] = 0;
        }
    } while (axis >= 0);
}
