/* `dfs completion bash`: the script that completes commands, flags and paths of the store. */
#ifndef CLIENT_CLI_COMPLETE_H
#define CLIENT_CLI_COMPLETE_H

#include "common/buf.h"

/* Also for zsh, after `autoload -U bashcompinit; bashcompinit`. */
void complete_print_bash(struct buf *out);

#endif
