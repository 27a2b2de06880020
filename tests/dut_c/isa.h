/* The instruction set: numbers of units, faults, formats, opcodes, and which words are legal.
 * Facts of README.md, formats.md, descriptors.md and faults.md. */
#ifndef ISA_H
#define ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault {
    FAULT_NONE,
    ILLEGAL_INSTRUCTION,
    OUT_OF_BOUNDS,
    MISALIGNED,
    FORMAT_MISMATCH,
    SHAPE_MISMATCH,
    BAD_SPACE,
    BAD_DESCRIPTOR,
    BAD_TILE,
    READ_ONLY,
    SEMAPHORE_OVERFLOW,
    SEMAPHORE_WAITER,
    BAD_COUNT,
    DIVIDE_BY_ZERO,
    LOOP_DEPTH,
    CALL_DEPTH,
    BAD_PC,
    DEADLOCK
};

enum unit { UNIT_CTL, UNIT_MXU, UNIT_VPU, UNIT_DMA0, NUM_UNITS = 11 };

enum format { FP32, BF16, FP16, E4M3FN, E5M2, E2M1, E8M0, I32, U8, NUM_FORMATS };

enum space { HBM, CSRAM, TSRAM, ACC, NUM_SPACES };

enum layout { STRIDED, PANEL, NUM_LAYOUTS };

enum scale_kind { NONE, MX32, NV16, NUM_SCALE_KINDS };

enum scope { SCOPE_SELF, SCOPE_TILE, SCOPE_CLUSTER, SCOPE_ALL };

enum special { TILE_ID, CLUSTER_ID, NUM_TILES, NUM_CLUSTERS, CHIP_ID, NUM_CHIPS };

enum {
    NUM_SCALARS = 32,
    NUM_DESCRIPTORS = 32,
    NO_DESCRIPTOR = 32,
    NUM_SEMAPHORES = 64,
    SEMAPHORE_MAX = 65535,
    MAX_LOOPS = 8,
    MAX_CALLS = 8,
    QUEUE_DEPTH = 16,
    MAX_CHANNELS = 8,
    DESCRIPTOR_WORDS = 16
};

enum opcode {
    OP_NOP = 0x01, OP_HALT, OP_LI, OP_RDSR,
    OP_ADD, OP_SUB, OP_MUL, OP_DIVU, OP_REMU, OP_AND, OP_OR, OP_XOR, OP_SHL, OP_SHR, OP_MIN, OP_MAX,
    OP_BEQ, OP_BNE, OP_BLT, OP_BGE, OP_JMP, OP_CALL, OP_RET, OP_LOOP,
    OP_MARK, OP_LD, OP_DLD, OP_DMOV, OP_DSET, OP_DADD,
    OP_WAIT = 0x20, OP_SIGNAL,
    OP_GEMM = 0x30, OP_READOUT, OP_SEED,
    OP_VADD = 0x40, OP_VSUB, OP_VMUL, OP_VDIV, OP_VMIN, OP_VMAX, OP_VMULADD2,
    OP_VSQRT = 0x48, OP_VRCP, OP_VRSQRT, OP_VEXP2, OP_VCVT, OP_VCMP, OP_VSEL, OP_VIOTA, OP_VSCAN,
    OP_VTRANS, OP_VCOPY,
    OP_VRSUM = 0x58, OP_VRMAX, OP_VRMIN, OP_VARGMAX, OP_VTOPK, OP_VEXP2SUM,
    OP_VQUANT = 0x60, OP_VQUANTR,
    OP_DMA = 0x70, OP_DMAG, OP_DMAS
};

/* One way to write an instruction; those with an operand "tensor or number" have two. */
struct form {
    uint8_t opcode;
    uint8_t unit;        /* UNIT_DMA0: the channel is in the word */
    uint8_t descriptors; /* how many descriptor fields it has, from d0 on */
    uint8_t optional;    /* bit i: field di may be 32, absent */
    uint8_t absent;      /* bit i: field di is always 32, a number stands there */
    uint16_t flags;      /* bit v: value v of the field flags is legal */
    uint64_t high, low;  /* bits of the word that have a use; the others are reserved */
};

/* A 128-bit instruction word. */
struct word {
    uint64_t low, high;
};

extern const struct form FORMS[];
extern const int NUM_FORMS;

/* The form a word is written in, or NULL for an illegal instruction. */
const struct form *decode(struct word word);

/* SHA-256 of an instruction's entry in the specification, in hexadecimal; NULL if unknown. */
const char *instruction_hash(uint32_t opcode);

const char *fault_name(enum fault fault);

/* Width of an element in bits. */
static inline unsigned format_bits(unsigned format)
{
    static const uint8_t bits[NUM_FORMATS] = {32, 16, 16, 8, 8, 4, 8, 32, 8};
    return bits[format];
}

/* Fields of the instruction word. */
static inline unsigned field_flags(struct word w) { return (unsigned)(w.low >> 8) & 0xff; }
static inline unsigned field_d(struct word w, unsigned i)
{
    return (unsigned)(w.low >> (16 + 6 * i)) & 0x3f;
}
static inline unsigned field_rd(struct word w) { return (unsigned)(w.low >> 46) & 0x1f; }
static inline unsigned field_ra(struct word w) { return (unsigned)(w.low >> 51) & 0x1f; }
static inline unsigned field_rb(struct word w) { return (unsigned)(w.low >> 56) & 0x1f; }
static inline unsigned field_sel(struct word w) { return (unsigned)(w.high >> 48) & 0xff; }
static inline uint32_t field_target(struct word w) { return (uint32_t)(w.high >> 32); }
static inline unsigned field_unit(struct word w) { return (unsigned)(w.high >> 32) & 0xf; }
static inline unsigned field_sem(struct word w) { return (unsigned)(w.high >> 36) & 0x3f; }
static inline unsigned field_scope(struct word w) { return (unsigned)(w.high >> 42) & 0x3; }

/* Immediates are sign-extended; unsigned arithmetic, since sums with a register wrap. */
static inline uint64_t field_imm(struct word w, unsigned bits)
{
    uint64_t sign = (uint64_t)1 << (bits - 1);
    uint64_t value = bits == 64 ? w.high : w.high & (((uint64_t)1 << bits) - 1);
    return (value ^ sign) - sign;
}

#endif
