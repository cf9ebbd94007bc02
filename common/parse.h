/* Text to numbers and back: strict parsers for everything a user types, and the forms in which we
 * show figures. Pure. Parsers take the whole string or refuse it: no spaces, no sign for unsigned,
 * no trailing text, no overflow. All return 0 or ERR_INVALID, write *ret only on success, and e
 * says what is allowed. */
#ifndef COMMON_PARSE_H
#define COMMON_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

int parse_u64(const char *text, uint64_t *ret, struct err *e) MUST_CHECK; /* decimal */
int parse_i64(const char *text, int64_t *ret, struct err *e) MUST_CHECK;  /* decimal, '-' allowed */
/* true, yes, on, 1; false, no, off, 0. */
int parse_bool(const char *text, bool *ret, struct err *e) MUST_CHECK;

/* Bytes: "4096", "64K", "64M", "1.5G", "2T"; K is 1024; "KiB" and "KB" are understood as K, and so
 * on. */
int parse_size(const char *text, uint64_t *ret_bytes, struct err *e) MUST_CHECK;

/* Milliseconds: "250ms", "5s", "1.5m", "2h", "1d"; "0" alone needs no unit. */
int parse_duration(const char *text, uint64_t *ret_ms, struct err *e) MUST_CHECK;

/* "host:port", "[::1]:port" or ":port"; ret_host has host_bytes_max bytes, "" for ":port". */
int parse_address(const char *text, char *ret_host, size_t host_bytes_max, uint16_t *ret_port,
                  struct err *e) MUST_CHECK;

/* Whether others can be told to reach us at the address. ERR_INVALID: it names no machine (":7000",
 * "0.0.0.0:7000", "[::]:7000"), or is none; e says what to do. */
int address_advertised_check(const char *text, struct err *e) MUST_CHECK;

/* Whether all items between commas (and spaces) are addresses of somebody: HOST:PORT. ERR_INVALID
 * names the first that is none. */
int address_list_check(const char *text, struct err *e) MUST_CHECK;

/* Exactly 2 * length hexadecimal digits to length bytes. */
int parse_hex(const char *text, void *ret_bytes, size_t length, struct err *e) MUST_CHECK;

/* Shown forms. Each writes into the caller's text and returns it. */
enum { FORMAT_TEXT_BYTES = 32 };
/* "0", "512", "64.0 K", "1.5 G". */
char *format_bytes(uint64_t bytes, char text[FORMAT_TEXT_BYTES]);
/* "12 ms", "3.4 s", "2m05s", "3h04m", "2d03h". */
char *format_duration(uint64_t ms, char text[FORMAT_TEXT_BYTES]);
/* "64M", "1000"; "250ms", "2m": the parsers give the same value back. */
char *format_size_exact(uint64_t bytes, char text[FORMAT_TEXT_BYTES]);
char *format_duration_exact(uint64_t ms, char text[FORMAT_TEXT_BYTES]);
/* Two lower-case digits a byte; text has 2 * length + 1 bytes. */
char *format_hex(const void *data, size_t length, char *text);

/* The edit distance between two short strings (Damerau-Levenshtein, adjacent swaps count one), for
 * "did you mean". */
size_t text_distance(const char *a, const char *b);

/* Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool utf8_valid(const void *data, size_t length);

#endif
