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
    /* What a writer begins while its lease is this young has come to its servers before the lease
     * can end; so much time is left for that, and for clocks that do not run alike. */
    SURE_MS = LEASE_SOFT_MS - RENEW_MS,
};

void lease_keeper_init(struct lease_keeper *k)
{
    list_init(&k->leases);
}

/* Those that went meanwhile are not there any more. */
static void take_answer(struct dfs *dfs, const struct fs_lease *leases, const bool *held,
                        size_t count, time_ms asked_ms)
{
    sync_enter(&dfs->lock);
    LIST_FOR_EACH(node, &dfs->leases.leases)
    {
        struct lease *lease = LIST_ENTRY(node, struct lease, link);
        for (size_t i = 0; i < count; i++) {
            if (lease->inode != leases[i].inode || lease->epoch != leases[i].epoch) {
                continue;
            }
            if (held[i]) {
                lease->renewed_ms = asked_ms;
            } else {
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
    time_ms asked_ms = clock_boot_ms();
    /* A failure is no news: the next round comes before the lease runs out. After several of them
     * the leases are in doubt. */
    if (count > 0 && fs_renew_leases(&call, leases, count, held, NULL) == 0) {
        take_answer(dfs, leases, held, count, asked_ms);
    }
    call_end_on(&call);
    free(held);
    free(leases);
}

static bool wants_tending(const struct lease *lease, time_ms now)
{
    return lease->rest.restless && !lease->in_use && now >= lease->left_ms + IDLE_MS;
}

/* With the lock held: what the keeper has heard is known to whoever has the file now. */
static void take_file(struct lease *lease)
{
    lease->asked_ms = MAX(lease->asked_ms, lease->renewed_ms);
    lease->known_lost = lease->lost;
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
        take_file(lease);
        sync_leave(&dfs->lock);
        struct lease_rest rest = lease->tend(lease);
        sync_enter(&dfs->lock);
        lease->rest = rest;
        lease->left_ms = clock_mono_ms();
        lease->tended = false;
        sync_wake(&dfs->lock);
        node = leases;
    }
}

/* With the lock held: whether there is something to look at every now and then. */
static bool has_work(const struct lease_keeper *k)
{
    LIST_FOR_EACH(node, &k->leases)
    {
        const struct lease *lease = LIST_ENTRY(node, struct lease, link);
        if (lease->rest.restless || lease->rest.streaming) {
            return true;
        }
    }
    return k->paused > 0;
}

/* With the lock held. */
static void wake_if_asleep(struct dfs *dfs)
{
    if (dfs->leases.sleeping) {
        dfs->leases.sleeping = false;
        sync_wake(&dfs->lock);
    }
}

static void *keeper_main(void *arg)
{
    struct dfs *dfs = arg;
    struct lease_keeper *k = &dfs->leases;
    struct rpc_loop *loop = NULL; /* until it is needed: most commands are over before */
    time_ms renew_at = clock_mono_ms() + RENEW_MS;
    time_ms look_at = 0;
    sync_enter(&dfs->lock);
    while (!k->stopping) {
        bool sleeps = !has_work(k);
        k->sleeping = sleeps;
        sync_wait(&dfs->lock, sleeps ? renew_at : clock_mono_ms() + IDLE_MS);
        time_ms now = clock_mono_ms();
        tend_all(dfs, now);
        look_at = sleeps ? now + LOOK_MS : look_at;
        if (k->stopping || now < MIN(renew_at, look_at)) {
            continue;
        }
        sync_leave(&dfs->lock);
        loop = loop ? loop : rpc_loop_new();
        if (now >= renew_at) {
            renew(dfs, loop);
            renew_at = now + RENEW_MS;
        } else {
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

void lease_hold(struct dfs *dfs, struct lease *lease, struct fs_lease what, time_ms asked_ms)
{
    lease->inode = what.inode;
    lease->epoch = what.epoch;
    lease->asked_ms = asked_ms;
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
    take_file(lease);
    sync_leave(&dfs->lock);
}

void lease_leave(struct dfs *dfs, struct lease *lease, struct lease_rest rest)
{
    time_ms now = clock_mono_ms();
    sync_enter(&dfs->lock);
    lease->in_use = false;
    lease->rest = rest;
    lease->left_ms = now;
    if (rest.restless || rest.streaming) {
        wake_if_asleep(dfs);
    }
    sync_leave(&dfs->lock);
}

bool lease_lost(struct dfs *dfs, struct lease *lease)
{
    sync_enter(&dfs->lock);
    bool lost = lease->lost;
    sync_leave(&dfs->lock);
    return lost;
}

static bool is_sure(const struct lease *lease)
{
    return !lease->known_lost && clock_boot_ms() - lease->asked_ms < SURE_MS;
}

enum lease_state lease_state(struct dfs *dfs, struct lease *lease)
{
    if (is_sure(lease)) {
        return LEASE_HELD;
    }
    sync_enter(&dfs->lock);
    take_file(lease);
    sync_leave(&dfs->lock);
    if (lease->known_lost) {
        return LEASE_LOST;
    }
    return is_sure(lease) ? LEASE_HELD : LEASE_DOUBTFUL;
}

void lease_proved(struct lease *lease, time_ms asked_ms)
{
    lease->asked_ms = MAX(lease->asked_ms, asked_ms);
}

void lease_stream_paused(struct dfs *dfs)
{
    sync_enter(&dfs->lock);
    dfs->leases.paused++;
    keeper_need(dfs);
    wake_if_asleep(dfs);
    sync_leave(&dfs->lock);
}

void lease_stream_closed(struct dfs *dfs)
{
    sync_enter(&dfs->lock);
    CHECK(dfs->leases.paused > 0);
    dfs->leases.paused--;
    sync_leave(&dfs->lock);
}
