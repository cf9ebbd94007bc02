/* See state_sync.h. The lock is held while a group is applied; whoever finds all groups written
 * never takes it. */
#include "fsmaster/state_sync.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/check.h"

enum {
    BATCH_COUNT_MAX = 4096, /* keys; then it is written */
    BATCH_BYTES_MAX = 4 << 20,
    EAGER_GROUPS = 32, /* written as they end, after somebody has asked */
};

struct state_sync {
    struct kv *kv;
    pthread_mutex_t lock; /* protects all below */
    struct kv_batch *batch;
    unsigned eager;        /* groups still to be written as they end */
    struct err failure;    /* nothing is written any more */
    atomic_bool unwritten; /* whole groups stand in the batch; also read without the lock */
};

struct state_sync *state_sync_new(struct kv *kv)
{
    struct state_sync *s = xcalloc(1, sizeof(*s));
    s->kv = kv;
    s->batch = kv_batch_new_sole(kv);
    int r = pthread_mutex_init(&s->lock, NULL);
    CHECK(r == 0);
    return s;
}

void state_sync_free(struct state_sync *s)
{
    if (s) {
        kv_batch_free(s->batch);
        pthread_mutex_destroy(&s->lock);
        free(s);
    }
}

/* With the lock held, as all below. */
static int failure(const struct state_sync *s, struct err *e)
{
    int code = s->failure.code;
    return code < 0 ? err_set(e, code, "%s", err_message(&s->failure)) : 0;
}

static int write_batch(struct state_sync *s, struct err *e)
{
    if (s->failure.code == 0 && kv_write(s->kv, s->batch, KV_UNSYNCED, &s->failure) == 0) {
        atomic_store(&s->unwritten, false);
    }
    return failure(s, e);
}

static int end_group(struct state_sync *s, struct err *e)
{
    bool now = s->eager > 0 || kv_batch_count(s->batch) >= BATCH_COUNT_MAX ||
               kv_batch_bytes(s->batch) >= BATCH_BYTES_MAX;
    s->eager -= s->eager > 0;
    atomic_store(&s->unwritten, true);
    return now ? write_batch(s, e) : 0;
}

int state_sync_begin(struct state_sync *s, struct kv_batch **ret_batch, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    int r = failure(s, e);
    if (r < 0) {
        pthread_mutex_unlock(&s->lock);
        return r;
    }
    *ret_batch = s->batch;
    return 0; /* the lock goes with the group, to its end */
}

int state_sync_end(struct state_sync *s, int code, struct err *e)
{
    int r = code;
    if (code < 0) {
        (void)err_set(&s->failure, code, "a group of entries could not be applied");
    } else {
        r = end_group(s, e);
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

int state_sync_write(struct state_sync *s, struct err *e)
{
    if (!atomic_load(&s->unwritten)) {
        return 0;
    }
    pthread_mutex_lock(&s->lock);
    int r = atomic_load(&s->unwritten) ? write_batch(s, e) : 0;
    s->eager = EAGER_GROUPS;
    pthread_mutex_unlock(&s->lock);
    return r;
}
