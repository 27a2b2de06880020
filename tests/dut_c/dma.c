/* Copies between memory spaces: dma, dmag, dmas. Page dma.md. And ld, which reads alike. */

#include "bytes.h"
#include "convert.h"
#include "tensor.h"

static struct operand dma_operand(const struct descriptor *from, bool written)
{
    return (struct operand){.from = from, .spaces = BIT(HBM) | BIT(CSRAM) | BIT(TSRAM),
                            .formats = ANY_FORMAT, .rank = -1, .written = written, .dma = true};
}

struct copy {
    const struct tensor *to, *from;
};

static void copy_row(void *context, const int64_t *first, const int64_t *step, int64_t n)
{
    const struct copy *c = context;
    copy_elements(c->to, first[0], step[0], c->from, first[1], step[1], n);
}

static void copy_tensor(const struct tensor *to, const struct tensor *from)
{
    const struct tensor *const both[] = {to, from};
    struct copy copy = {to, from};
    for_rows(both, 2, false, copy_row, &copy);
}

/* E2M1 moves in whole bytes. */
static bool whole_bytes(const struct tensor *t, unsigned least_rank)
{
    return t->format != E2M1 || (t->rank >= least_rank && t->dim[t->rank - 1] % 2 == 0);
}

static enum fault copy_whole(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o[2] = {dma_operand(&i->d[0], true), dma_operand(&i->d[1], false)};
    enum fault fault = check_descriptors(m, t, o, 2);
    if (fault == FAULT_NONE)
        fault = check_formats(o, 2);
    if (fault == FAULT_NONE && o[0].t.format != o[1].t.format)
        fault = FORMAT_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_shapes(o, 2);
    if (fault == FAULT_NONE && (!same_shape(&o[0].t, &o[1].t) || !whole_bytes(&o[0].t, 1)))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, 2);
    if (fault == FAULT_NONE)
        fault = check_writable(m, o, 2);
    if (fault != FAULT_NONE || is_empty(&o[0].t))
        return fault;
    for (int64_t k = 0; k < o[0].t.fan; k++) {
        o[0].t.data = owner_data(m, t, &o[0].t, k);
        copy_tensor(&o[0].t, &o[1].t);
    }
    return FAULT_NONE;
}

/* ---- Gather and scatter: rows of one tensor are chosen by an index list */

/* The row as a tensor of one rank less. */
static struct tensor row_of(const struct tensor *t, int64_t index)
{
    struct tensor row = *t;
    int64_t bits = (int64_t)format_bits(t->format);
    row.rank = t->rank - 1;
    for (unsigned i = 0; i < row.rank; i++) {
        row.dim[i] = t->dim[i + 1];
        row.stride[i] = t->stride[i + 1];
    }
    if (t->data != NULL)
        row.data = t->data + index * t->stride[0] * bits / 8;
    return row;
}

static int64_t index_at(const struct tensor *list, int64_t i)
{
    uint32_t word;
    load_words(list, i * list->stride[0], 0, 1, &word);
    return as_signed32(word);
}

static bool indices_inside(const struct tensor *list, int64_t rows)
{
    for (int64_t i = 0; i < list->dim[0]; i++)
        if (index_at(list, i) < 0 || index_at(list, i) >= rows)
            return false;
    return true;
}

/* The chosen side has the rows [R, ...], the dense side has [n, ...]. */
static bool rows_agree(const struct tensor *chosen, const struct tensor *dense,
                       const struct tensor *list)
{
    if (chosen->rank == 0 || chosen->rank != dense->rank || dense->dim[0] != list->dim[0])
        return false;
    for (unsigned i = 1; i < chosen->rank; i++)
        if (chosen->dim[i] != dense->dim[i])
            return false;
    return whole_bytes(chosen, 2);
}

static void copy_rows(const struct tensor *to, const struct tensor *from, const struct tensor *list,
                      bool gather)
{
    for (int64_t i = 0; i < list->dim[0]; i++) {
        int64_t index = index_at(list, i);
        struct tensor to_row = row_of(to, gather ? i : index);
        struct tensor from_row = row_of(from, gather ? index : i);
        copy_tensor(&to_row, &from_row);
    }
}

static enum fault copy_indexed(struct machine *m, struct tile *t, const struct issue *i, bool gather)
{
    struct operand o[3] = {dma_operand(&i->d[0], true), dma_operand(&i->d[1], false),
                           tsram_operand(&i->d[2], BIT(I32), 1, false)};
    const struct tensor *chosen = gather ? &o[1].t : &o[0].t, *dense = gather ? &o[0].t : &o[1].t;
    enum fault fault = check_descriptors(m, t, o, 3);
    if (fault == FAULT_NONE)
        fault = check_formats(o, 3);
    if (fault == FAULT_NONE && o[0].t.format != o[1].t.format)
        fault = FORMAT_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_shapes(o, 3);
    if (fault == FAULT_NONE && !rows_agree(chosen, dense, &o[2].t))
        fault = SHAPE_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, 3);
    if (fault == FAULT_NONE)
        fault = check_writable(m, o, 3);
    /* The values of the list are looked at last. */
    if (fault == FAULT_NONE && !indices_inside(&o[2].t, chosen->dim[0]))
        fault = OUT_OF_BOUNDS;
    if (fault != FAULT_NONE || is_empty(&o[0].t) || is_empty(&o[1].t))
        return fault;
    for (int64_t k = 0; k < o[0].t.fan; k++) {
        o[0].t.data = owner_data(m, t, &o[0].t, k);
        copy_rows(&o[0].t, &o[1].t, &o[2].t, gather);
    }
    return FAULT_NONE;
}

enum fault execute_dma(struct machine *m, struct tile *t, const struct issue *i)
{
    if (i->form->opcode == OP_DMA)
        return copy_whole(m, t, i);
    return copy_indexed(m, t, i, i->form->opcode == OP_DMAG);
}

/* ---- ld */

enum fault execute_ld(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o = tsram_operand(&i->d[0], BIT(I32) | BIT(U8), 1, false);
    uint32_t word = 0;
    o.spaces |= BIT(HBM);
    enum fault fault = check_all(m, t, &o, 1);
    if (fault != FAULT_NONE)
        return fault;
    if (i->number >= (uint64_t)o.t.dim[0])
        return OUT_OF_BOUNDS;
    int64_t at = (int64_t)i->number * o.t.stride[0];
    if (o.t.format == I32)
        load_words(&o.t, at, 0, 1, &word);
    else
        word = load_code(&o.t, at);
    if (field_rd(i->word) != 0)
        t->r[field_rd(i->word)] =
            o.t.format == I32 ? (uint64_t)(int64_t)as_signed32(word) : word;
    return FAULT_NONE;
}
