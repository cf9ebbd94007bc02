/* What a Raft log must hold: a plain model, and a runner that drives model and store together and
 * compares them after crashes. For the log store's tests; entries' data is unique, so that nothing
 * old can pass for something new. */
#ifndef TESTS_LIB_LOG_MODEL_H
#define TESTS_LIB_LOG_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/raft/log_store.h"
#include "tests/lib/fake_disk.h"

enum {
    MODEL_INDEX_MAX = 400,   /* entries are kept by absolute index */
    MODEL_HISTORY_MAX = 128, /* versions since the last open */
    MODEL_SEGMENT_BYTES = 12 * 1024,
};

struct model_entry {
    term_no term;
    uint64_t stamp; /* unique; its data follows from it */
};

struct model {
    struct log_hard_state hard;
    log_index start_least; /* the store may keep more than it must, but never from before a reset */
    log_index start_most;
    log_index last;
    struct model_entry entries[MODEL_INDEX_MAX + 1];
};

enum log_op_kind {
    LOG_OP_APPEND,   /* amount entries */
    LOG_OP_VOTE,     /* a new term, voted for amount */
    LOG_OP_BOTH,     /* a new term and amount entries in one call */
    LOG_OP_TRUNCATE, /* the last amount entries */
    LOG_OP_SYNC,
    LOG_OP_COMPACT, /* all but the last amount entries */
    LOG_OP_RESET,   /* amount beyond the last */
    LOG_OP_IDLE,    /* two ticks, far apart */
    LOG_OP_KIND_COUNT
};

struct log_op {
    enum log_op_kind kind;
    uint32_t amount;
};

struct log_runner {
    struct fake_disk *disk;
    struct log_store *store; /* NULL while closed */
    uint64_t salt_seed;
    uint64_t stamp; /* of the last entry made */
    time_ms now;
    struct model *history; /* history[0]: as opened; one more for each change since */
    size_t count;
    size_t durable; /* the newest version that must survive */
};

void log_runner_init(struct log_runner *r);
void log_runner_deinit(struct log_runner *r);

/* Opens the store and checks that it holds a version that a crash may have left: at least the
 * durable one. That version is the only one from then on. Returns the error of log_store_open(),
 * which must be explained by a stop or a fault. */
int log_runner_open(struct log_runner *r, struct err *e);

/* Does one step on model and store. Amounts that do not fit the log are cut to what does. Returns
 * the store's error. */
int log_runner_do(struct log_runner *r, struct log_op op);

/* Closes the store and crashes the disk. */
void log_runner_crash(struct log_runner *r, enum fake_crash how, uint64_t seed);

/* Fails the test unless the store holds exactly what the newest version says. */
void log_runner_check(struct log_runner *r);

#endif
