/* A namespace over mem_kv for tests: formatted, with three chunkservers, one entry per batch.
 * Every entry is applied and then namespace_check() must hold. */
#ifndef TESTS_LIB_NAMESPACE_FIXTURE_H
#define TESTS_LIB_NAMESPACE_FIXTURE_H

#include "common/arena.h"
#include "fsmaster/namespace.h"
#include "tests/lib/mem_kv.h"

enum { FIXTURE_SERVER_COUNT = 4, FIXTURE_MIB = 1024 * 1024 };

struct fixture {
    struct mem_kv kv;
    struct kv_view view;
    struct namespace *ns;
    struct arena arena; /* all results, until the end */
    struct log_position at;
    time_ms cluster_ms;
    time_ms wall_ms;
    struct caller caller;       /* "ada" unless a test changes it */
    session_id session;         /* 1 unless a test changes it */
    uint64_t seq;               /* of the last operation; acked_below follows at once */
    struct apply_result result; /* of the last entry */
    bool unchecked;             /* do not walk after each entry */
};

void fixture_init(struct fixture *f);       /* formatted */
void fixture_init_empty(struct fixture *f); /* nothing applied yet */
void fixture_deinit(struct fixture *f);

/* Applies, ends the batch and checks. The entry's times and caller are filled in. */
const struct apply_result *fixture_apply(struct fixture *f, struct command_entry entry);
/* One operation as a request of its own, with a fresh seq. */
struct op_result fixture_run(struct fixture *f, struct operation op);

/* Shorthands: code, or the inode for those that make something. */
int64_t fixture_mkdir(struct fixture *f, const char *path);
int64_t fixture_touch(struct fixture *f, const char *path); /* empty and closed */
/* A closed file of `chunk_count` chunks of 1 MiB each, the last of `tail` bytes. */
int64_t fixture_file(struct fixture *f, const char *path, uint32_t chunk_count, uint64_t tail);
int fixture_rename(struct fixture *f, const char *source, const char *target, bool replace);
int fixture_delete(struct fixture *f, const char *path, bool recursive);
struct op_result fixture_create(struct fixture *f, const char *path);
struct op_result fixture_allocate(struct fixture *f, const struct op_result *file, uint64_t offset,
                                  struct chunk_ref previous, uint64_t previous_length);
struct op_result fixture_close(struct fixture *f, const struct op_result *file,
                               struct chunk_ref chunk, uint64_t length, const char *link_path);
/* ENTRY_REAP until nothing is left. */
void fixture_reap(struct fixture *f);

/* Stat by path; ERR_* or the inode. */
int64_t fixture_stat(struct fixture *f, const char *path, struct attributes *ret);
/* Effects of that kind in the last entry. */
uint32_t fixture_effects(const struct fixture *f, enum effect_kind kind);

#endif
