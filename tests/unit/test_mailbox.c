#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"
#include "common/mailbox.h"

struct note {
    struct mail mail;
    int number;
    int *digits; /* handled numbers, as one decimal */
};

static void append_digit(struct mail *mail)
{
    struct note *n = CONTAINER_OF(mail, struct note, mail);
    *n->digits = *n->digits * 10 + n->number;
}

static void full_boxes_refuse_posts_but_not_completions(void **state)
{
    struct mailbox *m = mailbox_new(2, 1);
    int digits = 0;
    struct note notes[4];
    (void)state;
    for (int i = 0; i < 4; i++) {
        notes[i] = (struct note){{NULL, append_digit}, i + 1, &digits};
    }
    assert_int_equal(mailbox_reserve(m), 0);
    assert_int_equal(mailbox_reserve(m), ERR_BUSY);
    assert_int_equal(mailbox_post(m, &notes[0].mail), 0);
    assert_int_equal(mailbox_post(m, &notes[1].mail), 0);
    assert_int_equal(mailbox_post(m, &notes[2].mail), ERR_BUSY);
    mailbox_post_reserved(m, &notes[3].mail);
    assert_int_equal(mailbox_depth(m), 3);
    assert_int_equal(mailbox_run(m, 0), 3);
    assert_int_equal(digits, 124);
    assert_int_equal(mailbox_post(m, &notes[2].mail), 0);
    assert_int_equal(mailbox_run(m, CLOCK_NEVER), 1);
    assert_int_equal(digits, 1243);
    mailbox_free(m);
    mailbox_free(NULL);
}

static void closed_boxes_still_take_what_was_promised(void **state)
{
    struct mailbox *m = mailbox_new(2, 2);
    int digits = 0;
    struct note promised = {{NULL, append_digit}, 7, &digits};
    struct note late = {{NULL, append_digit}, 8, &digits};
    (void)state;
    assert_int_equal(mailbox_reserve(m), 0);
    mailbox_close(m);
    assert_int_equal(mailbox_post(m, &late.mail), ERR_UNAVAILABLE);
    assert_false(mailbox_idle(m));
    mailbox_post_reserved(m, &promised.mail);
    assert_false(mailbox_idle(m));
    assert_int_equal(mailbox_run(m, 0), 1);
    assert_true(mailbox_idle(m));
    assert_int_equal(mailbox_reserve(m), 0);
    mailbox_unreserve(m);
    assert_true(mailbox_idle(m));
    assert_int_equal(digits, 7);
    mailbox_free(m);
}

static void waiting_ends_at_the_deadline_or_by_a_wake(void **state)
{
    struct mailbox *m = mailbox_new(1, 1);
    (void)state;
    time_ms deadline = clock_mono_ms() + 5;
    assert_int_equal(mailbox_run(m, deadline), 0);
    assert_true(clock_mono_ms() >= deadline);
    mailbox_wake(m);
    assert_int_equal(mailbox_run(m, CLOCK_NEVER), 0);
    assert_int_equal(mailbox_run(m, 0), 0);
    mailbox_free(m);
}

/* The handler itself may post, and may free its mail. */
struct chain {
    struct mail mail;
    struct mailbox *box;
    int *left;
};

static void post_successor(struct mail *mail)
{
    struct chain *c = CONTAINER_OF(mail, struct chain, mail);
    if (--*c->left > 0) {
        struct chain *next = xmalloc(sizeof(*next));
        *next = *c;
        CHECK(mailbox_post(c->box, &next->mail) == 0);
    }
    free(c);
}

static void handlers_may_post_and_free(void **state)
{
    struct mailbox *m = mailbox_new(1, 1);
    int left = 5;
    struct chain *first = xmalloc(sizeof(*first));
    (void)state;
    *first = (struct chain){{NULL, post_successor}, m, &left};
    assert_int_equal(mailbox_post(m, &first->mail), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(mailbox_run(m, 0), 1);
    }
    assert_int_equal(left, 0);
    mailbox_free(m);
}

enum { POSTERS = 4, POSTS = 5000 };

struct poster {
    struct mailbox *box;
    int id;
    int last_seen; /* owner only: posts arrive in order */
    int count;     /* owner only */
};

struct numbered {
    struct mail mail;
    struct poster *poster;
    int number;
};

static void check_order(struct mail *mail)
{
    struct numbered *n = CONTAINER_OF(mail, struct numbered, mail);
    CHECK(n->number > n->poster->last_seen);
    n->poster->last_seen = n->number;
    n->poster->count++;
    free(n);
}

/* Half of the posts take a reserved slot; who is refused tries again. */
static void *post_many(void *argument)
{
    struct poster *p = argument;
    for (int i = 1; i <= POSTS; i++) {
        struct numbered *n = xmalloc(sizeof(*n));
        *n = (struct numbered){{NULL, check_order}, p, i};
        if (i % 2 == 0) {
            while (mailbox_reserve(p->box) < 0) {
                sched_yield();
            }
            mailbox_post_reserved(p->box, &n->mail);
        } else {
            while (mailbox_post(p->box, &n->mail) < 0) {
                sched_yield();
            }
        }
    }
    return NULL;
}

/* wake NULL: the owner waits in the box, else for the semaphore. */
static void many_posters(struct mailbox *m, sem_t *wake)
{
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];
    size_t handled = 0;
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){m, i, 0, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
    }
    while (handled < POSTERS * POSTS) {
        assert_true(wake == NULL || sem_wait(wake) == 0);
        handled += mailbox_run(m, wake ? 0 : CLOCK_NEVER);
    }
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(posters[i].count, POSTS);
    }
    assert_true(mailbox_idle(m));
    mailbox_free(m);
}

static void many_posters_one_owner(void **state)
{
    (void)state;
    many_posters(mailbox_new(64, 64), NULL);
}

static void post_semaphore(void *arg)
{
    CHECK(sem_post(arg) == 0);
}

/* A wake that is missing once would leave the owner asleep for good. */
static void an_owner_that_waits_elsewhere_is_woken(void **state)
{
    struct mailbox *m = mailbox_new(64, 64);
    sem_t wake;
    (void)state;
    assert_int_equal(sem_init(&wake, 0, 0), 0);
    mailbox_set_waker(m, post_semaphore, &wake);
    mailbox_wake(m);
    assert_int_equal(sem_trywait(&wake), 0);
    many_posters(m, &wake);
    assert_int_equal(sem_destroy(&wake), 0);
}

static void fail_by_cmocka(const char *condition, const char *file, int line)
{
    mock_assert(0, condition, file, line);
}

static void *run_elsewhere(void *argument)
{
    mailbox_own(argument);
    return NULL;
}

static void only_the_owner_runs_it(void **state)
{
    struct mailbox *m = mailbox_new(1, 1);
    check_fail_fn before = check_fail;
    pthread_t other;
    (void)state;
    assert_int_equal(pthread_create(&other, NULL, run_elsewhere, m), 0);
    pthread_join(other, NULL);
    check_fail = fail_by_cmocka;
    expect_assert_failure((void)mailbox_run(m, 0));
    check_fail = before;
    mailbox_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_boxes_refuse_posts_but_not_completions),
        cmocka_unit_test(closed_boxes_still_take_what_was_promised),
        cmocka_unit_test(waiting_ends_at_the_deadline_or_by_a_wake),
        cmocka_unit_test(handlers_may_post_and_free),
        cmocka_unit_test(many_posters_one_owner),
        cmocka_unit_test(an_owner_that_waits_elsewhere_is_woken),
        cmocka_unit_test(only_the_owner_runs_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
