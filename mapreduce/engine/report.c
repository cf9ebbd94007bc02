/* Exactly three fields divided by commas, the last one a whole number; see report.h. */
#include "mapreduce/engine/report.h"

#include <string.h>

#include "common/parse.h"

/* Cuts `head` off the front of *text if it is there. */
static bool cut_head(struct span *text, const char *head)
{
    size_t length = strlen(head);
    if (text->length < length || memcmp(text->data, head, length) != 0) {
        return false;
    }
    *text = (struct span){(const char *)text->data + length, text->length - length};
    return true;
}

/* Cuts a field and its comma off the front. */
static bool cut_field(struct span *text, struct span *ret_field)
{
    const char *comma = text->length > 0 ? memchr(text->data, ',', text->length) : NULL;
    if (!comma) {
        return false;
    }
    size_t length = (size_t)(comma - (const char *)text->data);
    *ret_field = (struct span){text->data, length};
    *text = (struct span){comma + 1, text->length - length - 1};
    return true;
}

static bool parse_amount(struct span text, int64_t *ret)
{
    char number[32];
    while (text.length > 0 && strchr(" \r", ((const char *)text.data)[text.length - 1])) {
        text.length--;
    }
    if (text.length == 0 || text.length >= sizeof(number)) {
        return false;
    }
    memcpy(number, text.data, text.length);
    number[text.length] = '\0';
    return strlen(number) == text.length && parse_i64(number, ret, NULL) == 0;
}

struct report report_parse(struct span line, const char *prefix)
{
    struct report report = {.kind = REPORT_LOG, .text = line};
    struct span rest = line;
    if (!cut_head(&rest, prefix)) {
        return report;
    }
    if (cut_head(&rest, "status:")) {
        report.kind = REPORT_STATUS;
        report.text = rest;
    } else if (cut_head(&rest, "counter:") && cut_field(&rest, &report.group) &&
               cut_field(&rest, &report.name) && parse_amount(rest, &report.amount)) {
        report.kind = REPORT_COUNTER;
    }
    return report;
}
