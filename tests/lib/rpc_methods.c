/* Reads the few fields of a FileDescriptorSet (google/protobuf/descriptor.proto) that it needs:
 * set.file = 1; file.name = 1, package = 2, service = 6; service.name = 1, method = 2; method.name
 * = 1, input_type = 2, output_type = 3, client_streaming = 5, server_streaming = 6. */
#include "tests/lib/rpc_methods.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <protobuf-c/protobuf-c.h>

#include "common/buf.h"
#include "common/sys.h"

enum { DESCRIPTOR_BYTES_MAX = 1024 * 1024 };

/* One field of a message. */
struct field {
    unsigned number;
    uint64_t value;    /* of a varint */
    struct span bytes; /* of a length-delimited one */
};

/* False at the end, or where the bytes make no sense. */
static bool next_field(struct cursor *c, struct field *field)
{
    if (c->left == 0 || c->failed) {
        return false;
    }
    uint64_t tag = cursor_varint(c);
    *field = (struct field){.number = (unsigned)(tag >> 3), .bytes = {"", 0}};
    if ((tag & 7) == 0) {
        field->value = cursor_varint(c);
    } else if ((tag & 7) == 2) {
        field->bytes = cursor_bytes(c, cursor_varint(c));
    } else {
        c->failed = true;
    }
    return !c->failed;
}

struct search {
    const struct rpc_method *method; /* NULL: only count */
    size_t count;
    bool found;
    struct span package;
    struct span service;
    struct err *e;
    int result;
};

static bool same_type(struct span declared, const ProtobufCMessageDescriptor *type)
{
    const char *name = declared.data; /* ".trireme.v1.EchoRequest" */
    return declared.length == strlen(type->name) + 1 && name[0] == '.' &&
           memcmp(name + 1, type->name, declared.length - 1) == 0;
}

static void check_method(struct search *s, struct span bytes)
{
    struct span name = {"", 0}, input = {"", 0}, output = {"", 0};
    bool client_streams = false, server_streams = false;
    struct cursor c = cursor_of(bytes.data, bytes.length);
    struct field field;
    while (next_field(&c, &field)) {
        name = field.number == 1 ? field.bytes : name;
        input = field.number == 2 ? field.bytes : input;
        output = field.number == 3 ? field.bytes : output;
        client_streams = client_streams || (field.number == 5 && field.value);
        server_streams = server_streams || (field.number == 6 && field.value);
    }
    s->count++;
    char full[512];
    (void)snprintf(full, sizeof(full), "/%.*s.%.*s/%.*s", (int)s->package.length,
                   (const char *)s->package.data, (int)s->service.length,
                   (const char *)s->service.data, (int)name.length, (const char *)name.data);
    if (s->method == NULL || strcmp(full, s->method->name) != 0) {
        return;
    }
    s->found = true;
    enum rpc_kind kind = client_streams ? (server_streams ? RPC_BIDI : RPC_CLIENT_STREAM)
                                        : (server_streams ? RPC_SERVER_STREAM : RPC_UNARY);
    if (kind != s->method->kind) {
        s->result = err_set(s->e, ERR_INVALID, "%s: kind is %d, table says %d", full, kind,
                            s->method->kind);
    } else if (!same_type(input, s->method->request) || !same_type(output, s->method->reply)) {
        s->result = err_set(s->e, ERR_INVALID, "%s: other message types", full);
    }
}

/* Goes down: depth 0 is the set, 1 a file, 2 a service. */
static void walk(struct search *s, struct span bytes, int depth)
{
    static const unsigned child[] = {1, 6, 2};
    static const unsigned name[] = {0, 2, 1}; /* 0, which no field has: a set has no name */
    for (int pass = 0; pass < 2; pass++) {    /* names first: order of fields is not promised */
        struct cursor c = cursor_of(bytes.data, bytes.length);
        struct field field;
        while (next_field(&c, &field)) {
            if (pass == 0 && field.number == name[depth]) {
                *(depth == 1 ? &s->package : &s->service) = field.bytes;
            } else if (pass == 1 && field.number == child[depth] && depth < 2) {
                walk(s, field.bytes, depth + 1);
            } else if (pass == 1 && field.number == child[depth]) {
                check_method(s, field.bytes);
            }
        }
    }
}

static int read_descriptors(const char *proto, struct buf *out, struct err *e)
{
    struct buf directory = BUF_INIT, command = BUF_INIT, path = BUF_INIT;
    const char *root = getenv("TRIREME_SOURCE");
    char here[4096];
    if (root == NULL && getcwd(here, sizeof(here)) != NULL) {
        char probe[8192];
        root = here;
        (void)snprintf(probe, sizeof(probe), "%s/%s", here, proto);
        while (access(probe, R_OK) != 0 && strrchr(here, '/') != NULL) {
            *strrchr(here, '/') = '\0';
            (void)snprintf(probe, sizeof(probe), "%s/%s", here, proto);
        }
    }
    int r = sys_make_temp_dir("trireme-protoc", &directory, e);
    if (r == 0) {
        buf_printf(&path, "%s/set", directory.data);
        buf_printf(&command, "protoc --descriptor_set_out='%s' -I '%s' '%s/%s'", path.data, root,
                   root, proto);
        r = system(command.data) == 0 ? 0 : err_set(e, ERR_IO, "failed: %s", command.data);
    }
    if (r == 0) {
        r = sys_read_file(path.data, DESCRIPTOR_BYTES_MAX, out, e);
    }
    if (directory.length > 0 && sys_remove_tree(directory.data, r == 0 ? e : NULL) < 0 && r == 0) {
        r = ERR_IO;
    }
    buf_deinit(&directory);
    buf_deinit(&command);
    buf_deinit(&path);
    return r;
}

int rpc_methods_check(const char *proto, const struct rpc_method *const *methods, size_t count,
                      struct err *e)
{
    struct buf set = BUF_INIT;
    int r = read_descriptors(proto, &set, e);
    for (size_t i = 0; i < count && r == 0; i++) {
        struct search s = {.method = methods[i], .e = e};
        walk(&s, (struct span){set.data, set.length}, 0);
        r = s.result;
        if (r == 0 && !s.found) {
            r = err_set(e, ERR_NOT_FOUND, "%s is not in %s", methods[i]->name, proto);
        }
    }
    buf_deinit(&set);
    return r;
}

int rpc_methods_count(const char *proto, size_t *ret_count, struct err *e)
{
    struct buf set = BUF_INIT;
    int r = read_descriptors(proto, &set, e);
    if (r == 0) {
        struct search s = {.method = NULL, .e = e};
        walk(&s, (struct span){set.data, set.length}, 0);
        *ret_count = s.count;
    }
    buf_deinit(&set);
    return r;
}
