/* See rescue.h.
 *
 * A survivor changes in one atomic step: one batch of its log (consensus_raft_alone.c).
 *
 * A restore builds the directory in steps, so the file RESTORING stands in it from before the first
 * one until after the last is durable. A server refuses such a directory; another restore begins
 * anew in it. A restore that fails leaves the directory empty. */
#include "fsmaster/rescue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/snapshot_stream.h"
#include "common/sys.h"
#include "fsmaster/command_rpc.h"
#include "fsmaster/consensus.h"
#include "fsmaster/state.h"

#define MARKER_NAME "RESTORING"

enum { READ_BYTES = 1024 * 1024 };

/* One rescue in progress. */
struct work {
    const struct rescue_options *options;
    struct rescue_report *report;
    struct datadir datadir;
    struct state *state;
    struct consensus_position position;
};

static bool has_text(const char *text)
{
    return text && text[0];
}

/* ---- Both ways ------------------------------------------------------------------------------- */

static int check_cluster(const struct rescue_options *o, struct cluster_id found, struct err *e)
{
    struct cluster_id wanted;
    char text[CLUSTER_ID_TEXT_BYTES];
    if (!has_text(o->cluster_id)) {
        return 0;
    }
    int r = cluster_id_parse(o->cluster_id, &wanted, e);
    if (r < 0) {
        return err_wrap(e, r, "--cluster-id");
    }
    return cluster_id_equal(wanted, found)
               ? 0
               : err_set(e, ERR_WRONG_CLUSTER, "it is of cluster %s, not %s",
                         cluster_id_format(found, text), o->cluster_id);
}

static int read_state(struct work *w, struct err *e)
{
    struct rescue_report *report = w->report;
    int r = state_position(w->state, &w->position, e);
    r = r < 0 ? r : state_totals(w->state, &report->totals, e);
    if (r < 0) {
        return r;
    }
    report->applied = w->position.index;
    if (report->totals.cluster_id[0]) {
        r = cluster_id_parse(report->totals.cluster_id, &report->cluster, e);
    } else if (has_text(w->options->backup)) {
        r = err_set(e, ERR_INVALID, "there is no namespace in it");
    } else { /* all of it is in the log still */
        report->cluster = w->datadir.ident.cluster;
    }
    return r < 0 ? r : check_cluster(w->options, report->cluster, e);
}

static int era_command(uint64_t floor, time_ms wall_ms, struct buf *out, struct err *e)
{
    struct command_entry entry = {.kind = ENTRY_BEGIN_ERA, .wall_ms = wall_ms, .era_floor = floor};
    struct arena arena = ARENA_INIT;
    int r = command_encode(&entry, &arena, out, e);
    arena_deinit(&arena);
    return r;
}

/* Looks first, then changes the log if that is wanted. */
static int go_alone(struct work *w, bool begin_log, struct err *e)
{
    const struct rescue_options *o = w->options;
    struct consensus_alone_report found;
    struct buf command = BUF_INIT;
    char *path = xprintf("%s/log", o->data);
    time_ms now = clock_wall_ms();
    struct consensus_alone alone = {.directory = path,
                                    .position = w->position,
                                    .begin_log = begin_log,
                                    .segment_bytes = o->segment_bytes,
                                    .self = {.key = raft_key_of(w->datadir.ident.key),
                                             .directory = w->datadir.ident.key,
                                             .id = w->report->member}};
    if (has_text(o->advertise)) {
        memcpy(alone.self.address, o->advertise,
               strnlen(o->advertise, sizeof(alone.self.address) - 1));
    }
    int r = sys_mkdir_p(path, e);
    r = r < 0 ? r : consensus_alone(&alone, &found, e);
    if (r == 0) {
        w->report->last = (struct log_position){found.last, found.last_term};
        w->report->members = found.config.count;
        w->report->term = era_floor(MAX(found.seen_term, w->position.term), now);
        alone.term = w->report->term;
    }
    if (r == 0 && !o->accept_loss) {
        r = err_set(e, ERR_PRECONDITION, "nothing was changed");
    }
    r = r < 0 ? r : era_command(w->report->term, now, &command, e);
    alone.command = (struct span){command.data, command.length};
    r = r < 0 ? r : consensus_alone(&alone, &found, e);
    buf_deinit(&command);
    free(path);
    return r;
}

/* ---- A survivor ------------------------------------------------------------------------------ */

static int survive(struct work *w, struct err *e)
{
    const struct rescue_options *o = w->options;
    struct rescue_report *report = w->report;
    struct state_options state_options = {.data = o->data};
    char *path = xprintf("%s/IDENTITY", o->data);
    int r = access(path, F_OK) < 0 ? err_errno(e, "%s", path) : 0;
    free(path);
    r = r < 0 ? r : rescue_check(o->data, e);
    r = r < 0 ? r : datadir_open(&w->datadir, o->data, "fsmaster", e);
    if (r < 0) {
        return r;
    }
    const struct ident *ident = &w->datadir.ident;
    if (!cluster_id_known(ident->cluster)) {
        return err_set(e, ERR_INVALID, "%s is of no cluster: there is nothing to recover", o->data);
    }
    if (o->id && o->id != ident->member) {
        return err_set(e, ERR_WRONG_CLUSTER, "%s is of member %" PRIu64 ", not %" PRIu64, o->data,
                       ident->member, o->id);
    }
    report->member = ident->member;
    r = state_open(&state_options, &w->state, e);
    r = r < 0 ? r : read_state(w, e);
    if (r == 0 && !cluster_id_equal(report->cluster, ident->cluster)) {
        r = err_set(e, ERR_WRONG_CLUSTER, "state and IDENTITY are of different clusters");
    }
    return r < 0 ? r : go_alone(w, false, e);
}

/* ---- A backup -------------------------------------------------------------------------------- */

/* Until visit gives an error. */
static int for_each_entry(const char *directory, int (*visit)(void *, const char *, struct err *),
                          void *arg, struct err *e)
{
    DIR *stream = opendir(directory);
    int r = 0;
    const struct dirent *entry = NULL;
    if (!stream) {
        return err_errno(e, "open %s", directory);
    }
    while (r == 0 && (entry = readdir(stream)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "lost+found") != 0) {
            r = visit(arg, name, e);
        }
    }
    (void)closedir(stream);
    return r;
}

static int refuse_entry(void *arg, const char *name, struct err *e)
{
    return err_set(e, ERR_EXISTS,
                   "%s is not empty (%s): a backup is restored into an empty directory",
                   (const char *)arg, name);
}

static int remove_entry(void *arg, const char *name, struct err *e)
{
    char *path = xprintf("%s/%s", (const char *)arg, name);
    int r = strcmp(name, MARKER_NAME) == 0 ? 0 : sys_remove_tree(path, e);
    free(path);
    return r;
}

static int remove_marker(const char *data, struct err *e)
{
    char *path = xprintf("%s/" MARKER_NAME, data);
    int r = unlink(path) < 0 && errno != ENOENT ? err_errno(e, "remove %s", path) : 0;
    free(path);
    return r < 0 ? r : sys_fsync_dir(data, e);
}

static bool is_marked(const char *data)
{
    char *path = xprintf("%s/" MARKER_NAME, data);
    bool marked = access(path, F_OK) == 0;
    free(path);
    return marked;
}

int rescue_check(const char *data, struct err *e)
{
    return is_marked(data) ? err_set(e, ERR_CORRUPT,
                                     "a restore into %s was cut off: do it again (fsmaster "
                                     "--restore)",
                                     data)
                           : 0;
}

static int unpack(const char *file, const char *directory, struct err *e)
{
    struct snapshot_sink *sink = NULL;
    struct buf piece = BUF_INIT;
    int fd = sys_open(file, O_RDONLY, 0, e);
    int r = fd < 0 ? fd : snapshot_sink_open(directory, &sink, e);
    buf_reserve(&piece, READ_BYTES);
    for (ssize_t n = 1; r == 0 && n > 0;) {
        n = read(fd, piece.data, READ_BYTES);
        if (n < 0 && errno != EINTR) {
            r = err_errno(e, "read");
        } else if (n < 0) {
            n = 1;
        } else if (n > 0) {
            r = snapshot_sink_write(sink, (struct span){piece.data, (size_t)n}, e);
        }
    }
    r = r < 0 ? r : snapshot_sink_finish(sink, e);
    snapshot_sink_close(sink);
    buf_deinit(&piece);
    sys_close(&fd);
    return r;
}

/* The unpacked copy becomes the state. */
static int take_state(struct work *w, const char *incoming, struct err *e)
{
    struct state_options state_options = {.data = w->options->data};
    struct consensus_position position;
    int r = state_inspect(NULL, incoming, &position, e);
    r = r < 0 ? r : state_open(&state_options, &w->state, e);
    r = r < 0 ? r : state_install(w->state, incoming, position.index, e);
    return r < 0 ? r : read_state(w, e);
}

static int build(struct work *w, struct err *e)
{
    const struct rescue_options *o = w->options;
    char *incoming = xprintf("%s/incoming", o->data);
    w->report->member = o->id ? o->id : 1;
    int r = unpack(o->backup, incoming, e);
    r = r < 0 ? err_wrap(e, r, "backup %s", o->backup) : take_state(w, incoming, e);
    r = r < 0 ? r : datadir_adopt(&w->datadir, w->report->cluster, w->report->member, e);
    r = r < 0 ? r : go_alone(w, true, e);
    free(incoming);
    return r;
}

static int restore(struct work *w, struct err *e)
{
    const struct rescue_options *o = w->options;
    char *marker = xprintf("%s/" MARKER_NAME, o->data);
    int r = access(o->backup, R_OK) < 0 ? err_errno(e, "backup %s", o->backup) : 0;
    if (r == 0 && !o->accept_loss) {
        r = err_set(e, ERR_PRECONDITION, "nothing was changed");
    }
    r = r < 0 ? r : sys_mkdir_p(o->data, e);
    if (r == 0 && is_marked(o->data)) { /* the marker goes last: then the directory is empty */
        r = for_each_entry(o->data, remove_entry, (void *)o->data, e);
        r = r < 0 ? r : remove_marker(o->data, e);
    }
    r = r < 0 ? r : for_each_entry(o->data, refuse_entry, (void *)o->data, e);
    if (r == 0) {
        r = datadir_open(&w->datadir, o->data, "fsmaster", e);
        r = r < 0 ? r : sys_write_file_atomic(marker, "", 0, e);
        r = r < 0 ? r : build(w, e);
        if (r < 0) {
            (void)for_each_entry(o->data, remove_entry, (void *)o->data, NULL);
        }
        int removed = remove_marker(o->data, r < 0 ? NULL : e);
        r = r < 0 ? r : removed;
    }
    free(marker);
    return r;
}

int rescue(const struct rescue_options *options, struct rescue_report *ret, struct err *e)
{
    struct work w = {.options = options, .report = ret, .datadir = {.lock_fd = -1}};
    *ret = (struct rescue_report){.member = 0};
    int r = has_text(options->backup) ? restore(&w, e) : survive(&w, e);
    state_close(w.state);
    datadir_close(&w.datadir);
    return r;
}
