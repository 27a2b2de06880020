/* Checks of descriptors and operands. */
#include "tensor.h"

#include "bytes.h"

#define LIMIT_DIM ((int64_t)1 << 40)
#define LIMIT_ADDRESS ((int64_t)1 << 48)
#define BEYOND ((int64_t)1 << 52) /* farther than any memory reaches */

static void unpack(const struct descriptor *d, struct tensor *t)
{
    uint64_t kinds = d->word[1];
    *t = (struct tensor){.space = kinds & 0xff, .format = kinds >> 8 & 0xff,
                         .layout = kinds >> 16 & 0xff, .scale_kind = kinds >> 24 & 0xff,
                         .rank = kinds >> 32 & 0xff};
    t->base = as_signed(d->word[0]);
    t->owner = as_signed(d->word[2]);
    t->fan = as_signed(d->word[3]);
    t->fanstep = as_signed(d->word[4]);
    t->scale = as_signed(d->word[6]);
    for (unsigned i = 0; i < MAX_RANK; i++) { /* what is beyond the rank has no meaning */
        t->dim[i] = i < t->rank ? as_signed(d->word[7 + i]) : 1;
        t->stride[i] = i < t->rank ? as_signed(d->word[11 + i]) : 0;
    }
    t->sstride[0] = (int64_t)(d->word[15] & (((uint64_t)1 << 40) - 1));
    t->sstride[1] = (int64_t)(d->word[15] >> 40);
}

static bool within(int64_t x, int64_t low, int64_t high) { return x >= low && x <= high; }

static bool legal_fan(const struct machine *m, const struct operand *o)
{
    const struct tensor *t = &o->t;
    bool takes_fan = o->dma && o->written && (t->space == TSRAM || t->space == CSRAM);
    return within(t->fan, 1, takes_fan ? (int64_t)m->chip->tiles : 1);
}

static bool legal_descriptor(const struct machine *m, const struct operand *o)
{
    const struct tensor *t = &o->t;
    if (t->space >= NUM_SPACES || t->format >= NUM_FORMATS || t->layout >= NUM_LAYOUTS ||
        t->scale_kind >= NUM_SCALE_KINDS || t->rank > MAX_RANK)
        return false;
    if (o->from->word[1] >> 40 != 0 || o->from->word[5] != 0)
        return false;
    if (!within(t->base, 0, LIMIT_ADDRESS) || !within(t->scale, 0, LIMIT_ADDRESS))
        return false;
    for (unsigned i = 0; i < MAX_RANK; i++) {
        if (!within(t->dim[i], 0, LIMIT_DIM) || !within(t->stride[i], 0, LIMIT_DIM))
            return false;
        if (o->written && t->dim[i] > 1 && t->stride[i] == 0)
            return false;
    }
    return legal_fan(m, o);
}

static bool good_space(const struct tile *tile, const struct operand *o)
{
    bool own = o->t.owner == -1 || o->t.owner == (int64_t)tile->id;
    bool has_owner = o->t.space == TSRAM || o->t.space == ACC;
    return (o->spaces >> o->t.space & 1) != 0 && (o->dma || own || !has_owner);
}

enum fault check_descriptors(const struct machine *m, const struct tile *t, struct operand *o,
                             int count)
{
    for (int i = 0; i < count; i++) {
        if (o[i].from == NULL)
            continue;
        unpack(o[i].from, &o[i].t);
        if (!legal_descriptor(m, &o[i]))
            return BAD_DESCRIPTOR;
        if (o[i].dma)
            o[i].t.scale_kind = NONE;
    }
    for (int i = 0; i < count; i++)
        if (o[i].from != NULL && !good_space(t, &o[i]))
            return BAD_SPACE;
    return FAULT_NONE;
}

static bool scale_suits(unsigned kind, unsigned format)
{
    bool narrow = format == E4M3FN || format == E5M2 || format == E2M1;
    return kind == NONE || (kind == NV16 && format == E2M1) || (kind == MX32 && narrow);
}

enum fault check_formats(const struct operand *o, int count)
{
    for (int i = 0; i < count; i++) {
        const struct tensor *t = &o[i].t;
        if (o[i].from == NULL)
            continue;
        if ((o[i].formats >> t->format & 1) == 0 || (t->layout == PANEL && !o[i].panel))
            return FORMAT_MISMATCH;
        if (!o[i].dma && ((o[i].scales >> t->scale_kind & 1) == 0 ||
                          !scale_suits(t->scale_kind, t->format)))
            return FORMAT_MISMATCH;
    }
    return FAULT_NONE;
}

enum fault check_shapes(const struct operand *o, int count)
{
    for (int i = 0; i < count; i++) {
        const struct tensor *t = &o[i].t;
        if (o[i].from == NULL)
            continue;
        if (o[i].rank >= 0 && t->rank != (unsigned)o[i].rank)
            return SHAPE_MISMATCH;
        if (t->rank != 2 && (t->layout == PANEL || t->scale_kind != NONE))
            return SHAPE_MISMATCH;
    }
    return FAULT_NONE;
}

bool is_empty(const struct tensor *t)
{
    for (unsigned i = 0; i < t->rank; i++)
        if (t->dim[i] == 0)
            return true;
    return false;
}

bool same_shape(const struct tensor *a, const struct tensor *b)
{
    if (a->rank != b->rank)
        return false;
    for (unsigned i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

static bool is_aligned(const struct tensor *t)
{
    unsigned width = format_bits(t->format);
    if (t->layout == PANEL) {
        int64_t g = 32 / width;
        bool scales = t->scale_kind == NONE || t->sstride[1] == 16;
        return t->base % 4 == 0 && t->stride[0] % (16 * g) == 0 && t->stride[1] == 1 && scales;
    }
    if (width > 8)
        return t->base % (width / 8) == 0;
    if (t->format != E2M1 || t->rank == 0)
        return true;
    for (unsigned i = 0; i + 1 < t->rank; i++)
        if (t->stride[i] % 2 != 0)
            return false;
    return t->dim[t->rank - 1] <= 1 || t->stride[t->rank - 1] == 1;
}

/* sum + (n - 1) * step, or BEYOND. */
static int64_t reach(int64_t sum, int64_t n, int64_t step)
{
    if (sum >= BEYOND || (step > 0 && n - 1 > BEYOND / step))
        return BEYOND;
    return sum + (n - 1) * step;
}

/* Bytes from element 0 to the end of the last one, of a tensor that is not empty. */
static int64_t data_extent(const struct tensor *t)
{
    int64_t width = (int64_t)format_bits(t->format), last = 0;
    if (t->layout == PANEL) {
        int64_t g = 32 / width, panels = (t->dim[0] + 15) / 16, words = (t->dim[1] + g - 1) / g;
        last = reach(0, panels, t->stride[0] / g * 4); /* a word holds g elements */
        return last >= BEYOND ? BEYOND : last + words * 64;
    }
    for (unsigned i = 0; i < t->rank; i++)
        last = reach(last, t->dim[i], t->stride[i]);
    return last >= BEYOND ? BEYOND : (last * width + width + 7) / 8;
}

static int64_t scale_extent(const struct tensor *t)
{
    int64_t block = scale_block(t->scale_kind), blocks = (t->dim[1] + block - 1) / block;
    if (t->layout == STRIDED)
        return reach(reach(1, t->dim[0], t->sstride[0]), blocks, t->sstride[1]);
    int64_t panels = (t->dim[0] + 15) / 16; /* whole groups of 16 columns, as their words */
    return reach(reach(16, panels, t->sstride[0]), blocks, 16);
}

static struct region *region_at(const struct machine *m, int64_t base, int64_t extent)
{
    for (uint64_t i = 0; i < m->program->num_regions; i++) {
        struct region *r = &m->program->regions[i];
        uint64_t at = (uint64_t)base;
        if (at >= r->address && at - r->address < r->size &&
            (uint64_t)extent <= r->size - (at - r->address))
            return r;
    }
    return NULL;
}

static uint64_t space_size(const struct machine *m, unsigned space)
{
    return space == CSRAM ? m->chip->csram : space == TSRAM ? m->chip->tsram : m->chip->acc;
}

static bool in_bounds(const struct machine *m, const struct tensor *t)
{
    int64_t extent = data_extent(t);
    if (t->space == HBM)
        return region_at(m, t->base, extent) != NULL;
    uint64_t size = space_size(m, t->space);
    if ((uint64_t)t->base + (uint64_t)extent > size)
        return false;
    return t->scale_kind == NONE || (uint64_t)t->scale + (uint64_t)scale_extent(t) <= size;
}

/* The owners of a fan; fans are at most the number of tiles. */
static bool owners_exist(const struct machine *m, const struct tile *tile, const struct tensor *t)
{
    if (t->space == HBM)
        return true;
    int64_t number = (int64_t)(t->space == CSRAM ? m->chip->clusters : m->chip->tiles);
    int64_t first = t->owner != -1        ? t->owner
                    : t->space == CSRAM ? (int64_t)cluster_of(m, tile)
                                          : (int64_t)tile->id;
    if (!within(first, 0, number - 1))
        return false;
    if (t->fan == 1)
        return true;
    return within(t->fanstep, -number, number) &&
           within(first + (t->fan - 1) * t->fanstep, 0, number - 1);
}

uint8_t *owner_data(struct machine *m, const struct tile *issuer, const struct tensor *t, int64_t k)
{
    int64_t step = k * (t->fan > 1 ? t->fanstep : 0);
    if (t->space == HBM) {
        struct region *r = region_at(m, t->base, 1);
        return region_memory(r) + ((uint64_t)t->base - r->address);
    }
    if (t->space == CSRAM) {
        int64_t own = t->owner == -1 ? (int64_t)cluster_of(m, issuer) : t->owner;
        return cluster_memory(m, (uint64_t)(own + step)) + t->base;
    }
    int64_t own = t->owner == -1 ? (int64_t)issuer->id : t->owner;
    return tile_memory(m, &m->tiles[own + step], (enum space)t->space) + t->base;
}

enum fault check_memory(struct machine *m, struct tile *t, struct operand *o, int count)
{
    for (int i = 0; i < count; i++)
        if (o[i].from != NULL && !is_empty(&o[i].t) && !is_aligned(&o[i].t))
            return MISALIGNED;
    for (int i = 0; i < count; i++)
        if (o[i].from != NULL && o[i].dma && !owners_exist(m, t, &o[i].t))
            return BAD_TILE;
    for (int i = 0; i < count; i++)
        if (o[i].from != NULL && !is_empty(&o[i].t) && !in_bounds(m, &o[i].t))
            return OUT_OF_BOUNDS;
    for (int i = 0; i < count; i++) {
        struct tensor *x = &o[i].t;
        if (o[i].from == NULL || is_empty(x))
            continue;
        x->data = owner_data(m, t, x, 0);
        if (x->scale_kind != NONE)
            x->scales = tile_memory(m, t, TSRAM) + x->scale;
    }
    return FAULT_NONE;
}

enum fault check_writable(const struct machine *m, const struct operand *o, int count)
{
    for (int i = 0; i < count; i++)
        if (o[i].written && o[i].t.space == HBM && !is_empty(&o[i].t) &&
            !region_at(m, o[i].t.base, 1)->writable)
            return READ_ONLY;
    return FAULT_NONE;
}

enum fault check_all(struct machine *m, struct tile *t, struct operand *o, int count)
{
    enum fault fault = check_descriptors(m, t, o, count);
    if (fault == FAULT_NONE)
        fault = check_formats(o, count);
    if (fault == FAULT_NONE)
        fault = check_shapes(o, count);
    return fault != FAULT_NONE ? fault : check_memory(m, t, o, count);
}
