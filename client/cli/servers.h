/* What report, why and admin say of a chunkserver that is out of service. */
#ifndef CLIENT_CLI_SERVERS_H
#define CLIENT_CLI_SERVERS_H

#include <jansson.h>

#include <trireme/dfs_cluster.h>

/* "in-service", "decommissioning", "decommissioned", "entering-maintenance", "in-maintenance"; of
 * the last four the second and the fourth can be stopped. Static memory. */
const char *server_state_name(const struct dfs_server_status *server);
/* One line without its end: how far it is and what it waits for. The caller frees it. */
char *server_leaving_text(const struct dfs_server_status *server);
/* Adds "state" and "failed_disks", and "leaving" unless it is in service. */
void server_state_json(const struct dfs_server_status *server, json_t *to);

#endif
