/* The members of a Raft cluster, and the bytes of a configuration entry (dissertation, chapter 4).
 * Pure values; any thread.
 *
 * A member is known by the random key of its data directory (DESIGN 5): a machine that lost its
 * disk comes back under a new key and is somebody else, so nobody counts a promise that it has
 * forgotten. */
#ifndef COMMON_RAFT_RAFT_CONFIG_H
#define COMMON_RAFT_RAFT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/limits.h"

enum { RAFT_MEMBER_COUNT_MAX = 9 }; /* 7 voters and 2 learners that are to take over */

/* The first 8 bytes of a member key, little-endian: what Raft compares and what a vote names. 0 is
 * nobody; a directory whose key begins with 8 zero bytes is never made. */
typedef uint64_t raft_key;

struct raft_member {
    raft_key key; /* of `directory`; unique in a configuration */
    struct member_key directory;
    uint64_t id; /* what people call it: --id; unique in a configuration */
    bool voter;  /* else a learner: gets the log, counts for nothing (4.2.1) */
    char address[LIMIT_ADDRESS_BYTES_MAX]; /* host:port, terminated; where its peers reach it */
};

/* members[] in ascending order of id. Changes one member at a time, so that any majority of one
 * configuration shares a member with any majority of the next (4.1). */
struct raft_config {
    size_t count;
    struct raft_member members[RAFT_MEMBER_COUNT_MAX];
};

raft_key raft_key_of(struct member_key directory);

/* NULL: not a member. */
const struct raft_member *raft_config_find(const struct raft_config *c, raft_key key);
const struct raft_member *raft_config_find_id(const struct raft_config *c, uint64_t id);
bool raft_config_is_voter(const struct raft_config *c, raft_key key);
size_t raft_config_voter_count(const struct raft_config *c);
size_t raft_config_quorum(const struct raft_config *c); /* voters / 2 + 1 */
bool raft_config_equal(const struct raft_config *a, const struct raft_config *b);

/* One change, in place. ERR_EXISTS: the id or key is a member already; ERR_NO_SPACE: the cluster is
 * full; ERR_INVALID: a zero id or key, or an empty address. */
int raft_config_add_learner(struct raft_config *c, const struct raft_member *m,
                            struct err *e) MUST_CHECK;
/* ERR_NOT_FOUND: no such member; ERR_EXISTS: it votes already. */
int raft_config_promote(struct raft_config *c, raft_key key, struct err *e) MUST_CHECK;
/* ERR_NOT_FOUND; ERR_INVALID: it is the last voter. */
int raft_config_remove(struct raft_config *c, raft_key key, struct err *e) MUST_CHECK;

/* Data of a LOG_ENTRY_CONFIG; docs/formats-log.md. Decoding takes any bytes: ERR_CORRUPT unless
 * what stands there is a configuration with at least one voter and every rule above kept. */
void raft_config_encode(const struct raft_config *c, struct buf *out);
int raft_config_decode(struct span data, struct raft_config *ret_config, struct err *e) MUST_CHECK;

#endif
