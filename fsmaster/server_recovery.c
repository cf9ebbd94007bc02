/* The shell around recovery.h: sends what it asks for and feeds back what comes; and the leases
 * that run out, each of which needs a recovery first if its file has an unsealed chunk. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "fsmaster/server_internal.h"

struct recovering {
    struct recovery core;
    struct server *server;
    inode_id inode;
    struct list waiters;    /* struct recovery_waiter */
    struct command command; /* BEGIN or END on its way, if proposing */
    bool proposing;
    bool ended; /* waiters are answered: free it when nothing is on its way */
    time_ms begun_ms;
    time_ms told_ms; /* when the log last said what it waits for */
};

static void recovering_pump(struct recovering *r);

/* ---- Ends ----------------------------------------------------------------------------------- */

static void answer_waiters(struct recovering *r, int code, const char *text, struct chunk_ref chunk,
                           uint64_t length)
{
    while (!list_empty(&r->waiters)) {
        struct list *node = list_pop_front(&r->waiters);
        struct recovery_waiter *w = LIST_ENTRY(node, struct recovery_waiter, link);
        w->done(w, code, text, chunk, length);
    }
}

static void recovering_free(struct recovering *r)
{
    (void)map_remove_u64(&r->server->recoveries, r->core.chunk.id);
    command_deinit(&r->command);
    free(r);
}

static void give_up(struct recovering *r, int code, const char *text)
{
    answer_waiters(r, code, text, r->core.chunk, 0);
    recovering_free(r);
}

/* ---- Log ------------------------------------------------------------------------------------ */

static void begin_done(struct command *c, int code, const struct apply_result *result)
{
    struct recovering *r = CONTAINER_OF(c, struct recovering, command);
    r->proposing = false;
    if (code == 0 && result->code == 0) {
        recovery_begun(&r->core, clock_mono_ms());
        recovering_pump(r);
    } else if (code == 0) {
        /* Somebody was faster: sealed or gone by now. Whoever asked asks again and sees. */
        give_up(r, ERR_BUSY, result->text);
    } else {
        give_up(r, code, err_text(code));
    }
}

static void end_done(struct command *c, int code, const struct apply_result *result)
{
    struct recovering *r = CONTAINER_OF(c, struct recovering, command);
    struct server *s = r->server;
    r->proposing = false;
    if (code != 0 || result->code != 0) {
        give_up(r, code == 0 ? ERR_BUSY : code, code == 0 ? result->text : err_text(code));
        return;
    }
    recovery_ended(&r->core, result->length);
    counter_add(s->metrics.recoveries_done, 1);
    if (r->core.unverified) {
        counter_add(s->metrics.unverified_seals, 1);
        log_error("recovery",
                  "sealed without a clean replica: run fsck chunk=%" PRIu64 " inode=%" PRIu64
                  " length=%" PRIu64 " acked=%" PRIu64,
                  r->core.chunk.id, r->inode, result->length, r->core.acked);
    } else {
        log_info("recovery",
                 "sealed chunk=%" PRIu64 " inode=%" PRIu64 " length=%" PRIu64 " ms=%" PRIu64,
                 r->core.chunk.id, r->inode, result->length, clock_mono_ms() - r->begun_ms);
    }
    struct chunk_ref now = {r->core.chunk.id, r->core.new_version};
    answer_waiters(r, 0, "", now, result->length);
    recovering_pump(r); /* replicas are told */
    recovering_free(r);
}

static void propose(struct recovering *r, enum recovery_effect_kind kind)
{
    struct command_entry entry = {.kind = ENTRY_SEAL_BEGIN};
    r->proposing = true;
    command_deinit(&r->command);
    if (kind == RECOVERY_PROPOSE_BEGIN) {
        entry.seal_begin = (struct cmd_seal_begin){
            .chunk = r->core.chunk.id, .new_version = r->core.new_version, .reason = "recovery"};
        command_propose(&r->command, r->server, &entry, begin_done);
        return;
    }
    entry.kind = ENTRY_SEAL_END;
    entry.seal_end = (struct cmd_seal_end){.chunk = {r->core.chunk.id, r->core.new_version},
                                           .length = r->core.length,
                                           .drop = r->core.length == 0};
    command_propose(&r->command, r->server, &entry, end_done);
}

/* ---- Chunkservers --------------------------------------------------------------------------- */

static void note_fence(struct server *s, const struct chunk_call *call)
{
    if (!call->found) {
        locations_remove(s->locations, call->server, call->chunk.id);
        return;
    }
    struct location_report report = {.chunk = {call->chunk.id, call->new_version},
                                     .length = call->held};
    (void)locations_report(s->locations, call->server, &report);
}

/* It says that it has no such chunk, and it has lost none since before the chunk was allocated. */
static bool never_had(const struct server *s, const struct chunk_call *call)
{
    const struct chunkserver *server = chunkservers_find(s->servers, call->server);
    return server && server->joined && !call->disk_failed &&
           call->start_count == server->start_count && call->chunk.id >= server->trusted_from;
}

static void fence_done(struct chunk_call *call)
{
    struct server *s = call->context;
    struct recovering *r = map_get_u64(&s->recoveries, call->chunk.id);
    struct recovery_answer answer = {.server = call->server,
                                     .kind = RECOVERY_ANSWER_FAILED,
                                     .length = call->held,
                                     .clean = call->clean};
    if (call->code == 0) {
        answer.kind = call->found          ? RECOVERY_ANSWER_HELD
                      : never_had(s, call) ? RECOVERY_ANSWER_NEVER
                                           : RECOVERY_ANSWER_NOT_FOUND;
        note_fence(s, call);
        log_info("recovery",
                 "fenced chunk=%" PRIu64 " server=%" PRIu64 " found=%d length=%" PRIu64 " clean=%d",
                 call->chunk.id, call->server, call->found, call->held, call->clean);
    } else {
        log_info("recovery", "not fenced chunk=%" PRIu64 " server=%" PRIu64 " error=%s",
                 call->chunk.id, call->server, call->text);
    }
    if (r && r->core.new_version == call->new_version) {
        recovery_fenced(&r->core, &answer, clock_mono_ms());
        recovering_pump(r);
    }
    chunk_call_free(call);
}

static void seal_done(struct chunk_call *call)
{
    struct server *s = call->context;
    if (call->code == 0) {
        /* One that was not kept is as good as damaged: replaced from a good one, then deleted. */
        struct location_report report = {.chunk = call->chunk,
                                         .length = call->length,
                                         .sealed = call->kept,
                                         .damaged = !call->kept};
        (void)locations_report(s->locations, call->server, &report);
    }
    chunk_call_free(call);
}

static void send_fence(struct recovering *r, server_id server)
{
    struct server *s = r->server;
    struct chunk_call *call = server_chunk_call(s, CHUNK_CALL_FENCE, server);
    call->chunk = r->core.chunk;
    call->new_version = r->core.new_version;
    call->done = fence_done;
    chunk_call_start(call, &s->chunk_caller);
}

static void send_seal(struct recovering *r, server_id server)
{
    struct server *s = r->server;
    struct chunk_call *call = server_chunk_call(s, CHUNK_CALL_SEAL, server);
    call->chunk = (struct chunk_ref){r->core.chunk.id, r->core.new_version};
    call->length = r->core.length;
    call->fenced_version = r->core.new_version;
    call->done = seal_done;
    chunk_call_start(call, &s->chunk_caller);
}

static void recovering_pump(struct recovering *r)
{
    struct recovery_effect effect;
    while (recovery_next(&r->core, &effect)) {
        switch (effect.kind) {
        case RECOVERY_PROPOSE_BEGIN:
        case RECOVERY_PROPOSE_END:
            propose(r, effect.kind);
            break;
        case RECOVERY_SEND_FENCE:
            send_fence(r, effect.server);
            break;
        case RECOVERY_SEND_SEAL:
            send_seal(r, effect.server);
            break;
        case RECOVERY_NOTHING:
            break;
        }
    }
}

/* ---- Asking --------------------------------------------------------------------------------- */

static struct recovering *recovering_new(struct server *s, const struct chunk_record *record,
                                         uint64_t acked)
{
    struct recovering *r = xcalloc(1, sizeof(*r));
    uint64_t next = era_version(&s->totals.era, record->ref.version);
    /* A sealing that another era began is begun again: that era may have ended it otherwise. */
    bool begun = record->state == CHUNK_SEALING && next == record->ref.version + 1;
    struct recovery_start start = {
        .chunk = {record->ref.id, record->open_version},
        .begun = begun,
        .new_version = begun ? record->ref.version : next,
        .set = record->servers,
        .set_count = record->server_count,
        .acked = acked,
    };
    r->server = s;
    r->inode = record->inode;
    list_init(&r->waiters);
    buf_init(&r->command.bytes);
    r->begun_ms = clock_mono_ms();
    r->told_ms = r->begun_ms;
    recovery_init(&r->core, &start, r->begun_ms);
    (void)map_put_u64(&s->recoveries, record->ref.id, r);
    return r;
}

void recovery_ask(struct server *s, const struct recovery_ask *ask, struct recovery_waiter *waiter)
{
    CHECK(ask->record.state != CHUNK_SEALED);
    CHECK(ask->record.server_count > 0);
    struct recovering *r = map_get_u64(&s->recoveries, ask->record.ref.id);
    if (!r) {
        r = recovering_new(s, &ask->record, ask->acked);
    }
    recovery_tell(&r->core, ask->acked, ask->blamed, ask->blamed_count);
    if (waiter) {
        list_push_back(&r->waiters, &waiter->link);
    }
    recovering_pump(r);
}

/* ---- Resuming ------------------------------------------------------------------------------- */

struct resumption {
    struct server *server;
    struct job job;
    struct chunk_record *records;
    size_t count;
};

static int collect_sealing(void *arg, const struct chunk_record *record)
{
    struct resumption *r = arg;
    if (record->state == CHUNK_SEALING) {
        r->records = xreallocarray(r->records, r->count + 1, sizeof(*r->records));
        r->records[r->count++] = *record;
    }
    return 0;
}

static void resume_on_worker(struct job *job)
{
    struct resumption *r = CONTAINER_OF(job, struct resumption, job);
    struct state_read read;
    state_read_begin(r->server->state, &read);
    /* A failure only delays: the leases of these files run out. */
    int code = namespace_scan_open_chunks(&read.view, 0, collect_sealing, r);
    r->count = code < 0 ? 0 : r->count;
    state_read_end(&read);
}

static void resume_done(struct job *job)
{
    struct resumption *r = CONTAINER_OF(job, struct resumption, job);
    server_job_end(r->server);
    for (size_t i = 0; i < r->count && r->server->status.is_leader && !r->server->stopping; i++) {
        struct recovery_ask ask = {.record = r->records[i]};
        recovery_ask(r->server, &ask, NULL);
    }
    free(r->records);
    free(r);
}

void recoveries_resume(struct server *s)
{
    struct resumption *r = xcalloc(1, sizeof(*r));
    r->server = s;
    server_job_start(s, &r->job, resume_on_worker, resume_done);
}

/* ---- Waiting -------------------------------------------------------------------------------- */

static void tell_why(struct recovering *r, struct recovery_waiter *only, time_ms now)
{
    server_id waits[CHUNK_REPLICAS_MAX];
    uint32_t count = recovery_waits_for(&r->core, waits);
    struct buf text = BUF_INIT;
    buf_printf(&text, "chunk %" PRIu64 " is not sealed yet; waiting for", r->core.chunk.id);
    for (uint32_t i = 0; i < count; i++) {
        const struct chunkserver *server = chunkservers_find(r->server->servers, waits[i]);
        buf_printf(&text, "%s chunkserver %" PRIu64 " (%s)", i ? "," : "", waits[i],
                   server ? server->record.address : "unknown");
    }
    if (count == 0) {
        buf_append_str(&text, r->core.state == RECOVERY_FENCING
                                  ? " an operator: no server has the acknowledged bytes"
                                  : " the log");
    }
    if (only) {
        only->done(only, ERR_NO_REPLICA, text.data, r->core.chunk, 0);
    } else if (now >= r->told_ms + RECOVERY_WAIT_MS) {
        r->told_ms = now;
        log_warning("recovery", "%s inode=%" PRIu64, text.data, r->inode);
    }
    buf_deinit(&text);
}

void recoveries_tick(struct server *s, time_ms now)
{
    MAP_FOR_EACH(it, &s->recoveries)
    {
        struct recovering *r = it.value;
        recovery_tick(&r->core, now);
        recovering_pump(r);
        LIST_FOR_EACH_SAFE(node, &r->waiters)
        {
            struct recovery_waiter *w = LIST_ENTRY(node, struct recovery_waiter, link);
            if (now >= w->give_up_ms || s->stopping) {
                list_remove(&w->link);
                tell_why(r, w, now);
            }
        }
        tell_why(r, NULL, now);
    }
    gauge_set(s->metrics.recoveries, (int64_t)s->recoveries.count);
}

uint32_t recoveries_wait_for(const struct server *s, chunk_id chunk,
                             server_id ret[CHUNK_REPLICAS_MAX])
{
    const struct recovering *r = map_get_u64(&s->recoveries, chunk);
    return r ? recovery_waits_for(&r->core, ret) : 0;
}

void recoveries_free(struct server *s)
{
    MAP_FOR_EACH(it, &s->recoveries)
    {
        struct recovering *r = it.value;
        command_deinit(&r->command);
        free(r);
    }
    map_deinit(&s->recoveries);
}

/* ---- Leases that run out -------------------------------------------------------------------- */

/* One lease on its way out: a look at its last chunk, a recovery if that is not sealed, then its
 * place in the next EXPIRE_LEASES. */
struct ending {
    struct server *server;
    struct lease_ref lease;
    struct job job;
    int code; /* of the look */
    struct chunk_record record;
    struct recovery_waiter waiter;
};

static void ending_expire(struct ending *e)
{
    struct server *s = e->server;
    if (s->expiring_count < NAMESPACE_BATCH_COUNT_MAX) {
        s->expiring[s->expiring_count++] = e->lease;
    }
    /* Retried even so: its end takes it out of the table, and a skipped one must come again. */
    lease_table_retry(s->leases, e->lease.inode, e->lease.epoch, clock_mono_ms(), LEASE_RETRY_MS);
    free(e);
}

static void ending_recovered(struct recovery_waiter *w, int code, const char *text,
                             struct chunk_ref chunk, uint64_t length)
{
    struct ending *e = CONTAINER_OF(w, struct ending, waiter);
    (void)text;
    (void)chunk;
    (void)length;
    if (code == 0) {
        ending_expire(e);
        return;
    }
    lease_table_retry(e->server->leases, e->lease.inode, e->lease.epoch, clock_mono_ms(),
                      LEASE_RETRY_MS);
    free(e);
}

static void look_on_worker(struct job *job)
{
    struct ending *e = CONTAINER_OF(job, struct ending, job);
    struct state_read read;
    state_read_begin(e->server->state, &read);
    e->code = namespace_open_chunk(&read.view, e->lease.inode, &e->record);
    state_read_end(&read);
}

static void look_done(struct job *job)
{
    struct ending *e = CONTAINER_OF(job, struct ending, job);
    struct server *s = e->server;
    server_job_end(s);
    if (e->code == 0 && s->status.is_leader && !s->stopping) {
        struct recovery_ask ask = {.record = e->record};
        e->waiter = (struct recovery_waiter){.give_up_ms = CLOCK_NEVER, .done = ending_recovered};
        list_init(&e->waiter.link);
        recovery_ask(s, &ask, &e->waiter);
    } else if (e->code == ERR_NOT_FOUND) {
        ending_expire(e);
    } else {
        lease_table_retry(s->leases, e->lease.inode, e->lease.epoch, clock_mono_ms(),
                          LEASE_RETRY_MS);
        free(e);
    }
}

static void expire_done(struct command *c, int code, const struct apply_result *result)
{
    struct server *s = c->server;
    (void)code; /* what did not end comes again */
    (void)result;
    s->expire_running = false;
    command_deinit(c);
    free(c);
}

static void propose_expiry(struct server *s)
{
    struct command_entry entry = {
        .kind = ENTRY_EXPIRE_LEASES,
        .expire_leases = {.leases = s->expiring, .count = s->expiring_count},
    };
    s->expire_running = true;
    command_propose(xcalloc(1, sizeof(struct command)), s, &entry, expire_done);
    s->expiring_count = 0;
}

void leases_tick(struct server *s, time_ms now)
{
    struct lease_due due;
    while (s->jobs < NAMESPACE_BATCH_COUNT_MAX && lease_table_due(s->leases, now, &due)) {
        struct ending *e = xcalloc(1, sizeof(*e));
        e->server = s;
        e->lease = (struct lease_ref){due.inode, due.epoch};
        log_info("lease", "ran out inode=%" PRIu64 " epoch=%" PRIu64, due.inode, due.epoch);
        server_job_start(s, &e->job, look_on_worker, look_done);
    }
    if (s->expiring_count > 0 && !s->expire_running) {
        propose_expiry(s);
    }
    gauge_set(s->metrics.leases, (int64_t)lease_table_count(s->leases));
}
