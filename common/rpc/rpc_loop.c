/* A completion queue with what gRPC's C surface lacks: a way to run a function on its thread, and
 * timers.
 *
 * Posting: an empty batch on any call completes at once and wakes the queue, so each loop keeps a
 * call on a channel that leads nowhere. Only the post that finds the list empty starts one; the
 * others ride along. The alarms of the C++ surface are not exported here; timers only shorten the
 * wait.
 *
 * A queue that is being shut down takes no new work (gRPC issue 8610), so rpc_loop_free() first
 * runs what was posted, then shuts down, then drains. */
#include "common/rpc/rpc.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/macros.h"
#include "common/rpc/rpc_internal.h"

struct post {
    rpc_fn fn;
    void *arg;
};

struct post_list {
    struct post *items;
    size_t count;
    size_t capacity;
};

struct rpc_loop {
    grpc_completion_queue *queue;
    grpc_channel *wake_channel; /* leads nowhere; carries wake_call */
    grpc_call *wake_call;       /* never started; its empty batches wake the queue */
    struct rpc_tag wake;        /* tag of those */

    pthread_mutex_t lock;     /* guards posted and closed; nothing is called under it */
    struct post_list posted;  /* waiting to be run */
    bool closed;              /* rpc_loop_free() has run the last of them */
    struct post_list running; /* loop's thread: spare array, swapped with posted */

    struct heap timers;      /* loop's thread; the next to fire first */
    atomic_bool stop;        /* rpc_loop_run() is to return */
    atomic_int drivers;      /* threads inside rpc_loop_run(), started ones included */
    atomic_uintptr_t driver; /* thread that stepped last, 0 before */
    atomic_uint posters;     /* threads inside rpc_loop_post() */
    atomic_uint holds;       /* calls, streams and servers that expect events */
    pthread_t thread;        /* of rpc_loop_start_thread() */
    bool has_thread;
    unsigned depth; /* steps on the stack: rpc_call() may not be nested */
};

static bool timer_before(const struct heap_node *a, const struct heap_node *b)
{
    return CONTAINER_OF(a, struct rpc_timer, node)->at <
           CONTAINER_OF(b, struct rpc_timer, node)->at;
}

static void run_posted(struct rpc_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct post_list list = loop->posted;
    loop->posted = loop->running;
    loop->posted.count = 0;
    loop->running = (struct post_list){NULL, 0, 0};
    pthread_mutex_unlock(&loop->lock);
    for (size_t i = 0; i < list.count; i++) {
        list.items[i].fn(list.items[i].arg);
    }
    if (loop->running.items == NULL) {
        loop->running = list;
    } else { /* a function stepped the loop and left its own spare */
        free(list.items);
    }
}

static void wake_done(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    run_posted(CONTAINER_OF(tag, struct rpc_loop, wake));
}

struct rpc_loop *rpc_loop_new(void)
{
    struct rpc_loop *loop = xcalloc(1, sizeof(*loop));
    loop->queue = grpc_completion_queue_create_for_next(NULL);
    loop->wake_channel = grpc_lame_client_channel_create("none", GRPC_STATUS_UNAVAILABLE, "none");
    grpc_slice method = grpc_slice_from_static_string("/wake");
    loop->wake_call =
        grpc_channel_create_call(loop->wake_channel, NULL, GRPC_PROPAGATE_DEFAULTS, loop->queue,
                                 method, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    loop->wake.done = wake_done;
    pthread_mutex_init(&loop->lock, NULL);
    heap_init(&loop->timers, timer_before);
    return loop;
}

static void dispatch(grpc_event event)
{
    struct rpc_tag *tag = event.tag;
    tag->done(tag, event.success != 0);
}

void rpc_loop_free(struct rpc_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    CHECK(!loop->has_thread);
    CHECK(atomic_load(&loop->drivers) == 0);
    bool left = true;
    while (left) { /* what is posted may post again */
        run_posted(loop);
        pthread_mutex_lock(&loop->lock);
        left = loop->posted.count > 0;
        loop->closed = !left;
        pthread_mutex_unlock(&loop->lock);
    }
    while (atomic_load_explicit(&loop->posters, memory_order_acquire) > 0) {
        (void)sched_yield(); /* its function has run, but it is still about to wake us */
    }
    grpc_call_unref(loop->wake_call);
    grpc_channel_destroy(loop->wake_channel);
    grpc_completion_queue_shutdown(loop->queue);
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(loop->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN) {
            break;
        }
        dispatch(event); /* at most the watch of a cancelled call, which ends by itself */
    }
    CHECK(atomic_load(&loop->holds) == 0);
    grpc_completion_queue_destroy(loop->queue);
    CHECK(heap_first(&loop->timers) == NULL);
    heap_deinit(&loop->timers);
    free(loop->posted.items);
    free(loop->running.items);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

gpr_timespec rpc_deadline_to_grpc(time_ms deadline)
{
    time_ms left = clock_until_ms(deadline);
    if (left > INT32_MAX) { /* 24 days */
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    }
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis((int64_t)left, GPR_TIMESPAN));
}

time_ms rpc_deadline_from_grpc(gpr_timespec deadline)
{
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) {
        return RPC_NO_DEADLINE;
    }
    gpr_timespec left = gpr_time_sub(gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC),
                                     gpr_now(GPR_CLOCK_MONOTONIC));
    int32_t left_ms = gpr_time_to_millis(left);
    return clock_mono_ms() + (time_ms)MAX(left_ms, 0);
}

/* Fires what is due. Returns whether anything was. */
static bool run_timers(struct rpc_loop *loop)
{
    struct heap_node *first = heap_first(&loop->timers);
    if (first == NULL) {
        return false;
    }
    time_ms now = clock_mono_ms();
    bool any = false;
    while (first != NULL && CONTAINER_OF(first, struct rpc_timer, node)->at <= now) {
        struct rpc_timer *timer = CONTAINER_OF(first, struct rpc_timer, node);
        heap_remove(&loop->timers, first);
        timer->fn(timer->arg);
        any = true;
        first = heap_first(&loop->timers);
    }
    return any;
}

static time_ms next_timer(const struct rpc_loop *loop)
{
    struct heap_node *first = heap_first(&loop->timers);
    return first == NULL ? RPC_NO_DEADLINE : CONTAINER_OF(first, struct rpc_timer, node)->at;
}

bool rpc_loop_step(struct rpc_loop *loop, time_ms deadline)
{
    atomic_store_explicit(&loop->driver, (uintptr_t)pthread_self(), memory_order_relaxed);
    loop->depth++;
    bool handled = run_timers(loop);
    while (!handled) {
        time_ms until = MIN(deadline, next_timer(loop));
        /* Of a deadline that is now it would make a wait of one millisecond. */
        gpr_timespec deadline_grpc = clock_until_ms(until) == 0 ? gpr_inf_past(GPR_CLOCK_MONOTONIC)
                                                                : rpc_deadline_to_grpc(until);
        grpc_event event = grpc_completion_queue_next(loop->queue, deadline_grpc, NULL);
        if (event.type == GRPC_OP_COMPLETE) {
            dispatch(event);
            handled = true;
        } else {
            handled = run_timers(loop);
            if (!handled && clock_mono_ms() >= deadline) {
                break;
            }
        }
    }
    loop->depth--;
    return handled;
}

bool rpc_loop_until(struct rpc_loop *loop, const bool *done, time_ms deadline)
{
    while (!*done && rpc_loop_step(loop, deadline)) {
    }
    return *done;
}

static void drive(struct rpc_loop *loop)
{
    while (!atomic_load_explicit(&loop->stop, memory_order_acquire)) {
        (void)rpc_loop_step(loop, RPC_NO_DEADLINE);
    }
    run_posted(loop);
    atomic_store(&loop->stop, false);
    atomic_store_explicit(&loop->driver, 0, memory_order_relaxed);
    atomic_fetch_sub(&loop->drivers, 1);
}

void rpc_loop_run(struct rpc_loop *loop)
{
    CHECK(atomic_fetch_add(&loop->drivers, 1) == 0);
    drive(loop);
}

static void nothing(void *arg)
{
    (void)arg;
}

bool rpc_loop_runs(const struct rpc_loop *loop)
{
    return atomic_load(&loop->drivers) > 0;
}

void rpc_loop_stop(struct rpc_loop *loop)
{
    atomic_store_explicit(&loop->stop, true, memory_order_release);
    rpc_loop_post(loop, nothing, NULL);
}

static void *thread_main(void *arg)
{
    drive(arg);
    return NULL;
}

int rpc_loop_start_thread(struct rpc_loop *loop, const char *name, struct err *e)
{
    CHECK(atomic_fetch_add(&loop->drivers, 1) == 0);
    sigset_t all, before; /* signals are for the process's main or signal thread */
    (void)sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int r = pthread_create(&loop->thread, NULL, thread_main, loop);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (r != 0) {
        atomic_fetch_sub(&loop->drivers, 1);
        return err_set(e, err_from_errno(r), "start thread %s: %s", name, strerror(r));
    }
    (void)pthread_setname_np(loop->thread, name);
    loop->has_thread = true;
    return 0;
}

void rpc_loop_join_thread(struct rpc_loop *loop)
{
    if (loop->has_thread) {
        rpc_loop_stop(loop);
        pthread_join(loop->thread, NULL);
        loop->has_thread = false;
        atomic_store(&loop->stop, false); /* had it been stopped twice */
    }
}

void rpc_loop_post(struct rpc_loop *loop, rpc_fn fn, void *arg)
{
    atomic_fetch_add_explicit(&loop->posters, 1, memory_order_relaxed);
    pthread_mutex_lock(&loop->lock);
    CHECK(!loop->closed);
    struct post_list *list = &loop->posted;
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 16;
        list->items = xreallocarray(list->items, list->capacity, sizeof(*list->items));
    }
    bool first = list->count == 0;
    list->items[list->count++] = (struct post){fn, arg};
    pthread_mutex_unlock(&loop->lock);
    if (first) {
        rpc_batch(loop->wake_call, NULL, 0, &loop->wake);
    }
    atomic_fetch_sub_explicit(&loop->posters, 1, memory_order_release);
}

void rpc_loop_own(struct rpc_loop *loop)
{
    atomic_store_explicit(&loop->driver, (uintptr_t)pthread_self(), memory_order_relaxed);
}

void rpc_loop_call(struct rpc_loop *loop, rpc_fn fn, void *arg)
{
    if (rpc_loop_is_mine(loop)) {
        fn(arg);
    } else {
        rpc_loop_post(loop, fn, arg);
    }
}

bool rpc_loop_is_mine(const struct rpc_loop *loop)
{
    return atomic_load_explicit(&loop->driver, memory_order_relaxed) == (uintptr_t)pthread_self();
}

void rpc_timer_set(struct rpc_loop *loop, struct rpc_timer *timer, time_ms at, rpc_fn fn, void *arg)
{
    timer->at = at;
    timer->fn = fn;
    timer->arg = arg;
    heap_update(&loop->timers, &timer->node);
}

void rpc_timer_cancel(struct rpc_loop *loop, struct rpc_timer *timer)
{
    heap_remove(&loop->timers, &timer->node);
}

grpc_completion_queue *rpc_loop_queue(struct rpc_loop *loop)
{
    return loop->queue;
}

void rpc_loop_hold(struct rpc_loop *loop)
{
    atomic_fetch_add_explicit(&loop->holds, 1, memory_order_relaxed);
}

void rpc_loop_release(struct rpc_loop *loop)
{
    CHECK(atomic_fetch_sub_explicit(&loop->holds, 1, memory_order_acq_rel) > 0);
}

bool rpc_loop_has_driver(const struct rpc_loop *loop)
{
    return atomic_load(&loop->drivers) > 0;
}

bool rpc_loop_is_stepping(const struct rpc_loop *loop)
{
    return loop->depth > 0;
}

void rpc_batch(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag)
{
    CHECK(grpc_call_start_batch(call, ops, count, tag, NULL) == GRPC_CALL_OK);
}
