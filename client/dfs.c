/* Connections, and what every call needs. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"
#include "client/master.h"
#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"
#include "common/parse.h"
#include "common/path.h"
#include "common/sys.h"

static_assert((int)DFS_EINVALID == (int)ERR_INVALID, "numbers are shared");
static_assert((int)DFS_EUNKNOWN == (int)ERR_UNKNOWN, "numbers are shared");
static_assert((int)DFS_ELEASE == (int)ERR_LEASE, "numbers are shared");
static_assert((int)DFS_EVERSION == (int)ERR_VERSION, "numbers are shared");

const char *dfs_error_text(int code)
{
    return err_text(code);
}

int dfs_fail(struct dfs_err *to, int code, const struct err *from)
{
    CHECK(code < 0);
    if (to) {
        to->code = code;
        to->unknown = code == ERR_UNKNOWN;
        const char *text = from && from->code ? err_message(from) : err_text(code);
        (void)snprintf(to->msg, sizeof(to->msg), "%s", text);
    }
    return code;
}

int dfs_finish(struct dfs_err *to, int code, const struct err *from)
{
    return code < 0 ? dfs_fail(to, code, from) : code;
}

/* ---- Calls ---------------------------------------------------------------------------------- */

struct rpc_loop *dfs_loop_borrow(struct dfs *dfs)
{
    struct rpc_loop *loop = NULL;
    sync_enter(&dfs->lock);
    if (dfs->spare_count > 0) {
        loop = dfs->spare[--dfs->spare_count];
    }
    sync_leave(&dfs->lock);
    return loop ? loop : rpc_loop_new();
}

void dfs_loop_return(struct dfs *dfs, struct rpc_loop *loop)
{
    sync_enter(&dfs->lock);
    if (dfs->spare_count < DFS_SPARE_LOOP_COUNT_MAX) {
        dfs->spare[dfs->spare_count++] = loop;
        loop = NULL;
    }
    sync_leave(&dfs->lock);
    rpc_loop_free(loop);
}

void call_begin_on(struct call *c, struct dfs *dfs, struct rpc_loop *loop)
{
    time_ms now = clock_mono_ms();
    *c = (struct call){
        .dfs = dfs,
        .loop = loop,
        .deadline = now + dfs->timeout_ms,
        .tell_at = now + DFS_TELL_MS,
    };
    arena_init(&c->arena, 0);
}

void call_end_on(struct call *c)
{
    arena_deinit(&c->arena);
}

void call_begin(struct call *c, struct dfs *dfs)
{
    call_begin_on(c, dfs, dfs_loop_borrow(dfs));
}

void call_end(struct call *c)
{
    call_end_on(c);
    dfs_loop_return(c->dfs, c->loop);
}

void call_waits(struct call *c, const char *what)
{
    time_ms now = clock_mono_ms();
    if (now < c->tell_at || !c->dfs->waiting || c->quiet) {
        return;
    }
    c->tell_at = now + DFS_TELL_MS;
    c->dfs->waiting(c->dfs->waiting_arg, what);
}

bool call_pause(struct call *c, time_ms ms)
{
    time_ms until = clock_mono_ms() + ms;
    if (until >= c->deadline) {
        return false;
    }
    while (clock_mono_ms() < until) {
        (void)rpc_loop_step(c->loop, until);
    }
    return true;
}

time_ms call_jitter(struct call *c, time_ms ms)
{
    sync_enter(&c->dfs->lock);
    time_ms some = rng_range(&c->dfs->rng, ms / 2, ms);
    sync_leave(&c->dfs->lock);
    return some;
}

/* ---- Connecting ----------------------------------------------------------------------------- */

static const char *either(const char *given, const char *variable)
{
    return given && given[0] ? given : getenv(variable);
}

static int add_master(struct dfs *dfs, char *item, struct err *e)
{
    char host[LIMIT_HOST_BYTES_MAX + 1];
    uint16_t port;
    int r = parse_address(item, host, sizeof(host), &port, e);
    if (r < 0) {
        return err_wrap(e, r, "file master '%.200s'", item);
    }
    if (dfs->master_count == DFS_MASTER_COUNT_MAX) {
        return err_set(e, ERR_INVALID, "more than %d file masters", DFS_MASTER_COUNT_MAX);
    }
    dfs->masters[dfs->master_count++] = xstrdup(item);
    return 0;
}

static int set_masters(struct dfs *dfs, const char *text, struct err *e)
{
    if (!text || !text[0]) {
        return err_set(e, ERR_INVALID, "no file master is named: set DFS_MASTER=host:port");
    }
    char *copy = xstrdup(text);
    char *state = NULL;
    int r = 0;
    for (char *item = strtok_r(copy, ", ", &state); item && r == 0;
         item = strtok_r(NULL, ", ", &state)) {
        r = add_master(dfs, item, e);
    }
    free(copy);
    if (r == 0 && dfs->master_count == 0) {
        r = err_set(e, ERR_INVALID, "no file master is named in '%.200s'", text);
    }
    if (r == 0) {
        (void)snprintf(dfs->leader, sizeof(dfs->leader), "%s", dfs->masters[0]);
    }
    return r;
}

static int set_names(struct dfs *dfs, const struct dfs_options *o, struct err *e)
{
    struct buf text = BUF_INIT;
    if (!o->user || !o->user[0]) {
        sys_user_name(&text);
    }
    dfs->user = xstrdup(text.length ? text.data : o->user);
    buf_clear(&text);
    const char *host = either(o->host, "TRIREME_HOST");
    if (!host || !host[0]) {
        sys_host_name(&text);
        host = text.data;
    }
    dfs->host = xstrdup(host);
    buf_deinit(&text);
    const char *rack = either(o->rack, "TRIREME_RACK");
    dfs->rack = xstrdup(rack && rack[0] ? rack : "default");
    dfs->home = xprintf("/user/%s", dfs->user);
    if (path_check_name(dfs->user, strlen(dfs->user), NULL) < 0) {
        return err_set(e, ERR_INVALID, "'%.100s' cannot be a user's name", dfs->user);
    }
    if (strlen(dfs->host) > LIMIT_HOST_BYTES_MAX || strlen(dfs->rack) > LIMIT_HOST_BYTES_MAX) {
        return err_set(e, ERR_INVALID, "a host or rack label has at most %d bytes",
                       LIMIT_HOST_BYTES_MAX);
    }
    return 0;
}

static int set_tls(struct dfs *dfs, const struct dfs_options *o, struct err *e)
{
    if (!o->tls_ca && !o->tls_cert && !o->tls_key) {
        return 0;
    }
    if (!o->tls_ca || !o->tls_cert || !o->tls_key) {
        return err_set(e, ERR_INVALID, "TLS needs all three: CA, certificate and key");
    }
    return rpc_tls_new(o->tls_ca, o->tls_cert, o->tls_key, &dfs->tls, e);
}

static uint64_t random_id(void)
{
    uint64_t id;
    do {
        id = rng_entropy_u64();
    } while (id == 0);
    return id;
}

int dfs_connect(const struct dfs_options *options, struct dfs **ret, struct dfs_err *ret_e)
{
    static const struct dfs_options none;
    const struct dfs_options *o = options ? options : &none;
    struct err e = ERR_INIT;
    struct dfs *dfs = xcalloc(1, sizeof(*dfs));
    rpc_init();
    sync_init(&dfs->lock);
    lease_keeper_init(&dfs->leases);
    rng_seed_entropy(&dfs->rng);
    dfs->session = xcalloc(1, sizeof(*dfs->session));
    session_init(dfs->session, random_id());
    dfs->timeout_ms = o->timeout_ms ? o->timeout_ms : CLIENT_RETRY_MS;
    dfs->staleness_ms = o->staleness_ms;
    dfs->no_local_reads = o->no_local_reads;
    dfs->waiting = o->waiting;
    dfs->waiting_arg = o->waiting_arg;
    int r = set_masters(dfs, either(o->masters, "DFS_MASTER"), &e);
    const char *where = o->masters && o->masters[0] ? o->masters_where : "DFS_MASTER";
    dfs->masters_where = where ? xstrdup(where) : NULL;
    if (r == 0) {
        r = set_names(dfs, o, &e);
    }
    if (r == 0) {
        r = set_tls(dfs, o, &e);
    }
    if (r < 0) {
        dfs_disconnect(dfs);
        return dfs_fail(ret_e, r, &e);
    }
    master_choose_near(dfs);
    dfs->pool = rpc_pool_new(dfs->tls, dfs->tls ? o->user : dfs->user);
    *ret = dfs;
    return 0;
}

void dfs_disconnect(struct dfs *dfs)
{
    if (!dfs) {
        return;
    }
    lease_keeper_stop(dfs);
    for (size_t i = 0; i < dfs->spare_count; i++) {
        rpc_loop_free(dfs->spare[i]);
    }
    for (size_t i = 0; i < dfs->master_count; i++) {
        free(dfs->masters[i]);
    }
    rpc_pool_free(dfs->pool);
    rpc_tls_free(dfs->tls);
    sync_deinit(&dfs->lock);
    free(dfs->session);
    free(dfs->masters_where);
    free(dfs->user);
    free(dfs->host);
    free(dfs->rack);
    free(dfs->home);
    free(dfs);
    rpc_exit();
}

const char *dfs_user(const struct dfs *dfs)
{
    return dfs->user;
}
