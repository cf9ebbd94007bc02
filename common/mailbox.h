/* Mailbox: the bounded queue through which every other thread reaches an owner thread. Many
 * posters, one owner.
 *
 * New requests are refused when the box is full, so load turns into ERR_BUSY at the door.
 * Completions are never refused: whoever starts something reserves the slot of its completion
 * first, and gives it back by posting. So the owner never blocks on a queue and a finished piece of
 * work always finds its way home (DESIGN 2).
 *
 * Mails are intrusive: the poster's struct embeds `struct mail`, stays alive until `handle` runs on
 * the owner, and is then the owner's business. Mails of one poster arrive in order; so do all mails
 * of the box. */
#ifndef COMMON_MAILBOX_H
#define COMMON_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "common/clock.h"
#include "common/err.h"

struct mail {
    struct mail *next;                 /* private to the mailbox */
    void (*handle)(struct mail *mail); /* runs on the owner; may free the mail; must not block */
};

struct mailbox;

/* At most posts_max requests wait, besides those that the owner is just handling, and at most
 * reserved_max completions are outstanding. Never NULL. */
struct mailbox *mailbox_new(size_t posts_max, size_t reserved_max);
/* Accepts NULL. Nothing waits and nothing is reserved any more (CHECK). */
void mailbox_free(struct mailbox *m);

/* A new request. ERR_BUSY: full; ERR_UNAVAILABLE: closed. On failure the mail stays with the
 * caller. Any thread. */
int mailbox_post(struct mailbox *m, struct mail *mail) MUST_CHECK;

/* A slot for one later mailbox_post_reserved(). ERR_BUSY: reserved_max are outstanding. Works on a
 * closed box too, so that draining can do its work. Any thread. */
int mailbox_reserve(struct mailbox *m) MUST_CHECK;
void mailbox_unreserve(struct mailbox *m); /* gives an unused slot back */

/* Uses one reserved slot; cannot fail. Any thread. */
void mailbox_post_reserved(struct mailbox *m, struct mail *mail);

/* Waits for mail until the deadline (monotonic ms; 0 does not wait, CLOCK_NEVER has no end), then
 * handles all that is there. Returns the number handled. Owner only. */
size_t mailbox_run(struct mailbox *m, time_ms deadline_ms);

/* Makes a waiting mailbox_run() return. Any thread, also from the sink of a signal thread. */
void mailbox_wake(struct mailbox *m);

/* From now on mailbox_post() is refused; what is there and what is reserved still comes. Any
 * thread. */
void mailbox_close(struct mailbox *m);

/* Nothing waits and nothing is reserved; asked between two mailbox_run(). Lasting only when the box
 * is closed and the owner itself starts nothing more. */
bool mailbox_idle(struct mailbox *m);

/* For an owner that waits elsewhere, in an event loop, and runs the box with deadline 0: wake(arg)
 * is called by whoever puts mail into an empty box, and by mailbox_wake(), under the box's lock: it
 * must not call the box. NULL: the owner waits in mailbox_run() again. */
void mailbox_set_waker(struct mailbox *m, void (*wake)(void *arg), void *arg);

/* The owner is the thread that called mailbox_run() first, or this. CHECK fails elsewhere. */
void mailbox_own(struct mailbox *m);
void mailbox_check_owner(const struct mailbox *m);

/* Mails waiting; for metrics. Any thread. */
size_t mailbox_depth(struct mailbox *m);

#endif
