/* A client that keeps calls in flight on one connection, for a time, and counts. What is asked is
 * an ask: ours, a peer's, or a bare echo, so all of them are loaded in the same way. Main thread;
 * rpc_init() first. A call that fails ends the benchmark. */
#ifndef BENCH_LIB_LOAD_H
#define BENCH_LIB_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/rpc/rpc.h"

struct ProtobufCMessage;

/* A file that was created, and is open. */
struct load_file {
    uint64_t inode;
    uint64_t lease_epoch;
};

enum { LOAD_FLIGHT_MAX = 256, LOAD_OPS_MAX = 128, LOAD_PATH_BYTES = 32, LOAD_DIRECTORIES = 64 };

/* One of the calls in flight. */
struct load_lane {
    struct load *load;
    uint32_t number;
    uint64_t seq;      /* for the ask: of the last operation */
    uint64_t begun_us; /* of the call in flight */
    struct arena arena;
    size_t asked;            /* operations of the call in flight, for the ask */
    struct load_file *files; /* open ones, for the ask */
    size_t file_count;
    size_t file_capacity;
};

struct load_ask {
    const struct rpc_method *method;
    /* The next request, in the lane's arena, with load->ops operations in it. */
    struct ProtobufCMessage *(*request)(struct load_lane *lane);
    /* NULL: every reply is good. Else ends the benchmark when this one is not. */
    void (*check)(struct load_lane *lane, const struct ProtobufCMessage *reply);
    /* NULL: nothing. Else the next request after the measured time, until it gives NULL: what must
     * not be left behind for the loads that follow. */
    struct ProtobufCMessage *(*finish)(struct load_lane *lane);
};

struct load {
    const struct load_ask *ask;
    const char *address;
    uint32_t flight;      /* calls at a time */
    uint32_t ops;         /* operations in each */
    uint32_t value_bytes; /* for asks that store values */
    double seconds;

    /* Results. */
    double wall_s;
    double client_cpu_s;
    uint64_t done; /* operations */
    double p50_us; /* of a call */
    double p99_us;

    /* Private. */
    uint64_t run; /* number of this load among those of the process, from 1 */
    struct rpc_loop *loop;
    struct rpc_channel *channel;
    struct load_lane lanes[LOAD_FLIGHT_MAX];
    uint64_t until_us;
    uint32_t under_way;
    double *latencies_us;
    size_t latency_count;
    size_t latency_capacity;
    bool idle;
    bool finishing; /* the measured time is over */
};

/* Runs it: connects, makes one call to be sure of it, then measures. */
void load_run(struct load *load);
/* Afterwards: finishes what the ask left behind, and disconnects. */
void load_end(struct load *load);

/* Names that were never given before: "/d07/f00004711", equally spread over LOAD_DIRECTORIES. */
void load_next_path(char path[LOAD_PATH_BYTES]);

extern const struct load_ask load_create;     /* bench/lib/load_asks.c: files, without chunks */
extern const struct load_ask load_stat;       /* of a directory */
extern const struct load_ask load_echo;       /* a text as long as a create's request */
extern const struct load_ask load_etcd_put;   /* key = path, value_bytes of value */
extern const struct load_ask load_etcd_txn;   /* ops of these in a transaction */
extern const struct load_ask load_etcd_range; /* one key, linearizable */

/* Bytes that one create puts into the log. */
size_t load_create_entry_bytes(void);

/* Makes the directories in which load_create works. Once per cluster. */
void load_make_directories(const char *address);

#endif
