/* How a job goes in the log lines of Hadoop 3's own `hadoop jar`, on stderr, for programs that
 * start one and read what it says (mrjob, Oozie, Airflow): "2026-01-02 03:04:05,678 INFO
 * mapreduce.Job: Running job: job_1_0001". Shape: log4j's "%d{ISO8601} %p %c{2}: %m%n", local time;
 * the loggers' names are those of Hadoop's Job and StreamJob. One thread. */
#ifndef MAPREDUCE_MR_HADOOP_LINES_H
#define MAPREDUCE_MR_HADOOP_LINES_H

#include <stdint.h>

#include "common/buf.h"
#include "mapreduce/job_types.h"

enum { HADOOP_LINES_POLL_MS = 1000 }; /* how often Hadoop's client looks */

void hadoop_lines_submitted(const char *job);

/* " map 50% reduce 0%", without its stamp, which makes each line another. Pure. */
void hadoop_lines_progress_text(const struct job_status *status, struct buf *out);
void hadoop_lines_progress(const char *text);

/* Counters and the output directory, as typed. */
void hadoop_lines_succeeded(const struct job_status *status, const char *output);
/* attempt: that the failure tells of; "": none. Its words are the message's other lines. */
void hadoop_lines_failed(const struct job_status *status, const char *attempt);
/* The last line of a streaming job without success, whether it ran or not. */
void hadoop_lines_end_failed(void);

#endif
