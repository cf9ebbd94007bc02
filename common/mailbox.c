/* One lock around a list and two counters. The owner takes the whole list at once, so it locks once
 * per batch, and handles mails without the lock. A poster signals only when the list was empty:
 * then the owner may be asleep. */
#include "common/mailbox.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/check.h"

struct mailbox {
    pthread_mutex_t lock; /* protects all below but owner */
    pthread_cond_t filled;
    struct mail *first;      /* waiting, oldest first */
    struct mail *last;       /* valid while first is not NULL */
    size_t depth;            /* mails in the list */
    size_t posts;            /* of them those that took no reserved slot */
    size_t posts_max;        /* bound of posts */
    size_t reserved;         /* slots given out and not yet posted to */
    size_t reserved_max;     /* bound of reserved */
    bool closed;             /* refuses posts */
    bool woken;              /* mailbox_wake() since the owner last woke up */
    void (*wake)(void *arg); /* NULL: the owner waits for `filled` */
    void *wake_arg;
    atomic_bool has_owner; /* owner is set */
    pthread_t owner;
};

struct mailbox *mailbox_new(size_t posts_max, size_t reserved_max)
{
    struct mailbox *m = xcalloc(1, sizeof(*m));
    m->posts_max = posts_max;
    m->reserved_max = reserved_max;
    pthread_condattr_t attributes;
    int r = pthread_condattr_init(&attributes);
    CHECK(r == 0);
    r = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    CHECK(r == 0);
    r = pthread_cond_init(&m->filled, &attributes);
    CHECK(r == 0);
    pthread_condattr_destroy(&attributes);
    r = pthread_mutex_init(&m->lock, NULL);
    CHECK(r == 0);
    return m;
}

void mailbox_free(struct mailbox *m)
{
    if (m == NULL) {
        return;
    }
    CHECK(m->depth == 0);
    CHECK(m->reserved == 0);
    pthread_cond_destroy(&m->filled);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* With the lock held, as what follows. */
static void signal_owner(struct mailbox *m)
{
    if (m->wake) {
        m->wake(m->wake_arg);
    } else {
        pthread_cond_signal(&m->filled);
    }
}

static void append(struct mailbox *m, struct mail *mail)
{
    mail->next = NULL;
    if (m->first == NULL) {
        m->first = mail;
        signal_owner(m);
    } else {
        m->last->next = mail;
    }
    m->last = mail;
    m->depth++;
}

int mailbox_post(struct mailbox *m, struct mail *mail)
{
    int r = 0;
    pthread_mutex_lock(&m->lock);
    if (m->closed) {
        r = ERR_UNAVAILABLE;
    } else if (m->posts == m->posts_max) {
        r = ERR_BUSY;
    } else {
        m->posts++;
        append(m, mail);
    }
    pthread_mutex_unlock(&m->lock);
    return r;
}

int mailbox_reserve(struct mailbox *m)
{
    int r = ERR_BUSY;
    pthread_mutex_lock(&m->lock);
    if (m->reserved < m->reserved_max) {
        m->reserved++;
        r = 0;
    }
    pthread_mutex_unlock(&m->lock);
    return r;
}

void mailbox_unreserve(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    CHECK(m->reserved > 0);
    m->reserved--;
    pthread_mutex_unlock(&m->lock);
}

void mailbox_post_reserved(struct mailbox *m, struct mail *mail)
{
    pthread_mutex_lock(&m->lock);
    CHECK(m->reserved > 0);
    m->reserved--;
    append(m, mail);
    pthread_mutex_unlock(&m->lock);
}

/* With the lock held: until there is mail, a wake-up, or the deadline. */
static void wait_filled(struct mailbox *m, time_ms deadline_ms)
{
    while (m->first == NULL && !m->woken) {
        if (deadline_ms == CLOCK_NEVER) {
            pthread_cond_wait(&m->filled, &m->lock);
            continue;
        }
        struct timespec until = {(time_t)(deadline_ms / 1000),
                                 (long)(deadline_ms % 1000) * 1000000};
        if (deadline_ms == 0 || pthread_cond_timedwait(&m->filled, &m->lock, &until) != 0) {
            break;
        }
    }
    m->woken = false;
}

size_t mailbox_run(struct mailbox *m, time_ms deadline_ms)
{
    if (!atomic_load(&m->has_owner)) {
        mailbox_own(m);
    }
    mailbox_check_owner(m);

    pthread_mutex_lock(&m->lock);
    wait_filled(m, deadline_ms);
    struct mail *mail = m->first;
    size_t count = m->depth;
    m->first = NULL;
    m->depth = 0;
    m->posts = 0;
    pthread_mutex_unlock(&m->lock);

    while (mail != NULL) {
        struct mail *next = mail->next; /* handle() may free the mail */
        mail->handle(mail);
        mail = next;
    }
    return count;
}

void mailbox_wake(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    m->woken = true;
    signal_owner(m);
    pthread_mutex_unlock(&m->lock);
}

void mailbox_close(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    m->closed = true;
    pthread_mutex_unlock(&m->lock);
}

bool mailbox_idle(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    bool idle = m->depth == 0 && m->reserved == 0;
    pthread_mutex_unlock(&m->lock);
    return idle;
}

void mailbox_set_waker(struct mailbox *m, void (*wake)(void *arg), void *arg)
{
    pthread_mutex_lock(&m->lock);
    m->wake = wake;
    m->wake_arg = arg;
    pthread_mutex_unlock(&m->lock);
}

void mailbox_own(struct mailbox *m)
{
    m->owner = pthread_self();
    atomic_store(&m->has_owner, true);
}

void mailbox_check_owner(const struct mailbox *m)
{
    CHECK(atomic_load(&m->has_owner));
    CHECK(pthread_equal(m->owner, pthread_self()) != 0);
}

size_t mailbox_depth(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    size_t depth = m->depth;
    pthread_mutex_unlock(&m->lock);
    return depth;
}
