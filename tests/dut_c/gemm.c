/* One chain over K for every result, in blocks. Page numerics.md, The matrix engine.
 *
 * The block is the outermost loop: its columns of a and w are decoded once, then every row of a
 * meets them. The accumulator memory holds the running results, so the order of additions into each
 * is that of the blocks.
 */
#include "gemm.h"

#include <math.h>
#include <stdlib.h>

#include "convert.h"
#include "float.h"
#include "vector.h"

enum { MAX_BLOCK = 32 };

struct product {
    const struct tensor *acc, *a, *w;
    int64_t rows, columns, depth;
    int64_t block;   /* elements of K in a block */
    bool fused;      /* a product may lie outside FP32's range */
    float *a_values; /* [block] of the row at hand */
    float *w_values; /* [block][columns] */
    double *w_scale; /* [columns] */
    float *sum;      /* [columns] */
    float *x;        /* [columns] of accumulators */
    int64_t begin, end; /* the block at hand: its range of K */
};

/* The scale of a row (or output column) in the block that k lies in. */
static double scale_at(const struct tensor *t, int64_t i, int64_t k)
{
    if (t->scale_kind == NONE)
        return 1.0;
    uint8_t code = *scale_place(t, i, k / scale_block(t->scale_kind));
    return t->scale_kind == MX32 ? decode_e8m0(code) : decode_e4m3fn(code & 0x7f);
}

/* n elements of row i from k on. In a panel, a word holds g consecutive k, and the words of 16
 * columns lie side by side; its elements are counted from the base in their own width. */
static void load_run(const struct tensor *t, int64_t i, int64_t k, int64_t n, float *to)
{
    if (t->layout == STRIDED) {
        load_floats(t, i * t->stride[0] + k * t->stride[1], t->stride[1], n, to);
        return;
    }
    int64_t g = 32 / (int64_t)format_bits(t->format);
    for (int64_t at = 0; at < n; at += g) {
        int64_t word = i / 16 * t->stride[0] + (k + at) / g * 16 * g + i % 16 * g;
        load_floats(t, word, 1, n - at < g ? n - at : g, to + at);
    }
}

static void load_weights(struct product *p)
{
    float run[MAX_BLOCK];
    for (int64_t n = 0; n < p->columns; n++) {
        load_run(p->w, n, p->begin, p->end - p->begin, run);
        for (int64_t k = 0; k < p->end - p->begin; k++)
            p->w_values[k * p->columns + n] = run[k];
        p->w_scale[n] = scale_at(p->w, n, p->begin);
    }
}

/* s = RNE(s + a * w), k ascending over [low, high) of this block. */
static void block_sums(struct product *p, int64_t low, int64_t high)
{
    float *s = p->sum;
    for (int64_t n = 0; n < p->columns; n++)
        s[n] = 0.0f;
    for (int64_t k = low - p->begin; k < high - p->begin; k++) {
        const float *w = p->w_values + k * p->columns;
        float a = p->a_values[k];
        if (p->fused)
            for (int64_t n = 0; n < p->columns; n++)
                s[n] = fmaf(a, w[n], s[n]);
        else
            for (int64_t n = 0; n < p->columns; n++)
                s[n] += a * w[n];
    }
}

static void load_accumulators(const struct product *p, int64_t row)
{
    load_floats(p->acc, row * p->acc->stride[0], p->acc->stride[1], p->columns, p->x);
}

static void store_accumulators(const struct product *p, int64_t row)
{
    (void)store_floats(p->acc, row * p->acc->stride[0], p->acc->stride[1], p->columns, p->x, true);
}

/* x = RNE(x + RNE(s * scale_a * scale_w)). The product of a significand of 24 bits and two of at
 * most 4 is exact in a double, and within its range. */
static void add_block(struct product *p, int64_t row)
{
    double a_scale = scale_at(p->a, row, p->begin);
    bool scaled = p->a->scale_kind != NONE || p->w->scale_kind != NONE;
    load_accumulators(p, row);
    for (int64_t n = 0; n < p->columns; n++) {
        float t = p->sum[n];
        if (scaled) {
            double factor = a_scale * p->w_scale[n];
            t = (float)((double)t * factor);
        }
        p->x[n] += t;
    }
    store_accumulators(p, row);
}

static void run_block(struct product *p, const struct operand *bounds, uint64_t k0)
{
    int64_t low, high;
    load_weights(p);
    for (int64_t row = 0; row < p->rows; row++) {
        clip_bounds(bounds, row, k0, p->depth, &low, &high);
        low = low > p->begin ? low : p->begin;
        high = high < p->end ? high : p->end;
        if (low >= high)
            continue; /* no product of this block: the row's accumulator is left alone */
        load_run(p->a, row, p->begin, p->end - p->begin, p->a_values);
        block_sums(p, low, high);
        add_block(p, row);
    }
}

static void clear(struct product *p)
{
    for (int64_t n = 0; n < p->columns; n++)
        p->x[n] = 0.0f;
    for (int64_t row = 0; row < p->rows; row++)
        store_accumulators(p, row);
}

void gemm(const struct tensor *acc, const struct tensor *a, const struct tensor *w,
          const struct operand *bounds, uint64_t k0, bool accumulate)
{
    struct product p = {.acc = acc, .a = a, .w = w};
    p.rows = acc->dim[0];
    p.columns = acc->dim[1];
    p.depth = a->dim[1];
    p.block = a->scale_kind == NV16 || w->scale_kind == NV16 ? 16 : MAX_BLOCK;
    p.fused = a->format == BF16 || w->format == BF16;
    p.a_values = allocate(MAX_BLOCK, sizeof *p.a_values);
    p.w_values = allocate(MAX_BLOCK * (uint64_t)p.columns, sizeof *p.w_values);
    p.w_scale = allocate((uint64_t)p.columns, sizeof *p.w_scale);
    p.sum = allocate((uint64_t)p.columns, sizeof *p.sum);
    p.x = allocate((uint64_t)p.columns, sizeof *p.x);
    if (!accumulate)
        clear(&p);
    for (p.begin = 0; p.begin < p.depth; p.begin = p.end) {
        p.end = p.begin + p.block < p.depth ? p.begin + p.block : p.depth;
        run_block(&p, bounds, k0);
    }
    free(p.a_values);
    free(p.w_values);
    free(p.w_scale);
    free(p.sum);
    free(p.x);
}
