#include "text.h"

#include <string.h>

/* Reads one character at `at`; its length in bytes, or 0 if it is not UTF-8. */
static unsigned character(const uint8_t *text, uint64_t size, uint32_t *code)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = text[0];
    unsigned length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (length == 0 || length > size)
        return 0;
    *code = length == 1 ? lead : lead & (0x7fu >> length);
    for (unsigned i = 1; i < length; i++) {
        if (text[i] >> 6 != 2)
            return 0;
        *code = *code << 6 | (text[i] & 0x3f);
    }
    bool surrogate = *code >= 0xd800 && *code < 0xe000;
    return *code < least[length] || *code > 0x10ffff || surrogate ? 0 : length;
}

bool is_utf8(const uint8_t *text, uint64_t size)
{
    uint32_t code;
    for (uint64_t at = 0; at < size;) {
        unsigned length = character(text + at, size - at, &code);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad || (c >= 0x2000 && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202f) || (c >= 0x205f && c <= 0x206f) || c == 0x3000 ||
           (c >= 0xe000 && c <= 0xf8ff) || c == 0xfeff || (c >= 0xfff0 && c <= 0xfffb) ||
           (c & 0xfffe) == 0xfffe;
}

bool is_printable(const uint8_t *text, uint64_t size)
{
    uint32_t code;
    for (uint64_t at = 0; at < size;) {
        unsigned length = character(text + at, size - at, &code);
        if (length == 0 || is_control(code))
            return false;
        at += length;
    }
    return true;
}

/* ---- JSON (RFC 8259), checked without building anything */

enum { MAX_NESTING = 500 };

struct json {
    const uint8_t *at, *end;
    int depth;
};

static bool value(struct json *j);

static void space(struct json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r'))
        j->at++;
}

static bool take(struct json *j, char c)
{
    if (j->at == j->end || *j->at != (uint8_t)c)
        return false;
    j->at++;
    return true;
}

static bool digits(struct json *j)
{
    const uint8_t *start = j->at;
    while (j->at < j->end && *j->at >= '0' && *j->at <= '9')
        j->at++;
    return j->at > start;
}

static bool number(struct json *j)
{
    (void)take(j, '-');
    if (!take(j, '0') && !digits(j))
        return false;
    if (take(j, '.') && !digits(j))
        return false;
    if (take(j, 'e') || take(j, 'E')) {
        if (!take(j, '+'))
            (void)take(j, '-');
        return digits(j);
    }
    return true;
}

static bool escape(struct json *j)
{
    if (j->at == j->end)
        return false;
    uint8_t c = *j->at++;
    if (c != 'u')
        return c != 0 && strchr("\"\\/bfnrt", c) != NULL;
    for (int i = 0; i < 4; i++) {
        if (j->at == j->end || *j->at == 0 || strchr("0123456789abcdefABCDEF", *j->at) == NULL)
            return false;
        j->at++;
    }
    return true;
}

static bool string(struct json *j)
{
    if (!take(j, '"'))
        return false;
    while (j->at < j->end) {
        uint8_t c = *j->at++;
        if (c == '"')
            return true;
        if (c < 0x20 || (c == '\\' && !escape(j)))
            return false;
    }
    return false;
}

static bool word(struct json *j, const char *w)
{
    while (*w != 0)
        if (!take(j, *w++))
            return false;
    return true;
}

/* What is between the brackets of an object or an array. */
static bool members(struct json *j, bool named, char close)
{
    j->at++;
    space(j);
    if (take(j, close))
        return true;
    do {
        space(j);
        if (named) {
            if (!string(j))
                return false;
            space(j);
            if (!take(j, ':'))
                return false;
        }
        if (!value(j))
            return false;
    } while (take(j, ','));
    return take(j, close);
}

static bool value(struct json *j)
{
    bool good;
    space(j);
    if (j->at == j->end || ++j->depth > MAX_NESTING)
        return false;
    switch (*j->at) {
    case '{': good = members(j, true, '}'); break;
    case '[': good = members(j, false, ']'); break;
    case '"': good = string(j); break;
    case 't': good = word(j, "true"); break;
    case 'f': good = word(j, "false"); break;
    case 'n': good = word(j, "null"); break;
    default: good = number(j);
    }
    j->depth--;
    space(j);
    return good;
}

bool is_json_object(const uint8_t *text, uint64_t size)
{
    struct json j = {text, text + size, 0};
    if (!is_utf8(text, size))
        return false;
    space(&j);
    return j.at < j.end && *j.at == '{' && value(&j) && j.at == j.end;
}
