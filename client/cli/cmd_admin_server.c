/* dfs admin decommission, maintenance, recommission: chunkservers out of service and back. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs_admin.h>

#include "client/cli/admin.h"
#include "client/cli/servers.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/parse.h"

enum { LOOK_MS = 200 }; /* --wait looks so often */

/* The servers that are meant, by id, host label or address; all of a host. */
struct chosen {
    uint64_t *ids;
    size_t count;
};

static bool is_named(const struct dfs_server_status *s, const char *name)
{
    uint64_t id = 0;
    return strcmp(name, s->host) == 0 || strcmp(name, s->address) == 0 ||
           (parse_u64(name, &id, NULL) == 0 && id == s->id);
}

static struct dfs_report *ask(struct cli *cli)
{
    struct dfs_err e = {0};
    struct dfs_report *report = NULL;
    if (dfs_report(cli->dfs, &report, &e) < 0) {
        cli_dfs_error(cli, NULL, &e);
        return NULL;
    }
    return report;
}

static bool choose(struct cli *cli, struct chosen *ret)
{
    const char *name = cli->arguments[1];
    struct dfs_report *report = ask(cli);
    for (size_t i = 0; report && i < report->server_count; i++) {
        if (is_named(&report->servers[i], name)) {
            ret->ids = xreallocarray(ret->ids, ret->count + 1, sizeof(*ret->ids));
            ret->ids[ret->count++] = report->servers[i].id;
        }
    }
    if (report && ret->count == 0) {
        cli_error(cli, name, "No such chunkserver; `dfs report' lists them");
    }
    dfs_report_free(report);
    return ret->count > 0;
}

static bool is_chosen(const struct chosen *chosen, const struct dfs_server_status *s)
{
    for (size_t i = 0; i < chosen->count; i++) {
        if (chosen->ids[i] == s->id) {
            return true;
        }
    }
    return false;
}

static bool change(struct cli *cli, const struct chosen *chosen, enum dfs_admin_state state)
{
    struct dfs_err e = {0};
    uint64_t for_ms = state == DFS_IN_MAINTENANCE ? (uint64_t)cli->options.for_ms : 0;
    for (size_t i = 0; i < chosen->count; i++) {
        if (dfs_admin_server(cli->dfs, chosen->ids[i], state, for_ms, &e) < 0) {
            cli_dfs_error(cli, cli->arguments[1], &e);
            return false;
        }
    }
    return true;
}

/* With --wait: until all that were chosen can be stopped. NULL: it said why not. */
static struct dfs_report *wait_for(struct cli *cli, const struct chosen *chosen)
{
    char *said = xstrdup("");
    for (;;) {
        struct dfs_report *report = ask(cli);
        const struct dfs_server_status *waits = NULL;
        for (size_t i = 0; report && i < report->server_count && !waits; i++) {
            const struct dfs_server_status *s = &report->servers[i];
            waits =
                is_chosen(chosen, s) && s->admin != DFS_IN_SERVICE && !s->leaving.done ? s : NULL;
        }
        if (!report || !waits || !cli->options.wait || cli_interrupted()) {
            free(said);
            cli->status = waits && cli->options.wait ? CLI_INTERRUPTED : cli->status;
            return report;
        }
        char *text = server_leaving_text(waits);
        if (strcmp(text, said) != 0 && !cli->options.quiet) {
            (void)fprintf(stderr, "chunkserver %" PRIu64 " (%s): %s\n", waits->id, waits->host,
                          text);
        }
        free(said);
        said = text;
        dfs_report_free(report);
        clock_sleep_ms(LOOK_MS);
    }
}

static void show(const struct cli *cli, const struct chosen *chosen,
                 const struct dfs_report *report)
{
    json_t *json = cli->options.json ? json_array() : NULL;
    for (size_t i = 0; i < report->server_count; i++) {
        const struct dfs_server_status *s = &report->servers[i];
        if (!is_chosen(chosen, s)) {
            continue;
        }
        if (json) {
            json_t *o = json_pack("{s:I, s:s, s:s}", "server", (json_int_t)s->id, "host", s->host,
                                  "address", s->address);
            server_state_json(s, o);
            (void)json_array_append_new(json, o);
            continue;
        }
        char *text = s->admin == DFS_IN_SERVICE ? xstrdup("in service") : server_leaving_text(s);
        (void)printf("chunkserver %" PRIu64 " (%s, %s): %s\n", s->id, s->host, s->address, text);
        free(text);
    }
    if (json) {
        cli_print_json(json);
    }
}

static int run(struct cli *cli, enum dfs_admin_state state)
{
    struct chosen chosen = {NULL, 0};
    cli_catch_signals();
    if (choose(cli, &chosen) && change(cli, &chosen, state)) {
        struct dfs_report *report = wait_for(cli, &chosen);
        if (report) {
            show(cli, &chosen, report);
        }
        dfs_report_free(report);
    }
    free(chosen.ids);
    return cli->status;
}

int admin_decommission(struct cli *cli)
{
    return run(cli, DFS_DECOMMISSIONED);
}

int admin_maintenance(struct cli *cli)
{
    return run(cli, DFS_IN_MAINTENANCE);
}

int admin_recommission(struct cli *cli)
{
    return run(cli, DFS_IN_SERVICE);
}
