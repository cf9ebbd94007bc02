/* The subcommands of `mr` beside run. Each parses its own flags from argv[1] on (argv[0] is its
 * name) and returns the exit code. */
#ifndef MAPREDUCE_MR_COMMANDS_H
#define MAPREDUCE_MR_COMMANDS_H

int command_list(int argc, char **argv);
int command_history(int argc, char **argv);
int command_status(int argc, char **argv);
int command_kill(int argc, char **argv);
int command_counters(int argc, char **argv);
int command_why(int argc, char **argv);
int command_workers(int argc, char **argv);
int command_logs(int argc, char **argv);
int command_replay(int argc, char **argv);

#endif
