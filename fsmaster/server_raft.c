/* The server as a member of its cluster: who it is, whom it knows, and what it does when a snapshot
 * has replaced its state. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/sys.h"
#include "fsmaster/server_internal.h"
#include "fsmaster/server_reads.h"

/* "3=host:port" */
static int parse_peer(const char *text, struct consensus_peer *ret, struct err *e)
{
    char host[LIMIT_HOST_BYTES_MAX + 1];
    char id[24] = "";
    uint16_t port = 0;
    size_t length = strcspn(text, "=");
    const char *address = text[length] ? text + length + 1 : "";
    if (length == 0 || length >= sizeof(id) || strlen(address) >= sizeof(ret->address)) {
        return err_set(e, ERR_INVALID, "--peers: \"%s\" is not ID=HOST:PORT", text);
    }
    memcpy(id, text, length);
    int r = parse_u64(id, &ret->id, e);
    r = r < 0 ? r : parse_address(address, host, sizeof(host), &port, e);
    if (r < 0 || ret->id == 0 || port == 0 || host[0] == '\0') {
        return err_set(e, ERR_INVALID, "--peers: \"%s\" is not ID=HOST:PORT", text);
    }
    memcpy(ret->address, address, strlen(address) + 1);
    return 0;
}

/* The caller frees *ret. */
static int parse_peers(const struct config_list *list, struct consensus_peer **ret, struct err *e)
{
    struct consensus_peer *peers = xcalloc(list->count + 1, sizeof(*peers));
    int r = list->count > RAFT_MEMBER_COUNT_MAX
                ? err_set(e, ERR_INVALID, "--peers: at most %d", RAFT_MEMBER_COUNT_MAX)
                : 0;
    for (size_t i = 0; r == 0 && i < list->count; i++) {
        r = parse_peer(list->items[i], &peers[i], e);
    }
    if (r < 0) {
        free(peers);
        return r;
    }
    *ret = peers;
    return 0;
}

/* Of the cluster that would be formed here; a directory that has one must have the same. */
static int wanted_cluster(const struct server *s, struct cluster_id *ret, struct err *e)
{
    const char *text = s->options.cluster_id;
    struct cluster_id have = s->datadir.ident.cluster;
    char ours[CLUSTER_ID_TEXT_BYTES];
    *ret = (struct cluster_id){{0}};
    if (!text || !text[0]) {
        return 0;
    }
    int r = cluster_id_parse(text, ret, e);
    if (r < 0) {
        return err_wrap(e, r, "--cluster-id");
    }
    if (cluster_id_known(have) && !cluster_id_equal(have, *ret)) {
        return err_set(e, ERR_WRONG_CLUSTER, "data directory %s belongs to cluster %s, not %s",
                       s->options.data, cluster_id_format(have, ours), text);
    }
    return 0;
}

static int own_id(struct server *s, struct err *e)
{
    uint64_t known = s->datadir.ident.member;
    uint64_t given = (uint64_t)s->options.id;
    if (known && given && known != given) {
        return err_set(e, ERR_WRONG_CLUSTER,
                       "data directory %s belongs to member %" PRIu64 ", not %" PRIu64,
                       s->options.data, known, given);
    }
    if (!known && !given && s->options.peers.count > 0) {
        return err_set(e, ERR_INVALID, "--peers needs --id: which of them is this one?");
    }
    s->member = known ? known : given ? given : 1;
    return 0;
}

/* Once in the life of the directory; blocks for one sync. */
static int adopt(void *ctx, struct cluster_id cluster, struct err *e)
{
    struct server *s = ctx;
    char text[CLUSTER_ID_TEXT_BYTES];
    bool is_new = !cluster_id_known(s->datadir.ident.cluster);
    int r = datadir_adopt(&s->datadir, cluster, s->member, e);
    if (r == 0 && is_new) {
        log_info("fsmaster", "of cluster=%s member=%" PRIu64, cluster_id_format(cluster, text),
                 s->member);
    }
    return r;
}

/* Soft state that followed from the log begins anew; what chunkservers hold is asked of them again,
 * which keeps it complete without looking for differences. */
static void installed(void *ctx)
{
    struct server *s = ctx;
    struct err e = ERR_INIT;
    leaving_free(s->leaving);
    locations_free(s->locations);
    lease_table_free(s->leases);
    s->locations = locations_new(server_care, s);
    s->leaving = leaving_new(s->locations);
    s->leases = lease_table_new(s->options.lease_ms);
    chunkservers_ask_again(s->servers, clock_mono_ms());
    for (size_t i = 0; i < chunkservers_count(s->servers); i++) {
        const struct chunkserver *server = chunkservers_at(s->servers, i);
        locations_set_live(s->locations, server->record.id, server->state == CHUNKSERVER_LIVE);
    }
    scan_restart(s);
    int r = state_totals(s->state, &s->totals, &e);
    r = r < 0 ? r : scan_tables(s, &e);
    if (r < 0 && s->failure.code == 0) {
        s->failure = e;
    }
    s->status.applied = s->totals.applied.index;
    server_reads_applied(s);
    server_look_ready(s);
}

int server_start_consensus(struct server *s, void (*failed)(void *, const struct err *),
                           struct err *e)
{
    char *path = xprintf("%s/log", s->options.data);
    struct consensus_peer *peers = NULL;
    struct consensus_options options = {
        .directory = path,
        .scratch = s->options.data,
        .key = s->datadir.ident.key,
        .address = s->address,
        .cluster = s->datadir.ident.cluster,
        .peer_count = s->options.peers.count,
        .position = s->position,
        .segment_bytes = s->options.segment_bytes,
        .keep_bytes = s->options.keep_bytes,
        .persist_bytes = s->options.persist_bytes,
        .heartbeat_ms = (uint32_t)s->options.heartbeat_ms,
        .election_ms = (uint32_t)s->options.election_ms,
        .machine = {.ctx = s->state,
                    .apply = state_apply,
                    .persist = state_persist,
                    .checkpoint = state_checkpoint,
                    .inspect = state_inspect,
                    .install = state_install,
                    .owner_ctx = s,
                    .applied = server_applied,
                    .installed = installed,
                    .adopt = adopt,
                    .changed = server_changed,
                    .failed = failed},
        .owner = s->mailbox,
        .workers = s->workers,
        .transport = s->transport,
        .loop = s->loop,
        .pool = s->chunk_caller.pool,
        .metrics = s->metrics.registry,
    };
    int r = own_id(s, e);
    r = r < 0 ? r : parse_peers(&s->options.peers, &peers, e);
    r = r < 0 ? r : wanted_cluster(s, &options.new_cluster, e);
    r = r < 0 ? r : sys_mkdir_p(path, e);
    options.id = s->member;
    options.peers = peers;
    r = r < 0 ? r : consensus_start(&options, &s->consensus, e);
    free(peers);
    free(path);
    return r;
}
