/* Coding of one part; every byte of it is inverted if the order is reversed.
 *
 *   bytes    each as it is, but 0 as 00 FF; then 00 00. So a prefix goes before what is longer.
 *   number   0x80 for 0; else 0x81, the number of digits before the point (one byte, or FF and
 * four, most significant first, from 255 on), those digits, those behind the point without zeros at
 * the end, 00. Below 0: 0x7F, and the rest as of its amount, inverted.
 *
 * No coding is the beginning of another, so what stands behind it never decides between two that
 * differ, and its end is found again without knowing its length. */
#include "mapreduce/engine/keyfields.h"

#include <limits.h>
#include <string.h>

#include "common/hash.h"
#include "common/macros.h"

enum { NUMBER_BELOW = 0x7f, NUMBER_ZERO = 0x80, NUMBER_ABOVE = 0x81, LONG = 0xff };

/* ---- Options ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A decimal number from *at on; false: none, or too large. */
static bool take_number(const char **at, uint32_t *ret)
{
    uint64_t value = 0;
    const char *from = *at;
    for (; is_digit(**at) && value <= INT_MAX; (*at)++) {
        value = 10 * value + (uint64_t)(**at - '0');
    }
    *ret = (uint32_t)MIN(value, (uint64_t)INT_MAX);
    return *at != from && value <= INT_MAX;
}

/* "n", "r", both or none. */
static void take_flags(const char **at, struct keyfield *f)
{
    for (; **at == 'n' || **at == 'r'; (*at)++) {
        f->numeric = f->numeric || **at == 'n';
        f->reverse = f->reverse || **at == 'r';
    }
}

/* F[.C][n][r][,F[.C][n][r]] up to the word's end. */
static bool take_part(const char *at, struct keyfield *ret)
{
    struct keyfield f = {.first_byte = 1};
    bool good = take_number(&at, &f.first_field) && f.first_field > 0;
    if (good && *at == '.') {
        at++;
        good = take_number(&at, &f.first_byte) && f.first_byte > 0;
    }
    take_flags(&at, &f);
    if (good && *at == ',') {
        at++;
        good = take_number(&at, &f.last_field) && f.last_field > 0;
        if (good && *at == '.') {
            at++;
            good = take_number(&at, &f.last_byte);
        }
        take_flags(&at, &f);
    }
    *ret = f;
    return good && (*at == '\0' || *at == ' ' || *at == '\t');
}

static int bad_word(const char *word, struct err *e)
{
    return err_set(e, ERR_INVALID, "'%.*s' is not -kF[.C][n][r][,F[.C][n][r]], -n, -r or -nr",
                   (int)MIN(strcspn(word, " \t"), (size_t)100), word);
}

/* One word of the options. */
static int take_word(struct keyfields *k, const char *word, struct keyfield *flags, struct err *e)
{
    const char *at = word;
    if (*at == '-' && (at[1] == 'n' || at[1] == 'r')) {
        at++;
        take_flags(&at, flags);
        return *at == '\0' || *at == ' ' || *at == '\t' ? 0 : bad_word(word, e);
    }
    at += strncmp(at, "-k", 2) == 0 ? 2 : 0;
    if (k->count == KEYFIELDS_MAX) {
        return err_set(e, ERR_INVALID, "more than %d parts of a key", KEYFIELDS_MAX);
    }
    return take_part(at, &k->items[k->count++]) ? 0 : bad_word(word, e);
}

int keyfields_parse(struct keyfields *ret, const char *options, struct err *e)
{
    struct keyfields k = {.count = 0};
    struct keyfield flags = {.numeric = false};
    memcpy(k.separator, ret->separator, sizeof(k.separator));
    for (const char *at = options; *(at += strspn(at, " \t"));) {
        const char *word = at;
        at += strcspn(at, " \t");
        if (at - word == 2 && memcmp(word, "-k", 2) == 0) { /* "-k 1,2" */
            word = at + strspn(at, " \t");
            at = word + strcspn(word, " \t");
        }
        int r = take_word(&k, word, &flags, e);
        if (r < 0) {
            return r;
        }
    }
    if (k.count == 0) {
        k.items[k.count++] = (struct keyfield){.first_field = 1, .first_byte = 1};
    }
    for (uint32_t i = 0; i < k.count; i++) {
        if (!k.items[i].numeric && !k.items[i].reverse) {
            k.items[i].numeric = flags.numeric;
            k.items[i].reverse = flags.reverse;
        }
    }
    *ret = k;
    return 0;
}

/* ---- Parts ---- */

/* Where field number `field` begins; the key's end if it has fewer. *ret_end: where it ends. */
static size_t find_field(const struct keyfields *k, struct mr_span key, uint32_t field,
                         size_t *ret_end)
{
    const char *data = key.data;
    size_t width = strlen(k->separator);
    size_t at = 0;
    for (uint32_t left = field;; left--) {
        const char *found =
            at < key.length ? memmem(data + at, key.length - at, k->separator, width) : NULL;
        *ret_end = found ? (size_t)(found - data) : key.length;
        if (left == 1) {
            return at;
        }
        if (!found) {
            return key.length;
        }
        at = *ret_end + width;
    }
}

static struct mr_span part_of(const struct keyfields *k, const struct keyfield *f,
                              struct mr_span key)
{
    size_t end = 0;
    size_t from = find_field(k, key, f->first_field, &end);
    from = MIN(from + (f->first_byte - 1), key.length);
    size_t to = key.length;
    if (f->last_field > 0) {
        size_t begin = find_field(k, key, f->last_field, &end);
        to = f->last_byte > 0 ? MIN(begin + f->last_byte, key.length) : end;
    }
    return from < to ? mr_bytes((const char *)key.data + from, to - from) : mr_bytes(NULL, 0);
}

uint64_t keyfields_hash(const struct keyfields *k, struct mr_span key)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < k->count; i++) {
        struct mr_span part = part_of(k, &k->items[i], key);
        hash = hash_bytes(part.data ? part.data : "", part.length, hash);
    }
    return hash;
}

/* ---- Coding ---- */

static void code_bytes(struct mr_span part, uint8_t mask, struct buf *out)
{
    const uint8_t *bytes = part.data;
    for (size_t i = 0; i < part.length; i++) {
        buf_append_byte(out, bytes[i] ^ mask);
        if (bytes[i] == 0) {
            buf_append_byte(out, 0xff ^ mask);
        }
    }
    buf_append_byte(out, mask);
    buf_append_byte(out, mask);
}

/* A decimal number as text: amount = 0.WHOLE times 10^count, FRACTION behind it. */
struct number {
    bool below;              /* 0 */
    struct mr_span whole;    /* without zeros in front */
    struct mr_span fraction; /* without zeros at the end */
};

static size_t digits_at(struct mr_span part, size_t at)
{
    const char *text = part.data;
    size_t count = 0;
    while (at + count < part.length && is_digit(text[at + count])) {
        count++;
    }
    return count;
}

static struct number read_number(struct mr_span part)
{
    const char *text = part.data;
    struct number n = {.below = false};
    size_t at = 0;
    while (at < part.length && (text[at] == ' ' || text[at] == '\t')) {
        at++;
    }
    if (at < part.length && text[at] == '-') {
        n.below = true;
        at++;
    }
    size_t digits = digits_at(part, at);
    n.whole = mr_bytes(text + at, digits);
    at += digits;
    if (at < part.length && text[at] == '.') {
        n.fraction = mr_bytes(text + at + 1, digits_at(part, at + 1));
    }
    while (n.whole.length > 0 && *(const char *)n.whole.data == '0') {
        n.whole = mr_bytes((const char *)n.whole.data + 1, n.whole.length - 1);
    }
    while (n.fraction.length > 0 && ((const char *)n.fraction.data)[n.fraction.length - 1] == '0') {
        n.fraction.length--;
    }
    return n;
}

static void code_digits(struct mr_span digits, uint8_t mask, struct buf *out)
{
    const uint8_t *bytes = digits.data;
    for (size_t i = 0; i < digits.length; i++) {
        buf_append_byte(out, bytes[i] ^ mask);
    }
}

static void code_number(struct mr_span part, uint8_t mask, struct buf *out)
{
    struct number n = part.length > 0 ? read_number(part) : (struct number){.below = false};
    if (n.whole.length + n.fraction.length == 0) {
        buf_append_byte(out, NUMBER_ZERO ^ mask);
        return;
    }
    buf_append_byte(out, (uint8_t)((n.below ? NUMBER_BELOW : NUMBER_ABOVE) ^ mask));
    uint8_t inner = n.below ? (uint8_t)~mask : mask;
    if (n.whole.length < LONG) {
        buf_append_byte(out, (uint8_t)(n.whole.length ^ inner));
    } else {
        buf_append_byte(out, LONG ^ inner);
        for (int shift = 24; shift >= 0; shift -= 8) {
            buf_append_byte(out, (uint8_t)((n.whole.length >> shift) ^ inner));
        }
    }
    code_digits(n.whole, inner, out);
    code_digits(n.fraction, inner, out);
    buf_append_byte(out, inner);
}

void keyfields_code(const struct keyfields *k, struct mr_span key, struct buf *out)
{
    for (uint32_t i = 0; i < k->count; i++) {
        const struct keyfield *f = &k->items[i];
        struct mr_span part = part_of(k, f, key);
        uint8_t mask = f->reverse ? 0xff : 0;
        if (f->numeric) {
            code_number(part, mask, out);
        } else {
            code_bytes(part, mask, out);
        }
    }
    buf_append(out, key.data, key.length);
}

/* The length of a coded part at the front; 0: it has no end. */
static size_t skip_bytes(const uint8_t *at, size_t length, uint8_t mask)
{
    for (size_t i = 0; i + 1 < length; i++) {
        if (at[i] != mask) {
            continue;
        }
        if (at[i + 1] == mask) {
            return i + 2;
        }
        i++; /* a 0 among the bytes, coded as two */
    }
    return 0;
}

static size_t skip_number(const uint8_t *at, size_t length, uint8_t mask)
{
    if (length == 0) {
        return 0;
    }
    uint8_t kind = at[0] ^ mask;
    if (kind == NUMBER_ZERO) {
        return 1;
    }
    uint8_t inner = kind == NUMBER_BELOW ? (uint8_t)~mask : mask;
    if ((kind != NUMBER_BELOW && kind != NUMBER_ABOVE) || length < 2) {
        return 0;
    }
    size_t digits = at[1] ^ inner;
    size_t used = 2;
    if (digits == LONG) {
        if (length < 6) {
            return 0;
        }
        digits = 0;
        for (; used < 6; used++) {
            digits = digits << 8 | (uint8_t)(at[used] ^ inner);
        }
    }
    if (digits >= length - used) {
        return 0;
    }
    const uint8_t *end = memchr(at + used + digits, inner, length - used - digits);
    return end ? (size_t)(end - at) + 1 : 0;
}

int keyfields_plain(const struct keyfields *k, struct mr_span coded, struct mr_span *ret_key,
                    struct err *e)
{
    const uint8_t *at = coded.data;
    size_t left = coded.length;
    for (uint32_t i = 0; i < k->count; i++) {
        uint8_t mask = k->items[i].reverse ? 0xff : 0;
        size_t used =
            k->items[i].numeric ? skip_number(at, left, mask) : skip_bytes(at, left, mask);
        if (used == 0) {
            return err_set(e, ERR_CORRUPT,
                           "a key of the map output has no sort key in front of it");
        }
        at += used;
        left -= used;
    }
    *ret_key = mr_bytes(at, left);
    return 0;
}
