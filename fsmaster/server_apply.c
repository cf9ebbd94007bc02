/* What applied entries mean for the soft state: every effect in the order in which it happened,
 * then the proposals' completions. Every member does the same; telling chunkservers is left to the
 * leader's care. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "fsmaster/server_admin.h"
#include "fsmaster/server_deletions.h"
#include "fsmaster/server_internal.h"
#include "fsmaster/server_reads.h"

/* ---- Chunks --------------------------------------------------------------------------------- */

static void chunk_allocated(struct server *s, const struct effect *effect)
{
    struct location_fact fact = {.chunk = effect->chunk,
                                 .state = LOCATION_OPEN,
                                 .wanted = effect->wanted,
                                 .servers = effect->servers,
                                 .server_count = effect->server_count};
    locations_learn(s->locations, &fact);
    scan_touch(s, effect->chunk.id, false, effect->wanted);
    admin_chunk_allocated(s, effect->servers, effect->server_count);
}

static void chunk_sealing(struct server *s, const struct effect *effect)
{
    struct location_fact fact = {.chunk = effect->chunk, .state = LOCATION_SEALING};
    locations_learn(s->locations, &fact);
    scan_touch(s, effect->chunk.id, false, 0);
}

/* A writer's seal says that its whole set holds this length; after a recovery only those hold it
 * that were told so and have said yes. */
static void chunk_sealed(struct server *s, const struct effect *effect)
{
    bool recovered = effect->chunk.version > CHUNK_VERSION_FIRST;
    struct location_fact fact = {.chunk = effect->chunk,
                                 .state = LOCATION_SEALED,
                                 .length = effect->length,
                                 .wanted = effect->wanted,
                                 .servers = effect->servers,
                                 .server_count = recovered ? 0 : effect->server_count};
    locations_learn(s->locations, &fact);
    scan_touch(s, effect->chunk.id, false, effect->wanted);
}

/* Nothing names the chunk any more. Whoever may hold a replica is told, by the leader; the others
 * remember who that is, until they hear that it is done. */
static void chunk_freed(struct server *s, const struct effect *effect)
{
    struct location known;
    scan_touch(s, effect->chunk.id, true, 0);
    if (!s->status.is_leader || era_keeps(&s->totals.era, effect->chunk.id)) {
        locations_disown(s->locations, effect->chunk.id);
        return;
    }
    if (locations_find(s->locations, effect->chunk.id, &known)) {
        for (uint32_t i = 0; i < known.count; i++) {
            uint64_t version = known.replicas[i].version > effect->chunk.version
                                   ? known.replicas[i].version
                                   : effect->chunk.version;
            care_delete(s, known.replicas[i].server, (struct chunk_ref){effect->chunk.id, version},
                        0);
        }
    } else {
        for (uint32_t i = 0; i < effect->server_count; i++) {
            care_delete(s, effect->servers[i], effect->chunk, 0);
        }
    }
    locations_forget(s->locations, effect->chunk.id);
    repair_queue_drop(s->repair, effect->chunk.id);
}

static void chunk_wanted(struct server *s, const struct effect *effect)
{
    locations_set_wanted(s->locations, effect->chunk.id, effect->wanted);
    scan_touch(s, effect->chunk.id, false, effect->wanted);
}

/* ---- All effects ---------------------------------------------------------------------------- */

static void run_effect(struct server *s, const struct effect *effect, time_ms now)
{
    switch (effect->kind) {
    case EFFECT_CHUNK_ALLOCATED:
        chunk_allocated(s, effect);
        break;
    case EFFECT_CHUNK_SEALING:
        chunk_sealing(s, effect);
        break;
    case EFFECT_CHUNK_SEALED:
        chunk_sealed(s, effect);
        break;
    case EFFECT_CHUNK_FREED:
        chunk_freed(s, effect);
        break;
    case EFFECT_CHUNK_WANTED:
        chunk_wanted(s, effect);
        break;
    case EFFECT_LEASE_GRANTED:
        lease_table_grant(s->leases, effect->inode, effect->epoch, effect->wanted, now);
        break;
    case EFFECT_LEASE_ORPHANED:
        lease_table_grant(s->leases, effect->inode, effect->epoch, 0, now);
        lease_table_orphan(s->leases, effect->inode, effect->epoch);
        break;
    case EFFECT_LEASE_ENDED:
        lease_table_end(s->leases, effect->inode, effect->epoch);
        break;
    case EFFECT_SERVER_CHANGED:
        admin_changed(s, effect->server);
        break;
    case EFFECT_REMOVAL_QUEUED:
        break; /* the totals say how many wait; care_tick() looks at them */
    case EFFECT_ERA_BEGUN:
        log_warning("fsmaster",
                    "the state goes on without a part of its history: replicas of chunks below "
                    "%" PRIu64 " are kept until dfs admin release-orphans",
                    s->totals.era.floor);
        lease_table_orphan_all(s->leases);
        break;
    case EFFECT_ORPHANS_RELEASED:
        log_info("fsmaster", "orphans released");
        locations_sweep_again(s->locations);
        repair_queue_hurry(s->repair);
        break;
    }
}

void server_applied(void *ctx, void *outcome)
{
    struct server *s = ctx;
    struct applied_group *group = outcome;
    time_ms now = clock_mono_ms();
    s->totals = group->totals;
    s->status.applied = s->totals.applied.index;
    for (size_t i = 0; i < group->count; i++) {
        const struct apply_result *result = &group->entries[i].result;
        for (uint32_t k = 0; k < result->effect_count; k++) {
            run_effect(s, &result->effects[k], now);
        }
    }
    for (size_t i = 0; i < group->count; i++) {
        struct proposal *p = group->entries[i].proposal;
        if (p) {
            p->done(p, 0, &group->entries[i].result);
        }
    }
    applied_group_free(group);
    server_reads_applied(s);
    if (!s->ready) {
        server_look_ready(s);
    }
}

/* ---- Leadership ----------------------------------------------------------------------------- */

static void format_done(struct command *c, int code, const struct apply_result *result)
{
    struct server *s = c->server;
    s->format_running = false;
    code = code == 0 ? result->code : code;
    if (code < 0 && code != ERR_EXISTS && code != ERR_NOT_LEADER && code != ERR_UNKNOWN) {
        (void)err_set(&s->failure, code, "form the cluster: %s", err_text(code));
    } else if (code == 0) {
        log_info("fsmaster", "cluster formed id=%s replication=%" PRIu32, s->totals.cluster_id,
                 s->totals.default_replication);
    }
    command_deinit(c);
    free(c);
}

/* The namespace's own first entry; whoever leads first makes it. */
static void propose_format(struct server *s)
{
    char id[CLUSTER_ID_TEXT_BYTES];
    struct command_entry entry = {
        .kind = ENTRY_FORMAT,
        .format = {.cluster_id = cluster_id_format(s->datadir.ident.cluster, id),
                   .superuser = s->superuser,
                   .default_replication = (uint32_t)s->options.replication},
    };
    s->format_running = true;
    command_propose(xcalloc(1, sizeof(struct command)), s, &entry, format_done);
}

static void begin_to_lead(struct server *s)
{
    time_ms now = clock_mono_ms();
    s->cluster_base_ms = s->totals.cluster_ms;
    s->cluster_mono_ms = now;
    lease_table_renew_all(s->leases, now);
    chunkservers_trust_from(s->servers, s->totals.next_chunk);
    locations_sweep_again(s->locations); /* for the care that nobody took while we followed */
    leaving_restart(s->leaving);
    repair_queue_hurry(s->repair);
    recoveries_resume(s);
    if (s->totals.cluster_id[0] == '\0' && !s->format_running) {
        propose_format(s);
    }
}

void server_changed(void *ctx, const struct consensus_status *status)
{
    struct server *s = ctx;
    bool led = s->status.is_leader;
    bool same_term = s->status.term == status->term;
    s->status = *status;
    gauge_set(s->metrics.leading, status->is_leader);
    gauge_set(s->metrics.term, (int64_t)status->term);
    if (status->is_leader && !(led && same_term)) {
        log_info("fsmaster", "leading term=%" PRIu64 " applied=%" PRIu64, status->term,
                 status->applied);
        begin_to_lead(s);
    } else if (led && !status->is_leader) {
        deletions_drop_all(s); /* another one decides now */
        log_info("fsmaster", "not leading term=%" PRIu64 " applied=%" PRIu64 " leader=%s",
                 status->term, status->applied, status->leader);
    }
    server_look_ready(s);
}
