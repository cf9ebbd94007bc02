/* The simulated world: virtual time, one queue of events, one generator of random numbers, and the
 * statistics of a run. Nodes (node.h), clients (client.h), the operator and the faults (faults.h)
 * are driven by its events; the judge (judge.h) watches all of them. README.md tells how a run
 * goes. One thread; one world per process. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/heap.h"
#include "common/rng.h"

enum {
    SIM_POINT_COUNT_MAX = 2048, /* changes of a disk in a scenario */
    SIM_SLOT_COUNT_MAX = 10,    /* machines: members, and spares that may become members */
    SIM_CLIENT_COUNT_MAX = 8,
    SIM_REPORT_BYTES_MAX = 600,
};

typedef uint64_t sim_us; /* virtual time, microseconds from the start */

struct sim;
struct node;
struct event;

/* What one seed draws once, and keeps. */
struct plan {
    uint32_t member_count; /* 3, 5 or 7 */
    uint32_t spare_count;
    uint32_t client_count;
    uint32_t lane_count; /* requests of a client in flight */
    uint32_t think_us;   /* mean pause between two requests of a lane */
    uint32_t read_percent;
    uint32_t key_count; /* registers that are used */
    uint32_t heartbeat_ms;
    uint32_t election_ms;
    uint32_t disk_hung_ms;
    uint32_t inflight_count_max;
    uint32_t append_bytes_max;
    uint32_t piece_bytes;
    uint32_t link_us;        /* least delay of a message */
    uint32_t link_jitter_us; /* mean of what comes on top */
    uint32_t flush_us;       /* mean of one flush */
    uint32_t segment_bytes;
    uint32_t persist_count; /* entries applied between two flushes of the state */
    uint32_t log_bound;     /* entries kept for slow followers at most */
    uint32_t filler_bytes;  /* most bytes added to a command */
    uint32_t drift_percent; /* clocks run up to that much fast or slow */
    uint32_t fault_ms;      /* mean pause between two faults */
    uint32_t admin_ms;      /* mean pause between two acts of the admin; 0: none */
};

/* Kinds of fault and of change, counted when they have landed. */
#define SIM_FAULT_TABLE(X)                                                                         \
    X(KILL, "kill")                                                                                \
    X(POWER, "power")                                                                              \
    X(POWER_ALL, "power_all")                                                                      \
    X(POWER_IN_WRITE, "power_in_write")                                                            \
    X(PAUSE, "pause")                                                                              \
    X(CLOCK, "clock")                                                                              \
    X(SPLIT, "split")                                                                              \
    X(ISOLATE, "isolate_leader")                                                                   \
    X(ONE_WAY, "one_way")                                                                          \
    X(PARTIAL, "partial")                                                                          \
    X(LOSS, "loss")                                                                                \
    X(DELAY, "delay")                                                                              \
    X(DUPLICATE, "duplicate")                                                                      \
    X(REORDER, "reorder")                                                                          \
    X(DISK_SLOW, "disk_slow")                                                                      \
    X(DISK_HUNG, "disk_hung")                                                                      \
    X(DISK_FULL, "disk_full")                                                                      \
    X(WRITE_ERROR, "write_error")                                                                  \
    X(SYNC_ERROR, "sync_error")                                                                    \
    X(READ_ERROR, "read_error")                                                                    \
    X(INSTALL_CRASH, "install_crash")                                                              \
    X(PIECE_DAMAGE, "piece_damage")                                                                \
    X(WIPE, "wipe")

enum sim_fault {
#define SIM_FAULT_ENUM(name, text) FAULT_##name,
    SIM_FAULT_TABLE(SIM_FAULT_ENUM)
#undef SIM_FAULT_ENUM
        FAULT_COUNT
};
const char *sim_fault_name(enum sim_fault fault);

struct sim_stats {
    uint64_t hash; /* of every event, in order */
    uint64_t events;
    uint64_t simulated_ms;
    uint64_t healthy_ms; /* without a fault at work, of the time before the end phase */
    uint64_t healthy_commits;
    uint64_t commits;
    uint64_t elections;
    uint64_t terms;
    uint64_t messages;
    uint64_t flushes;
    uint64_t restarts;
    uint64_t torn_tails;
    uint64_t snapshots_made;
    uint64_t snapshots_installed;
    uint64_t compactions;
    uint64_t changes; /* of membership, committed */
    uint64_t transfers;
    uint64_t reads;
    uint64_t writes;
    uint64_t unknowns;    /* operations that ended without an answer */
    uint64_t repeats;     /* requests answered from a session's window */
    uint64_t expired;     /* requests refused because the session was gone */
    uint64_t converge_ms; /* the end phase: until all agreed */
    uint64_t faults[FAULT_COUNT];
};

/* A short run with a fixed course instead of random faults, for crash_states.c: a victim votes,
 * appends, truncates, cuts its log and installs a snapshot, and its power goes at one chosen point.
 */
enum sim_boundary { /* what the victim was doing then */
                    BOUNDARY_NONE,
                    BOUNDARY_VOTE,
                    BOUNDARY_APPEND,
                    BOUNDARY_TRUNCATE,
                    BOUNDARY_FLUSH,
                    BOUNDARY_COMPACT,
                    BOUNDARY_INSTALL,
                    BOUNDARY_START,
                    BOUNDARY_COUNT
};

struct scenario {
    uint32_t victim;
    bool leads;        /* it is made the leader first */
    uint64_t stop_at;  /* the change of its disk; 0: none */
    uint32_t how;      /* enum sim_crash */
    uint32_t again_in; /* power goes again at that change of the next start; 0: no */
    uint32_t step;     /* enum install_step in place of a change; 0: none */
};

/* What becomes of a seed; lives in memory that the parent process shares. */
struct sim_result {
    uint64_t seed;
    int status; /* 0: running or died, 1: passed, 2: failed */
    struct sim_stats stats;
    uint64_t victim_changes;                 /* of a scenario: changes of its disk in all */
    uint8_t boundaries[SIM_POINT_COUNT_MAX]; /* of a scenario: what each change was part of */
    enum sim_boundary boundary;              /* of a scenario: where the power went */
    char report[SIM_REPORT_BYTES_MAX];
};

struct sim_options {
    uint64_t seed;
    const struct scenario *scenario; /* NULL: random faults */
    uint32_t seconds;                /* of faults; the end phase comes on top */
    bool trace;                      /* a line on stdout for every event */
    const char *history;             /* file for the clients' history, or NULL */
};

/* Runs one seed. Returns only if it passed; a violation fills in the report and ends the process.
 */
void sim_run(const struct sim_options *options, struct sim_result *result);

/* ---- events ---- */

enum event_kind {
    EVENT_TICK = 1,      /* node: raft's own clock */
    EVENT_PACKET,        /* node: a message of a peer arrives */
    EVENT_DISK,          /* node: a flush ends */
    EVENT_APPLY,         /* node: the apply thread takes what is committed */
    EVENT_PERSIST,       /* node: a flush of the state ends */
    EVENT_CARE,          /* node: several times a second */
    EVENT_SNAPSHOT_MADE, /* node */
    EVENT_PIECE,         /* node: a piece has been stored */
    EVENT_INSTALL,       /* node: next step of an installation */
    EVENT_START,         /* node: the process is started again */
    EVENT_REQUEST,       /* node: of a client */
    EVENT_REPLY,         /* client */
    EVENT_CLIENT,        /* client: a lane's pause or patience ends */
    EVENT_FAULT,         /* the next fault */
    EVENT_FAULT_END,
    EVENT_SCENE,  /* the next act of a scenario */
    EVENT_ADMIN,  /* the operator looks at the cluster */
    EVENT_SECOND, /* once a second of virtual time */
};

struct event {
    struct heap_node node;
    sim_us at;
    uint64_t order; /* equal times: in the order of making */
    enum event_kind kind;
    struct node *to; /* whose pauses delay it; NULL: nobody's */
    uint64_t life;   /* of that node, when the event was made; 0: outlives a crash */
    uint64_t a;      /* the handler's */
    void *data;      /* the handler's; freed by whoever runs or drops the event */
};

/* Runs `delay` from now. */
struct event *sim_after(struct sim *s, sim_us delay, enum event_kind kind, struct node *to);

/* ---- chance ---- */

bool sim_chance(struct sim *s, uint32_t percent);
uint64_t sim_below(struct sim *s, uint64_t bound);
uint64_t sim_between(struct sim *s, uint64_t least, uint64_t most);
uint64_t sim_about(struct sim *s, uint64_t mean); /* exponential, at most ten times the mean */

/* ---- telling ---- */

/* A violation: ends the process. rule: "4.1.6 one vote per term". */
void sim_fail(struct sim *s, const char *rule, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

/* A line of the trace, when it is wanted. */
void sim_trace(struct sim *s, const char *format, ...) ERR_PRINTF(2, 3);

/* Adds to the trace hash what an event did. */
void sim_mix(struct sim *s, uint64_t value);

/* ---- the world ---- */

struct health {
    sim_us unhealthy_at; /* last seen so */
    sim_us stuck_since;  /* no client was answered since, although a majority is well */
    uint64_t progress;
    uint64_t committed;
};

/* How long a majority that is well may take to elect a leader and commit. */
sim_us sim_patience(const struct sim *s);

struct sim {
    struct sim_options options;
    struct sim_result *result;
    struct sim_stats *stats; /* of the result */
    struct plan plan;
    struct rng rng;
    sim_us now;
    sim_us end;         /* of the phase with faults */
    bool calm;          /* the end phase: no more faults, no more acts of the operator */
    sim_us alone_until; /* one fault that lasts, and nothing besides */
    struct health health;
    struct node *scene_cut; /* of a scenario: the leader that was cut off */
    uint64_t event_order;
    struct heap events;
    struct event *spare_events;
    struct node *nodes[SIM_SLOT_COUNT_MAX];
    uint32_t node_count;
    struct net *net;
    struct judge *judge;
    struct clients *clients;
    struct faults *faults;
    struct admin *admin;
};

#endif
