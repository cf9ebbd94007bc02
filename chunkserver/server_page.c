/* What the server shows at its HTTP port: the owner gathers facts once a second and has them worded
 * (health.h), so that the HTTP thread never looks at the owner's state. See server.h. */
#include <stdlib.h>

#include "chunkserver/health.h"
#include "chunkserver/report.h"
#include "chunkserver/server.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/metrics.h"
#include "common/rpc/daemon_page.h"

void server_page_report(struct server *s)
{
    if (s->page->http == NULL) {
        return; /* nobody can look */
    }
    struct buf trouble = BUF_INIT;
    struct buf state = BUF_INIT;
    struct health_disk disks[DISK_COUNT_MAX];
    struct health_master *masters = NULL;
    for (size_t i = 0; i < s->disks.count; i++) {
        server_disk_health(s, &s->disks.list[i], &disks[i]);
    }
    struct health h = {
        .now_ms = clock_mono_ms(),
        .started_ms = s->started_ms,
        .server = s->disks.ident.member,
        .draining = s->draining,
        .chunk_count = s->chunks.count,
        .stream_count = s->stream_count,
        .master_count = report_masters(s->report, &masters),
        .disks = disks,
        .disk_count = s->disks.count,
    };
    h.masters = masters;
    health_trouble(&h, &trouble);
    health_state(&h, &state);
    metrics_take_report(s->metrics, &trouble, &state, s->draining);
    free(masters);
}

static void tick(void *arg)
{
    struct server *s = arg;
    server_page_report(s);
    rpc_timer_set(server_owner(s), &s->page_timer, clock_mono_ms() + OWNER_REPORT_MS, tick, s);
}

int server_page_start(struct server *s, struct err *e)
{
    s->page->address = s->advertised;
    s->page->server = s->rpc;
    metrics_report(s->metrics, &(struct metrics_report){.trouble = "chunkserver starts"});
    int r = daemon_page_start(s->page, s->metrics, s->options->http, e);
    if (r == 0 && s->page->http != NULL) {
        rpc_timer_set(server_owner(s), &s->page_timer, clock_mono_ms(), tick, s);
    }
    return r;
}

void server_page_stop(struct server *s)
{
    if (rpc_timer_is_set(&s->page_timer)) {
        rpc_timer_cancel(server_owner(s), &s->page_timer);
    }
    daemon_page_stop(s->page);
}
