/* Modes as people type them. Pure. */
#ifndef CLIENT_CLI_MODE_H
#define CLIENT_CLI_MODE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

/* Octal ("750"), or clauses between commas as chmod(1) has them: [ugoa]*[+-=][rwxXt]*. `mode` is
 * the present one. ERR_INVALID. */
int mode_apply(const char *text, uint32_t mode, bool directory, uint32_t *ret) MUST_CHECK;

#endif
