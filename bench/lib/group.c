/* See group.h. The pids of etcd come from its script, which starts and ends them. */
#include "bench/lib/group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <etcd/etcd_kv.pb-c.h>
#include <proto/raft.pb-c.h>

#include "bench/lib/measure.h"
#include "common/alloc.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/rpc/rpc.h"

enum { SETTLE_MS = 60 * 1000, ASK_MS = 1000, AGAIN_MS = 20, NO_ETCD = 77 };

static const struct rpc_method method_status = {"/trireme.v1.Raft/RaftStatus", RPC_UNARY,
                                                &trireme__v1__raft_status_request__descriptor,
                                                &trireme__v1__raft_status_reply__descriptor};
static const struct rpc_method method_etcd_status = {"/etcdserverpb.Maintenance/Status", RPC_UNARY,
                                                     &etcdserverpb__status_request__descriptor,
                                                     &etcdserverpb__status_response__descriptor};

/* ---- Who leads ---- */

struct asker {
    struct rpc_loop *loop;
    struct arena arena;
};

/* The reply of one member, or NULL. */
static const ProtobufCMessage *ask(struct asker *a, const char *address,
                                   const struct rpc_method *method, const ProtobufCMessage *message)
{
    struct rpc_channel_options options = {.address = address, .class = RPC_CONTROL, .user = "root"};
    struct rpc_channel *channel = NULL;
    struct rpc_result result;
    ProtobufCMessage *reply = NULL;
    arena_reset(&a->arena);
    if (rpc_channel_open(&options, &channel, NULL) < 0) {
        bench_fail("channel to %s", address);
    }
    struct rpc_request request = {channel, method, message, clock_mono_ms() + ASK_MS};
    int r = rpc_call(a->loop, &request, &a->arena, &reply, &result);
    rpc_channel_unref(channel);
    return r == 0 ? reply : NULL;
}

/* The leader knows of each member that it has all of the log. */
static bool leads(struct asker *a, const char *address)
{
    Trireme__V1__RaftStatusRequest request = TRIREME__V1__RAFT_STATUS_REQUEST__INIT;
    const Trireme__V1__RaftStatusReply *reply =
        (const void *)ask(a, address, &method_status, &request.base);
    if (!reply || strcmp(reply->role, "leader") != 0 || reply->n_members != GROUP_MEMBERS ||
        reply->applied != reply->last) {
        return false;
    }
    for (size_t i = 0; i < reply->n_members; i++) {
        const Trireme__V1__RaftMemberStatus *m = reply->members[i];
        bool follows = m->heard && m->lag == 0 && strcmp(m->state, "replicate") == 0;
        if (!m->known || (m->id != reply->id && !follows)) {
            return false;
        }
    }
    return true;
}

static bool leads_etcd(struct asker *a, const char *address)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    const Etcdserverpb__StatusResponse *reply =
        (const void *)ask(a, address, &method_etcd_status, &request.base);
    return reply && reply->header && reply->leader == reply->header->member_id;
}

static size_t find_leader(struct group *g, bool (*is_leader)(struct asker *a, const char *address))
{
    struct asker a = {.loop = rpc_loop_new()};
    time_ms until = clock_mono_ms() + SETTLE_MS;
    size_t leader = GROUP_MEMBERS;
    arena_init(&a.arena, 0);
    while (leader == GROUP_MEMBERS) {
        for (size_t i = 0; i < GROUP_MEMBERS && leader == GROUP_MEMBERS; i++) {
            leader = is_leader(&a, g->addresses[i]) ? i : GROUP_MEMBERS;
        }
        if (leader == GROUP_MEMBERS) {
            if (clock_mono_ms() > until) {
                bench_fail("the group in %s has no leader", g->directory);
            }
            clock_sleep_ms(AGAIN_MS);
        }
    }
    arena_deinit(&a.arena);
    rpc_loop_free(a.loop);
    return leader;
}

size_t group_leader(struct group *g)
{
    return find_leader(g, leads);
}

size_t group_etcd_leader(struct group *g)
{
    return find_leader(g, leads_etcd);
}

/* ---- Ours ---- */

char *group_masters(const struct group *g)
{
    return xprintf("%s,%s,%s", g->addresses[0], g->addresses[1], g->addresses[2]);
}

void group_member_start(struct group *g, size_t i)
{
    char *data = xprintf("%s/%zu", g->directory, i + 1);
    char *id = xprintf("%zu", i + 1);
    char *peers = xprintf("1=%s,2=%s,3=%s", g->addresses[0], g->addresses[1], g->addresses[2]);
    const char *arguments[] = {"--data",      data,      "--listen",   g->addresses[i],
                               "--id",        id,        "--peers",    peers,
                               "--log-level", "warning", "--no-audit", NULL};
    process_start(&g->members[i], "fsmaster", arguments);
    free(data);
    free(id);
    free(peers);
}

void group_member_kill(struct group *g, size_t i)
{
    process_kill(&g->members[i]);
}

static void group_init(struct group *g, const char *directory)
{
    *g = (struct group){.directory = xstrdup(directory)};
    process_free_ports(g->ports, GROUP_MEMBERS);
    for (size_t i = 0; i < GROUP_MEMBERS; i++) {
        (void)snprintf(g->addresses[i], sizeof(g->addresses[i]), "127.0.0.1:%d", g->ports[i]);
    }
}

void group_start(struct group *g, const char *directory)
{
    group_init(g, directory);
    for (size_t i = 0; i < GROUP_MEMBERS; i++) {
        group_member_start(g, i);
    }
    for (size_t i = 0; i < GROUP_MEMBERS; i++) {
        process_await(&g->members[i]);
    }
}

void group_stop(struct group *g)
{
    for (size_t i = 0; i < GROUP_MEMBERS; i++) {
        process_stop(&g->members[i]);
    }
    free(g->directory);
}

double group_cpu(const struct group *g)
{
    double seconds = 0;
    for (size_t i = 0; i < GROUP_MEMBERS; i++) {
        seconds += process_cpu(g->members[i].pid);
    }
    return seconds;
}

/* ---- etcd ---- */

bool group_etcd_start(struct group *g, const char *directory)
{
    int pids[GROUP_MEMBERS];
    char *path = process_build_path("../../bench/peers/etcd");
    const char *named = getenv("TRIREME_BENCH_ETCD");
    const char *arguments[] = {named ? named : path, "--dir", directory, NULL};
    *g = (struct group){.directory = xstrdup(directory)};
    helper_start(&g->script, arguments);
    free(path);
    if (g->script.line[0] == '\0') {
        int status = helper_stop(&g->script);
        free(g->directory);
        if (status != NO_ETCD) {
            bench_fail("bench/peers/etcd failed: %d", status);
        }
        return false;
    }
    if (sscanf(g->script.line, "ready %127s %d %127s %d %127s %d", g->addresses[0], &pids[0],
               g->addresses[1], &pids[1], g->addresses[2], &pids[2]) != 2 * GROUP_MEMBERS) {
        bench_fail("bench/peers/etcd: %s", g->script.line);
    }
    for (size_t i = 0; i < GROUP_MEMBERS; i++) {
        g->members[i].pid = pids[i];
    }
    return true;
}

void group_etcd_stop(struct group *g)
{
    int status = helper_stop(&g->script);
    if (status != 0) {
        bench_fail("bench/peers/etcd did not end well: %d", status);
    }
    free(g->directory);
}
