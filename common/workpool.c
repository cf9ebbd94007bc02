/* One lock around a queue of runnable jobs. A strand has at most one job in that queue or on a
 * worker; the rest wait in the strand, and each job that ends puts its successor at the queue's
 * end, so a busy strand does not starve the others.
 *
 * Lock order: the pool's lock, then a mailbox's. */
#include "common/workpool.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"

struct workpool {
    pthread_mutex_t lock; /* protects all below up to threads, and every strand of ours */
    pthread_cond_t runnable;
    pthread_cond_t drained;
    struct job *first; /* runnable, oldest first */
    struct job *last;  /* valid while first is not NULL */
    size_t depth;      /* jobs that wait or run, strands' included */
    size_t depth_max;  /* bound for new ones */
    bool closed;       /* no new jobs; workers end when nothing is left */
    size_t thread_count;
    pthread_t threads[];
};

/* With the lock held. */
static void push_runnable(struct workpool *p, struct job *job)
{
    job->next = NULL;
    if (p->first == NULL) {
        p->first = job;
    } else {
        p->last->next = job;
    }
    p->last = job;
    pthread_cond_signal(&p->runnable);
}

/* With the lock held. */
static void enqueue(struct workpool *p, struct job *job)
{
    struct strand *strand = job->strand;
    p->depth++;
    if (strand == NULL) {
        push_runnable(p, job);
        return;
    }
    strand->count++;
    if (strand->count == 1) {
        push_runnable(p, job);
        return;
    }
    job->next = NULL;
    if (strand->first == NULL) {
        strand->first = job;
    } else {
        strand->last->next = job;
    }
    strand->last = job;
}

static void job_finished(struct mail *mail)
{
    struct job *job = CONTAINER_OF(mail, struct job, mail);
    job->done(job);
}

/* With the lock held, so that no job of the strand can start, and post, between this one's end and
 * its mail. The mail is the last touch of job and strand: from there on the owner may free both. */
static void finish(struct workpool *p, struct strand *strand, struct job *told)
{
    struct job *next = NULL;
    if (strand != NULL) {
        CHECK(strand->count > 0);
        strand->count--;
        next = strand->first;
        strand->first = next != NULL ? next->next : NULL;
    }
    if (told != NULL) {
        told->mail.handle = job_finished;
        mailbox_post_reserved(told->home, &told->mail);
    }
    if (next != NULL) {
        push_runnable(p, next);
    }
    p->depth--;
    if (p->depth == 0) {
        pthread_cond_broadcast(&p->drained);
        if (p->closed) { /* else idle workers would all wake up after every job */
            pthread_cond_broadcast(&p->runnable);
        }
    }
}

static void *work(void *argument)
{
    struct workpool *p = argument;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->first == NULL && !(p->closed && p->depth == 0)) {
            pthread_cond_wait(&p->runnable, &p->lock);
        }
        struct job *job = p->first;
        if (job == NULL) {
            break;
        }
        p->first = job->next;
        pthread_mutex_unlock(&p->lock);
        struct strand *strand = job->strand; /* read first: run() may free a job without done */
        struct job *told = job->done != NULL ? job : NULL;
        job->run(job);
        pthread_mutex_lock(&p->lock);
        finish(p, strand, told);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Signals are for the process's main or signal thread, so workers block them all. */
static void start_threads(struct workpool *p, const char *name)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    int r = pthread_sigmask(SIG_SETMASK, &all, &before);
    CHECK(r == 0);
    for (size_t i = 0; i < p->thread_count; i++) {
        char thread_name[16]; /* Linux keeps 15 bytes */
        (void)snprintf(thread_name, sizeof(thread_name), "%.11s-%u", name, (unsigned)i % 1000);
        r = pthread_create(&p->threads[i], NULL, work, p);
        CHECK(r == 0);
        (void)pthread_setname_np(p->threads[i], thread_name);
    }
    r = pthread_sigmask(SIG_SETMASK, &before, NULL);
    CHECK(r == 0);
}

struct workpool *workpool_new(const char *name, size_t thread_count, size_t jobs_max)
{
    CHECK(thread_count > 0);
    struct workpool *p = xcalloc(1, sizeof(*p) + thread_count * sizeof(p->threads[0]));
    p->depth_max = jobs_max;
    p->thread_count = thread_count;
    int r = pthread_mutex_init(&p->lock, NULL);
    CHECK(r == 0);
    r = pthread_cond_init(&p->runnable, NULL);
    CHECK(r == 0);
    r = pthread_cond_init(&p->drained, NULL);
    CHECK(r == 0);
    start_threads(p, name);
    return p;
}

void workpool_free(struct workpool *p)
{
    if (p == NULL) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->closed = true;
    pthread_cond_broadcast(&p->runnable);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->thread_count; i++) {
        (void)pthread_join(p->threads[i], NULL);
    }
    CHECK(p->depth == 0);
    pthread_cond_destroy(&p->drained);
    pthread_cond_destroy(&p->runnable);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* A home slot is taken before the job and given back if there is no place for the job. */
static int submit(struct workpool *p, struct job *job)
{
    CHECK(job->done == NULL || job->home != NULL);
    int r = job->done != NULL ? mailbox_reserve(job->home) : 0;
    if (r < 0) {
        return r;
    }
    pthread_mutex_lock(&p->lock);
    if (p->closed) {
        r = ERR_UNAVAILABLE;
    } else if (p->depth >= p->depth_max) {
        r = ERR_BUSY;
    } else {
        enqueue(p, job);
    }
    pthread_mutex_unlock(&p->lock);
    if (r < 0 && job->done != NULL) {
        mailbox_unreserve(job->home);
    }
    return r;
}

int workpool_submit(struct workpool *p, struct job *job, struct mailbox *home)
{
    job->home = home;
    job->strand = NULL;
    return submit(p, job);
}

int workpool_submit_ordered(struct workpool *p, struct strand *strand, struct job *job,
                            struct mailbox *home)
{
    job->home = home;
    job->strand = strand;
    return submit(p, job);
}

void workpool_submit_reserved(struct workpool *p, struct strand *strand, struct job *job,
                              struct mailbox *home)
{
    CHECK((job->done == NULL) == (home == NULL));
    job->home = home;
    job->strand = strand;
    pthread_mutex_lock(&p->lock);
    enqueue(p, job);
    pthread_mutex_unlock(&p->lock);
}

void workpool_drain(struct workpool *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->depth > 0) {
        pthread_cond_wait(&p->drained, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
}

size_t workpool_depth(struct workpool *p)
{
    pthread_mutex_lock(&p->lock);
    size_t depth = p->depth;
    pthread_mutex_unlock(&p->lock);
    return depth;
}
