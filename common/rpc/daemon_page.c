/* See daemon_page.h. */
#include "common/rpc/daemon_page.h"

#include "common/log.h"

static void varz(void *context, struct buf *json)
{
    const struct daemon_page *p = context;
    buf_printf(json, "\"role\": \"%s\", \"address\": ", p->role);
    buf_append_json(json, p->address);
    buf_append_str(json, ", \"options\": ");
    config_json(p->config, p->program, p->options, json);
}

static void collect(void *context)
{
    struct daemon_page *p = context;
    rpc_metrics_update(&p->rpc, p->server);
}

int daemon_page_start(struct daemon_page *p, struct metrics *m, const char *http, struct err *e)
{
    if (!http || !http[0]) {
        return 0;
    }
    struct metrics_page page = {.varz = varz, .collect = collect, .context = p};
    rpc_metrics_init(&p->rpc, m);
    int r = metrics_serve(m, http, &page, &p->http, e);
    if (r == 0) {
        log_info(p->role, "metrics port=%d", http_server_port(p->http));
    }
    return r;
}

void daemon_page_stop(struct daemon_page *p)
{
    http_server_stop(p->http);
    p->http = NULL;
}
