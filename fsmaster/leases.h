/* When writers' leases run out: the leader's memory of who has renewed what (DESIGN 4). Grant,
 * take-over and end are log entries and stand in the namespace; renewals do not, they only live
 * here, so a new leader treats each lease as just renewed. Pure; owner thread.
 *
 * A lease is HELD until nobody has renewed it for the soft time, or its holder's session is gone;
 * then lease_table_due() gives it out once and it is ENDING: renewals are refused from here on,
 * because a seal of its last chunk may be on its way. It leaves the table when its end is applied.
 */
#ifndef FSMASTER_LEASES_H
#define FSMASTER_LEASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ids.h"

struct lease_table;

/* soft_ms: a lease without renewal for so long is due. Never NULL. */
struct lease_table *lease_table_new(time_ms soft_ms);
void lease_table_free(struct lease_table *t); /* accepts NULL */

/* An applied grant (or one found at start): held from now on. Replaces an older epoch's entry.
 * copies: what the file wants, so that an allocation need not read it; 0: not known. */
void lease_table_grant(struct lease_table *t, inode_id inode, uint64_t epoch, uint32_t copies,
                       time_ms now);

/* An applied end. An entry of another epoch stays. */
void lease_table_end(struct lease_table *t, inode_id inode, uint64_t epoch);

/* False: there is no such lease, or it is ending: lost for good. */
bool lease_table_renew(struct lease_table *t, inode_id inode, uint64_t epoch, time_ms now);

/* Its session is gone: due at once. */
void lease_table_orphan(struct lease_table *t, inode_id inode, uint64_t epoch);

/* None of them may be renewed any more: all are due at once. */
void lease_table_orphan_all(struct lease_table *t);

struct lease_due {
    inode_id inode;
    uint64_t epoch;
};

/* The next lease that has run out, which is ENDING afterwards. False: none is due. */
bool lease_table_due(struct lease_table *t, time_ms now, struct lease_due *ret);

/* Ending it failed (no server answers, say): lease_table_due() gives it again after again_ms. */
void lease_table_retry(struct lease_table *t, inode_id inode, uint64_t epoch, time_ms now,
                       time_ms again_ms);

/* A new leader, or one that stood still for long: every lease is as if renewed now, also one that
 * was about to end, but for those that are orphaned. */
void lease_table_renew_all(struct lease_table *t, time_ms now);

/* Copies that the lease's file wants; 0 when not known. */
uint32_t lease_table_copies(const struct lease_table *t, inode_id inode);

size_t lease_table_count(const struct lease_table *t);

#endif
