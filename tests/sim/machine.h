/* The replicated state of the simulated cluster: registers with versions, client sessions with a
 * window of replies, cluster time, configuration. A plain value, so that a flush is a copy of it.
 * Pure and total: any bytes are a command, and give a result.
 *
 * digest is kept up to date entry by entry and can be computed anew from the contents; the two must
 * agree, and agree on all members at equal applied index (RELIABILITY 4.1, 5 and 10). */
#ifndef TESTS_SIM_MACHINE_H
#define TESTS_SIM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/raft/log_entry.h"
#include "common/raft/raft_config.h"

enum {
    MACHINE_KEY_COUNT = 24,
    MACHINE_SESSION_COUNT = 48,
    MACHINE_WINDOW = 8,             /* requests of a session in flight */
    MACHINE_SESSION_LIFE = 15000,   /* ms of cluster time without a request */
    MACHINE_CLIENT_PATIENCE = 3000, /* a client tries no longer than that */
};

enum machine_result {
    MACHINE_DONE = 1,
    MACHINE_NO_SESSION, /* unknown session; nothing ran */
    MACHINE_STALE,      /* its reply has been given up by the client */
    MACHINE_BUSY,       /* window or session table full; nothing ran */
};

struct machine_reply {
    enum machine_result result;
    bool repeated;    /* answered from the session's window */
    uint64_t version; /* of the register after the write */
};

struct machine_put {
    uint64_t session;
    uint64_t seq;
    uint64_t acked_below;
    uint32_t op;  /* who asks: the simulator's number of the operation, unique; the value written */
    uint32_t key; /* register */
};

struct machine_register {
    uint64_t version; /* rises by one with each write; 0: never written */
    uint32_t op;      /* the write */
};

struct machine_window_slot {
    uint64_t seq; /* 0: none */
    uint64_t version;
};

struct machine_session {
    uint64_t id; /* 0: free */
    uint64_t acked_below;
    uint64_t touched_ms;
    struct machine_window_slot replies[MACHINE_WINDOW];
};

struct machine {
    log_index applied;
    term_no applied_term;
    uint64_t cluster_ms;
    uint64_t digest;
    struct machine_register registers[MACHINE_KEY_COUNT];
    struct machine_session sessions[MACHINE_SESSION_COUNT];
    log_index config_index; /* 0: none yet */
    uint64_t config_hash;
    struct raft_config config;
};

void machine_init(struct machine *m);

void machine_encode_put(const struct machine_put *put, size_t filler_bytes, struct buf *out);
void machine_encode_tick(uint64_t cluster_ms, struct buf *out);
/* False: not a put. */
bool machine_decode_put(struct span data, struct machine_put *ret_put);

/* Applies the entry after m->applied. */
struct machine_reply machine_apply(struct machine *m, const struct log_entry *entry);

uint64_t machine_digest(const struct machine *m); /* from the contents */

/* A snapshot's bytes, with a checksum. False: damaged. */
void machine_encode(const struct machine *m, struct buf *out);
bool machine_decode(struct span bytes, struct machine *ret_machine);

#endif
