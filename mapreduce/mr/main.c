/* mr: runs MapReduce jobs. */
#include <stdio.h>
#include <string.h>

#include "mapreduce/mr/options.h"
#include "mapreduce/mr/run_local.h"

static int run(int argc, char **argv)
{
    struct run_command command;
    int code = run_command_parse(&command, argc, argv);
    if (code < 0 && command.options.local) {
        code = run_local(&command);
    } else if (code < 0) {
        (void)fprintf(stderr, "mr run: only --local jobs are possible with this program\n");
        code = 2;
    }
    run_command_deinit(&command);
    return code;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "run") == 0) {
        return run(argc - 1, argv + 1);
    }
    (void)fprintf(stderr, "usage: mr run [--local] OPTIONS (see mr run --help)\n");
    return 2;
}
