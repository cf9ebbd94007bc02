/* A short run with a fixed course, in which the power of one member goes at a chosen point of its
 * disk's work (struct scenario in sim.h). All of these do nothing in a run of random faults. */
#ifndef TESTS_SIM_SCENARIO_H
#define TESTS_SIM_SCENARIO_H

#include "tests/sim/node.h"

enum { SCENARIO_SECONDS = 6 };

struct plan scenario_plan(void);
void scenario_begin(struct sim *s);
void scenario_on_event(struct sim *s, struct event *ev);
void scenario_end(struct sim *s);

/* Called by the node: what its disk does next. */
void scenario_note(struct node *n, enum sim_boundary doing);
/* Likewise: it starts; it crashes, and how is decided here; it is about to take a step of
 * an installation, and true says that it does not survive that. */
void scenario_starts(struct node *n);
enum sim_crash scenario_crash(struct node *n, enum sim_crash how);
bool scenario_stops_install(struct node *n);

#endif
