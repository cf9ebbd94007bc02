/* See dfs_admin.h. */
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"
#include "client/raft_rpc.h"
#include "common/clock.h"
#include "common/macros.h"

enum { FIND_LEADER_MS = 3 * 1000 };

/* No leader: whoever answers. */
static int ask_anybody(struct call *c, struct dfs_group **ret, struct err *e)
{
    int r = ERR_UNAVAILABLE;
    for (size_t i = 0; r < 0 && i < c->dfs->master_count; i++) {
        r = raft_group_of(c, c->dfs->masters[i], ret, e);
    }
    return r;
}

static void ask_each(struct call *c, struct dfs_group *group)
{
    for (size_t i = 0; i < group->member_count; i++) {
        struct dfs_master_status *m = &group->members[i];
        struct dfs_group *own = NULL;
        if (raft_group_of(c, m->address, &own, NULL) < 0) {
            continue;
        }
        m->reachable = strcmp(own->key, m->key) == 0; /* else another directory is there now */
        if (m->reachable) {
            memcpy(m->role, own->role, sizeof(m->role));
            m->term = own->term;
            m->last = own->last;
            m->commit = own->commit;
            m->applied = own->applied;
        }
        dfs_group_free(own);
    }
}

int dfs_group(struct dfs *dfs, struct dfs_group **ret, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c;
    struct dfs_group *group = NULL;
    call_begin(&c, dfs);
    c.deadline = MIN(c.deadline, clock_mono_ms() + FIND_LEADER_MS);
    int r = raft_group_of_leader(&c, &group, &e);
    c.deadline = clock_mono_ms() + FIND_LEADER_MS; /* each member is given half a second of it */
    if (r < 0) {
        r = ask_anybody(&c, &group, &e);
    }
    if (r == 0) {
        ask_each(&c, group);
        *ret = group;
    }
    call_end(&c);
    return dfs_finish(ret_e, r, &e);
}

void dfs_group_free(struct dfs_group *group)
{
    if (group) {
        free(group->members);
        free(group);
    }
}

int dfs_group_change(struct dfs *dfs, enum dfs_group_change change, uint64_t id,
                     const char *address, uint64_t *ret_id, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c;
    struct raft_change_request request = {change, id, address ? address : ""};
    call_begin(&c, dfs);
    int r = raft_group_change(&c, &request, ret_id, &e);
    call_end(&c);
    return dfs_finish(ret_e, r, &e);
}

int dfs_group_transfer(struct dfs *dfs, uint64_t id, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c;
    call_begin(&c, dfs);
    int r = raft_group_transfer(&c, id, &e);
    call_end(&c);
    return dfs_finish(ret_e, r, &e);
}
