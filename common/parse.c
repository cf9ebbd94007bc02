/* Numbers with units share one parser: digits, at most one fraction, then a unit from a table. The
 * fraction is computed in integers, so "1.5G" is exact and nothing depends on the locale. */
#include "common/parse.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/limits.h"
#include "common/macros.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"K", 1ULL << 10},
    {"KB", 1ULL << 10},
    {"KiB", 1ULL << 10},
    {"M", 1ULL << 20},
    {"MB", 1ULL << 20},
    {"MiB", 1ULL << 20},
    {"G", 1ULL << 30},
    {"GB", 1ULL << 30},
    {"GiB", 1ULL << 30},
    {"T", 1ULL << 40},
    {"TB", 1ULL << 40},
    {"TiB", 1ULL << 40},
    {"P", 1ULL << 50},
    {"PB", 1ULL << 50},
    {"PiB", 1ULL << 50},
};

static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000},
};

/* Digits at *at, which moves behind them. False: none, or beyond 64 bits. */
static bool take_digits(const char **at, uint64_t *ret)
{
    const char *start = *at;
    uint64_t value = 0;
    for (; isdigit((unsigned char)**at); (*at)++) {
        uint64_t digit = (uint64_t)(**at - '0');
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    *ret = value;
    return *at > start;
}

int parse_u64(const char *text, uint64_t *ret, struct err *e)
{
    const char *at = text;
    uint64_t value = 0;
    if (!take_digits(&at, &value) || *at != 0) {
        return err_set(e, ERR_INVALID, "\"%s\" is not a whole number from 0 to 2^64 - 1", text);
    }
    *ret = value;
    return 0;
}

int parse_i64(const char *text, int64_t *ret, struct err *e)
{
    bool negative = text[0] == '-';
    const char *at = text + negative;
    uint64_t magnitude = 0;
    uint64_t most = (uint64_t)INT64_MAX + negative;
    if (!take_digits(&at, &magnitude) || *at != 0 || magnitude > most) {
        return err_set(e, ERR_INVALID, "\"%s\" is not a whole number from -2^63 to 2^63 - 1", text);
    }
    *ret = negative ? (int64_t)-magnitude : (int64_t)magnitude;
    return 0;
}

int parse_bool(const char *text, bool *ret, struct err *e)
{
    static const char *const names[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = i % 2 == 1;
            return 0;
        }
    }
    return err_set(e, ERR_INVALID, "\"%s\" is not true, yes, on, 1, false, no, off or 0", text);
}

/* whole.fraction * factor, rounded down. At most 9 digits of fraction, so that nothing overflows
 * unseen. */
static bool scale(uint64_t whole, const char *fraction, size_t digits, uint64_t factor,
                  uint64_t *ret)
{
    unsigned __int128 numerator = whole;
    unsigned __int128 denominator = 1;
    if (digits > 9) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        numerator = numerator * 10 + (unsigned)(fraction[i] - '0');
        denominator *= 10;
    }
    unsigned __int128 value = numerator * factor / denominator;
    *ret = (uint64_t)value;
    return value <= UINT64_MAX;
}

static bool parse_with_unit(const char *text, const struct unit *units, size_t unit_count,
                            uint64_t *ret)
{
    const char *at = text;
    const char *fraction = "";
    uint64_t whole = 0;
    size_t digits = 0;
    if (!take_digits(&at, &whole)) {
        return false;
    }
    if (*at == '.') {
        fraction = at + 1;
        digits = strspn(fraction, "0123456789");
        at = fraction + digits;
        if (digits == 0) {
            return false;
        }
    }
    for (size_t i = 0; i < unit_count; i++) {
        if (strcasecmp(at, units[i].name) == 0) {
            return scale(whole, fraction, digits, units[i].factor, ret);
        }
    }
    return digits == 0 && whole == 0 && *at == 0 && (*ret = 0, true);
}

int parse_size(const char *text, uint64_t *ret_bytes, struct err *e)
{
    uint64_t bytes = 0;
    if (!parse_with_unit(text, size_units, ARRAY_COUNT(size_units), &bytes)) {
        return err_set(e, ERR_INVALID, "\"%s\" is not a size such as 4096, 64K, 1.5M, 2G or 1T",
                       text);
    }
    *ret_bytes = bytes;
    return 0;
}

int parse_duration(const char *text, uint64_t *ret_ms, struct err *e)
{
    uint64_t ms = 0;
    if (!parse_with_unit(text, duration_units, ARRAY_COUNT(duration_units), &ms)) {
        return err_set(e, ERR_INVALID, "\"%s\" is not a duration such as 250ms, 5s, 1.5m, 2h or 1d",
                       text);
    }
    *ret_ms = ms;
    return 0;
}

int parse_address(const char *text, char *ret_host, size_t host_bytes_max, uint16_t *ret_port,
                  struct err *e)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t host_length = colon != NULL ? (size_t)(colon - text) : 0;
    bool bracketed = host_length >= 2 && text[0] == '[' && colon[-1] == ']';
    if (bracketed) {
        host++;
        host_length -= 2;
    }
    bool clean = bracketed || memchr(host, ':', host_length) == NULL;
    uint64_t port = 0;
    if (colon == NULL || !clean || parse_u64(colon + 1, &port, NULL) < 0 || port > UINT16_MAX) {
        return err_set(e, ERR_INVALID,
                       "\"%s\" is not an address such as host:9000, [::1]:9000 or :0", text);
    }
    if (host_length >= host_bytes_max) {
        return err_set(e, ERR_INVALID, "the host name in \"%.40s...\" is longer than %zu bytes",
                       text, host_bytes_max - 1);
    }
    memcpy(ret_host, host, host_length);
    ret_host[host_length] = 0;
    *ret_port = (uint16_t)port;
    return 0;
}

int address_advertised_check(const char *text, struct err *e)
{
    static const char *const nobody[] = {"", "0", "0.0.0.0", "*"};
    char host[LIMIT_HOST_BYTES_MAX + 1];
    uint16_t port;
    int r = parse_address(text, host, sizeof(host), &port, e);
    if (r < 0) {
        return r;
    }
    bool none = strchr(host, ':') && strspn(host, ":0") == strlen(host); /* "::", in any spelling */
    for (size_t i = 0; i < ARRAY_COUNT(nobody); i++) {
        none = none || strcmp(host, nobody[i]) == 0;
    }
    return none ? err_set(e, ERR_INVALID,
                          "%s is every address of this machine and no name that others can reach "
                          "it by: say one with --advertise HOST:PORT",
                          text)
                : 0;
}

/* 16: none. */
static unsigned hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c == 0 ? NULL : strchr(digits, tolower((unsigned char)c));
    return at == NULL ? 16 : (unsigned)(at - digits);
}

int address_list_check(const char *text, struct err *e)
{
    char item[LIMIT_ADDRESS_BYTES_MAX];
    char host[LIMIT_HOST_BYTES_MAX + 1];
    while (*(text += strspn(text, ", ")) != '\0') {
        size_t length = strcspn(text, ", ");
        uint16_t port = 0;
        (void)snprintf(item, sizeof(item), "%.*s", (int)length, text);
        int r = length < sizeof(item) ? parse_address(item, host, sizeof(host), &port, NULL)
                                      : ERR_INVALID;
        if (r < 0 || host[0] == '\0' || port == 0) {
            return err_set(e, ERR_INVALID, "'%s' is not HOST:PORT, such as host:9000", item);
        }
        text += length;
    }
    return 0;
}

int parse_hex(const char *text, void *ret_bytes, size_t length, struct err *e)
{
    bool good = strnlen(text, 2 * length + 1) == 2 * length;
    for (size_t i = 0; good && i < 2 * length; i++) {
        good = hex_digit(text[i]) < 16;
    }
    if (!good) {
        return err_set(e, ERR_INVALID, "\"%.80s\" is not %zu hexadecimal digits", text, 2 * length);
    }
    uint8_t *bytes = ret_bytes;
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    }
    return 0;
}

char *format_hex(const void *data, size_t length, char *text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;
    for (size_t i = 0; i < length; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * length] = 0;
    return text;
}

/* One decimal, rounded to nearest; a value that rounds to 1024.0 moves on to the next unit. */
char *format_bytes(uint64_t bytes, char text[FORMAT_TEXT_BYTES])
{
    static const char units[] = "KMGTPE";
    if (bytes < 1024) {
        (void)snprintf(text, FORMAT_TEXT_BYTES, "%" PRIu64, bytes);
        return text;
    }
    size_t unit = 0;
    double shown = (double)bytes / 1024;
    while (shown >= 1023.95 && unit + 1 < strlen(units)) {
        shown /= 1024;
        unit++;
    }
    (void)snprintf(text, FORMAT_TEXT_BYTES, "%.1f %c", shown, units[unit]);
    return text;
}

/* The largest unit of the table's short names that divides the value. */
static char *format_exact(uint64_t value, const struct unit *units, size_t unit_count, char *text)
{
    const struct unit *best = &units[0];
    for (size_t i = 1; i < unit_count && value > 0; i++) {
        if (units[i].factor > best->factor && value % units[i].factor == 0) {
            best = &units[i];
        }
    }
    (void)snprintf(text, FORMAT_TEXT_BYTES, "%" PRIu64 "%s", value / best->factor, best->name);
    return text;
}

char *format_size_exact(uint64_t bytes, char text[FORMAT_TEXT_BYTES])
{
    return format_exact(bytes, size_units, ARRAY_COUNT(size_units), text);
}

char *format_duration_exact(uint64_t ms, char text[FORMAT_TEXT_BYTES])
{
    return format_exact(ms, duration_units, ARRAY_COUNT(duration_units), text);
}

char *format_duration(uint64_t ms, char text[FORMAT_TEXT_BYTES])
{
    uint64_t seconds = ms / 1000;
    uint64_t minutes = seconds / 60;
    uint64_t hours = minutes / 60;
    if (ms < 1000) {
        (void)snprintf(text, FORMAT_TEXT_BYTES, "%" PRIu64 " ms", ms);
    } else if (seconds < 60) {
        (void)snprintf(text, FORMAT_TEXT_BYTES, "%" PRIu64 ".%" PRIu64 " s", seconds,
                       ms / 100 % 10);
    } else if (minutes < 60) {
        (void)snprintf(text, FORMAT_TEXT_BYTES, "%" PRIu64 "m%02" PRIu64 "s", minutes,
                       seconds % 60);
    } else if (hours < 24) {
        (void)snprintf(text, FORMAT_TEXT_BYTES, "%" PRIu64 "h%02" PRIu64 "m", hours, minutes % 60);
    } else {
        (void)snprintf(text, FORMAT_TEXT_BYTES, "%" PRIu64 "d%02" PRIu64 "h", hours / 24,
                       hours % 24);
    }
    return text;
}

/* The last two characters before a_end and b_end are the same two, swapped. */
static bool ends_swapped(const char *a, size_t a_end, const char *b, size_t b_end)
{
    return a_end > 1 && b_end > 1 && a[a_end - 1] == b[b_end - 2] && a[a_end - 2] == b[b_end - 1];
}

/* Three rows of the classic table are enough for adjacent swaps. Longer strings are not compared:
 * no flag is so long. */
size_t text_distance(const char *a, const char *b)
{
    enum { LENGTH_MAX = 64 };
    size_t rows[3][LENGTH_MAX + 1];
    size_t a_length = strlen(a);
    size_t b_length = strlen(b);
    size_t longer = MAX(a_length, b_length);
    if (longer > LENGTH_MAX) {
        return longer;
    }
    for (size_t j = 0; j <= b_length; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t changed = above[j - 1] + (a[i - 1] != b[j - 1]);
            size_t added_or_gone = MIN(above[j], row[j - 1]) + 1;
            row[j] = MIN(changed, added_or_gone);
            if (ends_swapped(a, i, b, j)) {
                row[j] = MIN(row[j], rows[(i + 1) % 3][j - 2] + 1);
            }
        }
    }
    return rows[a_length % 3][b_length];
}

/* Length of the well-formed sequence at `at`, 0 if there is none (Unicode 15, table 3-7). */
static size_t utf8_sequence(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];
    if (lead < 0x80) {
        return 1;
    }
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || left < length) {
        return 0;
    }
    /* The second byte excludes overlong forms, surrogates and what lies beyond U+10FFFF. */
    uint8_t least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < least || at[1] > most) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

bool utf8_valid(const void *data, size_t length)
{
    const uint8_t *at = data;
    while (length > 0) {
        size_t step = utf8_sequence(at, length);
        if (step == 0) {
            return false;
        }
        at += step;
        length -= step;
    }
    return true;
}
