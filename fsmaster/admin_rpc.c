/* What operators say about chunkservers: out of service and back into it, and to balance. */
#include <inttypes.h>
#include <stdio.h>

#include <proto/fs.pb-c.h>

#include "common/arena.h"
#include "common/log.h"
#include "common/macros.h"
#include "fsmaster/server_admin.h"
#include "fsmaster/server_internal.h"

/* Lives in the call's arena. */
struct admin {
    struct command command;
    struct rpc_call *call;
};

/* One line for each change and each refusal, as for the namespace. */
static void audit(const struct server *s, struct rpc_call *call, const char *operation, int code)
{
    if (s->options.audit) {
        log_info("audit", "%s user=%s from=%s op=%s",
                 code == 0                ? "done"
                 : code == ERR_PERMISSION ? "denied"
                                          : err_text(code),
                 rpc_call_caller(call)->user, rpc_call_caller(call)->address, operation);
    }
}

static void admin_done(struct command *command, int code, const struct apply_result *result)
{
    struct admin *a = CONTAINER_OF(command, struct admin, command);
    struct server *s = command->server;
    const Trireme__V1__AdminServerRequest *q = (const void *)rpc_call_request(a->call);
    const char *text = code == 0 ? result->text : NULL;
    code = code == 0 ? result->code : code;
    char operation[96];
    (void)snprintf(operation, sizeof(operation),
                   "admin_server server=%" PRIu64 " state=%d for_ms=%" PRIu64, q->server,
                   (int)q->state, q->for_ms);
    audit(s, a->call, operation, code);
    if (code == ERR_NOT_LEADER) {
        rpc_call_set_leader(a->call, s->status.leader);
    }
    command_deinit(command);
    s->changes--;
    rpc_call_finish(a->call, code, code < 0 ? text : NULL);
}

static int admin_server(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__AdminServerRequest *q = (const void *)rpc_call_request(call);
    bool away = q->state == TRIREME__V1__ADMIN_STATE__ADMIN_IN_MAINTENANCE;
    if (!server_is_operator(s, call)) {
        audit(s, call, "admin_server", ERR_PERMISSION);
        return err_set(rpc_call_err(call), ERR_PERMISSION,
                       "only %s may take chunkservers out of service", s->superuser);
    }
    if (!s->status.is_leader || s->stopping) {
        rpc_call_set_leader(call, s->status.leader);
        return ERR_NOT_LEADER;
    }
    if (away && (q->for_ms == 0 || q->for_ms > MAINTENANCE_MS_MAX)) {
        return err_set(rpc_call_err(call), ERR_INVALID, "maintenance lasts 1 ms to 30 days");
    }
    struct command_entry entry = {
        .kind = ENTRY_ADMIN_SERVER,
        .admin_server = {.server = q->server,
                         .state = (uint32_t)q->state,
                         .until_ms = away ? server_cluster_now(s) + q->for_ms : 0}};
    struct admin *a = arena_calloc(rpc_call_arena(call), sizeof(*a));
    a->call = call;
    s->changes++;
    command_propose(&a->command, s, &entry, admin_done);
    return RPC_PENDING;
}

/* ---- Balance ----------------------------------------------------------------------------------
 */

static int balance(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__BalanceRequest *q = (const void *)rpc_call_request(call);
    Trireme__V1__BalanceReply *a = (void *)rpc_call_reply(call);
    struct balance_wish wish = {q->threshold, q->rate_bytes};
    struct balance_answer answer;
    if (!server_is_operator(s, call)) {
        audit(s, call, "balance", ERR_PERMISSION);
        return err_set(rpc_call_err(call), ERR_PERMISSION, "only %s may balance", s->superuser);
    }
    if (!s->status.is_leader || s->stopping) {
        rpc_call_set_leader(call, s->status.leader);
        return ERR_NOT_LEADER;
    }
    if (!(wish.threshold >= 0.001 && wish.threshold <= 1)) { /* nor what is no number */
        return err_set(rpc_call_err(call), ERR_INVALID, "the threshold is 0.001 to 1");
    }
    balancing_ask(s, &wish, &answer);
    a->all_heard = answer.all_heard;
    a->even = answer.even;
    a->stuck = answer.stuck;
    a->least = answer.least;
    a->mean = answer.mean;
    a->most = answer.most;
    a->moving = answer.moving;
    a->moved_chunks = answer.moved_chunks;
    a->moved_bytes = answer.moved_bytes;
    return 0;
}

static const struct rpc_method method_balance = {"/trireme.v1.FsMaster/Balance", RPC_UNARY,
                                                 &trireme__v1__balance_request__descriptor,
                                                 &trireme__v1__balance_reply__descriptor};
static const struct rpc_method method_admin = {"/trireme.v1.FsMaster/AdminServer", RPC_UNARY,
                                               &trireme__v1__admin_server_request__descriptor,
                                               &trireme__v1__admin_server_reply__descriptor};

const struct rpc_service_row admin_service[] = {
    {&method_balance, .steps = {{RPC_OWNER, balance}}},
    {&method_admin, .steps = {{RPC_OWNER, admin_server}}},
    {NULL},
};
