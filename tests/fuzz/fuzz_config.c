/* The configuration file, with one row of each type. */
#include <stdint.h>

#include "common/config.h"
#include "common/macros.h"

struct options {
    const char *string;
    int64_t integer;
    uint64_t size, duration;
    bool flag;
    struct config_list list;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct config_row rows[] = {
        {.key = "s", .type = CONFIG_STRING, .offset = offsetof(struct options, string)},
        {.key = "i", .type = CONFIG_INT, .offset = offsetof(struct options, integer), .max = 9},
        {.key = "z", .type = CONFIG_SIZE, .offset = offsetof(struct options, size)},
        {.key = "d", .type = CONFIG_DURATION, .offset = offsetof(struct options, duration)},
        {.key = "b", .type = CONFIG_BOOL, .offset = offsetof(struct options, flag)},
        {.key = "l", .type = CONFIG_LIST, .offset = offsetof(struct options, list)}};
    static const struct config_program program = {
        .name = "mr", .summary = "", .rows = rows, .row_count = ARRAY_COUNT(rows)};
    struct err e = ERR_INIT;
    (void)!config_check_text(&program, "f", (const char *)data, size, &e);
    return 0;
}
