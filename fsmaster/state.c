/* See state.h. A group that cannot be applied (storage failed, unknown command) is dropped as a
 * whole and stops the member: consensus never calls apply again. */
#include "fsmaster/state.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/rng.h"
#include "fsmaster/command_rpc.h"
#include "fsmaster/keys.h"

struct state {
    struct kv *kv;
    struct namespace *ns;   /* apply thread */
    struct kv_batch *batch; /* apply thread */
};

int state_open(const struct state_options *options, struct state **ret, struct err *e)
{
    struct state *s = xcalloc(1, sizeof(*s));
    struct kv_options kv_options = {.wal = false, .cache_bytes = options->cache_bytes};
    int r = kv_open(options->directory, &kv_options, &s->kv, e);
    if (r < 0) {
        free(s);
        return r;
    }
    s->ns = namespace_new(rng_entropy_u64());
    s->batch = kv_batch_new(s->kv);
    *ret = s;
    return 0;
}

void state_close(struct state *s)
{
    if (!s) {
        return;
    }
    namespace_free(s->ns);
    kv_batch_free(s->batch);
    kv_close(s->kv);
    free(s);
}

int state_totals(struct state *s, struct namespace_totals *ret, struct err *e)
{
    struct state_read read;
    state_read_begin(s, &read);
    int r = namespace_totals(&read.view, ret);
    if (r < 0) {
        r = err_wrap(e, r, "read the state");
    }
    state_read_end(&read);
    return r;
}

/* ---- Machine -------------------------------------------------------------------------------- */

static int apply_one(struct state *s, const struct consensus_entry *entry,
                     struct applied_group *group, struct applied_entry *ret, struct err *e)
{
    *ret = (struct applied_entry){
        .at = {entry->index, entry->term}, .kind = ENTRY_NOOP, .proposal = entry->proposal};
    if (entry->bytes.length == 0) {
        namespace_skip(s->ns, ret->at);
        return 0;
    }
    struct log_entry command;
    int r = command_decode(entry->bytes, &group->arena, &command, e);
    if (r == 0) {
        ret->kind = command.kind;
        r = namespace_apply(s->ns, &command, ret->at, &group->arena, &ret->result);
    }
    return r < 0 ? err_wrap(e, r, "entry %" PRIu64, entry->index) : 0;
}

int state_apply(void *ctx, const struct consensus_entry *entries, size_t count, void **ret_outcome,
                struct err *e)
{
    struct state *s = ctx;
    struct applied_group *group = xcalloc(1, sizeof(*group));
    arena_init(&group->arena, 0);
    group->entries = xcalloc(count, sizeof(*group->entries));
    group->count = count;
    struct kv_view view = kv_batch_view(s->batch);
    namespace_begin(s->ns, &view);
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = apply_one(s, &entries[i], group, &group->entries[i], e);
    }
    if (r == 0) {
        r = namespace_end(s->ns);
    }
    if (r == 0) {
        r = namespace_totals(&view, &group->totals);
    }
    if (r < 0) {
        const struct err *storage = kv_batch_error(s->batch);
        r = storage->code < 0 ? err_set(e, r, "%s", err_message(storage)) : err_wrap(e, r, "apply");
    } else {
        r = kv_write(s->kv, s->batch, KV_UNSYNCED, e);
    }
    if (r < 0) {
        kv_batch_clear(s->batch);
        applied_group_free(group);
        return r;
    }
    *ret_outcome = group;
    return 0;
}

void applied_group_free(struct applied_group *group)
{
    if (!group) {
        return;
    }
    arena_deinit(&group->arena);
    free(group->entries);
    free(group);
}

/* Up to where a power failure now would leave the state: read back, never assumed. */
static int persisted_index(struct state *s, log_index *ret_index, struct err *e)
{
    struct buf value = BUF_INIT;
    struct log_position position = {0, 0};
    struct row_key key = row_key_table(ROW_APPLIED);
    int r = kv_get_persisted(s->kv, row_key_span(&key), &value, e);
    if (r == ERR_NOT_FOUND) {
        r = 0;
    } else if (r == 0) {
        r = applied_decode((struct span){value.data, value.length}, &position);
        r = r < 0 ? err_set(e, r, "the applied index on disk is damaged") : 0;
    }
    buf_deinit(&value);
    *ret_index = position.index;
    return r;
}

int state_persist(void *ctx, log_index *ret_index, struct err *e)
{
    struct state *s = ctx;
    int r = kv_flush(s->kv, e);
    return r < 0 ? r : persisted_index(s, ret_index, e);
}

/* ---- Reads ---------------------------------------------------------------------------------- */

void state_read_begin(struct state *s, struct state_read *read)
{
    read->snapshot = kv_snapshot_new(s->kv);
    read->view = kv_snapshot_view(read->snapshot);
}

void state_read_end(struct state_read *read)
{
    kv_snapshot_free(read->snapshot);
    read->snapshot = NULL;
}

const struct err *state_read_error(const struct state_read *read)
{
    return kv_snapshot_error(read->snapshot);
}
