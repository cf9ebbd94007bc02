/* Who calls: from the certificate, or from what the client says about itself. */
#include <stdio.h>
#include <string.h>

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>

#include "common/rpc/rpc_server_internal.h"

/* "ipv4:127.0.0.1:4711" or "ipv6:%5B::1%5D:4711" without scheme and escapes. */
static void read_address(char *text, size_t text_bytes, grpc_call *call)
{
    char *peer = grpc_call_get_peer(call);
    const char *at = strchr(peer, ':');
    at = at == NULL ? peer : at + 1;
    size_t length = 0;
    while (*at != '\0' && length + 1 < text_bytes) {
        if (strncmp(at, "%5B", 3) == 0 || strncmp(at, "%5D", 3) == 0) {
            text[length++] = at[2] == 'B' ? '[' : ']';
            at += 3;
        } else {
            text[length++] = *at++;
        }
    }
    text[length] = '\0';
    gpr_free(peer);
}

/* The common name of the peer's certificate. False: it showed none. */
static bool read_certificate(char *user, size_t user_bytes, grpc_call *call)
{
    grpc_auth_context *context = grpc_call_auth_context(call);
    if (context == NULL) {
        return false;
    }
    bool authenticated = grpc_auth_context_peer_is_authenticated(context) != 0;
    if (authenticated) {
        grpc_auth_property_iterator names =
            grpc_auth_context_find_properties_by_name(context, GRPC_X509_CN_PROPERTY_NAME);
        const grpc_auth_property *name = grpc_auth_property_iterator_next(&names);
        if (name != NULL) {
            rpc_text_copy(user, user_bytes, (struct span){name->value, name->value_length});
        }
    }
    grpc_auth_context_release(context);
    return authenticated;
}

void rpc_caller_fill(struct rpc_caller_store *store, grpc_call *call,
                     const grpc_metadata_array *metadata, gpr_timespec deadline)
{
    struct span said = rpc_metadata_get(metadata, RPC_KEY_USER);
    store->user[0] = '\0';
    store->acts_for[0] = '\0';
    store->caller.authenticated = read_certificate(store->user, sizeof(store->user), call);
    if (store->caller.authenticated) {
        rpc_text_copy(store->acts_for, sizeof(store->acts_for), said);
    } else {
        rpc_text_copy(store->user, sizeof(store->user), said);
    }
    read_address(store->address, sizeof(store->address), call);
    store->caller.user = store->user;
    store->caller.acts_for = store->acts_for;
    store->caller.address = store->address;
    store->caller.deadline = rpc_deadline_from_grpc(deadline);
}
