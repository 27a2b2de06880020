/* Elementwise operations on numbers: sources are read as FP32 values, each named operation is one
 * FP32 operation, and the result is converted once. */
#include <math.h>

#include "convert.h"
#include "float.h"
#include "vector.h"

enum { MAX_SOURCES = 4 };

struct elementwise {
    const struct issue *issue;
    const struct operand *o; /* dst and the sources */
    int sources;             /* tensors among them */
    bool saturate;
    bool nan; /* a NaN went into E2M1 */
    float x[MAX_SOURCES][CHUNK];
    float y[CHUNK];
};

/* ---- EXP2, page numerics.md */

float exp2_steps(float x)
{
    static const uint32_t c[7] = {0x3f800000, 0x3f317218, 0x3e75fdf0, 0x3d635766,
                                  0x3c1d950e, 0x3aafa460, 0x39222000};
    if (x != x)
        return x;
    x = x < -160.0f ? -160.0f : x > 129.0f ? 129.0f : x;
    float shifted = x + 12582912.0f;
    float n = shifted - 12582912.0f;
    float f = x - n;
    float p = float_of(c[6]);
    for (int i = 5; i >= 0; i--) {
        float product = p * f;
        p = product + float_of(c[i]);
    }
    /* n lies in -160..129: halved downwards by way of a positive number */
    int whole = (int)n, half = (whole + 256) / 2 - 128;
    float first = p * float_of((uint32_t)(half + 127) << 23);
    return first * float_of((uint32_t)(whole - half + 127) << 23);
}

/* ---- One chunk */

static void binary(unsigned opcode, const float *a, const float *b, float *y, int64_t n)
{
    switch (opcode) {
    case OP_VADD:
        for (int64_t i = 0; i < n; i++)
            y[i] = a[i] + b[i];
        break;
    case OP_VSUB:
        for (int64_t i = 0; i < n; i++)
            y[i] = a[i] - b[i];
        break;
    case OP_VMUL:
        for (int64_t i = 0; i < n; i++)
            y[i] = a[i] * b[i];
        break;
    case OP_VDIV:
        for (int64_t i = 0; i < n; i++)
            y[i] = a[i] / b[i];
        break;
    case OP_VMIN:
        for (int64_t i = 0; i < n; i++)
            y[i] = minimum(a[i], b[i]);
        break;
    default: /* OP_VMAX */
        for (int64_t i = 0; i < n; i++)
            y[i] = maximum(a[i], b[i]);
    }
}

static void unary(unsigned opcode, const float *a, float *y, int64_t n)
{
    switch (opcode) {
    case OP_VSQRT:
        for (int64_t i = 0; i < n; i++)
            y[i] = sqrtf(a[i]);
        break;
    case OP_VRCP:
        for (int64_t i = 0; i < n; i++)
            y[i] = 1.0f / a[i];
        break;
    case OP_VRSQRT:
        for (int64_t i = 0; i < n; i++) {
            float root = sqrtf(a[i]);
            y[i] = 1.0f / root;
        }
        break;
    case OP_VEXP2:
        for (int64_t i = 0; i < n; i++)
            y[i] = exp2_steps(a[i]);
        break;
    default: /* OP_VCVT */
        memcpy(y, a, (size_t)n * sizeof *y);
    }
}

static void two_products(float x[MAX_SOURCES][CHUNK], float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float first = x[0][i] * x[1][i];
        float second = x[2][i] * x[3][i];
        y[i] = first + second;
    }
}

static void compute(struct elementwise *e, int64_t n)
{
    unsigned opcode = e->issue->form->opcode;
    if (opcode == OP_VMULADD2)
        two_products(e->x, e->y, n);
    else if (opcode < OP_VMULADD2)
        binary(opcode, e->x[0], e->x[1], e->y, n);
    else
        unary(opcode, e->x[0], e->y, n);
}

static void load_sources(struct elementwise *e, const int64_t *first, const int64_t *step,
                         int64_t at, int64_t n)
{
    for (int s = 0; s < e->sources; s++)
        load_floats(&e->o[s + 1].t, first[s + 1] + at * step[s + 1], step[s + 1], n, e->x[s]);
}

static void float_row(void *context, const int64_t *first, const int64_t *step, int64_t n)
{
    struct elementwise *e = context;
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t length = n - at < CHUNK ? n - at : CHUNK;
        load_sources(e, first, step, at, length);
        compute(e, length);
        if (store_floats(&e->o[0].t, first[0] + at * step[0], step[0], length, e->y, e->saturate))
            e->nan = true;
    }
}

/* A number takes the place of the second source. */
static void fill_number(struct elementwise *e)
{
    for (int i = 0; i < CHUNK; i++)
        e->x[1][i] = float_of((uint32_t)e->issue->number);
}

static void walk(struct elementwise *e, row_function *row)
{
    const struct tensor *tensors[MAX_OPERANDS];
    for (int i = 0; i <= e->sources; i++)
        tensors[i] = &e->o[i].t;
    for_rows(tensors, e->sources + 1, false, row, e);
}

/* ---- Checks */

static enum fault check_shapes_equal(const struct operand *o, int count)
{
    enum fault fault = check_shapes(o, count);
    for (int i = 1; fault == FAULT_NONE && i < count; i++)
        if (!same_shape(&o[0].t, &o[i].t))
            fault = SHAPE_MISMATCH;
    return fault;
}

/* All integers or none, from operand `from` on. */
static bool mixes_integers(const struct operand *o, int from, int count)
{
    for (int i = from + 1; i < count; i++)
        if ((o[i].t.format == I32) != (o[from].t.format == I32))
            return true;
    return false;
}

static void operand_formats(const struct issue *i, unsigned *to, unsigned *from)
{
    *to = *from = FLOATS;
    switch (i->form->opcode) {
    case OP_VADD:
    case OP_VSUB:
    case OP_VMUL:
    case OP_VMIN:
    case OP_VMAX:
        *to = *from = FLOATS | BIT(I32);
        break;
    case OP_VCVT:
        *to = FLOATS | BIT(E4M3FN) | BIT(E5M2) | BIT(E2M1) | BIT(I32);
        *from = ANY_FORMAT;
        break;
    default:
        break;
    }
}

static bool is_scalar(const struct issue *i) { return i->form->absent != 0; }

static bool formats_disagree(const struct issue *i, const struct operand *o, int count)
{
    if (i->form->opcode == OP_VCVT)
        return o[0].t.format == E2M1 && field_flags(i->word) != 0;
    return mixes_integers(o, 0, count);
}

enum fault vector_float(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o[MAX_OPERANDS];
    struct elementwise e;
    int count = i->form->descriptors - is_scalar(i);
    unsigned to, from;
    operand_formats(i, &to, &from);
    for (int k = 0; k < count; k++)
        o[k] = tsram_operand(&i->d[k], k == 0 ? to : from, -1, k == 0);
    enum fault fault = check_descriptors(m, t, o, count);
    if (fault == FAULT_NONE)
        fault = check_formats(o, count);
    if (fault == FAULT_NONE && formats_disagree(i, o, count))
        fault = FORMAT_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_shapes_equal(o, count);
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, count);
    if (fault != FAULT_NONE)
        return fault;
    if (o[0].t.format == I32 && i->form->opcode != OP_VCVT) {
        integer_binary(i, o, is_scalar(i));
        return FAULT_NONE;
    }
    e.issue = i;
    e.o = o;
    e.sources = count - 1;
    e.saturate = field_flags(i->word) == 0 || i->form->opcode != OP_VCVT;
    e.nan = false;
    if (is_scalar(i))
        fill_number(&e);
    walk(&e, float_row);
    t->sticky = t->sticky || e.nan;
    return FAULT_NONE;
}

/* ---- vcmp */

enum relation { EQ, NE, LT, LE, GT, GE };

static bool holds(unsigned relation, float a, float b)
{
    switch (relation) {
    case EQ: return a == b;
    case NE: return a != b;
    case LT: return a < b;
    case LE: return a <= b;
    case GT: return a > b;
    default: return a >= b;
    }
}

static void compare_row(void *context, const int64_t *first, const int64_t *step, int64_t n)
{
    struct elementwise *e = context;
    unsigned relation = field_flags(e->issue->word) >> 1;
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t length = n - at < CHUNK ? n - at : CHUNK;
        uint8_t *to = e->o[0].t.data + first[0] + at * step[0];
        load_sources(e, first, step, at, length);
        for (int64_t k = 0; k < length; k++, to += step[0])
            *to = holds(relation, e->x[0][k], e->x[1][k]);
    }
}

enum fault vector_compare(struct machine *m, struct tile *t, const struct issue *i)
{
    int count = 3 - is_scalar(i);
    struct elementwise e;
    struct operand o[3] = {tsram_operand(&i->d[0], BIT(U8), -1, true),
                           tsram_operand(&i->d[1], FLOATS | BIT(I32), -1, false),
                           tsram_operand(&i->d[2], FLOATS | BIT(I32), -1, false)};
    enum fault fault = check_descriptors(m, t, o, count);
    if (fault == FAULT_NONE)
        fault = check_formats(o, count);
    if (fault == FAULT_NONE && mixes_integers(o, 1, count))
        fault = FORMAT_MISMATCH;
    if (fault == FAULT_NONE)
        fault = check_shapes_equal(o, count);
    if (fault == FAULT_NONE)
        fault = check_memory(m, t, o, count);
    if (fault != FAULT_NONE)
        return fault;
    if (o[1].t.format == I32) {
        integer_binary(i, o, is_scalar(i));
        return FAULT_NONE;
    }
    e.issue = i;
    e.o = o;
    e.sources = count - 1;
    if (is_scalar(i))
        fill_number(&e);
    walk(&e, compare_row);
    return FAULT_NONE;
}
