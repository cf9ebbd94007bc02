/* Rows for people and for pipes: a table on a terminal, TAB-separated lines without a heading in a
 * pipe. One thread. */
#ifndef CLIENT_CLI_TABLE_H
#define CLIENT_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/cli/cli.h"
#include "common/parse.h"

struct libscols_table;

struct column {
    const char *name;
    bool number; /* right-aligned */
};

/* NULL in a pipe: lines are printed as they come. */
struct libscols_table *table_new(const struct cli *cli, const struct column *columns, size_t count);
void table_add(struct libscols_table *table, const char *const *fields, size_t count);
void table_end(struct libscols_table *table); /* prints and releases it; accepts NULL */

/* n in decimal; returns text. */
char *table_number(uint64_t n, char text[FORMAT_TEXT_BYTES]);

#endif
