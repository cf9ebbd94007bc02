/* Snapshots, sent and received. */
#include <stdlib.h>

#include "common/alloc.h"
#include "fsmaster/consensus_raft_internal.h"

struct snapshots {
    int nothing;
};

void snapshots_init(struct consensus *c)
{
    c->snapshots = xcalloc(1, sizeof(*c->snapshots));
}

void snapshots_free(struct consensus *c)
{
    free(c->snapshots);
}

bool snapshots_idle(const struct consensus *c)
{
    (void)c;
    return true;
}

void snapshots_update(struct consensus *c, const struct raft_update *u)
{
    (void)c;
    (void)u;
}

void snapshots_send(struct consensus *c, const struct raft_message *message)
{
    (void)c;
    (void)message;
}

void snapshots_next(struct consensus *c)
{
    (void)c;
}
