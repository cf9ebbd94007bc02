/* A struct disk in memory for the simulator, made to be fast: files are byte arrays, and what was
 * not synced is known by undo records of 512-byte sectors, so a sync costs nothing and a crash
 * little. Same semantics as disk.h says; tests/lib/fake_disk.h is the slower one that counts every
 * operation for exhaustive loops. One thread. */
#ifndef TESTS_SIM_SIM_DISK_H
#define TESTS_SIM_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/disk.h"
#include "common/rng.h"

/* What happens to changes that were not synced. */
enum sim_crash {
    SIM_CRASH_KILL,   /* the process dies, the machine goes on: nothing is lost */
    SIM_CRASH_DROP,   /* power failure: all of it is lost */
    SIM_CRASH_PREFIX, /* of each file the changes up to a random one survive */
    SIM_CRASH_TORN,   /* as PREFIX, and some sectors of the next write */
    SIM_CRASH_SUBSET, /* any version of each sector, any of the names */
    SIM_CRASH_COUNT
};

/* Faults are armed here by the owner and disarm themselves when they strike. */
struct sim_disk_faults {
    uint64_t stop_in; /* the n-th change from now and all after it fail: power goes; 0: never */
    uint64_t stop_at; /* likewise the n-th since the disk was made; a crash does not disarm it */
    uint64_t write_error_in; /* the n-th write from now fails after writing a part; 0: never */
    uint64_t sync_error_in;
    uint64_t read_error_in;
    bool full; /* nothing that needs new space succeeds */
};

struct sim_disk_struck { /* how often each has happened */
    uint64_t stops;
    uint64_t write_errors;
    uint64_t sync_errors;
    uint64_t read_errors;
    uint64_t full;
};

struct sim_disk; /* embeds struct disk */

struct sim_disk *sim_disk_new(void);
void sim_disk_free(struct sim_disk *d);            /* accepts NULL */
struct disk *sim_disk_as_disk(struct sim_disk *d); /* disk_free() on it does nothing */
struct sim_disk_faults *sim_disk_faults(struct sim_disk *d);
struct sim_disk_struck sim_disk_struck(const struct sim_disk *d);
bool sim_disk_stopped(const struct sim_disk *d);
uint64_t sim_disk_changes(const struct sim_disk *d); /* since it was made */

/* The contents after a crash; open files must have been closed. Disarms all faults but `full`. */
void sim_disk_crash(struct sim_disk *d, enum sim_crash how, struct rng *rng);

#endif
