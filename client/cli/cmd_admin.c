/* dfs admin: its page, and the group of file masters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs_admin.h>

#include "client/cli/admin.h"
#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "client/cli/table.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/parse.h"

enum { USAGE = 2 };

/* ---- status --------------------------------------------------------------------------------- */

static json_t *member_json(const struct dfs_master_status *m)
{
    json_t *json = json_pack("{s:I, s:s, s:s, s:s, s:b, s:b}", "id", (json_int_t)m->id, "key",
                             m->key, "address", m->address, "role", m->role, "voter", (int)m->voter,
                             "reachable", (int)m->reachable);
    json_t *own = m->reachable
                      ? json_pack("{s:I, s:I, s:I, s:I}", "term", (json_int_t)m->term, "last",
                                  (json_int_t)m->last, "commit", (json_int_t)m->commit, "applied",
                                  (json_int_t)m->applied)
                      : json_pack("{s:n, s:n, s:n, s:n}", "term", "last", "commit", "applied");
    json_t *seen = m->known ? json_pack("{s:I, s:I, s:s}", "match", (json_int_t)m->match, "lag",
                                        (json_int_t)m->lag, "state", m->state)
                            : json_pack("{s:n, s:n, s:n}", "match", "lag", "state");
    (void)json_object_update_new(json, own);
    (void)json_object_update_new(json, seen);
    (void)json_object_set_new(json, "heard_age_ms",
                              m->known && m->heard ? json_integer((json_int_t)m->heard_age_ms)
                                                   : json_null());
    return json;
}

static void group_json(const struct dfs_group *g)
{
    json_t *members = json_array();
    for (size_t i = 0; i < g->member_count; i++) {
        (void)json_array_append_new(members, member_json(&g->members[i]));
    }
    cli_print_json(json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
                             "cluster_id", g->cluster_id, "asked", (json_int_t)g->asked, "role",
                             g->role, "leader", (json_int_t)g->leader, "term", (json_int_t)g->term,
                             "commit", (json_int_t)g->commit, "applied", (json_int_t)g->applied,
                             "first", (json_int_t)g->first, "last", (json_int_t)g->last,
                             "config_index", (json_int_t)g->config_index, "members", members));
}

static void member_line(struct libscols_table *table, const struct cli *cli,
                        const struct dfs_master_status *m)
{
    char texts[7][FORMAT_TEXT_BYTES];
    const char *fields[] = {
        table_number(m->id, texts[0]),
        m->address,
        m->role,
        m->reachable ? table_number(m->term, texts[1]) : "-",
        m->reachable ? table_number(m->last, texts[2]) : "-",
        m->reachable ? table_number(m->commit, texts[3]) : "-",
        m->reachable ? table_number(m->applied, texts[4]) : "-",
        m->known ? table_number(m->lag, texts[5]) : "-",
        !m->known || !m->heard ? "-"
        : cli->out_tty         ? format_duration(m->heard_age_ms, texts[6])
                               : table_number(m->heard_age_ms, texts[6]),
        m->reachable ? "" : "not reached",
    };
    table_add(table, fields, ARRAY_COUNT(fields));
}

static void group_text(const struct cli *cli, const struct dfs_group *g)
{
    static const struct column columns[] = {
        {"ID", true},     {"ADDRESS", false}, {"ROLE", false}, {"TERM", true},  {"LAST", true},
        {"COMMIT", true}, {"APPLIED", true},  {"LAG", true},   {"HEARD", true}, {"", false}};
    if (g->member_count == 0) {
        (void)printf("This file master is of no cluster yet.\n");
        return;
    }
    if (g->leader == 0) {
        (void)printf("No leader; as member %llu sees it, in term %llu:\n",
                     (unsigned long long)g->asked, (unsigned long long)g->term);
    }
    struct libscols_table *table = table_new(cli, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < g->member_count; i++) {
        member_line(table, cli, &g->members[i]);
    }
    table_end(table);
}

static int status(struct cli *cli)
{
    struct dfs_err e = {0};
    struct dfs_group *group = NULL;
    if (dfs_group(cli->dfs, &group, &e) < 0) {
        cli_dfs_error(cli, NULL, &e);
        return cli->status;
    }
    if (cli->options.json) {
        group_json(group);
    } else {
        group_text(cli, group);
    }
    dfs_group_free(group);
    return cli->status;
}

/* ---- Changes -------------------------------------------------------------------------------- */

static bool take_id(struct cli *cli, const char *text, uint64_t *ret_id)
{
    struct err e = ERR_INIT;
    if (parse_u64(text, ret_id, &e) < 0) {
        cli_error(cli, text, "%s", err_message(&e));
        return false;
    }
    return true;
}

static int change(struct cli *cli, enum dfs_group_change kind, const char *done)
{
    struct dfs_err e = {0};
    const char *argument = cli->arguments[2];
    uint64_t id = 0;
    if (kind != DFS_GROUP_ADD && !take_id(cli, argument, &id)) {
        return cli->status;
    }
    if (dfs_group_change(cli->dfs, kind, id, kind == DFS_GROUP_ADD ? argument : NULL, &id, &e) <
        0) {
        cli_error(cli, argument, "%s", e.msg); /* of members, not of files as its code would say */
    } else if (cli->options.json) {
        cli_print_json(json_pack("{s:I}", "id", (json_int_t)id));
    } else {
        (void)printf("member %llu %s\n", (unsigned long long)id, done);
    }
    return cli->status;
}

static int add(struct cli *cli)
{
    return change(cli, DFS_GROUP_ADD, "added as a learner");
}

static int promote(struct cli *cli)
{
    return change(cli, DFS_GROUP_PROMOTE, "has a vote now");
}

static int remove_member(struct cli *cli)
{
    return change(cli, DFS_GROUP_REMOVE, "removed");
}

static int transfer(struct cli *cli)
{
    struct dfs_err e = {0};
    uint64_t id = 0;
    if (cli->argument_count > 2 && !take_id(cli, cli->arguments[2], &id)) {
        return cli->status;
    }
    if (dfs_group_transfer(cli->dfs, id, &e) < 0) {
        cli_error(cli, NULL, "%s", e.msg);
    }
    return cli->status;
}

/* ---- The verbs ------------------------------------------------------------------------------ */

static const struct verb {
    const char *group; /* first word, or NULL */
    const char *name;
    size_t least, most; /* arguments behind it */
    int (*run)(struct cli *cli);
    bool (*check)(struct cli *cli); /* as in struct cli_command */
} verbs[] = {
    {"raft", "status", 0, 0, status, NULL},
    {"raft", "add", 1, 1, add, NULL},
    {"raft", "promote", 1, 1, promote, NULL},
    {"raft", "remove", 1, 1, remove_member, NULL},
    {"raft", "transfer", 0, 1, transfer, NULL},
    {NULL, "backup", 1, 1, admin_backup, admin_backup_check},
    {NULL, "orphans", 0, 0, admin_orphans, NULL},
    {NULL, "release-orphans", 0, 0, admin_release_orphans, NULL},
    {NULL, "quota", 1, ARGUMENTS_MANY, admin_quota, NULL},
    {NULL, "decommission", 1, 1, admin_decommission, NULL},
    {NULL, "maintenance", 1, 1, admin_maintenance, NULL},
    {NULL, "recommission", 1, 1, admin_recommission, NULL},
    {NULL, "balance", 0, 0, admin_balance, NULL},
};

/* The words of a request, whatever follows them. */
static bool is_named(const struct cli *cli, const struct verb *verb)
{
    size_t words = verb->group ? 2 : 1;
    return cli->argument_count >= words &&
           strcmp(cli->arguments[0], verb->group ? verb->group : verb->name) == 0 &&
           (!verb->group || strcmp(cli->arguments[1], verb->name) == 0);
}

/* NULL: it said what is wrong. */
static const struct verb *find_verb(const struct cli *cli)
{
    for (size_t i = 0; i < ARRAY_COUNT(verbs); i++) {
        const struct verb *verb = &verbs[i];
        if (!is_named(cli, verb)) {
            continue;
        }
        size_t rest = cli->argument_count - (verb->group ? 2 : 1);
        if (rest >= verb->least && rest <= verb->most) {
            return verb;
        }
        (void)fprintf(stderr, "dfs admin: %s arguments for %s%s%s; `dfs help admin' shows them\n",
                      rest < verb->least ? "too few" : "too many", verb->group ? verb->group : "",
                      verb->group ? " " : "", verb->name);
        return NULL;
    }
    (void)fprintf(stderr, "dfs admin: no such request; `dfs help admin' shows what there is\n");
    return NULL;
}

static bool check_admin(struct cli *cli)
{
    const struct verb *verb = find_verb(cli);
    if (!verb) {
        cli->status = USAGE;
    }
    return verb && (!verb->check || verb->check(cli));
}

static int run_admin(struct cli *cli)
{
    const struct verb *verb = find_verb(cli);
    return verb ? verb->run(cli) : USAGE;
}

/* ---- Page ----------------------------------------------------------------------------------- */

static const struct config_row admin_rows[] = {
    {ONCE("from", CONFIG_STRING, from), .value_name = "HOST:PORT",
     .help = "backup: from this file master instead of the leader; it may be a little behind."},
    {ONCE("force", CONFIG_BOOL, force), .letter = 'f', .help = "backup: replace a file."},
    {ONCE("names", CONFIG_STRING, names_quota), .value_name = "N|none",
     .help = "quota: so many files and directories, the directory itself counted, may be there."},
    {ONCE("space", CONFIG_STRING, space_quota), .value_name = "SIZE|none",
     .help = "quota: so many bytes may be there, every copy counted."},
    {ONCE("for", CONFIG_DURATION, for_ms), .value_name = "TIME", .default_text = "1h", .min = 1,
     .max = MAINTENANCE_MS_MAX, .help = "maintenance: how long its copies count while it is away."},
    {ONCE("threshold", CONFIG_INT, threshold), .value_name = "PERCENT", .default_text = "10",
     .min = 1, .max = 100,
     .help = "balance: how far from the mean a disk may be, in percent of its size."},
    {ONCE("rate", CONFIG_SIZE, rate_bytes), .value_name = "BYTES", .default_text = "64M",
     .min = 1024, .max = INT64_MAX, .help = "balance: bytes moved per second, in all."},
    {ONCE("wait", CONFIG_BOOL, wait), .letter = 'w',
     .help = "decommission, maintenance: wait until it can be stopped."},
};

const struct cli_command cli_admin_page = {
    .name = "admin",
    .summary =
        "chunkservers out of service and back; quotas; the group of file masters and its state",
    ROWS(admin_rows),
    .check = check_admin,
    .run = run_admin,
    .arguments = "decommission|maintenance|recommission SERVER\n"
                 "       dfs admin [OPTION]... balance\n"
                 "       dfs admin [OPTION]... raft status|add HOST:PORT|promote ID|remove "
                 "ID|transfer [ID]\n"
                 "       dfs admin [OPTION]... backup FILE|DIR\n"
                 "       dfs admin [OPTION]... orphans|release-orphans\n"
                 "       dfs admin [--names N|none] [--space SIZE|none] quota DIR...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description =
        "decommission takes a chunkserver, named by id, host label or address, out of service for "
        "good: it gets no new chunks and its copies are made anew on others, while it is still "
        "read from. maintenance takes it out for a while: it gets no new chunks, and its copies "
        "count although it is away, so that nothing is copied, but for chunks of which no other "
        "server in service has any. When `dfs report' says so it can be stopped. recommission ends "
        "either; maintenance ends by itself, too. All of this stands in the log: no restart ends "
        "it.\n\n"
        "balance moves copies from full chunkservers to empty ones until none is further from the "
        "mean than the threshold, or the command is interrupted. A copy is made before the other "
        "one goes, and no chunk ends up on fewer racks or hosts.\n\n"
        "raft status shows each file master, how far its log is, and when the leader last heard of "
        "it. "
        "add makes the empty file master at an address a learner: it gets the log and has no "
        "vote. promote gives a learner that has caught up its vote. remove takes a member out. "
        "transfer hands leadership over. Changes are made one at a time and are answered when a "
        "majority has them; only the superuser may make them.\n\n"
        "backup copies the state of the file masters, names and chunks but not the chunks' bytes, "
        "into a file that appears when it is complete, checked and durable; in a directory it is "
        "named after the cluster and the entry of the log. `fsmaster --restore' makes a file "
        "master of it. orphans lists replicas that the file masters do not know, or know at a "
        "lower version. A state that was restored keeps them until release-orphans: look first "
        "whether something is among them that you miss.\n\n"
        "quota shows what is below directories and how much may be; with --names or --space it "
        "sets that, for the superuser. Whatever adds to a directory beyond its quota is refused, "
        "by whoever and however deep below it. A chunk that is being written counts as if it were "
        "full. Quotas below what is there already stop it from growing.",
    .footer = "Examples:\n  dfs admin decommission --wait host3\n"
              "  dfs admin maintenance --for 2h 10.0.0.3:7100\n"
              "  dfs admin balance --threshold 5 --rate 200M\n"
              "  dfs admin raft status\n"
              "  dfs admin raft status --json | jq '.members[] | select(.role == \"leader\")'\n"
              "  dfs admin raft remove 3 && dfs admin raft add c:7000 && dfs admin raft promote 3\n"
              "  dfs admin backup /backups\n"
              "  dfs admin --names 100000 --space 30t quota /user/ada",
};
