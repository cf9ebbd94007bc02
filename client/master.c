/* See master.h. */
#include "client/master.h"

#include <stdio.h>
#include <string.h>

#include "client/race.h"
#include "common/buf.h"
#include "common/macros.h"

enum {
    BACKOFF_MS_MIN = 20,
    BACKOFF_MS_MAX = 200,
    FAIL_OVER_MS = 2 * 1000, /* another master leads by then; until then pauses are short: */
    FAIL_OVER_BACKOFF_MS = 80,
    HINTS_MAX = 3, /* followed without a pause: two members may point at each other */
};

static void leader_get(struct dfs *dfs, char address[LIMIT_ADDRESS_BYTES_MAX])
{
    sync_enter(&dfs->lock);
    memcpy(address, dfs->leader, sizeof(dfs->leader));
    sync_leave(&dfs->lock);
}

/* `failed` is not the leader: goes to the hint, else to the next configured one. Another thread may
 * have moved on already. */
static void leader_move(struct dfs *dfs, const char *failed, const char *hint)
{
    sync_enter(&dfs->lock);
    if (strcmp(dfs->leader, failed) == 0) {
        const char *next = hint;
        if (next[0] == '\0') {
            dfs->leader_index = (dfs->leader_index + 1) % dfs->master_count;
            next = dfs->masters[dfs->leader_index];
        }
        (void)snprintf(dfs->leader, sizeof(dfs->leader), "%s", next);
    }
    sync_leave(&dfs->lock);
}

/* ---- Any member ----------------------------------------------------------------------------- */

void master_choose_near(struct dfs *dfs)
{
    size_t length = strlen(dfs->host);
    dfs->near_index = (size_t)rng_below(&dfs->rng, dfs->master_count);
    for (size_t i = 0; i < dfs->master_count; i++) {
        const char *address = dfs->masters[i];
        if (strncmp(address, dfs->host, length) == 0 && address[length] == ':') {
            dfs->near_index = i;
        }
    }
}

uint64_t master_seen(struct dfs *dfs)
{
    sync_enter(&dfs->lock);
    uint64_t index = dfs->seen_index;
    sync_leave(&dfs->lock);
    return index;
}

void master_see(struct dfs *dfs, uint64_t index)
{
    sync_enter(&dfs->lock);
    dfs->seen_index = MAX(dfs->seen_index, index);
    sync_leave(&dfs->lock);
}

/* `failed` was of no use: the next one takes its place, for later reads as well. */
static void near_move(struct dfs *dfs, size_t failed)
{
    sync_enter(&dfs->lock);
    if (dfs->near_index == failed) {
        dfs->near_index = (failed + 1) % dfs->master_count;
    }
    sync_leave(&dfs->lock);
}

/* What the file master says of the request itself: whichever of them said it is no matter. */
static bool is_about_request(int code)
{
    switch (code) {
    case ERR_INVALID:
    case ERR_NOT_FOUND:
    case ERR_EXISTS:
    case ERR_NOT_DIR:
    case ERR_IS_DIR:
    case ERR_NOT_EMPTY:
    case ERR_CYCLE:
    case ERR_PERMISSION:
    case ERR_QUOTA:
    case ERR_LEASE:
    case ERR_PRECONDITION:
    case ERR_NO_XATTR:
        return true;
    default:
        return false;
    }
}

static void set_error(const struct rpc_result *result, const char *address, struct err *e)
{
    if (is_about_request(result->code) && result->definite && result->text[0]) {
        (void)err_set(e, result->code, "%s", result->text);
    } else {
        (void)rpc_result_err(result, address, e);
    }
}

/* Asks the near one. False: it or whoever answered for it could not say, and the leader is next. */
static bool ask_near(struct call *c, struct master_request *request,
                     struct ProtobufCMessage **ret_reply, int *ret_code, struct err *e)
{
    char by[LIMIT_ADDRESS_BYTES_MAX];
    struct rpc_result result;
    sync_enter(&c->dfs->lock);
    size_t near = c->dfs->near_index;
    sync_leave(&c->dfs->lock);
    const char *address = c->dfs->masters[near];
    *ret_code = race_run(c, request, address, by, ret_reply, &result);
    master_see(c->dfs, result.position);
    if (master_is_passing(*ret_code) || strcmp(by, address) != 0) {
        near_move(c->dfs, near);
    }
    if (master_is_passing(*ret_code)) {
        return false;
    }
    if (*ret_code < 0) {
        set_error(&result, by, e);
    }
    return true;
}

/* ---- The leader ----------------------------------------------------------------------------- */

bool master_is_passing(int code)
{
    return code == ERR_NOT_LEADER || code == ERR_UNAVAILABLE || code == ERR_TIMEOUT ||
           code == ERR_UNKNOWN || code == ERR_BUSY || code == ERR_CANCELLED;
}

/* One attempt with whom we take for the leader, which *ret_address names afterwards. */
static int ask_leader(struct call *c, struct master_request *request,
                      char ret_address[LIMIT_ADDRESS_BYTES_MAX],
                      struct ProtobufCMessage **ret_reply, struct rpc_result *ret_result,
                      struct err *e)
{
    char by[LIMIT_ADDRESS_BYTES_MAX];
    leader_get(c->dfs, ret_address);
    int code = race_run(c, request, ret_address, by, ret_reply, ret_result);
    master_see(c->dfs, ret_result->position);
    if (strcmp(by, ret_address) != 0 && !request->anybody) {
        leader_move(c->dfs, ret_address, by);
    }
    if (code != 0) {
        request->sent += !ret_result->definite;
        set_error(ret_result, by, e);
    }
    return code;
}

/* What lies between the attempts of one call. */
struct pace {
    time_ms backoff;
    time_ms failing_since; /* 0: no attempt has failed yet */
    bool sent;             /* something that may have been done; the call's deadline heeds it */
    unsigned hints;        /* followed so far */
    bool answered;         /* one is there, and does not lead */
};

/* `address` failed with a code that is passing: chooses whom to ask next. True: without a pause. */
static bool choose_next(struct call *c, struct pace *pace, const char *address, int code,
                        const struct rpc_result *result)
{
    bool hinted = code == ERR_NOT_LEADER && result->leader[0] != '\0';
    if (code != ERR_BUSY) {
        leader_move(c->dfs, address, hinted ? result->leader : "");
    }
    return hinted && pace->hints++ < HINTS_MAX;
}

/* "a:1,b:1 (DFS_MASTER)" */
static void name_all(const struct dfs *dfs, struct buf *out)
{
    for (size_t i = 0; i < dfs->master_count; i++) {
        buf_printf(out, "%s%s", i > 0 ? "," : "", dfs->masters[i]);
    }
    if (dfs->masters_where) {
        buf_printf(out, " (%s)", dfs->masters_where);
    }
}

/* What is waited for, in words that stay the same while one after the other is asked, and while one
 * says nothing: RPC_NO_ANSWER is no news. */
static void tell_no_answer(struct call *c, const char *why)
{
    struct buf what = BUF_INIT;
    bool one = c->dfs->master_count == 1;
    buf_append_str(&what, one ? "the file master at " : "no file master of ");
    name_all(c->dfs, &what);
    buf_append_str(&what, one ? " does not answer" : " answers");
    if (one && strcmp(why, RPC_NO_ANSWER) != 0) {
        buf_printf(&what, " (%s)", why);
    }
    call_waits(c, what.data);
    buf_deinit(&what);
}

void master_tell_silence(struct call *c)
{
    tell_no_answer(c, RPC_NO_ANSWER);
}

static void tell_waiting(struct call *c, const struct pace *pace, const struct rpc_result *result)
{
    if (result->code == ERR_BUSY) {
        call_waits(c, "the file master is busy");
    } else if (pace->answered) {
        struct buf what = BUF_INIT;
        buf_append_str(&what, "no file master of ");
        name_all(c->dfs, &what);
        buf_append_str(&what, " leads");
        call_waits(c, what.data);
        buf_deinit(&what);
    } else {
        tell_no_answer(c, result->cause == ERR_TIMEOUT ? RPC_NO_ANSWER : result->text);
    }
}

/* Who said that somebody is there, and what to do about it. */
static void add_advice(const struct dfs *dfs, struct err *e)
{
    struct err last = *e;
    if (dfs->master_count > 1) {
        struct buf all = BUF_INIT;
        name_all(dfs, &all);
        (void)err_set(e, last.code, "no file master of %s answers, the last one asked: %s",
                      all.data, err_message(&last));
        last = *e;
        buf_deinit(&all);
    }
    if (dfs->masters_where) {
        (void)err_set(e, last.code,
                      "%s. Is it running? %s says that it is there. See `systemctl status "
                      "trireme-fsmaster' there, or start a cluster with deploy/devcluster up",
                      err_message(&last), dfs->masters_where);
    }
}

/* The last attempt failed with `code` and there is no time for another one. */
static int gave_up(struct call *c, const struct master_request *request, const struct pace *pace,
                   int code, struct err *e)
{
    if (e && !pace->answered && code != ERR_BUSY) {
        add_advice(c->dfs, e);
    }
    if (request->changes && request->sent > 0) {
        return err_wrap(e, ERR_UNKNOWN, "gave up waiting, it may have happened");
    }
    return err_wrap(e, code == ERR_TIMEOUT || code == ERR_BUSY ? ERR_TIMEOUT : ERR_UNAVAILABLE,
                    "gave up waiting for the file master");
}

/* False: no time is left for another attempt. */
static bool pause_before_next(struct call *c, struct pace *pace, const struct rpc_result *result)
{
    pace->answered = pace->answered || result->code == ERR_NOT_LEADER;
    if (!call_pause(c, call_jitter(c, pace->backoff))) {
        return false; /* and is told why, not that it waits */
    }
    tell_waiting(c, pace, result);
    bool failing_over = clock_mono_ms() < pace->failing_since + FAIL_OVER_MS;
    time_ms most = failing_over ? FAIL_OVER_BACKOFF_MS : BACKOFF_MS_MAX;
    pace->backoff = MIN(pace->backoff * 2, most);
    return true;
}

/* A change that may have been done must not be asked for again when the file master may have
 * forgotten that it did it, however long the user is willing to wait. */
static void heed_session(struct call *c, struct pace *pace, const struct master_request *request)
{
    if (request->changes && request->sent > 0 && !pace->sent) {
        pace->sent = true;
        c->deadline = MIN(c->deadline, clock_mono_ms() + CLIENT_SENT_MS);
    }
}

int master_call(struct call *c, struct master_request *request, struct ProtobufCMessage **ret_reply,
                struct err *e)
{
    char address[LIMIT_ADDRESS_BYTES_MAX];
    struct pace pace = {.backoff = BACKOFF_MS_MIN};
    struct rpc_result result;
    int code;
    if (request->anybody && ask_near(c, request, ret_reply, &code, e)) {
        return code;
    }
    for (;;) {
        code = ask_leader(c, request, address, ret_reply, &result, e);
        if (code == 0 || !master_is_passing(code)) {
            return code;
        }
        pace.failing_since = pace.failing_since ? pace.failing_since : clock_mono_ms();
        heed_session(c, &pace, request);
        if (choose_next(c, &pace, address, code, &result)) {
            continue;
        }
        if (!pause_before_next(c, &pace, &result)) {
            return gave_up(c, request, &pace, result.definite ? code : result.cause, e);
        }
    }
}
