/* From libdfs's errors to ours: the numbers are the same by contract (trireme/dfs.h), the text gets
 * a prefix. */
#ifndef MAPREDUCE_STORE_ERR_H
#define MAPREDUCE_STORE_ERR_H

#include <stdbool.h>

#include "common/err.h"

struct dfs_err;

/* "<text>: <de's message>". A time-out of something that may have happened becomes ERR_UNKNOWN.
 * Returns the ERR_*. */
int err_from_dfs(struct err *e, const struct dfs_err *de, const char *format, ...) ERR_PRINTF(3, 4);

/* The store does not answer now, or cannot do this now: the same later may succeed. */
bool store_is_away(int code);

#endif
