/* See sync.h. */
#include "client/sync.h"

#include <errno.h>
#include <time.h>

#include "common/check.h"

void sync_init(struct sync_lock *lock)
{
    pthread_condattr_t attributes;
    CHECK(pthread_mutex_init(&lock->mutex, NULL) == 0);
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&lock->changed, &attributes) == 0);
    (void)pthread_condattr_destroy(&attributes);
}

void sync_deinit(struct sync_lock *lock)
{
    (void)pthread_cond_destroy(&lock->changed);
    (void)pthread_mutex_destroy(&lock->mutex);
}

void sync_enter(struct sync_lock *lock)
{
    CHECK(pthread_mutex_lock(&lock->mutex) == 0);
}

void sync_leave(struct sync_lock *lock)
{
    CHECK(pthread_mutex_unlock(&lock->mutex) == 0);
}

void sync_wait(struct sync_lock *lock, time_ms deadline)
{
    struct timespec until = {
        .tv_sec = (time_t)(deadline / 1000),
        .tv_nsec = (long)(deadline % 1000) * 1000000,
    };
    int r = pthread_cond_timedwait(&lock->changed, &lock->mutex, &until);
    CHECK(r == 0 || r == ETIMEDOUT);
}

void sync_wake(struct sync_lock *lock)
{
    (void)pthread_cond_broadcast(&lock->changed);
}
