/* See cluster.h. */
#include "mapreduce/mr/cluster.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <trireme/dfs.h>

#include "common/parse.h"
#include "common/sys.h"
#include "mapreduce/store_err.h"

enum { STORE_PATIENCE_MS = 2 * 60 * 1000 };

static volatile sig_atomic_t interrupted;
static bool catching;
static bool left_open; /* connections, for the end of the process */

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

void cluster_catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_interrupt,
                               .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    (void)sigemptyset(&action.sa_mask);
    catching = sigaction(SIGINT, &action, NULL) == 0;
}

bool cluster_interrupted(void)
{
    return interrupted != 0;
}

void cluster_forget_interrupt(void)
{
    interrupted = 0;
}

/* Once for each reason in a row: libdfs tells the same every second. */
static void say_waiting(const char *why, time_ms patience_ms)
{
    static char told[512];
    char patience[FORMAT_TEXT_BYTES];
    char text[sizeof(told)];
    (void)snprintf(text, sizeof(text), "%s; gives up after %s", why,
                   format_duration_exact(patience_ms, patience));
    if (strcmp(text, told) == 0) {
        return;
    }
    memcpy(told, text, sizeof(told));
    (void)fprintf(stderr, "%swaiting: %s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", text);
}

static const char *user_of(const struct cluster_options *o)
{
    static char name[256];
    if (o->user) {
        return o->user;
    }
    struct buf login = BUF_INIT;
    sys_user_name(&login);
    (void)snprintf(name, sizeof(name), "%s", login.data);
    buf_deinit(&login);
    return name;
}

void cluster_note_where(struct cluster_options *o, struct config *config,
                        const struct config_program *program)
{
    o->mrmaster_where = o->master_where = NULL;
    if (o->mrmaster) {
        o->mrmaster_where = config_where(config, program, "mrmaster");
    }
    if (o->master) { /* only commands that have the row have a value */
        o->master_where = config_where(config, program, "master");
    }
}

int cluster_open_client(const struct cluster_options *o, time_ms patience_ms,
                        struct mr_client **ret_client, struct err *e)
{
    if (!o->mrmaster || !o->mrmaster[0]) {
        return err_set(e, ERR_INVALID,
                       "which cluster? Set MR_MASTER=HOST:PORT to the address of its mrmaster, or "
                       "give --mrmaster (to try things without a cluster: mr run --local)");
    }
    struct mr_client_options options = {.addresses = o->mrmaster,
                                        .where =
                                            o->mrmaster_where ? o->mrmaster_where : "--mrmaster",
                                        .user = user_of(o),
                                        .tls_ca = o->tls_ca,
                                        .tls_cert = o->tls_cert,
                                        .tls_key = o->tls_key,
                                        .patience_ms = patience_ms,
                                        .waiting = say_waiting,
                                        .interrupted = catching ? cluster_interrupted : NULL};
    int r = address_list_check(o->mrmaster, e);
    if (r < 0) {
        return err_wrap(e, r, "%s", options.where);
    }
    return mr_client_open(&options, ret_client, e);
}

static void store_waiting(void *arg, const char *what)
{
    (void)arg;
    say_waiting(what, STORE_PATIENCE_MS);
}

int cluster_open_store(const struct cluster_options *o, struct dfs **ret_dfs, struct err *e)
{
    if (!o->master || !o->master[0]) {
        return err_set(e, ERR_INVALID,
                       "which store? Set DFS_MASTER=HOST:PORT to the address of "
                       "its file master, or give --master");
    }
    struct dfs_options options = {.masters = o->master,
                                  .masters_where = o->master_where ? o->master_where : "--master",
                                  .user = o->user, /* libdfs knows who we are otherwise */
                                  .tls_ca = o->tls_ca,
                                  .tls_cert = o->tls_cert,
                                  .tls_key = o->tls_key,
                                  .timeout_ms = STORE_PATIENCE_MS,
                                  .waiting = store_waiting};
    int r = address_list_check(o->master, e);
    if (r < 0) {
        return err_wrap(e, r, "%s", o->master_where ? o->master_where : "--master");
    }
    struct dfs_err de = {0};
    return dfs_connect(&options, ret_dfs, &de) < 0 ? err_from_dfs(e, &de, "the store") : 0;
}

#ifndef __has_feature /* clang's; gcc has a macro */
#define __has_feature(name) 0
#endif

/* Taking gRPC's threads and connections down one by one costs an empty job a tenth of its time.
 * Checkers of leaks get it. */
void cluster_leave(struct mr_client *client, struct dfs *dfs)
{
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
    mr_client_close(client);
    dfs_disconnect(dfs);
#else
    left_open = left_open || client || dfs;
#endif
}

int cluster_end(int status)
{
    if (left_open) {
        _exit(status);
    }
    return status;
}

int cluster_fail(const char *verb, int code, const struct err *e)
{
    (void)fprintf(stderr, "%s: %s\n", verb, err_message(e));
    return code == ERR_INVALID ? 2 : 1;
}
