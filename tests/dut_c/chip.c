/* Section CHIP: the chip a program is for. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "digest.h"
#include "program.h"

enum { CHIP_HEADER = 32, CHIP_ITEM = 16, NUM_ITEMS = 7 };

/* Ascending, as they stand in the section and in the digest. */
static const char *const KEYS[NUM_ITEMS] = {
    "cluster.csram.bytes", "clusters",           "hbm.bytes",         "tile.acc.bytes",
    "tile.dma.channels",   "tile.tsram.bytes", "tiles_per_cluster"};

static const char *read_items(const struct program *p, uint64_t values[NUM_ITEMS])
{
    const uint8_t *items = p->section[CHIP].at + CHIP_HEADER;
    for (int i = 0; i < NUM_ITEMS; i++) {
        struct bytes key = string_at(p, items + CHIP_ITEM * i);
        if (key.at == NULL || key.size != strlen(KEYS[i]) || memcmp(key.at, KEYS[i], key.size) != 0)
            return "items of the chip";
        values[i] = load64(items + CHIP_ITEM * i + 8);
    }
    return NULL;
}

/* The digest is that of the items as JSON, keys sorted and without spaces. */
static bool digest_matches(const uint64_t values[NUM_ITEMS], const uint8_t *expected)
{
    char json[64 * NUM_ITEMS];
    uint8_t digest[CHIP_DIGEST];
    int length = 0;
    for (int i = 0; i < NUM_ITEMS; i++)
        length += snprintf(json + length, sizeof json - (size_t)length, "%c\"%s\":%" PRIu64,
                           i == 0 ? '{' : ',', KEYS[i], values[i]);
    length += snprintf(json + length, sizeof json - (size_t)length, "}");
    blake2b_16((const uint8_t *)json, (size_t)length, digest);
    return memcmp(digest, expected, CHIP_DIGEST) == 0;
}

const char *chip_read(struct program *p)
{
    struct bytes s = p->section[CHIP];
    uint64_t v[NUM_ITEMS];
    if (s.size != CHIP_HEADER + CHIP_ITEM * NUM_ITEMS || load32(s.at + 24) != NUM_ITEMS ||
        load32(s.at + 28) != 0)
        return "size of the chip's section";
    if (string_at(p, s.at).at == NULL)
        return "name of the chip";
    const char *error = read_items(p, v);
    if (error != NULL)
        return error;
    if (!digest_matches(v, s.at + 8))
        return "digest of the chip";
    p->chip = (struct chip){.csram = v[0], .clusters = v[1], .hbm = v[2], .acc = v[3],
                            .channels = v[4], .tsram = v[5], .tiles_per_cluster = v[6]};
    if (p->chip.clusters == 0 || p->chip.tiles_per_cluster == 0)
        return "a chip without tiles";
    if (p->chip.channels > MAX_CHANNELS)
        return "a chip with more than 8 DMA channels";
    p->chip.tiles = p->chip.clusters > UINT64_MAX / p->chip.tiles_per_cluster
                        ? UINT64_MAX
                        : p->chip.clusters * p->chip.tiles_per_cluster;
    return NULL;
}
