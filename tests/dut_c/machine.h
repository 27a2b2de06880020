/* The machine a program sees: tiles, their units and memories. Page machine.md. */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "isa.h"
#include "program.h"

struct descriptor {
    uint64_t word[DESCRIPTOR_WORDS];
};

/* An instruction in the queue of a unit, with what was captured when it was issued. */
struct issue {
    uint32_t pc;
    struct word word;
    const struct form *form;
    struct descriptor d[5];
    uint64_t number; /* register rb + immediate */
    uint64_t tile;   /* register ra */
};

struct unit_state {
    struct issue *queue; /* a ring of QUEUE_DEPTH, made when it is first used */
    unsigned head, count;
    bool stopped; /* faulted: never served again */
};

struct loop {
    uint32_t start, end;
    uint64_t left;
};

struct tile {
    uint32_t id;
    uint64_t r[NUM_SCALARS];
    struct descriptor d[NUM_DESCRIPTORS];
    uint64_t pc;
    bool halted, stopped; /* of the control processor; stopped: faulted */
    struct loop loops[MAX_LOOPS];
    unsigned num_loops;
    uint64_t calls[MAX_CALLS];
    unsigned num_calls;
    uint32_t semaphore[NUM_SEMAPHORES];
    int8_t waiter[NUM_SEMAPHORES]; /* a unit, or -1 */
    bool sticky;                   /* a NaN went into E2M1 */
    struct unit_state unit[NUM_UNITS];
    uint8_t *tsram, *acc; /* NULL while all zero and not used */
};

struct fault_record {
    uint32_t tile, unit;
    uint64_t pc;
    enum fault fault;
};

struct machine {
    struct program *program;
    const struct chip *chip;
    struct tile *tiles;
    uint8_t **csram; /* by cluster */
    struct fault_record *faults;
    uint64_t num_faults;
};

/* Makes a machine with all memory at zero but for the program's data. NULL, or why it cannot be. */
const char *machine_create(struct machine *m, struct program *program);
void machine_free(struct machine *m);

/* Rings an entry on every tile and runs it until nothing moves. Faults are added, sorted. */
void machine_ring(struct machine *m, uint64_t pc);

/* Memory is allocated when it is first touched. */
uint8_t *tile_memory(struct machine *m, struct tile *tile, enum space space);
uint8_t *cluster_memory(struct machine *m, uint64_t cluster);
uint8_t *region_memory(struct region *region);

static inline uint32_t cluster_of(const struct machine *m, const struct tile *t)
{
    return (uint32_t)(t->id / m->chip->tiles_per_cluster);
}

/* What one attempt to do something came to. */
enum step { STEP_DONE, STEP_BLOCKED, STEP_FAULT };

/* control.c: one instruction of a tile's control processor. */
enum step control_step(struct machine *m, struct tile *t, enum fault *fault);

/* sync.c: `wait` and `signal`, in the control processor or at the head of a unit's queue. */
enum step sync_wait(struct tile *t, unsigned unit, unsigned sem, uint64_t count, enum fault *fault);
enum fault sync_signal(struct machine *m, struct tile *t, const struct issue *i);

/* Instructions of the units; each finishes or faults. */
enum fault execute_matrix(struct machine *m, struct tile *t, const struct issue *i);
enum fault execute_vector(struct machine *m, struct tile *t, const struct issue *i);
enum fault execute_dma(struct machine *m, struct tile *t, const struct issue *i);
/* ld, in the control processor. */
enum fault execute_ld(struct machine *m, struct tile *t, const struct issue *i);

/* Memory of the host, or the end of the process. */
void *allocate(uint64_t count, uint64_t size);

#endif
