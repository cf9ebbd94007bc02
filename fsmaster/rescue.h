/* What an operator does when a quorum of file masters is gone for good: makes one data directory
 * lead alone again, out of a backup or of a survivor's directory. Offline: no file master runs on
 * the directory. One thread; blocks on the disk.
 *
 * Either way the state begins a new era (namespace.h, struct era): what the lost history may have
 * given out is never given out again, and no replica that the state does not know is deleted until
 * an operator says so. docs/operations.md, "Backup, restore, a lost quorum", is the manual. */
#ifndef FSMASTER_RESCUE_H
#define FSMASTER_RESCUE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/ident.h"
#include "fsmaster/namespace.h"

struct rescue_options {
    const char *data;       /* directory */
    const char *backup;     /* file; NULL or "": the directory is a survivor's */
    uint64_t id;            /* of the member; 0: of a survivor its own, else 1 */
    const char *advertise;  /* HOST:PORT; "": a survivor's own of before */
    const char *cluster_id; /* "" or NULL; otherwise it must be the backup's or survivor's */
    uint64_t segment_bytes; /* of the log; 0: the default */
    bool accept_loss;       /* false: says what there is and changes nothing */
};

struct rescue_report {
    struct cluster_id cluster;
    uint64_t member;
    struct log_position last;       /* what is kept: everything up to this entry */
    log_index applied;              /* of it in the state */
    uint64_t members;               /* of the configuration before */
    term_no term;                   /* of the new group */
    struct namespace_totals totals; /* as of `applied` */
};

/* ERR_NOT_FOUND: no such directory or backup; ERR_EXISTS: a backup is not restored into a directory
 * that is not empty; ERR_BUSY: in use; ERR_CORRUPT, ERR_VERSION, ERR_WRONG_CLUSTER;
 * ERR_PRECONDITION: accept_loss is missing, *ret is filled for a survivor. */
int rescue(const struct rescue_options *options, struct rescue_report *ret,
           struct err *e) MUST_CHECK;

/* ERR_CORRUPT: a restore into this directory was cut off. Before a server uses it. */
int rescue_check(const char *data, struct err *e) MUST_CHECK;

#endif
