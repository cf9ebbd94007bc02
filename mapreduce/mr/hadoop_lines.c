/* See hadoop_lines.h. */
#include "mapreduce/mr/hadoop_lines.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/macros.h"
#include "mapreduce/mr/show.h"

static const char job_logger[] = "mapreduce.Job";
static const char streaming_logger[] = "streaming.StreamJob";

static void begin_line(const char *level, const char *logger)
{
    char text[32] = "";
    struct tm tm;
    time_ms now = clock_wall_ms();
    time_t seconds = (time_t)(now / 1000);
    if (localtime_r(&seconds, &tm)) {
        (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    }
    (void)fprintf(stderr, "%s,%03u %s %s: ", text, (unsigned)(now % 1000), level, logger);
}

static void line(const char *level, const char *logger, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void line(const char *level, const char *logger, const char *format, ...)
{
    va_list args;
    begin_line(level, logger);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

void hadoop_lines_submitted(const char *job)
{
    line("INFO", job_logger, "Running job: %s", job);
}

void hadoop_lines_progress_text(const struct job_status *status, struct buf *out)
{
    buf_printf(out, " map %" PRIu32 "%% reduce %" PRIu32 "%%", status->map_permille / 10,
               status->reduce_permille / 10);
}

void hadoop_lines_progress(const char *text)
{
    line("INFO", job_logger, "%s", text);
}

static void write_counters(const struct job_status *status)
{
    line("INFO", job_logger, "Counters: %zu", show_count_counters(status));
    show_counter_lines(stderr, status);
}

void hadoop_lines_succeeded(const struct job_status *status, const char *output)
{
    line("INFO", job_logger, "Job %s completed successfully", status->job);
    write_counters(status);
    line("INFO", streaming_logger, "Output directory: %s", output);
}

void hadoop_lines_failed(const struct job_status *status, const char *attempt)
{
    bool killed = status->state == JOB_STATE_KILLED;
    const char *cause = attempt[0] != '\0' ? attempt : status->failure;
    if (attempt[0] != '\0') {
        line("INFO", job_logger, "Task Id : %s, Status : FAILED\n%s", attempt, status->failure);
    }
    line("INFO", job_logger, "Job %s failed with state %s due to: %s", status->job,
         killed ? "KILLED" : "FAILED", cause[0] != '\0' ? cause : "unknown");
    if (status->counters.count > 0) {
        write_counters(status);
    }
    line("ERROR", streaming_logger, "Job not successful!");
}

void hadoop_lines_end_failed(void)
{
    (void)fputs("Streaming Command Failed!\n", stderr);
}
