/* Random log entries from a string of bytes, for fuzzing and seeded tests of the namespace. The
 * entries live in a small world (few names, users, sessions) and learn from results, so that most
 * writers' operations find a file that they may write. */
#ifndef TESTS_LIB_NAMESPACE_RANDOM_H
#define TESTS_LIB_NAMESPACE_RANDOM_H

#include "common/arena.h"
#include "fsmaster/namespace.h"

enum { RANDOM_FILE_COUNT = 8 };

struct random_entries {
    struct cursor bytes; /* what is left of the input; entries end with it */
    struct arena *arena; /* paths and operations */
    uint64_t made;       /* entries so far */
    time_ms cluster_ms;
    uint64_t seq[4]; /* of each session */
    uint64_t acked[4];
    struct {
        inode_id inode;
        uint64_t epoch;
        struct chunk_ref chunk;
        uint64_t end;
    } files[RANDOM_FILE_COUNT]; /* opened last, in a ring */
    uint32_t file_at;
};

void random_entries_init(struct random_entries *r, struct span bytes, struct arena *arena);

/* The next entry; false at the end of the bytes. The first ones format and register servers. */
bool random_entries_next(struct random_entries *r, struct command_entry *ret);

/* What applying the last entry gave. */
void random_entries_learn(struct random_entries *r, const struct command_entry *entry,
                          const struct apply_result *result);

/* Applies the bytes' entries to two copies: one entry by entry, the other in random batches and
 * moved by a snapshot on the way. CHECKs that their states and results are equal, that an operation
 * that fails changes nothing, and that all invariants hold. Returns the number of operations that
 * succeeded. */
uint64_t random_two_copies(struct span bytes);

#endif
