/* See listing.h. */
#include "mapreduce/mr/listing.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <libsmartcols/libsmartcols.h>

#include "common/alloc.h"

void listing_init(struct listing *t, const struct listing_column *columns, size_t column_count)
{
    *t = (struct listing){.columns = columns, .column_count = column_count};
}

void listing_deinit(struct listing *t)
{
    for (size_t i = 0; i < t->cell_count; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    *t = (struct listing){0};
}

void listing_add(struct listing *t, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) {
        alloc_failed(1);
    }
    for (char *at = text; *at; at++) {
        if (*at == '\t' || *at == '\n') {
            *at = ' ';
        }
    }
    t->cells = xreallocarray(t->cells, t->cell_count + 1, sizeof(char *));
    t->cells[t->cell_count++] = text;
}

static void print_plain(const struct listing *t)
{
    for (size_t i = 0; i < t->cell_count; i++) {
        bool last = (i + 1) % t->column_count == 0;
        (void)printf("%s%c", t->cells[i], last ? '\n' : '\t');
    }
}

/* False: libsmartcols had no memory. */
static bool print_aligned(const struct listing *t)
{
    struct libscols_table *table = scols_new_table();
    bool ok = table != NULL;
    for (size_t i = 0; ok && i < t->column_count; i++) {
        int flags = t->columns[i].right ? SCOLS_FL_RIGHT : 0;
        ok = scols_table_new_column(table, t->columns[i].name, 0, flags) != NULL;
    }
    for (size_t i = 0; ok && i < t->cell_count; i += t->column_count) {
        struct libscols_line *line = scols_table_new_line(table, NULL);
        ok = line != NULL;
        for (size_t c = 0; ok && c < t->column_count; c++) {
            ok = scols_line_set_data(line, c, t->cells[i + c]) == 0;
        }
    }
    ok = ok && scols_print_table(table) == 0;
    scols_unref_table(table);
    return ok;
}

void listing_print(const struct listing *t)
{
    if (!isatty(STDOUT_FILENO) || !print_aligned(t)) {
        print_plain(t);
    }
}
