/* See skip_note.h. */
#include "mapreduce/engine/skip_note.h"

#include <inttypes.h>

#include "common/macros.h"
#include "common/parse.h"

enum { SHOWN_BYTES = 200 }; /* of a key or path */

/* Keys may be any bytes; what is shown and travels is text. */
static void append_text(struct buf *out, struct mr_span bytes)
{
    const unsigned char *at = bytes.data;
    size_t length = MIN(bytes.length, (size_t)SHOWN_BYTES);
    bool utf8 = length > 0 && utf8_valid(at, length);
    for (size_t i = 0; i < length; i++) {
        bool strange = at[i] < 0x20 || at[i] == 0x7f || (at[i] >= 0x80 && !utf8);
        buf_append_byte(out, strange ? '?' : at[i]);
    }
    buf_append_str(out, bytes.length > length ? "..." : "");
}

void skip_place_text(const struct skip_place *place, struct buf *out)
{
    if (place->reduce) {
        buf_append_str(out, "the key '");
        append_text(out, place->name);
        buf_printf(out, "' (key group %" PRIu64 " of the task)", place->ordinal + 1);
    } else {
        buf_printf(out, "the record at offset %" PRIu64 " of ", place->offset);
        append_text(out, place->name);
        buf_printf(out, " (record %" PRIu64 " of the task)", place->ordinal + 1);
    }
}

void skip_note_text(const struct skip_note *note, bool reduce, struct buf *out)
{
    struct skip_place place = {
        .reduce = reduce,
        .ordinal = note->record - 1,
        .name = mr_bytes(note->name, MIN(note->name_length, (uint32_t)SKIP_NAME_BYTES)),
        .offset = note->offset};
    skip_place_text(&place, out);
}
