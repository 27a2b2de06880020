/* What the sections of a program file say, and whether it makes sense. */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "program.h"
#include "text.h"

enum {
    HASH_ENTRY = 40,
    CODE_ENTRY = 16,
    ENTRY_ENTRY = 16,
    REGION_ENTRY = 32,
    SYMBOL_ENTRY = 88,
    NUM_CLASSES = 8,
    MAX_NAME = 255,
    MAX_SYMBOL_RANK = 8
};

struct bytes string_at(const struct program *p, const uint8_t *reference)
{
    struct bytes none = {NULL, 0}, strings = p->section[STRINGS];
    uint64_t offset = load32(reference), length = load32(reference + 4);
    if (offset > strings.size || length > strings.size - offset)
        return none;
    if (!is_utf8(strings.at + offset, length))
        return none;
    return (struct bytes){strings.at + offset, length};
}

static bool good_name(struct bytes name)
{
    return name.at != NULL && name.size >= 1 && name.size <= MAX_NAME &&
           is_printable(name.at, name.size);
}

static int compare_names(const void *a, const void *b)
{
    struct bytes x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    int order = memcmp(x.at, y.at, (size_t)(x.size < y.size ? x.size : y.size));
    return order != 0 ? order : (x.size > y.size) - (x.size < y.size);
}

/* `records` have their name first. */
static bool names_unique(const void *records, uint64_t count, size_t record)
{
    struct bytes *names = malloc(count == 0 ? 1 : (size_t)count * sizeof *names);
    bool unique = names != NULL;
    for (uint64_t i = 0; unique && i < count; i++)
        memcpy(&names[i], (const char *)records + i * record, sizeof *names);
    if (unique && count > 0)
        qsort(names, (size_t)count, sizeof *names, compare_names);
    for (uint64_t i = 1; unique && i < count; i++)
        unique = compare_names(&names[i - 1], &names[i]) != 0;
    free(names);
    return unique;
}

/* Room for the records of a section, or NULL if its size is not a multiple of theirs. */
static void *records(const struct program *p, enum section kind, uint64_t size, size_t each,
                     uint64_t *count)
{
    *count = 0;
    if (p->section[kind].size % size != 0)
        return NULL;
    void *room = calloc((size_t)(p->section[kind].size / size) + 1, each);
    if (room != NULL)
        *count = p->section[kind].size / size;
    return room;
}

static const char *read_code(struct program *p)
{
    p->code = records(p, CODE, CODE_ENTRY, sizeof *p->code, &p->code_size);
    if (p->code == NULL || p->code_size == 0)
        return "size of the code";
    for (uint64_t i = 0; i < p->code_size; i++) {
        p->code[i].low = load64(p->section[CODE].at + CODE_ENTRY * i);
        p->code[i].high = load64(p->section[CODE].at + CODE_ENTRY * i + 8);
    }
    return NULL;
}

static bool hash_matches(const uint8_t *sha256, const char *hexadecimal)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 32; i++)
        if (hexadecimal[2 * i] != digits[sha256[i] >> 4] ||
            hexadecimal[2 * i + 1] != digits[sha256[i] & 15])
            return false;
    return true;
}

/* The list names exactly the instructions of the code, and they mean here what they meant there. */
static const char *check_hashes(const struct program *p)
{
    struct bytes s = p->section[HASHES];
    bool used[256] = {false};
    uint32_t before = 0;
    if (s.size % HASH_ENTRY != 0)
        return "size of the hashes";
    for (uint64_t i = 0; i < p->code_size; i++)
        if (decode(p->code[i]) != NULL)
            used[p->code[i].low & 0xff] = true;
    for (uint64_t i = 0; i < s.size / HASH_ENTRY; i++) {
        const uint8_t *e = s.at + HASH_ENTRY * i;
        uint32_t opcode = load32(e);
        if (load32(e + 4) != 0 || (i > 0 && opcode <= before))
            return "order of the hashes";
        const char *hash = instruction_hash(opcode);
        if (hash == NULL || !hash_matches(e + 8, hash))
            return "an instruction that is not known here";
        if (!used[opcode])
            return "a hash of an instruction that does not occur";
        used[opcode] = false;
        before = opcode;
    }
    for (int opcode = 0; opcode < 256; opcode++)
        if (used[opcode])
            return "an instruction without a hash";
    return NULL;
}

static const char *read_entries(struct program *p)
{
    p->entries = records(p, ENTRIES, ENTRY_ENTRY, sizeof *p->entries, &p->num_entries);
    if (p->entries == NULL)
        return "size of the entries";
    for (uint64_t i = 0; i < p->num_entries; i++) {
        const uint8_t *e = p->section[ENTRIES].at + ENTRY_ENTRY * i;
        p->entries[i] = (struct entry){string_at(p, e), load64(e + 8)};
        if (!good_name(p->entries[i].name))
            return "name of an entry";
        if (p->entries[i].pc >= p->code_size)
            return "an entry outside the code";
    }
    return names_unique(p->entries, p->num_entries, sizeof *p->entries) ? NULL
                                                                        : "two entries of one name";
}

static int compare_regions(const void *a, const void *b)
{
    const struct region *x = a, *y = b;
    return (x->address > y->address) - (x->address < y->address);
}

static const char *regions_disjoint(const struct program *p)
{
    struct region *sorted = malloc(((size_t)p->num_regions + 1) * sizeof *sorted);
    const char *error = sorted == NULL ? "larger than memory" : NULL;
    if (sorted != NULL && p->num_regions > 0) {
        memcpy(sorted, p->regions, (size_t)p->num_regions * sizeof *sorted);
        qsort(sorted, (size_t)p->num_regions, sizeof *sorted, compare_regions);
    }
    for (uint64_t i = 1; error == NULL && i < p->num_regions; i++)
        if (sorted[i].address - sorted[i - 1].address < sorted[i - 1].size)
            error = "regions overlap";
    free(sorted);
    return error;
}

static const char *read_regions(struct program *p)
{
    p->regions = records(p, REGIONS, REGION_ENTRY, sizeof *p->regions, &p->num_regions);
    if (p->regions == NULL)
        return "size of the regions";
    for (uint64_t i = 0; i < p->num_regions; i++) {
        const uint8_t *e = p->section[REGIONS].at + REGION_ENTRY * i;
        struct region *r = &p->regions[i];
        r->name = string_at(p, e);
        r->address = load64(e + 8);
        r->size = load64(e + 16);
        r->writable = (e[25] & 1) != 0;
        r->omitted = (e[25] & 2) != 0;
        if (!good_name(r->name))
            return "name of a region";
        if (e[24] >= NUM_CLASSES || e[25] > 3 || load32(e + 26) != 0 || load16(e + 30) != 0)
            return "class or flags of a region";
        if (r->size == 0 || r->size > p->chip.hbm || r->address > p->chip.hbm - r->size)
            return "a region outside HBM";
    }
    const char *error = regions_disjoint(p);
    if (error != NULL)
        return error;
    return names_unique(p->regions, p->num_regions, sizeof *p->regions) ? NULL
                                                                        : "two regions of one name";
}

/* Bytes of a dense tensor; more than any memory if the product does not fit. */
static uint64_t symbol_bytes(const uint8_t *e)
{
    const uint64_t limit = (uint64_t)1 << 56;
    uint64_t elements = 1;
    for (int i = 0; i < e[18]; i++)
        if (load64(e + 24 + 8 * i) == 0)
            return 0;
    for (int i = 0; i < e[18]; i++) {
        uint64_t dim = load64(e + 24 + 8 * i);
        if (dim > limit / elements)
            return UINT64_MAX;
        elements *= dim;
    }
    return (elements * format_bits(e[16]) + 7) / 8;
}

static const struct region *region_of(const struct program *p, uint64_t address, uint64_t size)
{
    for (uint64_t i = 0; i < p->num_regions; i++) {
        const struct region *r = &p->regions[i];
        if (address >= r->address && address - r->address <= r->size &&
            size <= r->size - (address - r->address))
            return r;
    }
    return NULL;
}

static const char *read_symbol(const struct program *p, const uint8_t *e, struct symbol *s)
{
    s->name = string_at(p, e);
    s->address = load64(e + 8);
    s->role = e[17];
    if (!good_name(s->name))
        return "name of a symbol";
    if (e[16] >= NUM_FORMATS || e[17] > ROLE_STATE || e[18] > MAX_SYMBOL_RANK ||
        load32(e + 19) != 0 || e[23] != 0)
        return "format, role or rank of a symbol";
    for (int i = e[18]; i < MAX_SYMBOL_RANK; i++)
        if (load64(e + 24 + 8 * i) != 0)
            return "shape of a symbol";
    s->size = symbol_bytes(e);
    s->region = region_of(p, s->address, s->size);
    return s->region != NULL ? NULL : "a symbol outside its region";
}

static const char *read_symbols(struct program *p)
{
    p->symbols = records(p, SYMBOLS, SYMBOL_ENTRY, sizeof *p->symbols, &p->num_symbols);
    if (p->symbols == NULL)
        return "size of the symbols";
    for (uint64_t i = 0; i < p->num_symbols; i++) {
        const char *error = read_symbol(p, p->section[SYMBOLS].at + SYMBOL_ENTRY * i, &p->symbols[i]);
        if (error != NULL)
            return error;
    }
    return names_unique(p->symbols, p->num_symbols, sizeof *p->symbols) ? NULL
                                                                        : "two symbols of one name";
}

static const char *check_debug(const struct program *p)
{
    struct bytes ops = p->section[DEBUG_OPS], index = p->section[DEBUG_INDEX];
    if (ops.size % 8 != 0)
        return "size of the operations";
    for (uint64_t i = 0; i < ops.size; i += 8)
        if (string_at(p, ops.at + i).at == NULL)
            return "name of an operation";
    if (index.size != 0 && index.size / 4 != p->code_size)
        return "size of the index of operations";
    if (index.size % 4 != 0)
        return "size of the index of operations";
    for (uint64_t i = 0; i < index.size; i += 4)
        if (load32(index.at + i) != UINT32_MAX && load32(index.at + i) >= ops.size / 8)
            return "index of an operation";
    return NULL;
}

const char *sections_read(struct program *p)
{
    static const char *(*const steps[])(struct program *) = {chip_read, read_code, read_entries,
                                                             read_regions, read_symbols};
    if (!is_utf8(p->section[STRINGS].at, p->section[STRINGS].size))
        return "strings are not UTF-8";
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        const char *error = steps[i](p);
        if (error != NULL)
            return error;
    }
    if (p->section[DESCRIPTORS].size % (8 * DESCRIPTOR_WORDS) != 0)
        return "size of the descriptors";
    p->descriptors = p->section[DESCRIPTORS].at;
    p->num_descriptors = p->section[DESCRIPTORS].size / (8 * DESCRIPTOR_WORDS);
    if (!is_json_object(p->section[METADATA].at, p->section[METADATA].size))
        return "metadata is not a JSON object";
    const char *error = check_hashes(p);
    return error != NULL ? error : check_debug(p);
}
