/* Row bounds of gemm and of the row reductions. */
#include "bytes.h"
#include "convert.h"
#include "vector.h"

/* clip(bound - k0, 0, n), the difference being exact whatever k0 is. */
static int64_t clip(int64_t bound, int64_t k0, int64_t n)
{
    if (bound <= k0)
        return 0;
    if (k0 < 0 && bound > INT64_MAX + k0)
        return n;
    return bound - k0 < n ? bound - k0 : n;
}

void clip_bounds(const struct operand *bounds, int64_t row, uint64_t k0, int64_t n, int64_t *low,
                 int64_t *high)
{
    uint32_t pair[2];
    *low = 0;
    *high = n;
    if (bounds->from == NULL)
        return;
    load_words(&bounds->t, row * bounds->t.stride[0], bounds->t.stride[1], 2, pair);
    *low = clip(as_signed32(pair[0]), as_signed(k0), n);
    *high = clip(as_signed32(pair[1]), as_signed(k0), n);
}
