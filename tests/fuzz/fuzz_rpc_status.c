/* A peer's status: code, then texts that end at a newline each. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/check.h"
#include "common/rpc/rpc_status.h"

static struct span line(const uint8_t **data, size_t *size)
{
    const uint8_t *end = *size > 0 ? memchr(*data, '\n', *size) : NULL;
    size_t length = end == NULL ? *size : (size_t)(end - *data);
    struct span text = {*data, length};
    *data += length + (end != NULL);
    *size -= length + (end != NULL);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rpc_status_parts parts = {.status = size > 0 ? data[0] % 18 : 2};
    parts.name = line(&data, &size);
    parts.leader = line(&data, &size);
    parts.text = line(&data, &size);
    parts.position = line(&data, &size);
    struct rpc_result result;
    rpc_status_parse(&parts, &result);
    CHECK((result.code == 0) == (parts.status == 0));
    CHECK(memchr(result.text, 0, sizeof(result.text)) != NULL);
    CHECK(memchr(result.leader, 0, sizeof(result.leader)) != NULL);
    CHECK(result.definite == (result.code != ERR_UNKNOWN));
    return 0;
}
