/* What every subcommand of `mr` that talks to a cluster has in common: the flags, and the
 * connections made from them. */
#ifndef MAPREDUCE_MR_CLUSTER_H
#define MAPREDUCE_MR_CLUSTER_H

#include "common/config.h"
#include "common/err.h"
#include "mapreduce/mr/client.h"

struct dfs;

struct cluster_options {
    const char *mrmaster;
    const char *master;
    const char *mrmaster_where; /* "MR_MASTER" or "--mrmaster": who said so; NULL: not noted */
    const char *master_where;
    const char *user; /* NULL: the login name */
    const char *tls_ca, *tls_cert, *tls_key;
    bool json;
};

/* Rows of a config table whose options struct has a struct cluster_options `cluster`. */
#define CLUSTER_ROWS(struct_name)                                                                  \
    {.type = CONFIG_HEADING, .key = "", .help = "The cluster"},                                    \
        {.key = "mrmaster",                                                                        \
         .type = CONFIG_STRING,                                                                    \
         .offset = offsetof(struct_name, cluster.mrmaster),                                        \
         .value_name = "HOST:PORT,...",                                                            \
         .env = "MR_MASTER",                                                                       \
         .help = "The mrmaster, and its standby if there is one."},                                \
        {.key = "user",                                                                            \
         .type = CONFIG_STRING,                                                                    \
         .offset = offsetof(struct_name, cluster.user),                                            \
         .value_name = "NAME",                                                                     \
         .help = "Act as this user. Default: the login name. With TLS the certificate says who "   \
                 "you are."},                                                                      \
        {.key = "tls-ca",                                                                          \
         .type = CONFIG_STRING,                                                                    \
         .offset = offsetof(struct_name, cluster.tls_ca),                                          \
         .value_name = "FILE",                                                                     \
         .help = "The cluster's CA, PEM."},                                                        \
        {.key = "tls-cert",                                                                        \
         .type = CONFIG_STRING,                                                                    \
         .offset = offsetof(struct_name, cluster.tls_cert),                                        \
         .value_name = "FILE",                                                                     \
         .help = "Your certificate, PEM."},                                                        \
    {                                                                                              \
        .key = "tls-key", .type = CONFIG_STRING, .offset = offsetof(struct_name, cluster.tls_key), \
        .value_name = "FILE", .help = "Its key, PEM."                                              \
    }

/* After parsing: notes where the addresses come from, for errors about them. */
void cluster_note_where(struct cluster_options *o, struct config *config,
                        const struct config_program *program);

/* Patience with a mrmaster that cannot be reached. */
enum { CLUSTER_LOOK_MS = 5 * 1000, CLUSTER_RUN_MS = 120 * 1000 };

/* ERR_INVALID: no address of a mrmaster was given, or a bad one; e says what to do. */
int cluster_open_client(const struct cluster_options *o, time_ms patience_ms,
                        struct mr_client **ret_client, struct err *e) MUST_CHECK;
int cluster_open_store(const struct cluster_options *o, struct dfs **ret_dfs,
                       struct err *e) MUST_CHECK;

/* Done with the cluster, as the last thing that a command does. The connections may stay until the
 * process ends, which main() sees to with cluster_end(). Both may be NULL. */
void cluster_leave(struct mr_client *client, struct dfs *dfs);
/* After all output was flushed: ends the process if connections were left open, else returns
 * `status`. */
int cluster_end(int status);

/* "mr VERB: message" on stderr. Returns the exit code: 2 for ERR_INVALID, else 1. */
int cluster_fail(const char *verb, int code, const struct err *e);

/* Ctrl-C: from now on SIGINT only sets what cluster_interrupted() gives; a second one ends the
 * process. */
void cluster_catch_interrupt(void);
bool cluster_interrupted(void);
void cluster_forget_interrupt(void); /* it was acted on */

#endif
