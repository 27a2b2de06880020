/* Tensors: what a descriptor says, whether it is legal, and where the elements lie.
 * Page descriptors.md. */
#ifndef TENSOR_H
#define TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "machine.h"

enum { MAX_RANK = 4, MAX_OPERANDS = 5 };

struct tensor {
    unsigned space, format, layout, scale_kind, rank;
    int64_t base, scale;
    int64_t owner, fan, fanstep;
    int64_t dim[MAX_RANK], stride[MAX_RANK]; /* strides in elements */
    int64_t sstride[2];                      /* in bytes */
    uint8_t *data;   /* element 0 in the host's memory, after check_memory; NULL if empty */
    uint8_t *scales; /* scale 0 */
};

/* What an instruction takes as an operand, and then what it got. */
struct operand {
    const struct descriptor *from; /* NULL: absent */
    unsigned spaces, formats;      /* bit i: code i is taken */
    unsigned scales;               /* scale kinds taken */
    int rank;                      /* -1: any */
    bool panel;                    /* PANEL layout is taken */
    bool written;
    bool dma; /* any owner, several owners, scales ignored */
    struct tensor t;
};

#define BIT(code) (1u << (code))
#define FLOATS (BIT(FP32) | BIT(BF16) | BIT(FP16))
#define ANY_FORMAT (BIT(NUM_FORMATS) - 1)

/* An operand in the own TSRAM, strided and without scales. */
static inline struct operand tsram_operand(const struct descriptor *from, unsigned formats, int rank,
                                           bool written)
{
    return (struct operand){.from = from, .spaces = BIT(TSRAM), .formats = formats,
                            .scales = BIT(NONE), .rank = rank, .written = written};
}

/* The checks in the order of faults.md. Between them an instruction makes its own: whether formats
 * agree after check_formats, whether shapes do after check_shapes. */
enum fault check_descriptors(const struct machine *m, const struct tile *t, struct operand *o,
                             int count); /* bad_descriptor, bad_space */
enum fault check_formats(const struct operand *o, int count);
enum fault check_shapes(const struct operand *o, int count);
/* misaligned, bad_tile, out_of_bounds; sets .data. */
enum fault check_memory(struct machine *m, struct tile *t, struct operand *o, int count);
enum fault check_writable(const struct machine *m, const struct operand *o, int count);

/* All of the above but read_only, for instructions without checks of their own in between. */
enum fault check_all(struct machine *m, struct tile *t, struct operand *o, int count);

/* An owner's memory: the element 0 of t in it. The k-th of a fan, 0 for all others. */
uint8_t *owner_data(struct machine *m, const struct tile *issuer, const struct tensor *t, int64_t k);

bool is_empty(const struct tensor *t);
bool same_shape(const struct tensor *a, const struct tensor *b);

/* Elements that share a scale. */
static inline int64_t scale_block(unsigned kind) { return kind == NV16 ? 16 : 32; }

/* The scale of row (or output column) i and block b. */
uint8_t *scale_place(const struct tensor *t, int64_t i, int64_t b);

/* Calls `row` for runs of elements with one step per operand, in order: `first` and `step` are in
 * elements, one for each of `count` tensors of one shape. The runs are as long as the strides allow;
 * with `last_axis` each is one pass along the last dimension. */
typedef void row_function(void *context, const int64_t *first, const int64_t *step, int64_t n);
void for_rows(const struct tensor *const *tensors, int count, bool last_axis, row_function *row,
              void *context);

#endif
