/* Large runs of memory, used again for task after task: address space is reserved whole, the kernel
 * gives pages (large ones if it can) as they are first written, and a thread keeps what it gives
 * back for its next use. Growing by copying, and first touches of fresh pages, cost more than the
 * sorting does. One thread per region. */
#ifndef MAPREDUCE_ENGINE_REGION_H
#define MAPREDUCE_ENGINE_REGION_H

#include <stddef.h>
#include <stdint.h>

struct region {
    uint8_t *data;   /* NULL before the first reserve */
    size_t capacity; /* bytes that may be used */
};

#define REGION_INIT                                                                                \
    {                                                                                              \
        NULL, 0                                                                                    \
    }

/* At least `bytes` of memory. Its content is kept if it was large enough before, else it is
 * undefined. Aborts when there is no address space. */
void region_reserve(struct region *r, size_t bytes);

/* Gives the memory back to the thread's reserve. Accepts NULL and zeroed. */
void region_deinit(struct region *r);

/* Gives the thread's reserve back to the system. */
void region_trim(void);

#endif
