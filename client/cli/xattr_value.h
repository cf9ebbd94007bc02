/* Values of extended attributes as people write them, in the spellings of Hadoop and of
 * getfattr(1): plain or "quoted" text, 0x and hexadecimal digits, 0s and base64. Pure. */
#ifndef CLIENT_CLI_XATTR_VALUE_H
#define CLIENT_CLI_XATTR_VALUE_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"

enum xattr_encoding {
    XATTR_AS_FITS, /* text if it can be read as one, else base64 */
    XATTR_AS_TEXT,
    XATTR_AS_HEX,
    XATTR_AS_BASE64,
};

/* "text", "hex", "base64". False: none of these. */
bool xattr_encoding_of(const char *name, enum xattr_encoding *ret);
const char *xattr_encoding_name(enum xattr_encoding encoding); /* but XATTR_AS_FITS */

/* UTF-8 without control characters. */
bool xattr_is_text(struct span value);

/* Appends to out. ERR_INVALID: not hexadecimal, not base64. */
int xattr_value_parse(const char *text, struct buf *out, struct err *e) MUST_CHECK;
/* Appends to out what xattr_value_parse() takes, text in quotes. */
void xattr_value_print(struct span value, enum xattr_encoding encoding, struct buf *out);

#endif
