/* Deleted chunk files wait aside for a while, so that a mistake can be undone by hand; then they
 * go. Owner thread; the disk work is on workers. */
#ifndef CHUNKSERVER_TRASH_H
#define CHUNKSERVER_TRASH_H

#include <stdbool.h>

struct disk;
struct server;
struct trash;

/* Finishes deletions that a crash interrupted. At the start, before anything else uses the disk. */
void trash_repeat_renames(struct disk *disk);

/* Looks at once, then every TRASH_CHECK_MS. */
struct trash *trash_new(struct server *s, struct disk *disk);
void trash_stop(struct trash *t);       /* starts nothing more; accepts NULL */
bool trash_idle(const struct trash *t); /* nothing under way */
void trash_free(struct trash *t);       /* accepts NULL */

#endif
