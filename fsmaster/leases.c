/* Leases by inode in a map, and in two lists: held ones in order of renewal, which is the order in
 * which they run out because all have the same soft time; and ending ones in no order. So renewing,
 * ending and finding the next one due are O(1). Retried ones wait in a third list, in order of
 * their time because all callers use the same delay; a different delay only makes one come later.
 */
#include "fsmaster/leases.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/list.h"
#include "common/map.h"

enum lease_state {
    LEASE_HELD,    /* in `held` */
    LEASE_ENDING,  /* in no list: whoever got it from due() is at it */
    LEASE_WAITING, /* in `waiting`: as ending, to be given out again */
};

struct lease_entry {
    struct list link;
    inode_id inode;
    uint64_t epoch;
    uint32_t copies; /* of the file; 0: not known */
    enum lease_state state;
    bool orphaned;  /* nobody renews it, whoever leads */
    uint64_t round; /* ENDING: when it was given out */
    time_ms since;  /* HELD: last renewal; WAITING: when it is due again */
};

struct lease_table {
    struct map by_inode; /* struct lease_entry */
    struct list held;    /* least recently renewed first */
    struct list waiting;
    uint64_t round; /* of renew_all: what was decided before one holds no longer */
    time_ms soft_ms;
};

struct lease_table *lease_table_new(time_ms soft_ms)
{
    struct lease_table *t = xcalloc(1, sizeof(*t));
    map_init(&t->by_inode, 0);
    list_init(&t->held);
    list_init(&t->waiting);
    t->soft_ms = soft_ms;
    return t;
}

void lease_table_free(struct lease_table *t)
{
    if (!t) {
        return;
    }
    MAP_FOR_EACH(it, &t->by_inode)
    {
        free(it.value);
    }
    map_deinit(&t->by_inode);
    free(t);
}

static struct lease_entry *find(const struct lease_table *t, inode_id inode, uint64_t epoch)
{
    struct lease_entry *entry = map_get_u64(&t->by_inode, inode);
    return entry && entry->epoch == epoch ? entry : NULL;
}

static void hold(struct lease_table *t, struct lease_entry *entry, time_ms now)
{
    entry->state = LEASE_HELD;
    entry->since = now;
    list_remove(&entry->link);
    list_push_back(&t->held, &entry->link);
}

void lease_table_grant(struct lease_table *t, inode_id inode, uint64_t epoch, uint32_t copies,
                       time_ms now)
{
    struct lease_entry *entry = map_get_u64(&t->by_inode, inode);
    if (!entry) {
        entry = xcalloc(1, sizeof(*entry));
        entry->inode = inode;
        list_init(&entry->link);
        (void)map_put_u64(&t->by_inode, inode, entry);
    }
    entry->epoch = epoch;
    entry->copies = copies ? copies : entry->copies;
    entry->orphaned = false;
    hold(t, entry, now);
}

void lease_table_end(struct lease_table *t, inode_id inode, uint64_t epoch)
{
    struct lease_entry *entry = find(t, inode, epoch);
    if (!entry) {
        return;
    }
    (void)map_remove_u64(&t->by_inode, inode);
    list_remove(&entry->link);
    free(entry);
}

bool lease_table_renew(struct lease_table *t, inode_id inode, uint64_t epoch, time_ms now)
{
    struct lease_entry *entry = find(t, inode, epoch);
    if (!entry || entry->state != LEASE_HELD) {
        return false;
    }
    hold(t, entry, now);
    return true;
}

void lease_table_orphan(struct lease_table *t, inode_id inode, uint64_t epoch)
{
    struct lease_entry *entry = find(t, inode, epoch);
    if (entry) {
        entry->orphaned = true;
    }
    if (!entry || entry->state != LEASE_HELD) {
        return;
    }
    entry->state = LEASE_WAITING;
    entry->since = 0;
    list_remove(&entry->link);
    list_push_front(&t->waiting, &entry->link);
}

void lease_table_orphan_all(struct lease_table *t)
{
    while (!list_empty(&t->held)) {
        const struct lease_entry *entry =
            LIST_ENTRY(list_first(&t->held), struct lease_entry, link);
        lease_table_orphan(t, entry->inode, entry->epoch);
    }
}

static bool give_out(const struct lease_table *t, struct lease_entry *entry, struct lease_due *ret)
{
    entry->state = LEASE_ENDING;
    entry->round = t->round;
    list_remove(&entry->link);
    *ret = (struct lease_due){entry->inode, entry->epoch};
    return true;
}

bool lease_table_due(struct lease_table *t, time_ms now, struct lease_due *ret)
{
    struct list *node = list_first(&t->waiting);
    if (node) {
        struct lease_entry *entry = LIST_ENTRY(node, struct lease_entry, link);
        if (entry->since <= now) {
            return give_out(t, entry, ret);
        }
    }
    node = list_first(&t->held);
    if (node) {
        struct lease_entry *entry = LIST_ENTRY(node, struct lease_entry, link);
        if (now >= entry->since && now - entry->since >= t->soft_ms) {
            return give_out(t, entry, ret);
        }
    }
    return false;
}

void lease_table_retry(struct lease_table *t, inode_id inode, uint64_t epoch, time_ms now,
                       time_ms again_ms)
{
    struct lease_entry *entry = find(t, inode, epoch);
    if (!entry || entry->state != LEASE_ENDING) {
        return; /* its end was applied meanwhile */
    }
    if (!entry->orphaned && entry->round != t->round) {
        hold(t, entry, now);
        return;
    }
    entry->state = LEASE_WAITING;
    entry->since = now + again_ms;
    list_push_back(&t->waiting, &entry->link);
}

void lease_table_renew_all(struct lease_table *t, time_ms now)
{
    t->round++;
    LIST_FOR_EACH(node, &t->held)
    {
        LIST_ENTRY(node, struct lease_entry, link)->since = now;
    }
    LIST_FOR_EACH_SAFE(node, &t->waiting)
    {
        struct lease_entry *entry = LIST_ENTRY(node, struct lease_entry, link);
        if (!entry->orphaned) {
            hold(t, entry, now);
        }
    }
}

uint32_t lease_table_copies(const struct lease_table *t, inode_id inode)
{
    const struct lease_entry *entry = map_get_u64(&t->by_inode, inode);
    return entry ? entry->copies : 0;
}

size_t lease_table_count(const struct lease_table *t)
{
    return t->by_inode.count;
}
