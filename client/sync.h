/* The locks of libdfs: the one place where they are made of threads' primitives. A struct dfs has
 * one lock; it guards what several calling threads share (who leads, the session, spare loops,
 * leases) and is never held across a call to another machine. */
#ifndef CLIENT_SYNC_H
#define CLIENT_SYNC_H

#include <pthread.h>

#include "common/clock.h"

struct sync_lock {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* told by sync_wake(): something under the lock is different now */
};

void sync_init(struct sync_lock *lock);
void sync_deinit(struct sync_lock *lock);
void sync_enter(struct sync_lock *lock);
void sync_leave(struct sync_lock *lock);
/* With the lock held: lets go of it until sync_wake() or the deadline (monotonic). */
void sync_wait(struct sync_lock *lock, time_ms deadline);
void sync_wake(struct sync_lock *lock); /* everybody who waits */

#endif
