/* The chunkserver as one process: what all its parts share, and the table of chunks.
 *
 * Threads. Loop 0 is the owner: it alone touches the table of chunks, the uses, the term and the
 * counters below. Every loop, loop 0 included, serves calls; a stream lives on the loop that it
 * came in on and talks to the owner by posts (which are plain calls where both are the same
 * thread). Workers do disk, checksums and RocksDB and know only their job.
 *
 * Exclusive use. Whoever changes a chunk (an append stream, fence, seal, delete, copy) claims its
 * id first; claims wait in order. Readers claim nothing: bytes below the readable length never
 * change, and a deleted file stays readable while it is open. */
#ifndef CHUNKSERVER_SERVER_H
#define CHUNKSERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunkserver/disks.h"
#include "chunkserver/fenced.h"
#include "common/config.h" /* struct config_list */
#include "common/ids.h"
#include "common/limits.h"
#include "common/list.h"
#include "common/map.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_server.h"
#include "common/rpc/rpc_watchdog.h"
#include "common/workpool.h"

struct chain;
struct report;
struct local_read;
struct metrics;
struct daemon_page;
struct health_disk;

/* As main() reads them. */
struct server_options {
    struct config_list data; /* directories, one for each disk */
    int64_t failed_disks_max;
    const char *listen;
    const char *advertise; /* NULL: the listen address with the port bound */
    const char *host;      /* NULL: the machine's name */
    const char *rack;
    struct config_list masters; /* addresses; none: no reports, for tests */
    const char *local_socket;   /* NULL: local.sock in the first data directory */
    const char *http;           /* NULL: none */
    const char *tls_ca, *tls_cert, *tls_key;
    bool insecure;
    uint64_t capacity_bytes; /* of each data directory; 0: what the disk has */
    uint64_t scrub_bytes;    /* per second in each; 0: no scrubbing */
    uint64_t trash_ms;
    int64_t pollers; /* loops */
    int64_t workers;
    int64_t ready_fd; /* -1: none */
    const char *log_level;
};

/* One chunk in the owner's table; 48 bytes. */
struct chunk {
    struct chunk_ref ref;
    uint64_t length;   /* bytes that the index has */
    uint64_t readable; /* watermark; a reader who knows that the chunk is sealed gets all of it */
    uint64_t chunk_bytes; /* never grows beyond */
    uint8_t state;        /* enum chunk_state */
    bool inlined;
    bool damaged;
    bool suspected; /* of damage: is being looked at, or will be */
    bool clean;     /* sealed, or not restarted since this version was granted */
    uint8_t disk;   /* number of the one that has it */
};
static_assert(DISK_COUNT_MAX <= UINT8_MAX, "a disk's number fits");

/* Work on a worker, then back home. Lies in its owner's struct until `done` has run. */
struct task {
    struct job job;               /* private */
    struct rpc_loop *home;        /* where `done` runs */
    void (*run)(struct task *t);  /* on a worker; may block */
    void (*done)(struct task *t); /* on home */
};

/* A turn at exclusive use of a chunk id. Lies in its owner's struct until released. */
struct claim {
    struct list link;                 /* private */
    chunk_id id;                      /* claimed */
    void (*granted)(struct claim *c); /* on the owner, maybe from within server_claim() */
    struct chain *chain; /* set if the holder is an append stream, which can be stopped */
};

/* Somebody who waits on the owner for the readable length of a chunk to grow. */
struct chunk_waiter {
    struct list link; /* private */
    chunk_id id;
    void (*changed)(
        struct chunk_waiter *w); /* on the owner, after each change; may remove itself */
};

struct server_counters {
    struct counter *appended_bytes, *read_bytes, *sealed_chunks, *failed_appends, *damaged_blocks,
        *copied_chunks, *deleted_chunks, *local_reads;
    struct gauge *chunks, *streams, *failed_disks, *masters_answered;
};

struct server {
    const struct server_options *options;
    struct disks disks;
    struct workpool *pool;   /* see server_workers() */
    struct rpc_loop **loops; /* [0] is the owner */
    struct rpc_watchdog watchdog;
    size_t loop_count;
    struct rpc_tls *tls; /* NULL: plain text */
    struct rpc_pool *channels;
    struct rpc_server *rpc;
    struct metrics *metrics;
    struct daemon_page *page; /* main()'s */
    struct server_counters counters;
    char advertised[LIMIT_ADDRESS_BYTES_MAX];
    struct buf host;         /* label */
    struct buf local_socket; /* path; empty: none */

    /* The owner's. */
    struct map chunks;     /* id -> struct chunk */
    struct map uses;       /* id -> struct chunk_use */
    struct map waiters;    /* id -> struct list of chunk_waiter */
    struct fenced fenced;  /* chunks that may not be begun at old versions */
    term_no term;          /* highest seen from a file master */
    term_no term_spread;   /* that every index has, or is getting */
    struct task term_task; /* writes it */
    bool term_busy;
    uint64_t used_bytes;
    uint64_t stream_count;        /* appends, reads and copies in progress */
    bool draining;                /* no new writes */
    time_ms drain_deadline;       /* what is not over by then is cut off */
    struct rpc_timer drain_timer; /* looks whether all is over */
    struct report *report;
    struct local_read *local_read;
    time_ms started_ms;          /* mono */
    struct rpc_timer page_timer; /* tells how we are */
};

/* ---- Life ---- */

/* Opens the data directories, loads the table, listens. page: with role and options; main()'s,
 * until server_deinit(). */
int server_start(struct server *s, const struct server_options *options, struct daemon_page *page,
                 struct err *e) MUST_CHECK;
/* Runs the owner until server_stop() and what follows from it is done. */
void server_run(struct server *s);
/* Drains: refuses new work, ends streams, stops the owner. Any thread. */
void server_stop(struct server *s);
/* Tells every append stream to end (owner). */
void server_stop_chains(struct server *s, int code, const char *why);
void server_deinit(struct server *s); /* accepts zeroed and half-started */

/* A disk that failed a sync, an index that cannot be written, a cluster that refuses us: ends the
 * process at once (daemon_exit_status()), nothing is acknowledged any more. Any thread. */
void server_fatal(const char *what, const struct err *e) __attribute__((noreturn));

/* The same for what concerns one disk: the process goes on without it if --failed-disks-max allows
 * that, and then this returns. Its chunks are gone from the table soon after, and reported as such;
 * whoever was at work on it answers with an error. Any thread. */
void server_disk_failed(struct server *s, struct disk *disk, const char *what, const struct err *e);

/* ---- What it shows ---- */

/* Serves the HTTP pages if there is an address for them, and lets the owner tell how it is. */
int server_page_start(struct server *s, struct err *e) MUST_CHECK;
/* The same at once, when much has changed (owner). */
void server_page_report(struct server *s);
void server_page_stop(struct server *s); /* also when it was never started */

/* ---- Threads ---- */

static inline struct rpc_loop *server_owner(const struct server *s)
{
    return s->loops[0];
}

/* Runs fn(arg) on the loop: at once if this is its thread, else posted. */
void server_call(struct rpc_loop *loop, rpc_fn fn, void *arg);
/* The threads for work on that disk. Where there are several each has its own: one that hangs
 * without an error holds up what is on it, and nothing else. NULL: for what concerns all of them.
 * Any thread. */
struct workpool *server_workers(const struct server *s, const struct disk *disk);
/* Any thread. Never fails: tasks are bounded by the calls and streams that start them. */
void server_task(struct server *s, const struct disk *disk, struct task *t, struct rpc_loop *home);

/* ---- Table (owner) ---- */

struct chunk *server_chunk(const struct server *s, chunk_id id); /* NULL: not here */
/* Makes the table agree with the record of a chunk on that disk, adds it if it is new, and reports
 * the change. */
void server_chunk_changed(struct server *s, struct disk *disk, const struct chunk_record *record);
void server_chunk_removed(struct server *s, chunk_id id);
void server_forget_chunks(struct server *s); /* the table is empty; nothing is reported */
/* Those of a disk that failed are not in the table any more, and streams that write to them end;
 * the caller sees to the report. */
void server_drop_disk(struct server *s, const struct disk *disk);
/* Somebody who has no claim could not read a part of the chunk, or it did not verify. Once nobody
 * else uses the chunk all of it is read again; only if it is damaged indeed that is remembered in
 * the index and reported, and the master replaces the replica. */
void server_chunk_suspected(struct server *s, const struct disk *disk, chunk_id id);
/* Progress of an open chunk: no report, but waiting readers hear of it. */
void server_chunk_grew(struct server *s, chunk_id id, uint64_t length, uint64_t readable);

/* ---- Disks (owner) ---- */

struct disk *server_chunk_disk(const struct server *s, const struct chunk *chunk);
/* The disk for a new chunk. ERR_NO_SPACE: each is full. */
int server_choose_disk(struct server *s, const struct disk_need *need, struct disk **ret,
                       struct err *e) MUST_CHECK;
/* ERR_NO_SPACE: the disk has no room for so many more bytes. */
int server_space_check(const struct server *s, const struct disk *disk, uint64_t bytes,
                       struct err *e) MUST_CHECK;
/* Of all disks together. */
void server_space(const struct server *s, uint64_t *ret_capacity, uint64_t *ret_free);
/* What people are told of one of them; the strings are the disk's. */
void server_disk_health(const struct server *s, const struct disk *disk, struct health_disk *ret);

/* The indexes learn of server.term, in the background: whichever of the disks is lost, the others
 * still refuse an older one. With one disk there is nothing to do. */
void server_spread_term(struct server *s);

/* Fills the table from the indexes. A chunk that two disks have stays on the one that is ahead
 * (disk_choice.h), the other's goes to the trash there. */
int server_load(struct server *s, struct err *e) MUST_CHECK;

/* ---- Exclusive use (owner) ---- */

/* Grants now or later, in order. */
void server_claim(struct server *s, struct claim *c);
/* The same; if an append stream holds the chunk it is told to end. */
void server_claim_ending_streams(struct server *s, struct claim *c, int code, const char *why);
void server_release(struct server *s, struct claim *c);
bool server_is_claimed(const struct server *s, chunk_id id);

void server_wait(struct server *s, struct chunk_waiter *w);
void server_unwait(struct server *s, struct chunk_waiter *w); /* no-op when it does not wait */

/* ---- File masters (owner) ---- */

/* A master of our cluster is in that term: commands of lower ones are refused from now on. */
void server_see_term(struct server *s, term_no term);

/* Every command of a master passes here. ERR_STALE: a lower term than one seen before;
 * ERR_WRONG_CLUSTER. A higher term is in memory at once; the caller puts server.term into the index
 * batch of what it does, which is synced before it answers. */
int server_check_master(struct server *s, term_no term, const char *cluster_id,
                        struct err *e) MUST_CHECK;

#endif
