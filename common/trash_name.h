/* The trash of a user, /user/NAME/.Trash, as its names say it: what dfs rm removes goes below
 * Current; from time to time Current becomes a checkpoint, whose name is the time, and checkpoints
 * that are old enough are deleted. The dfs command and the file master agree on that here. Pure. */
#ifndef COMMON_TRASH_NAME_H
#define COMMON_TRASH_NAME_H

#include <stdbool.h>
#include <stdint.h>

#define TRASH_NAME         ".Trash"
#define TRASH_CURRENT_NAME "Current"

enum { TRASH_CHECKPOINT_BYTES = 16 };

/* YYMMDDHHMMSS of the wall clock's time, UTC, and back; false: not such a name. */
void trash_checkpoint_name(uint64_t wall_ms, char text[TRASH_CHECKPOINT_BYTES]);
bool trash_checkpoint_time(const char *name, uint64_t *ret_wall_ms);

#endif
