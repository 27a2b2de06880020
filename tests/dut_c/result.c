#include "result.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES_PER_LINE = 32 };

static void write_unit(FILE *f, unsigned unit)
{
    static const char *const names[] = {"ctl", "mxu", "vpu"};
    if (unit < UNIT_DMA0)
        fputs(names[unit], f);
    else
        fprintf(f, "dma%u", unit - UNIT_DMA0);
}

static void write_faults(FILE *f, const struct machine *m)
{
    for (uint64_t i = 0; i < m->num_faults; i++) {
        const struct fault_record *r = &m->faults[i];
        fprintf(f, "fault %" PRIu32 " ", r->tile);
        write_unit(f, r->unit);
        fprintf(f, " %" PRIu64 " %s\n", r->pc, fault_name(r->fault));
    }
}

static void write_sticky(FILE *f, const struct machine *m, const bool *sticky)
{
    bool any = false;
    for (uint64_t i = 0; i < m->chip->tiles; i++) {
        if (!sticky[i])
            continue;
        fprintf(f, any ? " %" PRIu64 : "sticky %" PRIu64, i);
        any = true;
    }
    if (any)
        fputc('\n', f);
}

static void write_symbol(FILE *f, const struct symbol *s)
{
    static const char digits[] = "0123456789abcdef";
    char line[2 * BYTES_PER_LINE + 1];
    fputs("symbol ", f);
    fwrite(s->name.at, 1, (size_t)s->name.size, f);
    fprintf(f, " %" PRIu64 "\n", s->size);
    for (uint64_t at = 0; at < s->size; at += BYTES_PER_LINE) {
        uint64_t n = s->size - at < BYTES_PER_LINE ? s->size - at : BYTES_PER_LINE;
        const uint8_t *data = s->region->data;
        for (uint64_t i = 0; i < n; i++) { /* a region never touched is zero */
            uint8_t byte = data == NULL ? 0 : data[s->address - s->region->address + at + i];
            line[2 * i] = digits[byte >> 4];
            line[2 * i + 1] = digits[byte & 15];
        }
        line[2 * n] = '\n';
        fwrite(line, 1, (size_t)(2 * n + 1), f);
    }
}

static void write_result(FILE *f, const struct machine *m, const char *unsupported,
                         const bool *sticky)
{
    fputs("tessera-result 1\n", f);
    if (unsupported != NULL) {
        fprintf(f, "outcome unsupported %s\n", unsupported);
    } else {
        fprintf(f, "outcome %s\n", m->num_faults > 0 ? "faulted" : "completed");
        write_faults(f, m);
        write_sticky(f, m, sticky);
        for (uint64_t i = 0; i < m->program->num_symbols; i++)
            if (m->program->symbols[i].role == ROLE_OUT)
                write_symbol(f, &m->program->symbols[i]);
    }
    fputs("done\n", f);
}

bool result_write(const char *path, const struct machine *m, const char *unsupported,
                  const bool *sticky)
{
    static const char suffix[] = ".part";
    char *temporary = allocate(strlen(path) + sizeof suffix, 1);
    memcpy(temporary, path, strlen(path));
    memcpy(temporary + strlen(path), suffix, sizeof suffix);
    FILE *f = fopen(temporary, "wb");
    bool good = f != NULL;
    if (good) {
        write_result(f, m, unsupported, sticky);
        good = ferror(f) == 0;
        good = fclose(f) == 0 && good && rename(temporary, path) == 0;
        if (!good)
            remove(temporary);
    }
    free(temporary);
    return good;
}
