/* When a read may be done on this member's state: at once, later, or not at all. Linearizable reads
 * go by the read index (consensus.h), those that allow some age by staleness.h. Owner thread. */
#ifndef FSMASTER_SERVER_READS_H
#define FSMASTER_SERVER_READS_H

#include "fsmaster/consensus.h"
#include "fsmaster/staleness.h"

struct rpc_call;
struct server;
struct server_reads;

/* What a read asks for. */
struct read_bound {
    time_ms age_ms; /* 0: linearizable, at the leader alone */
    log_index seen; /* the asker never goes back behind this */
};

/* One read until its worker begins; the state of its call, in its arena. */
struct read_wait {
    struct read_index index;
    struct stale_read stale;
    struct rpc_call *call;
    struct server *server;
    bool away;    /* the step has returned RPC_PENDING */
    bool settled; /* code stands */
    int code;
    void *result; /* for the call's later steps */
};

/* The first step of such a call. From the next one on the state may be read: it is new enough, and
 * not being replaced. Otherwise the call ends with ERR_NOT_LEADER and a hint. */
int read_wait_begin(struct rpc_call *call, struct server *s, const struct read_bound *bound);

struct server_reads *server_reads_new(struct server *s);
void server_reads_free(struct server_reads *r); /* idle; accepts NULL */

void server_reads_applied(struct server *s); /* s->totals say where the state stands */
void server_reads_tick(struct server *s, time_ms now);
/* Reads that allow some age are refused, and no more is asked; what is in flight ends soon. */
void server_reads_close(struct server *s);
bool server_reads_idle(const struct server *s); /* none is in flight */

#endif
