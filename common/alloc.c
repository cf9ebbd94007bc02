#include "common/alloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void alloc_failed(size_t size)
{
    (void)fprintf(stderr, "out of memory: %zu bytes\n", size);
    abort();
}

/* malloc(0) may give NULL, which would look like a failure. */
static void *checked(void *memory, size_t size)
{
    if (memory == NULL) {
        alloc_failed(size);
    }
    return memory;
}

void *xmalloc(size_t size)
{
    return checked(malloc(size > 0 ? size : 1), size);
}

void *xcalloc(size_t count, size_t size)
{
    return checked(calloc(count > 0 ? count : 1, size > 0 ? size : 1), size);
}

void *xrealloc(void *memory, size_t size)
{
    return checked(realloc(memory, size > 0 ? size : 1), size);
}

void *xreallocarray(void *memory, size_t count, size_t size)
{
    size_t total = 0;
    if (__builtin_mul_overflow(count, size, &total)) {
        alloc_failed(SIZE_MAX);
    }
    return xrealloc(memory, total);
}

void *xmemdup(const void *data, size_t length)
{
    void *copy = xmalloc(length);
    if (length > 0) {
        memcpy(copy, data, length);
    }
    return copy;
}

char *xstrdup(const char *string)
{
    return xmemdup(string, strlen(string) + 1);
}

char *xstrndup(const char *string, size_t length)
{
    size_t used = strnlen(string, length);
    char *copy = xmalloc(used + 1);
    memcpy(copy, string, used);
    copy[used] = 0;
    return copy;
}

char *xprintf(const char *format, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) {
        alloc_failed(strlen(format));
    }
    va_end(args);
    return text;
}
