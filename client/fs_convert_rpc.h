/* What the two halves of the file master's client share: methods, and conversions that both need.
 */
#ifndef CLIENT_FS_CONVERT_RPC_H
#define CLIENT_FS_CONVERT_RPC_H

#include "proto/fs.pb-c.h"

#include "client/fs_types.h"
#include "common/arena.h"
#include "common/err.h"
#include "common/rpc/rpc.h"

extern const struct rpc_method fs_method_mutate, fs_method_stat, fs_method_list, fs_method_locate,
    fs_method_renew_leases, fs_method_recover_chunk, fs_method_report, fs_method_explain,
    fs_method_get_xattrs, fs_method_admin_server, fs_method_balance;

/* ERR_CORRUPT: "the file master's answer to WHAT is malformed". */
int fs_malformed(struct err *e, const char *what);

/* Strings are copied into the arena. */
void fs_server_from_wire(const Trireme__V1__Server *from, struct arena *arena,
                         struct fs_server *to);

#endif
