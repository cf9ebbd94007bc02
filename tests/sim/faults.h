/* What goes wrong, and who changes the membership. Faults come at random times, several at once;
 * each is counted when it has landed. Never more members lose their disks than the configuration
 * survives: that is the one promise that Raft needs. */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "tests/sim/node.h"
#include "tests/sim/sim.h"

struct faults;
struct admin;

struct faults *faults_new(struct sim *s);
void faults_free(struct faults *f);
void faults_on_event(struct sim *s, struct event *ev);
void faults_on_end(struct sim *s, struct event *ev);
void faults_end_all(struct sim *s);
/* Whether a majority of the voters runs, with good disks and links between them, whatever else is
 * wrong. */
bool faults_spare_majority(const struct sim *s);
bool faults_healthy(const struct sim *s);            /* nothing is at work, all machines are up */
bool faults_lost(const struct sim *s, raft_key key); /* the disk of this member is gone */
bool faults_any_lost(const struct sim *s, const struct raft_config *config);
/* Whether a fault of snapshots must land in this seed, so that members have to need some. */
bool faults_need_snapshots(uint64_t seed);
/* A node has become leader. Some isolations of the leader before it wait for that, to strike it too
 * before it has done much (Figure 8 of the paper). */
void faults_see_leader(struct sim *s, struct node *n);
/* Counts what has struck the disk of a node since the last call. */
void faults_see_disk(struct sim *s, struct node *n);

struct admin *admin_new(struct sim *s);
void admin_free(struct admin *o);
void admin_on_event(struct sim *s, struct event *ev);
/* No change that was accepted can still come to be, except those that are in somebody's log. */
bool admin_is_settled(const struct sim *s);

#endif
