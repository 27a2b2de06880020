/* The control processor: scalars, branches, loops, descriptors, and handing out work.
 * Page control.md. */
#include <string.h>

#include "bytes.h"
#include "machine.h"

/* Scalars are kept unsigned, so that sums wrap; signed order by flipping the sign bit. */
static bool less(uint64_t a, uint64_t b)
{
    const uint64_t sign = (uint64_t)1 << 63;
    return (a ^ sign) < (b ^ sign);
}

static void set(struct tile *t, unsigned rd, uint64_t value)
{
    if (rd != 0)
        t->r[rd] = value;
}

static uint64_t operand(const struct tile *t, struct word w, unsigned bits)
{
    return t->r[field_rb(w)] + field_imm(w, bits);
}

static uint64_t arithmetic(unsigned opcode, uint64_t a, uint64_t b)
{
    switch (opcode) {
    case OP_ADD: return a + b;
    case OP_SUB: return a - b;
    case OP_MUL: return a * b;
    case OP_DIVU: return a / b;
    case OP_REMU: return a % b;
    case OP_AND: return a & b;
    case OP_OR: return a | b;
    case OP_XOR: return a ^ b;
    case OP_SHL: return a << (b & 63);
    case OP_SHR: return a >> (b & 63);
    case OP_MIN: return less(b, a) ? b : a;
    default: return less(a, b) ? b : a; /* OP_MAX */
    }
}

static bool taken(unsigned opcode, uint64_t a, uint64_t b)
{
    switch (opcode) {
    case OP_BEQ: return a == b;
    case OP_BNE: return a != b;
    case OP_BLT: return less(a, b);
    default: return !less(a, b); /* OP_BGE */
    }
}

static uint64_t special(const struct machine *m, const struct tile *t, unsigned which)
{
    switch (which) {
    case TILE_ID: return t->id;
    case CLUSTER_ID: return cluster_of(m, t);
    case NUM_TILES: return m->chip->tiles;
    case NUM_CLUSTERS: return m->chip->clusters;
    case CHIP_ID: return 0;
    default: return 1; /* NUM_CHIPS */
    }
}

/* ---- Descriptors */

static enum fault load_descriptor(const struct machine *m, struct tile *t, struct word w)
{
    uint64_t index = operand(t, w, 32);
    if (index >= m->program->num_descriptors)
        return OUT_OF_BOUNDS;
    const uint8_t *from = m->program->descriptors + index * 8 * DESCRIPTOR_WORDS;
    for (int i = 0; i < DESCRIPTOR_WORDS; i++)
        t->d[field_d(w, 0)].word[i] = load64(from + 8 * i);
    return FAULT_NONE;
}

/* dset and dadd. The two strides of the scales share the last word and wrap within their bits. */
static void set_field(struct tile *t, struct word w, bool add)
{
    static const uint8_t place[13] = {0, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    const uint64_t low40 = ((uint64_t)1 << 40) - 1;
    uint64_t value = operand(t, w, 48);
    uint64_t *last = &t->d[field_d(w, 0)].word[15];
    unsigned field = field_sel(w);
    if (field < 13) {
        uint64_t *word = &t->d[field_d(w, 0)].word[place[field]];
        *word = value + (add ? *word : 0);
    } else if (field == 13) {
        value += add ? *last : 0;
        *last = (*last & ~low40) | (value & low40);
    } else {
        value += add ? *last >> 40 : 0;
        *last = (*last & low40) | value << 40;
    }
}

/* ---- Control flow */

static enum fault push_loop(struct tile *t, struct word w, uint64_t *next)
{
    uint64_t count = operand(t, w, 32);
    if (!less(0, count)) {
        *next = field_target(w);
        return FAULT_NONE;
    }
    if (t->num_loops == MAX_LOOPS)
        return LOOP_DEPTH;
    t->loops[t->num_loops++] = (struct loop){(uint32_t)*next, field_target(w), count};
    return FAULT_NONE;
}

/* Wherever control goes next, that may be the end of the innermost loop, and of those around it. */
static uint64_t turn_loops(struct tile *t, uint64_t next)
{
    while (t->num_loops > 0) {
        struct loop *inner = &t->loops[t->num_loops - 1];
        if (next != inner->end)
            break;
        /* The turns of an empty body are over at once. */
        if (inner->left > 1 && inner->start != inner->end) {
            inner->left--;
            return inner->start;
        }
        t->num_loops--;
    }
    return next;
}

/* Sets `next`, which holds pc + 1, for the instructions that change it. */
static enum fault branch(struct tile *t, struct word w, unsigned opcode, uint64_t *next)
{
    switch (opcode) {
    case OP_JMP:
        *next = field_target(w);
        return FAULT_NONE;
    case OP_CALL:
        if (t->num_calls == MAX_CALLS)
            return CALL_DEPTH;
        t->calls[t->num_calls++] = *next;
        *next = field_target(w);
        return FAULT_NONE;
    case OP_RET:
        if (t->num_calls == 0)
            return CALL_DEPTH;
        *next = t->calls[--t->num_calls];
        return FAULT_NONE;
    case OP_LOOP:
        return push_loop(t, w, next);
    default:
        if (taken(opcode, t->r[field_ra(w)], operand(t, w, 32)))
            *next = field_target(w);
        return FAULT_NONE;
    }
}

/* ---- Handing out */

static void capture(const struct tile *t, const struct form *form, struct word w, struct issue *i)
{
    i->pc = (uint32_t)t->pc;
    i->word = w;
    i->form = form;
    i->number = operand(t, w, 32);
    i->tile = t->r[field_ra(w)];
    for (unsigned d = 0; d < form->descriptors; d++)
        if (field_d(w, d) < NUM_DESCRIPTORS)
            i->d[d] = t->d[field_d(w, d)];
}

static enum step enqueue(struct tile *t, unsigned unit, const struct form *form, struct word w)
{
    struct unit_state *u = &t->unit[unit];
    if (u->count == QUEUE_DEPTH)
        return STEP_BLOCKED;
    if (u->queue == NULL)
        u->queue = allocate(QUEUE_DEPTH, sizeof *u->queue);
    capture(t, form, w, &u->queue[(u->head + u->count) % QUEUE_DEPTH]);
    u->count++;
    return STEP_DONE;
}

static enum step wait_or_signal(struct machine *m, struct tile *t, const struct form *form,
                                struct word w, enum fault *fault)
{
    struct issue now = {0};
    if (field_unit(w) != UNIT_CTL)
        return enqueue(t, field_unit(w), form, w);
    if (form->opcode == OP_WAIT)
        return sync_wait(t, UNIT_CTL, field_sem(w), operand(t, w, 32), fault);
    capture(t, form, w, &now);
    *fault = sync_signal(m, t, &now);
    return *fault == FAULT_NONE ? STEP_DONE : STEP_FAULT;
}

static enum fault scalar(struct machine *m, struct tile *t, const struct form *form, struct word w)
{
    struct issue now;
    uint64_t b = operand(t, w, 64);
    switch (form->opcode) {
    case OP_NOP:
    case OP_MARK:
        break;
    case OP_HALT:
        t->halted = true;
        break;
    case OP_LI:
        set(t, field_rd(w), field_imm(w, 64));
        break;
    case OP_RDSR:
        set(t, field_rd(w), special(m, t, field_sel(w)));
        break;
    case OP_LD:
        capture(t, form, w, &now);
        return execute_ld(m, t, &now);
    case OP_DLD:
        return load_descriptor(m, t, w);
    case OP_DMOV:
        t->d[field_d(w, 0)] = t->d[field_d(w, 1)];
        break;
    case OP_DSET:
    case OP_DADD:
        set_field(t, w, form->opcode == OP_DADD);
        break;
    default:
        if (b == 0 && (form->opcode == OP_DIVU || form->opcode == OP_REMU))
            return DIVIDE_BY_ZERO;
        set(t, field_rd(w), arithmetic(form->opcode, t->r[field_ra(w)], b));
    }
    return FAULT_NONE;
}

/* Channels exist in the instruction set that the chip may lack. */
static bool unit_exists(const struct machine *m, const struct form *form, struct word w)
{
    bool named = form->unit == UNIT_DMA0 || form->opcode == OP_WAIT || form->opcode == OP_SIGNAL;
    return !named || field_unit(w) < UNIT_DMA0 + m->chip->channels;
}

static enum step dispatch(struct machine *m, struct tile *t, const struct form *form, struct word w,
                          uint64_t *next, enum fault *fault)
{
    if (form->opcode >= OP_BEQ && form->opcode <= OP_LOOP)
        *fault = branch(t, w, form->opcode, next);
    else if (form->opcode == OP_WAIT || form->opcode == OP_SIGNAL)
        return wait_or_signal(m, t, form, w, fault);
    else if (form->unit == UNIT_CTL)
        *fault = scalar(m, t, form, w);
    else
        return enqueue(t, form->unit == UNIT_DMA0 ? field_unit(w) : form->unit, form, w);
    return *fault == FAULT_NONE ? STEP_DONE : STEP_FAULT;
}

enum step control_step(struct machine *m, struct tile *t, enum fault *fault)
{
    if (t->pc >= m->program->code_size) {
        *fault = BAD_PC;
        return STEP_FAULT;
    }
    struct word w = m->program->code[t->pc];
    const struct form *form = decode(w);
    uint64_t next = t->pc + 1;
    if (form == NULL || !unit_exists(m, form, w)) {
        *fault = ILLEGAL_INSTRUCTION;
        return STEP_FAULT;
    }
    enum step step = dispatch(m, t, form, w, &next, fault);
    if (step == STEP_DONE && !t->halted)
        t->pc = turn_loops(t, next);
    return step;
}
