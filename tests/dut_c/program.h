/* A program file, read and checked. Page program.md. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "isa.h"

struct chip {
    uint64_t clusters, tiles_per_cluster, tiles;
    uint64_t tsram, acc, csram, hbm; /* bytes */
    uint64_t channels;
};

struct bytes {
    const uint8_t *at;
    uint64_t size;
};

struct region {
    struct bytes name;
    uint64_t address, size;
    bool writable, omitted;
    bool in_image; /* its memory is its data section */
    uint8_t *data; /* its memory; NULL while it is all zero */
};

struct entry {
    struct bytes name;
    uint64_t pc;
};

struct symbol {
    struct bytes name;
    uint64_t address, size; /* bytes */
    unsigned role;
    const struct region *region;
};

enum { ROLE_IN, ROLE_OUT, ROLE_STATE };

enum section {
    STRINGS = 1, CHIP, HASHES, CODE, DESCRIPTORS, ENTRIES, REGIONS, SYMBOLS, DEBUG_OPS, DEBUG_INDEX,
    METADATA, TOKENIZER, DATA = 16
};

struct program {
    uint8_t *image; /* the whole file; data sections are the memory of their regions */
    uint64_t image_size;
    struct bytes section[DATA]; /* by kind; all but DATA */
    bool omitted;
    struct chip chip;
    struct word *code;
    uint64_t code_size;
    const uint8_t *descriptors;
    uint64_t num_descriptors;
    struct entry *entries;
    uint64_t num_entries;
    struct region *regions;
    uint64_t num_regions;
    struct symbol *symbols;
    uint64_t num_symbols;
};

/* Reads a file. Returns NULL, or what is wrong with it. Either way program_free is due. */
const char *program_load(struct program *p, const char *path);
void program_free(struct program *p);

const struct entry *program_entry(const struct program *p, const char *name);

/* The sections other than DATA; used by program_load once the container is known to be sound. */
const char *sections_read(struct program *p);
const char *chip_read(struct program *p);

/* A string's bytes, or .at = NULL if it does not lie in STRINGS or is not UTF-8. */
struct bytes string_at(const struct program *p, const uint8_t *reference);

#endif
