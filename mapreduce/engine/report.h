/* What a program says on stderr: lines `reporter:counter:GROUP,NAME,AMOUNT` and
 * `reporter:status:TEXT` are for the framework, all others are its log. Pure. */
#ifndef MAPREDUCE_ENGINE_REPORT_H
#define MAPREDUCE_ENGINE_REPORT_H

#include <stdint.h>

#include "common/buf.h"

enum report_kind { REPORT_LOG, REPORT_COUNTER, REPORT_STATUS };

struct report {
    enum report_kind kind;
    struct span group; /* REPORT_COUNTER; all point into the line */
    struct span name;
    int64_t amount;
    struct span text; /* REPORT_STATUS: the status; REPORT_LOG: the line */
};

/* A line without its newline. One that begins like a report but is none is log. */
struct report report_parse(struct span line, const char *prefix);

#endif
