/* What programs print: lines on stderr, counters, and lines that are cut into key and value. */
#include <stdint.h>

#include "common/check.h"
#include "mapreduce/engine/counters.h"
#include "mapreduce/engine/report.h"
#include "mapreduce/engine/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct counters counters;
    struct job_fields fields = {"\t", 1};
    counters_init(&counters);
    struct report report = report_parse((struct span){data, size}, "reporter:");
    if (report.kind == REPORT_COUNTER) {
        counters_add_named(&counters, report.group, report.name, report.amount);
    }
    (void)!counters_decode(&counters, data, size);
    struct mr_record record = stream_cut_line(&fields, mr_bytes(data, size));
    CHECK(record.key.length + record.value.length <= size);
    counters_deinit(&counters);
    return 0;
}
