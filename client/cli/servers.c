/* See servers.h. */
#include "client/cli/servers.h"

#include <inttypes.h>

#include "common/buf.h"
#include "common/parse.h"

const char *server_state_name(const struct dfs_server_status *server)
{
    bool done = server->leaving.done;
    switch (server->admin) {
    case DFS_DECOMMISSIONED:
        return done ? "decommissioned" : "decommissioning";
    case DFS_IN_MAINTENANCE:
        return done ? "in-maintenance" : "entering-maintenance";
    case DFS_IN_SERVICE:
        break;
    }
    return "in-service";
}

static void add_needed(struct buf *text, const struct dfs_server_status *server)
{
    const struct dfs_leaving *l = &server->leaving;
    bool goes = server->admin == DFS_DECOMMISSIONED;
    buf_printf(text, "%" PRIu64 " of %" PRIu64 " chunks %s", l->needed, l->chunks,
               goes ? "have too few copies elsewhere"
                    : "have no copy on another live server in service");
    if (goes && l->last > 0) {
        buf_printf(text, ", %" PRIu64 " of them none", l->last);
    }
    if (goes && l->writing > 0) {
        buf_printf(text, ", %" PRIu64 " are being written", l->writing);
    }
}

char *server_leaving_text(const struct dfs_server_status *server)
{
    const struct dfs_leaving *l = &server->leaving;
    struct buf text = BUF_INIT;
    char left[FORMAT_TEXT_BYTES];
    buf_append_str(&text, server->admin == DFS_IN_MAINTENANCE ? "in maintenance"
                          : l->done                           ? "decommissioned"
                                                              : "being decommissioned");
    if (server->admin == DFS_IN_MAINTENANCE) {
        buf_printf(&text, " for %s more", format_duration(l->left_ms, left));
    }
    buf_append_str(&text, ": ");
    if (l->done) {
        buf_append_str(&text, "it can be stopped");
    } else if (l->counted) {
        add_needed(&text, server);
    } else {
        buf_append_str(&text, "its chunks are being counted");
    }
    if (l->waits_for[0]) {
        buf_printf(&text, "; waits for %s", l->waits_for);
    }
    return buf_detach(&text, NULL);
}

void server_state_json(const struct dfs_server_status *server, json_t *to)
{
    const struct dfs_leaving *l = &server->leaving;
    json_t *failed = json_array();
    for (size_t i = 0; i < server->failed_disk_count; i++) {
        (void)json_array_append_new(failed, json_string(server->failed_disks[i]));
    }
    (void)json_object_set_new(to, "failed_disks", failed);
    (void)json_object_set_new(to, "state", json_string(server_state_name(server)));
    if (server->admin == DFS_IN_SERVICE) {
        return;
    }
    (void)json_object_set_new(
        to, "leaving",
        json_pack("{s:b, s:b, s:I, s:I, s:I, s:I, s:s, s:s, s:I}", "done", (int)l->done, "counted",
                  (int)l->counted, "chunks", (json_int_t)l->chunks, "needed", (json_int_t)l->needed,
                  "last", (json_int_t)l->last, "writing", (json_int_t)l->writing, "reason",
                  l->reason, "waits_for", l->waits_for, "left_ms", (json_int_t)l->left_ms));
}
