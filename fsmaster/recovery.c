/* See recovery.h. The only decision is decide(); the rest is bookkeeping of what was asked. */
#include "fsmaster/recovery.h"

#include <string.h>

#include "common/check.h"
#include "common/macros.h"

void recovery_init(struct recovery *r, const struct recovery_start *start, time_ms now)
{
    CHECK(start->set_count >= 1);
    CHECK(start->set_count <= CHUNK_REPLICAS_MAX);
    CHECK(start->new_version > start->chunk.version);
    memset(r, 0, sizeof(*r));
    r->chunk = start->chunk;
    r->new_version = start->new_version;
    r->acked = start->acked;
    r->state = RECOVERY_BEGINNING;
    r->propose_owed = true;
    r->member_count = start->set_count;
    for (uint32_t i = 0; i < start->set_count; i++) {
        r->members[i].server = start->set[i];
    }
    if (start->begun) {
        recovery_begun(r, now);
    }
}

static struct recovery_member *member_of(struct recovery *r, server_id server)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (r->members[i].server == server) {
            return &r->members[i];
        }
    }
    return NULL;
}

static void end_with(struct recovery *r, uint64_t length, bool unverified)
{
    r->length = length;
    r->unverified = unverified;
    r->state = RECOVERY_ENDING;
    r->propose_owed = true;
}

/* What the answers so far say. */
struct verdict {
    bool has_clean;        /* a clean answer not below acked */
    uint64_t shortest;     /* of those */
    bool has_held;         /* any answer from a holder */
    uint64_t longest;      /* of those */
    bool never;            /* a server has never had it */
    uint32_t owed;         /* servers that have not said what they hold */
    uint32_t owed_trusted; /* of those, not yet failed and not blamed */
};

static struct verdict judge(const struct recovery *r)
{
    struct verdict v = {.shortest = UINT64_MAX};
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct recovery_member *m = &r->members[i];
        switch (m->answer) {
        case RECOVERY_ANSWER_NONE:
            v.owed++;
            v.owed_trusted += !m->blamed;
            break;
        case RECOVERY_ANSWER_FAILED:
            v.owed++;
            break;
        case RECOVERY_ANSWER_NEVER:
            v.never = true;
            break;
        case RECOVERY_ANSWER_NOT_FOUND:
            break;
        case RECOVERY_ANSWER_HELD:
            v.has_held = true;
            v.longest = MAX(v.longest, m->length);
            if (m->clean && m->length >= r->acked) {
                v.has_clean = true;
                v.shortest = MIN(v.shortest, m->length);
            }
            break;
        }
    }
    return v;
}

static void decide(struct recovery *r, time_ms now)
{
    if (r->state != RECOVERY_FENCING) {
        return;
    }
    struct verdict v = judge(r);
    bool patient = now < r->fenced_ms + RECOVERY_PATIENCE_MS;
    if (v.has_clean && (v.owed_trusted == 0 || !patient)) {
        end_with(r, v.shortest, false);
    } else if (v.never && r->acked == 0 && !v.has_held && !patient) {
        end_with(r, 0, false);
    } else if (v.owed > 0 || v.has_clean) {
        return;
    } else if (v.has_held) {
        end_with(r, v.longest, true);
    } else if (r->acked == 0) {
        end_with(r, 0, false);
    }
    /* Otherwise acknowledged bytes are nowhere: wait, only an operator may end this. */
}

void recovery_tell(struct recovery *r, uint64_t acked, const server_id *blamed, size_t count)
{
    if (r->state == RECOVERY_ENDING || r->state == RECOVERY_DONE) {
        return;
    }
    r->acked = MAX(r->acked, acked);
    for (size_t i = 0; i < count; i++) {
        struct recovery_member *m = member_of(r, blamed[i]);
        if (m) {
            m->blamed = true;
        }
    }
}

static bool next_to_member(struct recovery *r, struct recovery_effect *ret)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct recovery_member *m = &r->members[i];
        if (m->fence_owed && r->state == RECOVERY_FENCING) {
            m->fence_owed = false;
            *ret = (struct recovery_effect){RECOVERY_SEND_FENCE, m->server, 0};
            return true;
        }
        if (m->seal_owed && r->state == RECOVERY_DONE) {
            m->seal_owed = false;
            *ret = (struct recovery_effect){RECOVERY_SEND_SEAL, m->server, r->length};
            return true;
        }
    }
    return false;
}

bool recovery_next(struct recovery *r, struct recovery_effect *ret)
{
    if (r->propose_owed) {
        r->propose_owed = false;
        bool begins = r->state == RECOVERY_BEGINNING;
        *ret = (struct recovery_effect){begins ? RECOVERY_PROPOSE_BEGIN : RECOVERY_PROPOSE_END, 0,
                                        r->length};
        return true;
    }
    return next_to_member(r, ret);
}

void recovery_begun(struct recovery *r, time_ms now)
{
    if (r->state != RECOVERY_BEGINNING) {
        return;
    }
    r->state = RECOVERY_FENCING;
    r->propose_owed = false;
    r->fenced_ms = now;
    for (uint32_t i = 0; i < r->member_count; i++) {
        r->members[i].fence_owed = true;
    }
}

void recovery_ended(struct recovery *r, uint64_t length)
{
    if (r->state == RECOVERY_DONE) {
        return;
    }
    r->state = RECOVERY_DONE;
    r->propose_owed = false;
    r->length = length;
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct recovery_member *m = &r->members[i];
        m->seal_owed = length > 0 && m->answer == RECOVERY_ANSWER_HELD && m->length >= length;
    }
}

void recovery_propose_again(struct recovery *r)
{
    r->propose_owed = r->state == RECOVERY_BEGINNING || r->state == RECOVERY_ENDING;
}

void recovery_fenced(struct recovery *r, const struct recovery_answer *answer, time_ms now)
{
    CHECK(answer->kind != RECOVERY_ANSWER_NONE);
    struct recovery_member *m = member_of(r, answer->server);
    if (!m || r->state == RECOVERY_BEGINNING) {
        return;
    }
    if (answer->kind == RECOVERY_ANSWER_FAILED) {
        if (m->answer == RECOVERY_ANSWER_NONE || m->answer == RECOVERY_ANSWER_FAILED) {
            m->answer = RECOVERY_ANSWER_FAILED;
            m->again_ms = now + RECOVERY_RETRY_MS;
        }
    } else {
        m->answer = answer->kind;
        m->length = answer->length;
        m->clean = answer->clean;
    }
    decide(r, now);
    if (r->state == RECOVERY_DONE && m->answer == RECOVERY_ANSWER_HELD && r->length > 0) {
        m->seal_owed = m->length >= r->length; /* a late answer: it may be kept all the same */
    }
}

void recovery_tick(struct recovery *r, time_ms now)
{
    if (r->state != RECOVERY_FENCING) {
        return;
    }
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct recovery_member *m = &r->members[i];
        if (m->answer == RECOVERY_ANSWER_FAILED && m->again_ms != 0 && m->again_ms <= now) {
            m->again_ms = 0; /* asked; the answer sets it again */
            m->fence_owed = true;
        }
    }
    decide(r, now);
}

uint32_t recovery_waits_for(const struct recovery *r, server_id *ret)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct recovery_member *m = &r->members[i];
        if (m->answer == RECOVERY_ANSWER_NONE || m->answer == RECOVERY_ANSWER_FAILED) {
            ret[count++] = m->server;
        }
    }
    return count;
}
