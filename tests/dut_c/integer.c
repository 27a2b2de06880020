/* I32 on the vector unit: two's complement, wrapping. Patterns are kept unsigned. */
#include "bytes.h"
#include "convert.h"
#include "vector.h"

struct integers {
    const struct issue *issue;
    const struct operand *o;
    int sources;
    uint32_t x[2][CHUNK];
    uint32_t y[CHUNK];
};

static bool below(uint32_t a, uint32_t b)
{
    return (a ^ 0x80000000u) < (b ^ 0x80000000u);
}

static bool related(unsigned relation, uint32_t a, uint32_t b)
{
    switch (relation) {
    case 0: return a == b;
    case 1: return a != b;
    case 2: return below(a, b);
    case 3: return !below(b, a);
    case 4: return below(b, a);
    default: return !below(a, b);
    }
}

static void compute(struct integers *e, int64_t n)
{
    const uint32_t *a = e->x[0], *b = e->x[1];
    uint32_t *y = e->y;
    switch (e->issue->form->opcode) {
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
    case OP_VMIN:
        for (int64_t i = 0; i < n; i++)
            y[i] = below(b[i], a[i]) ? b[i] : a[i];
        break;
    case OP_VMAX:
        for (int64_t i = 0; i < n; i++)
            y[i] = below(a[i], b[i]) ? b[i] : a[i];
        break;
    default: /* OP_VCMP */
        for (int64_t i = 0; i < n; i++)
            y[i] = related(field_flags(e->issue->word) >> 1, a[i], b[i]);
    }
}

static void row(void *context, const int64_t *first, const int64_t *step, int64_t n)
{
    struct integers *e = context;
    const struct tensor *to = &e->o[0].t;
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t length = n - at < CHUNK ? n - at : CHUNK, start = first[0] + at * step[0];
        for (int s = 0; s < e->sources; s++)
            load_words(&e->o[s + 1].t, first[s + 1] + at * step[s + 1], step[s + 1], length,
                       e->x[s]);
        compute(e, length);
        if (to->format == I32)
            store_words(to, start, step[0], length, e->y);
        else /* the mask of vcmp */
            for (int64_t i = 0; i < length; i++)
                store_code(to, start + i * step[0], e->y[i]);
    }
}

void integer_binary(const struct issue *i, const struct operand *o, bool scalar)
{
    struct integers e;
    const struct tensor *const tensors[] = {&o[0].t, &o[1].t, &o[2].t};
    e.issue = i;
    e.o = o;
    e.sources = scalar ? 1 : 2;
    for (int k = 0; k < CHUNK && scalar; k++)
        e.x[1][k] = (uint32_t)i->number;
    for_rows(tensors, e.sources + 1, false, row, &e);
}

/* ---- viota */

struct iota {
    const struct tensor *to;
    uint32_t start;
    uint32_t y[CHUNK];
};

static void iota_row(void *context, const int64_t *first, const int64_t *step, int64_t n)
{
    struct iota *e = context;
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t length = n - at < CHUNK ? n - at : CHUNK;
        for (int64_t i = 0; i < length; i++)
            e->y[i] = e->start + (uint32_t)(at + i);
        store_words(e->to, first[0] + at * step[0], step[0], length, e->y);
    }
}

enum fault vector_iota(struct machine *m, struct tile *t, const struct issue *i)
{
    struct operand o = tsram_operand(&i->d[0], BIT(I32), -1, true);
    const struct tensor *const to[] = {&o.t};
    struct iota e;
    enum fault fault = check_all(m, t, &o, 1);
    if (fault != FAULT_NONE)
        return fault;
    e.to = &o.t;
    e.start = (uint32_t)i->number;
    for_rows(to, 1, true, iota_row, &e);
    return FAULT_NONE;
}
