/* The judge knows the truth: every entry that was ever written, what is committed, what is durable
 * where, who led, who voted for whom. It is told of each step and checks the invariants of
 * RELIABILITY 4.1; the first violation ends the run. Each check costs O(1), or O(members) when
 * something is committed. */
#ifndef TESTS_SIM_JUDGE_H
#define TESTS_SIM_JUDGE_H

#include "tests/sim/client.h"
#include "tests/sim/node.h"

struct judge;

struct judge *judge_new(struct sim *s);
void judge_free(struct judge *j);

/* Before an update's effects; n->status is still the status before the step. */
void judge_step(struct node *n, const struct raft_status *now, const struct raft_update *u);
/* The entry is about to follow the mirror's last one. Returns its chain. */
uint64_t judge_entry(struct node *n, const struct log_entry *entry);
void judge_truncate(struct node *n, log_index from);
void judge_send(struct node *n, const struct raft_message *m);
void judge_applied(struct node *n, const struct log_entry *entry, struct machine_reply reply);
/* n->log was rebuilt from the disk: compares it with the mirror that the process left. */
void judge_recovered(struct node *n, struct mirror *before, struct log_hard_state hard);
/* The chain of a recovered entry, about to follow the mirror's last one. */
uint64_t judge_recovered_entry(struct node *n, const struct log_entry *entry);
/* A state that did not come from applying entry after entry. */
void judge_state(struct node *n, const struct machine *m, const char *whence);
/* The log is about to be forgotten up to index, and all after it. */
void judge_reset(struct node *n, struct mirror *before, log_index index);

/* Clients. */
uint64_t judge_floor(struct sim *s, uint32_t key);
/* A node answers a read; whether or not the client still waits for it. floor: as of its sending. */
void judge_read(struct node *n, uint32_t key, uint64_t floor, uint64_t version);
void judge_done(struct sim *s, const struct op *op, uint64_t version, uint32_t seen_op);
void judge_given_up(struct sim *s, const struct op *op);

/* The newest committed entry that anybody knows, and the newest committed configuration. */
log_index judge_committed(const struct judge *j);
const struct raft_config *judge_config(const struct judge *j);
log_index judge_config_index(const struct judge *j);
/* Some member's log has a configuration that is newer than that. */
bool judge_config_pending(const struct sim *s);

/* At the end: no acknowledged write is missing. */
void judge_end(struct sim *s);

#endif
