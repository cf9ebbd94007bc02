/* Text and raw output; see output.h. */
#include "mapreduce/engine/output.h"

#include <string.h>

enum { OUTPUT_BYTES = 1024 * 1024 }; /* written at a time */

void output_init(struct output *o, const struct job *job, struct sink *sink, struct err *e)
{
    *o = (struct output){.sink = sink, .job = job, .e = e};
    region_reserve(&o->region, OUTPUT_BYTES);
}

void output_deinit(struct output *o)
{
    region_deinit(&o->region);
}

static void write_out(struct output *o, const void *data, size_t length)
{
    if (o->error == 0 && length > 0) {
        o->error = o->sink->write(o->sink, data, length, o->e);
    }
}

static void flush(struct output *o)
{
    write_out(o, o->region.data, o->length);
    o->length = 0;
}

static void append_slow(struct output *o, const void *data, size_t length)
{
    flush(o);
    if (length > OUTPUT_BYTES) {
        write_out(o, data, length);
    } else {
        memcpy(o->region.data, data, length);
        o->length = length;
    }
}

static inline void append(struct output *o, struct mr_span bytes)
{
    o->bytes += bytes.length;
    if (bytes.length > OUTPUT_BYTES - o->length) {
        append_slow(o, bytes.data, bytes.length);
    } else if (bytes.length > 0) {
        memcpy(o->region.data + o->length, bytes.data, bytes.length);
        o->length += bytes.length;
    }
}

void output_record(struct output *o, struct mr_span key, struct mr_span value)
{
    o->records++;
    append(o, key);
    if (o->job->output == MR_OUTPUT_RAW) {
        append(o, value);
        return;
    }
    if (value.length > 0 || o->job->keep_trailing_tab) {
        append(o, mr_string(o->job->output_separator));
        append(o, value);
    }
    append(o, mr_bytes("\n", 1));
}

void output_line(struct output *o, struct mr_span line)
{
    o->records++;
    append(o, line);
    if (o->job->keep_trailing_tab && (line.length == 0 || !memchr(line.data, '\t', line.length))) {
        append(o, mr_bytes("\t", 1));
    }
    append(o, mr_bytes("\n", 1));
}

int output_finish(struct output *o)
{
    flush(o);
    if (o->error == 0) {
        o->error = o->sink->finish(o->sink, o->e);
    }
    return o->error;
}
