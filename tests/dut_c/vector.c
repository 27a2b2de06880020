/* The vector unit. Page vector.md. */
#include "vector.h"

enum fault execute_vector(struct machine *m, struct tile *t, const struct issue *i)
{
    switch (i->form->opcode) {
    case OP_VCMP: return vector_compare(m, t, i);
    case OP_VSEL: return vector_select(m, t, i);
    case OP_VIOTA: return vector_iota(m, t, i);
    case OP_VSCAN: return vector_scan(m, t, i);
    case OP_VTRANS: return vector_transpose(m, t, i);
    case OP_VCOPY: return vector_copy(m, t, i);
    case OP_VRSUM:
    case OP_VRMAX:
    case OP_VRMIN: return vector_reduce(m, t, i);
    case OP_VEXP2SUM: return vector_exponentials(m, t, i);
    case OP_VARGMAX: return vector_argmax(m, t, i);
    case OP_VTOPK: return vector_topk(m, t, i);
    case OP_VQUANT: return vector_quantise(m, t, i);
    case OP_VQUANTR: return vector_quantise_rows(m, t, i);
    default: return vector_float(m, t, i);
    }
}
