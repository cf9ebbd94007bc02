/* What is normalised passes the check and normalises to itself; the check itself takes any bytes.
 */
#include <stdint.h>
#include <string.h>

#include "common/check.h"
#include "common/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf typed = BUF_INIT, once = BUF_INIT, twice = BUF_INIT;
    (void)!path_check((const char *)data, size, NULL);
    buf_append(&typed, data, size);
    if (path_normalize(typed.data, "/user/ada", &once, NULL) == 0) {
        CHECK(path_check(once.data, once.length, NULL) == 0);
        CHECK(path_normalize(once.data, "/", &twice, NULL) == 0);
        CHECK(strcmp(once.data, twice.data) == 0);
    }
    buf_deinit(&typed);
    buf_deinit(&once);
    buf_deinit(&twice);
    return 0;
}
