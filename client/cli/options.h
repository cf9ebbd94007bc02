/* How a command writes its flags down (common/config.h), and the rows that several have. */
#ifndef CLIENT_CLI_OPTIONS_H
#define CLIENT_CLI_OPTIONS_H

#include <stddef.h>

#include "client/cli/cli.h"
#include "common/macros.h"

#define ROW(name, kind, member)                                                                    \
    .key = (name), .type = (kind), .offset = offsetof(struct cli_options, member)
/* A flag that is meant for one call: neither environment nor file. */
#define ONCE(name, kind, member) ROW(name, kind, member), .flags = CONFIG_FLAG_ONLY
/* What scripts of hadoop fs may say and what changes nothing here. */
#define ACCEPTED(name) ROW(name, CONFIG_BOOL, accepted), .flags = CONFIG_FLAG_ONLY | CONFIG_HIDDEN

#define ROWS(table) .rows = (table), .row_count = ARRAY_COUNT(table)

enum { ARGUMENTS_MANY = 1 << 20 };

#define ROW_HUMAN                                                                                  \
    {                                                                                              \
        ONCE("human", CONFIG_BOOL, human), .letter = 'h', .help = "Sizes such as 64.0 M."          \
    }
#define ROW_THREADS                                                                                \
    {                                                                                              \
        ONCE("threads", CONFIG_INT, threads),                                                      \
            .letter = 't', .value_name = "N", .default_text = "4", .min = 1,                       \
            .max = TRANSFER_THREADS_MAX, .help = "Files that are copied at a time."                \
    }

#define ROW_TRASH                                                                                  \
    {                                                                                              \
        ROW("trash", CONFIG_BOOL, trash),                                                          \
            .default_text = "true", .env = "DFS_TRASH",                                            \
            .help = "Move to your trash, /user/NAME/.Trash/Current; `dfs undelete' takes it back." \
    }
#define ROW_TRASH_KEEP                                                                             \
    {                                                                                              \
        ROW("trash-keep", CONFIG_DURATION, trash_keep_ms),                                         \
            .value_name = "TIME", .min = 0, .max = INT64_MAX, .env = "DFS_TRASH_KEEP",             \
            .help = "Empty the trash of what has been there for so long. Default: expunge takes "  \
                    "one day, rm leaves that to the file master."                                  \
    }

enum { TRANSFER_THREADS_MAX = 64 };

#endif
