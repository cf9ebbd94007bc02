/* See net.h. */
#include "tests/sim/net.h"

#include <stddef.h>
#include <stdlib.h>

#include "common/alloc.h"

enum { RELEASE_US = 40 * 1000 };

static sim_us draw_delay(struct sim *s)
{
    sim_us delay = s->plan.link_us + sim_about(s, s->plan.link_jitter_us);
    if (s->net->delay_us > 0) {
        delay += sim_about(s, s->net->delay_us);
    }
    if (sim_chance(s, s->net->reorder_percent)) {
        delay += sim_about(s, 20 * 1000 + 10 * s->plan.link_jitter_us);
    }
    return delay;
}

static struct packet *copy_packet(const struct packet *p)
{
    struct packet *copy = xmemdup(p, sizeof(*p));
    if (!p->body) {
        return copy;
    }
    copy->body = xmemdup(p->body, p->body_bytes);
    if (p->message.kind == RAFT_APPEND) {
        struct log_entry *entries = copy->body;
        for (size_t i = 0; i < p->message.append.count; i++) {
            ptrdiff_t at = (const char *)entries[i].data.data - (const char *)p->body;
            entries[i].data.data = (char *)copy->body + at;
        }
        copy->message.append.entries = entries;
    } else {
        copy->message.snapshot.data.data = copy->body;
    }
    return copy;
}

static void arrive(struct sim *s, uint32_t from, uint32_t to, sim_us delay, struct packet *p)
{
    struct event *ev = sim_after(s, delay, EVENT_PACKET, s->nodes[to]);
    ev->life = 0;
    ev->a = from;
    ev->data = p;
}

void net_send(struct sim *s, uint32_t from, uint32_t to, struct packet *p)
{
    s->stats->messages++;
    if (sim_chance(s, s->net->loss_percent)) {
        packet_free(p);
        return;
    }
    if (sim_chance(s, s->net->duplicate_percent)) {
        arrive(s, from, to, draw_delay(s), copy_packet(p));
    }
    arrive(s, from, to, draw_delay(s), p);
}

/* A cut link drops what would arrive now, or, as a connection does that sends again, holds it until
 * the cut is healed. */
bool net_intercepts(struct sim *s, struct event *ev)
{
    struct net *net = s->net;
    struct net_link *link = &net->links[ev->a][ev->to->slot];
    if (link->blocked == 0) {
        return false;
    }
    if (link->holding == link->blocked) {
        struct packet **end = &link->held;
        while (*end) {
            end = &(*end)->next;
        }
        *end = ev->data;
        ev->data = NULL;
    }
    return true;
}

void net_cut(struct sim *s, uint32_t from, uint32_t to, bool holds)
{
    struct net_link *link = &s->net->links[from][to];
    link->blocked++;
    link->holding += holds;
}

/* What was held arrives in its order, on each link at another time. */
void net_heal(struct sim *s, uint32_t from, uint32_t to, bool held)
{
    struct net_link *link = &s->net->links[from][to];
    sim_us delay = draw_delay(s) + sim_below(s, RELEASE_US);
    link->blocked--;
    link->holding -= held;
    while (link->held && link->blocked == 0) {
        struct packet *p = link->held;
        link->held = p->next;
        p->next = NULL;
        arrive(s, from, to, delay++, p);
    }
}

void net_free(struct net *net)
{
    for (size_t i = 0; i < SIM_SLOT_COUNT_MAX * SIM_SLOT_COUNT_MAX; i++) {
        struct net_link *link = &net->links[i / SIM_SLOT_COUNT_MAX][i % SIM_SLOT_COUNT_MAX];
        while (link->held) {
            struct packet *p = link->held;
            link->held = p->next;
            packet_free(p);
        }
    }
    free(net);
}

bool net_client_delay(struct sim *s, sim_us *ret_delay)
{
    *ret_delay = draw_delay(s);
    return !sim_chance(s, s->net->loss_percent);
}
