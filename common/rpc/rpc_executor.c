/* Steps on an owner's mailbox and on a pool's workers. */
#include "common/macros.h"
#include "common/rpc/rpc_server.h"

static bool mailbox_take(void *ctx, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (mailbox_reserve(ctx) < 0) {
            while (i-- > 0) {
                mailbox_unreserve(ctx);
            }
            return false;
        }
    }
    return true;
}

static void mailbox_give(void *ctx, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        mailbox_unreserve(ctx);
    }
}

static void run_mail(struct mail *mail)
{
    struct rpc_task *task = CONTAINER_OF(mail, struct rpc_task, mail);
    task->fn(task->arg);
}

static void mailbox_send(void *ctx, struct rpc_task *task)
{
    task->mail.handle = run_mail;
    mailbox_post_reserved(ctx, &task->mail);
}

struct rpc_executor rpc_executor_mailbox(struct mailbox *mailbox)
{
    return (struct rpc_executor){mailbox, mailbox_take, mailbox_give, mailbox_send};
}

/* A worker answers by itself and needs no slot at home. What was admitted always runs; the server's
 * limit on calls bounds how many wait. */
static bool pool_take(void *ctx, unsigned count)
{
    (void)ctx;
    (void)count;
    return true;
}

static void pool_give(void *ctx, unsigned count)
{
    (void)ctx;
    (void)count;
}

static void run_job(struct job *job)
{
    struct rpc_task *task = CONTAINER_OF(job, struct rpc_task, job);
    task->fn(task->arg);
}

static void pool_send(void *ctx, struct rpc_task *task)
{
    task->job.run = run_job;
    task->job.done = NULL;
    workpool_submit_reserved(ctx, NULL, &task->job, NULL);
}

struct rpc_executor rpc_executor_workpool(struct workpool *pool)
{
    return (struct rpc_executor){pool, pool_take, pool_give, pool_send};
}
