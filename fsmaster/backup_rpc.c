/* Backups: a checkpoint of the state, read piece by piece by an operator's command. The same copy
 * and the same bytes as when a member is sent a snapshot, but a directory of its own, so that
 * neither is in the other's way.
 *
 * One at a time. Making it and reading it are jobs on workers, one after the other: whoever asks
 * while one is running is told to come again. The copy goes with its last piece, or when nobody has
 * asked for BACKUP_IDLE_MS: a checkpoint keeps files that the state has done with. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <proto/raft.pb-c.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/snapshot_stream.h"
#include "common/sys.h"
#include "fsmaster/server_internal.h"

struct backup {
    uint64_t id; /* random */
    char *directory;
    struct snapshot_source *source; /* NULL until it is made */
    struct consensus_position at;
    bool busy;       /* a job has it */
    time_ms used_ms; /* when a piece was last asked for */
};

/* One request; lives in the call's arena. */
struct backup_call {
    struct job job;
    struct read_index index;
    struct rpc_call *call;
    struct server *server;
    uint64_t offset;
    struct buf data;
    int code;
    struct err err;
    bool away;    /* the step has returned RPC_PENDING */
    bool settled; /* code is the answer of the read index */
};

static char *backup_directory(const struct server *s)
{
    return xprintf("%s/backup", s->options.data);
}

int backup_start(struct server *s, struct err *e)
{
    char *directory = backup_directory(s);
    int r = sys_remove_tree(directory, e);
    free(directory);
    return r;
}

/* ---- The end of one -------------------------------------------------------------------------- */

struct letting_go {
    struct job job;
    struct server *server;
    struct backup *backup;
};

static void destroy(struct backup *b, struct err *e)
{
    snapshot_source_close(b->source);
    if (sys_remove_tree(b->directory, e) < 0) {
        log_warning("backup", "the copy stays until the next start: %s", err_message(e));
    }
    free(b->directory);
    free(b);
}

static void let_go_on_worker(struct job *job)
{
    struct letting_go *g = CONTAINER_OF(job, struct letting_go, job);
    struct err e = ERR_INIT;
    destroy(g->backup, &e);
}

static void let_go_done(struct job *job)
{
    struct letting_go *g = CONTAINER_OF(job, struct letting_go, job);
    struct server *s = g->server;
    server_job_end(s);
    s->backup = NULL; /* only now: the next one has the same directory */
    free(g);
}

static void let_go(struct server *s)
{
    struct letting_go *g = xcalloc(1, sizeof(*g));
    s->backup->busy = true;
    g->server = s;
    g->backup = s->backup;
    server_job_start(s, &g->job, let_go_on_worker, let_go_done);
}

void backup_tick(struct server *s, time_ms now)
{
    if (s->backup && !s->backup->busy && now >= s->backup->used_ms + BACKUP_IDLE_MS) {
        log_info("backup", "let go: nobody has asked for a while");
        let_go(s);
    }
}

void backup_free(struct server *s)
{
    struct err e = ERR_INIT;
    if (s->backup) {
        destroy(s->backup, &e);
    }
}

/* ---- Making and reading ---------------------------------------------------------------------- */

static void make_on_worker(struct backup_call *c)
{
    struct server *s = c->server;
    struct backup *b = s->backup;
    c->code = state_checkpoint(s->state, b->directory, &c->err);
    c->code = c->code < 0 ? c->code : state_inspect(NULL, b->directory, &b->at, &c->err);
    if (c->code == 0) {
        c->code = snapshot_source_open(b->directory, b->at.index, b->at.term, &b->source, &c->err);
    }
}

static void backup_on_worker(struct job *job)
{
    struct backup_call *c = CONTAINER_OF(job, struct backup_call, job);
    struct backup *b = c->server->backup;
    if (!b->source) {
        make_on_worker(c);
    }
    if (c->code == 0 && c->offset < snapshot_source_bytes(b->source)) {
        c->code = snapshot_source_read(b->source, c->offset, BACKUP_PIECE_BYTES, &c->data, &c->err);
    }
}

static void answer(struct backup_call *c, const struct backup *b)
{
    struct server *s = c->server;
    struct arena *arena = rpc_call_arena(c->call);
    Trireme__V1__BackupReply *a = (void *)rpc_call_reply(c->call);
    a->backup = b->id;
    a->cluster_id = arena_strdup(arena, s->totals.cluster_id);
    a->member = s->member;
    a->address = arena_strdup(arena, s->address);
    a->index = b->at.index;
    a->term = b->at.term;
    a->bytes = snapshot_source_bytes(b->source);
    a->data.len = c->data.length;
    a->data.data = arena_copy(arena, c->data.data, c->data.length);
}

static void backup_done(struct job *job)
{
    struct backup_call *c = CONTAINER_OF(job, struct backup_call, job);
    struct server *s = c->server;
    struct backup *b = s->backup;
    server_job_end(s);
    b->busy = false;
    b->used_ms = clock_mono_ms();
    if (c->code >= 0) {
        answer(c, b);
    }
    if (c->code >= 0 && c->offset == 0) {
        log_info("backup", "begun index=%" PRIu64 " bytes=%" PRIu64 " user=%s", b->at.index,
                 snapshot_source_bytes(b->source), rpc_call_caller(c->call)->user);
    }
    if (c->code < 0 || c->offset + c->data.length >= snapshot_source_bytes(b->source)) {
        log_info("backup", "%s", c->code < 0 ? err_message(&c->err) : "read to its end");
        let_go(s);
    }
    buf_deinit(&c->data);
    rpc_call_finish(c->call, MIN(c->code, 0), c->code < 0 ? err_message(&c->err) : NULL);
}

static int start_job(struct backup_call *c)
{
    struct server *s = c->server;
    s->backup->busy = true;
    server_job_start(s, &c->job, backup_on_worker, backup_done);
    return RPC_PENDING;
}

/* ---- Requests -------------------------------------------------------------------------------- */

static int begin(struct backup_call *c, struct err *e)
{
    struct server *s = c->server;
    if (s->backup) {
        return err_set(e, ERR_BUSY, "another backup is being read from this file master");
    }
    if (consensus_is_installing(s->consensus) || s->stopping || !s->totals.cluster_id[0]) {
        return err_set(e, ERR_UNAVAILABLE, "its state is not there just now");
    }
    s->backup = xcalloc(1, sizeof(*s->backup));
    s->backup->id = rng_entropy_u64() | 1;
    s->backup->directory = backup_directory(s);
    return start_job(c);
}

static void read_index_done(struct read_index *index, int code)
{
    struct backup_call *c = CONTAINER_OF(index, struct backup_call, index);
    c->settled = true;
    c->code = code;
    if (!c->away) {
        return;
    }
    if (code < 0) {
        rpc_call_set_leader(c->call, c->server->status.leader);
    } else {
        code = begin(c, rpc_call_err(c->call));
    }
    if (code != RPC_PENDING) {
        rpc_call_finish(c->call, code, NULL);
    }
}

static int begin_on_leader(struct backup_call *c, struct err *e)
{
    consensus_read_index(c->server->consensus, &c->index);
    if (!c->settled) {
        c->away = true;
        return RPC_PENDING;
    }
    if (c->code < 0) {
        rpc_call_set_leader(c->call, c->server->status.leader);
        return ERR_NOT_LEADER;
    }
    return begin(c, e);
}

static int backup_step(struct rpc_call *call, void *service)
{
    struct server *s = service;
    struct err *e = rpc_call_err(call);
    const Trireme__V1__BackupRequest *q = (const void *)rpc_call_request(call);
    if (!server_is_operator(s, call)) {
        return err_set(e, ERR_PERMISSION, "only %s may read all of the state", s->superuser);
    }
    struct backup_call *c = arena_calloc(rpc_call_arena(call), sizeof(*c));
    c->call = call;
    c->server = s;
    c->offset = q->offset;
    c->index.done = read_index_done;
    buf_init(&c->data);
    if (q->backup == 0) {
        c->offset = 0;
        return q->from_leader ? begin_on_leader(c, e) : begin(c, e);
    }
    if (!s->backup || s->backup->id != q->backup || !s->backup->source) {
        return err_set(e, ERR_STALE, "this copy of the state is gone: begin again");
    }
    return s->backup->busy ? ERR_BUSY : start_job(c);
}

static const struct rpc_method method_backup = {"/trireme.v1.Raft/Backup", RPC_UNARY,
                                                &trireme__v1__backup_request__descriptor,
                                                &trireme__v1__backup_reply__descriptor};

const struct rpc_service_row backup_service[] = {
    {&method_backup, .steps = {{RPC_OWNER, backup_step}}},
    {NULL},
};
