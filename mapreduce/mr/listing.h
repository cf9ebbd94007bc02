/* Tables for people and for scripts: aligned columns with a heading on a terminal, plain fields
 * between TABs and no heading when piped. */
#ifndef MAPREDUCE_MR_LISTING_H
#define MAPREDUCE_MR_LISTING_H

#include <stdbool.h>
#include <stddef.h>

struct listing_column {
    const char *name;
    bool right; /* numbers */
};

struct listing {
    const struct listing_column *columns;
    size_t column_count;
    char **cells; /* row by row; owned */
    size_t cell_count;
};

/* Columns are borrowed. */
void listing_init(struct listing *t, const struct listing_column *columns, size_t column_count);
void listing_deinit(struct listing *t);

/* The next cell of the row, copied. TABs and newlines in it become spaces. */
void listing_add(struct listing *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* To stdout. */
void listing_print(const struct listing *t);

#endif
