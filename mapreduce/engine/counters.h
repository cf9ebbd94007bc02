/* Counters of a task or job: the framework's own, with the names that Hadoop's users know, and the
 * user's. One thread at a time; tasks have their own set each and the job adds them up. */
#ifndef MAPREDUCE_ENGINE_COUNTERS_H
#define MAPREDUCE_ENGINE_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/map.h"

#define COUNTER_GROUP_FRAMEWORK "Map-Reduce Framework"
#define COUNTER_GROUP_READ      "File Input Format Counters"
#define COUNTER_GROUP_WRITTEN   "File Output Format Counters"

/* id, group, name; in the order in which they are shown */
#define COUNTER_TABLE(X)                                                                           \
    X(COUNTER_MAP_INPUT_RECORDS, COUNTER_GROUP_FRAMEWORK, "Map input records")                     \
    X(COUNTER_MAP_OUTPUT_RECORDS, COUNTER_GROUP_FRAMEWORK, "Map output records")                   \
    X(COUNTER_MAP_OUTPUT_BYTES, COUNTER_GROUP_FRAMEWORK, "Map output bytes")                       \
    X(COUNTER_MAP_MATERIALIZED_BYTES, COUNTER_GROUP_FRAMEWORK, "Map output materialized bytes")    \
    X(COUNTER_MAP_SKIPPED_RECORDS, COUNTER_GROUP_FRAMEWORK, "Map skipped records")                 \
    X(COUNTER_COMBINE_INPUT_RECORDS, COUNTER_GROUP_FRAMEWORK, "Combine input records")             \
    X(COUNTER_COMBINE_OUTPUT_RECORDS, COUNTER_GROUP_FRAMEWORK, "Combine output records")           \
    X(COUNTER_SPILLED_RECORDS, COUNTER_GROUP_FRAMEWORK, "Spilled Records")                         \
    X(COUNTER_SHUFFLED_MAPS, COUNTER_GROUP_FRAMEWORK, "Shuffled Maps")                             \
    X(COUNTER_MERGED_MAP_OUTPUTS, COUNTER_GROUP_FRAMEWORK, "Merged Map outputs")                   \
    X(COUNTER_REDUCE_SHUFFLE_BYTES, COUNTER_GROUP_FRAMEWORK, "Reduce shuffle bytes")               \
    X(COUNTER_REDUCE_INPUT_GROUPS, COUNTER_GROUP_FRAMEWORK, "Reduce input groups")                 \
    X(COUNTER_REDUCE_INPUT_RECORDS, COUNTER_GROUP_FRAMEWORK, "Reduce input records")               \
    X(COUNTER_REDUCE_OUTPUT_RECORDS, COUNTER_GROUP_FRAMEWORK, "Reduce output records")             \
    X(COUNTER_REDUCE_SKIPPED_GROUPS, COUNTER_GROUP_FRAMEWORK, "Reduce skipped groups")             \
    X(COUNTER_REDUCE_SKIPPED_RECORDS, COUNTER_GROUP_FRAMEWORK, "Reduce skipped records")           \
    X(COUNTER_CPU_MS, COUNTER_GROUP_FRAMEWORK, "CPU time spent (ms)")                              \
    X(COUNTER_BYTES_READ, COUNTER_GROUP_READ, "Bytes Read")                                        \
    X(COUNTER_BYTES_WRITTEN, COUNTER_GROUP_WRITTEN, "Bytes Written")

enum counter_id {
#define COUNTER_ENUM(id, group, name) id,
    COUNTER_TABLE(COUNTER_ENUM)
#undef COUNTER_ENUM
        COUNTER_COUNT,
};

struct counter_user; /* one of the user's counters */

struct counters {
    int64_t fixed[COUNTER_COUNT];
    struct counter_user **users; /* in the order of their first use */
    size_t user_count;           /* at most MR_COUNTERS_MAX; more are dropped */
    struct map by_name;          /* "group TAB name" -> struct counter_user */
};

void counters_init(struct counters *c);
void counters_deinit(struct counters *c); /* accepts NULL and zeroed */
void counters_clear(struct counters *c);

static inline void counters_add(struct counters *c, enum counter_id id, uint64_t amount)
{
    c->fixed[id] += (int64_t)amount;
}

/* Whether it is one of the framework's, not the user's. */
bool counters_is_fixed(struct span group, struct span name);

/* By name; a framework counter's own group and name reach that counter. Names that are too long are
 * cut, TABs and newlines in them become spaces. */
void counters_add_named(struct counters *c, struct span group, struct span name, int64_t amount);

void counters_merge(struct counters *into, const struct counters *from);

/* 0 when there is no such counter. */
int64_t counters_get(const struct counters *c, const char *group, const char *name);

/* Visits the framework's counters that are not 0 and all of the user's. */
typedef void (*counters_visit_fn)(void *arg, const char *group, const char *name, int64_t value);
void counters_visit(const struct counters *c, counters_visit_fn visit, void *arg);

/* For the way between processes: lines of "group TAB name TAB value". Decoding adds to c. */
void counters_encode(const struct counters *c, struct buf *out);
int counters_decode(struct counters *c, const void *data, size_t length) MUST_CHECK;

#endif
