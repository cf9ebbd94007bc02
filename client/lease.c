/* See lease.h. */
#include "client/lease.h"

#include <stdlib.h>

#include "client/fs_rpc.h"
#include "client/internal.h"
#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"

enum {
    LOOK_MS = 500, /* well below the time in which a ping must be answered */
    IDLE_MS = 50,  /* a writer left alone for so long is tended (DESIGN 4, "Append") */
    RENEW_MS = LEASE_SOFT_MS / 6, /* five renewals may be lost */
    RENEW_DEADLINE_MS = RENEW_MS / 2,
};

void lease_keeper_init(struct lease_keeper *k)
{
    list_init(&k->leases);
}

/* The lost ones are marked; those that went meanwhile are not there any more. */
static void mark_lost(struct dfs *dfs, const struct fs_lease *leases, const bool *held,
                      size_t count)
{
    sync_enter(&dfs->lock);
    LIST_FOR_EACH(node, &dfs->leases.leases)
    {
        struct lease *lease = LIST_ENTRY(node, struct lease, link);
        for (size_t i = 0; i < count; i++) {
            if (lease->inode == leases[i].inode && lease->epoch == leases[i].epoch && !held[i]) {
                lease->lost = true;
            }
        }
    }
    sync_leave(&dfs->lock);
}

static void renew(struct dfs *dfs, struct rpc_loop *loop)
{
    size_t count = 0;
    sync_enter(&dfs->lock);
    LIST_FOR_EACH(node, &dfs->leases.leases)
    {
        count++;
    }
    struct fs_lease *leases = xcalloc(count + 1, sizeof(*leases));
    size_t at = 0;
    LIST_FOR_EACH(node, &dfs->leases.leases)
    {
        struct lease *lease = LIST_ENTRY(node, struct lease, link);
        leases[at++] = (struct fs_lease){lease->inode, lease->epoch};
    }
    sync_leave(&dfs->lock);
    bool *held = xcalloc(count + 1, sizeof(*held));
    struct call call;
    call_begin_on(&call, dfs, loop);
    call.quiet = true;
    call.deadline = clock_mono_ms() + RENEW_DEADLINE_MS;
    /* A failure is no news: the next round comes before the lease runs out, and every change to the
     * file renews it too. */
    if (count > 0 && fs_renew_leases(&call, leases, count, held, NULL) == 0) {
        mark_lost(dfs, leases, held, count);
    }
    call_end_on(&call);
    free(held);
    free(leases);
}

static bool wants_tending(const struct lease *lease, time_ms now)
{
    return lease->restless && !lease->in_use && now >= lease->left_ms + IDLE_MS;
}

/* With the lock held, which is free during each tend(); so the list is begun again after each. */
static void tend_all(struct dfs *dfs, time_ms now)
{
    struct list *leases = &dfs->leases.leases;
    for (struct list *node = leases->next; node != leases; node = node->next) {
        struct lease *lease = LIST_ENTRY(node, struct lease, link);
        if (!wants_tending(lease, now)) {
            continue;
        }
        lease->tended = true;
        sync_leave(&dfs->lock);
        bool restless = lease->tend(lease);
        sync_enter(&dfs->lock);
        lease->restless = restless;
        lease->left_ms = clock_mono_ms();
        lease->tended = false;
        sync_wake(&dfs->lock);
        node = leases;
    }
}

/* With the lock held. */
static bool has_restless(const struct lease_keeper *k)
{
    LIST_FOR_EACH(node, &k->leases)
    {
        if (LIST_ENTRY(node, struct lease, link)->restless) {
            return true;
        }
    }
    return false;
}

static void *keeper_main(void *arg)
{
    struct dfs *dfs = arg;
    struct lease_keeper *k = &dfs->leases;
    struct rpc_loop *loop = rpc_loop_new();
    time_ms renew_at = clock_mono_ms() + RENEW_MS;
    time_ms look_at = 0;
    sync_enter(&dfs->lock);
    while (!k->stopping) {
        bool looks = k->streams > 0 || has_restless(k);
        sync_wait(&dfs->lock, clock_mono_ms() + (looks ? (time_ms)IDLE_MS : (time_ms)RENEW_MS));
        time_ms now = clock_mono_ms();
        tend_all(dfs, now);
        bool stopping = k->stopping;
        sync_leave(&dfs->lock);
        if (!stopping && now >= renew_at) {
            renew(dfs, loop);
            renew_at = now + RENEW_MS;
        } else if (!stopping && now >= look_at) {
            (void)rpc_loop_step(loop, now); /* all connections of the process are looked at */
            look_at = now + LOOK_MS;
        }
        sync_enter(&dfs->lock);
    }
    sync_leave(&dfs->lock);
    rpc_loop_free(loop);
    return NULL;
}

/* With the lock held. */
static void keeper_need(struct dfs *dfs)
{
    struct lease_keeper *k = &dfs->leases;
    if (!k->running) {
        CHECK(pthread_create(&k->thread, NULL, keeper_main, dfs) == 0);
        k->running = true;
    }
}

void lease_keeper_stop(struct dfs *dfs)
{
    struct lease_keeper *k = &dfs->leases;
    CHECK(list_empty(&k->leases));
    if (!k->running) {
        return;
    }
    sync_enter(&dfs->lock);
    k->stopping = true;
    sync_wake(&dfs->lock);
    sync_leave(&dfs->lock);
    CHECK(pthread_join(k->thread, NULL) == 0);
    k->running = false;
}

void lease_hold(struct dfs *dfs, struct lease *lease, inode_id inode, uint64_t epoch)
{
    lease->inode = inode;
    lease->epoch = epoch;
    sync_enter(&dfs->lock);
    list_push_back(&dfs->leases.leases, &lease->link);
    keeper_need(dfs);
    sync_leave(&dfs->lock);
}

void lease_drop(struct dfs *dfs, struct lease *lease)
{
    if (!lease->inode) {
        return;
    }
    lease_enter(dfs, lease);
    sync_enter(&dfs->lock);
    list_remove(&lease->link);
    sync_leave(&dfs->lock);
    lease->inode = 0;
}

void lease_enter(struct dfs *dfs, struct lease *lease)
{
    sync_enter(&dfs->lock);
    while (lease->tended) {
        sync_wait(&dfs->lock, clock_mono_ms() + LOOK_MS);
    }
    lease->in_use = true;
    sync_leave(&dfs->lock);
}

void lease_leave(struct dfs *dfs, struct lease *lease, bool restless)
{
    time_ms now = clock_mono_ms();
    sync_enter(&dfs->lock);
    lease->in_use = false;
    if (restless && !lease->restless && dfs->leases.streams == 0) {
        sync_wake(&dfs->lock); /* the keeper would not look for a while */
    }
    lease->restless = restless;
    lease->left_ms = now;
    sync_leave(&dfs->lock);
}

bool lease_lost(struct dfs *dfs, struct lease *lease)
{
    sync_enter(&dfs->lock);
    bool lost = lease->lost;
    sync_leave(&dfs->lock);
    return lost;
}

void lease_stream_opened(struct dfs *dfs)
{
    sync_enter(&dfs->lock);
    if (dfs->leases.streams++ == 0) {
        keeper_need(dfs);
        sync_wake(&dfs->lock); /* it looks more often from now on */
    }
    sync_leave(&dfs->lock);
}

void lease_stream_closed(struct dfs *dfs)
{
    sync_enter(&dfs->lock);
    CHECK(dfs->leases.streams > 0);
    dfs->leases.streams--;
    sync_leave(&dfs->lock);
}
