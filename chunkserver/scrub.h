/* Scrubbing: reads everything on this server in the background, slowly, and reports what does not
 * verify, so that rot is found while good copies exist. Owner thread; reading is on workers. */
#ifndef CHUNKSERVER_SCRUB_H
#define CHUNKSERVER_SCRUB_H

#include <stdbool.h>

struct disk;
struct server;
struct scrub;

/* Goes round for ever at options.scrub_bytes per second; 0: not at all. */
struct scrub *scrub_new(struct server *s, struct disk *disk);
void scrub_stop(struct scrub *c); /* accepts NULL */
bool scrub_idle(const struct scrub *c);
void scrub_free(struct scrub *c); /* accepts NULL */

#endif
