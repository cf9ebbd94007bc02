/* Registration, heartbeats and chunk reports to every file master (DESIGN 4, "Locations"). Owner
 * thread.
 *
 * Each master is served by itself: what changed is sent to it again until a heartbeat with it was
 * acknowledged, so a lost message loses nothing. A master that does not know us is registered with;
 * one that asks gets the full list in pages, and changes made meanwhile are sent after it. */
#ifndef CHUNKSERVER_REPORT_H
#define CHUNKSERVER_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/ids.h"

struct health_master;
struct report;
struct server;

/* Starts with the masters of the options; on_registered runs once, when the first one has accepted.
 */
struct report *report_new(struct server *s, void (*on_registered)(struct server *s));
/* No more calls are started; those in flight are cancelled. report_free() when report_idle(). */
void report_stop(struct report *r);
bool report_idle(const struct report *r);
void report_free(struct report *r); /* accepts NULL */

/* Every master is to get the full list anew: much is gone at once. r may be NULL. */
void report_all(struct report *r);
void report_changed(struct report *r, chunk_id id);          /* r may be NULL: still loading */
void report_removed(struct report *r, struct chunk_ref ref); /* likewise */

/* How it stands with each master. The caller frees *ret; the strings in it live until the owner
 * goes on. Returns their count. r may be NULL: none yet. */
size_t report_masters(const struct report *r, struct health_master **ret);

#endif
