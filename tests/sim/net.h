/* The network between the machines: each direction of each link apart. */
#ifndef TESTS_SIM_NET_H
#define TESTS_SIM_NET_H

#include "tests/sim/node.h"

struct net_link {
    uint8_t blocked; /* how many faults cut it */
    uint8_t holding; /* how many of these hold messages instead of dropping them */
    struct packet *held;
};

struct net {
    struct net_link links[SIM_SLOT_COUNT_MAX][SIM_SLOT_COUNT_MAX]; /* from, to */
    uint32_t loss_percent;
    uint32_t duplicate_percent;
    uint32_t reorder_percent; /* of messages that are held back for a while */
    uint32_t delay_us;        /* on top of the plan's, for all */
};

/* Takes the packet. It arrives once, later, twice or never. */
void net_send(struct sim *s, uint32_t from, uint32_t to, struct packet *p);

void net_cut(struct sim *s, uint32_t from, uint32_t to, bool holds);
void net_heal(struct sim *s, uint32_t from, uint32_t to, bool held); /* undoes one cut */
void net_free(struct net *net);

/* A packet arrives: true if the network keeps it from doing so. */
bool net_intercepts(struct sim *s, struct event *ev);

/* What a message between a client and a machine takes; false: it is lost. */
bool net_client_delay(struct sim *s, sim_us *ret_delay);

#endif
