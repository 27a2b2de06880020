/* The result of a run, as text. Page conformance.md. */
#ifndef RESULT_H
#define RESULT_H

#include "machine.h"

/* Writes the file whole or not at all. `unsupported` is why the program cannot run, or NULL;
 * `sticky` says for each tile whether its sticky bit was set after main. */
bool result_write(const char *path, const struct machine *m, const char *unsupported,
                  const bool *sticky);

#endif
