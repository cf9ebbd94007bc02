/* Replicas that have to go, from the decision to their servers' answers. Owner thread. */
#ifndef FSMASTER_SERVER_DELETIONS_H
#define FSMASTER_SERVER_DELETIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ids.h"

struct server;

/* A replica that has to go; copies_left good ones of the chunk must be there still when it is sent,
 * 0 if no copy of it is needed. Only live servers are told; others are found out when they report.
 */
void care_delete(struct server *s, server_id server, struct chunk_ref chunk, uint32_t copies_left);
/* The server was told, or is to be, to delete what it has of the chunk, and has not said that it
 * did. */
bool deletion_waits(const struct server *s, server_id server, chunk_id chunk);
/* What was decided holds no longer: the server, or all of them, are asked for what they have. */
void deletions_drop(struct server *s, server_id server);
void deletions_drop_all(struct server *s);
void deletions_tick(struct server *s, time_ms now);
void deletions_free(struct server *s);

#endif
