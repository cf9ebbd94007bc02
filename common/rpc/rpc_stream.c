/* One state machine for both sides of a stream.
 *
 * At most one batch of each kind is in flight: a read; a write (which carries the headers, one
 * message, and the half-close or status, as far as they are due: a short stream is one write); and
 * the one that ends with the call (a client's status, a server's close). The stream is over when
 * the last kind has come, and closed when no batch is in flight any more; then on_close runs and
 * the memory goes. No callback runs inside a function that the user calls. */
#include "common/rpc/rpc_stream.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/macros.h"
#include "common/rpc/rpc_internal.h"
#include "common/rpc/rpc_server_internal.h"

/* A message waiting to be written. */
struct outgoing {
    struct outgoing *next;
    grpc_byte_buffer *payload;
    size_t bytes;
};

struct rpc_stream {
    struct rpc_loop *loop;
    grpc_call *call;
    const struct rpc_stream_ops *ops;
    void *state; /* the user's */
    size_t message_bytes_max;
    unsigned batches; /* in flight */

    struct rpc_tag read_tag;
    grpc_byte_buffer *incoming; /* gRPC writes here */
    bool reading;
    bool half_closed; /* the peer sends no more, or is gone */

    struct rpc_tag write_tag;
    struct outgoing *first; /* next to be written */
    struct outgoing *last;
    struct outgoing *writing; /* in flight */
    size_t queued;            /* bytes of all of them */
    bool write_busy;          /* a write batch is in flight */
    bool corked;              /* none is started */
    bool headers_sent;
    bool end_wanted; /* half-close or status, behind what is queued */
    bool end_sent;

    struct rpc_tag end_tag;
    bool begun;               /* its batch was started: behind a client's first write */
    bool over;                /* ... and has come */
    struct rpc_result result; /* for on_close */
    bool failed_here;         /* result was set by us and stands */

    /* Client. */
    struct rpc_channel *channel; /* one reference */
    struct rpc_received received;

    /* Server. */
    struct rpc_arrival arrival; /* server NULL: this is a client's */
    int gone;                   /* gRPC writes here: 1 if the client left */
    int finish_code;
    char *finish_text; /* or NULL */
    struct rpc_caller_store *caller;
};

static bool is_server(const struct rpc_stream *stream)
{
    return stream->arrival.server != NULL;
}

void rpc_stream_set_state(struct rpc_stream *stream, void *state)
{
    stream->state = state;
}

void *rpc_stream_state(const struct rpc_stream *stream)
{
    return stream->state;
}

struct rpc_loop *rpc_stream_loop(const struct rpc_stream *stream)
{
    return stream->loop;
}

void *rpc_stream_service(const struct rpc_stream *stream)
{
    return is_server(stream) ? stream->arrival.row->service : NULL;
}

const struct rpc_caller *rpc_stream_caller(struct rpc_stream *stream)
{
    if (!is_server(stream)) {
        return NULL;
    }
    if (stream->caller == NULL) {
        stream->caller = xmalloc(sizeof(*stream->caller));
        rpc_caller_fill(stream->caller, stream->call, &stream->arrival.metadata,
                        stream->arrival.deadline);
    }
    return &stream->caller->caller;
}

size_t rpc_stream_queued(const struct rpc_stream *stream)
{
    return stream->queued;
}

bool rpc_stream_writable(const struct rpc_stream *stream)
{
    return stream->queued < RPC_STREAM_WRITABLE_BYTES;
}

/* ---- End ---- */

static void outgoing_free(struct outgoing *out)
{
    if (out != NULL) {
        grpc_byte_buffer_destroy(out->payload);
        free(out);
    }
}

static void drop_queue(struct rpc_stream *stream)
{
    while (stream->first != NULL) {
        struct outgoing *out = stream->first;
        stream->first = out->next;
        stream->queued -= out->bytes;
        outgoing_free(out);
    }
    stream->last = NULL;
}

static void stream_free(struct rpc_stream *stream)
{
    struct rpc_server *server = stream->arrival.server;
    struct rpc_loop *loop = stream->loop;
    grpc_call_unref(stream->call);
    if (server != NULL) {
        grpc_metadata_array_destroy(&stream->arrival.metadata);
    } else {
        rpc_received_deinit(&stream->received);
        rpc_channel_unref(stream->channel);
    }
    free(stream->finish_text);
    free(stream->caller);
    free(stream);
    rpc_loop_release(loop);
    if (server != NULL) {
        rpc_server_stream_ended(server);
    }
}

static void set_result(struct rpc_stream *stream)
{
    if (stream->failed_here) {
        return;
    }
    if (!is_server(stream)) {
        rpc_received_result(&stream->received, &stream->result);
    } else if (stream->gone) {
        rpc_result_fail(&stream->result, ERR_CANCELLED, "the client left");
    }
}

/* The last thing that each event does: the stream may be gone afterwards. */
static void close_if_over(struct rpc_stream *stream)
{
    if (!stream->over || stream->batches > 0) {
        return;
    }
    drop_queue(stream);
    set_result(stream);
    stream->ops->on_close(stream, &stream->result);
    stream_free(stream);
}

/* Ends it for a reason of our own, which on_close will tell. */
static void fail(struct rpc_stream *stream, int code, const char *text)
{
    if (stream->over || stream->failed_here) {
        return;
    }
    if (is_server(stream)) {
        if (!stream->end_wanted) {
            rpc_stream_finish(stream, code, text);
        }
        return;
    }
    rpc_result_fail(&stream->result, code, text);
    stream->failed_here = true;
    CHECK(grpc_call_cancel(stream->call, NULL) == GRPC_CALL_OK);
}

void rpc_stream_cancel(struct rpc_stream *stream)
{
    if (!stream->over) {
        CHECK(grpc_call_cancel(stream->call, NULL) == GRPC_CALL_OK);
    }
}

static void end_done(struct rpc_tag *tag, bool ok)
{
    struct rpc_stream *stream = CONTAINER_OF(tag, struct rpc_stream, end_tag);
    stream->batches--;
    stream->over = true;
    if (!ok && is_server(stream)) {
        stream->gone = 1;
    }
    close_if_over(stream);
}

/* ---- Reading ---- */

/* A client that left looks like one that half-closed: gRPC gives no message in either case. The end
 * of a call that was lost comes right behind, so that is waited for. */
static void tell_half_close(void *arg)
{
    struct rpc_stream *stream = arg;
    stream->batches--;
    if (!stream->over && stream->ops->on_half_close != NULL) {
        stream->ops->on_half_close(stream);
    }
    close_if_over(stream);
}

static void read_done(struct rpc_tag *tag, bool ok)
{
    (void)ok; /* a failed read has no message */
    struct rpc_stream *stream = CONTAINER_OF(tag, struct rpc_stream, read_tag);
    stream->batches--;
    stream->reading = false;
    if (stream->incoming == NULL) {
        stream->half_closed = true;
        if (is_server(stream) && !stream->over) {
            stream->batches++; /* keeps the stream */
            rpc_loop_post(stream->loop, tell_half_close, stream);
        }
        close_if_over(stream);
        return;
    }
    struct rpc_bytes *message = rpc_bytes_take_buffer(stream->incoming);
    stream->incoming = NULL;
    if (message == NULL) {
        fail(stream, ERR_CORRUPT, "compressed in a way that is not known here");
    } else if (rpc_bytes_length(message) > stream->message_bytes_max) {
        fail(stream, ERR_TOO_LARGE, "message above the limit");
    } else if (!stream->failed_here && stream->ops->on_message != NULL) {
        stream->ops->on_message(stream, message);
    }
    rpc_bytes_unref(message);
    close_if_over(stream);
}

void rpc_stream_read(struct rpc_stream *stream)
{
    if (stream->reading || stream->half_closed || stream->over) {
        return;
    }
    stream->reading = true;
    stream->batches++;
    grpc_op op = {0};
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &stream->incoming;
    rpc_batch(stream->call, &op, 1, &stream->read_tag);
}

/* ---- Writing ---- */

/* Adds the next message to a write. */
static size_t add_message(struct rpc_stream *stream, grpc_op *op)
{
    struct outgoing *out = stream->first;
    if (out == NULL) {
        return 0;
    }
    stream->first = out->next;
    if (stream->first == NULL) {
        stream->last = NULL;
    }
    stream->writing = out;
    op->op = GRPC_OP_SEND_MESSAGE;
    op->data.send_message.send_message = out->payload;
    /* With more behind it, a small one may wait to share a packet. */
    op->flags = stream->first != NULL ? GRPC_WRITE_BUFFER_HINT : 0;
    return 1;
}

/* Starts the next write if one is due and none is in flight. */
static void write_more(struct rpc_stream *stream)
{
    if (stream->write_busy || stream->corked || stream->over || stream->end_sent) {
        return;
    }
    bool end = stream->end_wanted && (stream->first == NULL || stream->first->next == NULL);
    bool headers = !stream->headers_sent && (!is_server(stream) || stream->first != NULL || end);
    struct rpc_trailer trailer;
    grpc_metadata user;
    grpc_op ops[3] = {0};
    size_t count = 0;
    if (headers && is_server(stream)) {
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    } else if (headers) {
        rpc_channel_metadata(stream->channel, &user, &ops[count++]);
    }
    count += add_message(stream, &ops[count]);
    if (end && is_server(stream)) {
        rpc_trailer_init(&trailer, stream->finish_code,
                         stream->finish_text != NULL ? stream->finish_text : "", NULL);
        rpc_trailer_op(&trailer, &ops[count++]);
    } else if (end) {
        ops[count++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    }
    if (count == 0) {
        return;
    }
    stream->headers_sent = stream->headers_sent || headers;
    stream->end_sent = end;
    stream->write_busy = true;
    stream->batches++;
    rpc_batch(stream->call, ops, count, &stream->write_tag);
    if (end && is_server(stream)) {
        rpc_trailer_deinit(&trailer);
    }
}

static void write_done(struct rpc_tag *tag, bool ok)
{
    struct rpc_stream *stream = CONTAINER_OF(tag, struct rpc_stream, write_tag);
    stream->batches--;
    stream->write_busy = false;
    bool message = stream->writing != NULL;
    if (message) {
        stream->queued -= stream->writing->bytes;
        outgoing_free(stream->writing);
        stream->writing = NULL;
    }
    if (ok) {
        write_more(stream); /* before the callback: it may take a while to make the next message */
        if (message && !stream->over && stream->ops->on_sent != NULL) {
            stream->ops->on_sent(stream);
        }
    } else {
        stream->end_sent = true; /* broken: nothing more can be written, the end is on its way */
        drop_queue(stream);
    }
    close_if_over(stream);
}

/* Takes one reference of each slice. */
static int enqueue(struct rpc_stream *stream, grpc_slice *slices, size_t count, size_t bytes)
{
    int r = 0;
    if (stream->over || stream->end_wanted || stream->end_sent || stream->failed_here) {
        r = ERR_CANCELLED;
    } else if (bytes > stream->message_bytes_max) {
        r = ERR_TOO_LARGE;
    } else if (stream->queued + bytes > RPC_STREAM_QUEUE_BYTES_MAX) {
        r = ERR_BUSY;
    } else {
        struct outgoing *out = xcalloc(1, sizeof(*out));
        out->payload = grpc_raw_byte_buffer_create(slices, count);
        out->bytes = bytes;
        if (stream->last != NULL) {
            stream->last->next = out;
        } else {
            stream->first = out;
        }
        stream->last = out;
        stream->queued += bytes;
        write_more(stream);
    }
    return r;
}

int rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *message)
{
    grpc_slice packed = rpc_pack(message);
    int r = enqueue(stream, &packed, 1, GRPC_SLICE_LENGTH(packed));
    grpc_slice_unref(packed);
    return r;
}

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

/* Field 1 whole and the tag and length of field 2, in one slice. */
static grpc_slice pack_prefix(const ProtobufCMessage *header, size_t data_length)
{
    enum { TAG_BYTES = 1, VARINT_BYTES = 10, BOTH_HEADS_BYTES = 2 * (TAG_BYTES + VARINT_BYTES) };
    size_t header_length = header == NULL ? 0 : protobuf_c_message_get_packed_size(header);
    grpc_slice slice = grpc_slice_malloc(header_length + BOTH_HEADS_BYTES);
    uint8_t *start = GRPC_SLICE_START_PTR(slice);
    uint8_t *at = start;
    if (header != NULL) {
        *at++ = 1 << 3 | 2;
        at = put_varint(at, header_length);
        at += protobuf_c_message_pack(header, at);
    }
    if (data_length > 0) {
        *at++ = 2 << 3 | 2;
        at = put_varint(at, data_length);
    }
    GRPC_SLICE_SET_LENGTH(slice, at - start);
    return slice;
}

int rpc_stream_send_data(struct rpc_stream *stream, const ProtobufCMessage *header,
                         struct rpc_bytes *data)
{
    size_t data_length = data == NULL ? 0 : rpc_bytes_length(data);
    size_t count = 1 + (data == NULL ? 0 : rpc_bytes_slice_count(data));
    grpc_slice *slices = xreallocarray(NULL, count, sizeof(*slices));
    slices[0] = pack_prefix(header, data_length);
    if (data != NULL) {
        (void)rpc_bytes_slices(data, slices + 1);
    }
    int r = enqueue(stream, slices, count, GRPC_SLICE_LENGTH(slices[0]) + data_length);
    grpc_slice_unref(slices[0]);
    free(slices);
    return r;
}

int rpc_stream_send_bytes(struct rpc_stream *stream, struct rpc_bytes *message)
{
    size_t count = rpc_bytes_slice_count(message);
    grpc_slice *slices = xreallocarray(NULL, count + 1, sizeof(*slices));
    (void)rpc_bytes_slices(message, slices);
    int r = enqueue(stream, slices, count, rpc_bytes_length(message));
    free(slices);
    return r;
}

void rpc_stream_cork(struct rpc_stream *stream)
{
    stream->corked = true;
}

void rpc_stream_half_close(struct rpc_stream *stream)
{
    CHECK(!is_server(stream));
    stream->end_wanted = true;
    write_more(stream);
}

void rpc_stream_finish(struct rpc_stream *stream, int code, const char *text)
{
    CHECK(is_server(stream));
    CHECK(code <= 0);
    if (stream->end_wanted) {
        return; /* already refused by us: a message above the limit */
    }
    stream->end_wanted = true;
    stream->finish_code = code;
    if (code < 0) {
        drop_queue(stream);
        text = text != NULL ? text : err_text(code);
        stream->finish_text = xstrndup(text, strnlen(text, RPC_ERROR_TEXT_BYTES_MAX - 1));
    }
    write_more(stream);
}

/* ---- Begin ---- */

static struct rpc_stream *stream_new(struct rpc_loop *loop, grpc_call *call,
                                     const struct rpc_stream_ops *ops)
{
    CHECK(ops->on_close != NULL);
    struct rpc_stream *stream = xcalloc(1, sizeof(*stream));
    stream->loop = loop;
    stream->call = call;
    stream->ops = ops;
    stream->read_tag.done = read_done;
    stream->write_tag.done = write_done;
    stream->end_tag.done = end_done;
    stream->result.definite = true;
    rpc_loop_hold(loop);
    return stream;
}

static void start_end(struct rpc_stream *stream)
{
    grpc_op ops[2] = {0};
    size_t count = 0;
    if (is_server(stream)) {
        ops[count].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
        ops[count++].data.recv_close_on_server.cancelled = &stream->gone;
    } else {
        struct rpc_received *received = &stream->received;
        ops[count].op = GRPC_OP_RECV_INITIAL_METADATA;
        ops[count++].data.recv_initial_metadata.recv_initial_metadata = &received->initial;
        ops[count].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
        ops[count].data.recv_status_on_client.status = &received->status;
        ops[count].data.recv_status_on_client.status_details = &received->details;
        ops[count++].data.recv_status_on_client.trailing_metadata = &received->trailing;
    }
    stream->begun = true;
    stream->batches++;
    rpc_batch(stream->call, ops, count, &stream->end_tag);
}

void rpc_stream_uncork(struct rpc_stream *stream)
{
    stream->corked = false;
    write_more(stream);
    if (!stream->begun) {
        start_end(stream);
    }
}

struct rpc_stream *rpc_stream_open_corked(struct rpc_loop *loop, const struct rpc_request *request,
                                          const struct rpc_stream_ops *ops, void *state)
{
    CHECK(request->method->kind != RPC_UNARY);
    grpc_call *call =
        rpc_channel_call(request->channel, loop, request->method->name, request->deadline);
    struct rpc_stream *stream = stream_new(loop, call, ops);
    stream->state = state;
    stream->channel = rpc_channel_ref(request->channel);
    stream->message_bytes_max = rpc_channel_message_bytes_max(request->channel);
    rpc_received_init(&stream->received);
    stream->corked = true;
    return stream;
}

struct rpc_stream *rpc_stream_open(struct rpc_loop *loop, const struct rpc_request *request,
                                   const struct rpc_stream_ops *ops, void *state)
{
    struct rpc_stream *stream = rpc_stream_open_corked(loop, request, ops, state);
    int r = request->message == NULL ? 0 : rpc_stream_send(stream, request->message);
    stream->end_wanted = request->method->kind == RPC_SERVER_STREAM;
    rpc_stream_uncork(stream);
    if (r < 0) {
        fail(stream, r, "request above the channel's limit");
    }
    return stream;
}

void rpc_stream_arrived(struct rpc_arrival *arrival)
{
    int refused = rpc_server_stream_began(arrival->server);
    if (refused < 0) {
        rpc_arrival_refuse(arrival, refused);
        return;
    }
    struct rpc_stream *stream = stream_new(arrival->loop, arrival->call, arrival->row->row->stream);
    stream->arrival = *arrival;
    stream->message_bytes_max = arrival->row->message_bytes_max;
    start_end(stream);
    if (stream->ops->on_open != NULL) {
        stream->ops->on_open(stream);
    }
}
