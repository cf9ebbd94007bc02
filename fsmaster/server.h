/* The file master as a process: starts, serves, drains. main.c and nobody else calls it; the parts
 * of it that share the owner's state are in server_internal.h. */
#ifndef FSMASTER_SERVER_H
#define FSMASTER_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/err.h"

/* All strings live as long as the server; "" or NULL where something may be absent. */
struct server_options {
    const char *data;      /* directory */
    const char *listen;    /* HOST:PORT, port 0: any free one */
    const char *advertise; /* HOST:PORT that others use; absent: as listen, with the port bound */
    const char *host;      /* labels; absent: the machine's name, "default" */
    const char *rack;
    int64_t id;               /* of this member; 0: as the directory says, 1 in a fresh one */
    struct config_list peers; /* ID=HOST:PORT of the members that form a cluster; none: one alone */
    const char *cluster_id;   /* 32 hex digits; absent: drawn when the cluster is formed */
    int64_t replication;      /* default copies of a new cluster; 0: 3, or 1 with `single` */
    bool single;              /* a cluster on one machine */
    const char *superuser;    /* absent: whoever runs the process */
    int64_t ready_fd;         /* -1: none */
    const char *http;         /* address of metrics; absent: none */
    bool insecure;            /* plain text on other addresses than loopback */
    const char *tls_ca;       /* three PEM files, or none of them */
    const char *tls_cert;
    const char *tls_key;
    uint64_t server_dead_ms; /* silence of a chunkserver */
    uint64_t lease_ms;       /* a writer's lease without renewal */
    uint64_t cache_bytes;    /* RocksDB's */
    uint64_t persist_bytes;  /* of log between two flushes of the state */
    uint64_t keep_bytes;     /* of log for file masters that are behind */
    uint64_t segment_bytes;  /* of its files; 0: the log's default */
    uint64_t heartbeat_ms;   /* between file masters; 0: Raft's default, like the next */
    uint64_t election_ms;    /* silence after which another leader is sought */
    uint64_t trash_keep_ms;  /* what is in users' trashes is kept so long at least; 0: for ever */
    int64_t workers;         /* threads for reads */
    bool audit;              /* a log line for each change and each denial */
    const char *log_level;
    const char *restore; /* of main: a backup to restore instead of serving; absent: none */
    bool recover_quorum; /* of main: take over as a survivor instead of serving */
    bool accept_loss;    /* of main: do it */
};

struct daemon_page;
struct server;

/* Opens the data directory and the log, and listens. The first start on an empty directory forms a
 * cluster, or waits for those that will. page: with role and options; main()'s, until
 * server_free(), which releases. */
int server_start(const struct server_options *options, struct daemon_page *page,
                 struct server **ret, struct err *e) MUST_CHECK;

/* Serves on the calling thread, the owner, until server_stop() has drained everything or nothing
 * can go on. 0, or why not, in e. */
int server_run(struct server *s, struct err *e) MUST_CHECK;

/* Begin to drain (count 1), or cancel what is still in progress (2); each at most once. Any thread.
 */
void server_stop(struct server *s, int count);

void server_free(struct server *s); /* accepts NULL */

#endif
