/* CRC32C (Castagnoli; RFC 3720 appendix B.4): the checksum of every block, record and message.
 * Pure. The value of "123456789" is 0xE3069283; the value of nothing is 0. */
#ifndef COMMON_CRC32C_H
#define COMMON_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *data, size_t length);

/* The CRC of (what gave `crc`) followed by data. crc32c(d, n) == crc32c_extend(0, d, n). */
uint32_t crc32c_extend(uint32_t crc, const void *data, size_t length);

/* The CRC of a followed by b, from crc(a), crc(b) and b's length alone; about 0.3 us. */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b);

#endif
