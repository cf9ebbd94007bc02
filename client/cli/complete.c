/* The script is made of the one table, so it cannot fall behind it. Paths are asked of the store as
 * they are typed, one directory at a time and for half a second at most: no answer completes
 * nothing, and a shell that hangs is worse. */
#include "client/cli/complete.h"

#include <stdlib.h>

#include "client/cli/cli.h"

static const char head[] =
    "# Completion of dfs, hadoop fs and hdfs dfs: . <(dfs completion bash)\n"
    "_dfs_paths()\n"
    "{\n"
    "    local IFS=$'\\n' path\n"
    "    compopt -o nospace -o filenames 2>/dev/null\n"
    "    for path in $(dfs ls -C -q -d --timeout 500ms -- \"$1*\" 2>/dev/null); do\n"
    "        COMPREPLY+=(\"$path\")\n"
    "    done\n"
    "    # The only match is a directory: on with what is in it.\n"
    "    if [ ${#COMPREPLY[@]} = 1 ] && dfs test -d \"${COMPREPLY[0]}\" -q --timeout 500ms "
    "2>/dev/null; then\n"
    "        COMPREPLY[0]+=/\n"
    "    fi\n"
    "}\n"
    "_dfs()\n"
    "{\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} first=1 command flags\n"
    "    case ${COMP_WORDS[0]##*/} in\n"
    "    hadoop | hdfs) first=2 ;;\n"
    "    esac\n"
    "    COMPREPLY=()\n"
    "    if [ \"$COMP_CWORD\" -lt $first ]; then\n"
    "        COMPREPLY=($(compgen -W 'fs dfs dfsadmin fsck version' -- \"$word\"))\n"
    "        return\n"
    "    fi\n"
    "    command=${COMP_WORDS[first]#-}\n"
    "    if [ \"$COMP_CWORD\" = $first ]; then\n"
    "        local dash=\n"
    "        [ \"${word#-}\" = \"$word\" ] || dash=-\n"
    "        COMPREPLY=($(compgen -P \"$dash\" -W \"$_dfs_commands\" -- \"${word#-}\"))\n"
    "        return\n"
    "    fi\n"
    "    case $command in\n";

static const char tail[] =
    "    *) flags= ;;\n"
    "    esac\n"
    "    case $word in\n"
    "    -*) COMPREPLY=($(compgen -W \"$flags\" -- \"$word\")) ;;\n"
    "    *)\n"
    "        case $command in\n"
    "        help | usage) COMPREPLY=($(compgen -W \"$_dfs_commands\" -- \"$word\")) ;;\n"
    "        put | append | copyFromLocal | moveFromLocal | appendToFile)\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            COMPREPLY=($(compgen -f -- \"$word\"))\n"
    "            ;;\n"
    "        esac\n"
    "        [[ $word != /* ]] && [ ${#COMPREPLY[@]} -gt 0 ] || _dfs_paths \"$word\"\n"
    "        ;;\n"
    "    esac\n"
    "}\n"
    "complete -F _dfs dfs hadoop hdfs\n";

static void append_flags(struct buf *out, const struct cli_command *command)
{
    struct config_row *rows = NULL;
    char *name = NULL;
    struct config_program program = cli_program(command, &rows, &name);
    for (size_t i = 0; i < program.row_count; i++) {
        const struct config_row *row = &program.rows[i];
        if (row->type != CONFIG_HEADING && !(row->flags & CONFIG_HIDDEN)) {
            buf_printf(out, "--%s ", row->key);
        }
    }
    buf_append_str(out, "--help");
    free(rows);
    free(name);
}

static void append_names(struct buf *out, const struct cli_command *command, const char *between)
{
    buf_append_str(out, command->name);
    for (size_t i = 0; i < cli_alias_count; i++) {
        if (cli_find(cli_aliases[i].name) == command) {
            buf_printf(out, "%s%s", between, cli_aliases[i].name);
        }
    }
}

void complete_print_bash(struct buf *out)
{
    buf_append_str(out, "_dfs_commands='help usage version completion");
    for (size_t i = 0; i < cli_command_count; i++) {
        buf_append_byte(out, ' ');
        append_names(out, cli_commands[i], " ");
    }
    buf_append_str(out, "'\n");
    buf_append_str(out, head);
    for (size_t i = 0; i < cli_command_count; i++) {
        buf_append_str(out, "    ");
        append_names(out, cli_commands[i], " | ");
        buf_append_str(out, ") flags='");
        append_flags(out, cli_commands[i]);
        buf_append_str(out, "' ;;\n");
    }
    buf_append_str(out, tail);
}
