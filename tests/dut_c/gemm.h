/* The matrix engine's product, of checked operands with at least one result. */
#ifndef GEMM_H
#define GEMM_H

#include "tensor.h"

void gemm(const struct tensor *acc, const struct tensor *a, const struct tensor *w,
          const struct operand *bounds, uint64_t k0, bool accumulate);

#endif
