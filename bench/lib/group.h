/* Groups of three members on loopback, with their disks in one directory: our file masters, and the
 * peers that they are compared with. Main thread. A failure ends the benchmark. */
#ifndef BENCH_LIB_GROUP_H
#define BENCH_LIB_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/lib/process.h"

enum { GROUP_MEMBERS = 3 };

struct group {
    char *directory;
    int ports[GROUP_MEMBERS];
    char addresses[GROUP_MEMBERS][PROCESS_ADDRESS_BYTES];
    struct process members[GROUP_MEMBERS]; /* of etcd: the pids alone, its script owns them */
    struct helper script;                  /* of etcd */
};

/* Three fsmasters that have formed a cluster and have a leader. */
void group_start(struct group *g, const char *directory);
void group_stop(struct group *g);

/* Member that leads, and that the others follow with nothing missing; waits for it. */
size_t group_leader(struct group *g);

/* "host:port,host:port,host:port"; caller frees. */
char *group_masters(const struct group *g);
void group_member_start(struct group *g, size_t i); /* again, on its data */
void group_member_kill(struct group *g, size_t i);  /* kill -9 */

/* Three etcds, by bench/peers/etcd. False, with a line on stderr: this machine has none. */
bool group_etcd_start(struct group *g, const char *directory);
void group_etcd_stop(struct group *g);
size_t group_etcd_leader(struct group *g);

double group_cpu(const struct group *g); /* seconds so far, of all members */

#endif
