/* What config.c (values), config_help.c and config_man.c (pages) share about rows. Private to them.
 */
#ifndef COMMON_CONFIG_ROW_H
#define COMMON_CONFIG_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/config.h"
#include "common/parse.h"

/* "TRIREME_DATA_DIR" for "data-dir", or the row's own name. In the arena. */
const char *config_env_name(const struct config_row *row, struct arena *arena);

/* A number as a user would type it for this row. */
char *config_number_text(const struct config_row *row, int64_t number,
                         char text[FORMAT_TEXT_BYTES]);

/* Bytes of the target that the row's type has; 0 for a heading. */
size_t config_target_size(const struct config_row *row);

/* "SIZE"; "" for a flag without a value. */
const char *config_value_name(const struct config_row *row);
/* " Required." " Default: 64M." " From 1M to 1G." " One of a|b." */
void config_append_facts(struct buf *out, const struct config_row *row);
bool config_row_shown(const struct config_row *row);
bool config_has_file_rows(const struct config_program *p);
bool config_has_letter(const struct config_program *p, char letter); /* taken by a row */

#endif
