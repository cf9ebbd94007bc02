/* Errors on the wire. Sixteen gRPC codes cannot carry ours, so trailing metadata names the error
 * beside the nearest code, which is there for clients in other languages. Coming back, only a named
 * error is an answer: any other status may stem from a connection lost after the peer had done the
 * work (DESIGN 3). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/macros.h"
#include "common/parse.h"
#include "common/rpc/rpc_internal.h"
#include "common/rpc/rpc_status.h"

grpc_status_code rpc_status_code(int code)
{
    switch (code) { /* table */
    case 0:
        return GRPC_STATUS_OK;
    case ERR_INVALID:
    case ERR_NOT_DIR:
    case ERR_IS_DIR:
    case ERR_CYCLE:
    case ERR_RESOLVE:
        return GRPC_STATUS_INVALID_ARGUMENT;
    case ERR_NOT_FOUND:
    case ERR_NO_XATTR:
        return GRPC_STATUS_NOT_FOUND;
    case ERR_EXISTS:
        return GRPC_STATUS_ALREADY_EXISTS;
    case ERR_PERMISSION:
        return GRPC_STATUS_PERMISSION_DENIED;
    case ERR_BUSY:
    case ERR_NO_SPACE:
    case ERR_QUOTA:
    case ERR_TOO_LARGE:
        return GRPC_STATUS_RESOURCE_EXHAUSTED;
    case ERR_CORRUPT:
    case ERR_NO_REPLICA:
        return GRPC_STATUS_DATA_LOSS;
    case ERR_TIMEOUT:
        return GRPC_STATUS_DEADLINE_EXCEEDED;
    case ERR_UNAVAILABLE:
    case ERR_NOT_LEADER:
    case ERR_FEW_SERVERS:
        return GRPC_STATUS_UNAVAILABLE;
    case ERR_CANCELLED:
        return GRPC_STATUS_CANCELLED;
    case ERR_LEASE:
    case ERR_STALE:
    case ERR_FENCED:
        return GRPC_STATUS_ABORTED;
    case ERR_NOT_EMPTY:
    case ERR_PRECONDITION:
    case ERR_VERSION:
    case ERR_WRONG_CLUSTER:
    case ERR_UNCLEAN:
    case ERR_SEALED:
        return GRPC_STATUS_FAILED_PRECONDITION;
    case ERR_UNSUPPORTED:
        return GRPC_STATUS_UNIMPLEMENTED;
    case ERR_EOF:
        return GRPC_STATUS_OUT_OF_RANGE;
    case ERR_INTERNAL:
    case ERR_IO:
        return GRPC_STATUS_INTERNAL;
    default:
        return GRPC_STATUS_UNKNOWN;
    }
}

/* What a status without a name tells about its cause. */
static int cause_of(int status)
{
    switch (status) {
    case GRPC_STATUS_CANCELLED:
        return ERR_CANCELLED;
    case GRPC_STATUS_DEADLINE_EXCEEDED:
        return ERR_TIMEOUT;
    case GRPC_STATUS_UNAVAILABLE:
        return ERR_UNAVAILABLE;
    case GRPC_STATUS_RESOURCE_EXHAUSTED:
        return ERR_TOO_LARGE; /* gRPC's own use of it: a message above a size limit */
    case GRPC_STATUS_UNIMPLEMENTED:
        return ERR_UNSUPPORTED;
    case GRPC_STATUS_UNAUTHENTICATED:
    case GRPC_STATUS_PERMISSION_DENIED:
        return ERR_PERMISSION;
    default:
        return ERR_UNKNOWN;
    }
}

void rpc_text_copy(char *text, size_t text_bytes, struct span from)
{
    const unsigned char *bytes = from.data;
    size_t length = MIN(from.length, text_bytes - 1);
    for (size_t i = 0; i < length; i++) {
        bool control = bytes[i] < 0x20 || bytes[i] == 0x7f;
        text[i] = (char)(control ? '?' : bytes[i]);
    }
    text[length] = '\0';
}

/* The code that a peer named; ERR_UNKNOWN if it is none of ours, or success in the guise of an
 * error. */
static int named_code(struct span name)
{
    char text[64];
    if (name.length == 0 || name.length >= sizeof(text)) {
        return ERR_UNKNOWN;
    }
    memcpy(text, name.data, name.length);
    text[name.length] = '\0';
    int code = err_from_name(text);
    return code < 0 ? code : ERR_UNKNOWN;
}

static uint64_t position_of(struct span from)
{
    char text[24];
    uint64_t position = 0;
    rpc_text_copy(text, sizeof(text), from);
    return from.length < sizeof(text) && parse_u64(text, &position, NULL) == 0 ? position : 0;
}

/* What gRPC says of a connection that failed is "failed to connect to all addresses; last error:
 * UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused", or as much of
 * a name: the last part alone is for people, and stays the same from one attempt to the next. A
 * host that says nothing, or takes connections and says nothing, "timed out" in one way or another.
 */
static void shorten_connect_text(char *text, size_t text_bytes)
{
    static const char *const beginnings[] = {"failed to connect to all addresses",
                                             "DNS resolution failed"};
    char *last = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(beginnings); i++) {
        last = strncmp(text, beginnings[i], strlen(beginnings[i])) == 0 ? text : last;
    }
    for (char *at = last; at && (at = strstr(at, ": ")) != NULL; at += 2) {
        last = at + 2;
    }
    if (last && strstr(last, "timed out")) {
        (void)snprintf(text, text_bytes, "%s", RPC_NO_ANSWER);
    } else if (last) {
        memmove(text, last, strlen(last) + 1);
    }
}

void rpc_status_parse(const struct rpc_status_parts *parts, struct rpc_result *ret_result)
{
    *ret_result = (struct rpc_result){.definite = true};
    if (parts->status == GRPC_STATUS_OK) {
        return;
    }
    rpc_text_copy(ret_result->text, sizeof(ret_result->text), parts->text);
    if (parts->name.length > 0) {
        ret_result->code = ret_result->cause = named_code(parts->name);
        ret_result->definite = ret_result->code != ERR_UNKNOWN;
        rpc_text_copy(ret_result->leader, sizeof(ret_result->leader), parts->leader);
        ret_result->position = position_of(parts->position);
    } else {
        ret_result->cause = cause_of(parts->status);
        ret_result->definite = false;
        ret_result->code = ERR_UNKNOWN;
        shorten_connect_text(ret_result->text, sizeof(ret_result->text));
    }
    if (ret_result->text[0] == '\0') {
        const char *text = err_text(ret_result->cause);
        rpc_text_copy(ret_result->text, sizeof(ret_result->text),
                      (struct span){text, strlen(text)});
    }
}

void rpc_result_fail(struct rpc_result *result, int code, const char *text)
{
    *result = (struct rpc_result){.code = code, .cause = code, .definite = true};
    rpc_text_copy(result->text, sizeof(result->text), (struct span){text, strlen(text)});
}

int rpc_result_err(const struct rpc_result *result, const char *address, struct err *e)
{
    if (result->code == 0) {
        return 0;
    }
    const char *doubt = result->definite ? "" : " (it may have been done)";
    return err_set(e, result->code, "%s: %.*s%s", address, ERR_MSG_BYTES_MAX / 2, result->text,
                   doubt);
}

struct span rpc_metadata_get(const grpc_metadata_array *metadata, const char *key)
{
    for (size_t i = 0; i < metadata->count; i++) {
        if (grpc_slice_str_cmp(metadata->metadata[i].key, key) == 0) {
            const grpc_slice *value = &metadata->metadata[i].value;
            return (struct span){GRPC_SLICE_START_PTR(*value), GRPC_SLICE_LENGTH(*value)};
        }
    }
    return (struct span){"", 0};
}

static void trailer_add(struct rpc_trailer *trailer, const char *key, grpc_slice value)
{
    grpc_metadata *row = &trailer->metadata[trailer->count++];
    row->key = grpc_slice_from_static_string(key);
    row->value = value;
}

void rpc_trailer_init(struct rpc_trailer *trailer, int code, const char *text, const char *leader)
{
    CHECK(code <= 0);
    *trailer = (struct rpc_trailer){.status = rpc_status_code(code)};
    size_t length = strnlen(text, RPC_ERROR_TEXT_BYTES_MAX - 1);
    trailer->details = grpc_slice_from_copied_buffer(text, code < 0 ? length : 0);
    if (code < 0) {
        trailer_add(trailer, RPC_KEY_ERROR, grpc_slice_from_static_string(err_name(code)));
    }
    if (code < 0 && leader != NULL && leader[0] != '\0') {
        grpc_slice value = grpc_slice_from_copied_string(leader);
        if (grpc_header_nonbin_value_is_legal(value)) {
            trailer_add(trailer, RPC_KEY_LEADER, value);
        } else {
            grpc_slice_unref(value);
        }
    }
}

void rpc_trailer_set_position(struct rpc_trailer *trailer, uint64_t position)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, position);
    trailer_add(trailer, RPC_KEY_POSITION, grpc_slice_from_copied_string(text));
}

void rpc_trailer_deinit(struct rpc_trailer *trailer)
{
    grpc_slice_unref(trailer->details);
    for (size_t i = 0; i < trailer->count; i++) {
        grpc_slice_unref(trailer->metadata[i].value); /* static ones do not mind */
    }
}

void rpc_trailer_op(struct rpc_trailer *trailer, grpc_op *op)
{
    *op = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    op->data.send_status_from_server.status = trailer->status;
    op->data.send_status_from_server.status_details = &trailer->details;
    op->data.send_status_from_server.trailing_metadata = trailer->metadata;
    op->data.send_status_from_server.trailing_metadata_count = trailer->count;
}

void rpc_received_init(struct rpc_received *received)
{
    grpc_metadata_array_init(&received->initial);
    grpc_metadata_array_init(&received->trailing);
    received->status = GRPC_STATUS_UNKNOWN;
    received->details = grpc_empty_slice();
}

void rpc_received_deinit(struct rpc_received *received)
{
    grpc_metadata_array_destroy(&received->initial);
    grpc_metadata_array_destroy(&received->trailing);
    grpc_slice_unref(received->details);
}

void rpc_received_result(const struct rpc_received *received, struct rpc_result *ret_result)
{
    struct rpc_status_parts parts = {
        .status = (int)received->status,
        .text = {GRPC_SLICE_START_PTR(received->details), GRPC_SLICE_LENGTH(received->details)},
        .name = rpc_metadata_get(&received->trailing, RPC_KEY_ERROR),
        .leader = rpc_metadata_get(&received->trailing, RPC_KEY_LEADER),
        .position = rpc_metadata_get(&received->trailing, RPC_KEY_POSITION),
    };
    if (parts.name.length == 0) { /* an answer without messages has its metadata in one piece */
        parts.name = rpc_metadata_get(&received->initial, RPC_KEY_ERROR);
        parts.leader = rpc_metadata_get(&received->initial, RPC_KEY_LEADER);
        parts.position = rpc_metadata_get(&received->initial, RPC_KEY_POSITION);
    }
    rpc_status_parse(&parts, ret_result);
}
