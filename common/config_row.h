/* What config.c (values) and config_help.c (pages) share about rows. Private to these two. */
#ifndef COMMON_CONFIG_ROW_H
#define COMMON_CONFIG_ROW_H

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

#endif
