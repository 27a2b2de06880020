/* Text in the program file: UTF-8 and JSON. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stdint.h>

bool is_utf8(const uint8_t *text, uint64_t size);

/* Names go into a result file of lines, so controls and line separators are refused. */
bool is_printable(const uint8_t *text, uint64_t size);

/* One JSON object, and nothing but white space around it. */
bool is_json_object(const uint8_t *text, uint64_t size);

#endif
