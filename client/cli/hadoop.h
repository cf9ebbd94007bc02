/* The names that Hadoop's users type: argv[0] `hadoop` (fs, jar, version) and `hdfs` (dfs,
 * dfsadmin, fsck, version), turned into words of dfs. */
#ifndef CLIENT_CLI_HADOOP_H
#define CLIENT_CLI_HADOOP_H

#include <stdint.h>

#include <trireme/dfs_cluster.h>

enum hadoop_name { HADOOP_NONE, HADOOP_HADOOP, HADOOP_HDFS };

/* By the last part of argv[0]. */
enum hadoop_name hadoop_name_of(const char *program);

/* `*argv` in Hadoop's words becomes a command line of dfs (argv[1] its command) in new memory that
 * is never freed: it is the process's command line. -1 to go on, else the exit status: all is done
 * or said. `hadoop jar` runs `mr run` in this process's place. */
int hadoop_translate(enum hadoop_name name, int *argc, char ***argv);

/* Hadoop's form of figures: "1.11 TB"; "Fri Jun 03 06:18:46 KST 2022". */
char *hadoop_size_text(uint64_t bytes, char text[32]);
void hadoop_date_text(uint64_t wall_ms, char text[64]);
/* As hdfs dfsadmin -report. */
void hadoop_print_report(const struct dfs_report *r);

#endif
