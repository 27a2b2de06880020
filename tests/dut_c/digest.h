/* Checksums of the program file. */
#ifndef DIGEST_H
#define DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32 of ISO 3309. */
uint32_t crc32_of(const uint8_t *data, uint64_t size);

enum { CHIP_DIGEST = 16 };

/* BLAKE2b (RFC 7693) with a digest of 16 bytes and no key. */
void blake2b_16(const uint8_t *data, size_t size, uint8_t digest[CHIP_DIGEST]);

#endif
