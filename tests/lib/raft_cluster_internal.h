/* Inside of the small cluster: raft_cluster.c has time and the network, raft_cluster_member.c what
 * a caller of the library does, raft_cluster_oracle.c what all of them together must never do. */
#ifndef TESTS_LIB_RAFT_CLUSTER_INTERNAL_H
#define TESTS_LIB_RAFT_CLUSTER_INTERNAL_H

#include "common/raft/raft_log.h"
#include "common/rng.h"
#include "tests/lib/raft_cluster.h"

/* Entries with bytes of their own: the log of a member in memory, and its disk. */
struct image {
    log_index start; /* entry before the first */
    term_no start_term;
    struct log_entry *entries;
    size_t count;
    size_t capacity;
};

/* The state machine: a hash over all that was applied, in order. */
struct machine {
    log_index applied;
    term_no term; /* of that entry */
    uint64_t chain;
    struct raft_config config;
    log_index config_index;
};

struct disk_write {
    uint64_t seq;
    time_ms done_ms;
    bool has_hard;
    struct log_hard_state hard;
    log_index truncate;
    struct log_entry *entries;
    size_t count;
    bool install; /* instead of all this: the snapshot in `incoming` */
};

struct held {
    uint64_t after_seq;
    struct raft_message message; /* its entries are copies */
};

struct waiting_read {
    uint64_t asked;
    log_index committed; /* by anybody, when it came */
};

struct member {
    struct raft_cluster *cluster;
    raft_key key; /* 0: not in use */
    uint64_t id;
    struct raft *raft; /* NULL: crashed */
    bool connected;
    bool hung;
    uint64_t life; /* counts restarts: what was on its way to an earlier life is lost */

    struct image disk;
    struct log_hard_state disk_hard;
    struct machine saved; /* what a restart finds of the state */

    struct image log;
    struct machine machine;
    struct disk_write *writes; /* in order */
    size_t write_count;
    uint64_t done_seq;
    struct held *held;
    size_t held_count;
    struct waiting_read *reads;
    size_t read_count;
    struct buf snapshot; /* that it can send */
    struct buf incoming;
    struct raft_status status;
    log_index commit; /* of the last update */
    log_index agreed; /* as it knows, own disk or not */
};

enum happening_kind { HAPPENING_MESSAGE, HAPPENING_EVENT };

struct happening {
    time_ms at_ms;
    uint64_t order;
    enum happening_kind kind;
    size_t to; /* position of a member */
    uint64_t life;
    struct raft_message message;
    struct raft_event event; /* RAFT_SNAPSHOT_MADE, _STORED, _INSTALLED */
};

struct known_term { /* who has led, or been voted for, in a term */
    term_no term;
    raft_key leader;
    raft_key votes[CLUSTER_MEMBER_COUNT_MAX];
};

struct raft_cluster {
    struct cluster_options options;
    struct rng rng;
    time_ms now_ms;
    struct member members[CLUSTER_MEMBER_COUNT_MAX];
    size_t member_count;
    bool cut[CLUSTER_MEMBER_COUNT_MAX][CLUSTER_MEMBER_COUNT_MAX];
    time_ms link_ms[CLUSTER_MEMBER_COUNT_MAX][CLUSTER_MEMBER_COUNT_MAX]; /* last arrival */
    struct happening *queue;
    size_t queue_count;
    size_t queue_capacity;
    uint64_t order;
    cluster_filter_fn filter;
    void *filter_arg;
    struct cluster_stats stats;
    struct buf transcript;

    struct machine *history; /* [i]: the state after entry i + 1, as the first to apply it had it */
    uint64_t *commands;      /* [i]: hash of a command's bytes, 0 for other entries */
    size_t history_count;
    size_t history_capacity;
    struct known_term *terms;
    size_t term_count;
};

void image_append(struct image *m, const struct log_entry *entry);
void image_truncate(struct image *m, log_index from);
void image_compact(struct image *m, log_index to);
void image_reset(struct image *m, log_index index, term_no term);
log_index image_last(const struct image *m);
const struct log_entry *image_entry(const struct image *m, log_index index); /* NULL: not there */
void image_deinit(struct image *m);

struct member *member_of(struct raft_cluster *c, uint64_t id);
void message_deinit(struct raft_message *m);

/* raft_cluster.c */
void cluster_say(struct raft_cluster *c, const struct member *m, const char *line);
void network_send(struct raft_cluster *c, struct member *from, const struct raft_message *m);
void schedule(struct raft_cluster *c, struct happening happening);

/* raft_cluster_member.c */
int member_step(struct raft_cluster *c, struct member *m, struct raft_event *event,
                struct raft_update *ret_update);
void member_event(struct raft_cluster *c, struct member *m, struct raft_event *event);
void member_start(struct raft_cluster *c, struct member *m);
void member_stop(struct member *m);
bool member_disk_done(struct raft_cluster *c, struct member *m); /* one write, if it is due */
time_ms member_next_ms(const struct member *m);
void member_deinit(struct member *m);

/* raft_cluster_oracle.c */
void oracle_update(struct raft_cluster *c, struct member *m, const struct raft_update *u);
void oracle_applied(struct raft_cluster *c, struct member *m, const struct log_entry *entry);
void oracle_installed(struct raft_cluster *c, const struct member *m);
void oracle_message(struct raft_cluster *c, const struct raft_message *m);
void oracle_read(struct raft_cluster *c, const struct waiting_read *read, log_index index);

#endif
