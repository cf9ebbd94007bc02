/* Channels by (address, class). gRPC connects and reconnects by itself; what is cached here is that
 * machinery and its back-off state, so that a dead server is not dialled anew by each caller. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/list.h"
#include "common/map.h"
#include "common/rpc/rpc_internal.h"

struct entry {
    struct list link;            /* in by_use */
    char *key;                   /* "CLASS ADDRESS" */
    struct rpc_channel *channel; /* one reference */
};

struct rpc_pool {
    const struct rpc_tls *tls;
    char *user;           /* or NULL */
    pthread_mutex_t lock; /* guards the two below; opening a channel does not block */
    struct map entries;   /* by key; keys are addresses from peers, but bounded in number */
    struct list by_use;   /* longest unused first */
};

struct rpc_pool *rpc_pool_new(const struct rpc_tls *tls, const char *user)
{
    struct rpc_pool *pool = xcalloc(1, sizeof(*pool));
    pool->tls = tls;
    pool->user = user == NULL ? NULL : xstrdup(user);
    pthread_mutex_init(&pool->lock, NULL);
    map_init(&pool->entries, 0);
    list_init(&pool->by_use);
    return pool;
}

static void entry_drop(struct rpc_pool *pool, struct entry *entry)
{
    map_remove_str(&pool->entries, entry->key);
    list_remove(&entry->link);
    rpc_channel_unref(entry->channel);
    free(entry->key);
    free(entry);
}

void rpc_pool_free(struct rpc_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    while (!list_empty(&pool->by_use)) {
        entry_drop(pool, LIST_ENTRY(list_first(&pool->by_use), struct entry, link));
    }
    map_deinit(&pool->entries);
    pthread_mutex_destroy(&pool->lock);
    free(pool->user);
    free(pool);
}

/* Under the lock. */
static int find_or_open(struct rpc_pool *pool, const char *key,
                        const struct rpc_channel_options *options, struct rpc_channel **ret_channel,
                        struct err *e)
{
    struct entry *entry = map_get_str(&pool->entries, key);
    if (entry == NULL) {
        struct rpc_channel *channel;
        int r = rpc_channel_open(options, &channel, e);
        if (r < 0) {
            return r;
        }
        if (pool->entries.count >= RPC_POOL_CHANNEL_COUNT_MAX) {
            entry_drop(pool, LIST_ENTRY(list_first(&pool->by_use), struct entry, link));
        }
        entry = xcalloc(1, sizeof(*entry));
        list_init(&entry->link);
        entry->key = xstrdup(key);
        entry->channel = channel;
        map_put_str(&pool->entries, entry->key, entry);
    }
    list_remove(&entry->link);
    list_push_back(&pool->by_use, &entry->link);
    *ret_channel = rpc_channel_ref(entry->channel);
    return 0;
}

int rpc_pool_get(struct rpc_pool *pool, const char *address, enum rpc_class class,
                 struct rpc_channel **ret_channel, struct err *e)
{
    size_t length = strlen(address);
    if (length >= LIMIT_ADDRESS_BYTES_MAX) {
        return err_set(e, ERR_INVALID, "address of %zu bytes", length);
    }
    char key[LIMIT_ADDRESS_BYTES_MAX + 2];
    key[0] = (char)('0' + class);
    key[1] = ' ';
    memcpy(key + 2, address, length + 1);
    struct rpc_channel_options options = {
        .address = address, .class = class, .tls = pool->tls, .user = pool->user};
    pthread_mutex_lock(&pool->lock);
    int r = find_or_open(pool, key, &options, ret_channel, e);
    pthread_mutex_unlock(&pool->lock);
    return r;
}
