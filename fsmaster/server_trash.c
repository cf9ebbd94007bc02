/* The trashes of users, emptied by the leader (common/trash_name.h says how one looks). Once a
 * minute it goes through /user, a page of users at a time: a worker looks what is due, the owner
 * proposes that as a request of the superuser, in a session of its own. Each operation has the
 * precondition that the name is still the inode that was looked at, so what a user takes back or
 * makes anew meanwhile is left alone. Nothing is remembered: a new leader begins again.
 *
 * What dfs rm removes is in Current. When .Trash has not changed for the time that is kept, Current
 * becomes a checkpoint, and a checkpoint whose name is that old is deleted. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/trash_name.h"
#include "fsmaster/server_internal.h"

enum { LOOKS_PER_KEEP = 8 }; /* a short time to keep is looked at more often */

struct trash {
    struct job job;
    struct command command;
    bool looking;   /* the job is on a worker */
    bool proposing; /* the command is on its way */
    time_ms next_ms;
    char after[LIMIT_NAME_BYTES_MAX + 1]; /* users up to here were looked at */

    /* Of the page; the worker's while it is looking. */
    struct server *server;
    time_ms wall_ms;
    struct arena arena;
    struct operation operations[TRASH_DUE_COUNT_MAX];
    uint32_t count;
    bool more; /* users behind `after` */
    int code;
};

struct trash *trash_new(void)
{
    struct trash *t = xcalloc(1, sizeof(*t));
    arena_init(&t->arena, 0);
    return t;
}

void trash_free(struct trash *t)
{
    if (t) {
        arena_deinit(&t->arena);
        free(t);
    }
}

bool trash_is_idle(const struct server *s)
{
    return !s->trash->proposing;
}

/* ---- What is due, on a worker ---------------------------------------------------------------- */

static const char *joined(struct trash *t, const char *directory, const char *name)
{
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s/%s", directory, name);
    const char *copy = arena_strndup(&t->arena, path.data, path.length);
    buf_deinit(&path);
    return copy;
}

/* False: no more fit. */
static bool add_due(struct trash *t, struct operation *op, const char *path, inode_id inode)
{
    if (t->count == TRASH_DUE_COUNT_MAX) {
        return false;
    }
    struct precondition *same = arena_alloc(&t->arena, sizeof(*same));
    *same = (struct precondition){PRECONDITION_PATH_IS, path, inode};
    op->seq = t->count + 1;
    op->preconditions = same;
    op->precondition_count = 1;
    t->operations[t->count++] = *op;
    return true;
}

static bool is_old(const struct trash *t, uint64_t since_ms)
{
    return since_ms <= t->wall_ms && t->wall_ms - since_ms >= t->server->options.trash_keep_ms;
}

/* One entry of a .Trash; they come in order, checkpoints before Current. *current_ms: when Current
 * was begun at the latest, by the newest checkpoint before it. False: no more fit. */
static bool look_entry(struct trash *t, const char *top, uint64_t *current_ms,
                       const struct list_entry *entry)
{
    char name[TRASH_CHECKPOINT_BYTES];
    uint64_t made_ms = 0;
    struct operation op = {.kind = OPERATION_NONE};
    const char *path = joined(t, top, entry->name);
    bool checkpoint = trash_checkpoint_time(entry->name, &made_ms);
    if (checkpoint && made_ms <= t->wall_ms) {
        *current_ms = made_ms;
    }
    if (checkpoint && is_old(t, made_ms)) {
        op.kind = OPERATION_DELETE;
        op.delete_ = (struct op_delete){.path = path, .recursive = true};
    } else if (strcmp(entry->name, TRASH_CURRENT_NAME) == 0 && is_old(t, *current_ms)) {
        trash_checkpoint_name(t->wall_ms, name);
        op.kind = OPERATION_RENAME;
        op.rename = (struct op_rename){.source = path, .target = joined(t, top, name)};
    } else {
        return true;
    }
    return add_due(t, &op, path, entry->attributes.inode);
}

/* The trash of one user, if there is one. 1: no more fit, it is looked at again; ERR_*. */
static int look_user(struct trash *t, const struct kv_view *view, const struct caller *caller,
                     const char *user)
{
    const char *top = joined(t, joined(t, "/user", user), TRASH_NAME);
    struct target target = {.path = top};
    struct attributes attributes;
    struct list_page page = {.count = 0};
    int r = namespace_stat(view, caller, &target, &t->arena, &attributes);
    if (r == 0 && attributes.kind == INODE_DIRECTORY && attributes.child_count > 0) {
        struct list_request request = {.path = top, .after = ""};
        r = namespace_list(view, caller, &request, &t->arena, &page);
    }
    /* Without a checkpoint, by the directory's own time; with one that would be when the last one
     * was deleted. */
    uint64_t current_ms = attributes.mtime_ms;
    for (uint32_t i = 0; r == 0 && i < page.count; i++) {
        r = look_entry(t, top, &current_ms, &page.entries[i]) ? 0 : 1;
    }
    return r == ERR_NOT_FOUND || r == ERR_NOT_DIR ? 0 : r;
}

static int look_page(struct trash *t, const struct kv_view *view)
{
    struct caller caller = {.user = t->server->superuser, .is_superuser = true};
    struct list_request request = {.path = "/user", .after = t->after, .limit = TRASH_USER_COUNT};
    struct list_page page = {.count = 0};
    int r = namespace_list(view, &caller, &request, &t->arena, &page);
    r = r == ERR_NOT_FOUND || r == ERR_NOT_DIR ? 0 : r;
    t->more = page.more;
    for (uint32_t i = 0; r == 0 && i < page.count; i++) {
        const struct list_entry *user = &page.entries[i];
        if (user->attributes.kind == INODE_DIRECTORY) {
            r = look_user(t, view, &caller, user->name);
        }
        if (r == 0) {
            (void)memcpy(t->after, user->name, strlen(user->name) + 1);
        }
    }
    t->more = t->more || r > 0;
    return r < 0 ? r : 0;
}

static void look_on_worker(struct job *job)
{
    struct trash *t = CONTAINER_OF(job, struct trash, job);
    struct state_read read;
    state_read_begin(t->server->state, &read);
    t->code = look_page(t, &read.view);
    state_read_end(&read);
}

/* ---- What is done about it ------------------------------------------------------------------- */

static void tell(const struct trash *t, uint32_t i, const struct op_result *result)
{
    const struct operation *op = &t->operations[i];
    bool deletes = op->kind == OPERATION_DELETE;
    const char *path = op->preconditions[0].name;
    if (result->code == 0) {
        log_info("trash", "%s path=%s inode=%" PRIu64, deletes ? "deleted" : "made a checkpoint of",
                 path, result->inode);
    } else if (result->code != ERR_PRECONDITION && result->code != ERR_NOT_FOUND) {
        log_warning("trash", "not %s path=%s error=%s: %s",
                    deletes ? "deleted" : "made a checkpoint of", path, err_name(result->code),
                    result->text);
    }
}

static void proposed(struct command *c, int code, const struct apply_result *result)
{
    struct trash *t = CONTAINER_OF(c, struct trash, command);
    command_deinit(c);
    t->proposing = false;
    if (code < 0 || result->code < 0) {
        return; /* no longer the leader, or too busy: the next look finds it again */
    }
    for (uint32_t i = 0; i < result->result_count && i < t->count; i++) {
        tell(t, i, &result->results[i]);
    }
}

static void propose(struct server *s)
{
    struct trash *t = s->trash;
    struct command_entry entry = {
        .kind = ENTRY_MUTATE,
        .caller = {.user = s->superuser, .is_superuser = true},
        .mutate = {.session = rng_u64(&s->rng) | 1,
                   .acked_below = 1,
                   .operations = t->operations,
                   .operation_count = t->count},
    };
    t->proposing = true;
    command_propose(&t->command, s, &entry, proposed);
}

static void looked(struct job *job)
{
    struct trash *t = CONTAINER_OF(job, struct trash, job);
    struct server *s = t->server;
    time_ms now = clock_mono_ms();
    server_job_end(s);
    t->looking = false;
    if (t->code < 0) {
        log_warning("trash", "cannot be looked at error=%s", err_name(t->code));
        t->more = false;
    }
    if (!t->more) {
        t->after[0] = '\0';
    }
    time_ms pause = MIN((time_ms)TRASH_LOOK_MS, s->options.trash_keep_ms / LOOKS_PER_KEEP);
    t->next_ms = now + (t->more ? (time_ms)TRASH_PAGE_MS : MAX(pause, (time_ms)TRASH_PAGE_MS));
    if (t->count > 0 && s->status.is_leader && !s->stopping) {
        propose(s);
    }
}

void trash_tick(struct server *s, time_ms now)
{
    struct trash *t = s->trash;
    if (s->options.trash_keep_ms == 0 || t->looking || t->proposing || now < t->next_ms ||
        s->totals.cluster_id[0] == '\0' || consensus_is_installing(s->consensus)) {
        return;
    }
    arena_reset(&t->arena);
    t->server = s;
    t->wall_ms = clock_wall_ms();
    t->count = 0;
    t->looking = true;
    server_job_start(s, &t->job, look_on_worker, looked);
}
