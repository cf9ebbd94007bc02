/* The few macros that every file may use. */
#ifndef COMMON_MACROS_H
#define COMMON_MACROS_H

#include <stddef.h>

/* The struct of `type` whose field `member` is at `pointer`. */
#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
