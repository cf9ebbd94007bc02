/* A cluster of struct rafts in one process on virtual time, for tests that tell a story: cut,
 * crash, propose, run, look. Disks are images in memory that a crash takes back to what was
 * durable; the network delays, drops, doubles and reorders by a seed. tests/sim/ does the same at
 * large and with the real log store; this one is small enough to be steered by hand.
 *
 * After every step it checks what no single member can see, and fails the test by CHECK: one leader
 * per term; equal entries applied at equal indexes; nothing committed that is not on a quorum of
 * disks; no promise (vote, term) taken back; a leader that only appends; reads not older than what
 * was committed when they came.
 *
 * Members are called 1, 2, 3...; that is their id, their key, and their position in calls. */
#ifndef TESTS_LIB_RAFT_CLUSTER_H
#define TESTS_LIB_RAFT_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/raft/raft.h"

enum { CLUSTER_MEMBER_COUNT_MAX = 12 };

struct raft_cluster;

struct cluster_options {
    size_t voters;   /* members 1..voters are running and are the first configuration */
    size_t learners; /* the next ones: running, empty, in no configuration */
    uint64_t seed;
    uint32_t delay_ms_min; /* of a message; order is kept between two members unless long_delay */
    uint32_t delay_ms_max;
    uint32_t write_ms; /* from a write to its durability */
    uint32_t loss_percent;
    uint32_t double_percent;
    bool long_delay;          /* 2 of 3 answers take 200 to 2200 ms more, so they are reordered */
    uint32_t snapshot_every;  /* applied entries; 0: never */
    struct raft_options raft; /* tunables only */
    bool tell_messages;       /* in the transcript too */
};

struct raft_cluster *cluster_new(const struct cluster_options *options);
void cluster_free(struct raft_cluster *c);

/* ---- time ---- */

time_ms cluster_now(const struct raft_cluster *c);
void cluster_run(struct raft_cluster *c, time_ms ms);
/* Carries out all that is due now, without time passing. */
void cluster_settle(struct raft_cluster *c);
/* Until there is a leader whom a quorum of its configuration can reach, and that all connected
 * members follow; 0: not within ms. */
uint64_t cluster_await_leader(struct raft_cluster *c, time_ms ms);
uint64_t cluster_leader(struct raft_cluster *c); /* now, of the highest term, running, connected */
size_t cluster_leader_count(struct raft_cluster *c);

/* ---- faults ---- */

void cluster_disconnect(struct raft_cluster *c, uint64_t id);
void cluster_connect(struct raft_cluster *c, uint64_t id);
void cluster_cut(struct raft_cluster *c, uint64_t from, uint64_t to); /* one way */
void cluster_heal(struct raft_cluster *c);                            /* all of these */
void cluster_crash(struct raft_cluster *c, uint64_t id);
void cluster_restart(struct raft_cluster *c, uint64_t id);
void cluster_wipe(struct raft_cluster *c, uint64_t id); /* crashed; comes back as somebody new */
void cluster_hang_disk(struct raft_cluster *c, uint64_t id, bool hung);
void cluster_lossy(struct raft_cluster *c, uint32_t percent, bool long_delay);
bool cluster_is_connected(const struct raft_cluster *c, uint64_t id);
bool cluster_is_running(const struct raft_cluster *c, uint64_t id);

/* Called for each message before it is sent; false: it is lost. */
typedef bool (*cluster_filter_fn)(void *arg, const struct raft_message *m);
void cluster_filter(struct raft_cluster *c, cluster_filter_fn fn, void *arg);

/* ---- work ---- */

struct raft *cluster_raft(struct raft_cluster *c, uint64_t id); /* NULL: crashed */
/* 0 and where it will stand, or the refusal. */
int cluster_propose(struct raft_cluster *c, uint64_t id, const char *command, log_index *ret_index);
int cluster_propose_bytes(struct raft_cluster *c, uint64_t id, struct span command,
                          log_index *ret_index);
/* MIT's one(): proposes until `count` members have applied it at one index, within 10 s; any test
 * that fails here has found a bug. Returns the index. */
log_index cluster_one(struct raft_cluster *c, const char *command, size_t count);
int cluster_change(struct raft_cluster *c, uint64_t id, enum raft_change change, uint64_t member);
int cluster_transfer(struct raft_cluster *c, uint64_t id, uint64_t to);
/* A read that checks itself when it is answered. */
int cluster_read(struct raft_cluster *c, uint64_t id);
/* Any event; *ret_update lives until the member's next step. */
int cluster_step(struct raft_cluster *c, uint64_t id, struct raft_event *event,
                 struct raft_update *ret_update);

/* ---- looking ---- */

log_index cluster_applied(const struct raft_cluster *c, uint64_t id);
/* How many members have applied this index. */
size_t cluster_applied_count(const struct raft_cluster *c, log_index index);
log_index cluster_committed(const struct raft_cluster *c); /* highest that anybody has applied */
bool cluster_is_committed(const struct raft_cluster *c, const char *command, size_t times);
uint64_t cluster_log_bytes(const struct raft_cluster *c, uint64_t id); /* kept on its disk */
term_no cluster_term(struct raft_cluster *c, uint64_t id);

struct cluster_stats {
    uint64_t requests; /* messages that are no answers, lost ones included */
    uint64_t bytes;    /* of data in them */
    uint64_t snapshots_installed;
    uint64_t elections; /* won */
    uint64_t reads_done;
    uint64_t reads_given_up;
    uint64_t rounds; /* of reads */
};
struct cluster_stats cluster_stats(const struct raft_cluster *c);

/* What the members said (raft_trace), each line with the time and the member. */
const char *cluster_transcript(const struct raft_cluster *c);
void cluster_transcript_clear(struct raft_cluster *c);

#endif
