/* Chunkservers out of service: what the log says of them comes into the soft state here, the leader
 * counts which chunks still need them, ends maintenance whose time is over, and answers how far
 * they are. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "fsmaster/server_admin.h"
#include "fsmaster/server_internal.h"

enum { COUNT_BUDGET = 50000 }; /* places of the location table per tick: about a ms */

static const char *const admin_texts[SERVER_ADMIN_COUNT] = {
    [SERVER_IN_SERVICE] = "in service",
    [SERVER_DECOMMISSIONED] = "decommissioned",
    [SERVER_IN_MAINTENANCE] = "in maintenance",
};

void admin_changed(struct server *s, const struct server_record *record)
{
    struct chunkserver *server = chunkservers_put(s->servers, record, clock_mono_ms());
    if (!locations_set_admin(s->locations, record->id, record->admin)) {
        return;
    }
    server->told_done = false;
    log_info("fsmaster", "chunkserver %s server=%" PRIu64 " host=%s address=%s",
             admin_texts[record->admin], record->id, record->host, record->address);
    leaving_restart(s->leaving);
    repair_queue_hurry(s->repair);
}

/* Cluster time as of now; a member that does not lead knows that of the last entry. */
static time_ms cluster_now(const struct server *s)
{
    return s->status.is_leader ? server_cluster_now(s) : s->totals.cluster_ms;
}

/* ---- How far ----------------------------------------------------------------------------------
 */

/* Of several chunks that wait, the reason of one that nothing but a change from outside helps. */
static enum repair_reason find_reason(struct server *s, const struct leaving_count *count)
{
    enum repair_reason reason = REPAIR_FOR_NOTHING;
    struct care_answer answer;
    for (uint32_t i = 0; i < count->sample_count; i++) {
        if (!care_explain(s, count->samples[i], &answer) || answer.reason == REPAIR_FOR_NOTHING) {
            continue;
        }
        reason = answer.reason;
        if (!repair_reason_passes(reason)) {
            break;
        }
    }
    return reason;
}

void admin_look(struct server *s, const struct chunkserver *server, struct admin_answer *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->admin = server->record.admin;
    ret->reason = REPAIR_FOR_NOTHING;
    if (ret->admin == SERVER_IN_SERVICE) {
        return;
    }
    time_ms now = cluster_now(s);
    ret->left_ms = server->record.until_ms > now ? server->record.until_ms - now : 0;
    ret->counted = care_all_heard(s) && leaving_find(s->leaving, server->record.id, &ret->count);
    bool writes = ret->admin == SERVER_DECOMMISSIONED && ret->count.writing > 0;
    ret->done = ret->counted && ret->count.needed == 0 && !writes;
    if (!care_all_heard(s)) {
        ret->reason = REPAIR_FOR_REPORTS;
    } else if (ret->count.needed > 0) {
        ret->reason = find_reason(s, &ret->count);
    } else if (writes) {
        ret->reason = REPAIR_FOR_WRITER;
    }
}

/* ---- Time -------------------------------------------------------------------------------------
 */

static void over_done(struct command *c, int code, const struct apply_result *result)
{
    struct server *s = c->server;
    (void)code; /* it comes again with the next tick */
    (void)result;
    command_deinit(c);
    free(c);
    s->admin_running = false;
}

/* One at a time: they are few. */
static void end_maintenance(struct server *s)
{
    time_ms now = server_cluster_now(s);
    for (size_t i = 0; i < chunkservers_count(s->servers) && !s->admin_running; i++) {
        const struct server_record *record = &chunkservers_at(s->servers, i)->record;
        if (record->admin == SERVER_IN_MAINTENANCE && now >= record->until_ms) {
            struct command_entry entry = {
                .kind = ENTRY_ADMIN_SERVER,
                .admin_server = {.server = record->id, .state = SERVER_IN_SERVICE, .over = true}};
            s->admin_running = true;
            command_propose(xcalloc(1, sizeof(struct command)), s, &entry, over_done);
        }
    }
}

/* Says once of each that it can be stopped. */
static void tell_done(struct server *s)
{
    int64_t needed = 0;
    for (size_t i = 0; i < chunkservers_count(s->servers); i++) {
        struct chunkserver *server = chunkservers_at(s->servers, i);
        struct leaving_count count = {.chunks = 0};
        if (server->record.admin == SERVER_IN_SERVICE ||
            !leaving_find(s->leaving, server->record.id, &count)) {
            continue;
        }
        bool decommissioned = server->record.admin == SERVER_DECOMMISSIONED;
        needed += (int64_t)count.needed;
        if (!server->told_done && care_all_heard(s) && count.needed == 0 &&
            !(decommissioned && count.writing > 0)) {
            server->told_done = true;
            log_info("fsmaster", "chunkserver can be stopped server=%" PRIu64 " host=%s: it is %s",
                     server->record.id, server->record.host, admin_texts[server->record.admin]);
        }
    }
    gauge_set(s->metrics.leaving_needed, needed);
}

void admin_chunk_allocated(struct server *s, const server_id *servers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct chunkserver *server = chunkservers_find(s->servers, servers[i]);
        if (server && server->record.admin != SERVER_IN_SERVICE) {
            leaving_restart(s->leaving);
        }
    }
}

void admin_tick(struct server *s)
{
    uint32_t leaving = chunkservers_leaving_count(s->servers);
    gauge_set(s->metrics.servers_leaving, leaving);
    if (leaving == 0 || !s->status.is_leader || s->stopping) {
        gauge_set(s->metrics.leaving_needed, 0);
        return;
    }
    end_maintenance(s);
    if (s->scan.complete && leaving_step(s->leaving, COUNT_BUDGET)) {
        tell_done(s);
    }
}
