/* Elements in memory to numbers in a buffer, and back. */
#ifndef CONVERT_H
#define CONVERT_H

#include "tensor.h"

/* How many elements are worked on at a time. */
enum { CHUNK = 1024 };

/* Elements first, first + step, ... of a tensor as FP32 values; I32 is rounded. */
void load_floats(const struct tensor *t, int64_t first, int64_t step, int64_t n, float *to);

/* Converts once to the tensor's format. True if a NaN went into E2M1. */
bool store_floats(const struct tensor *t, int64_t first, int64_t step, int64_t n, const float *from,
                  bool saturate);

/* The patterns of a tensor with elements of 32 bits. */
void load_words(const struct tensor *t, int64_t first, int64_t step, int64_t n, uint32_t *to);
void store_words(const struct tensor *t, int64_t first, int64_t step, int64_t n,
                 const uint32_t *from);

/* Copies bits between tensors of one format; not E2M1 unless both steps are 1 and all even. */
void copy_elements(const struct tensor *to, int64_t to_first, int64_t to_step,
                   const struct tensor *from, int64_t from_first, int64_t from_step, int64_t n);

/* One code of a format with at most 8 bits. */
uint32_t load_code(const struct tensor *t, int64_t at);
void store_code(const struct tensor *t, int64_t at, uint32_t code);

#endif
