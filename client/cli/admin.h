/* dfs admin: what its files share. cmd_admin.c has the page and the group of file masters,
 * cmd_admin_state.c what concerns their state, cmd_admin_quota.c quotas, cmd_admin_server.c and
 * cmd_admin_balance.c chunkservers. */
#ifndef CLIENT_CLI_ADMIN_H
#define CLIENT_CLI_ADMIN_H

#include "client/cli/cli.h"

bool admin_backup_check(struct cli *cli); /* before the store is asked */
int admin_backup(struct cli *cli);
int admin_orphans(struct cli *cli);
int admin_release_orphans(struct cli *cli);
int admin_quota(struct cli *cli);
int admin_decommission(struct cli *cli);
int admin_maintenance(struct cli *cli);
int admin_recommission(struct cli *cli);
int admin_balance(struct cli *cli);

#endif
