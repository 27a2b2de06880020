/* tessera-dut program.bin result.txt: runs a program on an implementation of the ISA of its own,
 * written from docs/isa/, for the conformance kit (docs/conformance.md). */
#include <stdio.h>
#include <stdlib.h>

#include "machine.h"
#include "result.h"

enum { STATUS_FAILED = 1, STATUS_BAD_PROGRAM = 2 };

static int complain(int status, const char *path, const char *why)
{
    fprintf(stderr, "tessera-dut: %s: %s\n", path, why);
    return status;
}

/* Rings main, and check if all went well; what is sticky counts after main. */
static bool *run(struct machine *m, const struct entry *entry)
{
    bool *sticky = allocate(m->chip->tiles, sizeof *sticky);
    const struct entry *check = program_entry(m->program, "check");
    machine_ring(m, entry->pc);
    for (uint64_t i = 0; i < m->chip->tiles; i++)
        sticky[i] = m->tiles[i].sticky;
    if (m->num_faults == 0 && check != NULL)
        machine_ring(m, check->pc);
    return sticky;
}

static int run_program(struct program *program, const char *path, const char *result)
{
    struct machine machine;
    bool *sticky = NULL;
    const char *error = program_load(program, path);
    if (error != NULL)
        return complain(STATUS_BAD_PROGRAM, path, error);
    const struct entry *entry = program_entry(program, "main");
    if (entry == NULL)
        return complain(STATUS_BAD_PROGRAM, path, "no entry main");
    const char *unsupported = machine_create(&machine, program);
    if (unsupported == NULL)
        sticky = run(&machine, entry);
    bool written = result_write(result, &machine, unsupported, sticky);
    free(sticky);
    machine_free(&machine);
    return written ? EXIT_SUCCESS : complain(STATUS_FAILED, result, "cannot be written");
}

int main(int argc, char **argv)
{
    struct program program;
    if (argc != 3) {
        fprintf(stderr, "usage: tessera-dut program.bin result.txt\n");
        return STATUS_BAD_PROGRAM;
    }
    int status = run_program(&program, argv[1], argv[2]);
    program_free(&program);
    return status;
}
