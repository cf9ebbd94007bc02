/* Memory that cannot fail: the x-functions abort with a line on stderr when memory is exhausted.
 * Any thread. Results belong to the caller, who gives them to free(). Sizes that a peer or a file
 * chose never come here unchecked: compare them with limits.h first, or use buf_try_reserve() or
 * arena_try_alloc(). */
#ifndef COMMON_ALLOC_H
#define COMMON_ALLOC_H

#include <stddef.h>

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *xrealloc(void *memory, size_t size) __attribute__((returns_nonnull));

/* An array of count elements; aborts also when count * size overflows. */
void *xreallocarray(void *memory, size_t count, size_t size) __attribute__((returns_nonnull));

char *xstrdup(const char *string) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *string, size_t length) __attribute__((malloc, returns_nonnull));
void *xmemdup(const void *data, size_t length) __attribute__((malloc, returns_nonnull));
char *xprintf(const char *format, ...)
    __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

/* How all of them fail: says how much was wanted, then aborts. For modules that allocate by
 * themselves. */
void alloc_failed(size_t size) __attribute__((noreturn));

#endif
