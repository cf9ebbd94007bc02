/* A job's state for people and as JSON. */
#ifndef MAPREDUCE_MR_SHOW_H
#define MAPREDUCE_MR_SHOW_H

#include <stdio.h>

#include <jansson.h>

#include "mapreduce/job_types.h"

/* Everything, counters by group. The caller owns the reference. */
json_t *show_status_json(const struct job_status *status);
/* Any bytes as a JSON string: JSON has no others than UTF-8, and each byte that is not ASCII
 * becomes
 * '?' where they are none. */
json_t *show_text(const char *text);
/* Appends an item, whose reference it takes, and returns the list; NULL, with both dropped, when
 * one of them is: nothing may be missing in silence. */
json_t *show_append(json_t *list, json_t *item);
/* Prints it to stdout with a newline, and drops the reference. Returns the exit code. */
int show_json(json_t *value);

/* "Map-Reduce Framework" and its kin, indented, in the order of the engine's table; with a heading.
 */
void show_counters(FILE *to, const struct job_status *status);
/* The same without the heading. */
void show_counter_lines(FILE *to, const struct job_status *status);
size_t show_count_counters(const struct job_status *status);
/* Where tasks ran and bytes came from; two lines. */
void show_locality(FILE *to, const struct job_status *status);
/* "3 attempts failed, 1 was lost with its worker"; nothing when all went well. */
void show_attempts(FILE *to, const struct job_status *status);
/* That bad records were left out, and where to see which; nothing when none were. */
void show_skipped(FILE *to, const struct job_status *status);

/* Milliseconds since the job was submitted, or that it took. */
time_ms show_elapsed_ms(const struct job_status *status);

#endif
