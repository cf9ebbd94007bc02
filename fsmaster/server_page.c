/* What the server shows at its HTTP port: whether it is well and its place among the members, as
 * the owner sees them. */
#include <inttypes.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/rpc/daemon_page.h"
#include "fsmaster/server_internal.h"

/* It is well while it leads or knows who does, and has a state to serve: requests then find their
 * way, whichever member they come to. */
static void say_trouble(const struct server *s, struct buf *out)
{
    if (s->stopping) {
        buf_append_str(out, "fsmaster stops");
    } else if (gauge_value(s->metrics.led) != 1 && s->totals.cluster_id[0] == '\0') {
        buf_append_str(out, "no leader: it is of no cluster yet, and waits for other file masters");
    } else if (gauge_value(s->metrics.led) != 1) {
        buf_printf(out,
                   "no leader: this file master knows of none in term %" PRIu64
                   "; a majority of those that vote must be up and reach each other",
                   s->status.term);
    }
}

/* How far it is behind only a leader knows, and each of itself. */
static void say_member(const struct consensus_group *g, const struct consensus_member *m,
                       struct buf *out)
{
    bool heard = m->known && !m->is_self && m->peer.heard_ms > 0;
    buf_printf(out, "{\"id\": %" PRIu64 ", \"address\": ", m->member.id);
    buf_append_json(out, m->address);
    buf_printf(out, ", \"voter\": %s, \"leads\": %s", json_bool(m->member.voter),
               json_bool(m->is_leader));
    if (m->known) {
        buf_printf(out, ", \"lag\": %" PRIu64, g->raft.last - MIN(m->peer.match, g->raft.last));
    }
    if (heard) {
        buf_printf(out, ", \"heard_age_ms\": %" PRIu64, g->now_ms - m->peer.heard_ms);
    }
    buf_append_byte(out, '}');
}

static void say_state(const struct server *s, struct buf *out)
{
    struct consensus_group g;
    consensus_group(s->consensus, &g);
    buf_printf(out, "\"member\": %" PRIu64 ", \"cluster\": ", s->member);
    buf_append_json(out, s->totals.cluster_id);
    buf_printf(out,
               ", \"role\": \"%s\", \"term\": %" PRIu64 ", \"leader\": ", raft_role_name(g.role),
               g.raft.term);
    buf_append_json(out, s->status.leader);
    buf_printf(out,
               ", \"applied\": %" PRIu64 ", \"commit\": %" PRIu64 ", \"last\": %" PRIu64
               ", \"members\": [",
               s->status.applied, g.raft.commit, g.raft.last);
    for (size_t i = 0; i < g.member_count; i++) {
        buf_append_str(out, i > 0 ? ", " : "");
        say_member(&g, &g.members[i], out);
    }
    buf_printf(out,
               "], \"chunkservers\": %zu, \"chunkservers_live\": %" PRId64
               ", \"all_reported\": %s, \"keeps_orphans\": %s",
               chunkservers_count(s->servers), gauge_value(s->metrics.servers_live),
               json_bool(care_all_heard(s)), json_bool(s->totals.era.keeps_orphans));
}

void server_page_report(struct server *s)
{
    struct buf trouble = BUF_INIT;
    struct buf state = BUF_INIT;
    if (s->consensus == NULL) {
        return; /* it is starting, and says all this when that is done */
    }
    say_trouble(s, &trouble);
    say_state(s, &state);
    metrics_take_report(s->metrics.registry, &trouble, &state, s->stopping);
    s->reported_ms = clock_mono_ms();
}

void server_page_tick(struct server *s, time_ms now)
{
    if (now >= s->reported_ms + OWNER_REPORT_MS) {
        server_page_report(s);
    }
}

int server_page_start(struct server *s, struct err *e)
{
    s->page->address = s->address;
    s->page->server = s->rpc;
    server_page_report(s);
    return daemon_page_start(s->page, s->metrics.registry, s->options.http, e);
}
