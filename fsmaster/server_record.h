/* A chunkserver as the log knows it: what it said of itself when it registered, and what an
 * operator has said of it, its administrative state, which so outlives restarts of either side and
 * changes of leader (DESIGN 4, "Repair and care"). Pure data; any thread. The enum's numbers are on
 * disk and on the wire. */
#ifndef FSMASTER_SERVER_RECORD_H
#define FSMASTER_SERVER_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ids.h"

enum server_admin {
    SERVER_IN_SERVICE = 0,
    /* It is to go for good. It gets no new chunks and its copies do not count, so that they are
     * made anew elsewhere; they are read and copied from as long as it lives. */
    SERVER_DECOMMISSIONED = 1,
    /* It is to be away for a while. It gets no new chunks, and its copies count although it may be
     * down, until its deadline. A chunk has at least one copy on a live server in service. */
    SERVER_IN_MAINTENANCE = 2,
    SERVER_ADMIN_COUNT,
};

struct server_record {
    server_id id;
    struct member_key key;
    const char *host;
    const char *rack;
    const char *address;
    const char *local_socket;
    enum server_admin admin;
    time_ms until_ms; /* SERVER_IN_MAINTENANCE: cluster time; otherwise 0 */
};

/* The command: an operator has decided about a chunkserver. */
struct cmd_admin_server {
    server_id server;
    uint32_t state;   /* enum server_admin; ERR_INVALID for any other number */
    time_ms until_ms; /* SERVER_IN_MAINTENANCE: cluster time when it ends; otherwise 0 */
    bool over;        /* the leader says that a maintenance's time has come: state is
                         SERVER_IN_SERVICE, and nothing changes if it has not */
};

#endif
