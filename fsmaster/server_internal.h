/* What the parts of the server share: the owner's state. Everything here is for the owner thread,
 * but for functions named _on_worker.
 *
 *   server.c           start, loop, drain
 *   server_page.c      how it is, for people
 *   server_raft.c      its place among the members
 *   server_apply.c     effects of applied entries on the soft state
 *   server_commands.c  entries: the server's own, and clients' requests with placement
 *   server_reads.c     when a read may be done
 *   server_recovery.c  seal and go on; leases that run out
 *   server_care.c      repair, surplus, orphans; background removal
 *   server_deletions.c replicas that are to go, until their servers say that they have
 *   server_trash.c     empties the trashes of users
 *   server_admin.c     chunkservers that an operator has taken out of service
 *   server_balance.c   copies from full servers to empty ones
 *   server_scan.c      soft state from the state on disk, at start
 *   fs_rpc.c           what clients ask: the service table, wire to plain and back
 *   chunkservers_rpc.c what chunkservers say of themselves
 *   raft_admin_rpc.c   what operators and peers ask of a member
 *   backup_rpc.c       copies of the state for operators
 *   orphans_rpc.c      replicas that the state does not know
 *   admin_rpc.c        what operators say about chunkservers
 *   chunk_rpc.c        calls to chunkservers */
#ifndef FSMASTER_SERVER_INTERNAL_H
#define FSMASTER_SERVER_INTERNAL_H

#include "common/ident.h"
#include "common/list.h"
#include "common/mailbox.h"
#include "common/map.h"
#include "common/metrics.h"
#include "common/rng.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_server.h"
#include "common/rpc/rpc_watchdog.h"
#include "common/workpool.h"
#include "fsmaster/chunk_rpc.h"
#include "fsmaster/chunkservers.h"
#include "fsmaster/consensus.h"
#include "fsmaster/leases.h"
#include "fsmaster/leaving.h"
#include "fsmaster/locations.h"
#include "fsmaster/namespace.h"
#include "fsmaster/raft_transport.h"
#include "fsmaster/recovery.h"
#include "fsmaster/repair.h"
#include "fsmaster/server.h"
#include "fsmaster/state.h"

/* A command on its way through consensus. Embedded in whatever waits for it. */
struct command {
    struct proposal proposal;
    struct buf bytes;
    struct server *server;
    void (*done)(struct command *c, int code, const struct apply_result *result);
};

struct server_reads;

/* Progress of the scan of chunk records at start. */
struct scan {
    struct job job;
    bool busy;
    bool complete;
    chunk_id after;            /* rows up to here have been taken */
    struct chunk_record *rows; /* of the page */
    size_t row_count;
    int code;
    struct map touched; /* chunk id -> what effects said of it while the page was read */
};

struct server_metrics {
    struct metrics *registry;
    struct counter *operations[OPERATION_KIND_COUNT]; /* by kind, as applied */
    struct counter *operation_errors;
    struct histogram *mutate; /* arrival on the owner to reply */
    struct counter *reads[4]; /* stat, list, locate, xattrs */
    struct gauge *mailbox, *workers;
    struct gauge *chunks[LOCATION_CLASS_COUNT];
    struct gauge *repair_waiting, *repair_running, *recoveries, *leases, *removal_queue;
    struct gauge *servers_live, *servers_leaving, *leaving_needed, *deletes_waiting;
    struct gauge *balance_moves;
    struct counter *copies, *copy_failures, *deletes, *recoveries_done, *unverified_seals;
    struct gauge *leading, *led, *term;
};

struct server {
    struct server_options options;
    struct datadir datadir;
    struct mailbox *mailbox;
    struct workpool *workers;
    struct rpc_loop *loop; /* the owner drives it */
    struct rpc_watchdog watchdog;
    struct rpc_server *rpc;
    struct chunk_caller chunk_caller; /* with its pool of channels */
    struct rpc_tls *tls;
    struct daemon_page *page; /* main()'s */
    time_ms reported_ms;      /* what the owner says there was said last */
    struct server_metrics metrics;
    char address[LIMIT_ADDRESS_BYTES_MAX]; /* advertised */
    const char *superuser;

    struct state *state;
    struct consensus_position position; /* of the state, at start */
    uint64_t member;                    /* own id */
    struct raft_transport *transport;
    struct consensus *consensus;
    struct consensus_status status;
    struct server_reads *reads;
    struct namespace_totals totals; /* as of the last applied group */
    time_ms cluster_base_ms;        /* cluster time when ... */
    time_ms cluster_mono_ms;        /* ... the monotonic clock said this */

    struct chunkservers *servers;
    struct locations *locations;
    struct leaving *leaving;
    struct balancing *balancing;
    struct lease_table *leases;
    struct repair_queue *repair;
    struct rng rng;
    struct scan scan;

    struct backup *backup; /* being read; NULL: none */
    struct trash *trash;

    struct map recoveries;    /* chunk id -> struct recovering */
    struct list allocations;  /* struct mutate that waits for servers, oldest first */
    struct map deletions;     /* server id -> struct deletion */
    size_t deletions_waiting; /* replicas in them */
    struct lease_ref expiring[NAMESPACE_BATCH_COUNT_MAX]; /* leases to end by the next command */
    uint32_t expiring_count;
    bool expire_running; /* an EXPIRE_LEASES is on its way */
    bool reap_running;
    bool tick_running;
    bool admin_running; /* an ENTRY_ADMIN_SERVER of its own is on its way */
    time_ms ticked_ms;  /* last ENTRY_TICK */
    uint32_t mutates;   /* client requests in progress */
    uint32_t jobs;      /* own jobs on workers in progress */
    uint32_t changes;   /* of members, asked for by operators */

    bool ready;                /* whoever started us knows that we serve */
    bool format_running;       /* ENTRY_FORMAT is on its way */
    bool stopping, shut;       /* drain has begun; and no new calls are taken */
    struct mail stop_mails[2]; /* drain; and cancel what is left */
    int stop_count;            /* of them that have come */
    time_ms stop_by_ms;        /* then it is cancelled anyway */
    struct err failure;        /* code != 0: the process must end */
};

/* ---- server.c ---- */

time_ms server_cluster_now(const struct server *s);
/* A job of the server's own on a worker; done on the owner must call server_job_end(). Its slot is
 * always there. */
void server_job_start(struct server *s, struct job *job, void (*run)(struct job *),
                      void (*done)(struct job *));
void server_job_end(struct server *s);
/* Tells whoever started us that we serve, once this member leads or knows who does. */
void server_look_ready(struct server *s);

/* ---- server_page.c ---- */

int server_page_start(struct server *s, struct err *e) MUST_CHECK;
void server_page_tick(struct server *s, time_ms now);
void server_page_report(struct server *s); /* at once */

/* ---- server_raft.c ---- */

int server_start_consensus(struct server *s, void (*failed)(void *, const struct err *),
                           struct err *e) MUST_CHECK;

/* ---- server_apply.c ---- */

void server_applied(void *ctx, void *outcome);
void server_changed(void *ctx, const struct consensus_status *status);

/* ---- server_commands.c ---- */

/* Stamps the times, encodes and proposes. done comes later in any case. */
void command_propose(struct command *c, struct server *s, struct command_entry *entry,
                     void (*done)(struct command *, int, const struct apply_result *));
void command_deinit(struct command *c);

/* A client's request on its way; lives in the call's arena. */
struct mutate {
    struct server *server;
    struct rpc_call *call;
    struct cmd_mutate request; /* operations writable */
    struct caller caller;
    struct command command;
    struct list link; /* in server->allocations */
    time_ms give_up_ms;
    uint64_t begun_us;
};

/* Owner. Finishes the call sooner or later. */
void mutate_start(struct mutate *m);
/* Allocations that wait for servers try again; all of them after their time. */
void mutates_retry(struct server *s, time_ms now);

/* ---- server_recovery.c ---- */

/* One asker of a recovery. */
struct recovery_waiter {
    struct list link;
    time_ms give_up_ms;
    /* code 0: chunk as it is now, sealed length, 0 when the extent is gone. text for a human. */
    void (*done)(struct recovery_waiter *w, int code, const char *text, struct chunk_ref chunk,
                 uint64_t length);
};

struct recovery_ask {
    struct chunk_record record; /* open or sealing */
    uint64_t acked;
    const server_id *blamed;
    size_t blamed_count;
};

/* waiter may be NULL. */
void recovery_ask(struct server *s, const struct recovery_ask *ask, struct recovery_waiter *waiter);
/* A new leader goes on with what the log says is being sealed. */
void recoveries_resume(struct server *s);
void recoveries_tick(struct server *s, time_ms now);
void leases_tick(struct server *s, time_ms now);
/* The servers that the chunk's recovery waits for; 0: none, or there is no recovery. */
uint32_t recoveries_wait_for(const struct server *s, chunk_id chunk,
                             server_id ret[CHUNK_REPLICAS_MAX]);
void recoveries_free(struct server *s);

/* ---- server_care.c ---- */

void server_care(void *arg, chunk_id chunk, enum location_class class); /* location_care_fn */
void care_tick(struct server *s, time_ms now);
void care_server_lost(struct server *s, struct chunkserver *server);
void care_server_found(struct server *s, struct chunkserver *server);
bool care_all_heard(const struct server *s);

/* One more copy of a chunk that lacks none, to this server. False: its sources are busy. */
bool care_copy_to(struct server *s, const struct location *chunk, server_id target);

/* How a chunk fares and why. */
struct care_answer {
    struct location chunk;
    enum repair_reason reason;
    struct repair_place place; /* times by the clock of now_ms */
    time_ms now_ms;
    server_id awaited[CHUNK_REPLICAS_MAX]; /* REPAIR_FOR_SEAL */
    uint32_t awaited_count;
};
/* Changes nothing. False: nothing is known of the chunk. */
bool care_explain(struct server *s, chunk_id chunk, struct care_answer *ret);

/* A call to a chunkserver in this term, to be filled in and started. */
struct chunk_call *server_chunk_call(struct server *s, enum chunk_call_kind kind, server_id id);

/* ---- server_trash.c ---- */

struct trash *trash_new(void);
void trash_free(struct trash *t); /* no job is running; accepts NULL */
void trash_tick(struct server *s, time_ms now);
bool trash_is_idle(const struct server *s); /* no command of it is on its way */

/* ---- server_scan.c ---- */

/* Servers, leases and unsealed chunks; blocks, before anything runs. */
int scan_tables(struct server *s, struct err *e) MUST_CHECK;
void scan_tick(struct server *s); /* the next page of chunk records */
/* An effect has said this of a chunk. wanted 0: nothing about that. */
void scan_touch(struct server *s, chunk_id chunk, bool freed, uint32_t wanted);
void scan_restart(struct server *s); /* the state is another one; no page is under way */
void scan_free(struct server *s);

/* ---- fs_rpc.c ---- */

extern const struct rpc_service_row fs_service[];

/* ---- chunkservers_rpc.c ---- */

extern const struct rpc_service_row chunkservers_service[];

/* ---- raft_admin_rpc.c ---- */

extern const struct rpc_service_row raft_stream_service[]; /* its service is a raft_transport */
extern const struct rpc_service_row raft_admin_service[];
/* The caller may do what changes the cluster. */
bool server_is_operator(const struct server *s, struct rpc_call *call);

/* ---- backup_rpc.c ---- */

extern const struct rpc_service_row backup_service[];
/* What a crash has left. */
int backup_start(struct server *s, struct err *e) MUST_CHECK;
void backup_tick(struct server *s, time_ms now);
void backup_free(struct server *s); /* no job is running */

/* ---- orphans_rpc.c ---- */

extern const struct rpc_service_row orphans_service[];

#endif
