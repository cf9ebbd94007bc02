/* All commands, each defined beside its code (cmd_*.c); commands.c makes the table of them. */
#ifndef CLIENT_CLI_PAGES_H
#define CLIENT_CLI_PAGES_H

#include "client/cli/cli.h"

extern const struct cli_command cli_setfattr_page;
extern const struct cli_command cli_getfattr_page;
extern const struct cli_command cli_ls_page;
extern const struct cli_command cli_find_page;
extern const struct cli_command cli_put_page;
extern const struct cli_command cli_get_page;
extern const struct cli_command cli_getmerge_page;
extern const struct cli_command cli_append_page;
extern const struct cli_command cli_cat_page;
extern const struct cli_command cli_text_page;
extern const struct cli_command cli_head_page;
extern const struct cli_command cli_tail_page;
extern const struct cli_command cli_mkdir_page;
extern const struct cli_command cli_cp_page;
extern const struct cli_command cli_mv_page;
extern const struct cli_command cli_rename_page;
extern const struct cli_command cli_rm_page;
extern const struct cli_command cli_rmdir_page;
extern const struct cli_command cli_expunge_page;
extern const struct cli_command cli_undelete_page;
extern const struct cli_command cli_touch_page;
extern const struct cli_command cli_touchz_page;
extern const struct cli_command cli_truncate_page;
extern const struct cli_command cli_test_page;
extern const struct cli_command cli_checksum_page;
extern const struct cli_command cli_stat_page;
extern const struct cli_command cli_loc_page;
extern const struct cli_command cli_du_page;
extern const struct cli_command cli_count_page;
extern const struct cli_command cli_df_page;
extern const struct cli_command cli_chmod_page;
extern const struct cli_command cli_chown_page;
extern const struct cli_command cli_chgrp_page;
extern const struct cli_command cli_setrep_page;
extern const struct cli_command cli_report_page;
extern const struct cli_command cli_fsck_page;
extern const struct cli_command cli_why_page;
extern const struct cli_command cli_admin_page;

#endif
