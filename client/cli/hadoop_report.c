/* `hdfs dfsadmin -report`: the lines that Hadoop's users and their scripts know, as far as we know
 * what they say. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/cli/hadoop.h"
#include "common/clock.h"
#include "common/macros.h"

char *hadoop_size_text(uint64_t bytes, char text[32])
{
    static const char prefixes[] = "KMGTPE";
    double value = (double)bytes;
    int prefix = -1;
    while (value >= 1024 && prefix < 5) {
        value /= 1024;
        prefix++;
    }
    if (prefix < 0) {
        (void)snprintf(text, 32, "%" PRIu64 " B", bytes);
    } else {
        (void)snprintf(text, 32, "%.2f %cB", value, prefixes[prefix]);
    }
    return text;
}

static void print_size(const char *what, uint64_t bytes)
{
    char text[32];
    (void)printf("%s: %" PRIu64 " (%s)\n", what, bytes, hadoop_size_text(bytes, text));
}

static void print_percent(const char *what, uint64_t part, uint64_t whole)
{
    (void)printf("%s: %.2f%%\n", what, whole ? (double)part * 100 / (double)whole : 0.0);
}

void hadoop_date_text(uint64_t wall_ms, char text[64])
{
    struct tm broken;
    time_t seconds = (time_t)(wall_ms / 1000);
    if (!localtime_r(&seconds, &broken) ||
        strftime(text, 64, "%a %b %d %H:%M:%S %Z %Y", &broken) == 0) {
        (void)snprintf(text, 64, "?");
    }
}

static const char *admin_text(const struct dfs_server_status *s)
{
    bool done = s->leaving.done;
    switch (s->admin) {
    case DFS_DECOMMISSIONED:
        return done ? "Decommissioned" : "Decommission in progress";
    case DFS_IN_MAINTENANCE:
        return done ? "In Maintenance" : "Entering Maintenance";
    case DFS_IN_SERVICE:
        break;
    }
    return "Normal";
}

static void print_server(const struct dfs_server_status *s)
{
    char date[64];
    uint64_t other = s->capacity_bytes - MIN(s->capacity_bytes, s->used_bytes + s->free_bytes);
    (void)printf("Name: %s (%s)\nHostname: %s\n", s->address, s->host, s->host);
    if (strcmp(s->rack, "default") != 0) {
        (void)printf("Rack: /%s\n", s->rack + (s->rack[0] == '/'));
    }
    (void)printf("Decommission Status : %s\n", admin_text(s));
    print_size("Configured Capacity", s->capacity_bytes);
    print_size("DFS Used", s->used_bytes);
    print_size("Non DFS Used", other);
    print_size("DFS Remaining", s->free_bytes);
    print_percent("DFS Used%", s->used_bytes, s->capacity_bytes);
    print_percent("DFS Remaining%", s->free_bytes, s->capacity_bytes);
    hadoop_date_text(clock_wall_ms() - s->heartbeat_age_ms, date);
    (void)printf("Last contact: %s\nNum of Blocks: %" PRIu64 "\n\n\n", date, s->chunk_count);
}

static bool is_live(const struct dfs_server_status *s)
{
    return s->live;
}

static bool is_dead(const struct dfs_server_status *s)
{
    return !s->live;
}

static bool is_decommissioning(const struct dfs_server_status *s)
{
    return s->admin == DFS_DECOMMISSIONED && !s->leaving.done;
}

static bool is_entering_maintenance(const struct dfs_server_status *s)
{
    return s->admin == DFS_IN_MAINTENANCE && !s->leaving.done;
}

static bool is_in_maintenance(const struct dfs_server_status *s)
{
    return s->admin == DFS_IN_MAINTENANCE && s->leaving.done;
}

/* Each list but that of the live ones is left out when it is empty. */
static void print_servers(const struct dfs_report *r, const char *title,
                          bool (*belongs)(const struct dfs_server_status *))
{
    size_t count = 0;
    for (size_t i = 0; i < r->server_count; i++) {
        count += belongs(&r->servers[i]);
    }
    if (count == 0 && belongs != is_live) {
        return;
    }
    (void)printf("%s datanodes (%zu):\n\n", title, count);
    for (size_t i = 0; i < r->server_count; i++) {
        if (belongs(&r->servers[i])) {
            print_server(&r->servers[i]);
        }
    }
}

void hadoop_print_report(const struct dfs_report *r)
{
    uint64_t capacity = 0, used = 0, available = 0;
    for (size_t i = 0; i < r->server_count; i++) {
        const struct dfs_server_status *s = &r->servers[i];
        capacity += s->live ? s->capacity_bytes : 0;
        used += s->live ? s->used_bytes : 0;
        available += s->live ? s->free_bytes : 0;
    }
    print_size("Configured Capacity", capacity);
    print_size("Present Capacity", used + available);
    print_size("DFS Remaining", available);
    print_size("DFS Used", used);
    print_percent("DFS Used%", used, used + available);
    (void)printf("Replicated Blocks:\n\tUnder replicated blocks: %" PRIu64
                 "\n\tMissing blocks: %" PRIu64 "\n\tPending deletion blocks: %" PRIu64 "\n",
                 r->under_replicated, r->missing, r->replicas_deleting);
    (void)printf("\n-------------------------------------------------\n");
    print_servers(r, "Live", is_live);
    print_servers(r, "Dead", is_dead);
    print_servers(r, "Decommissioning", is_decommissioning);
    print_servers(r, "Entering maintenance", is_entering_maintenance);
    print_servers(r, "In maintenance", is_in_maintenance);
}
