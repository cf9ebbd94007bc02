/* See table.h. */
#include "client/cli/table.h"

#include <libsmartcols.h>
#include <stdio.h>

struct libscols_table *table_new(const struct cli *cli, const struct column *columns, size_t count)
{
    if (!cli->out_tty) {
        return NULL;
    }
    struct libscols_table *table = scols_new_table();
    for (size_t i = 0; i < count; i++) {
        (void)scols_table_new_column(table, columns[i].name, 0,
                                     columns[i].number ? SCOLS_FL_RIGHT : 0);
    }
    return table;
}

void table_add(struct libscols_table *table, const char *const *fields, size_t count)
{
    struct libscols_line *line = table ? scols_table_new_line(table, NULL) : NULL;
    for (size_t i = 0; i < count; i++) {
        if (line) {
            (void)scols_line_set_data(line, i, fields[i]);
        } else {
            (void)printf("%s%s", fields[i], i + 1 < count ? "\t" : "\n");
        }
    }
}

void table_end(struct libscols_table *table)
{
    if (table) {
        (void)scols_print_table(table);
        scols_unref_table(table);
    }
}

char *table_number(uint64_t n, char text[FORMAT_TEXT_BYTES])
{
    (void)snprintf(text, FORMAT_TEXT_BYTES, "%llu", (unsigned long long)n);
    return text;
}
