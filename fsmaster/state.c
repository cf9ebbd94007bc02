/* See state.h. A group that cannot be applied (storage failed, unknown command) is dropped as a
 * whole, with the groups that are not written yet, and stops the member: consensus never calls
 * apply again, and the log has them all.
 *
 * DATA/CURRENT holds one line, the name of the directory that is the state; without it that is
 * "state". An installation renames a complete, durable directory to DATA/state-INDEX, switches
 * CURRENT atomically, and only then lets go of the old one. So after a crash CURRENT names the old
 * state or the new one, whole, and every other directory of these names is rubbish. */
#include "fsmaster/state.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/log.h"
#include "common/rng.h"
#include "common/sys.h"
#include "fsmaster/command_rpc.h"
#include "fsmaster/keys.h"
#include "fsmaster/state_sync.h"

enum { NAME_BYTES_MAX = 64 };

#define STATE_NAME   "state"
#define CURRENT_NAME "CURRENT"

struct state {
    char *data; /* directory */
    uint64_t cache_bytes;
    char name[NAME_BYTES_MAX]; /* of the sub-directory that is open */
    struct kv *kv;
    struct state_sync *sync;
    struct namespace *ns; /* apply thread */
    struct buf value;     /* apply thread */
};

/* ---- Which directory ------------------------------------------------------------------------- */

static char *path_in(const struct state *s, const char *name)
{
    return xprintf("%s/%s", s->data, name);
}

static bool is_state_name(const char *name)
{
    size_t length = strlen(STATE_NAME);
    return strncmp(name, STATE_NAME, length) == 0 && strlen(name) < NAME_BYTES_MAX &&
           (name[length] == '\0' || name[length] == '-') &&
           strspn(name + length, "-0123456789abcdef") == strlen(name + length);
}

static int read_current(struct state *s, struct err *e)
{
    struct buf text = BUF_INIT;
    char *path = path_in(s, CURRENT_NAME);
    int r = sys_read_file(path, NAME_BYTES_MAX, &text, e);
    if (r == ERR_NOT_FOUND) {
        memcpy(s->name, STATE_NAME, sizeof(STATE_NAME));
        r = 0;
    } else if (r == 0) {
        size_t length = strcspn(text.data, "\n");
        if (length + 1 != text.length || text.data[length] != '\n' || length >= NAME_BYTES_MAX) {
            r = err_set(e, ERR_CORRUPT, "%s is damaged", path);
        } else {
            memcpy(s->name, text.data, length);
            s->name[length] = '\0';
            r = is_state_name(s->name) ? 0 : err_set(e, ERR_CORRUPT, "%s is damaged", path);
        }
    }
    free(path);
    buf_deinit(&text);
    return r;
}

static int remove_others(const struct state *s, struct err *e)
{
    DIR *stream = opendir(s->data);
    if (!stream) {
        return err_errno(e, "open %s", s->data);
    }
    int r = 0;
    const struct dirent *entry = NULL;
    while (r == 0 && (entry = readdir(stream)) != NULL) {
        if (is_state_name(entry->d_name) && strcmp(entry->d_name, s->name) != 0) {
            char *path = path_in(s, entry->d_name);
            r = sys_remove_tree(path, e);
            free(path);
        }
    }
    (void)closedir(stream);
    return r;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static int open_current(struct state *s, struct err *e)
{
    struct kv_options kv_options = {.wal = false, .cache_bytes = s->cache_bytes};
    char *path = path_in(s, s->name);
    int r = kv_open(path, &kv_options, &s->kv, e);
    free(path);
    if (r == 0) {
        s->ns = namespace_new(rng_entropy_u64());
        s->sync = state_sync_new(s->kv);
    }
    return r;
}

static void close_current(struct state *s)
{
    namespace_free(s->ns);
    state_sync_free(s->sync);
    kv_close(s->kv);
    s->ns = NULL;
    s->sync = NULL;
    s->kv = NULL;
}

int state_open(const struct state_options *options, struct state **ret, struct err *e)
{
    struct state *s = xcalloc(1, sizeof(*s));
    s->data = xstrdup(options->data);
    s->cache_bytes = options->cache_bytes;
    buf_init(&s->value);
    int r = read_current(s, e);
    r = r < 0 ? r : remove_others(s, e);
    r = r < 0 ? r : open_current(s, e);
    if (r < 0) {
        state_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

void state_close(struct state *s)
{
    if (!s) {
        return;
    }
    struct err e = ERR_INIT;
    if (s->kv && state_sync_write(s->sync, &e) < 0) {
        log_warning("fsmaster", "state not written at the end, the log has it: %s",
                    err_message(&e));
    }
    close_current(s);
    buf_deinit(&s->value);
    free(s->data);
    free(s);
}

/* ---- Position -------------------------------------------------------------------------------- */

static int read_position(struct kv *kv, struct consensus_position *ret, struct err *e)
{
    struct buf value = BUF_INIT;
    struct log_position applied = {0, 0};
    struct span config = {NULL, 0};
    struct row_key key = row_key_table(ROW_APPLIED);
    *ret = (struct consensus_position){0};
    int r = kv_get(kv, NULL, row_key_span(&key), &value, e);
    if (r == 0) {
        r = applied_decode((struct span){value.data, value.length}, &applied);
        r = r < 0 ? err_set(e, r, "the applied index of the state is damaged") : 0;
    }
    ret->index = applied.index;
    ret->term = applied.term;
    key = row_key_table(ROW_MEMBERS);
    r = r == ERR_NOT_FOUND ? 0 : r;
    r = r < 0 ? r : kv_get(kv, NULL, row_key_span(&key), &value, e);
    if (r == 0) {
        r = members_decode((struct span){value.data, value.length}, &ret->config_index, &config);
        r = r < 0 ? err_set(e, r, "the configuration in the state is damaged")
                  : raft_config_decode(config, &ret->config, e);
    }
    buf_deinit(&value);
    return r == ERR_NOT_FOUND ? 0 : r;
}

int state_position(struct state *s, struct consensus_position *ret, struct err *e)
{
    return read_position(s->kv, ret, e);
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

static int apply_one(struct state *s, struct kv_batch *batch, const struct consensus_entry *entry,
                     struct applied_group *group, struct applied_entry *ret, struct err *e)
{
    *ret = (struct applied_entry){
        .at = {entry->index, entry->term}, .kind = ENTRY_NOOP, .proposal = entry->proposal};
    if (entry->type != LOG_ENTRY_COMMAND) {
        if (entry->type == LOG_ENTRY_CONFIG) {
            struct row_key key = row_key_table(ROW_MEMBERS);
            members_encode(entry->index, entry->bytes, &s->value);
            kv_batch_put(batch, row_key_span(&key), (struct span){s->value.data, s->value.length});
        }
        namespace_skip(s->ns, ret->at);
        return 0;
    }
    struct command_entry command;
    int r = command_decode(entry->bytes, &group->arena, &command, e);
    if (r == 0) {
        ret->kind = command.kind;
        r = namespace_apply(s->ns, &command, ret->at, &group->arena, &ret->result);
    }
    return r < 0 ? err_wrap(e, r, "entry %" PRIu64, entry->index) : 0;
}

static int apply_group(struct state *s, struct kv_batch *batch,
                       const struct consensus_entry *entries, struct applied_group *group,
                       struct err *e)
{
    struct kv_view view = kv_batch_view(batch);
    namespace_begin(s->ns, &view);
    int r = 0;
    for (size_t i = 0; r == 0 && i < group->count; i++) {
        r = apply_one(s, batch, &entries[i], group, &group->entries[i], e);
    }
    if (r == 0) {
        r = namespace_end(s->ns);
    }
    if (r == 0) {
        r = namespace_totals(&view, &group->totals);
    }
    if (r < 0) {
        const struct err *storage = kv_batch_error(batch);
        r = storage->code < 0 ? err_set(e, r, "%s", err_message(storage)) : err_wrap(e, r, "apply");
    }
    return r;
}

int state_apply(void *ctx, const struct consensus_entry *entries, size_t count, void **ret_outcome,
                struct err *e)
{
    struct state *s = ctx;
    struct kv_batch *batch = NULL;
    int r = state_sync_begin(s->sync, &batch, e);
    if (r < 0) {
        return r;
    }
    struct applied_group *group = xcalloc(1, sizeof(*group));
    arena_init(&group->arena, 0);
    group->entries = xcalloc(count, sizeof(*group->entries));
    group->count = count;
    r = apply_group(s, batch, entries, group, e);
    r = state_sync_end(s->sync, r, e);
    if (r < 0) {
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
    int r = state_sync_write(s->sync, e);
    r = r < 0 ? r : kv_flush(s->kv, e);
    return r < 0 ? r : persisted_index(s, ret_index, e);
}

/* ---- Snapshots ------------------------------------------------------------------------------- */

int state_checkpoint(void *ctx, const char *directory, struct err *e)
{
    struct state *s = ctx;
    int r = state_sync_write(s->sync, e);
    return r < 0 ? r : kv_checkpoint(s->kv, directory, e);
}

int state_inspect(void *ctx, const char *directory, struct consensus_position *ret, struct err *e)
{
    struct kv_options options = {.wal = false, .must_exist = true, .cache_bytes = 1 << 20};
    struct kv *kv = NULL;
    (void)ctx;
    int r = kv_open(directory, &options, &kv, e);
    r = r < 0 ? r : read_position(kv, ret, e);
    kv_close(kv);
    return r;
}

int state_install(void *ctx, const char *directory, log_index index, struct err *e)
{
    struct state *s = ctx;
    char name[NAME_BYTES_MAX];
    char line[NAME_BYTES_MAX + 1];
    int r = 0;
    (void)snprintf(name, sizeof(name), STATE_NAME "-%016" PRIx64, index);
    if (strcmp(name, s->name) == 0) {
        return err_set(e, ERR_EXISTS, "the state is that of entry %" PRIu64 " already", index);
    }
    char *path = path_in(s, name);
    char *current = path_in(s, CURRENT_NAME);
    int length = snprintf(line, sizeof(line), "%s\n", name);
    if (rename(directory, path) < 0) {
        r = err_errno(e, "rename %s", directory);
    }
    r = r < 0 ? r : sys_fsync_dir(s->data, e);
    r = r < 0 ? r : sys_write_file_atomic(current, line, (size_t)length, e);
    free(path);
    free(current);
    if (r == 0) {
        close_current(s);
        memcpy(s->name, name, sizeof(name));
        r = open_current(s, e);
    }
    return r < 0 ? r : remove_others(s, e);
}

/* ---- Reads ---------------------------------------------------------------------------------- */

static int failed_get(void *ctx, struct span key, struct buf *ret_value)
{
    const struct state_read *read = ctx;
    (void)key;
    (void)ret_value;
    return read->error.code;
}

static int failed_scan(void *ctx, const struct kv_range *range, kv_visit_fn visit, void *arg)
{
    const struct state_read *read = ctx;
    (void)range;
    (void)visit;
    (void)arg;
    return read->error.code;
}

void state_read_begin(struct state *s, struct state_read *read)
{
    *read = (struct state_read){.error = ERR_INIT};
    if (state_sync_write(s->sync, &read->error) < 0) {
        read->view = (struct kv_view){.ctx = read, .get = failed_get, .scan = failed_scan};
        return;
    }
    read->snapshot = kv_snapshot_new(s->kv);
    read->view = kv_snapshot_view(read->snapshot);
}

void state_read_end(struct state_read *read)
{
    kv_snapshot_free(read->snapshot);
    read->snapshot = NULL;
}

int state_read_applied(const struct state_read *read, log_index *ret)
{
    struct buf value = BUF_INIT;
    struct log_position applied = {0, 0};
    struct row_key key = row_key_table(ROW_APPLIED);
    int r = read->view.get(read->view.ctx, row_key_span(&key), &value);
    if (r == 0) {
        r = applied_decode((struct span){value.data, value.length}, &applied);
    }
    buf_deinit(&value);
    if (r == 0 || r == ERR_NOT_FOUND) {
        *ret = applied.index;
        return 0;
    }
    return r;
}

const struct err *state_read_error(const struct state_read *read)
{
    return read->snapshot ? kv_snapshot_error(read->snapshot) : &read->error;
}
