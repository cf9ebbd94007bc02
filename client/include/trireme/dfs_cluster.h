/* libdfs: the cluster as its operators see it. Threads, errors and connections are as in dfs.h. */
#ifndef TRIREME_DFS_CLUSTER_H
#define TRIREME_DFS_CLUSTER_H

#include <trireme/dfs.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Servers and health ---------------------------------------------------------------------- */

/* What an operator has said of a chunkserver (dfs_admin.h), and how far it is with it. */
enum dfs_admin_state {
    DFS_IN_SERVICE = 0,
    DFS_DECOMMISSIONED = 1, /* it is to go: no new chunks; its copies do not count */
    DFS_IN_MAINTENANCE = 2, /* it is away for a while: no new chunks; its copies count */
};
struct dfs_leaving {
    bool done;    /* it can be stopped */
    bool counted; /* else the next four say nothing yet */
    uint64_t chunks;
    uint64_t needed;     /* of them still: too few copies elsewhere; of one in maintenance: none */
    uint64_t last;       /* of `needed` those without any other good copy */
    uint64_t writing;    /* chunks being written there */
    char reason[32];     /* what it waits for, for programs (proto/fs.proto); "": nothing */
    char waits_for[128]; /* for people */
    uint64_t left_ms;    /* of its maintenance */
};
struct dfs_server_status {
    uint64_t id;
    char host[256], rack[256], address[304];
    bool live;
    uint64_t heartbeat_age_ms;
    uint64_t capacity_bytes, free_bytes, used_bytes, chunk_count;
    enum dfs_admin_state admin;
    struct dfs_leaving leaving; /* unless it is DFS_IN_SERVICE */
    char **failed_disks;        /* data directories that it goes on without, and why, for people */
    size_t failed_disk_count;
};
struct dfs_report {
    char cluster_id[64];
    struct dfs_server_status *servers;
    size_t server_count;
    uint64_t file_count, directory_count, byte_count;
    uint64_t chunk_count, under_replicated, missing, unheard, repair_queue, repairing;
    uint64_t removal_queue, replicas_deleting;
    bool orphans_kept;    /* the state was restored; see dfs_orphans() */
    uint64_t orphans;     /* chunks that servers have and the file masters do not know */
    uint64_t restored_ms; /* wall clock; 0: never */
    uint64_t applied_index, term;
    uint32_t default_replication;
};
/* Release with dfs_report_free(). */
DFS_EXPORT int dfs_report(struct dfs *dfs, struct dfs_report **ret, struct dfs_err *e);
DFS_EXPORT void dfs_report_free(struct dfs_report *report);

/* ---- Why ------------------------------------------------------------------------------------- */

/* How chunks fare, and what they wait for: the file master's own reasons. */
struct dfs_explained_copy {
    const char *host;
    bool live; /* its server is */
    bool good; /* agrees with what the file master knows, on a live server */
    bool damaged;
    bool sealed;
    bool assumed;               /* must be so; the server has not said it itself yet */
    enum dfs_admin_state admin; /* of its server: decommissioned ones do not count */
    uint64_t version;
    uint64_t length;
};
struct dfs_explanation {
    uint64_t chunk;
    bool known; /* else there is no such chunk, or the master has just started */
    uint64_t version;
    uint64_t length;       /* 0 while it is open */
    uint32_t wanted;       /* copies */
    uint32_t good;         /* of them */
    const char *reason;    /* for programs: "nothing", "holder", "target"... (proto/fs.proto) */
    const char *waits_for; /* for people */
    bool queued;           /* for care, and how long so far */
    uint64_t queued_ms;
    uint64_t retry_ms; /* 0: due */
    uint32_t put_offs; /* how often nothing could be done, in a row */
    struct dfs_explained_copy *copies;
    size_t copy_count;
    const char **awaited; /* hosts that its recovery waits for */
    size_t awaited_count;
};
struct dfs_explanations {
    struct dfs_explanation *items;
    size_t count;
};
/* Same order and number. Release with dfs_explanations_free(). */
DFS_EXPORT int dfs_explain(struct dfs *dfs, const uint64_t *chunks, size_t count,
                           struct dfs_explanations *ret, struct dfs_err *e);
DFS_EXPORT void dfs_explanations_free(struct dfs_explanations *explanations);

#ifdef __cplusplus
}
#endif

#endif
