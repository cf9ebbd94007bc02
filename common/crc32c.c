/* ISA-L does the bytes, with the CPU's instructions. Its crc32_iscsi() neither inverts the start
 * value nor the result, so both inversions of the standard are ours.
 *
 * Combining: a CRC without its inversions is a polynomial over GF(2) modulo P, and appending n zero
 * bytes multiplies it by x^8n. crc(a|b) = crc(a) * x^8n + crc(b), where the inversions cancel (as
 * in zlib's crc32_combine). */
#include "common/crc32c.h"

#include <limits.h>

#include <isa-l/crc.h>

#include "common/macros.h"

static const uint32_t polynomial = 0x82f63b78; /* P without x^32; the highest bit is x^0 */
static const uint32_t one = 0x80000000;        /* x^0 */

/* x^(2^i) modulo P. Squaring the last gives the first again, for P = (x + 1) * (a primitive
 * polynomial of degree 31). */
static const uint32_t x_to_2_to[31] = {
    0x40000000, 0x20000000, 0x08000000, 0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18,
    0x510ac59a, 0xb82be955, 0xb8fdb1e7, 0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62,
    0x28461564, 0xbf455269, 0xe2ea32dc, 0xfe7740e6, 0xf946610b, 0x3c204f8f, 0x538586e3, 0x59726915,
    0x734d5309, 0xbc1ac763, 0x7d0722cc, 0xd289cabe, 0xe94ca9bc, 0x05b74f3f, 0xa51e1f42,
};

uint32_t crc32c_extend(uint32_t crc, const void *data, size_t length)
{
    /* ISA-L reads only, but its prototype lacks the const; its length is an int. */
    unsigned char *at = (unsigned char *)data;
    uint32_t state = ~crc;
    while (length > 0) {
        size_t part = MIN(length, (size_t)1 << 30);
        state = crc32_iscsi(at, (int)part, state);
        at += part;
        length -= part;
    }
    return ~state;
}

uint32_t crc32c(const void *data, size_t length)
{
    return crc32c_extend(0, data, length);
}

static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (; a != 0; a <<= 1) {
        product ^= (a & one) != 0 ? b : 0;
        b = b >> 1 ^ ((b & 1) != 0 ? polynomial : 0);
    }
    return product;
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b)
{
    uint32_t power = one; /* x^(8 * length_b) */
    for (size_t bit = 3; length_b > 0; bit++, length_b >>= 1) {
        if ((length_b & 1) != 0) {
            power = multiply(x_to_2_to[bit % ARRAY_COUNT(x_to_2_to)], power);
        }
    }
    return multiply(power, crc_a) ^ crc_b;
}
