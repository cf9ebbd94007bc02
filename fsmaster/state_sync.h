/* The batch between apply, which fills it group by group, and everybody who must see in the
 * database what was applied: the one place of the file master where two threads share memory under
 * a lock.
 *
 * While nobody asks, whole groups gather in the batch, so that rows which change with every entry
 * are written once for many. Whoever reads, persists or copies calls state_sync_write() first,
 * which costs nothing when all is written. For a while after that each group is written as it ends:
 * then nobody waits for a group that is being applied. A group is written whole or not at all. */
#ifndef FSMASTER_STATE_SYNC_H
#define FSMASTER_STATE_SYNC_H

#include "common/err.h"
#include "common/kv.h"

struct state_sync;

struct state_sync *state_sync_new(struct kv *kv);
void state_sync_free(struct state_sync *s); /* accepts NULL; groups not written are forgotten */

/* Apply thread, in this order for each group. After a failure of either, or after an end with
 * code < 0 (half a group stands in the batch), nothing is written any more, and all of these give
 * that error. ret_batch may be used until the end. */
int state_sync_begin(struct state_sync *s, struct kv_batch **ret_batch, struct err *e) MUST_CHECK;
int state_sync_end(struct state_sync *s, int code, struct err *e) MUST_CHECK;

/* Any thread, may block. On return 0 every group that had ended before the call is in the database.
 */
int state_sync_write(struct state_sync *s, struct err *e) MUST_CHECK;

#endif
