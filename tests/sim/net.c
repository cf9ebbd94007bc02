/* See net.h. */
#include "tests/sim/net.h"

#include <stddef.h>

#include "common/alloc.h"

enum { HOLD_US = 20 * 1000 };

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

void net_send(struct sim *s, uint32_t from, uint32_t to, struct packet *p)
{
    struct net *net = s->net;
    s->stats->messages++;
    if (sim_chance(s, net->loss_percent)) {
        packet_free(p);
        return;
    }
    if (sim_chance(s, net->duplicate_percent)) {
        struct event *twice = sim_after(s, draw_delay(s), EVENT_PACKET, s->nodes[to]);
        twice->life = 0;
        twice->a = from;
        twice->data = copy_packet(p);
    }
    struct event *ev = sim_after(s, draw_delay(s), EVENT_PACKET, s->nodes[to]);
    ev->life = 0;
    ev->a = from;
    ev->data = p;
}

/* A cut link drops what would arrive now, or, as a connection does that sends again, holds it until
 * the cut is healed. */
bool net_intercepts(struct sim *s, struct event *ev)
{
    const struct net *net = s->net;
    uint64_t from = ev->a;
    uint8_t blocked = net->blocked[from][ev->to->slot];
    if (blocked > 0 && net->holding[from][ev->to->slot] == blocked) {
        struct event *later = sim_after(s, HOLD_US + sim_below(s, HOLD_US), EVENT_PACKET, ev->to);
        later->life = 0;
        later->a = from;
        later->data = ev->data;
        ev->data = NULL;
    }
    return blocked > 0;
}

bool net_client_delay(struct sim *s, sim_us *ret_delay)
{
    *ret_delay = draw_delay(s);
    return !sim_chance(s, s->net->loss_percent);
}
