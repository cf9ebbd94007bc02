/* Any bytes as a log entry: decoded or refused; what is decoded is encoded again, decoded to the
 * same, and applied without harm. */
#include <string.h>

#include "fsmaster/command_rpc.h"
#include "tests/lib/namespace_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fixture f;
    struct command_entry entry;
    struct buf first = BUF_INIT;
    struct buf second = BUF_INIT;
    fixture_init(&f);
    f.arena.bytes_max = 64 * 1024 * 1024;
    if (command_decode((struct span){data, size}, &f.arena, &entry, NULL) == 0 &&
        command_encode(&entry, &f.arena, &first, NULL) == 0) {
        struct span bytes = {first.data, first.length};
        bool same = command_decode(bytes, &f.arena, &entry, NULL) == 0 &&
                    command_encode(&entry, &f.arena, &second, NULL) == 0 &&
                    first.length == second.length &&
                    memcmp(first.data, second.data, first.length) == 0;
        f.caller = entry.caller;
        (void)(same ? fixture_apply(&f, entry) : (__builtin_trap(), NULL));
    }
    buf_deinit(&first);
    buf_deinit(&second);
    fixture_deinit(&f);
    return 0;
}
