/* The vector unit's instructions, by kind. Each checks its operands and executes. */
#ifndef VECTOR_H
#define VECTOR_H

#include "tensor.h"

/* elementwise.c: vadd .. vmuladd2, vsqrt .. vexp2, vcvt, vcmp */
enum fault vector_float(struct machine *m, struct tile *t, const struct issue *i);
enum fault vector_compare(struct machine *m, struct tile *t, const struct issue *i);
float exp2_steps(float x); /* EXP2, page numerics.md */
/* integer.c: the I32 form of vadd, vsub, vmul, vmin, vmax, vcmp, of checked operands; viota */
void integer_binary(const struct issue *i, const struct operand *o, bool scalar);
enum fault vector_iota(struct machine *m, struct tile *t, const struct issue *i);
/* move.c: vsel, vtrans, vcopy, and vscan */
enum fault vector_select(struct machine *m, struct tile *t, const struct issue *i);
enum fault vector_transpose(struct machine *m, struct tile *t, const struct issue *i);
enum fault vector_copy(struct machine *m, struct tile *t, const struct issue *i);
enum fault vector_scan(struct machine *m, struct tile *t, const struct issue *i);
/* reduce.c: vrsum, vrmax, vrmin */
enum fault vector_reduce(struct machine *m, struct tile *t, const struct issue *i);
/* The lanes of a row: what each has taken in. */
enum { LANES = 32 };
struct lanes {
    unsigned opcode;
    bool taken[LANES];
    float x[LANES];
};
void take(struct lanes *l, int lane, float x);
float fold(struct lanes *l); /* into one; an empty row's result without any */
/* exponentials.c: vexp2sum */
enum fault vector_exponentials(struct machine *m, struct tile *t, const struct issue *i);
/* order.c */
enum fault vector_argmax(struct machine *m, struct tile *t, const struct issue *i);
enum fault vector_topk(struct machine *m, struct tile *t, const struct issue *i);
/* quantise.c */
enum fault vector_quantise(struct machine *m, struct tile *t, const struct issue *i);
enum fault vector_quantise_rows(struct machine *m, struct tile *t, const struct issue *i);

/* bounds.c: the columns [*low, *high) of row m that bounds leave of [0, n); all without bounds. */
void clip_bounds(const struct operand *bounds, int64_t row, uint64_t k0, int64_t n, int64_t *low,
                 int64_t *high);

/* An operand field that may be absent. */
static inline const struct descriptor *optional(const struct issue *i, unsigned field)
{
    return field_d(i->word, field) == NO_DESCRIPTOR ? NULL : &i->d[field];
}

#endif
