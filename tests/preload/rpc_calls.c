/* What a client asks: LD_PRELOAD it, and each call and stream that the process begins leaves the
 * name of its method as a line in the file RPC_CALLS.
 *
 * A call counts when it is begun, whatever comes of it. Not seen: how many operations a Mutate has,
 * and what goes over a chunkserver's local socket. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grpc/grpc.h>

typedef grpc_call *(*create_fn)(grpc_channel *, grpc_call *, uint32_t, grpc_completion_queue *,
                                grpc_slice, const grpc_slice *, gpr_timespec, void *);

static void note(const char *path, const void *name, size_t length)
{
    char line[256];
    int bytes = snprintf(line, sizeof(line), "%.*s\n", (int)length, (const char *)name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, line, (size_t)bytes) != bytes) {
        perror(path);
        abort();
    }
    (void)close(fd);
}

/* The signature is gRPC's. method is "/trireme.v1.FsMaster/Stat"; "/wake", with which a loop wakes
 * itself, is never sent. */
grpc_call *grpc_channel_create_call(grpc_channel *channel, grpc_call *parent, uint32_t mask,
                                    grpc_completion_queue *queue, grpc_slice method,
                                    const grpc_slice *host, gpr_timespec deadline, void *reserved)
{
    const char *path = getenv("RPC_CALLS");
    const char *name = (const char *)GRPC_SLICE_START_PTR(method);
    size_t length = GRPC_SLICE_LENGTH(method);
    const char *slash = memrchr(name, '/', length);
    create_fn create = (create_fn)dlsym(RTLD_NEXT, "grpc_channel_create_call");
    if (path && slash && slash > name) {
        note(path, slash + 1, (size_t)(name + length - slash) - 1);
    }
    if (!create) {
        abort();
    }
    return create(channel, parent, mask, queue, method, host, deadline, reserved);
}
