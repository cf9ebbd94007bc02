/* The library's life, counted. gRPC's own messages go nowhere unless GRPC_VERBOSITY asks for them:
 * what matters of them comes back in results. */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include <grpc/support/log.h>

#include "common/limits.h"
#include "common/rpc/rpc_internal.h"

enum {
    MMAP_THRESHOLD_BYTES = 16 * 1024 * 1024, /* above any message; glibc allows up to 32 MiB */
    TRIM_THRESHOLD_BYTES = 128 * 1024 * 1024,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards count */
static unsigned count;
static grpc_resource_quota *quotas[2]; /* client, server */

static void log_nothing(gpr_log_func_args *args)
{
    (void)args;
}

static void start(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES);
    if (getenv("GRPC_VERBOSITY") == NULL) {
        gpr_set_log_function(log_nothing);
    }
    grpc_init();
    for (size_t i = 0; i < 2; i++) {
        quotas[i] = grpc_resource_quota_create(i ? "server" : "client");
        grpc_resource_quota_resize(quotas[i], RPC_QUOTA_BYTES);
    }
}

void rpc_init(void)
{
    pthread_mutex_lock(&lock);
    if (count++ == 0) {
        start();
    }
    pthread_mutex_unlock(&lock);
}

void rpc_exit(void)
{
    pthread_mutex_lock(&lock);
    CHECK(count > 0);
    if (--count == 0) {
        for (size_t i = 0; i < 2; i++) {
            grpc_resource_quota_unref(quotas[i]);
        }
        grpc_shutdown();
    }
    pthread_mutex_unlock(&lock);
}

grpc_resource_quota *rpc_quota(bool server)
{
    CHECK(quotas[server] != NULL);
    return quotas[server];
}
