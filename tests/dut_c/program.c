/* The container: header, section table, places and checksums. */
#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "digest.h"

enum { HEADER_SIZE = 64, TABLE_ENTRY = 32, ALIGNMENT = 8, DATA_ALIGNMENT = 4096 };

static const uint8_t MAGIC[8] = {0x89, 'T', 'S', 'R', '\r', '\n', 0x1a, '\n'};

static bool all_zero(const uint8_t *p, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        if (p[i] != 0)
            return false;
    return true;
}

static const char *check_header(const uint8_t *h)
{
    if (memcmp(h, MAGIC, sizeof MAGIC) != 0)
        return "not a program file";
    if (crc32_of(h, 60) != load32(h + 60))
        return "checksum of the header";
    if (load32(h + 8) != 0x01020304)
        return "byte order";
    if (load16(h + 12) != 1)
        return "version of the file format";
    if (load16(h + 14) != HEADER_SIZE)
        return "size of the header";
    if (load16(h + 16) != 1)
        return "major version of the ISA";
    if (load32(h + 20) > 1)
        return "flags of the header";
    return all_zero(h + 40, 20) ? NULL : "reserved bytes of the header";
}

/* The header is read first: its size of the file must be true before anything is allocated. */
static const char *read_image(struct program *p, FILE *file)
{
    uint8_t header[HEADER_SIZE];
    if (fread(header, 1, HEADER_SIZE, file) != HEADER_SIZE)
        return "shorter than a header";
    const char *error = check_header(header);
    if (error != NULL)
        return error;
    if (fseek(file, 0, SEEK_END) != 0)
        return "cannot be read";
    long size = ftell(file);
    if (size < HEADER_SIZE || (uint64_t)size != load64(header + 24))
        return "size of the file";
    if (fseek(file, 0, SEEK_SET) != 0 || (uint64_t)size > SIZE_MAX)
        return "cannot be read";
    p->image = malloc((size_t)size);
    if (p->image == NULL)
        return "larger than memory";
    p->image_size = (uint64_t)size;
    if (fread(p->image, 1, (size_t)size, file) != (size_t)size)
        return "cannot be read";
    return memcmp(p->image, header, HEADER_SIZE) == 0 ? NULL : "changed while it was read";
}

/* Entries ascend, and every kind is there that must be. */
static const char *check_kinds(const uint8_t *table, uint32_t count)
{
    bool seen[DATA + 1] = {false};
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *e = table + (uint64_t)TABLE_ENTRY * i;
        uint32_t kind = load16(e), index = load32(e + 4);
        if (load16(e + 2) != 0 || load32(e + 28) != 0)
            return "reserved bytes of the section table";
        if (kind == 0 || (kind > TOKENIZER && kind != DATA) || (kind != DATA && index != 0))
            return "kind of a section";
        if (i > 0) {
            uint32_t kind_before = load16(e - TABLE_ENTRY), index_before = load32(e - TABLE_ENTRY + 4);
            if (kind < kind_before || (kind == kind_before && index <= index_before))
                return "order of the sections";
        }
        seen[kind] = true;
    }
    for (int kind = STRINGS; kind <= METADATA; kind++)
        if (!seen[kind])
            return "a section is missing";
    return NULL;
}

/* Sections lie where the sizes put them, with zeros in between, up to the end of the file. */
static const char *check_places(const struct program *p, const uint8_t *table, uint32_t count)
{
    uint64_t end = HEADER_SIZE + (uint64_t)TABLE_ENTRY * count;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *e = table + (uint64_t)TABLE_ENTRY * i;
        uint64_t align = load16(e) == DATA ? DATA_ALIGNMENT : ALIGNMENT;
        uint64_t start = (end + align - 1) / align * align;
        uint64_t offset = load64(e + 8), size = load64(e + 16);
        if (offset != start || start > p->image_size || size > p->image_size - start)
            return "place of a section";
        if (!all_zero(p->image + end, start - end))
            return "bytes between sections";
        if (crc32_of(p->image + start, size) != load32(e + 24))
            return "checksum of a section";
        end = start + size;
    }
    return end == p->image_size ? NULL : "bytes after the last section";
}

static const char *check_table(struct program *p)
{
    uint32_t count = load32(p->image + 32);
    const uint8_t *table = p->image + HEADER_SIZE;
    if (count > (p->image_size - HEADER_SIZE) / TABLE_ENTRY)
        return "number of sections";
    if (crc32_of(table, (uint64_t)TABLE_ENTRY * count) != load32(p->image + 36))
        return "checksum of the section table";
    const char *error = check_kinds(table, count);
    if (error == NULL)
        error = check_places(p, table, count);
    if (error != NULL)
        return error;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *e = table + (uint64_t)TABLE_ENTRY * i;
        if (load16(e) != DATA)
            p->section[load16(e)] = (struct bytes){p->image + load64(e + 8), load64(e + 16)};
    }
    return NULL;
}

/* Data sections become the memory of their regions. */
static const char *attach_data(struct program *p)
{
    const uint8_t *table = p->image + HEADER_SIZE;
    bool omitted = false;
    for (uint32_t i = 0; i < load32(p->image + 32); i++) {
        const uint8_t *e = table + (uint64_t)TABLE_ENTRY * i;
        uint32_t index = load32(e + 4);
        if (load16(e) != DATA)
            continue;
        if (index >= p->num_regions)
            return "data of no region";
        struct region *r = &p->regions[index];
        if (r->size != load64(e + 16) || r->omitted)
            return "size of a region's data";
        r->data = p->image + load64(e + 8);
        r->in_image = true;
    }
    for (uint64_t i = 0; i < p->num_regions; i++)
        omitted = omitted || p->regions[i].omitted;
    p->omitted = omitted;
    return omitted == ((load32(p->image + 20) & 1) != 0) ? NULL : "flag of omitted data";
}

const char *program_load(struct program *p, const char *path)
{
    memset(p, 0, sizeof *p);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return "cannot be opened";
    const char *error = read_image(p, file);
    fclose(file);
    if (error == NULL)
        error = check_table(p);
    if (error == NULL)
        error = sections_read(p);
    return error != NULL ? error : attach_data(p);
}

void program_free(struct program *p)
{
    for (uint64_t i = 0; i < p->num_regions; i++)
        if (!p->regions[i].in_image)
            free(p->regions[i].data);
    free(p->regions);
    free(p->symbols);
    free(p->entries);
    free(p->code);
    free(p->image);
    memset(p, 0, sizeof *p);
}

const struct entry *program_entry(const struct program *p, const char *name)
{
    for (uint64_t i = 0; i < p->num_entries; i++)
        if (p->entries[i].name.size == strlen(name) &&
            memcmp(p->entries[i].name.at, name, strlen(name)) == 0)
            return &p->entries[i];
    return NULL;
}
