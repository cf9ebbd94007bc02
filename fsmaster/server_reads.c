/* See server_reads.h. The question how far the log is committed goes to the leader as a ReadIndex
 * call; a leader asks its own consensus. What follows from the answer, staleness.c decides.
 *
 * No read begins while a snapshot replaces the state: whoever is decided then is refused. Those
 * that were given to the workers before are waited for by the installation. */
#include "fsmaster/server_reads.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/check.h"
#include "common/clock.h"
#include "fsmaster/raft_rpc.h"
#include "fsmaster/server_internal.h"

struct server_reads {
    struct server *server;
    struct staleness staleness;
    bool working; /* work() is under way: what comes meanwhile it sees by itself */
    bool closed;
    struct counter *answered;
    struct counter *questions;

    /* The question in flight. */
    uint64_t question;
    bool local_busy;
    struct read_index local; /* of our own consensus, if we lead */
    bool remote_busy;
    struct rpc_pending *pending;
    struct mail mail;
    int code;        /* written on the loop, before the mail */
    log_index index; /* likewise */
};

/* ---- One read ------------------------------------------------------------------------------- */

static void settle(struct read_wait *wait, int code)
{
    wait->settled = true;
    wait->code = code;
    if (!wait->away) {
        return;
    }
    if (code == 0) {
        rpc_call_resume(wait->call);
    } else {
        rpc_call_set_leader(wait->call, wait->server->status.leader);
        rpc_call_finish(wait->call, code, NULL);
    }
}

static void index_done(struct read_index *index, int code)
{
    settle(CONTAINER_OF(index, struct read_wait, index), code);
}

static void settle_stale(struct server_reads *r, struct read_wait *wait, int code)
{
    if (code == 0 && consensus_is_installing(r->server->consensus)) {
        code = ERR_NOT_LEADER;
    }
    if (code == 0) {
        counter_add(r->answered, 1);
    }
    settle(wait, code);
}

/* ---- Questions ------------------------------------------------------------------------------ */

static void work(struct server_reads *r);

static void heard(struct server_reads *r, int code, log_index index)
{
    if (code == 0) {
        staleness_answer(&r->staleness, r->question, index);
    } else {
        staleness_fail(&r->staleness, r->question);
    }
}

static void heard_locally(struct read_index *index, int code)
{
    struct server_reads *r = CONTAINER_OF(index, struct server_reads, local);
    r->local_busy = false;
    heard(r, code, consensus_status(r->server->consensus).applied);
    work(r);
}

static void heard_on_owner(struct mail *mail)
{
    struct server_reads *r = CONTAINER_OF(mail, struct server_reads, mail);
    r->remote_busy = false;
    rpc_pending_unref(r->pending);
    r->pending = NULL;
    heard(r, r->code, r->index);
    work(r);
}

static void heard_on_loop(void *arg, int code, log_index index)
{
    struct server_reads *r = arg;
    r->code = code;
    r->index = index;
    mailbox_post_reserved(r->server->mailbox, &r->mail);
}

static int ask_leader(struct server_reads *r, time_ms now)
{
    struct server *s = r->server;
    struct rpc_channel *channel = NULL;
    if (s->status.leader[0] == '\0' || !cluster_id_known(s->datadir.ident.cluster)) {
        return ERR_NOT_LEADER;
    }
    int code = rpc_pool_get(s->chunk_caller.pool, s->status.leader, RPC_CONTROL, &channel, NULL);
    if (code < 0) {
        return code;
    }
    CHECK(mailbox_reserve(s->mailbox) == 0);
    r->remote_busy = true;
    r->mail.handle = heard_on_owner;
    struct raft_read_index ask = {.channel = channel,
                                  .cluster = s->datadir.ident.cluster,
                                  .deadline = now + STALENESS_ASK_MS,
                                  .done = heard_on_loop,
                                  .arg = r};
    r->pending = raft_read_index_start(s->loop, &ask);
    rpc_channel_unref(channel);
    return 0;
}

static void ask(struct server_reads *r)
{
    const struct server *s = r->server;
    time_ms now = clock_mono_ms(); /* before the question exists: staleness.h, step 1 */
    r->question = staleness_ask(&r->staleness, now);
    counter_add(r->questions, 1);
    if (s->status.is_leader || strcmp(s->status.leader, s->address) == 0) {
        r->local_busy = true;
        r->local.done = heard_locally;
        consensus_read_index(s->consensus, &r->local);
    } else if (ask_leader(r, now) < 0) {
        staleness_fail(&r->staleness, r->question);
    }
}

/* Everything that is possible now. Answers that come at once change what it sees next. */
static void work(struct server_reads *r)
{
    struct stale_read *read;
    int code;
    if (r->working) {
        return;
    }
    r->working = true;
    if (!r->closed && staleness_wants(&r->staleness, clock_mono_ms())) {
        ask(r);
    }
    while ((read = staleness_next(&r->staleness, &code)) != NULL) {
        settle_stale(r, CONTAINER_OF(read, struct read_wait, stale), code);
    }
    r->working = false;
}

/* ---- The step ------------------------------------------------------------------------------- */

static void begin_stale(struct server_reads *r, struct read_wait *wait,
                        const struct read_bound *bound)
{
    time_ms now = clock_mono_ms();
    time_ms age_ms = bound->age_ms - 1; /* the clock drops what is below a millisecond */
    wait->stale = (struct stale_read){.since_ms = now > age_ms ? now - age_ms : 0,
                                      .at_least = bound->seen,
                                      .give_up_ms = now + STALENESS_WAIT_MS};
    if (r->closed || consensus_is_installing(r->server->consensus)) {
        settle(wait, ERR_NOT_LEADER);
    } else if (staleness_read(&r->staleness, &wait->stale)) {
        settle_stale(r, wait, 0);
    } else {
        work(r);
    }
}

int read_wait_begin(struct rpc_call *call, struct server *s, const struct read_bound *bound)
{
    struct read_wait *wait = arena_calloc(rpc_call_arena(call), sizeof(*wait));
    wait->call = call;
    wait->server = s;
    wait->index.done = index_done;
    rpc_call_set_state(call, wait);
    if (bound->age_ms > 0) {
        begin_stale(s->reads, wait, bound);
    } else {
        consensus_read_index(s->consensus, &wait->index);
    }
    if (wait->settled && wait->code < 0) {
        rpc_call_set_leader(call, s->status.leader);
        return wait->code;
    }
    wait->away = !wait->settled;
    return wait->away ? RPC_PENDING : 0;
}

/* ---- Life ----------------------------------------------------------------------------------- */

struct server_reads *server_reads_new(struct server *s)
{
    struct server_reads *r = xcalloc(1, sizeof(*r));
    struct metrics *m = s->metrics.registry;
    r->server = s;
    r->answered = metrics_counter(m, "fsmaster_stale_reads_total", NULL,
                                  "Reads begun that allow their answer some age.");
    r->questions = metrics_counter(m, "fsmaster_staleness_questions_total", NULL,
                                   "Times that the leader was asked how far the log is committed.");
    staleness_init(&r->staleness, s->totals.applied.index);
    return r;
}

void server_reads_free(struct server_reads *r)
{
    if (r) {
        CHECK(!r->remote_busy);
        free(r);
    }
}

void server_reads_applied(struct server *s)
{
    staleness_applied(&s->reads->staleness, s->totals.applied.index);
    work(s->reads);
}

void server_reads_tick(struct server *s, time_ms now)
{
    staleness_tick(&s->reads->staleness, now);
    work(s->reads);
}

void server_reads_close(struct server *s)
{
    struct server_reads *r = s->reads;
    if (r && !r->closed) {
        r->closed = true;
        staleness_tick(&r->staleness, UINT64_MAX); /* whoever waits is refused */
        work(r);
        if (r->pending) {
            rpc_pending_cancel(r->pending);
        }
    }
}

bool server_reads_idle(const struct server *s)
{
    return !s->reads || !s->reads->remote_busy;
}
