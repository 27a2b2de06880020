/* Little-endian numbers in memory, whatever the byte order of the host. */
#ifndef BYTES_H
#define BYTES_H

#include <stdint.h>

static inline uint16_t load16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (uint32_t)p[1] << 8);
}

static inline uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t load64(const uint8_t *p)
{
    return (uint64_t)load32(p) | (uint64_t)load32(p + 4) << 32;
}

static inline void store16(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
}

static inline void store32(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
    p[2] = (uint8_t)(x >> 16);
    p[3] = (uint8_t)(x >> 24);
}

/* Two's complement without implementation-defined conversions. */
static inline int64_t as_signed(uint64_t x)
{
    return x >> 63 ? -(int64_t)(~x) - 1 : (int64_t)x;
}

static inline int32_t as_signed32(uint32_t x)
{
    return x >> 31 ? -(int32_t)(~x) - 1 : (int32_t)x;
}

#endif
