/* Chunkservers as operators speak of them: out of service and back, and evenly full. What
 * server_admin.c and server_balance.c give to the other parts of the server (server_internal.h);
 * for the owner thread. */
#ifndef FSMASTER_SERVER_ADMIN_H
#define FSMASTER_SERVER_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/rpc/rpc_server.h"
#include "fsmaster/chunkservers.h"
#include "fsmaster/leaving.h"
#include "fsmaster/repair.h"
#include "fsmaster/server_record.h"

struct server;

/* ---- server_admin.c ---- */

/* The log says this of a server: registered, or in or out of service. */
void admin_changed(struct server *s, const struct server_record *record);
/* A chunk begins there. What was placed before the log said that one of them leaves may come after
 * it, behind a round that found nothing. */
void admin_chunk_allocated(struct server *s, const server_id *servers, uint32_t count);
void admin_tick(struct server *s);

/* How far a server is on its way out of service. */
struct admin_answer {
    enum server_admin admin; /* IN_SERVICE: the rest says nothing */
    bool done;               /* it can be stopped */
    bool counted;            /* else `count` says nothing: only a leader counts, and not at once */
    struct leaving_count count;
    enum repair_reason reason; /* what it waits for */
    time_ms left_ms;           /* of its maintenance */
};
/* Changes nothing. */
void admin_look(struct server *s, const struct chunkserver *server, struct admin_answer *ret);

/* ---- server_balance.c ---- */

struct balancing *balancing_new(void);
void balancing_free(struct balancing *b); /* accepts NULL */
void balancing_tick(struct server *s, time_ms now);
/* A copy has come to its end. Nothing if it was not balancing's. */
void balancing_copied(struct server *s, chunk_id chunk, bool done);
/* Whose copy goes when the chunk has one too many; 0: none was moved. */
server_id balancing_source(const struct server *s, chunk_id chunk);

struct balance_wish {
    double threshold;    /* of fill, 0 to 1 */
    uint64_t rate_bytes; /* per second, in the whole cluster; 0: stop */
};
struct balance_answer {
    bool all_heard;           /* else nothing is moved yet */
    bool even;                /* nothing is left to do */
    bool stuck;               /* what is left would take racks, hosts or evenness away */
    double least, mean, most; /* fill of servers */
    size_t moving;
    uint64_t moved_chunks, moved_bytes; /* since it began */
};
/* Begins it, or keeps it going for BALANCE_IDLE_MS more. Leader. */
void balancing_ask(struct server *s, const struct balance_wish *wish, struct balance_answer *ret);

/* ---- admin_rpc.c ---- */

extern const struct rpc_service_row admin_service[];

#endif
