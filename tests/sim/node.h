/* One machine of the simulated cluster and the process on it: what the shell of a real member does
 * around the library (DESIGN 5), on a simulated disk. The order of effects is that of raft.h.
 *
 *   step -> send at once | queue the write -> disk thread: write, flush -> send what waited,
 * WRITTEN
 *        -> apply thread: read committed entries from the log, apply, answer clients
 *        -> now and then flush the state, cut the log
 *
 * node.c drives the library, node_disk.c the log, node_apply.c the state and clients,
 * node_snapshot.c snapshots, node_life.c start, crash and wiping. */
#ifndef TESTS_SIM_NODE_H
#define TESTS_SIM_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/raft/log_store.h"
#include "common/raft/raft.h"
#include "tests/sim/machine.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_disk.h"

/* An entry as this node has written it, or is about to. */
struct mirror_entry {
    term_no term;
    uint8_t type;
    struct span data; /* NULL once it is durable: then the log store has it */
    uint64_t chain;   /* hash of it and all before it; judge.c */
};

/* The log as of the last update, ahead of the disk: what messages are filled from. */
struct mirror {
    log_index start;
    term_no start_term;
    struct mirror_entry *entries; /* of start + 1 ... */
    size_t head;                  /* live ones are entries[head ... head + count) */
    size_t count;
    size_t capacity;
};

static inline log_index mirror_last(const struct mirror *m)
{
    return m->start + m->count;
}

static inline struct mirror_entry *mirror_at(struct mirror *m, log_index index)
{
    return &m->entries[m->head + (size_t)(index - m->start - 1)];
}

/* An update's write, until it is durable; owns the bytes of its entries. */
struct disk_write {
    struct disk_write *next;
    uint64_t seq;
    bool has_hard;
    struct log_hard_state hard;
    log_index truncate;
    size_t count;
    struct log_entry *entries;
};

/* A message on its way, with the bytes that it carries. */
struct packet {
    struct packet *next; /* while it waits for the disk */
    uint64_t after_seq;
    struct raft_message message;
    void *body; /* what message points to: entries and their bytes, or a piece of a snapshot */
    size_t body_bytes;
};

/* A client's request that waits at a leader. */
struct waiter {
    log_index index; /* of its entry; a read: of the answer, 0 until known */
    term_no term;
    uint64_t round; /* of a read */
    uint64_t floor; /* of a read: the version that was known when it was sent */
    uint32_t op;
    uint32_t attempt;
};

struct waiters {
    struct waiter *all;
    size_t head;
    size_t count;
    size_t capacity;
};

struct image { /* a snapshot, whole or in part */
    log_index index;
    term_no last_term;
    uint64_t bytes_total;
    struct buf bytes;
};

enum install_step {
    INSTALL_NONE,
    INSTALL_CHECK,  /* received whole; checksum and meaning are looked at */
    INSTALL_SYNC,   /* made durable, aside */
    INSTALL_SWITCH, /* CURRENT names it */
    INSTALL_RESET,  /* the log begins after it */
};

struct node {
    struct sim *sim;
    uint32_t slot;
    struct raft_member member; /* key, id, address */
    uint64_t life;             /* rises at each start and stop */
    bool up;
    enum sim_boundary doing; /* what the disk is at, for a scenario */
    bool failing;            /* it will be stopped at the end of this event */
    bool fresh;              /* the disk has never held anything */
    bool hung;               /* the disk answers nothing until the fault ends */
    bool crash_in_install;   /* at some step of the next one */
    bool damage_piece;       /* the next one that arrives */
    enum sim_crash failing_how;
    sim_us paused_until;
    struct sim_disk_struck struck; /* as last seen */

    /* Clock. */
    uint64_t clock_base_us;
    sim_us clock_anchor;
    uint32_t clock_rate; /* 1024 is true */
    sim_us tick_at;      /* when the tick that is under way comes; 0: none */
    uint64_t tick_number;

    /* Log. */
    struct sim_disk *disk;
    struct log_store *store;
    struct mirror log;
    log_index durable_last; /* entries up to here are on disk and in the mirror */
    struct log_hard_state durable_hard;
    struct disk_write *queue; /* waiting for the disk */
    struct disk_write **queue_end;
    struct disk_write *flight; /* being flushed */
    bool flushing;
    uint64_t durable_seq;
    struct packet *waiting; /* for the disk */
    struct packet **waiting_end;
    uint32_t slow; /* flushes take so many times longer */

    /* Library. */
    struct raft *raft;
    struct raft_status status;
    log_index commit;
    log_index decided; /* a leader's, which it may tell only when its own disk has it; judge.c */
    log_index keep;
    uint64_t read_done;
    log_index read_index;

    /* State. */
    struct machine *live;
    struct machine *persisted;  /* on disk */
    struct machine *persisting; /* being flushed */
    bool is_persisting;
    bool apply_coming;
    struct waiters writes;
    struct waiters reads;
    uint64_t tick_proposed_ms;

    /* Snapshots. */
    struct image made; /* being sent to others */
    bool making;
    struct image received; /* so far */
    struct image aside;    /* received whole, durable */
    bool has_aside;
    enum install_step installing;
    struct log_read read; /* for reading the log */
};

struct node *node_new(struct sim *s, uint32_t slot);
void node_free(struct node *n);

/* A new identity on an empty disk. */
void node_identity(struct node *n);
/* Writes entry 1 to the log of a member of the first configuration, which is not running. */
void node_found(struct node *n, const struct raft_config *config);
void node_start(struct node *n);                     /* failing to start: tries again later */
void node_crash(struct node *n, enum sim_crash how); /* running */
void node_wipe(struct node *n); /* not running: the disk is gone, the next identity is another */
/* Stops the process at the end of this event: an error that it must not survive. */
void node_give_up(struct node *n, enum sim_crash how);

time_ms node_now(const struct node *n);
void node_tick_soon(struct node *n); /* keeps the next tick where raft wants it */

/* node.c: one event into the library, its update carried out. Returns raft_step()'s. */
int node_step(struct node *n, struct raft_event *event, struct raft_update *ret_update);
int node_step_err(struct node *n, struct raft_event *event, struct raft_update *ret_update,
                  struct err *e);
void node_release(struct node *n); /* sends what has waited for the disk long enough */
void node_on_tick(struct node *n, struct event *ev);
void node_on_packet(struct node *n, struct event *ev);
void node_on_care(struct node *n, struct event *ev);
void packet_free(struct packet *p);

/* node_disk.c */
void node_write(struct node *n, const struct raft_update *u);
void node_disk_go(struct node *n); /* begins a flush if there is something to write */
void node_on_disk(struct node *n, struct event *ev);
void node_disk_forget(struct node *n); /* crash: queue and waiting packets are gone */
void node_cut_log(struct node *n);
/* Copies the entries that an APPEND names from mirror or log store. False: do not send it. */
bool node_fill(struct node *n, struct packet *p);
/* Reads a run of entries into n->read, up to and including `to`; false: the disk failed. */
bool node_read(struct node *n, log_index from, log_index to);
void mirror_push(struct mirror *m, struct mirror_entry entry);
void mirror_reset(struct mirror *m, log_index start, term_no term);
term_no mirror_term(struct mirror *m, log_index index); /* start <= index <= last */

/* node_apply.c */
void node_apply_go(struct node *n);
void node_on_apply(struct node *n, struct event *ev);
void node_on_persist(struct node *n, struct event *ev);
void node_persist_go(struct node *n);
void node_on_request(struct node *n, struct event *ev);
void node_reads_confirmed(struct node *n);
void node_give_up_waiters(struct node *n); /* leadership is lost: outcomes are unknown */
void node_propose_tick(struct node *n);

/* node_snapshot.c */
void node_make_snapshot(struct node *n);
void node_on_snapshot_made(struct node *n, struct event *ev);
void node_store_piece(struct node *n, const struct raft_snapshot *piece);
void node_on_piece(struct node *n, struct event *ev);
void node_install(struct node *n, const struct raft_snapshot *snapshot);
void node_on_install(struct node *n, struct event *ev);
bool node_fill_piece(struct node *n, struct packet *p);

#endif
