/* One entry of the replicated log, as Raft decides about it and as the log store keeps it. A plain
 * value; whoever made it owns what data points to. */
#ifndef COMMON_RAFT_LOG_ENTRY_H
#define COMMON_RAFT_LOG_ENTRY_H

#include <stdint.h>

#include "common/buf.h" /* struct span */
#include "common/ids.h"

/* What Raft itself must know of an entry; stands in the log and on the wire, never renumbered. */
enum log_entry_type {
    LOG_ENTRY_EMPTY = 1,   /* the first entry of a leader's term (dissertation 6.4); no data */
    LOG_ENTRY_COMMAND = 2, /* the machine's; bytes that Raft never looks at */
    LOG_ENTRY_CONFIG = 3,  /* a configuration: raft_config_encode() */
};

struct log_entry {
    log_index index;
    term_no term;
    uint8_t type; /* enum log_entry_type */
    struct span data;
};

#endif
