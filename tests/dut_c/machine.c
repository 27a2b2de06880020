/* State, scheduling and the end of an entry.
 *
 * A race-free program has one result under every schedule. Here tiles take turns; within a tile the
 * control processor runs until it blocks or its turn is over, and then each unit until it blocks.
 */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTROL_TURN = 4096 };

#define MAX_TILES 4096u
#define MAX_SRAM ((uint64_t)8 << 30)
#define MAX_REGION ((uint64_t)64 << 30)

void *allocate(uint64_t count, uint64_t size)
{
    void *memory = NULL;
    if (count == 0)
        count = 1;
    if (size <= SIZE_MAX / count)
        memory = calloc((size_t)count, (size_t)size);
    if (memory == NULL) {
        fprintf(stderr, "tessera-dut: out of memory\n");
        exit(EXIT_FAILURE);
    }
    return memory;
}

/* All SRAM of a chip, or more than any host's if the sum does not fit. */
static uint64_t sram_size(const struct chip *c)
{
    if (c->tsram > MAX_SRAM || c->acc > MAX_SRAM || c->csram > MAX_SRAM)
        return UINT64_MAX;
    return c->tiles * (c->tsram + c->acc) + c->clusters * c->csram;
}

const char *machine_create(struct machine *m, struct program *program)
{
    const struct chip *c = &program->chip;
    memset(m, 0, sizeof *m);
    if (program->omitted)
        return "the program is without its data";
    if (c->tiles > MAX_TILES)
        return "too many tiles";
    if (sram_size(c) > MAX_SRAM)
        return "too much SRAM";
    for (uint64_t i = 0; i < program->num_regions; i++)
        if (program->regions[i].size > MAX_REGION)
            return "too large a region";
    m->program = program;
    m->chip = c;
    m->tiles = allocate(c->tiles, sizeof *m->tiles);
    m->csram = allocate(c->clusters, sizeof *m->csram);
    m->faults = allocate(2 * c->tiles * NUM_UNITS, sizeof *m->faults);
    for (uint32_t i = 0; i < c->tiles; i++)
        m->tiles[i].id = i;
    return NULL;
}

void machine_free(struct machine *m)
{
    if (m->tiles == NULL)
        return;
    for (uint64_t i = 0; i < m->chip->tiles; i++) {
        free(m->tiles[i].tsram);
        free(m->tiles[i].acc);
        for (unsigned u = 0; u < NUM_UNITS; u++)
            free(m->tiles[i].unit[u].queue);
    }
    for (uint64_t i = 0; i < m->chip->clusters; i++)
        free(m->csram[i]);
    free(m->tiles);
    free(m->csram);
    free(m->faults);
    memset(m, 0, sizeof *m);
}

uint8_t *tile_memory(struct machine *m, struct tile *tile, enum space space)
{
    uint8_t **memory = space == ACC ? &tile->acc : &tile->tsram;
    if (*memory == NULL)
        *memory = allocate(space == ACC ? m->chip->acc : m->chip->tsram, 1);
    return *memory;
}

uint8_t *cluster_memory(struct machine *m, uint64_t cluster)
{
    if (m->csram[cluster] == NULL)
        m->csram[cluster] = allocate(m->chip->csram, 1);
    return m->csram[cluster];
}

uint8_t *region_memory(struct region *region)
{
    if (region->data == NULL)
        region->data = allocate(region->size, 1);
    return region->data;
}

static void record(struct machine *m, const struct tile *t, unsigned unit, uint64_t pc,
                   enum fault fault)
{
    m->faults[m->num_faults++] = (struct fault_record){t->id, unit, pc, fault};
}

/* ---- Units */

static enum step execute(struct machine *m, struct tile *t, unsigned unit, enum fault *fault)
{
    const struct issue *i = &t->unit[unit].queue[t->unit[unit].head];
    switch (i->form->opcode) {
    case OP_WAIT:
        return sync_wait(t, unit, field_sem(i->word), i->number, fault);
    case OP_SIGNAL:
        *fault = sync_signal(m, t, i);
        break;
    default:
        *fault = unit == UNIT_MXU   ? execute_matrix(m, t, i)
                 : unit == UNIT_VPU ? execute_vector(m, t, i)
                                    : execute_dma(m, t, i);
    }
    return *fault == FAULT_NONE ? STEP_DONE : STEP_FAULT;
}

/* Serves a queue until it is empty or its head blocks. An instruction leaves the queue when it is
 * done or has faulted; a wait that blocks stays at the head. */
static bool run_unit(struct machine *m, struct tile *t, unsigned unit)
{
    struct unit_state *u = &t->unit[unit];
    bool moved = false;
    while (u->count > 0 && !u->stopped) {
        enum fault fault = FAULT_NONE;
        enum step step = execute(m, t, unit, &fault);
        if (step == STEP_BLOCKED)
            break;
        moved = true;
        if (step == STEP_FAULT) {
            record(m, t, unit, u->queue[u->head].pc, fault);
            u->stopped = true;
        }
        u->head = (u->head + 1) % QUEUE_DEPTH;
        u->count--;
    }
    return moved;
}

static bool run_control(struct machine *m, struct tile *t)
{
    bool moved = false;
    for (int i = 0; i < CONTROL_TURN && !t->halted && !t->stopped; i++) {
        enum fault fault = FAULT_NONE;
        enum step step = control_step(m, t, &fault);
        if (step == STEP_BLOCKED)
            break;
        moved = true;
        if (step == STEP_FAULT) {
            record(m, t, UNIT_CTL, t->pc, fault);
            t->stopped = true;
        }
    }
    return moved;
}

static bool run_tile(struct machine *m, struct tile *t)
{
    bool moved = run_control(m, t);
    for (unsigned unit = UNIT_MXU; unit < NUM_UNITS; unit++)
        if (run_unit(m, t, unit))
            moved = true;
    return moved;
}

/* ---- Entries */

static void start(struct tile *t, uint64_t pc)
{
    memset(t->r, 0, sizeof t->r);
    memset(t->d, 0, sizeof t->d);
    memset(t->waiter, -1, sizeof t->waiter);
    t->pc = pc;
    t->halted = t->stopped = t->sticky = false;
    t->num_loops = t->num_calls = 0;
    for (unsigned unit = 0; unit < NUM_UNITS; unit++) {
        t->unit[unit].head = t->unit[unit].count = 0;
        t->unit[unit].stopped = false;
    }
}

/* Nothing moves: whatever is not finished is stuck. */
static void record_deadlocks(struct machine *m)
{
    for (uint64_t i = 0; i < m->chip->tiles; i++) {
        struct tile *t = &m->tiles[i];
        if (!t->halted)
            record(m, t, UNIT_CTL, t->pc, DEADLOCK);
        for (unsigned unit = UNIT_MXU; unit < NUM_UNITS; unit++)
            if (t->unit[unit].count > 0)
                record(m, t, unit, t->unit[unit].queue[t->unit[unit].head].pc, DEADLOCK);
    }
}

static int compare_faults(const void *a, const void *b)
{
    const struct fault_record *x = a, *y = b;
    if (x->tile != y->tile)
        return x->tile < y->tile ? -1 : 1;
    if (x->unit != y->unit)
        return x->unit < y->unit ? -1 : 1;
    return (x->pc > y->pc) - (x->pc < y->pc);
}

void machine_ring(struct machine *m, uint64_t pc)
{
    bool moved = true;
    for (uint64_t i = 0; i < m->chip->tiles; i++)
        start(&m->tiles[i], pc);
    while (moved) {
        moved = false;
        for (uint64_t i = 0; i < m->chip->tiles; i++)
            if (run_tile(m, &m->tiles[i]))
                moved = true;
    }
    if (m->num_faults == 0)
        record_deadlocks(m);
    qsort(m->faults, (size_t)m->num_faults, sizeof *m->faults, compare_faults);
}
